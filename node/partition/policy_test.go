package partition

import "testing"

func TestPolicyIsThatOfTheFirstMemberThatHasTheNamespace(t *testing.T) {
	with := func(rf int, fresh, revive bool) *MemberReport {
		return &MemberReport{Namespaces: []NamespaceReport{{Name: "other", RF: 9}, {Name: "n", RF: rf, Fresh: fresh, Revive: revive}}}
	}
	f := func(want Policy, members ...*MemberReport) {
		t.Helper()
		if got := PolicyOf(members, "n"); got != want {
			t.Errorf("policy %+v, want %+v", got, want)
		}
	}
	f(Policy{})
	f(Policy{}, nil, &MemberReport{})
	f(Policy{RF: 3}, &MemberReport{}, with(3, false, false), with(2, true, false))
	f(Policy{RF: 2, Revive: true}, with(2, true, false), with(3, false, false))
	f(Policy{RF: 3, Revive: true}, with(3, false, false), nil, with(2, false, true))
}

func TestHeirIsTheFullestAndNewestCopy(t *testing.T) {
	v := newView(4, nil)
	tab := NewTable(v, 2)
	const pid = 7
	row := tab.Row(pid)
	f := func(want int, copies map[int]Copy) { // by place in the row
		t.Helper()
		reports := make([]*Report, 4)
		for i := range reports {
			reports[i] = &Report{}
			reports[i].Established[pid] = key(50)
		}
		for at, c := range copies {
			reports[row[at]].Copies[pid] = c
		}
		part := &NewPlan(v, tab, reports).Parts[pid]
		if part.Available || part.Master != Nobody {
			t.Fatalf("%v: available without a full copy", copies)
		}
		if part.Heir != row[want] {
			t.Errorf("%v: heir %d, want the member at place %d of %v", copies, part.Heir, want, row)
		}
	}
	f(0, nil)
	f(0, map[int]Copy{2: {State: Full, Empty: true, Key: key(9)}})
	f(3, map[int]Copy{0: {State: Full, Empty: true, Key: key(9)}, 3: {State: Spare, Key: key(1)}})
	f(2, map[int]Copy{1: {State: Subset, Key: key(9)}, 2: {State: Full, Key: key(3)}})
	f(3, map[int]Copy{1: {State: Full, Key: key(3)}, 3: {State: Full, Key: key(8)}})
	f(1, map[int]Copy{1: {State: Subset, Key: key(8)}, 2: {State: Subset, Key: key(8)}, 3: {State: Spare, Key: key(20)}})
}
