package storage

import (
	"encoding/binary"

	"headroom/node/record"
)

// SubBuckets is how many summaries a partition has. Two copies that differ
// compare them and then list only the buckets that differ: at a thousand
// records a partition, 16 records for one that changed.
const SubBuckets = 64

// Fingerprint is 64 bits of a record's digest and version. Nodes compare
// exclusive ors of fingerprints, so it is part of what they speak: never
// change it. It guards against accidents, not against a forger, who would
// need a member's certificate.
func Fingerprint(d *record.Digest, v record.Version) uint64 {
	// The odd constant is 2^64 over the golden ratio. Each step is a
	// bijection of h for any word; the last three spread every bit.
	const k = 0x9e3779b97f4a7c15
	step := func(h, word uint64) uint64 {
		h = (h ^ word) * k
		return h ^ h>>29
	}
	h := step(k, binary.LittleEndian.Uint64(d[0:]))
	h = step(h, binary.LittleEndian.Uint64(d[8:]))
	h = step(h, uint64(binary.LittleEndian.Uint32(d[16:]))<<32|uint64(v.Regime))
	h = step(h, uint64(v.Stamp))
	h = step(h, uint64(v.Node))
	h = (h ^ h>>32) * k
	h = (h ^ h>>29) * k
	return h ^ h>>32
}

// subBucket is the bucket of a record in its partition's summary: the
// leading bits of its place, so that a bucket is a run of the hash table.
func subBucket(d *[20]byte) int { return int(d[4] >> 2) }

// Summary gives, for each bucket of partition p, the exclusive or of the
// Fingerprints of its records and tombstones: zero for an empty bucket. It is
// kept up to date by every change, for some 10 ns each and 2 MiB in all: on
// demand it would read every entry, 64 MB of memory per million records at
// each View change, just when the node is busiest.
func (e *Engine) Summary(p int, dst *[SubBuckets]uint64) {
	sh := &e.shards[p]
	sh.mu.Lock()
	*dst = e.sums[p]
	sh.mu.Unlock()
}

// DigestVersion says that a record or tombstone is there, in which version.
type DigestVersion = record.DigestVersion

// ListBucket appends what bucket of partition p holds to dst, in the order
// of Scan.
func (e *Engine) ListBucket(p, bucket int, dst []DigestVersion) []DigestVersion {
	sh := &e.shards[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.bits == 0 {
		return dst
	}
	n := 1 << (sh.bits - minBits)
	for _, h := range e.buckets(sh)[bucket*n : (bucket+1)*n] {
		for h != 0 {
			en := e.entries.at(h)
			if en.flags&flagDamaged == 0 {
				dst = append(dst, DigestVersion{Digest: en.digest, Version: en.version()})
			}
			h = en.next
		}
	}
	return dst
}
