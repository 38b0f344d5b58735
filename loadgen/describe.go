package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"

	"headroom/workloads"
	"headroom/workloads/keys"
)

// skewRecords bounds the records over which the skew of a workload is drawn.
const skewRecords = 100_000

// workloadsMain is `workloads [NAME|FILE]`: the shipped workloads, or one of
// them as it runs, with the skew that its keys really have.
func workloadsMain(_ context.Context, args []string, stdout, _ io.Writer) error {
	switch len(args) {
	case 2:
		for _, name := range workloads.Names() {
			w, err := workloads.Load(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "%-13s %s of %v: %s\n", name, w.Keys.Distribution, w.ValueSize, w.MixText())
		}
		_, err := fmt.Fprintln(stdout, "'headroom-loadgen workloads NAME' prints one; save it to make your own")
		return err
	case 3:
	default:
		return usagef("workloads wants at most one name or file")
	}
	if args[2] == "-h" || args[2] == "--help" {
		_, err := fmt.Fprintln(stdout, "usage: headroom-loadgen workloads [NAME|FILE]")
		return err
	}
	w, err := workloads.Load(args[2])
	if err != nil {
		return usageError{err}
	}
	if err := w.Validate(); err != nil {
		return usagef("workload %s: %w", args[2], err)
	}
	if _, err := stdout.Write(w.YAML()); err != nil || w.Keys.Placed() {
		return err
	}
	n := min(w.Records, skewRecords)
	w.Records = n
	c, err := w.Chooser(workloads.Place{})
	if err != nil {
		return err
	}
	hottest, hundredth, fifth := keys.Skew(c, uint64(n), rand.New(rand.NewPCG(1, 2)))
	_, err = fmt.Fprintf(stdout, "# of %d records the hottest gets %.2g %% of the requests, the hottest 1 %% get %.3g %%, the hottest 20 %% get %.3g %%\n", n,
		100*hottest, 100*hundredth, 100*fifth)
	return err
}
