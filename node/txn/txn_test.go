package txn

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/hlc"
	"headroom/node/partition"
	"headroom/node/record"
	"headroom/node/storage"
	"headroom/node/wire"
)

// world runs a few Cores over real engines and delivers their messages by
// hand, so that a test can hold, drop or reorder them.
type world struct {
	t       *testing.T
	now     Now
	nodes   map[cluster.NodeID]*testNode
	queue   []message
	replies map[uint64]wire.Reply
	nextID  uint64
	cut     map[cluster.NodeID]bool // neither sends nor receives
}

type testNode struct {
	id    cluster.NodeID
	core  *Core
	store *slowStore
	loads []Load // asked for and not given yet
}

// slowStore is an engine; when slow, bodies have to be loaded.
type slowStore struct {
	*storage.Engine
	slow bool
}

func (s *slowStore) GetNow(d *record.Digest, dst []byte) (m record.Meta, body []byte, ok, ready bool) {
	m, body, ok, ready = s.Engine.GetNow(d, dst)
	if s.slow && ok && !m.Tombstone {
		return m, dst, true, false
	}
	return m, body, ok, ready
}

type message struct {
	from, to cluster.NodeID
	run      func()
}

func newWorld(t *testing.T, n int) *world {
	w := &world{t: t, nodes: map[cluster.NodeID]*testNode{}, replies: map[uint64]wire.Reply{}, cut: map[cluster.NodeID]bool{}}
	w.now = Now{Mono: 1, WallMS: 1_700_000_000_000, Lease: cluster.Never}
	for i := range n {
		id := cluster.NodeID(i + 1)
		engine, err := storage.Open(storage.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { engine.Close() })
		store := &slowStore{Engine: engine}
		w.nodes[id] = &testNode{id: id, store: store, core: New(Config{Self: id, Store: store})}
	}
	return w
}

// commit gives every listed node a View of them in which master serves every
// partition and the others are its write set.
func (w *world) commit(counter uint64, master cluster.NodeID, members ...cluster.NodeID) {
	v := &cluster.View{Key: cluster.ViewKey{Counter: counter, Proposer: members[0], Inc: 1}}
	for _, m := range members {
		v.Members = append(v.Members, cluster.Member{Node: m, Inc: 1})
	}
	for _, m := range members {
		w.commitOn(v, m, master, nil)
	}
}

func (w *world) commitOn(v *cluster.View, n, master cluster.NodeID, dups []Duplicate) {
	var list []Assignment
	for pid := range cluster.Partitions {
		a := Assignment{Partition: pid, Master: master, Replica: true}
		if n == master {
			a.Duplicates = dups
			for i := range v.Members {
				if v.Members[i].Node != master {
					a.WriteSet = append(a.WriteSet, v.Members[i].Node)
				}
			}
		}
		list = append(list, a)
	}
	w.nodes[n].core.Commit(w.now, v, list)
	w.collect(w.nodes[n])
}

// collect queues a node's messages and records its replies.
func (w *world) collect(n *testNode) {
	out := n.core.Take()
	for _, r := range out.Replies {
		r.Reply.Bins = slices.Clone(r.Reply.Bins)
		if r.To.Conn != nil { // a forwarded request: back to the node that forwarded it
			w.replies[r.To.ID] = r.Reply
			continue
		}
		if old, twice := w.replies[r.To.ID]; twice {
			w.t.Errorf("request %d answered twice: %v, then %v", r.To.ID, old.Status, r.Reply.Status)
		}
		w.replies[r.To.ID] = r.Reply
	}
	for _, s := range out.Sends {
		s.Replicate.Body = slices.Clone(s.Replicate.Body)
		w.post(n.id, s.To, func() {
			w.nodes[s.To].core.Receive(w.now, Origin{Conn: n.id, ID: s.ID}, s.Kind, &s.Replicate, &s.Resolve)
		})
	}
	for _, a := range out.Answers {
		to := a.To.Conn.(cluster.NodeID)
		a.Resolved.Body = slices.Clone(a.Resolved.Body)
		w.post(n.id, to, func() {
			if a.Kind == wire.KindResolved {
				w.nodes[to].core.ResolvedBy(w.now, n.id, a.To.ID, &a.Resolved)
			} else {
				w.nodes[to].core.Replicated(w.now, n.id, a.To.ID, a.Status)
			}
		})
	}
	for _, f := range out.Forwards {
		q := *f.Req.clone()
		q.Forwarded = true
		w.post(n.id, f.To, func() { w.nodes[f.To].core.Request(w.now, &q) })
	}
	n.loads = append(n.loads, out.Loads...)
	n.core.Reset()
}

func (w *world) post(from, to cluster.NodeID, run func()) {
	w.queue = append(w.queue, message{from, to, run})
}

// deliver runs all messages until none is left.
func (w *world) deliver() {
	for len(w.queue) > 0 {
		m := w.queue[0]
		w.queue = w.queue[1:]
		if w.cut[m.from] || w.cut[m.to] {
			continue
		}
		m.run()
		w.collect(w.nodes[m.to])
	}
}

func (w *world) request(n cluster.NodeID, kind wire.Kind, key int, body []byte) uint64 {
	w.nextID++
	q := &Request{Kind: kind, From: Origin{ID: w.nextID}, Request: wire.Request{Digest: digest(key), Body: body}}
	w.nodes[n].core.Request(w.now, q)
	w.collect(w.nodes[n])
	return w.nextID
}

func (w *world) status(id uint64) wire.Status {
	r, ok := w.replies[id]
	if !ok {
		return 255
	}
	return r.Status
}

// tick moves time on and ticks every core.
func (w *world) tick(d time.Duration) {
	w.now.Mono = w.now.Mono.Add(d)
	w.now.WallMS += d.Milliseconds()
	for id := cluster.NodeID(1); int(id) <= len(w.nodes); id++ {
		w.nodes[id].core.Tick(w.now)
		w.collect(w.nodes[id])
	}
}

func digest(key int) record.Digest {
	d, err := record.NewDigest("", record.Int(int64(key)))
	if err != nil {
		panic(err)
	}
	return d
}

func body(v int) []byte {
	b, err := record.AppendBody(nil, "", record.Value{}, []record.Bin{{Name: "a", Value: record.Int(int64(v))}})
	if err != nil {
		panic(err)
	}
	return b
}

func (w *world) stored(n cluster.NodeID, key int) int {
	d := digest(key)
	_, b, ok := w.nodes[n].store.Get(&d, nil)
	if !ok {
		return -1
	}
	v, _ := record.Body(b).Get("a")
	i, _ := v.Int()
	return int(i)
}

func TestWriteIsAnsweredOnlyWhenEveryReplicaHasIt(t *testing.T) {
	w := newWorld(t, 3)
	w.commit(1, 3, 3, 2, 1)
	id := w.request(3, wire.KindPut, 7, body(1))
	if w.status(id) != 255 {
		t.Fatalf("answered %v before any replica has it", w.status(id))
	}
	w.cut[1] = true
	w.deliver()
	if w.status(id) != 255 {
		t.Fatalf("answered %v while one replica is missing", w.status(id))
	}
	w.cut[1] = false
	w.tick(ackRetry)
	w.deliver()
	if w.status(id) != wire.StatusOK {
		t.Fatalf("status %v, want ok after the repeat", w.status(id))
	}
	for n := cluster.NodeID(1); n <= 3; n++ {
		if got := w.stored(n, 7); got != 1 {
			t.Errorf("%v holds %d, want 1", n, got)
		}
	}
}

func TestRequestsForOneRecordAreSerialisedAndBounded(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(1, 2, 2, 1)
	var ids []uint64
	for i := range MaxQueue + 3 {
		ids = append(ids, w.request(2, wire.KindPut, 7, body(i)))
	}
	w.deliver()
	ok, busy := 0, 0
	for _, id := range ids {
		switch w.status(id) {
		case wire.StatusOK:
			ok++
		case wire.StatusBusy:
			busy++
		}
	}
	if ok != MaxQueue+1 || busy != 2 {
		t.Errorf("%d ok and %d busy, want %d and 2", ok, busy, MaxQueue+1)
	}
	if a, b := w.stored(1, 7), w.stored(2, 7); a != b || a != MaxQueue {
		t.Errorf("copies hold %d and %d, want the last write %d", a, b, MaxQueue)
	}
}

func TestFrozenNodeAcknowledgesNothing(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(1, 2, 2, 1)
	id := w.request(2, wire.KindPut, 7, body(1))
	w.nodes[2].core.Freeze()
	w.deliver() // the replica's answer arrives in the frozen window
	if w.status(id) != 255 {
		t.Fatalf("answered %v while frozen", w.status(id))
	}
	read := w.request(2, wire.KindGet, 7, nil)
	if w.status(read) != 255 {
		t.Fatalf("read answered %v while frozen", w.status(read))
	}
	w.commit(2, 2, 2, 1)
	w.deliver()
	if w.status(id) != wire.StatusOK || w.status(read) != wire.StatusOK {
		t.Errorf("after the commit: write %v, read %v; want both ok", w.status(id), w.status(read))
	}
}

func TestWriteInFlightIsAdoptedByTheNewMaster(t *testing.T) {
	w := newWorld(t, 3)
	w.commit(1, 3, 3, 2, 1)
	id := w.request(3, wire.KindPut, 7, body(5))
	w.queue = nil // nobody got it
	w.commit(2, 2, 3, 2, 1)
	w.deliver()
	if w.status(id) != wire.StatusOK {
		t.Fatalf("status %v, want ok by adoption", w.status(id))
	}
	for n := cluster.NodeID(1); n <= 3; n++ {
		if got := w.stored(n, 7); got != 5 {
			t.Errorf("%v holds %d, want 5", n, got)
		}
	}
}

func TestOldViewMessagesAreInert(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(5, 2, 2, 1)
	m := wire.Replicate{View: cluster.ViewKey{Counter: 4, Proposer: 2, Inc: 1}, Digest: digest(7),
		Meta: record.Meta{Generation: 1, Version: record.Version{Regime: 4, Stamp: 1, Node: 2}}, Body: body(1)}
	w.nodes[1].core.Receive(w.now, Origin{Conn: cluster.NodeID(2), ID: 9}, wire.KindReplicate, &m, &wire.Resolve{})
	a := w.nodes[1].core.Take().Answers
	if len(a) != 1 || a[0].Status != wire.StatusStaleView || w.stored(1, 7) != -1 {
		t.Errorf("answers %+v, stored %d; want a refusal and nothing stored", a, w.stored(1, 7))
	}
}

func TestMessageOfTheNextViewIsHeldUntilItsCommit(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(1, 2, 2, 1)
	v := &cluster.View{Key: cluster.ViewKey{Counter: 2, Proposer: 2, Inc: 1}, Members: []cluster.Member{{Node: 2, Inc: 1}, {Node: 1, Inc: 1}}}
	w.nodes[1].core.Freeze()
	w.nodes[2].core.Freeze()
	w.commitOn(v, 2, 2, nil)
	id := w.request(2, wire.KindPut, 7, body(1))
	w.deliver()
	if w.status(id) != 255 || w.stored(1, 7) != -1 {
		t.Fatalf("status %v, replica %d: the replica has not committed yet", w.status(id), w.stored(1, 7))
	}
	w.commitOn(v, 1, 2, nil)
	w.deliver()
	if w.status(id) != wire.StatusOK || w.stored(1, 7) != 1 {
		t.Errorf("status %v, replica %d; want ok and 1", w.status(id), w.stored(1, 7))
	}
}

// apart are the descents of the copies of nodes 2 and 1, which parted after
// View 5 and merge in a later one.
func apart(merge uint64) *partition.Sides { return apartAfter(5, merge, 2) }

// apartAfter is apart for the copies of another master and of node 1.
func apartAfter(parted, merge uint64, master cluster.NodeID) *partition.Sides {
	lines := [2]partition.Line{}
	for i, n := range []cluster.NodeID{master, 1} {
		views := []*cluster.View{{Key: cluster.ViewKey{Counter: parted, Proposer: 2, Inc: 1}, Members: []cluster.Member{{Node: master}, {Node: 1}}}}
		for c := parted + 1; c < merge; c++ {
			views = append(views, &cluster.View{Key: cluster.ViewKey{Counter: c, Proposer: n, Inc: 1}, Members: []cluster.Member{{Node: n}}})
		}
		lines[i] = partition.LineOf(views...)
	}
	return partition.NewSides(lines[0], lines[1])
}

func TestDuplicatesAreResolvedOnHitAndOnMiss(t *testing.T) {
	w := newWorld(t, 2)
	put := func(n cluster.NodeID, key, val int, regime uint32, stamp hlc.Stamp) {
		d := digest(key)
		m := record.Meta{Generation: 1, Version: record.Version{Regime: regime, Stamp: stamp, Node: n}}
		if err := w.nodes[n].store.Put(&d, m, body(val)); err != nil {
			t.Fatal(err)
		}
	}
	put(2, 1, 10, 6, 1) // conflict, the duplicate's is newer
	put(1, 1, 11, 7, 2)
	put(1, 2, 20, 3, 1) // only the duplicate has it
	put(2, 3, 30, 7, 2) // the master's is newer
	put(1, 3, 31, 3, 1)
	put(2, 4, 40, 7, 1) // conflict, the duplicate's is later though its side counted fewer Views
	put(1, 4, 41, 6, 2)
	put(2, 5, 50, 6, 2) // conflict, the master's is later though ...
	put(1, 5, 51, 7, 1)
	v := &cluster.View{Key: cluster.ViewKey{Counter: 8, Proposer: 2, Inc: 1}, Members: []cluster.Member{{Node: 2, Inc: 1}, {Node: 1, Inc: 1}}}
	w.commitOn(v, 1, 2, nil)
	w.commitOn(v, 2, 2, []Duplicate{{Node: 1, Sides: apart(8)}})
	for key, want := range map[int]int{1: 11, 2: 20, 3: 30, 4: 41, 5: 50} {
		id := w.request(2, wire.KindGet, key, nil)
		if w.status(id) != 255 {
			t.Fatalf("key %d answered %v before the duplicate was asked", key, w.status(id))
		}
		w.deliver()
		if w.status(id) != wire.StatusOK || w.stored(2, key) != want {
			t.Errorf("key %d: %v, master holds %d; want ok, %d", key, w.status(id), w.stored(2, key), want)
		}
	}
	if got := w.nodes[2].core.Stats().ConflictsDiscarded; got != 3 {
		t.Errorf("%d conflicts counted, want 3: this node's versions of 1 and 4 lost, and the duplicate's of 5", got)
	}
}

func TestSuspectsAreAskedBeforeDuplicates(t *testing.T) {
	w := newWorld(t, 3)
	put := func(n cluster.NodeID, val int, v record.Version) {
		d := digest(1)
		if err := w.nodes[n].store.Put(&d, record.Meta{Generation: 1, Version: v}, body(val)); err != nil {
			t.Fatal(err)
		}
	}
	put(3, 10, record.Version{Regime: 7, Stamp: 1, Node: 2})
	put(2, 11, record.Version{Regime: 7, Stamp: 2, Node: 2}) // in flight when its master was lost
	put(1, 12, record.Version{Regime: 6, Stamp: 3, Node: 1}) // the other side's
	v := &cluster.View{Key: cluster.ViewKey{Counter: 8, Proposer: 3, Inc: 1}, Members: []cluster.Member{{Node: 3, Inc: 1}, {Node: 2, Inc: 1}, {Node: 1, Inc: 1}}}
	var lost []hlc.Stamp
	c := w.nodes[3].core
	c.cfg.Lost = func(_ record.Digest, v record.Version, _ func(record.Version) bool) bool {
		lost = append(lost, v.Stamp)
		return true
	}
	w.commitOn(v, 1, 3, nil)
	w.commitOn(v, 2, 3, nil)
	w.commitOn(v, 3, 3, []Duplicate{{Node: 1, Sides: apart(8)}})
	d := digest(1)
	c.parts[d.Partition()].Suspects = []cluster.NodeID{2}
	if c.Serves(d.Partition()) {
		t.Error("serves without asking suspects")
	}
	id := w.request(3, wire.KindGet, 1, nil)
	if len(w.queue) != 1 || w.queue[0].to != 2 {
		t.Fatalf("%d nodes are asked at first, want the suspect alone", len(w.queue))
	}
	w.deliver()
	if w.status(id) != wire.StatusOK || w.stored(3, 1) != 12 || !slices.Equal(lost, []hlc.Stamp{2}) {
		t.Errorf("%v, master holds %d, versions %v are counted as discarded; want ok, 12, that of stamp 2", w.status(id), w.stored(3, 1), lost)
	}
}

// A paused master comes back with writes in its buffers that their clients
// have long sent again elsewhere, and one applied and never replicated.
func TestGhostWritesOfAPausedMasterAreNotApplied(t *testing.T) {
	w := newWorld(t, 3)
	w.commit(1, 3, 3, 2, 1)
	old := w.nodes[3].core.view.Key.Tag()
	w.cut[3] = true // paused: nothing leaves it
	applied := w.request(3, wire.KindPut, 7, body(1))
	w.queue = nil
	w.commit(2, 2, 2, 1)
	for v := 1; v <= 2; v++ { // sent again, then a newer one
		id := w.request(2, wire.KindPut, 7, body(v))
		w.deliver()
		if w.status(id) != wire.StatusOK {
			t.Fatalf("write %d: %v", v, w.status(id))
		}
	}
	w.cut[3] = false
	w.now.Lease = 0
	w.nextID++
	ghost := w.nextID
	w.nodes[3].core.Request(w.now, &Request{Kind: wire.KindPut, From: Origin{ID: ghost}, Request: wire.Request{Digest: digest(7), View: old, Body: body(1)}})
	w.collect(w.nodes[3])
	w.now.Lease = cluster.Never
	for n := cluster.NodeID(1); n <= 3; n++ {
		w.nodes[n].core.Freeze()
	}
	w.commit(3, 2, 3, 2, 1)
	w.deliver()
	w.tick(ackRetry)
	w.deliver()
	for n := cluster.NodeID(1); n <= 3; n++ {
		if got := w.stored(n, 7); got != 2 {
			t.Errorf("%v holds %d, want 2: an acknowledged write was undone", n, got)
		}
	}
	for what, id := range map[string]uint64{"queued": ghost, "applied": applied} {
		if w.status(id) == wire.StatusOK {
			t.Errorf("the %s ghost was acknowledged", what)
		}
	}
}

// A write in flight when its side of a split meets the other one: if that side
// has a later, acknowledged one, the write is not lifted over it.
func TestWriteInFlightAsksTheOtherSideBeforeItGoesOn(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(5, 2, 2)
	w.cut[1] = true
	v := &cluster.View{Key: cluster.ViewKey{Counter: 6, Proposer: 2, Inc: 1}, Members: []cluster.Member{{Node: 2, Inc: 1}, {Node: 1, Inc: 1}}}
	w.commitOn(v, 2, 2, nil) // node 1 is in the write set and does not answer
	id := w.request(2, wire.KindPut, 7, body(1))
	w.deliver()
	d := digest(7)
	late := record.Meta{Generation: 2, Version: record.Version{Regime: 6, Stamp: hlc.Stamp(w.now.WallMS+5000) << 16, Node: 1}}
	if err := w.nodes[1].store.Put(&d, late, body(2)); err != nil {
		t.Fatal(err)
	}
	w.cut[1] = false
	merged := &cluster.View{Key: cluster.ViewKey{Counter: 7, Proposer: 2, Inc: 1}, Members: v.Members}
	w.commitOn(merged, 1, 2, nil)
	w.commitOn(merged, 2, 2, []Duplicate{{Node: 1, Sides: apart(7)}})
	w.deliver()
	if w.status(id) != wire.StatusNotMaster || w.stored(2, 7) != 2 {
		t.Errorf("write %v, master holds %d; want it to be repeated by its client, and the later 2 kept", w.status(id), w.stored(2, 7))
	}
	if got := w.nodes[2].core.Stats().ConflictsDiscarded; got != 1 {
		t.Errorf("%d conflicts, want 1", got)
	}
}

func TestLapsedLeaseParksUntilItIsBack(t *testing.T) {
	w := newWorld(t, 1)
	w.commit(1, 1, 1)
	w.now.Lease = w.now.Mono
	id := w.request(1, wire.KindGet, 7, nil)
	if w.status(id) != 255 {
		t.Fatalf("answered %v without a lease", w.status(id))
	}
	w.now.Lease = cluster.Never
	w.tick(time.Millisecond)
	if w.status(id) != wire.StatusNotFound {
		t.Errorf("status %v, want not found", w.status(id))
	}
}

func TestDrainedPartitionHandsItsRequestsOver(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(1, 2, 2, 1)
	pid := func() int { d := digest(7); return d.Partition() }()
	first := w.request(2, wire.KindPut, 7, body(1))
	w.nodes[2].core.Drain(pid)
	second := w.request(2, wire.KindPut, 7, body(2))
	if d := w.nodes[2].core.Take().Drained; len(d) != 0 {
		t.Fatalf("drained %v while a write is in flight", d)
	}
	for len(w.queue) > 0 && w.status(first) == 255 {
		m := w.queue[0]
		w.queue = w.queue[1:]
		m.run()
		if m.to == 2 {
			if d := w.nodes[2].core.Take().Drained; !slices.Equal(d, []int{pid}) {
				t.Fatalf("drained %v, want [%d]", d, pid)
			}
		}
		w.collect(w.nodes[m.to])
	}
	w.nodes[1].core.Become(w.now, pid, []cluster.NodeID{2})
	w.nodes[2].core.SetMaster(w.now, pid, 1)
	w.collect(w.nodes[2])
	w.deliver()
	if w.status(second) != wire.StatusOK || w.stored(1, 7) != 2 || w.stored(2, 7) != 2 {
		t.Errorf("second write %v, copies %d and %d; want ok and 2 on both", w.status(second), w.stored(1, 7), w.stored(2, 7))
	}
}

func TestOverdueRequestsSayWhetherTheyMayHaveHappened(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(1, 2, 2, 1)
	w.cut[1] = true
	applied := w.request(2, wire.KindPut, 7, body(1))
	queued := w.request(2, wire.KindPut, 7, body(2))
	w.now.Lease = 0
	parked := w.request(2, wire.KindPut, 8, body(3))
	w.tick(2 * time.Second)
	w.deliver()
	if w.status(applied) != wire.StatusInDoubt {
		t.Errorf("applied here, unanswered by the replica: %v, want in doubt", w.status(applied))
	}
	if w.status(queued) != wire.StatusTimeout || w.status(parked) != wire.StatusTimeout {
		t.Errorf("queued %v, parked %v; want timeout for both", w.status(queued), w.status(parked))
	}
}

func TestGenerationTTLDeleteAndOperate(t *testing.T) {
	w := newWorld(t, 1)
	w.commit(1, 1, 1)
	do := func(q Request, want wire.Status) wire.Reply {
		t.Helper()
		w.nextID++
		q.From.ID, q.Digest = w.nextID, digest(7)
		w.nodes[1].core.Request(w.now, &q)
		w.collect(w.nodes[1])
		if got := w.status(w.nextID); got != want {
			t.Fatalf("kind %d: %v, want %v", q.Kind, got, want)
		}
		return w.replies[w.nextID]
	}
	do(Request{Kind: wire.KindDelete}, wire.StatusNotFound)
	do(Request{Kind: wire.KindPut, Request: wire.Request{Body: body(1), CheckGen: true, Generation: 1}}, wire.StatusGeneration)
	do(Request{Kind: wire.KindPut, Request: wire.Request{Body: body(1), CheckGen: true}}, wire.StatusOK)
	do(Request{Kind: wire.KindPut, Request: wire.Request{Body: body(1), CheckGen: true}}, wire.StatusGeneration)
	do(Request{Kind: wire.KindPut, Request: wire.Request{Body: []byte{0xff, 0xff}}}, wire.StatusBadRequest)
	ops, err := wire.AppendOps(nil, "", record.Value{}, []record.Op{{Kind: record.OpAdd, Bin: "a", Value: record.Int(4)}, {Kind: record.OpRead, Bin: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	r := do(Request{Kind: wire.KindOperate, Request: wire.Request{Body: ops}}, wire.StatusOK)
	bins, err := wire.ParseResults(r.Bins)
	if err != nil || len(bins) != 1 || r.Generation != 2 {
		t.Fatalf("results %v (%v), generation %d", bins, err, r.Generation)
	}
	if v, _ := bins[0].Value.Int(); v != 5 {
		t.Errorf("1 + 4 = %d", v)
	}
	do(Request{Kind: wire.KindTouch, Request: wire.Request{TTL: 10}}, wire.StatusOK)
	w.now.WallMS += 11_000
	do(Request{Kind: wire.KindGet}, wire.StatusNotFound)
	do(Request{Kind: wire.KindPut, Request: wire.Request{Body: body(2)}}, wire.StatusOK)
	do(Request{Kind: wire.KindDelete}, wire.StatusOK)
	do(Request{Kind: wire.KindGet}, wire.StatusNotFound)
}

// TestRandomHistoriesKeepAcknowledgedWrites loses, repeats and reorders
// messages and changes Views at random; every acknowledged write must be on
// every member at the end, unless a later one replaced it.
func TestRandomHistoriesKeepAcknowledgedWrites(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { randomHistory(t, seed) })
	}
}

func randomHistory(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, 3)
	counter := uint64(1)
	master := cluster.NodeID(3)
	w.commit(counter, master, 3, 2, 1)
	key := map[uint64]int{}
	value := map[uint64]int{}
	for i := range 400 {
		switch rnd.IntN(10) {
		case 0:
			w.tick(time.Duration(rnd.IntN(80)) * time.Millisecond)
		case 1:
			if rnd.IntN(8) == 0 {
				for n := range w.nodes {
					w.nodes[n].core.Freeze()
				}
				counter++
				master = cluster.NodeID(1 + rnd.IntN(3))
				w.commit(counter, master, 3, 2, 1)
			}
		case 2, 3, 4:
			k := rnd.IntN(12)
			id := w.request(cluster.NodeID(1+rnd.IntN(3)), wire.KindPut, k, body(i))
			key[id], value[id] = k, i
		default:
			if n := len(w.queue); n > 0 {
				at := rnd.IntN(n)
				m := w.queue[at]
				w.queue = slices.Delete(w.queue, at, at+1)
				if rnd.IntN(10) > 0 {
					m.run()
					w.collect(w.nodes[m.to])
				}
			}
		}
	}
	for range 20 {
		w.deliver()
		w.tick(ackRetry)
	}
	w.deliver()
	acked := map[int]int{}
	for id, k := range key {
		if w.status(id) == wire.StatusOK {
			acked[k]++
			_ = value[id]
		}
	}
	if len(acked) < 5 {
		t.Fatalf("only %d keys were acknowledged: this history proves nothing", len(acked))
	}
	for k := range acked {
		a, b, c := w.stored(1, k), w.stored(2, k), w.stored(3, k)
		if a < 0 || a != b || b != c {
			t.Errorf("key %d: copies hold %d, %d, %d", k, a, b, c)
		}
	}
}

func TestStampNeverGoesBack(t *testing.T) {
	c := New(Config{Self: 1})
	c.view = &cluster.View{Key: cluster.ViewKey{Counter: 3}}
	old := record.Version{Regime: 3, Stamp: hlc.Stamp(1<<62) << 1, Node: 9} // far ahead of any clock
	if v := c.stamp(Now{WallMS: 1000}, old); !v.Newer(old) {
		t.Errorf("stamp %v is not newer than %v", v, old)
	}
}

func TestAReadWaitsForTheWriteInFlight(t *testing.T) {
	w := newWorld(t, 2)
	count := 0
	w.nodes[2].core.cfg.Unsettled = func(_ *record.Digest, by int32) { count += int(by) }
	w.commit(1, 2, 2, 1)
	w.request(2, wire.KindPut, 7, body(1))
	w.deliver()
	w.cut[1] = true
	put := w.request(2, wire.KindPut, 7, body(2))
	w.deliver()
	get, other := w.request(2, wire.KindGet, 7, nil), w.request(2, wire.KindGet, 8, nil)
	if w.status(get) != 255 || w.status(other) != wire.StatusNotFound || count != 1 {
		t.Fatalf("get of the record %v, of another %v, %d unsettled; want none, not found and 1", w.status(get), w.status(other), count)
	}
	w.cut[1] = false
	w.tick(ackRetry)
	w.deliver()
	v, _ := record.Bins(w.replies[get].Bins).Get("a")
	if got, _ := v.Int(); w.status(put) != wire.StatusOK || w.status(get) != wire.StatusOK || got != 2 || count != 0 {
		t.Errorf("put %v, get %v of %d, %d unsettled; want ok, ok of 2 and 0", w.status(put), w.status(get), got, count)
	}
}

func TestAWriteInDoubtGoesOnAndReadsDoNotSeeIt(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(1, 2, 2, 1)
	w.cut[1] = true
	put := w.request(2, wire.KindPut, 7, body(1))
	w.deliver()
	w.tick(2 * time.Second)
	get := w.request(2, wire.KindGet, 7, nil)
	w.tick(2 * time.Second)
	if w.status(put) != wire.StatusInDoubt || w.status(get) != wire.StatusTimeout {
		t.Errorf("put %v, get %v; want in doubt and timeout", w.status(put), w.status(get))
	}
	w.queue = nil
	w.cut[1] = false
	w.tick(ackRetry)
	w.deliver()
	if got := w.stored(1, 7); got != 1 {
		t.Errorf("the replica holds %d, want 1", got)
	}
	w.cut[1] = true
	w.request(2, wire.KindPut, 8, body(1))
	w.tick(2*time.Second + keepFor)
	if n := len(w.nodes[2].core.ops); n != 0 {
		t.Errorf("%d ops go on after %v, want none", n, keepFor)
	}
}

func TestReadsThatWaitMoveToTheNewMaster(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(1, 2, 2, 1)
	w.cut[1] = true
	w.request(2, wire.KindPut, 7, body(1))
	w.request(2, wire.KindGet, 7, nil)
	w.deliver()
	w.cut[1] = false
	w.nodes[2].core.Freeze()
	w.commit(2, 1, 2, 1)
	w.deliver()
	if n := w.nodes[2].core; n.readers != 0 || len(n.ops) != 0 || w.nodes[1].core.Stats().Reads != 1 {
		t.Errorf("%d reads wait and %d ops go on at the old master, %d reads at the new one; want 0, 0 and 1", n.readers, len(n.ops), w.nodes[1].core.Stats().Reads)
	}
}
