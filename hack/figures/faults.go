package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"headroom/hack/figures/rig"
	"headroom/loadgen/local"
)

const (
	// settled is how long the load runs before and after a fault: the window of
	// gap_ms is from 1 s before to 5 s after it, and windows must not overlap.
	settled = 6 * time.Second
	// patience ends a wait for redundancy. It is for 3 GB at the slowest rate
	// of a migration, 7.8 MB/s of three nodes.
	patience = 10 * time.Minute
)

// begin starts nodes, loads the records, and starts the load.
func begin(ctx context.Context, cfg rig.Config) (*rig.Rig, error) {
	r, err := rig.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := r.Load(ctx); err != nil {
		r.Close()
		return nil, err
	}
	fmt.Printf("  loaded in %.1f s\n", time.Since(began).Seconds())
	if err := r.Go(ctx); err != nil {
		r.Close()
		return nil, err
	}
	return r, rig.Sleep(ctx, 2*time.Second)
}

// kills: 30 random kills, each after full redundancy is back.
func kills(ctx context.Context, o *options) error {
	return killing(ctx, o, 30, "<= 300", "records", o.load(100_000), "value-size", "500B")
}

// heavy: the same with 3 GB on each of the four nodes, RF 2.
func heavy(ctx context.Context, o *options) error {
	return killing(ctx, o, 3, "3 GB and what the index takes", "records", o.load(6_000_000), "value-size", "1000B")
}

func killing(ctx context.Context, o *options, times int, memory string, set ...string) error {
	r, err := begin(ctx, rig.Config{Binary: o.node(), Nodes: 4, Rate: 2000, Seed: o.seed, Longest: time.Hour, Set: set})
	if err != nil {
		return err
	}
	defer r.Close()
	var faults []rig.Fault
	for i := range o.times(times) {
		if err := rig.Sleep(ctx, settled); err != nil {
			return err
		}
		kill, err := r.Do(ctx, local.Kill, "random")
		if err != nil {
			return err
		}
		if err := r.AwaitRedundancy(ctx, patience); err != nil {
			return err
		}
		if err := rig.Sleep(ctx, settled-time.Since(kill.Wall)); err != nil {
			return err
		}
		if _, err := r.Do(ctx, local.Restart, kill.Node); err != nil {
			return err
		}
		if err := r.AwaitRedundancy(ctx, patience); err != nil {
			return err
		}
		faults = append(faults, kill)
		fmt.Printf("  kill %d (%s): one view %v, redundancy %v\n", i+1, kill.Node, r.Observed(kill).OneView.Round(time.Millisecond),
			r.Observed(kill).Restored.Round(time.Millisecond))
	}
	return killRows(ctx, r, faults, memory)
}

func killRows(ctx context.Context, r *rig.Rig, faults []rig.Fault, wanted string) error {
	memory, err := r.Usage()
	if err != nil {
		return err
	}
	report, err := r.Stop()
	if err != nil {
		return err
	}
	if err := r.Driver.ReadBack(ctx, time.Minute, nil); err != nil {
		return err
	}
	var gap, view, back sample
	var failed, doubt int64
	for _, f := range faults {
		g, seen := r.Gap(report, f), r.Observed(f)
		gap, view, back = append(gap, ms(g.Worst)), append(view, ms(seen.OneView)), append(back, seen.Restored.Seconds())
		failed, doubt = failed+g.Failed, doubt+g.InDoubt
	}
	a, n := r.Driver.Audit(), len(faults)
	row("gap, median", gap.median(), "ms", n, "<= 400")
	row("gap, worst", gap.worst(), "ms", n, "<= 1500")
	row("one view, median", view.median(), "ms", n, "<= 300")
	row("redundancy, median", back.median(), "s", n, "restored")
	row("failed operations around kills", float64(failed), "", n, "reported")
	row("in-doubt operations around kills", float64(doubt), "", n, "reported")
	row("lost acknowledged writes", float64(a.Lost), "", n, fmt.Sprintf("0 (of %d)", a.AcknowledgedWrites))
	row("false not found", float64(a.FalseNotFound), "", n, "0")
	row("stale reads", float64(a.StaleReads), "", n, "0")
	row("corrupt values", float64(a.Corrupt), "", n, "0")
	row("resident memory per node", float64(memory.Resident)/4/(1<<20), "MiB", 4, wanted)
	return nil
}

// million: redundancy after a kill and after an empty node joins, and what the
// foreground sees of the migration.
func million(ctx context.Context, o *options) error {
	// Waiting is what is measured here, so nodes have all schedulers, as where
	// each has a machine of its own.
	r, err := rig.Start(ctx, rig.Config{Binary: o.node(), Nodes: 4, Rate: 1000, Seed: o.seed, Schedulers: runtime.NumCPU(),
		Set: []string{"records", o.load(1_000_000), "value-size", "100B"}})
	if err != nil {
		return err
	}
	defer r.Close()
	began := time.Now()
	if err := r.Load(ctx); err != nil {
		return err
	}
	fmt.Printf("  loaded in %.1f s\n", time.Since(began).Seconds())
	p, err := r.Probe(ctx, 1000, 100)
	if err != nil {
		return err
	}
	defer p.Stop()
	var killed, joined, ratio, quiet, busy sample
	for range o.times(5) {
		if err := rig.Sleep(ctx, 2*settled); err != nil {
			return err
		}
		kill, join, err := killAndJoin(ctx, r)
		if err != nil {
			return err
		}
		seen, back := r.Observed(kill), r.Observed(join)
		killed, joined = append(killed, seen.Restored.Seconds()), append(joined, back.Restored.Seconds())
		q, nq := p.P99(kill.Wall.Add(-settled-4*time.Second), kill.Wall.Add(-100*time.Millisecond))
		b, nb := p.P99(kill.Wall.Add(seen.OneView), kill.Wall.Add(seen.Restored))
		quiet, busy, ratio = append(quiet, ms(q)), append(busy, ms(b)), append(ratio, ms(b)/ms(q))
		fmt.Printf("  kill %s: redundancy %.1f s; joined empty: %.1f s; p99 %.2f ms of %d quiet, %.2f ms of %d while migrating\n", kill.Node,
			seen.Restored.Seconds(), back.Restored.Seconds(), ms(q), nq, ms(b), nb)
	}
	n := len(killed)
	row("redundancy after a kill, median", killed.median(), "s", n, "<= 15")
	row("redundancy after a kill, worst", killed.worst(), "s", n, "<= 15")
	row("redundancy after an empty node joins, median", joined.median(), "s", n, "<= 15")
	row("redundancy after an empty node joins, worst", joined.worst(), "s", n, "<= 15")
	row("foreground p99, quiet, median", quiet.median(), "ms", n, "reported")
	row("foreground p99, first table to redundancy", busy.median(), "ms", n, "reported")
	row("p99 ratio, median", ratio.median(), "x", n, "<= 1.5 of >= 5 kills")
	row("failed operations", float64(p.Failed()), "", n, "reported")
	return nil
}

func killAndJoin(ctx context.Context, r *rig.Rig) (kill, join rig.Fault, err error) {
	if kill, err = r.Do(ctx, local.Kill, "random"); err != nil {
		return kill, join, err
	}
	if err = r.AwaitRedundancy(ctx, patience); err != nil {
		return kill, join, err
	}
	if err = rig.Sleep(ctx, settled); err != nil {
		return kill, join, err
	}
	if join, err = r.Do(ctx, local.Restart, kill.Node); err != nil { // DRAM: it comes back empty
		return kill, join, err
	}
	return kill, join, r.AwaitRedundancy(ctx, patience)
}

// paused: bytes moved after a pause of 5 s, beside what the node holds.
func paused(ctx context.Context, o *options) error {
	r, err := begin(ctx, rig.Config{Binary: o.node(), Nodes: 4, Rate: 1000, Seed: o.seed, Longest: time.Hour,
		Set: []string{"records", o.load(200_000), "value-size", "100B", "keys.distribution", "uniform"}})
	if err != nil {
		return err
	}
	defer r.Close()
	var back, share sample
	for range o.times(3) {
		earlier, err := r.Moved(ctx, rig.Moved{})
		if err != nil {
			return err
		}
		stop, err := r.Do(ctx, local.Stop, "random")
		if err != nil {
			return err
		}
		if err := rig.Sleep(ctx, 5*time.Second); err != nil {
			return err
		}
		if err := r.AwaitRedundancy(ctx, patience); err != nil {
			return err
		}
		before, err := r.Moved(ctx, earlier)
		if err != nil {
			return err
		}
		cont, err := r.Do(ctx, local.Cont, stop.Node)
		if err != nil {
			return err
		}
		if err := r.AwaitRedundancy(ctx, patience); err != nil {
			return err
		}
		after, err := r.Moved(ctx, before)
		if err != nil {
			return err
		}
		moved := after.Since(before)
		back = append(back, r.Observed(cont).Restored.Seconds())
		share = append(share, 100*float64(moved)/float64(after.Held/4))
		fmt.Printf("  %s back: redundancy %.1f s, %d bytes moved, a node holds %d\n", stop.Node, r.Observed(cont).Restored.Seconds(),
			moved, after.Held/4)
	}
	row("redundancy after a pause of 5 s, median", back.median(), "s", len(back), "reported")
	row("moved, share of what a node holds, median", share.median(), "%", len(share), "only the difference")
	return nil
}

// formation: fresh nodes started together.
func formation(ctx context.Context, o *options) error {
	var view, seen sample
	for range o.times(10) {
		r, err := rig.Start(ctx, rig.Config{Binary: o.node(), Nodes: 4})
		if err != nil {
			return err
		}
		d, err := r.AgreedAfter()
		r.Close()
		if err != nil {
			return err
		}
		view, seen = append(view, ms(d)), append(seen, ms(r.Formed))
	}
	row("first process to the last commit of one View", view.median(), "ms", len(view), "<= 1000")
	row("the same, worst", view.worst(), "ms", len(view), "<= 1000")
	row("until all are seen ready from outside, median", seen.median(), "ms", len(seen), "reported")
	return nil
}
