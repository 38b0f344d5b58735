package main

import (
	"math"
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
