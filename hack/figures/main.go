// Command figures measures the figures that the project promises, each beside
// its target: what a kill costs, how fast redundancy returns, how fast a
// cluster forms, what a record costs in memory. It gates nothing, that is for
// whoever reads the table; hack/bench-peers.sh measures throughput beside
// Redis and memcached.
//
// The invariant to know: every number printed is a median (or worst) of runs of
// real processes on this machine, with the count beside it.
//
// Start reading at all.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"headroom/hack/parts"
)

// options are the flags.
type options struct {
	bin     string
	repeats int
	records int64
	quick   bool
	seed    uint64
}

var all = parts.Set[options]{
	{Name: "kills", What: "30 kills under 2,000 operations/s: gap, one view, lost writes", Run: kills},
	{Name: "heavy", What: "3 kills with 3 GB of data on each node: the same figures, reported", Run: heavy},
	{Name: "million", What: "1 million 100-byte records: redundancy after a kill and a join, foreground p99", Run: million},
	{Name: "paused", What: "what a node that was paused gets when it is back: the difference", Run: paused},
	{Name: "formation", What: "time until four fresh nodes agree on one View", Run: formation},
	{Name: "memory", What: "5 million records of one 100-byte bin: resident bytes each, empty size, GC share", Run: memory},
}

func main() { parts.Main("figures", run) }

func run(ctx context.Context, args []string) error {
	var o options
	f := pflag.NewFlagSet("figures", pflag.ContinueOnError)
	f.StringVar(&o.bin, "bin", "bin", "directory of the programs")
	f.IntVar(&o.repeats, "repeats", 0, "how often to repeat (default: the part's own)")
	f.Int64Var(&o.records, "records", 0, "records to load (default: the part's own)")
	f.BoolVar(&o.quick, "quick", false, "small and short, to see that it works: the figures mean nothing")
	f.Uint64Var(&o.seed, "seed", 1, "of the load and of the choice of nodes")
	f.Usage = func() {
		fmt.Println("figures [flags] PART… measures what the project promises. Parts, or all:")
		all.Help(os.Stdout)
		fmt.Print(f.FlagUsages())
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	chosen, err := all.Choose(f.Args())
	if err != nil {
		return err
	}
	return chosen.Run(ctx, &o)
}

func (o *options) node() string { return filepath.Join(o.bin, "headroom-node") }

// times is how often a part repeats: as told, or briefly, or as it would.
func (o *options) times(own int) int {
	switch {
	case o.repeats > 0:
		return o.repeats
	case o.quick:
		return min(own, 2)
	}
	return own
}

func (o *options) load(own int64) string {
	switch {
	case o.records > 0:
		own = o.records
	case o.quick:
		own /= 20
	}
	return fmt.Sprint(own)
}

// sample is a set of measured values.
type sample []float64

func (s sample) median() float64 {
	if len(s) == 0 {
		return 0
	}
	c := slices.Sorted(slices.Values(s))
	return (c[(len(c)-1)/2] + c[len(c)/2]) / 2
}

func (s sample) worst() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Max(s)
}

// row prints one figure beside its target.
func row(what string, value float64, unit string, n int, target string) {
	fmt.Printf("  %-46s %10.4g %-10s n=%-3d target %s\n", what, value, unit, n, target)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
