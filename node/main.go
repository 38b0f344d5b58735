// Command headroom-node runs one node of a cluster and talks to running ones.
// It turns flags and a configuration file into a server.Config and owns
// nothing else. Start reading at run.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"headroom/node/server"
)

const usage = `headroom-node runs a node of a Headroom cluster, and asks running ones.

  headroom-node run [--config node.yaml] [flags]     one cluster node
  headroom-node check [--config node.yaml] [flags]   would run accept this? starts nothing
  headroom-node status --addr HOST:PORT              the cluster as that node sees it
  headroom-node safe-to-stop --addr HOST:PORT        may it be stopped now? exit 0 or 3
  headroom-node quiesce|unquiesce --addr HOST:PORT   hand its partitions to other nodes; take them back
  headroom-node revive --addr HOST:PORT --namespace  give up data of which no full copy is left
  headroom-node certs init|node|client               make a cluster's certificates

Every command explains itself: headroom-node run --help
`

// errUsage marks wrong usage: exit code 2.
var errUsage = errors.New("usage")

// errNotMet marks a stated target that was not met: exit code 3.
var errNotMet = errors.New("target not met")

func main() { os.Exit(dispatch(os.Args[1:], os.Stdout, os.Stderr)) }

// dispatch runs one command and returns the exit code.
func dispatch(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	var err error
	switch args[0] {
	case "run":
		err = run(args[1:], stdout, stderr)
	case "check":
		err = check(args[1:], stdout)
	case "status":
		err = status(args[1:], stdout)
	case "safe-to-stop":
		err = safeToStop(args[1:], stdout)
	case "quiesce", "unquiesce":
		err = quiesce(args[0], args[1:], stdout)
	case "revive":
		err = revive(args[1:], stdout)
	case "certs":
		err = certificates(args[1:], stdout)
	case "help", "--help", "-h":
		fmt.Fprint(stdout, usage)
	default:
		err = fmt.Errorf("%w: unknown command %q; see headroom-node --help", errUsage, args[0])
	}
	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
		return 0
	case errors.Is(err, errNotMet):
		return 3
	}
	text := strings.TrimPrefix(err.Error(), errUsage.Error()+": ")
	fmt.Fprintln(stderr, "headroom-node:", strings.TrimPrefix(text, server.ErrConfig.Error()+": "))
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

// parse reads flags and refuses arguments that are none.
func parse(fs *pflag.FlagSet, args []string) error {
	fs.SortFlags = false
	fs.SetOutput(io.Discard) // the error is printed once, by dispatch
	err := fs.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		fmt.Printf("headroom-node %s\n\n%s", fs.Name(), fs.FlagUsages())
		return err
	case err != nil:
		return fmt.Errorf("%w: %v; see headroom-node %s --help", errUsage, err, fs.Name())
	case fs.NArg() > 0:
		return fmt.Errorf("%w: %q is not a flag; see headroom-node %s --help", errUsage, fs.Arg(0), fs.Name())
	}
	return nil
}
