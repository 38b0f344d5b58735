package main

import (
	"math"
	"slices"
	"testing"

	"headroom/node/disk/profile"
	"headroom/planner/plan"
)

func TestThroughputIsReadBetweenTheLevelsAroundTheTarget(t *testing.T) {
	c := &cluster{levels: []level{{rate: 100, p99: slo / 2}, {rate: 200, p99: slo * 2}}}
	if got := held(c); math.Abs(got-150) > 1 {
		t.Errorf("held at %.0f/s, want 150", got)
	}
	if got := held(&cluster{levels: c.levels[:1]}); !math.IsNaN(got) {
		t.Errorf("held at %.0f/s although no level missed the target", got)
	}
}

func TestOneSpoiltRunDoesNotSpoilTheFit(t *testing.T) {
	p, err := profile.Parse("device.yaml", []byte(device))
	if err != nil {
		t.Fatal(err)
	}
	var others []*cluster
	for i, mean := range []float64{0.042, 0.042, 0.180} {
		n := i + 3
		others = append(others, &cluster{nodes: n, kills: []kill{{rebuilt: 10}}, kept: 1000, levels: []level{{rate: 0.3 * capacity(p, n), mean: mean}}})
	}
	f, err := learn(p, plan.NewShapes(), others)
	if err != nil {
		t.Fatal(err)
	}
	if f.extra > 0.01 {
		t.Errorf("%.0f ms beside the device, want a few", f.extra*1e3)
	}
}

// TestTheBusiestSenderPredictsTheRebuild holds the rule against three kills on a
// quiet machine. By the node that receives most, eight nodes were 23 % off.
func TestTheBusiestSenderPredictsTheRebuild(t *testing.T) {
	p, err := profile.Parse("device.yaml", []byte(device))
	if err != nil {
		t.Fatal(err)
	}
	seen := []*cluster{
		{nodes: 3, kept: 4797, kills: []kill{{view: 0.15, rebuilt: 41.62}}},
		{nodes: 5, kept: 14_827, kills: []kill{{view: 0.15, rebuilt: 39.74}}},
		{nodes: 8, kept: 32_283, kills: []kill{{view: 0.15, rebuilt: 33.14}}},
	}
	for i, c := range seen {
		f, err := learn(p, plan.NewShapes(), slices.Concat(seen[:i], seen[i+1:]))
		if err != nil {
			t.Fatal(err)
		}
		if e := (f.view+f.sent(c)/f.pace)/c.rebuild().rebuilt - 1; math.Abs(e) > 0.08 {
			t.Errorf("%d nodes: %+.1f %% off", c.nodes, e*100)
		}
	}
}

func TestTheMedianOfSeveralKillsCounts(t *testing.T) {
	c := &cluster{kills: []kill{{rebuilt: math.NaN()}, {rebuilt: 30}, {rebuilt: 40}}}
	if got := c.rebuild().rebuilt; got != 40 {
		t.Errorf("rebuilt after %g s, want 40: one that was not seen to its end took longest", got)
	}
}
