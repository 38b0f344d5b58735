package migrate

import (
	"container/heap"
	"encoding/binary"
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

// engineStore adapts a storage.Engine.
type engineStore struct {
	*storage.Engine
	fail func() bool // PutNewer finds no room
	slow *bool       // records have to be read
}

func (s engineStore) PutNewer(d *record.Digest, m record.Meta, body []byte) (bool, record.Meta, bool, error) {
	if s.fail() {
		return false, record.Meta{}, false, storage.ErrStopWrites
	}
	return s.Engine.PutNewer(d, m, body)
}

func (s engineStore) Waits() bool { return *s.slow }

func (s engineStore) Each(p int, cursor uint64, max int, fn func(*record.Digest, *record.Meta)) (uint64, bool) {
	next, done := s.Engine.Each(p, storage.Cursor(cursor), max, fn)
	return uint64(next), done
}

func (s engineStore) Scan(p int, cursor uint64, max int, fn func(*record.Digest, *record.Meta, []byte)) (uint64, bool) {
	next, done := s.Engine.Scan(p, storage.Cursor(cursor), max, fn)
	return uint64(next), done
}

func (s engineStore) ListBucket(p, bucket int, dst []wire.DigestVersion) []wire.DigestVersion {
	for _, v := range s.Engine.ListBucket(p, bucket, nil) {
		dst = append(dst, wire.DigestVersion(v))
	}
	return dst
}

func (s engineStore) Partition(p int) Size {
	x := s.Engine.Partition(p)
	return Size{Records: int(x.Records + x.Tombstones), Bytes: x.Bytes}
}

// world is a few Cores on real engines, a network of ordered connections that
// may break, and a stand-in for txn.
type world struct {
	t         *testing.T
	rng       *rand.Rand
	now       cluster.Instant
	nodes     []*node // by NodeID-1
	events    eventHeap
	serial    int
	last      map[pair]cluster.Instant // arrival of the last message
	epoch     map[pair]int             // counts breaks
	breaks    float64                  // probability that a message breaks its connection
	full      float64                  // probability that a Store refuses a record of a migration
	slow      bool                     // records have to be read from a device
	unread    float64                  // probability that the device does not answer well
	refused   float64                  // probability that a Read is not taken
	loads     int                      // Reads done
	delay     time.Duration
	counter   uint64
	stamp     hlc.Stamp
	expect    map[record.Digest]record.Version // newest in the order of versions
	lastWrite map[record.Digest]record.Version // newest in time
	messages  int
	sentRec   map[wire.Step]int
	rf        int
}

type node struct {
	id      cluster.NodeID
	core    *Core
	engine  *storage.Engine
	next    cluster.Instant            // no Tick before
	pending bool                       // frozen until a scheduled commit
	shrunk  map[uint16]cluster.ViewKey // View in which writes go to the Replicas only
}

type pair struct{ from, to cluster.NodeID }

type event struct {
	at     cluster.Instant
	serial int
	do     func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].serial < h[j].serial
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func newWorld(t *testing.T, seed uint64, nodes int) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), last: map[pair]cluster.Instant{}, epoch: map[pair]int{},
		delay: 2 * time.Millisecond, expect: map[record.Digest]record.Version{}, lastWrite: map[record.Digest]record.Version{}, sentRec: map[wire.Step]int{}, rf: 2}
	for i := range nodes {
		n := &node{id: cluster.NodeID(i + 1)}
		w.nodes = append(w.nodes, n)
		w.erase(n)
	}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.engine.Close()
		}
	})
	return w
}

// onDevices lets records lie on devices in every second seed: some cannot be
// read at once, and some reads are refused.
func (w *world) onDevices(seed uint64) {
	if w.slow = seed%2 == 1; w.slow {
		w.unread, w.refused = 0.01, 0.02
	}
}

// erase gives n an empty store and a new Core.
func (w *world) erase(n *node) {
	if n.engine != nil {
		n.engine.Close()
	}
	var err error
	if n.engine, err = storage.Open(storage.Config{}); err != nil {
		w.t.Fatal(err)
	}
	n.pending, n.shrunk = false, map[uint16]cluster.ViewKey{}
	n.core = New(Config{Self: n.id, Store: engineStore{n.engine, func() bool { return w.rng.Float64() < w.full }, &w.slow}, Rand: rand.New(rand.NewPCG(uint64(n.id), 2)), Lost: firstTime()})
}

func (w *world) at(d time.Duration, do func()) {
	w.serial++
	heap.Push(&w.events, event{w.now.Add(d), w.serial, do})
}

// commit agrees on a View of the given nodes: all freeze now and commit within
// a few milliseconds, each at its own time.
func (w *world) commit(ids ...int) {
	w.counter++
	v := &cluster.View{}
	for _, id := range ids {
		v.Members = append(v.Members, cluster.Member{Node: cluster.NodeID(id), Inc: 1})
	}
	cluster.SortMembers(v.Members)
	v.Key = cluster.ViewKey{Counter: w.counter, Proposer: v.Members[0].Node, Inc: 1}
	var reports []*partition.Report
	for _, m := range v.Members {
		n := w.nodes[m.Node-1]
		reports = append(reports, n.core.Freeze(v.Members))
		n.pending = true
		w.take(n)
	}
	plan := partition.NewPlan(v, partition.NewTable(v, w.rf), reports)
	for _, m := range v.Members {
		n := w.nodes[m.Node-1]
		core := n.core
		w.at(time.Duration(w.rng.Int64N(int64(5*time.Millisecond))), func() {
			if n.core != core {
				return
			}
			n.pending = false
			n.core.Commit(w.now, v, plan)
			w.take(n)
		})
	}
	for slices.ContainsFunc(ids, func(id int) bool { return w.nodes[id-1].pending }) {
		w.step()
	}
	for _, id := range ids { // as pulses tell
		for _, m := range v.Members {
			w.nodes[id-1].core.Confirm(m.Node)
		}
		w.take(w.nodes[id-1])
	}
}

// take carries out the effects of n's Core.
func (w *world) take(n *node) {
	e := n.core.Take()
	w.checkEffects(n, e)
	for _, x := range e.Master {
		n.shrunk[x.Partition] = n.core.view.Key
	}
	for _, s := range e.Sends {
		w.send(n, s)
	}
	for _, r := range e.Reads {
		w.read(n, r)
	}
	for _, pid := range e.Drain {
		key, core := n.core.view.Key, n.core
		w.at(time.Duration(w.rng.Int64N(int64(3*time.Millisecond))), func() {
			if n.core == core && n.core.view.Key == key {
				n.core.Drained(w.now, int(pid))
				w.take(n)
			}
		})
	}
}

// read does a Read at one moment and hands over what it found at a later one,
// in any order.
func (w *world) read(n *node, r *Read) {
	core, engine := n.core, n.engine
	if w.rng.Float64() < w.refused {
		w.at(0, func() {
			core.Loaded(w.now, r.ID, Loaded{})
			w.take(n)
		})
		return
	}
	most := 1 + w.rng.IntN(len(r.Digests))
	w.at(time.Duration(w.rng.Int64N(int64(3*time.Millisecond))), func() {
		if n.core != core {
			return
		}
		tried := 0
		got := r.Load(func(d *record.Digest, dst []byte) (record.Meta, []byte, bool) {
			tried++
			m, body, ok := engine.Get(d, dst)
			if m.Unreadable = ok && w.rng.Float64() < w.unread; m.Unreadable {
				body = dst
			}
			return m, body, ok
		}, func() bool { return tried >= most })
		w.at(time.Duration(w.rng.Int64N(int64(20*time.Millisecond))), func() {
			if n.core == core {
				w.loads++
				core.Loaded(w.now, r.ID, got)
				w.take(n)
			}
		})
	})
}

// checkEffects asserts what must hold at every moment of a View: one master,
// and no copy dropped before all replicas are Full.
func (w *world) checkEffects(n *node, e Effects) {
	for _, x := range e.Master {
		for _, o := range w.nodes {
			c := o.core
			j := c.jobs[x.Partition]
			if o != n && x.Node == n.id && c.view != nil && c.view.Key == n.core.view.Key && c.master[x.Partition] == c.self && (j == nil || j.stage != handing) {
				w.t.Fatalf("%v becomes master of %d while %v serves it", n.id, x.Partition, o.id)
			}
		}
	}
	for _, pid := range e.Dropped {
		for _, m := range n.core.plan.Parts[pid].Replicas {
			o := w.nodes[n.core.view.Members[m].Node-1].core
			if k := o.report.Copies[pid]; !n.core.plan.Parts[pid].Fresh && o.view != nil && o.view.Key == n.core.view.Key && k.State != partition.Full {
				w.t.Fatalf("%v drops its copy of %d while that of %v is %+v", n.id, pid, o.cfg.Self, k)
			}
		}
	}
}

// send delivers a message later, in order of its connection, unless the
// connection breaks: then everything under way on it is lost.
func (w *world) send(n *node, s Send) {
	p := pair{n.id, s.To}
	w.messages++
	w.sentRec[s.Msg.Step]++
	frame := s.Msg.Append(nil)
	if len(frame) > wire.MaxPayload {
		w.t.Fatalf("%d bytes in one message, limit %d", len(frame), wire.MaxPayload)
	}
	if w.rng.Float64() < w.breaks {
		w.epoch[p]++
	}
	epoch := w.epoch[p]
	arrive := max(w.now.Add(w.delay/2+time.Duration(w.rng.Int64N(int64(w.delay/2)))), w.last[p]+1)
	w.last[p] = arrive
	to := w.nodes[s.To-1]
	core := to.core
	w.at(arrive.Sub(w.now), func() {
		if w.epoch[p] != epoch || to.core != core {
			return
		}
		var m wire.Migrate
		if err := m.Parse(frame); err != nil {
			w.t.Fatal(err)
		}
		core.Receive(w.now, n.id, &m)
		clear(frame) // the Core must not keep it
		clear(m.Versions)
		clear(m.Digests)
		w.take(to)
	})
}

// step runs the next event or Tick.
func (w *world) step() bool {
	at, do := cluster.Never, func() {}
	if len(w.events) > 0 {
		at = w.events[0].at
		do = func() { heap.Pop(&w.events).(event).do() }
	}
	for _, n := range w.nodes {
		if d := max(n.core.Deadline(), n.next); n.core.Deadline() != cluster.Never && d < at {
			at = d
			do = func() {
				n.core.Tick(w.now)
				n.next = w.now.Add(50 * time.Microsecond)
				w.take(n)
			}
		}
	}
	if at == cluster.Never {
		return false
	}
	w.now = max(w.now, at)
	do()
	return true
}

// run goes on for d, or until nothing is left to do.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for w.now < end && w.step() {
	}
}

// settle runs until nothing is left to do, which must come within limit.
func (w *world) settle(limit time.Duration) {
	w.t.Helper()
	for end := w.now.Add(limit); w.step(); {
		if w.now > end {
			w.t.Fatalf("migrations did not end in %v; left are %d", limit, w.left(1, 2, 3, 4))
		}
	}
}

// settleGroup runs until the group is done; nodes outside it may go on asking.
func (w *world) settleGroup(limit time.Duration, group ...int) {
	w.t.Helper()
	for end := w.now.Add(limit); w.left(group...) > 0 && w.step(); {
		if w.now > end {
			w.t.Fatalf("migrations did not end in %v; left are %d", limit, w.left(group...))
		}
	}
}

// left counts the jobs of a group.
func (w *world) left(group ...int) (n int) {
	for _, id := range group {
		if id <= len(w.nodes) {
			n += w.nodes[id-1].core.progress.Partitions
		}
	}
	return n
}

// digest makes the digest of the i-th record of a partition.
func digest(pid, i int) record.Digest {
	var d record.Digest
	r := rand.New(rand.NewPCG(uint64(pid), uint64(i)))
	for at := 0; at < 16; at += 8 {
		binary.LittleEndian.PutUint64(d[at:], r.Uint64())
	}
	binary.LittleEndian.PutUint16(d[:], uint16(pid)|uint16(r.Uint32())&0xf000)
	return d
}

// master is the node of the group that serves pid, nil if none does now or
// one of its write set is not ready.
func (w *world) master(pid int, group []int) (*node, []*node) {
	for _, id := range group {
		n := w.nodes[id-1]
		c := n.core
		j := c.jobs[pid]
		if c.frozen || n.pending || c.view == nil || c.master[pid] != c.self || j != nil && (j.stage == draining || j.stage == handing) {
			continue
		}
		part := &c.plan.Parts[pid]
		set := part.WriteSet
		if n.shrunk[uint16(pid)] == c.view.Key {
			set = part.Replicas
		}
		var all []*node
		for _, m := range set {
			o := w.nodes[c.view.Members[m].Node-1]
			if o.pending || o.core.frozen || o.core.view.Key != c.view.Key {
				return nil, nil
			}
			all = append(all, o)
		}
		return n, all
	}
	return nil, nil
}

// write writes a record at the master of the group and all its write set at
// once, after asking suspects and unabsorbed duplicates; false if nobody serves.
func (w *world) write(group []int, pid, i, size int, tombstone bool) bool {
	n, set := w.master(pid, group)
	if n == nil {
		return false
	}
	c := n.core
	d := digest(pid, i)
	if j := c.jobs[pid]; j != nil && j.stage <= absorbing {
		for _, m := range slices.Concat(j.suspects, j.part.Duplicates) {
			o := w.nodes[c.view.Members[m].Node-1]
			if o.pending || o.core.view.Key != c.view.Key {
				return false
			}
			if meta, body, ok := o.engine.Get(&d, nil); ok {
				n.engine.PutNewer(&d, meta, body)
			}
		}
	}
	w.stamp++
	meta := record.Meta{Version: record.Version{Regime: uint32(c.view.Key.Counter), Stamp: w.stamp, Node: n.id}, Generation: 1, Tombstone: tombstone}
	for _, o := range set {
		body := make([]byte, size)
		if _, _, _, err := o.engine.PutNewer(&d, meta, body); err != nil {
			w.t.Fatal(err)
		}
	}
	w.lastWrite[d] = meta.Version // stamps only grow
	if meta.Version.Newer(w.expect[d]) {
		w.expect[d] = meta.Version
	}
	return true
}

// check asserts that after quiet the group holds every record in its newest
// version on exactly the replicas, identical and Full.
func (w *world) check(group ...int) {
	w.t.Helper()
	c0 := w.nodes[group[0]-1].core
	for pid := range cluster.Partitions {
		part := &c0.plan.Parts[pid]
		if !part.Available {
			continue
		}
		want := w.nodes[c0.view.Members[part.Final].Node-1].engine.Partition(pid)
		for i, m := range c0.view.Members {
			n := w.nodes[m.Node-1]
			got, k := n.engine.Partition(pid), n.core.report.Copies[pid]
			if n.core.master[pid] != part.Final {
				w.t.Fatalf("%v: master of %d is %d, want %d", n.id, pid, n.core.master[pid], part.Final)
			}
			if !slices.Contains(part.Replicas, uint16(i)) {
				if !got.Empty() || k != (partition.Copy{}) {
					w.t.Fatalf("%v: partition %d not dropped: %+v, %+v", n.id, pid, got, k)
				}
			} else if got != want || k.State != partition.Full || k.Key != c0.view.Key {
				w.t.Fatalf("%v: partition %d is %+v %+v, want %+v", n.id, pid, got, k, want)
			}
		}
	}
	// After one split the last write wins, whatever its side's regime. Where
	// splits overlap, or a merge is cut short by the next, the order of the
	// regimes may decide; nothing else may.
	for d, v := range w.expect {
		part := &c0.plan.Parts[d.Partition()]
		if m, ok := w.nodes[c0.view.Members[part.Final].Node-1].engine.Meta(&d); part.Available && (!ok || !sameWrite(m.Version, v) && !sameWrite(m.Version, w.lastWrite[d])) {
			w.t.Fatalf("record %x of partition %d is %v %v, want %v", d[:4], d.Partition(), ok, m.Version, v)
		}
	}
	for _, id := range group {
		if p := w.nodes[id-1].core.Progress(); p.Partitions != 0 || p.BytesLeft != 0 {
			w.t.Fatalf("node%d: progress %+v after the end", id, p)
		}
	}
}

// sameWrite reports whether two versions are of one write, which a merge may
// have lifted into its View.
func sameWrite(a, b record.Version) bool { return a.Stamp == b.Stamp && a.Node == b.Node }

// load writes records at the master, count per partition of every stride-th.
func (w *world) load(group []int, stride, count, size int) {
	w.t.Helper()
	for pid := 0; pid < cluster.Partitions; pid += stride {
		for i := range count {
			if !w.write(group, pid, i, size, false) {
				w.t.Fatalf("nobody serves partition %d", pid)
			}
		}
	}
}

// firstTime counts each version once, as package plane does.
func firstTime() func(d record.Digest, v record.Version, so func(record.Version) bool) bool {
	seen := map[record.DigestVersion]bool{}
	return func(d record.Digest, v record.Version, _ func(record.Version) bool) bool {
		k := record.DigestVersion{Digest: d, Version: record.Version{Stamp: v.Stamp, Node: v.Node}}
		first := !seen[k]
		seen[k] = true
		return first
	}
}
