// Command benchplanner holds the planner's predictions against real runs:
// clusters of a few local nodes on emulated devices are loaded step by step and
// lose a node; what is learnt from all node counts but one predicts that one.
// It prints predicted beside measured with the error and its gate, and says
// that a run is void when the machine was too busy to emulate on time.
//
// The invariant to know: a figure of n nodes is predicted from runs of other
// numbers of nodes only (leave one out); the device profile is an input.
//
// Start reading at bench.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/pflag"
)

// options are the flags.
type options struct {
	nodes     []int
	kills     int
	killsOnly bool
	dir       string
	bin       string
}

const (
	// least and mostNodes bound the clusters: two must be left after a kill to
	// make copies again, and nodes of two cores are late beyond eight.
	leastNodes, mostNodes = 3, 8
	mostKills             = 20
	exitMissed            = 3
)

var errMissed = errors.New("some figures are beyond their gates")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
	case errors.Is(err, errMissed):
		fmt.Fprintln(os.Stderr, "benchplanner:", err)
		os.Exit(exitMissed)
	default:
		fmt.Fprintln(os.Stderr, "benchplanner:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o := options{}
	f := pflag.NewFlagSet("benchplanner", pflag.ContinueOnError)
	f.IntSliceVar(&o.nodes, "nodes", []int{3, 5, 8}, "numbers of nodes, at least three")
	f.IntVar(&o.kills, "kills", 1, "kills of each number of nodes, of which the median counts")
	f.BoolVar(&o.killsOnly, "kills-only", false, "measure nothing but the rebuild")
	f.StringVar(&o.dir, "out", "", "`DIR` that keeps the run folders (default: removed)")
	f.StringVar(&o.bin, "bin", "bin", "`DIR` with headroom-loadgen")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.kills < 1 || o.kills > mostKills {
		return fmt.Errorf("--kills %d: want 1 to %d", o.kills, mostKills)
	}
	if len(o.nodes) < 3 {
		return fmt.Errorf("--nodes %v: want three numbers at least, to leave one out", o.nodes)
	}
	for i, n := range o.nodes {
		if n < leastNodes || n > mostNodes || i > 0 && n <= o.nodes[i-1] {
			return fmt.Errorf("--nodes %v: want ascending numbers from %d to %d", o.nodes, leastNodes, mostNodes)
		}
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "headroom-benchplanner-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	return bench(ctx, &o)
}
