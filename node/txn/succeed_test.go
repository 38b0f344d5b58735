package txn

import (
	"slices"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/hlc"
	"headroom/node/record"
	"headroom/node/wire"
)

// A write that runs again in another View has had another stamp before, which
// others may have seen.
func TestTheFormerStampOfAWriteThatRunsAgainIsNoLoss(t *testing.T) {
	for _, acknowledged := range []bool{false, true} {
		w := newWorld(t, 2)
		w.commit(1, 2, 2, 1)
		var told []hlc.Stamp
		c := w.nodes[2].core
		c.cfg.NoLoss = func(_ record.Digest, v, _ record.Version) { told = append(told, v.Stamp) }
		c.cfg.CommitMaster = acknowledged
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
			t.Errorf("acknowledged %v: told of stamps %v, want %v", acknowledged, told, want)
		}
	}
}

// A master that has a write in flight when another takes over has acknowledged
// nothing: if others meet the version it made, that is no loss, whatever becomes
// of the write, but what it was written upon may be one. With commit: master it
// has acknowledged it, and it may be one itself.
func TestAVersionThatWasNeverAcknowledgedIsNoLoss(t *testing.T) {
	for _, acknowledged := range []bool{false, true} {
		w := newWorld(t, 2)
		w.commit(1, 2, 2, 1)
		c := w.nodes[2].core
		told := map[hlc.Stamp]record.Version{}
		c.cfg.NoLoss = func(_ record.Digest, v, upon record.Version) { told[v.Stamp] = upon }
		w.request(2, wire.KindPut, 1, body(0))
		w.deliver()
		d := digest(1)
		before, _ := w.nodes[2].store.Meta(&d)
		c.cfg.CommitMaster = acknowledged
		id := w.request(2, wire.KindPut, 1, body(1))
		m, _ := w.nodes[2].store.Meta(&d)
		w.queue = nil // the replica does not get it
		later := m
		later.Version.Node, later.Version.Stamp = 1, m.Version.Stamp+1
		if err := w.nodes[1].store.Put(&d, later, body(2)); err != nil { // of the other side
			t.Fatal(err)
		}
		w.commit(2, 1, 2, 1)
		w.deliver()
		if got := w.stored(2, 1); got != 2 || (w.status(id) == wire.StatusOK) != acknowledged {
			t.Fatalf("acknowledged %v: the write ends as %v, node 2 holds %d: it was not superseded", acknowledged, w.status(id), got)
		}
		upon, got := told[m.Version.Stamp]
		if got == acknowledged || got && upon != before.Version {
			t.Errorf("acknowledged %v: that it is no loss is told: %v, upon %+v, want %+v", acknowledged, got, upon, before.Version)
		}
	}
}

// While a request waits for a duplicate the merge may end, and what is here then
// be written upon what another duplicate answered. The merge has counted.
func TestWhatAMergeHasSettledMeanwhileIsNotCountedByARequest(t *testing.T) {
	w := newWorld(t, 3)
	d := digest(1)
	for n, v := range map[cluster.NodeID]record.Version{3: {Regime: 7, Stamp: 9, Node: 3}, 2: {Regime: 7, Stamp: 5, Node: 1}, 1: {Regime: 7, Stamp: 10, Node: 1}} {
		if err := w.nodes[n].store.Put(&d, record.Meta{Generation: 1, Version: v}, body(int(n))); err != nil {
			t.Fatal(err)
		}
	}
	v := &cluster.View{Key: cluster.ViewKey{Counter: 8, Proposer: 3, Inc: 1}, Members: []cluster.Member{{Node: 3, Inc: 1}, {Node: 2, Inc: 1}, {Node: 1, Inc: 1}}}
	var lost []hlc.Stamp
	c := w.nodes[3].core
	c.cfg.Lost = func(_ record.Digest, v record.Version, _ func(record.Version) bool) bool {
		lost = append(lost, v.Stamp)
		return true
	}
	w.commitOn(v, 1, 3, nil)
	w.commitOn(v, 2, 3, nil)
	w.commitOn(v, 3, 3, []Duplicate{{Node: 2, Sides: apartAfter(5, 8, 3)}, {Node: 1, Sides: apartAfter(5, 8, 3)}})
	w.cut[1] = true
	id := w.request(3, wire.KindGet, 1, nil)
	w.deliver()
	w.cut[1] = false
	m, b, _ := w.nodes[1].store.Get(&d, nil)
	if err := w.nodes[3].store.Put(&d, m, b); err != nil { // as a migration does
		t.Fatal(err)
	}
	c.Resolved(d.Partition(), nil)
	w.tick(time.Second)
	w.deliver()
	if w.status(id) != wire.StatusOK || len(lost) > 0 {
		t.Errorf("%v, versions %v are counted; want ok and none", w.status(id), lost)
	}
}

// Nor is one that was in doubt to the end, for want of room on a replica.
func TestAVersionThatStayedInDoubtIsNoLoss(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(1, 2, 2, 1)
	c := w.nodes[2].core
	var told []hlc.Stamp
	c.cfg.NoLoss = func(_ record.Digest, v, _ record.Version) { told = append(told, v.Stamp) }
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
