package plane

import (
	"time"

	"headroom/node/cluster"
	"headroom/node/migrate"
	"headroom/node/record"
	"headroom/node/txn"
)

// sliceTime is how long one Fetch of a migration may take: on a disk that reads
// 80 records a second, 4 or 5 of them, so that others get their turn.
const sliceTime = 50 * time.Millisecond

// Fetch is one errand to the devices. The Host calls Read, which waits for
// them, and then Done, which hands the outcome to the core that asked: both
// under no lock, and Done never without Read. One that is dropped altogether
// leaves what waits for it to its deadline or to the next View.
type Fetch interface {
	// Partition is the partition whose device is read.
	Partition() int
	// Bulk reports whether it is for a migration, so that requests go first.
	Bulk() bool
	// Read returns how many records it waited for; the others were in memory.
	Read() (waited int)
	Done()
}

// load is a transaction core's Fetch.
type load struct {
	p     *Plane
	index int // of the shard
	want  txn.Load
	got   txn.Record
}

// Partition implements Fetch.
func (l *load) Partition() int { return l.want.Digest.Partition() }

// Bulk implements Fetch.
func (l *load) Bulk() bool { return false }

// Read implements Fetch.
func (l *load) Read() (waited int) {
	l.got.Meta, l.got.Body, l.got.Found = l.p.store.Get(&l.want.Digest, nil)
	return 1
}

// Done implements Fetch.
func (l *load) Done() {
	l.p.runShard(l.index, func(core *txn.Core) { core.Loaded(l.p.host.Now(), l.want.ID, &l.got) })
}

// loadLocked hands a shard's loads to the Host. It reports whether the core
// was told that some were refused, and so has effects again.
func (p *Plane) loadLocked(index int, loads []txn.Load) (again bool) {
	core := p.shards[index].core
	for _, l := range loads {
		if !p.host.Fetch(&load{p: p, index: index, want: l}) {
			core.Overloaded(p.host.Now(), l.ID)
			again = true
		}
	}
	return again
}

// slice is a migration's Fetch.
type slice struct {
	p    *Plane
	view cluster.ViewKey
	want *migrate.Read
	got  migrate.Loaded
}

// Partition implements Fetch.
func (s *slice) Partition() int { return int(s.want.Partition) }

// Bulk implements Fetch.
func (s *slice) Bulk() bool { return true }

// Read implements Fetch. What was asked in an earlier View is not read any
// more: nobody waits for it.
func (s *slice) Read() (waited int) {
	began := s.p.host.Now().Mono
	s.got = s.want.Load(func(d *record.Digest, dst []byte) (record.Meta, []byte, bool) {
		if m, body, ok, ready := s.p.store.GetNow(d, dst); ready {
			return m, body, ok
		}
		waited++
		return s.p.store.Get(d, dst)
	}, func() bool {
		return s.p.Committed().View.Key != s.view || s.p.host.Now().Mono.Sub(began) > sliceTime
	})
	return waited
}

// Done implements Fetch.
func (s *slice) Done() {
	m := &s.p.mig
	m.mu.Lock()
	m.core.Loaded(s.p.host.Now().Mono, s.want.ID, s.got)
	s.p.carryOutMigrationLocked()
	m.mu.Unlock()
	s.p.host.Wake()
}

// readLocked hands a migration's reads to the Host. The migration's lock is
// held.
func (p *Plane) readLocked(reads []*migrate.Read) {
	for _, r := range reads {
		if !p.host.Fetch(&slice{p: p, view: p.Committed().View.Key, want: r}) {
			p.mig.core.Loaded(p.host.Now().Mono, r.ID, migrate.Loaded{}) // read later; this sends nothing
		}
	}
}
