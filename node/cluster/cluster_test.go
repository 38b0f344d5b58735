package cluster

import "testing"

func TestNodeIDsPrintAndParseBack(t *testing.T) {
	for _, n := range []NodeID{1, 3, 999_999, 1_000_000, 1<<63 | 5} {
		if got, err := ParseNodeID(n.String()); err != nil || got != n {
			t.Errorf("ParseNodeID(%q) = %d, %v; want %d", n.String(), got, err, n)
		}
	}
	if n, err := ParseNodeID("7"); n != 7 || err != nil {
		t.Errorf("ParseNodeID(7) = %v, %v", n, err)
	}
	for _, bad := range []string{"", "0", "node", "node0", "nodex", "-1", "00000000000000zz", "99999999999999999999"} {
		if n, err := ParseNodeID(bad); err == nil {
			t.Errorf("ParseNodeID(%q) = %v, want an error", bad, n)
		}
	}
}

func TestViewKeysOrderByCounterThenProposerThenIncarnation(t *testing.T) {
	keys := []ViewKey{{}, {1, 1, 1}, {1, 1, 2}, {1, 2, 1}, {2, 1, 1}}
	for i, a := range keys {
		for j, b := range keys {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%v against %v: %d, want %d", a, b, got, want)
			}
			if i != j && a.Tag() == b.Tag() {
				t.Errorf("%v and %v share a tag", a, b)
			}
			if a.Counter < b.Counter && a.Tag() >= b.Tag() {
				t.Errorf("tags of %v and %v do not order by counter", a, b)
			}
		}
	}
}

func TestMemberIsNodeAndIncarnation(t *testing.T) {
	v := &View{Members: []Member{{Node: 1, Inc: 4}, {Node: 3, Inc: 1}, {Node: 2, Inc: 1}}}
	SortMembers(v.Members)
	if v.Principal() != 3 || v.Index(1) != 2 || v.Index(9) != -1 {
		t.Errorf("succession %v, principal %v", v, v.Principal())
	}
	if !v.Has(1, 4) || v.Has(1, 3) {
		t.Error("a member must match in its incarnation too")
	}
}

func TestNeverStaysNever(t *testing.T) {
	if Never.Add(1) != Never || Instant(5).Add(3) != 8 || Instant(5).Sub(3) != 2 {
		t.Error("instants do not add up")
	}
}
