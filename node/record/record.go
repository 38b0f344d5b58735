// Package record owns what a record is: its digest and partition, its version
// and metadata, its typed bins and their flat encoding, the limits on all of
// them, and what an operation does to one record. Values and pure functions
// only; where records are kept is the storage package's business.
//
// The invariant to know: versions of one record are totally ordered by
// (regime, stamp, node), and no two different contents share a version, so
// "apply if newer" gives every replica the same record in any order of
// arrival.
//
// Start reading at Meta, then Body in flat.go, then Apply in ops.go.
package record

import (
	"errors"

	"headroom/node/cluster"
	"headroom/node/hlc"
)

// Limits of the data model. A request beyond one is refused with the error
// that names it, before anything is stored.
const (
	MaxBinName   = 15      // bytes
	MaxSet       = 63      // bytes
	MaxNamespace = 31      // bytes
	MaxSize      = 1 << 20 // bytes of one record's flat encoding
	MaxBins      = 1 << 10 // bins of one record; bounds decoding work
	MaxOps       = 128     // operations of one Apply, each of which may copy a whole bin
)

// Errors that name the limit or rule a request broke.
var (
	ErrBinName   = errors.New("record: bin name is empty or longer than 15 bytes")
	ErrSet       = errors.New("record: set name is longer than 63 bytes")
	ErrNamespace = errors.New("record: namespace name is empty or longer than 31 bytes")
	ErrTooBig    = errors.New("record: larger than 1 MiB")
	ErrBins      = errors.New("record: more than 1024 bins")
	ErrBinType   = errors.New("record: operation does not fit the type of the bin")
	ErrBinTwice  = errors.New("record: two bins have the same name")
	ErrOps       = errors.New("record: more than 128 operations on one record")
	ErrOverflow  = errors.New("record: the sum does not fit an int64")
	ErrCorrupt   = errors.New("record: encoding is damaged")
)

// Digest identifies a record inside its namespace: RIPEMD-160 of set, key
// type and key. See NewDigest.
type Digest [20]byte

// Partition returns the partition of the record: the low 12 bits of the first
// digest bytes read little-endian.
func (d *Digest) Partition() int {
	return int(uint16(d[0])|uint16(d[1])<<8) & (cluster.Partitions - 1)
}

// Version orders all contents a record ever had: by regime (the counter of
// the View it was written in, or to which a merge lifted it), then hybrid clock,
// then node. The zero Version precedes all.
type Version struct {
	Regime uint32
	// Lifted is by how much a merge raised the regime, see Meta.Lift; LiftedFar if
	// by that or more. It follows from Regime and the View in which the version was
	// written, so two versions are one if the other three are equal.
	Lifted uint8
	Stamp  hlc.Stamp
	Node   cluster.NodeID
}

// LiftedFar is the Lifted of a version of which only that is known.
const LiftedFar = 255

// Own returns the counter of the View in which v was written, as far as v tells:
// of one that was lifted far, its regime.
func (v Version) Own() uint32 {
	if v.Lifted == LiftedFar {
		return v.Regime
	}
	return v.Regime - uint32(v.Lifted)
}

// Valid reports whether v was lifted by no more than it could have been.
func (v Version) Valid() bool { return v.Lifted == LiftedFar || uint32(v.Lifted) <= v.Regime }

// lift gives v a higher regime.
func (v *Version) lift(regime uint32) {
	by := uint32(v.Lifted)
	if v.Lifted != LiftedFar {
		by = min(regime-v.Own(), LiftedFar)
	}
	v.Regime, v.Lifted = regime, uint8(by)
}

// Compare is negative when v is older than o, zero when they are the same.
func (v Version) Compare(o Version) int {
	switch {
	case v.Regime != o.Regime:
		return order(uint64(v.Regime), uint64(o.Regime))
	case v.Stamp != o.Stamp:
		return order(uint64(v.Stamp), uint64(o.Stamp))
	}
	return order(uint64(v.Node), uint64(o.Node))
}

// Newer reports whether v is strictly newer than o.
func (v Version) Newer(o Version) bool { return v.Compare(o) > 0 }

// Later reports whether v was written after o by stamp and node alone: the
// order of two versions of which neither writer knew the other's, when their
// regimes only tell which side of a split counted more Views.
func (v Version) Later(o Version) bool {
	if v.Stamp != o.Stamp {
		return v.Stamp > o.Stamp
	}
	return v.Node > o.Node
}

// SameWrite reports whether v and o are one write, which a merge may have given
// another regime on one of two copies.
func (v Version) SameWrite(o Version) bool { return v.Stamp == o.Stamp && v.Node == o.Node }

func order(a, b uint64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// Meta is everything about a record but its contents.
type Meta struct {
	Version    Version
	Generation uint16 // counts writes, wraps past 65535 to 1; zero only for "no record"
	Expiry     uint32 // seconds since the Unix epoch; zero never expires
	Tombstone  bool   // deleted: kept so that no old copy revives the record
	// Shortens says that an older version of the record may live longer than
	// this one: when this one expires, a tombstone of it stays. See Follow.
	Shortens bool
	// Unreadable means that the record is there but its contents could not be
	// read: its device failed, or it is damaged. Never stored nor sent.
	Unreadable bool
}

// Expired reports whether the record has outlived its TTL at the wall-clock
// second now. A tombstone does not expire here; tombstones have their own
// horizon.
func (m *Meta) Expired(nowSec uint32) bool {
	return m.Expiry != 0 && !m.Tombstone && m.Expiry <= nowSec
}

// Live reports whether a reader should see the record at second now.
func (m *Meta) Live(nowSec uint32) bool { return !m.Tombstone && !m.Expired(nowSec) }

// Follow tells a version about to be written what it replaces. If that, or
// anything before it, may live longer, the version is marked: a copy that missed
// it would otherwise bring back what it ended. A record that is written again
// with the same time to live is never marked.
func (m *Meta) Follow(old *Meta) {
	longer := old.Tombstone || old.Shortens || old.Expiry == 0 || old.Expiry > m.Expiry
	m.Shortens = m.mayExpire() && (m.Shortens || longer)
}

// Lift gives the version a higher regime, so that it wins against one of the
// other side of a split, of which nobody asks how long it lives.
func (m *Meta) Lift(regime uint32) {
	if regime > m.Version.Regime {
		m.Version.lift(regime)
		m.Shortens = m.mayExpire()
	}
}

// LiftFor returns the regime that the version is to be lifted to, in a View with
// the counter view, as it wins against loser: that of loser, if it is higher. One
// that won a conflict by its own regime and may expire is lifted, too, so that
// all copies of it are marked: a copy of loser may come back later.
func (m *Meta) LiftFor(loser Version, conflict bool, view uint64) uint32 {
	regime := max(m.Version.Regime, loser.Regime)
	if conflict && regime == m.Version.Regime && m.mayExpire() && !m.Shortens && uint64(regime) < view {
		regime++
	}
	return regime
}

func (m *Meta) mayExpire() bool { return !m.Tombstone && m.Expiry != 0 }

// DigestVersion says which version of which record a holder has: one line of
// the lists that copies are compared by.
type DigestVersion struct {
	Digest  Digest
	Version Version
}
