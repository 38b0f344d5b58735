package plane

import (
	"sync/atomic"

	"headroom/node/migrate"
	"headroom/node/record"
	"headroom/node/storage"
	"headroom/node/txn"
	"headroom/node/wire"
)

// Engine is what a Plane needs of the storage; see storage.Engine for the
// contracts.
type Engine interface {
	txn.Store
	Waits() bool
	Get(d *record.Digest, dst []byte) (m record.Meta, body []byte, ok bool)
	Each(p int, cursor storage.Cursor, max int, fn func(d *record.Digest, m *record.Meta)) (next storage.Cursor, done bool)
	Scan(p int, cursor storage.Cursor, max int, fn func(d *record.Digest, m *record.Meta, body []byte)) (next storage.Cursor, done bool)
	Sizes(p int, cursor storage.Cursor, max int, fn func(d *record.Digest, m *record.Meta, size int)) (next storage.Cursor, done bool)
	Summary(p int, sums *[wire.SubBuckets]uint64)
	ListBucket(p, bucket int, dst []wire.DigestVersion) []wire.DigestVersion
	Partition(p int) storage.PartitionStats
	Remove(d *record.Digest, v record.Version) bool
	Bury(d *record.Digest, v record.Version) bool
	Drop(p int)
}

// records is the engine as the transaction cores see it. It notes when a
// record that may die is stored.
type records struct {
	Engine
	mortal *atomic.Bool
}

func (s records) note(m *record.Meta) {
	if (m.Expiry != 0 || m.Tombstone) && !s.mortal.Load() {
		s.mortal.Store(true)
	}
}

// Put implements txn.Store.
func (s records) Put(d *record.Digest, m record.Meta, body []byte) error {
	s.note(&m)
	return s.Engine.Put(d, m, body)
}

// PutNewer implements txn.Store and migrate.Store.
func (s records) PutNewer(d *record.Digest, m record.Meta, body []byte) (bool, record.Meta, bool, error) {
	s.note(&m)
	return s.Engine.PutNewer(d, m, body)
}

// copies is the engine as the migration core wants to see it.
type copies struct{ records }

// Partition implements migrate.Store.
func (s copies) Partition(p int) migrate.Size {
	st := s.Engine.Partition(p)
	return migrate.Size{Records: int(st.Records + st.Tombstones), Bytes: st.Bytes}
}

// Scan implements migrate.Store.
func (s copies) Scan(p int, cursor uint64, max int, fn func(d *record.Digest, m *record.Meta, body []byte)) (uint64, bool) {
	next, done := s.Engine.Scan(p, storage.Cursor(cursor), max, func(d *record.Digest, m *record.Meta, body []byte) {
		if !m.Unreadable { // another holder sends it
			fn(d, m, body)
		}
	})
	return uint64(next), done
}

// Each implements migrate.Store.
func (s copies) Each(p int, cursor uint64, max int, fn func(d *record.Digest, m *record.Meta)) (uint64, bool) {
	next, done := s.Engine.Each(p, storage.Cursor(cursor), max, fn)
	return uint64(next), done
}
