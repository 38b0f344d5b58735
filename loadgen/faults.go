package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"headroom/loadgen/drive"
	"headroom/loadgen/local"
	"headroom/loadgen/result"
	"headroom/loadgen/target"
)

// injected is a fault that was carried out.
type injected struct {
	fault local.Fault
	nodes []string
	at    time.Duration // on the driver's clock
	i     int           // among the watcher's faults
}

// scheduled carries out the fault schedule of the options; nil without one.
func scheduled(o *options) faulting {
	if len(o.faults) == 0 {
		return nil
	}
	return func(ctx context.Context, t *trial, start time.Duration) {
		r := rand.New(rand.NewPCG(o.seed, 0xfa17))
		for _, f := range o.faults {
			if !sleep(ctx, start+f.At-t.driver.Clock().Now()) {
				return
			}
			t.inject(ctx, f, r)
		}
	}
}

// sleep waits for d; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// inject carries out one fault now and notes it. It returns the nodes it hit.
func (t *trial) inject(ctx context.Context, f local.Fault, r *rand.Rand) []string {
	clock := t.driver.Clock()
	at := clock.Now()
	nodes, err := t.carryOut(ctx, f, r, at)
	wall := clock.Wall(at)
	if err != nil {
		t.out.say("fault %v: %v", f, err)
		t.notInjected = append(t.notInjected, result.Verdict{Rule: "FAULT", Level: result.Fail, Text: string(f.Action) + " " + f.Node + " was not possible: " + err.Error()})
		t.rec.event(wall, result.EventFault, f.Node, string(f.Action)+" was not possible: "+err.Error())
	}
	if len(nodes) == 0 {
		return nil
	}
	for _, n := range nodes {
		t.rec.event(wall, result.EventFault, n, string(f.Action))
	}
	t.out.say("%s %s", f.Action, strings.Join(nodes, " "))
	i := len(t.watcher.Faults())
	t.watcher.Faulted(f.Action, nodes, wall)
	t.faults = append(t.faults, injected{fault: f, nodes: nodes, at: at, i: i})
	return nodes
}

// carryOut does f. A fill or an empty takes a while; the schedule's next fault
// waits for it.
func (t *trial) carryOut(ctx context.Context, f local.Fault, r *rand.Rand, at time.Duration) ([]string, error) {
	if f.Action != local.Fill && f.Action != local.Empty {
		return t.cluster.Inject(ctx, f, r)
	}
	nodes, err := t.room(ctx, f)
	took := t.driver.Clock().Now() - at
	if err == nil {
		t.phase("%s %s took %v", f.Action, f.Node, took.Round(time.Millisecond))
	}
	return nodes, err
}

// room carries out a fill or an empty and returns the nodes it means.
func (t *trial) room(ctx context.Context, f local.Fault) (names []string, err error) {
	if f.Node == "random" {
		return nil, errors.New("name the node to fill, or all")
	}
	if t.filler == nil {
		if t.filler, err = target.NewFiller(ctx, t.cluster.Addrs(), t.cluster.Credentials(), t.o.namespace); err != nil {
			return nil, err
		}
	}
	names = t.cluster.Names()
	if f.Node != "all" {
		names = []string{f.Node}
	}
	if f.Action == local.Empty {
		return names, t.filler.Empty(ctx)
	}
	return names, t.filler.Fill(ctx, f.Node)
}

// faultResults joins what the driver and the watcher saw of each fault.
func (t *trial) faultResults(report *drive.Report) []result.Fault {
	list := []result.Fault{}
	observed := []local.Observed{}
	if len(t.faults) > 0 {
		observed = t.watcher.Faults()
	}
	for _, f := range t.faults {
		at := f.at - report.MeasuredFrom
		g := report.GapAround(at)
		out := result.Fault{AtSec: at.Seconds(), What: string(f.fault.Action), Node: strings.Join(f.nodes, " "), Failed: g.Failed, InDoubt: g.InDoubt}
		if g.Known {
			out.GapMS = number(float64(g.Worst.Microseconds()) / 1000)
		}
		o := &observed[f.i]
		if o.OneView > 0 {
			out.OneViewMS = number(float64(o.OneView.Microseconds()) / 1000)
			t.settledAt(f, len(list), "one view", o.OneView)
		}
		if o.Restored > 0 {
			out.RedundancyRestoredSec = number(o.Restored.Seconds())
			t.settledAt(f, len(list), "full redundancy", o.Restored)
		}
		list = append(list, out)
	}
	return list
}

// settledAt notes in events.csv when what a fault, the i-th of the run, had upset
// was settled.
func (t *trial) settledAt(f injected, i int, what string, after time.Duration) {
	t.rec.event(t.driver.Clock().Wall(f.at+after), result.EventSettled, "", fmt.Sprintf("%s after fault %d, %s %s", what, i+1, f.fault.Action,
		strings.Join(f.nodes, " ")))
}

func number(v float64) *float64 { return &v }
