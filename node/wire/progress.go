package wire

import "headroom/node/cluster"

// Progress is what a member tells the others of its migrations. Layout: view
// key, partitions u32, unavailable u32, bytes u64.
type Progress struct {
	View        cluster.ViewKey // the View it speaks of
	Partitions  uint32          // it has still to migrate, in all namespaces
	Unavailable uint32          // of which it knows no full copy
	Bytes       uint64          // left, estimated
}

// Append appends the payload to b.
func (p *Progress) Append(b []byte) []byte {
	b = AppendViewKey(b, p.View)
	b = AppendU32(b, p.Partitions)
	b = AppendU32(b, p.Unavailable)
	return AppendU64(b, p.Bytes)
}

// Parse reads the payload.
func (p *Progress) Parse(b []byte) error {
	r := NewReader(b)
	p.View = r.ViewKey()
	p.Partitions = r.U32()
	p.Unavailable = r.U32()
	p.Bytes = r.U64()
	return r.Done()
}
