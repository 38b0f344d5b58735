package client

import (
	"testing"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// mapOf makes a map of three members, node3 first, that all give partition 0
// to member index master; the others have no master.
func mapOf(view, generation uint64, master uint16) *wire.Map {
	m := &wire.Map{View: cluster.ViewKey{Counter: view, Proposer: 3, Inc: 1}, Generation: generation}
	for id := cluster.NodeID(3); id > 0; id-- {
		m.Members = append(m.Members, wire.MapMember{Node: id})
	}
	m.Namespaces = []wire.MapNamespace{{Name: "default", RF: 2}}
	m.Namespaces[0].Masters[0] = master
	for p := 1; p < cluster.Partitions; p++ {
		m.Namespaces[0].Masters[p] = wire.NoMaster
	}
	return m
}

func TestWhichMapIsBelieved(t *testing.T) {
	type offer struct {
		from cluster.NodeID
		m    *wire.Map // nil: from is lost
	}
	f := func(name string, want uint16, offers ...offer) {
		t.Helper()
		var a atlas
		for _, o := range offers {
			if o.m == nil {
				a.forget(o.from)
			} else {
				a.offer(o.from, o.m)
			}
		}
		if got := a.cur.Namespaces[0].Masters[0]; got != want {
			t.Errorf("%s: master is member %d, want %d", name, got, want)
		}
	}
	f("the newer view wins", 1, offer{1, mapOf(2, 1, 1)}, offer{2, mapOf(1, 9, 0)})
	f("the newer view wins, later", 0, offer{1, mapOf(2, 1, 1)}, offer{2, mapOf(3, 1, 0)})
	f("a newer generation of one node", 2, offer{1, mapOf(2, 1, 1)}, offer{1, mapOf(2, 2, 2)})
	f("an older generation of one node", 1, offer{1, mapOf(2, 2, 1)}, offer{1, mapOf(2, 1, 2)})
	f("a bystander's first map does not undo what is known", 1, offer{1, mapOf(2, 1, 1)}, offer{3, mapOf(2, 7, 2)})
	f("a node that says it is the master is believed", 0, offer{1, mapOf(2, 1, 1)}, offer{3, mapOf(2, 1, 0)})
	f("a node that says it is not is believed", 0, offer{1, mapOf(2, 1, 1)}, offer{2, mapOf(2, 1, 0)})
	f("a bystander's change is news", 2, offer{3, mapOf(2, 1, 1)}, offer{1, mapOf(2, 1, 1)}, offer{2, mapOf(2, 1, 1)}, offer{3, mapOf(2, 2, 2)})
	f("an older view counts when nobody stands for the newer", 2, offer{1, mapOf(9, 1, 1)}, offer{1, nil}, offer{1, mapOf(2, 1, 2)})
	f("but not while somebody does", 1, offer{1, mapOf(9, 1, 1)}, offer{2, mapOf(9, 1, 1)}, offer{1, nil}, offer{1, mapOf(2, 1, 2)})
	f("an unknown node claims nothing", 1, offer{1, mapOf(2, 1, 1)}, offer{7, mapOf(2, 1, wire.NoMaster)})
}

func TestMergingLeavesSharedMapsAlone(t *testing.T) {
	var a atlas
	first := mapOf(2, 1, 1)
	a.offer(1, first)
	a.offer(1, mapOf(2, 2, 2))
	if got := first.Namespaces[0].Masters[0]; got != 1 {
		t.Errorf("the first map was changed to %d", got)
	}
}
