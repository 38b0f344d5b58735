package wire

import (
	"headroom/node/cluster"
	"headroom/node/hlc"
	"headroom/node/record"
)

// MaxLosses bounds the versions of one Losses: 58 KiB.
const MaxLosses = 1024

// Losses tells a member which versions the sender has counted as discarded
// after a split, so that each is counted by one node, and which are not to be
// counted. Layout: namespace u8, incarnation u64, upto u64, then of each digest,
// stamp u64, node u64 and no loss u8; the regime, which a merge may have
// changed, does not travel. If it is none, the version follows that it replaced,
// 21 B.
type Losses struct {
	Namespace uint8
	Inc       cluster.Incarnation // of the sender
	Upto      uint64              // where the sender's log goes on: the answer names it
	Versions  []Loss
}

// Loss is one version that is accounted for.
type Loss struct {
	Digest record.Digest
	Stamp  hlc.Stamp
	Node   cluster.NodeID
	// NoLoss means that this version is none, whoever takes it for one: a master
	// wrote upon it, or never acknowledged it.
	NoLoss bool
	// Upon is what it was written upon, if it was never acknowledged: what is lost
	// with it. Zero: nothing.
	Upon record.Version
}

// Append appends the payload to b.
func (m *Losses) Append(b []byte) []byte {
	b = AppendU64(append(b, m.Namespace), uint64(m.Inc))
	b = AppendU64(b, m.Upto)
	for i := range m.Versions {
		v := &m.Versions[i]
		b = append(b, v.Digest[:]...)
		b = AppendU64(b, uint64(v.Stamp))
		b = AppendU64(b, uint64(v.Node))
		b = AppendBool(b, v.NoLoss)
		if v.NoLoss {
			b = appendVersion(b, v.Upon)
		}
	}
	return b
}

// Parse reads the payload.
func (m *Losses) Parse(p []byte) error {
	r := NewReader(p)
	*m = Losses{Namespace: r.U8(), Inc: cluster.Incarnation(r.U64()), Upto: r.U64(), Versions: m.Versions[:0]}
	for r.Len() > 0 && len(m.Versions) < MaxLosses {
		var v Loss
		r.Fixed(v.Digest[:])
		v.Stamp, v.Node, v.NoLoss = hlc.Stamp(r.U64()), cluster.NodeID(r.U64()), r.Bool()
		if v.NoLoss {
			v.Upon = r.version()
		}
		m.Versions = append(m.Versions, v)
	}
	return r.Done()
}

// LossesKnown answers Losses: the receiver knows all of the sender's up to
// there. Layout: namespace u8, incarnation u64 and upto u64 as they came,
// incarnation u64 of the receiver.
type LossesKnown struct {
	Namespace uint8
	Inc       cluster.Incarnation // of who sent the Losses
	Upto      uint64
	By        cluster.Incarnation // of who answers
}

// Append appends the payload to b.
func (m *LossesKnown) Append(b []byte) []byte {
	b = AppendU64(append(b, m.Namespace), uint64(m.Inc))
	return AppendU64(AppendU64(b, m.Upto), uint64(m.By))
}

// Parse reads the payload.
func (m *LossesKnown) Parse(p []byte) error {
	r := NewReader(p)
	*m = LossesKnown{Namespace: r.U8(), Inc: cluster.Incarnation(r.U64()), Upto: r.U64(), By: cluster.Incarnation(r.U64())}
	return r.Done()
}
