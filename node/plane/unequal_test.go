package plane

import (
	"testing"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/txn"
)

func TestCopiesAreComparedOnceThereIsRoomAndAViewHasHeard(t *testing.T) {
	p := &Plane{self: 1}
	roomy, full := func() bool { return false }, func() bool { return true }
	wants := func(when string, full func() bool, want bool) {
		t.Helper()
		if got := p.WantsComparison(full); got != want {
			t.Errorf("%s: a View is wanted %v, want %v", when, got, want)
		}
	}
	tells := func(pids ...int) {
		t.Helper()
		var got, want partition.Report
		p.unequal.tell(&got)
		for _, pid := range pids {
			want.Unequal[pid] = partition.Differ
		}
		if got != want {
			t.Errorf("the report does not tell of partitions %v alone", pids)
		}
	}
	p.plan.Store(&Committed{View: &cluster.View{Members: []cluster.Member{{Node: 3}, {Node: 2}, {Node: 1}}}})
	wants("nothing is known", roomy, false)
	p.unequal.setStopped([]cluster.NodeID{2, 9})
	p.unequal.note([]txn.Lacking{{Partition: 7, Node: 2}, {Partition: 7, Node: 2}, {Partition: 8, Node: 2}})
	wants("who lacks a write has no room", roomy, false)
	p.unequal.setStopped([]cluster.NodeID{9})
	wants("it has room", full, true)
	p.unequal.note([]txn.Lacking{{Partition: 8, Node: 9}})
	wants("the other one is no member", roomy, true)
	tells(7, 8)
	p.unequal.note([]txn.Lacking{{Partition: 9, Node: 1}}) // after the report
	p.unequal.committed()
	wants("this node has no room", full, false)
	wants("it has", roomy, true)
	tells(9)
	p.unequal.committed()
	wants("all is told", roomy, false)
	tells()
}
