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

// read does the first load of a node and keeps what it found.
func (w *world) read(n cluster.NodeID) (id uint64, r Record) {
	w.t.Helper()
	node := w.nodes[n]
	if len(node.loads) == 0 {
		w.t.Fatalf("node %d has asked for no load", n)
	}
	l := node.loads[0]
	node.loads = node.loads[1:]
	r.Meta, r.Body, r.Found = node.store.Get(&l.Digest, nil)
	return l.ID, r
}

// give hands a load over.
func (w *world) give(n cluster.NodeID, id uint64, r Record) {
	r.Body = slices.Clone(r.Body)
	w.nodes[n].core.Loaded(w.now, id, &r)
	clear(r.Body) // the Core must not keep it
	w.collect(w.nodes[n])
}

// onDevices is a world of one View in which key 7 is on node 3, the master.
func onDevices(t *testing.T) *world {
	w := newWorld(t, 3)
	w.commit(1, 3, 3, 2, 1)
	w.request(3, wire.KindPut, 7, body(1))
	w.deliver()
	for _, n := range w.nodes {
		n.store.slow = true
	}
	return w
}

func TestAReadFromADeviceHoldsUpNothingElse(t *testing.T) {
	w := onDevices(t)
	get := w.request(3, wire.KindGet, 7, nil)
	other := w.request(3, wire.KindPut, 8, body(1))
	w.deliver()
	if w.status(get) != 255 || w.status(other) != wire.StatusOK {
		t.Fatalf("the read is answered %v, the other write %v; want no answer yet, and ok", w.status(get), w.status(other))
	}
	id, r := w.read(3)
	w.give(3, id, r)
	if got := w.replies[get]; got.Status != wire.StatusOK || intOf(got.Bins) != 1 {
		t.Errorf("the read is answered %v, %d", got.Status, intOf(got.Bins))
	}
}

func intOf(bins []byte) int64 {
	v, _ := record.Bins(bins).Get("a")
	i, _ := v.Int()
	return i
}

func add(n int64) []byte {
	b, err := wire.AppendOps(nil, "", record.Value{}, []record.Op{{Kind: record.OpAdd, Bin: "a", Value: record.Int(n)}})
	if err != nil {
		panic(err)
	}
	return b
}

// While a record is read from its device a merge may bring a newer one.
func TestAWriteBuildsOnTheRecordThatIsThere(t *testing.T) {
	w := onDevices(t)
	op := w.request(3, wire.KindOperate, 7, add(10))
	id, old := w.read(3)
	d := digest(7)
	newer := old.Meta
	newer.Version.Stamp++
	if err := w.nodes[3].store.Put(&d, newer, body(5)); err != nil {
		t.Fatal(err)
	}
	w.give(3, id, old)
	if w.status(op) != 255 {
		t.Fatalf("answered %v by a record that is not there any more", w.status(op))
	}
	id, now := w.read(3)
	w.give(3, id, now)
	w.deliver()
	if w.status(op) != wire.StatusOK || w.stored(3, 7) != 15 || w.stored(1, 7) != 15 {
		t.Errorf("answered %v, stored %d and %d, want 15", w.status(op), w.stored(3, 7), w.stored(1, 7))
	}
}

func TestWritesBehindALoadKeepTheirOrder(t *testing.T) {
	w := onDevices(t)
	first := w.request(3, wire.KindOperate, 7, add(10))
	second := w.request(3, wire.KindPut, 7, body(3))
	w.deliver()
	if w.status(second) != 255 {
		t.Fatalf("the second write is answered %v before the first", w.status(second))
	}
	id, r := w.read(3)
	w.give(3, id, r)
	w.deliver()
	if w.status(first) != wire.StatusOK || w.status(second) != wire.StatusOK || w.stored(2, 7) != 3 {
		t.Errorf("answered %v and %v, stored %d, want 3", w.status(first), w.status(second), w.stored(2, 7))
	}
}

func TestALoadThatNeverComesEndsWithItsDeadline(t *testing.T) {
	w := onDevices(t)
	get, op := w.request(3, wire.KindGet, 7, nil), w.request(3, wire.KindOperate, 7, add(1))
	id, r := w.read(3)
	w.tick(3 * time.Second)
	if w.status(get) != wire.StatusTimeout || w.status(op) != wire.StatusTimeout {
		t.Errorf("answered %v and %v, want timeouts: nothing was applied", w.status(get), w.status(op))
	}
	w.give(3, id, r) // late: nobody waits any more
	w.nodes[3].store.slow = false
	if again := w.request(3, wire.KindGet, 7, nil); w.status(again) != wire.StatusOK || w.stored(3, 7) != 1 {
		t.Errorf("afterwards the record is read with %v as %d", w.status(again), w.stored(3, 7))
	}
}

func TestALoadOfAnEarlierViewIsVoid(t *testing.T) {
	w := onDevices(t)
	op := w.request(3, wire.KindOperate, 7, add(10))
	id, r := w.read(3)
	w.nodes[3].core.Freeze()
	w.give(3, id, r)
	if w.status(op) != 255 || w.stored(3, 7) != 1 {
		t.Fatalf("a frozen node answers %v and stores %d", w.status(op), w.stored(3, 7))
	}
	w.commit(2, 3, 3, 2, 1)
	w.give(3, id, r)
	if w.status(op) != 255 {
		t.Fatalf("answered %v by a load of the View before", w.status(op))
	}
	id, r = w.read(3)
	w.give(3, id, r)
	w.deliver()
	if w.status(op) != wire.StatusOK || w.stored(2, 7) != 11 {
		t.Errorf("answered %v, stored %d, want 11", w.status(op), w.stored(2, 7))
	}
}

func TestAnOverloadedDeviceRefusesWhatNeedsIt(t *testing.T) {
	w := onDevices(t)
	get, op := w.request(3, wire.KindGet, 7, nil), w.request(3, wire.KindOperate, 7, add(10))
	for range 2 {
		id, _ := w.read(3)
		w.nodes[3].core.Overloaded(w.now, id)
		w.collect(w.nodes[3])
	}
	if w.status(get) != wire.StatusBusy || w.status(op) != wire.StatusBusy || w.stored(3, 7) != 1 {
		t.Errorf("answered %v and %v, stored %d", w.status(get), w.status(op), w.stored(3, 7))
	}
}

// A duplicate's record lies on a device, and the master's own, too: it wins by
// its stamp, has the lower regime, and must be read to be lifted.
func TestDuplicatesOnDevicesAreResolved(t *testing.T) {
	w := newWorld(t, 3)
	d := digest(7)
	put := func(n cluster.NodeID, regime uint32, stamp hlc.Stamp, v int) {
		m := record.Meta{Version: record.Version{Regime: regime, Stamp: stamp, Node: n}, Generation: 1}
		if err := w.nodes[n].store.Put(&d, m, body(v)); err != nil {
			t.Fatal(err)
		}
		w.nodes[n].store.slow = true
	}
	put(3, 5, 20, 1)
	put(1, 6, 10, 2)
	v := &cluster.View{Key: cluster.ViewKey{Counter: 9, Proposer: 3, Inc: 1}, Members: []cluster.Member{{Node: 3, Inc: 1}, {Node: 2, Inc: 1}, {Node: 1, Inc: 1}}}
	for n := range w.nodes {
		w.commitOn(v, n, 3, []Duplicate{{Node: 1, Sides: apartAfter(4, 9, 3)}})
	}
	get := w.request(3, wire.KindGet, 7, nil)
	w.deliver()
	w.tick(ackRetry) // the question is repeated while the record is being read
	w.deliver()
	if n := len(w.nodes[1].loads); n != 1 {
		t.Fatalf("%d loads for one question, want 1", n)
	}
	id, r := w.read(1)
	w.give(1, id, r)
	w.deliver()
	id, r = w.read(3) // to be lifted
	w.give(3, id, r)
	w.deliver()
	id, r = w.read(1) // asked again
	w.give(1, id, r)
	w.deliver()
	for w.status(get) == 255 && len(w.nodes[3].loads) > 0 { // lifted, it is another version
		id, r = w.read(3)
		w.give(3, id, r)
		w.deliver()
	}
	got, _ := w.nodes[3].store.Meta(&d)
	if w.status(get) != wire.StatusOK || intOf(w.replies[get].Bins) != 1 || got.Version.Regime != 6 {
		t.Errorf("answered %v, %d, the record has regime %d; want ok, 1, 6", w.status(get), intOf(w.replies[get].Bins), got.Version.Regime)
	}
}
