package main

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"headroom/loadgen/drive"
	"headroom/loadgen/local"
	"headroom/loadgen/result"
)

// injected is a fault that was carried out.
type injected struct {
	fault local.Fault
	nodes []string
	at    time.Duration // on the driver's clock
	seen  *local.Observed
}

// inject carries out the fault schedule; start is the start of the measured
// phase on the driver's clock. It returns when the schedule or ctx ends.
func (s *session) inject(ctx context.Context, start time.Duration) {
	r := rand.New(rand.NewPCG(s.o.seed, 0xfa17))
	clock := s.driver.Clock()
	for _, f := range s.o.faults {
		select {
		case <-ctx.Done():
			return
		case <-time.After(start + f.At - clock.Now()):
		}
		at := clock.Now()
		nodes, err := s.cluster.Inject(ctx, f, r)
		wall := clock.Wall(at)
		if err != nil {
			s.out.say("fault %v: %v", f, err)
			s.notInjected = append(s.notInjected, result.Verdict{Rule: "FAULT", Level: result.Fail, Text: string(f.Action) + " " + f.Node + " was not possible: " + err.Error()})
			s.rec.event(wall, result.EventFault, f.Node, string(f.Action)+" was not possible: "+err.Error())
		}
		if len(nodes) == 0 {
			continue
		}
		for _, n := range nodes {
			s.rec.event(wall, result.EventFault, n, string(f.Action))
		}
		s.out.say("%s %s", f.Action, strings.Join(nodes, " "))
		s.faults = append(s.faults, injected{fault: f, nodes: nodes, at: at, seen: s.watcher.Faulted(f.Action, nodes, wall)})
	}
}

// faultResults joins what the driver and the watcher saw of each fault.
func (s *session) faultResults(report *drive.Report) []result.Fault {
	list := []result.Fault{}
	observed := []local.Observed{}
	if s.watcher != nil {
		observed = s.watcher.Faults()
	}
	for i, f := range s.faults {
		at := f.at - report.MeasuredFrom
		g := report.GapAround(at)
		out := result.Fault{AtSec: at.Seconds(), What: string(f.fault.Action), Node: strings.Join(f.nodes, " "), Failed: g.Failed, InDoubt: g.InDoubt}
		if g.Known {
			out.GapMS = number(float64(g.Worst.Microseconds()) / 1000)
		}
		if o := observed[i]; o.OneView > 0 {
			out.OneViewMS = number(float64(o.OneView.Microseconds()) / 1000)
		}
		if o := observed[i]; o.Restored > 0 {
			out.RedundancyRestoredSec = number(o.Restored.Seconds())
		}
		list = append(list, out)
	}
	return list
}

func number(v float64) *float64 { return &v }
