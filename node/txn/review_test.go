package txn

import (
	"slices"
	"testing"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// The replica applied the write in the View before, and its answer comes when
// that View is over: another member of the new write set lacks the write.
func TestLateAnswersOfTheViewBeforeDoNotCount(t *testing.T) {
	w := newWorld(t, 3)
	w.commit(1, 3, 3, 2, 1)
	id := w.request(3, wire.KindPut, 7, body(1))
	w.cut[1] = true
	replicate := w.queue[0]
	w.queue = nil
	replicate.run() // node 2 applies and answers ...
	w.collect(w.nodes[2])
	late := w.queue
	w.queue = nil
	w.commit(2, 2, 3, 2, 1)
	w.queue = append(late, w.queue...) // ... and the answer is overtaken by the commit
	for len(w.queue) > 0 {
		m := w.queue[0]
		w.queue = w.queue[1:]
		if w.cut[m.to] {
			continue
		}
		m.run()
		w.collect(w.nodes[m.to])
		if w.status(id) != 255 {
			t.Fatalf("answered %v while node 1 of the write set holds %d", w.status(id), w.stored(1, 7))
		}
	}
	w.cut[1] = false
	w.tick(ackRetry)
	w.deliver()
	w.tick(ackRetry)
	w.deliver()
	if w.status(id) != wire.StatusOK || w.stored(1, 7) != 1 {
		t.Errorf("status %v, node 1 holds %d; want ok and 1", w.status(id), w.stored(1, 7))
	}
}

// A node that stood still while a duplicate's answer lay in its buffers finds
// its lease gone: others may have written the record since.
func TestReadThatAskedADuplicateIsNotAnsweredWithoutALease(t *testing.T) {
	w := newWorld(t, 2)
	v := &cluster.View{Key: cluster.ViewKey{Counter: 8, Proposer: 2, Inc: 1}, Members: []cluster.Member{{Node: 2, Inc: 1}, {Node: 1, Inc: 1}}}
	w.commitOn(v, 1, 2, nil)
	w.commitOn(v, 2, 2, []Duplicate{{Node: 1, Sides: apart(8)}})
	read := w.request(2, wire.KindGet, 7, nil)
	write := w.request(2, wire.KindPut, 8, body(1))
	w.now.Lease = w.now.Mono
	w.deliver()
	if w.status(read) != 255 || w.status(write) != 255 || w.stored(2, 8) != -1 {
		t.Fatalf("read %v, write %v, stored %d without a lease; want both waiting", w.status(read), w.status(write), w.stored(2, 8))
	}
	w.now.Lease = cluster.Never
	w.tick(ackRetry)
	w.deliver()
	if w.status(read) != wire.StatusNotFound || w.status(write) != wire.StatusOK {
		t.Errorf("read %v, write %v; want not found and ok", w.status(read), w.status(write))
	}
}

// Node 3 has handed its partition over and keeps a Full copy until it is told
// to drop it. Should the View change before that, the copy counts as in sync:
// it must have the new master's writes.
func TestAFormerMasterGetsWritesUntilItHasDroppedItsCopy(t *testing.T) {
	w := newWorld(t, 3)
	w.commit(1, 3, 3, 2, 1)
	d := digest(7)
	pid := d.Partition()
	w.nodes[3].core.Drain(pid)
	w.nodes[2].core.Become(w.now, pid, []cluster.NodeID{3, 1})
	id := w.request(2, wire.KindPut, 7, body(1))
	w.deliver()
	if w.status(id) != wire.StatusOK || w.stored(3, 7) != 1 {
		t.Fatalf("write %v, the former master holds %d; want ok and 1", w.status(id), w.stored(3, 7))
	}
	w.nodes[3].core.SetMaster(w.now, pid, 2)
	w.nodes[3].core.Dropped(pid)
	id = w.request(2, wire.KindPut, 7, body(2))
	w.deliver()
	if w.status(id) != wire.StatusOK {
		t.Fatalf("write %v after the former master dropped its copy, want ok", w.status(id))
	}
	w.request(2, wire.KindPut, 7, body(3))
	for _, m := range w.queue {
		if m.to == 3 {
			t.Error("a member without a copy is still sent writes")
		}
	}
}

// The hub that a write in flight was given to hands the partition over before
// the write comes: it refuses it, and so the final master has to take it.
func TestAHandedWriteFollowsTheMastership(t *testing.T) {
	d := digest(7)
	pid := d.Partition()
	for _, final := range []cluster.NodeID{1, 3} {
		w := newWorld(t, 3)
		w.commit(1, 3, 3, 2, 1)
		id := w.request(3, wire.KindPut, 7, body(5))
		w.queue = nil           // nobody got it
		w.commit(2, 2, 3, 2, 1) // node 2 is asked to adopt it ...
		w.nodes[2].core.Drain(pid)
		w.deliver() // ... and refuses
		rest := []cluster.NodeID{2, 4 - final}
		w.nodes[final].core.Become(w.now, pid, rest)
		w.collect(w.nodes[final])
		for _, n := range rest {
			w.nodes[n].core.SetMaster(w.now, pid, final)
			w.collect(w.nodes[n])
		}
		w.deliver()
		w.tick(ackRetry)
		w.deliver()
		if w.status(id) != wire.StatusOK || w.stored(1, 7) != 5 || w.stored(2, 7) != 5 {
			t.Errorf("final master %v: write %v, nodes 1 and 2 hold %d and %d; want ok and 5", final, w.status(id), w.stored(1, 7), w.stored(2, 7))
		}
	}
}

func TestCommitMasterGoesOnUntilTheReplicasHaveTheWrite(t *testing.T) {
	w := newWorld(t, 2)
	for _, n := range w.nodes {
		n.core.cfg.CommitMaster = true
	}
	w.commit(1, 2, 2, 1)
	first := w.request(2, wire.KindPut, 7, body(1))
	if w.status(first) != wire.StatusOK {
		t.Fatalf("answered %v, want ok at once", w.status(first))
	}
	w.queue = nil // lost
	w.tick(ackRetry)
	w.deliver()
	if w.stored(1, 7) != 1 {
		t.Errorf("the replica holds %d after the repeat, want 1", w.stored(1, 7))
	}
	w.request(2, wire.KindPut, 7, body(2))
	w.queue = nil // lost in a View change
	w.commit(2, 1, 2, 1)
	w.deliver()
	if w.stored(1, 7) != 2 || w.stored(2, 7) != 2 {
		t.Errorf("after the View change the copies hold %d and %d, want 2 on both", w.stored(1, 7), w.stored(2, 7))
	}
}

// A View change parks all that clients have in flight, and each Tick looks
// through it: copying the bodies each time cost 800 MB/s at the limit.
func TestParkedRequestsAreCopiedOnce(t *testing.T) {
	w := newWorld(t, 1)
	w.commit(1, 1, 1)
	w.nodes[1].core.Freeze()
	for k := range 64 {
		w.request(1, wire.KindPut, k, make([]byte, 4096))
	}
	if n := testing.AllocsPerRun(10, func() { w.nodes[1].core.Tick(w.now) }); n > 16 {
		t.Errorf("a Tick with 64 parked requests makes %v allocations", n)
	}
	if n := w.nodes[1].core.Stats().Parked; n != 64 {
		t.Errorf("%d parked, want 64: each once", n)
	}
}

// A replica that has no room for a write for a minute is named when the write is
// given up, so that its copy is compared later.
func TestAWriteGivenUpNamesWhoLacksIt(t *testing.T) {
	w := newWorld(t, 3)
	w.commit(1, 3, 3, 2, 1)
	id, where := w.request(3, wire.KindPut, 7, body(1)), digest(7)
	refuses := func() (named []cluster.NodeID) {
		for len(w.queue) > 0 {
			m := w.queue[0]
			if w.queue = w.queue[1:]; m.to == 1 {
				w.nodes[3].core.Replicated(w.now, 1, w.nodes[3].core.nextID, wire.StatusStopWrites)
				continue
			}
			m.run()
			w.collect(w.nodes[m.to])
		}
		w.collect(w.nodes[3])
		w.now.Mono = w.now.Mono.Add(ackRetry)
		w.nodes[3].core.Tick(w.now)
		for _, l := range w.nodes[3].core.Take().Lacking {
			if named = append(named, l.Node); l.Partition != where.Partition() {
				t.Errorf("it is of partition %d, want %d", l.Partition, where.Partition())
			}
		}
		w.collect(w.nodes[3])
		return named
	}
	began := w.now.Mono
	var named []cluster.NodeID
	for len(named) == 0 && w.now.Mono.Sub(began) < 2*keepFor {
		named = refuses()
	}
	if took := w.now.Mono.Sub(began); w.status(id) != wire.StatusInDoubt || !slices.Equal(named, []cluster.NodeID{1}) || took < keepFor {
		t.Errorf("after %v status %v, lacking %v; want in doubt, and node 1 after %v", took, w.status(id), named, keepFor)
	}
	if again := refuses(); len(again) > 0 || w.nodes[3].core.Stats().GivenUp != 1 {
		t.Errorf("given up %d times, then %v", w.nodes[3].core.Stats().GivenUp, again)
	}
}
