package server

import (
	"strings"
	"testing"

	"headroom/node/cluster"
	"headroom/node/partition"
)

func TestAQuiescedNodeHandsOverAndMayBeStopped(t *testing.T) {
	inBubble(t, 4, func(b *bubble) {
		b.fill(300)
		n := b.nodes[3]
		if done, err := n.Quiesce(true); err != nil || !strings.Contains(done, "quiesced") {
			t.Fatalf("quiesce: %q, %v", done, err)
		}
		if safe, why := n.SafeToStop(); safe {
			t.Errorf("safe to stop before anybody has agreed: %s", why)
		}
		b.await("hand-over", func() bool { safe, _ := n.SafeToStop(); return safe })
		s := n.Status()
		if ns := s.Namespaces[0]; !s.Quiesced || ns.Masters["node3"] != 0 || ns.Copies["node3"] != 0 || ns.Records != 0 {
			t.Errorf("quiesced %v, masters %d, copies %d, records %d; want true and none", s.Quiesced, ns.Masters["node3"], ns.Copies["node3"], ns.Records)
		}
		for _, m := range b.nodes[1].Status().Members {
			if m.Quiesced != (m.Node == "node3") {
				t.Errorf("node1 sees %s quiesced %v", m.Node, m.Quiesced)
			}
		}
		b.check(300, same)
		n.Close()
		delete(b.nodes, 3)
		b.check(300, same)
	})
}

func TestUnquiesceGivesAShareBack(t *testing.T) {
	inBubble(t, 3, func(b *bubble) {
		n := b.nodes[2]
		if _, err := n.Quiesce(true); err != nil {
			t.Fatal(err)
		}
		b.await("hand-over", func() bool { safe, _ := n.SafeToStop(); return safe })
		if done, err := n.Quiesce(true); err != nil || !strings.Contains(done, "already") {
			t.Errorf("a second time: %q, %v", done, err)
		}
		if _, err := n.Quiesce(false); err != nil {
			t.Fatal(err)
		}
		b.await("share", func() bool { return n.Status().Namespaces[0].Masters["node2"] > 1000 && b.settled() })
	})
}

func TestStatusSaysWhatKeepsCopiesFromAnEvenShare(t *testing.T) {
	f := func(rf int, want string, racks ...cluster.RackID) {
		t.Helper()
		v := &cluster.View{}
		for i, r := range racks {
			v.Members = append(v.Members, cluster.Member{Node: cluster.NodeID(len(racks) - i), Inc: 1, Rack: r})
		}
		got := balanceOf(v, partition.NewTable(v, rf))
		if want == "" && got.Note != "" || !strings.Contains(got.Note, want) {
			t.Errorf("racks %v, %d copies: %+v, want %q in the note", racks, rf, got, want)
		}
	}
	f(2, "", 0, 0, 0, 0)
	f(2, "", 1, 1, 2, 2)
	f(2, "racks differ in size (rack 1 has 1, rack 2 has 3 of 4 nodes)", 1, 2, 2, 2)
	f(3, "2 racks for 3 copies: copies share a rack", 1, 1, 2, 2)
	f(2, "1 racks for 2 copies", 7, 7)
}
