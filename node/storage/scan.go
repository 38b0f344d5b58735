package storage

import "headroom/node/record"

// Cursor is where a scan of a partition goes on: a place among its digests.
// Zero is the start. It stays good whatever happens to the partition.
type Cursor uint64

const (
	scanEnd Cursor = 1 << 32
	// maxVisit bounds the buckets one Scan looks at, some 20 µs of a table
	// that a mass delete left empty.
	maxVisit = 4096
)

// Scan calls fn for about max records of partition p from c on, tombstones
// and expired ones included, and returns where to go on, and whether that was
// all. It may give a few more than max (a chain of the hash table is never
// cut) and fewer, even none, before the end. A record that is there during
// the whole scan is seen at least once, however the others change; none is
// seen twice unless the partition is emptied meanwhile. The order is a pure
// function of the calls made on the engine.
//
// fn runs under the partition's lock: it must not block and must not call the
// engine. What it is given is good only until it returns; body is the
// engine's memory, to be copied and not written. With bodies on devices it
// reads them first and calls fn without the lock; records that cannot be read
// come as Meta.Unreadable without a body.
func (e *Engine) Scan(p int, c Cursor, max int, fn func(d *record.Digest, m *record.Meta, body []byte)) (next Cursor, done bool) {
	if e.log != nil && !e.log.cfg.InMemory {
		return e.scanLogged(p, c, max, fn)
	}
	return e.visit(p, c, max, func(en *entry, m *record.Meta) {
		fn((*record.Digest)(&en.digest), m, e.body(en))
	})
}

// visit calls fn for the entries that Scan passes, under the partition's
// lock.
func (e *Engine) visit(p int, c Cursor, max int, fn func(en *entry, m *record.Meta)) (next Cursor, done bool) {
	sh := &e.shards[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if c >= scanEnd || sh.bits == 0 {
		return scanEnd, true
	}
	table, shift := e.buckets(sh), 32-sh.bits
	first := int(c >> shift)
	n := 0
	var m record.Meta
	for i := first; i < len(table); i++ {
		if i > first && (n >= max || i-first == maxVisit) {
			return Cursor(i) << shift, false
		}
		for h := table[i]; h != 0; n++ {
			en := e.entries.at(h)
			h = en.next
			m = en.meta()
			fn(en, &m)
		}
	}
	return scanEnd, true
}

// Drop removes everything from partition p, tombstones too, under one hold
// of its lock: some 50 ns a record.
func (e *Engine) Drop(p int) {
	sh := &e.shards[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, h := range e.buckets(sh) {
		for h != 0 {
			en := e.entries.at(h)
			next := en.next
			e.freeEntryLocked(sh, h, en)
			h = next
		}
	}
	e.freeTableLocked(sh)
	e.tombCount.Add(-int64(sh.tombstones))
	sh.tombstones, sh.bytes = 0, 0
	e.sums[p] = [SubBuckets]uint64{}
	if e.log != nil {
		e.log.renew(p)
	}
}
