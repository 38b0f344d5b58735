package plane

import (
	"math/bits"
	"sync/atomic"
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/storage"
	"headroom/node/txn"
	"headroom/node/wire"
)

const (
	// evictVisit is how many records one step looks at: some 50 us.
	evictVisit = 1024
	// evictMost bounds the deletes that wait for their replicas: eviction is one
	// client of many.
	evictMost = 256
	// evictDeadline of a delete; one that fails is chosen again in a later lap.
	evictDeadline = 2 * time.Second
	// A bucket of the histogram is a sixteenth of a power of two of seconds, so
	// that records whose times are 6 % apart are told apart, from a second to
	// the 136 years of a TTL.
	evictFine    = 4
	evictBuckets = 33 << evictFine
)

// Eviction removes records before their time to make room: those nearest to
// their expiry first, never one without a TTL. Each node decides about the
// partitions that it masters; a record is removed by an ordinary delete of the
// version that was chosen, so all its copies agree and none comes back. A lap
// first measures how much expires when, then removes. Its methods are called by
// one goroutine, but for Replied and Evicted.
type Eviction struct {
	p       *Plane
	evicted atomic.Uint64
	pending atomic.Int64

	phase  int // 0 none under way, 1 measuring, 2 removing
	share  float64
	pid    int
	cursor storage.Cursor
	hist   [evictBuckets]int64 // bytes by what is left to live
	total  int64               // bytes mastered, without TTL too
	last   int                 // bucket up to which records go
	left   int64               // bytes of the last bucket that go
	chosen []victim
}

// victim is a record to remove.
type victim struct {
	digest     record.Digest
	generation uint16
}

// NewEviction returns an Eviction that has nothing to do.
func NewEviction(p *Plane) *Eviction { return &Eviction{p: p} }

// Begin starts a lap that removes share (0 to 1) of the bytes this node
// masters, as far as records have a TTL. A lap under way goes on instead.
func (e *Eviction) Begin(share float64) {
	if e.phase != 0 {
		return
	}
	e.phase, e.share, e.pid, e.cursor, e.total = 1, share, 0, 0, 0
	e.hist = [evictBuckets]int64{}
	e.pending.Store(0) // what an earlier lap still waits for may never be answered
}

// Evicted counts the records that were removed.
func (e *Eviction) Evicted() uint64 { return e.evicted.Load() }

// Replied takes the outcome of one of its deletes: the Host calls it for a
// reply whose Origin's Conn is the Eviction. It never blocks.
func (e *Eviction) Replied(s wire.Status) {
	e.pending.Add(-1)
	if s == wire.StatusOK {
		e.evicted.Add(1)
	}
}

// Step does a bounded piece of the lap. It reports whether the lap goes on, and
// how many bytes are to go in it, 0 while that is not known.
func (e *Eviction) Step() (more bool, bytes int64) {
	switch e.phase {
	case 1:
		if e.visit(e.measure) {
			e.choose()
		}
	case 2:
		if e.pending.Load() > evictMost {
			return true, 0 // replicas are behind
		}
		done := e.visit(e.pick)
		e.remove()
		if done {
			e.phase = 0
		}
	}
	if e.phase == 2 {
		for _, n := range e.hist[:e.last] {
			bytes += n
		}
		bytes += e.left
	}
	return e.phase != 0, bytes
}

// visit shows fn about evictVisit records of the partitions that this node
// serves, and reports whether these were the last.
func (e *Eviction) visit(fn func(d *record.Digest, left uint32, size int, m *record.Meta)) (last bool) {
	sec := uint32(e.p.host.Now().WallMS / 1000)
	seen := 0
	for e.pid < cluster.Partitions && seen < evictVisit {
		done := true
		if e.p.Serves(e.pid) {
			e.cursor, done = e.p.store.Sizes(e.pid, e.cursor, evictVisit-seen, func(d *record.Digest, m *record.Meta, size int) {
				seen++
				if m.Live(sec) {
					fn(d, lifeLeft(m, sec), size, m)
				}
			})
		}
		if done {
			e.pid, e.cursor = e.pid+1, 0
		}
		seen++ // an empty partition costs something, too
	}
	return e.pid == cluster.Partitions
}

// lifeLeft is the seconds until a record expires, 0 for never.
func lifeLeft(m *record.Meta, sec uint32) uint32 {
	if m.Expiry == 0 {
		return 0
	}
	return m.Expiry - sec
}

func (e *Eviction) measure(_ *record.Digest, left uint32, size int, _ *record.Meta) {
	e.total += int64(size)
	if left != 0 {
		e.hist[evictBucket(left)] += int64(size)
	}
}

// choose finds the bucket in which the share is reached, and what of it goes.
func (e *Eviction) choose() {
	want := int64(e.share * float64(e.total))
	e.phase, e.pid, e.cursor = 2, 0, 0
	for e.last = 0; e.last < evictBuckets; e.last++ {
		if want <= e.hist[e.last] {
			e.left = want
			return
		}
		want -= e.hist[e.last]
	}
	e.last, e.left = evictBuckets, 0 // all that can go does not suffice
}

func (e *Eviction) pick(d *record.Digest, left uint32, size int, m *record.Meta) {
	if left == 0 {
		return
	}
	switch b := evictBucket(left); {
	case b > e.last:
		return
	case b == e.last:
		if e.left <= 0 {
			return
		}
		e.left -= int64(size)
	}
	e.chosen = append(e.chosen, victim{*d, m.Generation})
}

// remove deletes what was picked, if it still is what it was.
func (e *Eviction) remove() {
	now := e.p.host.Now()
	for i := range e.chosen {
		v := &e.chosen[i]
		e.pending.Add(1)
		// Forwarded: a node that is not the master any more leaves it to the new one.
		e.p.Request(&txn.Request{Request: wire.Request{Namespace: e.p.id, Digest: v.digest, CheckGen: true, Generation: v.generation},
			Kind: wire.KindDelete, From: txn.Origin{Conn: e}, Forwarded: true, Deadline: now.Mono.Add(evictDeadline)})
	}
	e.chosen = e.chosen[:0]
}

// evictBucket sorts times to live by sixteenths of powers of two.
func evictBucket(sec uint32) int {
	n := bits.Len32(sec)
	if n <= evictFine {
		return int(sec)
	}
	return (n-evictFine)<<evictFine | int(sec>>(n-1-evictFine))&(1<<evictFine-1)
}
