package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/spf13/pflag"

	"headroom/node/server"
	"headroom/node/transport"
	"headroom/node/transport/certs"
	"headroom/node/wire"
)

// askFlags are what every command needs that asks a running node.
type askFlags struct {
	addr, credentials string
	insecure, json    bool
	timeout           time.Duration
}

func askSet(name string) (*pflag.FlagSet, *askFlags) {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	a := &askFlags{}
	fs.StringVar(&a.addr, "addr", server.DefaultListen, "`HOST:PORT` of the node")
	fs.StringVar(&a.credentials, "credentials", filepath.Join(defaultDataDir, "certs"), "`DIR` of a client's or a node's certificates")
	fs.BoolVar(&a.insecure, "insecure", false, "the node was started with --insecure")
	fs.BoolVar(&a.json, "json", false, "for machines")
	fs.DurationVar(&a.timeout, "timeout", 3*time.Second, "how long to wait for the answer")
	return fs, a
}

// asker receives the one answer of a node.
type asker struct{ answer chan []byte }

// Opened implements transport.Handler.
func (asker) Opened(*transport.Conn) {}

// Drained implements transport.Handler.
func (asker) Drained(*transport.Conn) {}

// Closed implements transport.Handler.
func (asker) Closed(*transport.Conn, error) {}

// Frames implements transport.Handler.
func (a asker) Frames(_ *transport.Conn, h wire.Header, payload []byte) {
	if h.Kind != wire.KindAdminReply {
		return
	}
	select {
	case a.answer <- append([]byte(nil), payload...):
	default:
	}
}

// ask sends one admin command and decodes the answer into v.
func (a *askFlags) ask(command string, v any) error {
	if err := server.CheckAddr("--addr", a.addr); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.timeout)
	defer cancel()
	creds, err := a.load()
	if err != nil {
		return err
	}
	d, err := transport.NewDialer(transport.DialerConfig{Credentials: creds, Insecure: a.insecure})
	if err != nil {
		return err
	}
	defer d.Close()
	h := asker{make(chan []byte, 1)}
	c, err := d.Dial(ctx, a.addr, h)
	if err != nil {
		return a.unreached(ctx, err)
	}
	b := wire.AppendHeader(nil, wire.Header{Kind: wire.KindAdmin, Length: uint32(len(command)), ID: 1})
	if err := c.Send(append(b, command...)); err != nil {
		return err
	}
	select {
	case p := <-h.answer:
		return json.Unmarshal(p, v)
	case <-c.Done():
		return fmt.Errorf("ask %s: %w", a.addr, c.Err())
	case <-ctx.Done():
		return fmt.Errorf("%s does not answer within %v", a.addr, a.timeout)
	}
}

// unreached says what to do about a node that could not be asked.
func (a *askFlags) unreached(ctx context.Context, err error) error {
	var idle *quic.IdleTimeoutError
	switch {
	case ctx.Err() != nil || errors.As(err, &idle):
		return fmt.Errorf("%s does not answer within %v: is a node running there?", a.addr, a.timeout)
	case errors.Is(err, transport.ErrPeer) && a.insecure:
		return fmt.Errorf("%s is a node with certificates: leave --insecure out and name them with --credentials", a.addr)
	case errors.Is(err, transport.ErrPeer):
		return fmt.Errorf("%s is a node that the certificates in %s do not fit: name those of its cluster with --credentials "+
			"(on loopback they are in the node's data-dir, below certs), or pass --insecure if it was started so", a.addr, a.credentials)
	}
	return fmt.Errorf("ask %s: %w", a.addr, err)
}

// load finds a client's credentials in the directory itself or, for a
// development cluster, in the client directory below it.
func (a *askFlags) load() (certs.Credentials, error) {
	if a.insecure {
		return certs.Credentials{}, nil
	}
	if dev := certs.DevClient(a.credentials); exists(dev) {
		return certs.Load(dev)
	}
	return certs.Load(a.credentials)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// status prints the cluster as one node sees it.
func status(args []string, stdout io.Writer) error {
	fs, a := askSet("status")
	if err := parse(fs, args); err != nil {
		return err
	}
	var s server.Status
	if err := a.ask(server.AdminStatus, &s); err != nil {
		return err
	}
	if a.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(&s)
	}
	printStatus(stdout, &s)
	return nil
}

// safeToStop answers with its exit code: 0 yes, 3 no.
func safeToStop(args []string, stdout io.Writer) error {
	fs, a := askSet("safe-to-stop")
	if err := parse(fs, args); err != nil {
		return err
	}
	var s server.SafeToStop
	if err := a.ask(server.AdminSafeToStop, &s); err != nil {
		return err
	}
	switch {
	case a.json:
		if err := json.NewEncoder(stdout).Encode(&s); err != nil {
			return err
		}
	case s.Safe:
		fmt.Fprintln(stdout, "safe to stop:", s.Reason)
	default:
		fmt.Fprintln(stdout, "not safe to stop:", s.Reason)
	}
	if !s.Safe {
		return errNotMet
	}
	return nil
}

// printStatus writes the status for people.
func printStatus(w io.Writer, s *server.Status) {
	fmt.Fprintf(w, "%s in cluster %s at %s: %s", s.Node, s.ClusterName, s.Addr, s.State)
	if s.Insecure {
		fmt.Fprint(w, "  (INSECURE: no certificates)")
	}
	fmt.Fprintln(w)
	if s.Problem != "" {
		fmt.Fprintln(w, "problem:", s.Problem)
	}
	if s.State == "waiting" {
		fmt.Fprintln(w, "waiting: the other members have not confirmed this node, so it answers nothing; look for broken links below, and whether the others count it still")
	}
	if s.ClusterKey == "" {
		fmt.Fprintln(w, "no View yet: looking for other nodes")
		return
	}
	redundancy := "full redundancy"
	switch {
	case s.Redundant:
		redundancy = fewer(s, redundancy)
	case s.PartsLeft == 0:
		redundancy = "redundancy not confirmed by all members yet"
	default:
		redundancy = fmt.Sprintf("%d partitions, %.1f MB left to copy", s.PartsLeft, float64(s.BytesLeft)/1e6)
	}
	fmt.Fprintf(w, "view %s, principal %s, %s\n\n", s.ClusterKey, s.Principal, redundancy)
	fmt.Fprintf(w, "%-20s %-24s %5s  %s\n", "node", "address", "rack", "")
	for _, m := range s.Members {
		state := "up"
		if !m.Up {
			state = "not heard"
		}
		if m.Quiesced {
			state += ", quiesced"
		}
		fmt.Fprintf(w, "%-20s %-24s %5d  %s\n", m.Node, m.Addr, m.Rack, state)
	}
	for _, l := range s.BrokenLinks {
		fmt.Fprintln(w, "broken link:", l)
	}
	for i := range s.Namespaces {
		printNamespace(w, s, &s.Namespaces[i])
	}
	if len(s.Devices) > 0 {
		fmt.Fprintln(w)
	}
	for i := range s.Devices {
		printDevice(w, &s.Devices[i])
	}
}

// fewer says so when the cluster has fewer nodes than a namespace wants copies:
// nothing is left to copy then, and yet a node less may be data less.
func fewer(s *server.Status, otherwise string) string {
	n := len(s.Members)
	for _, ns := range s.Namespaces {
		if ns.RF > n {
			return fmt.Sprintf("%d of %d copies of namespace %s: it wants %d nodes, there %s %d", n, ns.RF, ns.Name, ns.RF, map[bool]string{true: "is", false: "are"}[n == 1], n)
		}
	}
	return otherwise
}

// printDevice writes a device with its class, the ground for it, and for an
// emulated one how many times slower than its model it is run.
func printDevice(w io.Writer, d *server.StatusDevice) {
	fmt.Fprintf(w, "device %s: class %s", d.Path, d.Class)
	if d.ClassWhy != "" {
		fmt.Fprintf(w, " (%s)", d.ClassWhy)
	}
	if d.Emulation != nil && d.Emulation.Dilation != 1 {
		fmt.Fprintf(w, ", %g times slower than the real one", d.Emulation.Dilation)
	}
	fmt.Fprintf(w, ", %s, %.1f MB", d.State, float64(d.UsedBytes)/1e6)
	if d.SizeBytes > 0 {
		fmt.Fprintf(w, " of %.1f MB", float64(d.SizeBytes)/1e6)
	}
	fmt.Fprintln(w, " used")
	if d.Error != "" {
		fmt.Fprintln(w, "  error:", d.Error)
	}
	if d.Corrupt > 0 {
		fmt.Fprintf(w, "  CORRUPT: %d records or places found damaged since the start\n", d.Corrupt)
	}
}

// latencyText is empty where nothing was sampled.
func latencyText(what string, l *server.StatusLatency) string {
	if l.P50US == nil {
		return ""
	}
	text := fmt.Sprintf(", %s p50 %v", what, time.Duration(*l.P50US)*time.Microsecond)
	if l.P99US != nil {
		text += fmt.Sprintf(" p99 %v", time.Duration(*l.P99US)*time.Microsecond)
	}
	return text
}

func printNamespace(w io.Writer, s *server.Status, n *server.StatusNamespace) {
	fmt.Fprintf(w, "\nnamespace %s: %d copies, commit %s, %d records and %d tombstones here\n", n.Name, n.RF, n.Commit, n.Records, n.Tombstones)
	for _, m := range s.Members {
		fmt.Fprintf(w, "  %-18s masters %4d, copies %4d of 4096 partitions\n", m.Node, n.Masters[m.Node], n.Copies[m.Node])
	}
	if text := latencyText("reads", &n.ReadLatency) + latencyText("writes", &n.WriteLatency); text != "" {
		fmt.Fprintf(w, "  time on this node%s (a sample of the last %.0f s)\n", text, max(n.ReadLatency.WindowS, n.WriteLatency.WindowS))
	}
	if n.Balance.Note != "" {
		fmt.Fprintln(w, "  balance:", n.Balance.Note)
	}
	switch {
	case n.Migrations.PartitionsLeft == 0:
		fmt.Fprintln(w, "  migrations driven by this node: none")
	case n.Migrations.ETAS != nil:
		fmt.Fprintf(w, "  migrations driven by this node: %d partitions, %.1f MB left, about %.0f s\n", n.Migrations.PartitionsLeft, float64(n.Migrations.BytesLeft)/1e6, *n.Migrations.ETAS)
	default:
		fmt.Fprintf(w, "  migrations driven by this node: %d partitions, %.1f MB left\n", n.Migrations.PartitionsLeft, float64(n.Migrations.BytesLeft)/1e6)
	}
	if n.Unavailable > 0 {
		fmt.Fprintf(w, "  UNAVAILABLE: %d partitions, until a node that holds them returns, or `headroom-node revive --namespace %s` gives up what is missing\n", n.Unavailable, n.Name)
	}
	if n.ConflictsDiscarded > 0 {
		fmt.Fprintf(w, "  discarded after splits: %d acknowledged versions here (%d while copies were merged, %d when a record was asked for before)\n",
			n.ConflictsDiscarded, n.Conflicts.Merge, n.Conflicts.Access)
	}
	if n.StopWrites {
		fmt.Fprintln(w, "  STOP WRITES: no room; reads and deletes go on")
	}
}
