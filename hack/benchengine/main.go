// Command benchengine measures the storage engine alone, each figure beside
// its target: operations per second and core, restart, flash against fio,
// memory, garbage collection. hack/bench-fio.sh and hack/bench-engine.sh run
// it; `make bench` has the same hot paths for benchstat.
//
// The invariant to know: a figure is a median over repetitions in one process
// on this machine, with their number beside it; what is compared is
// interleaved, so that a busy machine slows both sides.
//
// Start reading at all.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"headroom/hack/parts"
)

// options are the flags.
type options struct {
	dir     string
	pairs   int
	each    time.Duration
	records int
	threads bool

	recordSize int
	profile    string
}

var all = parts.Set[options]{
	{Name: "dram", What: "1 million records of 100 bytes in memory, digest given, one goroutine", Run: dram},
	{Name: "restart", What: "2 million records of 100 bytes on a file, opened after a crash and after a proper end", Run: restart},
	{Name: "reads", What: "random reads of 100-byte records on a file beside fio's of 4 KiB in the same file", Run: reads},
	{Name: "writes", What: "uniform overwrites of records (--record-size) at 50 % live fill beside fio's sequential writes of 1 MiB", Run: writes},
	{Name: "many", What: "50 million records of 64 bytes in one process: speed, memory, garbage collection (9 GB)", Run: many},
}

func main() { parts.Main("benchengine", run) }

func run(ctx context.Context, args []string) error {
	var o options
	f := pflag.NewFlagSet("benchengine", pflag.ContinueOnError)
	f.StringVar(&o.dir, "dir", "", "where the files lie, 2.5 GB at most (default: the system's temporary directory)")
	f.IntVar(&o.pairs, "pairs", 10, "interleaved pairs")
	f.DurationVar(&o.each, "each", 600*time.Millisecond, "length of one side of a pair")
	f.IntVar(&o.records, "records", 50_000_000, "records of the part many")
	f.IntVar(&o.recordSize, "record-size", 4000, "bytes of a record of the part writes: small ones are bound by the processor")
	f.BoolVar(&o.threads, "threads", false, "reads and writes wait in threads instead of an io_uring")
	f.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of all parts here, for go tool pprof")
	f.Usage = func() {
		fmt.Println("benchengine [flags] PART… measures the storage engine. Parts:")
		all.Help(os.Stdout)
		fmt.Print(f.FlagUsages())
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.pairs < 1 || o.each < 50*time.Millisecond || o.records < 1000 || o.recordSize < 16 || o.recordSize > 64<<10 {
		return errors.New("want --pairs of 1 or more, --each of 50ms or more, --records of 1000 or more, --record-size from 16 to 65536")
	}
	chosen, err := all.Choose(f.Args())
	if err != nil {
		return err
	}
	if o.profile != "" {
		out, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer out.Close()
		if err := pprof.StartCPUProfile(out); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // as headroom-node does
	}
	return chosen.Run(ctx, &o)
}

// target is what a figure has to be: at least, or, if most, at most.
type target struct {
	value float64
	most  bool
}

func atLeast(v float64) *target { return &target{value: v} }
func atMost(v float64) *target  { return &target{value: v, most: true} }

// row prints one figure, the median of its repetitions and their range.
func row(name string, unit string, values []float64, t *target) {
	slices.Sort(values)
	n := len(values)
	median := (values[(n-1)/2] + values[n/2]) / 2
	text := fmt.Sprintf("  %-46s %10.4g %-10s n=%-3d %s", name, median, unit, n, fmt.Sprintf("[%.4g, %.4g]", values[0], values[n-1]))
	switch {
	case t == nil:
		text += "  reported"
	case t.most:
		text += fmt.Sprintf("  <= %g %s", t.value, verdict(median <= t.value))
	default:
		text += fmt.Sprintf("  >= %g %s", t.value, verdict(median >= t.value))
	}
	fmt.Println(strings.TrimRight(text, " "))
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "NOT MET"
}
