// Package cluster is the vocabulary every other node package speaks: who a
// node is (NodeID, Incarnation), which nodes form the cluster (View), when
// something happened (Instant). It holds values only: no behaviour beyond
// ordering and printing, no I/O, no clock.
//
// The invariant to know: a member of a View is the pair (NodeID, Incarnation).
// The same NodeID with another Incarnation is another process, which may have
// lost what the first one held.
//
// Start reading at View.
package cluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Partitions is the number of partitions of a namespace. It is fixed: the
// partition of a record is the low 12 bits of its digest, as in the
// Aerospike ecosystem.
const Partitions = 4096

// MaxMembers bounds the members of a View, and with it every per-member
// table and bitmap of the wire protocol.
const MaxMembers = 256

// Instant is monotonic time since the start of the process (in simulation:
// since the start of the world). Timers run on it, never on a wall clock or
// the hybrid clock, both of which follow other machines.
type Instant time.Duration

// Never is an Instant that no run reaches; a core without a timer returns it
// from Deadline.
const Never = Instant(1<<63 - 1)

// Add returns the instant d after t. Never stays Never.
func (t Instant) Add(d time.Duration) Instant {
	if t == Never {
		return Never
	}
	return t + Instant(d)
}

// Sub returns the duration from u to t.
func (t Instant) Sub(u Instant) time.Duration { return time.Duration(t - u) }

// NodeID names a node for its whole life, across restarts. Zero is no node.
type NodeID uint64

// String gives "node3" for the small ids that people choose and 16 hex digits
// for generated ones. ParseNodeID reads both back.
func (n NodeID) String() string {
	if n < 1_000_000 {
		return "node" + strconv.FormatUint(uint64(n), 10)
	}
	return fmt.Sprintf("%016x", uint64(n))
}

// ParseNodeID reads what NodeID.String writes, and a bare decimal number.
func ParseNodeID(s string) (NodeID, error) {
	var n uint64
	var err error
	switch rest, named := strings.CutPrefix(s, "node"); {
	case named:
		n, err = strconv.ParseUint(rest, 10, 64)
	case len(s) == 16:
		n, err = strconv.ParseUint(s, 16, 64)
	default:
		n, err = strconv.ParseUint(s, 10, 64)
	}
	if err != nil || n == 0 {
		return 0, fmt.Errorf("node id %q: want node1, 1 or 16 hex digits, and not zero", s)
	}
	return NodeID(n), nil
}

// Incarnation counts the starts of a node: each start has a greater one than
// all before. Zero is unknown.
type Incarnation uint64

// RackID groups nodes that fail together; zero means no rack is named, and
// then the node is a rack of its own.
type RackID uint32

// Member is one node of a View, in one incarnation.
type Member struct {
	Node     NodeID
	Inc      Incarnation
	Rack     RackID
	Quiesced bool   // last in every succession row: masters nothing if it can be avoided
	Addr     string // host:port of its QUIC endpoint, as peers and clients reach it
}

// ViewKey identifies a View. It is the ballot with which the View was
// accepted, so it is never reused: (counter, proposer, the proposer's
// incarnation), ordered in that order. The zero key precedes all and belongs
// to no View.
type ViewKey struct {
	Counter  uint64
	Proposer NodeID
	Inc      Incarnation
}

// Compare orders keys: negative when k precedes o, zero when equal.
func (k ViewKey) Compare(o ViewKey) int {
	switch {
	case k.Counter != o.Counter:
		return cmp(k.Counter, o.Counter)
	case k.Proposer != o.Proposer:
		return cmp(uint64(k.Proposer), uint64(o.Proposer))
	}
	return cmp(uint64(k.Inc), uint64(o.Inc))
}

// Less reports whether k precedes o.
func (k ViewKey) Less(o ViewKey) bool { return k.Compare(o) < 0 }

// Tag folds the key into the eight bytes that a client's write carries: the
// counter, then a hash of the rest. Tags of different Views are different but
// for one chance in four billion, and compare by counter.
func (k ViewKey) Tag() uint64 {
	if k.IsZero() {
		return 0
	}
	h := uint64(k.Proposer)*0x9E3779B97F4A7C15 ^ uint64(k.Inc)*0xC2B2AE3D27D4EB4F
	return k.Counter<<32 | h>>32
}

// IsZero reports whether k is the key of no View.
func (k ViewKey) IsZero() bool { return k == ViewKey{} }

// String gives "12.node4.3": counter, proposer, incarnation.
func (k ViewKey) String() string {
	if k.IsZero() {
		return "none"
	}
	return fmt.Sprintf("%d.%v.%d", k.Counter, k.Proposer, k.Inc)
}

func cmp(a, b uint64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// View is one agreed membership. Members are sorted by NodeID descending, the
// succession list: the first is the principal. A View is immutable once
// built; share it freely.
type View struct {
	Key     ViewKey
	Members []Member
}

// Index returns the position of n in the succession list, or -1.
func (v *View) Index(n NodeID) int {
	low, high := 0, len(v.Members)
	for low < high {
		mid := int(uint(low+high) >> 1)
		switch m := v.Members[mid].Node; {
		case m == n:
			return mid
		case m > n:
			low = mid + 1
		default:
			high = mid
		}
	}
	return -1
}

// Has reports whether n is a member in exactly the incarnation inc.
func (v *View) Has(n NodeID, inc Incarnation) bool {
	i := v.Index(n)
	return i >= 0 && v.Members[i].Inc == inc
}

// Principal returns the first of the succession list, or zero for no members.
func (v *View) Principal() NodeID {
	if len(v.Members) == 0 {
		return 0
	}
	return v.Members[0].Node
}

// SortMembers puts members in succession order: NodeID descending.
func SortMembers(m []Member) {
	slices.SortFunc(m, func(a, b Member) int { return cmp(uint64(b.Node), uint64(a.Node)) })
}

// SameMembers reports whether a and b, both in succession order, hold the
// same nodes in the same incarnations with the same rack, quiescence and
// address.
func SameMembers(a, b []Member) bool { return slices.Equal(a, b) }

// String gives "12.node4.3[node4 node3 node1]".
func (v *View) String() string {
	var b strings.Builder
	b.WriteString(v.Key.String())
	b.WriteByte('[')
	for i, m := range v.Members {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(m.Node.String())
	}
	b.WriteByte(']')
	return b.String()
}
