package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"headroom/hack/figures/rig"
)

// memory: one node, empty and full, and its garbage collection under load.
func memory(ctx context.Context, o *options) error {
	// The collector's own account; Setenv is inherited by the node.
	if err := os.Setenv("GODEBUG", "gctrace=1"); err != nil {
		return err
	}
	defer os.Unsetenv("GODEBUG")
	r, err := rig.Start(ctx, rig.Config{Binary: o.node(), Nodes: 1, Flags: map[string]string{"replication-factor": "1"}, Closed: 64,
		NoAudit: true, Seed: o.seed, Longest: time.Hour, Set: []string{"records", o.load(5_000_000), "value-size", "100B"}})
	if err != nil {
		return err
	}
	defer r.Close()
	if err := rig.Sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	empty, err := r.Usage()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := r.Load(ctx); err != nil {
		return err
	}
	records := r.Driver.Config().Workload.Records
	fmt.Printf("  loaded %d records in %.1f s\n", records, time.Since(began).Seconds())
	if err := rig.Sleep(ctx, 5*time.Second); err != nil {
		return err
	}
	full, err := r.Usage()
	if err != nil {
		return err
	}
	row("resident size, empty", float64(empty.Resident)/1e6, "MB", 1, "<= 100")
	row("resident size, full", float64(full.Resident)/1e6, "MB", 1, "reported")
	row("resident per record above empty", float64(full.Resident-empty.Resident)/float64(records), "B", 1, "<= 230")
	return collection(ctx, o, r)
}

// collection measures the collector's share of the node's CPU time under a
// closed loop of half reads, half writes.
func collection(ctx context.Context, o *options, r *rig.Rig) error {
	if err := r.Go(ctx); err != nil {
		return err
	}
	cycles0, gc0, err := r.GCTime("node1")
	if err != nil {
		return err
	}
	from, err := r.Usage()
	if err != nil {
		return err
	}
	length := 30 * time.Second
	if o.quick {
		length = 8 * time.Second
	}
	if err := rig.Sleep(ctx, length); err != nil {
		return err
	}
	to, err := r.Usage()
	if err != nil {
		return err
	}
	cycles1, gc1, err := r.GCTime("node1")
	if err != nil {
		return err
	}
	report, err := r.Stop()
	if err != nil {
		return err
	}
	fmt.Printf("  under load: %.0f operations/s, %.2f CPU seconds in %v, %d collections of %.2f CPU seconds\n",
		float64(report.Achieved)/report.Duration.Seconds(), (to.CPU - from.CPU).Seconds(), length, cycles1-cycles0, (gc1 - gc0).Seconds())
	row("share of CPU in garbage collection under load", 100*float64(gc1-gc0)/float64(to.CPU-from.CPU), "%", cycles1-cycles0, "< 5")
	row("resident size under load", float64(to.Resident)/1e6, "MB", 1, "reported")
	return nil
}
