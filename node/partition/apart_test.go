package partition

import (
	"testing"

	"headroom/node/cluster"
)

func TestACopyFoundAfterACrashServesOnlyIfNoneWentOn(t *testing.T) {
	k := cluster.ViewKey{Counter: 5, Proposer: 7, Inc: 1}
	v := &cluster.View{Key: cluster.ViewKey{Counter: 9, Proposer: 1, Inc: 1}}
	for i := range 3 {
		v.Members = append(v.Members, cluster.Member{Node: cluster.NodeID(i + 1), Inc: 1})
	}
	table := NewTable(v, 2)
	row := table.Row(0)
	reports := []*Report{{}, {}, {}}
	reports[row[2]].Established[0] = k // it holds nothing, and remembers
	crashed := Copy{State: Full, Key: Apart(k, 1, 4)}
	reports[row[0]].Copies[0] = crashed
	if p := NewPlan(v, table, reports).Parts[0]; !p.Available || p.Master != row[0] {
		t.Errorf("alone, the copy is not served: %+v", p)
	}
	reports[row[1]].Copies[0] = Copy{State: Full, Key: k}
	if p := NewPlan(v, table, reports).Parts[0]; p.Master != row[1] || p.InSync(crashed) {
		t.Errorf("beside a copy that did not crash the master is %d, want %d, and the other not in sync", p.Master, row[1])
	}
	reports[row[2]].Established[0] = cluster.ViewKey{Counter: 6, Proposer: 1, Inc: 1}
	reports[row[1]].Copies[0] = Copy{}
	if p := NewPlan(v, table, reports).Parts[0]; p.Available {
		t.Error("a copy is served although a later View was established")
	}
}
