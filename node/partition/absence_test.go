package partition

import (
	"testing"
	"time"

	"headroom/node/cluster"
)

func TestMembersAreApartSinceTheirLastCommonView(t *testing.T) {
	with := func(pairs ...uint64) *MemberReport { // counter, age, ...
		m := &MemberReport{}
		for i := 0; i < len(pairs); i += 2 {
			m.History, m.Ages = append(m.History, key(pairs[i])), append(m.Ages, uint32(pairs[i+1]))
		}
		return m
	}
	f := func(want bool, a, b *MemberReport) {
		t.Helper()
		for _, members := range [][]*MemberReport{{a, b}, {b, a}} {
			if got := AbsenceOf(members, time.Minute).of(0, 1); got != want {
				t.Errorf("%v and %v apart: %v, want %v", members[0], members[1], got, want)
			}
		}
	}
	f(false, with(1, 900, 2, 0), with(1, 900, 2, 0)) // both in 2
	f(true, with(1, 100), with(1, 100, 3, 0))        // 1 was left 100 s ago
	f(true, with(1, 0), with(1, 100, 3, 0))          // one slept in it
	f(false, with(1, 30), with(1, 59, 3, 0))         // in time
	f(false, with(7, 900), with(8, 900))             // nothing in common
	f(false, with(1, 900, 2, 5), with(1, 900, 2, 7)) // parted a moment ago
	full := func(age uint64) *MemberReport {
		var pairs []uint64
		for i := range uint64(historyFull) {
			pairs = append(pairs, 100+i, age*(historyFull-1-i)/(historyFull-1))
		}
		return with(pairs...)
	}
	f(true, with(1, 0), full(100))                                          // what both were in is forgotten, and was left before all that is not
	f(false, with(1, 0), full(59))                                          // it may have been a moment ago
	f(true, with(1, 0, 100, 0), full(100))                                  // known, and too long ago
	f(false, with(1, 0, 130, 0), full(100))                                 // known
	f(false, nil, with(1, 900))                                             // has nothing
	f(false, &MemberReport{History: []cluster.ViewKey{key(1)}}, with(1, 0)) // ages unknown
}

func TestACopyThatWasAwayForTooLongCountsAsNone(t *testing.T) {
	v := newView(3, nil)
	tab := NewTable(v, 2)
	const pid = 11
	row := tab.Row(pid)
	members, reports := make([]*MemberReport, 3), make([]*Report, 3)
	for i := range members {
		members[i], reports[i] = &MemberReport{History: []cluster.ViewKey{key(1), key(2)}, Ages: []uint32{900, 0}}, &Report{}
		reports[i].Established[pid] = key(2)
		reports[i].Copies[pid] = Copy{State: Full, Key: key(2)}
	}
	old := row[0] // the best ranked was away, with an older copy
	members[old] = &MemberReport{History: []cluster.ViewKey{key(1)}, Ages: []uint32{0}}
	reports[old].Copies[pid] = Copy{State: Full, Key: key(1)}
	reports[row[2]].Copies[pid] = Copy{}
	p := NewPlanAfter(AbsenceOf(members, time.Minute), v, tab, reports)
	part := &p.Parts[pid]
	if part.Master != row[1] || len(part.Duplicates) != 0 || len(part.Forget) != 1 || part.Forget[0] != old {
		t.Errorf("master %d, duplicates %v, forget %v of row %v", part.Master, part.Duplicates, part.Forget, row)
	}
	if c := p.CopyAfter(pid, old, reports[old].Copies[pid]); c != (Copy{State: Subset, Empty: true, Key: p.Key}) {
		t.Errorf("its copy becomes %+v, want an empty subset that is filled", c)
	}
	if part := NewPlan(v, tab, reports).Parts[pid]; len(part.Duplicates) != 1 || len(part.Forget) != 0 {
		t.Errorf("after a short absence: duplicates %v, forget %v; want it merged", part.Duplicates, part.Forget)
	}
}
