package wire

import "headroom/node/cluster"

// Progress is what a member tells the others of itself: how far its migrations
// are, and where it takes no more writes. Layout: view key, partitions u32,
// unavailable u32, bytes u64, stopped u64.
type Progress struct {
	View        cluster.ViewKey // the View it speaks of
	Partitions  uint32          // it has still to migrate, in all namespaces
	Unavailable uint32          // of which it knows no full copy
	Bytes       uint64          // left, estimated
	Stopped     uint64          // bit i: namespace i takes no writes but deletes
}

// Append appends the payload to b.
func (p *Progress) Append(b []byte) []byte {
	b = AppendViewKey(b, p.View)
	b = AppendU32(b, p.Partitions)
	b = AppendU32(b, p.Unavailable)
	b = AppendU64(b, p.Bytes)
	return AppendU64(b, p.Stopped)
}

// Parse reads the payload.
func (p *Progress) Parse(b []byte) error {
	r := NewReader(b)
	p.View = r.ViewKey()
	p.Partitions = r.U32()
	p.Unavailable = r.U32()
	p.Bytes = r.U64()
	p.Stopped = r.U64()
	return r.Done()
}
