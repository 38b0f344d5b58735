package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"headroom/loadgen/live"
	"headroom/loadgen/local"
	"headroom/loadgen/result"
	"headroom/loadgen/target"
)

// lister is a target whose node2 answers 500 operations between two looks.
type lister struct {
	target.Null
	looks int64
}

func (l *lister) NodeStates() (string, []target.NodeState) {
	l.looks++
	return "3.node2.1", []target.NodeState{{Name: "node10", Masters: 7}, {Name: "node2", Answers: 500 * l.looks, Masters: 9}}
}

func TestTheNodeTableJoinsSamplesAndAnswers(t *testing.T) {
	var n nodeTable
	now := time.Unix(100, 0)
	n.follow(target.Null{})
	if got := n.second(now); len(got) != 0 {
		t.Errorf("a target without nodes has %v", got)
	}
	n.follow(&lister{})
	n.sample(local.Sample{Node: "node10", NodeSample: result.NodeSample{Up: false, Masters: 1}})
	n.second(now)
	want := []live.Node{{Name: "node2", Up: true, View: "3.node2.1", Masters: 9, OpsPerSec: 250}, {Name: "node10", Masters: 1}}
	if d := cmp.Diff(want, n.second(now.Add(2*time.Second))); d != "" {
		t.Errorf("table (-want +got):\n%s", d)
	}
}
