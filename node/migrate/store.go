package migrate

import (
	"headroom/node/record"
	"headroom/node/wire"
)

// Store holds the records of the namespace. Bodies given to PutNewer are
// copied by it, bodies it gives out are valid until the callback returns or
// the buffer is reused.
type Store interface {
	// Waits reports whether Get may wait for a device. Then the Core calls
	// neither Get nor Scan: it asks its caller for a Read.
	Waits() bool
	// Get appends the body to dst.
	Get(d *record.Digest, dst []byte) (record.Meta, []byte, bool)
	// Meta is Get without the body; it never waits.
	Meta(d *record.Digest) (record.Meta, bool)
	// Each is Scan without bodies; it never waits.
	Each(p int, cursor uint64, max int, fn func(d *record.Digest, m *record.Meta)) (next uint64, done bool)
	// PutNewer stores the record unless a version as new is there; old is what
	// was there before.
	PutNewer(d *record.Digest, m record.Meta, body []byte) (applied bool, old record.Meta, existed bool, err error)
	// Scan visits about max records of the partition, tombstones too, from
	// cursor (zero: the start) on. It misses none that is there throughout. fn
	// does not call the Store.
	Scan(p int, cursor uint64, max int, fn func(d *record.Digest, m *record.Meta, body []byte)) (next uint64, done bool)
	// Summary gives a hash of (digest, version) of each sub-bucket, zero for
	// an empty one.
	Summary(p int, sums *[wire.SubBuckets]uint64)
	// ListBucket appends the versions of one sub-bucket to dst.
	ListBucket(p, bucket int, dst []wire.DigestVersion) []wire.DigestVersion
	// Partition counts what the partition holds.
	Partition(p int) Size
	// Drop removes all records of the partition.
	Drop(p int)
}

// Size is what one partition holds.
type Size struct {
	Records int   // tombstones included
	Bytes   int64 // of bodies
}
