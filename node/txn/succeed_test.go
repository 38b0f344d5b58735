package txn

import (
	"slices"
	"testing"
	"time"

	"headroom/node/hlc"
	"headroom/node/record"
	"headroom/node/wire"
)

// A write that runs again in another View has had another stamp before, which
// others may have seen.
func TestTheFormerStampOfAWriteThatRunsAgainIsNoLoss(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(1, 2, 2, 1)
	var told []hlc.Stamp
	c := w.nodes[2].core
	c.cfg.NoLoss = func(_ record.Digest, v record.Version) { told = append(told, v.Stamp) }
	id := w.request(2, wire.KindPut, 1, body(1))
	d := digest(1)
	m, _ := w.nodes[2].store.Meta(&d)
	w.queue = nil // the replica does not get it
	w.commit(2, 2, 2, 1)
	w.deliver()
	if now, _ := w.nodes[2].store.Meta(&d); w.status(id) != wire.StatusOK || now.Version.Stamp == m.Version.Stamp {
		t.Fatalf("the write ends as %v under stamp %d, before %d: it did not run again", w.status(id), now.Version.Stamp, m.Version.Stamp)
	}
	if want := []hlc.Stamp{m.Version.Stamp}; !slices.Equal(slices.Compact(told), want) {
		t.Errorf("told of stamps %v, want %v", told, want)
	}
}

// A master that has a write in flight when another takes over has acknowledged
// nothing: if others meet the version it made, that is no loss, whatever becomes
// of the write. With commit: master it has, and it may be one.
func TestAVersionThatWasNeverAcknowledgedIsNoLoss(t *testing.T) {
	for _, acknowledged := range []bool{false, true} {
		w := newWorld(t, 2)
		w.commit(1, 2, 2, 1)
		c := w.nodes[2].core
		var told []hlc.Stamp
		c.cfg.NoLoss = func(_ record.Digest, v record.Version) { told = append(told, v.Stamp) }
		c.cfg.CommitMaster = acknowledged
		w.request(2, wire.KindPut, 1, body(1))
		d := digest(1)
		m, _ := w.nodes[2].store.Meta(&d)
		w.queue = nil // the replica does not get it
		w.commit(2, 1, 2, 1)
		if got := slices.Contains(told, m.Version.Stamp); got == acknowledged {
			t.Errorf("acknowledged %v: that it is no loss is told: %v", acknowledged, got)
		}
	}
}

// Nor is one that was in doubt to the end, for want of room on a replica.
func TestAVersionThatStayedInDoubtIsNoLoss(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(1, 2, 2, 1)
	c := w.nodes[2].core
	var told []hlc.Stamp
	c.cfg.NoLoss = func(_ record.Digest, v record.Version) { told = append(told, v.Stamp) }
	w.request(2, wire.KindPut, 1, body(1))
	d := digest(1)
	m, _ := w.nodes[2].store.Meta(&d)
	w.queue = nil
	w.now.Mono = w.now.Mono.Add(time.Minute + 5*time.Second) // beyond keepFor
	c.Tick(w.now)
	if c.Stats().GivenUp != 1 || !slices.Equal(told, []hlc.Stamp{m.Version.Stamp}) {
		t.Errorf("%d writes given up, told of %v, want 1 and stamp %d", c.Stats().GivenUp, told, m.Version.Stamp)
	}
}
