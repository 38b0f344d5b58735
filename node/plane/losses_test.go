package plane

import (
	"testing"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

func TestALossCountsOnce(t *testing.T) {
	var l losses
	d, v := record.Digest{1}, record.Version{Regime: 3, Stamp: 7, Node: 1}
	if !l.first(d, v, Merge, nil) || l.first(d, v, Access, nil) {
		t.Error("a loss counts twice, or never")
	}
	if v.Regime++; l.first(d, v, Merge, nil) {
		t.Error("a write counts again under the regime of another")
	}
	if v.Stamp++; !l.first(d, v, Merge, nil) {
		t.Error("another version of the record does not count")
	}
	if got := l.sums.Of(Merge); got != 2 || l.sums.Sum() != 2 {
		t.Errorf("%d counted as met by migration, %d in all, want 2", got, l.sums.Sum())
	}
}

func TestLossesAreForgottenFromTheOldestOn(t *testing.T) {
	var l losses
	for i := range maxLosses + 1 {
		l.first(record.Digest{}, record.Version{Stamp: 1, Node: cluster.NodeID(i) + 1}, Merge, nil)
	}
	if len(l.seen) != maxLosses || l.first(record.Digest{}, record.Version{Stamp: 1, Node: maxLosses + 1}, Merge, nil) {
		t.Errorf("%d losses remembered, want the newest %d", len(l.seen), maxLosses)
	}
}

// tell carries the news of one node to another until there is none, and returns
// how many messages that took.
func tell(from, to *losses) (messages int) {
	m := cluster.Member{Node: to.self, Inc: 1}
	for {
		list, upto := from.news(&m)
		if len(list) == 0 {
			return messages
		}
		messages++
		to.heard(from.self, list)
		from.known(&m, upto)
	}
}

func TestOfTwoNodesThatCountOneLossTheHigherTakesItBack(t *testing.T) {
	for _, lowFirst := range []bool{true, false} {
		low, high := &losses{self: 1}, &losses{self: 2}
		v := record.Version{Regime: 3, Stamp: 7, Node: 1}
		low.first(record.Digest{1}, v, Merge, nil)
		v.Regime = 9
		high.first(record.Digest{1}, v, Access, nil)
		if lowFirst {
			tell(low, high)
			tell(high, low)
		} else {
			tell(high, low)
			tell(low, high)
		}
		if low.sums.Sum() != 1 || high.sums.Sum() != 0 || high.sums[Access].Back != 1 {
			t.Errorf("low first %v: node 1 counts %+v, node 2 %+v; want one, by node 1", lowFirst, low.sums, high.sums)
		}
		if tell(low, high)+tell(high, low) != 0 || high.first(record.Digest{1}, v, Merge, nil) {
			t.Error("what was taken back is told or counted again")
		}
	}
}

func TestWhatAnotherNodeCountedIsNotCountedAgain(t *testing.T) {
	low, high := &losses{self: 1}, &losses{self: 2}
	v := record.Version{Stamp: 7, Node: 1}
	high.first(record.Digest{1}, v, Merge, nil)
	tell(high, low)
	if low.first(record.Digest{1}, v, Merge, nil) {
		t.Error("counted again")
	}
	if tell(low, high) != 0 || high.sums.Sum() != 1 {
		t.Errorf("node 2 counts %d, want 1", high.sums.Sum())
	}
}

func TestNewsComeInMessagesOfBoundedSizeAndAgainAfterARestart(t *testing.T) {
	from := &losses{self: 1}
	for i := range 2*wire.MaxLosses + 1 {
		from.first(record.Digest{}, record.Version{Stamp: 1, Node: cluster.NodeID(i) + 1}, Merge, nil)
	}
	to := &losses{self: 2}
	if got := tell(from, to); got != 3 || len(to.seen) != 2*wire.MaxLosses+1 {
		t.Errorf("%d messages told of %d losses, want 3 of %d", got, len(to.seen), 2*wire.MaxLosses+1)
	}
	if list, _ := from.news(&cluster.Member{Node: 2, Inc: 1}); len(list) != 0 {
		t.Error("what is known is told again")
	}
	if list, _ := from.news(&cluster.Member{Node: 2, Inc: 2}); len(list) != wire.MaxLosses {
		t.Errorf("another process is told %d, want %d", len(list), wire.MaxLosses)
	}
}

func TestWhatAMasterWroteUponIsNotLost(t *testing.T) {
	v := record.Version{Stamp: 7, Node: 1}
	count := func(low, _ *losses) { low.first(record.Digest{1}, v, Merge, nil) }
	know := func(_, high *losses) { high.noLoss(record.Digest{1}, v, record.Version{}) }
	up := func(low, high *losses) { tell(low, high) }
	down := func(low, high *losses) { tell(high, low) }
	for i, order := range [][]func(low, high *losses){{know, down, count}, {know, count, up, down}, {count, know, up, down}, {count, up, know, down}} {
		low, high := &losses{self: 1}, &losses{self: 2}
		for _, f := range order {
			f(low, high)
		}
		if low.sums.Sum() != 0 || high.sums.Sum() != 0 || high.first(record.Digest{1}, v, Merge, nil) {
			t.Errorf("order %d: %+v and %+v are counted, want none", i, low.sums, high.sums)
		}
	}
}

// What a version that was never acknowledged was written upon counts in its
// place, whoever tells first, if it lost as well.
func TestWhatIsLostWithAVersionThatWasNeverAcknowledgedCounts(t *testing.T) {
	d := record.Digest{1}
	w, v, later := record.Version{Regime: 2, Stamp: 5, Node: 2}, record.Version{Regime: 2, Stamp: 7, Node: 2}, record.Version{Regime: 2, Stamp: 8, Node: 2}
	for _, lost := range []bool{true, false} {
		want := uint64(0)
		if lost {
			want = 1
		}
		count := func(l, _ *losses) { l.first(d, later, Merge, func(record.Version) bool { return lost }) }
		know := func(_, h *losses) { h.noLoss(d, v, w); h.noLoss(d, later, v) }
		up := func(l, h *losses) { tell(l, h) }
		down := func(l, h *losses) { tell(h, l) }
		for i, order := range [][]func(l, h *losses){{count, up, know, down}, {know, down, count}, {count, know, down, up}, {know, count, down, up}} {
			l, h := &losses{self: 1}, &losses{self: 2}
			for _, f := range order {
				f(l, h)
			}
			tell(l, h)
			tell(h, l)
			if l.sums.Sum()+h.sums.Sum() != want || l.first(d, w, Merge, nil) == lost {
				t.Errorf("order %d, it lost too %v: %+v and %+v are counted, want %d", i, lost, l.sums, h.sums, want)
			}
		}
	}
}

func TestAnOwnCountIsTakenBack(t *testing.T) {
	l, v := &losses{self: 2}, record.Version{Stamp: 7, Node: 2}
	l.first(record.Digest{1}, v, Access, nil)
	l.noLoss(record.Digest{1}, v, record.Version{})
	if l.sums.Sum() != 0 || l.first(record.Digest{1}, v, Access, nil) {
		t.Errorf("%+v is counted, want nothing", l.sums)
	}
}

// What comes again is remembered from then on.
func TestWhatCameAgainIsNotForgottenWithItsFirstEntry(t *testing.T) {
	l, k := &losses{self: 2}, wire.Loss{Digest: record.Digest{1}, Stamp: 7, Node: 2}
	l.heard(1, []wire.Loss{k})
	for i := range maxLosses - 2 {
		l.first(record.Digest{}, record.Version{Stamp: 1, Node: cluster.NodeID(i) + 10}, Merge, nil)
	}
	v := record.Version{Stamp: 7, Node: 2}
	l.noLoss(k.Digest, v, record.Version{})
	l.first(record.Digest{}, record.Version{Stamp: 2, Node: 5}, Merge, nil) // now the first entry is gone
	other := &losses{self: 1}
	tell(l, other)
	if x := l.seen[lossOf(k.Digest, v)]; x.counted != none || other.first(k.Digest, v, Merge, nil) {
		t.Errorf("after the ring went round: %+v", x)
	}
}
