package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"headroom/node/cluster"
	"headroom/node/transport/certs"
)

const certsUsage = `headroom-node certs makes what a cluster's machines need to trust each other.

  headroom-node certs init --ca DIR
      a new certificate authority and cluster secret in DIR; keep it offline
  headroom-node certs node --ca DIR --node-id 2 --out OUT
      credentials of one node; copy OUT to that machine, run it with --credentials OUT
  headroom-node certs client --ca DIR --name ada --out OUT
      credentials of a client or of a person who runs load tests
`

// certsFlags are the flags of each kind of credentials.
var certsFlags = map[string][]string{"init": {"ca"}, "node": {"ca", "out", "node-id", "hosts"}, "client": {"ca", "out", "name"}}

// takes refuses a flag that the command would pass over.
func takes(fs *pflag.FlagSet, command string) (err error) {
	fs.Visit(func(f *pflag.Flag) {
		if known, ok := certsFlags[command]; ok && !slices.Contains(known, f.Name) {
			err = fmt.Errorf("%w: certs %s has no flag --%s; see headroom-node certs --help", errUsage, command, f.Name)
		}
	})
	return err
}

// certificates makes a CA, or credentials signed by it.
func certificates(args []string, stdout io.Writer) error {
	if len(args) == 0 || args[0] == "--help" || args[0] == "-h" {
		fmt.Fprint(stdout, certsUsage)
		return nil
	}
	fs := pflag.NewFlagSet("certs "+args[0], pflag.ContinueOnError)
	ca := fs.String("ca", "headroom-ca", "`DIR` of the certificate authority")
	out := fs.String("out", "", "`DIR` to make with the credentials")
	id := fs.String("node-id", "", "`ID` of the node")
	name := fs.String("name", "", "`NAME` of the client")
	hosts := fs.String("hosts", "", "names and addresses for the certificate, separated by commas; for foreign tools only")
	if err := parse(fs, args[1:]); err != nil {
		return err
	}
	if err := takes(fs, args[0]); err != nil {
		return err
	}
	switch args[0] {
	case "init":
		if err := certs.InitCA(*ca); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "certificate authority and cluster secret in %s\n", *ca)
		return nil
	case "node":
		n, err := cluster.ParseNodeID(*id)
		if err != nil || *out == "" {
			return fmt.Errorf("%w: certs node needs --node-id and --out", errUsage)
		}
		if err := certs.IssueNode(*ca, *out, n, strings.FieldsFunc(*hosts, func(r rune) bool { return r == ',' })); err != nil {
			return err
		}
	case "client":
		if *name == "" || *out == "" {
			return fmt.Errorf("%w: certs client needs --name and --out", errUsage)
		}
		if err := certs.IssueClient(*ca, *out, *name); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: certs %s: want init, node or client", errUsage, args[0])
	}
	fmt.Fprintf(stdout, "credentials in %s: copy the directory to its machine, keep it private\n", *out)
	return nil
}
