package drive

import (
	"sync/atomic"

	"headroom/loadgen/target"
	"headroom/workloads"
)

// entry is what the generator knows of one key, in one word:
//
//	 0-27  sequence of the last acknowledged write or delete (acked)
//	28-55  sequence of the last submitted one (submitted)
//	   56  busy: one is in flight
//	   57  the one in flight is a delete
//	   58  acked is a delete
//	   59  a delete after acked is in doubt
//	   60  settled: the first write has ended, however
//	   61  a write or delete after acked is in doubt
type entry uint64

const (
	seqBits = 28
	// seqMax ends the writes to a key: 268 million, or 45 minutes at 100,000 a
	// second to the same key, one after the other.
	seqMax = 1<<seqBits - 1

	busyBit        entry = 1 << 56
	busyDeleteBit  entry = 1 << 57
	deletedBit     entry = 1 << 58
	doubtDeleteBit entry = 1 << 59
	settledBit     entry = 1 << 60
	doubtBit       entry = 1 << 61
)

func (e entry) acked() uint32     { return uint32(e & seqMax) }
func (e entry) submitted() uint32 { return uint32(e >> seqBits & seqMax) }
func (e entry) is(b entry) bool   { return e&b != 0 }

const (
	chunkBits = 16
	chunkLen  = 1 << chunkBits
	// chunksMax lets inserts double the largest population, at 1 MB of
	// directory.
	chunksMax = 2 * workloads.MaxRecords / chunkLen
)

// chunk holds the entries of chunkLen keys, and when each was last
// acknowledged (ms of the run's clock), 12 bytes a key.
type chunk struct {
	entries [chunkLen]atomic.Uint64
	ackedMS [chunkLen]atomic.Uint32
}

// table is the knowledge of all keys. Safe for concurrent use. Writes are
// serialised per key: between begin and end of a write no other can begin, so
// that "the last acknowledged" is well defined.
type table struct {
	chunks []atomic.Pointer[chunk]
	// next is the number of the next key to insert; population counts the keys
	// from zero on whose first write has ended: what choosers draw from.
	next, population atomic.Uint64
}

func newTable() *table { return &table{chunks: make([]atomic.Pointer[chunk], chunksMax)} }

// assume takes the first n keys as there, without having written them.
func (t *table) assume(n uint64) {
	t.next.Store(n)
	t.population.Store(n)
}

// chunk returns the chunk of key, made on first use.
func (t *table) chunk(key uint64) *chunk {
	p := &t.chunks[key>>chunkBits]
	if c := p.Load(); c != nil {
		return c
	}
	p.CompareAndSwap(nil, new(chunk))
	return p.Load()
}

// load returns the entry of key.
func (t *table) load(key uint64) entry {
	return entry(t.chunk(key).entries[key%chunkLen].Load())
}

// ackedAt returns when key's last write was acknowledged, in ms.
func (t *table) ackedAt(key uint64) uint32 { return t.chunk(key).ackedMS[key%chunkLen].Load() }

// begin reserves key for one write or delete and returns its sequence; false
// if another is in flight or the key has had seqMax.
func (t *table) begin(key uint64, del bool) (seq uint32, ok bool) {
	e := &t.chunk(key).entries[key%chunkLen]
	for {
		old := entry(e.Load())
		if old.is(busyBit) || old.submitted() == seqMax {
			return 0, false
		}
		seq = old.submitted() + 1
		now := old&^(seqMax<<seqBits) | entry(seq)<<seqBits | busyBit
		if del {
			now |= busyDeleteBit
		}
		if e.CompareAndSwap(uint64(old), uint64(now)) {
			return seq, true
		}
	}
}

// end records the end of the write or delete that began with seq.
func (t *table) end(key uint64, seq uint32, out target.Outcome, nowMS uint32) {
	c := t.chunk(key)
	e := &c.entries[key%chunkLen]
	// Only the holder of busy changes the entry: a plain store is enough.
	old := entry(e.Load())
	now := old&^(busyBit|busyDeleteBit) | settledBit
	switch out {
	case target.OK, target.NotFound:
		now = now&^(seqMax|deletedBit|doubtDeleteBit|doubtBit) | entry(seq)
		if old.is(busyDeleteBit) {
			now |= deletedBit
		}
		c.ackedMS[key%chunkLen].Store(nowMS)
	case target.InDoubt:
		now |= doubtBit
		if old.is(busyDeleteBit) {
			now |= doubtDeleteBit
		}
	}
	e.Store(uint64(now))
	if !old.is(settledBit) {
		t.advance()
	}
}

// advance grows the population over settled keys.
func (t *table) advance() {
	for {
		n := t.population.Load()
		if n >= t.next.Load() || !t.load(n).is(settledBit) {
			return
		}
		t.population.CompareAndSwap(n, n+1)
	}
}

// finding is what a read says about the target.
type finding uint8

const (
	fine finding = iota
	stale
	corrupt
	falseNotFound
)

// judge compares what a read found with what was known of its key when it was
// submitted (before) and is known now. deletes says that the workload has any.
func judge(before, now entry, found bool, seq uint32, deletes bool) finding {
	if found {
		switch {
		case seq > now.submitted():
			return corrupt
		case seq < before.acked():
			return stale
		}
		return fine
	}
	const gone = deletedBit | busyDeleteBit | doubtDeleteBit
	if before.acked() == 0 || before.is(gone) || now.is(gone) || deletes && now.acked() != before.acked() {
		return fine
	}
	return falseNotFound
}
