package partition

import (
	"testing"

	"headroom/node/cluster"
	"headroom/node/hlc"
	"headroom/node/record"
)

// view is a View of the given nodes, whose proposer is the first.
func view(counter uint64, nodes ...cluster.NodeID) *cluster.View {
	v := &cluster.View{Key: cluster.ViewKey{Counter: counter, Proposer: nodes[0], Inc: 1}}
	for _, n := range nodes {
		v.Members = append(v.Members, cluster.Member{Node: n, Inc: 1})
	}
	return v
}

func version(regime uint32, stamp hlc.Stamp, node cluster.NodeID) record.Version {
	return record.Version{Regime: regime, Stamp: stamp, Node: node}
}

func lifted(v record.Version, regime uint32) record.Version {
	m := record.Meta{Version: v}
	m.Lift(regime)
	return m.Version
}

func TestVersionsConflictIfNeitherCopyWentThroughTheViewOfTheOther(t *testing.T) {
	// All until View 3; then 3 and 1 in 5, 2 alone in 5 and 6.
	s := NewSides(LineOf(view(1, 3, 2, 1), view(3, 3, 2, 1), view(5, 3, 1)), LineOf(view(1, 3, 2, 1), view(3, 3, 2, 1), view(5, 2), view(6, 2)))
	f := func(name string, ours, theirs record.Version, want Verdict) {
		t.Helper()
		if got := s.Judge(ours, theirs); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	f("each side wrote", version(5, 10, 1), version(6, 9, 2), Conflict)
	f("each side wrote in a View of the same counter", version(5, 10, 3), version(5, 11, 2), Conflict)
	f("theirs is from before", version(5, 10, 1), version(3, 9, 2), Newer)
	f("ours is from before", version(1, 8, 3), version(6, 9, 2), Newer)
	f("one write", version(5, 10, 1), version(6, 10, 1), Newer)
	f("both are older than the lines, which meet", version(0, 5, 1), version(0, 6, 2), Newer)
	f("ours was lifted over a third side's, theirs is from before that", version(5, 10, 2), version(3, 9, 3), Newer)
	f("ours of View 3 was lifted, theirs was written upon it", version(5, 8, 2), version(5, 9, 2), Newer)
	f("the same, and it tells so", lifted(version(3, 8, 2), 5), version(5, 9, 2), Newer)
	f("ours of View 3 was lifted above theirs, which was written upon it", lifted(version(3, 8, 3), 6), version(5, 9, 2), Later)
	f("each side wrote, ours was lifted", lifted(version(5, 10, 1), 7), version(6, 9, 2), Conflict)
	f("theirs was written in View 3 upon ours and has lost already: we hold all of that View", lifted(version(3, 8, 2), 5), version(3, 9, 2), Newer)
	f("ours was written in View 3 upon theirs, and was lifted", lifted(version(3, 9, 2), 5), version(3, 8, 2), Newer)
	s = NewSides(LineOf(view(3, 3, 2, 1), view(5, 3, 1)), LineOf(view(3, 3, 2, 1), view(4, 2)))
	f("ours of View 3 was lifted above theirs, which was written upon it", version(5, 8, 2), version(4, 9, 2), Later)
	begun := lineOf(append(LineOf(view(5, 4)).passes(), LineOf(view(3, 3, 2, 1)).taken(view(5, 4).Key, few)...))
	s = NewSides(begun, LineOf(view(3, 3, 2, 1), view(4, 2)))
	f("ours of View 3, of which we have a few, was lifted; theirs of View 3 was written upon it", lifted(version(3, 8, 2), 5), version(3, 9, 2), Later)
	begun = lineOf(append(LineOf(view(3, 4, 3, 2), view(4, 4, 3)).passes(), LineOf(view(5, 3, 2)).taken(view(7, 4).Key, few)...))
	s = NewSides(begun, LineOf(view(3, 4, 3, 2), view(5, 3, 2), view(6, 3, 2)))
	f("ours is one of the few of View 5, not of View 4 where its writer was, too; theirs was written upon it", version(5, 8, 3), version(6, 9, 3), Newer)
}

func TestACopyThatWasAskedIsKnownUntilThen(t *testing.T) {
	merge := view(7, 3, 2, 1)
	ours := LineOf(view(3, 3, 2, 1), view(5, 3, 1), merge)
	asked := LineOf(view(3, 3, 2, 1), view(6, 2)).with(passIn(merge.Key, merge.Members, met))
	if got := NewSides(ours, asked).Judge(version(7, 20, 3), version(6, 10, 2)); got != Newer {
		t.Errorf("a write of the View that merges: %v, want newer: it asked", got)
	}
	later := asked.Absorb(LineOf(view(4, 4)), view(9, 4, 2).Key) // what a fourth node wrote came after that
	if got := NewSides(ours, later).Judge(version(7, 20, 3), version(4, 10, 4)); got != Conflict {
		t.Errorf("a write that came to the other copy after it was asked: %v, want a conflict", got)
	}
	filling := lineOf(append(LineOf(view(3, 3, 2, 1), view(6, 2)).passes(), ours.taken(merge.Key, some)...))
	if got := NewSides(ours, filling).Judge(version(5, 20, 1), version(6, 10, 2)); got != Conflict {
		t.Errorf("a fill that is not complete: %v, want a conflict: nobody asked in View 5", got)
	}
}

func TestAbsorbedCopiesAreKnown(t *testing.T) {
	theirs := LineOf(view(3, 3, 2, 1), view(6, 2))
	ours := LineOf(view(3, 3, 2, 1), view(5, 3, 1), view(7, 3, 2, 1)).Absorb(theirs, view(7, 3).Key)
	for _, won := range []record.Version{version(6, 35, 1), version(7, 25, 3)} { // lifted; written later
		if got := NewSides(ours, theirs).Judge(won, version(6, 30, 2)); got != Newer {
			t.Errorf("%v after the merge: %v, want newer", won, got)
		}
	}
}

func TestAWriteThatWasNotAcknowledgedIsNotKnownToWhoAbsorbedItsView(t *testing.T) {
	// 1 and 2 in View 6, or 7, wrote on 1 alone; then 3 absorbed 2, and meets 1.
	f := func(counter uint64) {
		t.Helper()
		side := view(counter, 2, 1)
		ours := LineOf(view(3, 3, 2, 1), view(6, 3), view(8, 3, 2)).Absorb(LineOf(view(3, 3, 2, 1), side), view(8, 3).Key)
		if got := NewSides(ours, LineOf(view(3, 3, 2, 1), side)).Judge(version(6, 20, 3), version(uint32(counter), 30, 1)); got != Conflict {
			t.Errorf("written in View %d: %v, want a conflict", counter, got)
		}
	}
	f(6)
	f(7)
}

func TestWhatAHubTookInOfAMergeThatDidNotEndIsTheOtherSides(t *testing.T) {
	// 3 began to absorb 2 in View 6, then meets 4, which was alone in View 5.
	merge, past := view(6, 3, 2), LineOf(view(3, 4, 3, 2), view(4, 4, 3))
	p := &Plan{Key: merge.Key, members: merge.Members}
	p.Parts[0] = Part{Available: true, Duplicates: []uint16{1}, Lines: []Line{past, LineOf(view(3, 4, 3, 2), view(4, 2))}}
	ours := p.LineAfter(0, past, Copy{State: Full, Key: view(4, 4, 3).Key}, Copy{State: Full, Key: merge.Key})
	s := NewSides(ours, LineOf(view(3, 4, 3, 2), view(4, 4, 3), view(5, 4)))
	if got := s.Judge(version(4, 10, 2), version(5, 20, 4)); got != Conflict {
		t.Errorf("taken from 2, and written by 4: %v, want a conflict", got)
	}
	if got := s.Judge(version(4, 10, 3), version(5, 20, 4)); got != Newer {
		t.Errorf("written by 3 and 4 together, and by 4: %v, want newer", got)
	}
	// A version of 2 that a merge lifted may be of either of its Views.
	if got := NewSides(ours, LineOf(view(3, 4, 3, 2), view(4, 2))).Judge(version(6, 10, 2), version(4, 20, 2)); got != Conflict {
		t.Errorf("lifted, and written by 2 alone: %v, want a conflict", got)
	}
}

func TestLinesAreBoundedAndUnique(t *testing.T) {
	var l Line
	for c := range uint64(3 * MaxLine) {
		l = l.with(passIn(view(c+1, 2, 1).Key, view(c+1, 2, 1).Members, all))
	}
	if n := len(l.passes()); n != MaxLine || !l.Valid() || len(l) > maxLineBytes {
		t.Errorf("%d Views in %d bytes, valid %v; want %d, the newest", n, len(l), l.Valid(), MaxLine)
	}
	for _, bad := range []Line{l + "\x01", l[:len(l)-1], l[5:] + l[:5], "\x0f\x01\x01\x01"} {
		if bad.Valid() {
			t.Errorf("a damaged line of %d bytes counts as valid", len(bad))
		}
	}
}
