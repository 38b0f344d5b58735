package wire

import (
	"headroom/node/cluster"
	"headroom/node/record"
)

// Limits of the client protocol.
const (
	MaxBatch      = 4096   // records of one batch; bounds the work of one frame
	MaxScan       = 4096   // records of one scan reply
	MaxNamespaces = 32     // namespaces of a cluster; their index travels in a byte
	MaxName       = 255    // cluster and client names
	NoMaster      = 0xFFFF // Map.Masters entry: nobody serves the partition
	ProtocolV1    = uint16(1)
)

// TTL values of a request beside plain seconds.
const (
	TTLDefault uint32 = 0          // the namespace's default
	TTLNever   uint32 = 0xFFFFFFFF // never expires
	TTLKeep    uint32 = 0xFFFFFFFE // keep the record's expiry
)

// Request is a single-record request. Layout: namespace u8, digest 20 B, view
// tag u64, sent u32 (milliseconds), deadline u32 (milliseconds), ttl u32, generation check u8 +
// u16, then Body: the flat record of a put, or AppendOps of an operate; empty
// else.
type Request struct {
	Namespace uint8
	Digest    record.Digest
	// View is the Tag of the View by whose map the client sent the request. A
	// master of a later View refuses a write with it: while the request was
	// on its way, or in the buffers of a paused node, the client may have
	// sent it again elsewhere and gone on. Zero: not fenced.
	View       uint64
	SentMS     uint32 // milliseconds on the sender's clock when it was sent, wrapping; shows the receiver how long it queued
	DeadlineMS uint32 // milliseconds the caller still waits from then on; zero means the node's default
	TTL        uint32 // seconds, or TTLDefault, TTLNever, TTLKeep
	CheckGen   bool   // apply only if the record's generation is Generation (zero: only if there is none)
	Generation uint16
	Body       []byte // aliases the frame when parsed
}

// Append appends the payload to b.
func (q *Request) Append(b []byte) []byte {
	b = append(b, q.Namespace)
	b = append(b, q.Digest[:]...)
	b = AppendU64(b, q.View)
	b = AppendU32(b, q.SentMS)
	b = AppendU32(b, q.DeadlineMS)
	b = AppendU32(b, q.TTL)
	b = AppendBool(b, q.CheckGen)
	b = AppendU16(b, q.Generation)
	return append(b, q.Body...)
}

// Parse reads the payload; Body aliases it.
func (q *Request) Parse(p []byte) error {
	r := NewReader(p)
	q.Namespace = r.U8()
	r.Fixed(q.Digest[:])
	q.View = r.U64()
	q.SentMS = r.U32()
	q.DeadlineMS = r.U32()
	q.TTL = r.U32()
	q.CheckGen = r.Bool()
	q.Generation = r.U16()
	q.Body = r.Rest()
	return r.Done()
}

// Reply answers a Request. Layout: status u8, generation u16, expiry u32,
// then Bins: record.Body.RawBins of a get or the results of an operate.
type Reply struct {
	Status     Status
	Generation uint16
	Expiry     uint32
	Bins       []byte // aliases the frame when parsed
}

// Append appends the payload to b.
func (p *Reply) Append(b []byte) []byte {
	b = append(b, byte(p.Status))
	b = AppendU16(b, p.Generation)
	b = AppendU32(b, p.Expiry)
	return append(b, p.Bins...)
}

// Parse reads the payload; Bins aliases it.
func (p *Reply) Parse(b []byte) error {
	r := NewReader(b)
	p.Status = Status(r.U8())
	p.Generation = r.U16()
	p.Expiry = r.U32()
	p.Bins = r.Rest()
	return r.Done()
}

// Batch is a batch request: namespace u8, view tag u64, sent u32 and deadline
// u32 (as in Request), ttl u32, count uvarint, then per record the digest and, for puts, the flat record as a
// byte string. Items are answered in order.
type Batch struct {
	Namespace  uint8
	View       uint64
	SentMS     uint32
	DeadlineMS uint32
	TTL        uint32
	Items      []BatchItem
}

// BatchItem is one record of a Batch; Body is nil in a get.
type BatchItem struct {
	Digest record.Digest
	Body   []byte
}

// Append appends the payload to b; puts says whether bodies travel.
func (q *Batch) Append(b []byte, puts bool) []byte {
	b = append(b, q.Namespace)
	b = AppendU64(b, q.View)
	b = AppendU32(b, q.SentMS)
	b = AppendU32(b, q.DeadlineMS)
	b = AppendU32(b, q.TTL)
	b = AppendUvarint(b, uint64(len(q.Items)))
	for i := range q.Items {
		b = append(b, q.Items[i].Digest[:]...)
		if puts {
			b = AppendBytes(b, q.Items[i].Body)
		}
	}
	return b
}

// Parse reads the payload into q, reusing q.Items; bodies alias it.
func (q *Batch) Parse(p []byte, puts bool) error {
	r := NewReader(p)
	q.Namespace = r.U8()
	q.View = r.U64()
	q.SentMS = r.U32()
	q.DeadlineMS = r.U32()
	q.TTL = r.U32()
	n := r.Count(MaxBatch, 20)
	q.Items = q.Items[:0]
	for range n {
		var it BatchItem
		r.Fixed(it.Digest[:])
		if puts {
			it.Body = r.Bytes(record.MaxSize)
		}
		q.Items = append(q.Items, it)
	}
	return r.Done()
}

// A batch reply's payload is, per item in order: a byte string holding a
// Reply's payload. AppendBytes and Reader.Bytes build and read it.

// Scan asks for records of one partition: namespace u8, partition u16,
// cursor u64 (zero to begin), max u16, set (empty: all).
type Scan struct {
	Namespace uint8
	Partition uint16
	Cursor    uint64
	Max       uint16
	Set       string
}

// Append appends the payload to b.
func (q *Scan) Append(b []byte) []byte {
	b = append(b, q.Namespace)
	b = AppendU16(b, q.Partition)
	b = AppendU64(b, q.Cursor)
	b = AppendU16(b, q.Max)
	return AppendString(b, q.Set)
}

// Parse reads the payload.
func (q *Scan) Parse(p []byte) error {
	r := NewReader(p)
	q.Namespace = r.U8()
	q.Partition = r.U16()
	q.Cursor = r.U64()
	q.Max = r.U16()
	q.Set = r.String(record.MaxSet)
	if q.Partition >= cluster.Partitions {
		r.Fail("partition beyond 4095")
	}
	return r.Done()
}

// ScanReply carries records of a Scan: status u8, next cursor u64, done bool,
// then per record digest, generation u16, expiry u32 and the flat record as a
// byte string, until the payload ends.
type ScanReply struct {
	Status Status
	Next   uint64
	Done   bool
	Items  []ScanItem
}

// ScanItem is one scanned record.
type ScanItem struct {
	Digest     record.Digest
	Generation uint16
	Expiry     uint32
	Body       []byte
}

// Append appends the payload to b.
func (p *ScanReply) Append(b []byte) []byte {
	b = append(b, byte(p.Status))
	b = AppendU64(b, p.Next)
	b = AppendBool(b, p.Done)
	for i := range p.Items {
		it := &p.Items[i]
		b = append(b, it.Digest[:]...)
		b = AppendU16(b, it.Generation)
		b = AppendU32(b, it.Expiry)
		b = AppendBytes(b, it.Body)
	}
	return b
}

// Parse reads the payload; bodies alias it.
func (p *ScanReply) Parse(b []byte) error {
	r := NewReader(b)
	p.Status = Status(r.U8())
	p.Next = r.U64()
	p.Done = r.Bool()
	p.Items = p.Items[:0]
	for r.Len() > 0 && len(p.Items) < MaxScan {
		var it ScanItem
		r.Fixed(it.Digest[:])
		it.Generation = r.U16()
		it.Expiry = r.U32()
		it.Body = r.Bytes(record.MaxSize)
		p.Items = append(p.Items, it)
	}
	return r.Done()
}

// Hello opens a client connection: protocol u16, client name.
type Hello struct {
	Protocol uint16
	Name     string
}

// Append appends the payload to b.
func (h *Hello) Append(b []byte) []byte {
	return AppendString(AppendU16(b, h.Protocol), h.Name)
}

// Parse reads the payload.
func (h *Hello) Parse(p []byte) error {
	r := NewReader(p)
	h.Protocol = r.U16()
	h.Name = r.String(MaxName)
	return r.Done()
}

// Map is the partition map a node pushes to its clients: on Hello, on every
// View and on every change of a working master. Layout: view counter u64,
// proposer u64, incarnation u64, generation u64, cluster name, members
// (count; node u64, rack u32, address), namespaces (count; name, rf u8,
// 4096 × u16 member index of the working master, NoMaster for none).
type Map struct {
	View       cluster.ViewKey
	Generation uint64 // grows with every push of one node
	Cluster    string
	Members    []MapMember
	Namespaces []MapNamespace // sorted by name; the index is Request.Namespace
}

// MapMember is one node as clients reach it.
type MapMember struct {
	Node cluster.NodeID
	Rack cluster.RackID
	Addr string
}

// MapNamespace is one namespace's routing.
type MapNamespace struct {
	Name    string
	RF      uint8
	Masters [cluster.Partitions]uint16
}

// AppendViewKey appends the 24 bytes of a view key.
func AppendViewKey(b []byte, k cluster.ViewKey) []byte {
	b = AppendU64(b, k.Counter)
	b = AppendU64(b, uint64(k.Proposer))
	return AppendU64(b, uint64(k.Inc))
}

// ViewKey reads what AppendViewKey wrote.
func (r *Reader) ViewKey() cluster.ViewKey {
	return cluster.ViewKey{Counter: r.U64(), Proposer: cluster.NodeID(r.U64()), Inc: cluster.Incarnation(r.U64())}
}

// Append appends the payload to b.
func (m *Map) Append(b []byte) []byte {
	b = AppendViewKey(b, m.View)
	b = AppendU64(b, m.Generation)
	b = AppendString(b, m.Cluster)
	b = AppendUvarint(b, uint64(len(m.Members)))
	for _, x := range m.Members {
		b = AppendU64(b, uint64(x.Node))
		b = AppendU32(b, uint32(x.Rack))
		b = AppendString(b, x.Addr)
	}
	b = AppendUvarint(b, uint64(len(m.Namespaces)))
	for i := range m.Namespaces {
		n := &m.Namespaces[i]
		b = AppendString(b, n.Name)
		b = append(b, n.RF)
		for _, x := range n.Masters {
			b = AppendU16(b, x)
		}
	}
	return b
}

// Parse reads the payload. Master indexes beyond Members are refused.
func (m *Map) Parse(p []byte) error {
	r := NewReader(p)
	m.View = r.ViewKey()
	m.Generation = r.U64()
	m.Cluster = r.String(MaxName)
	n := r.Count(cluster.MaxMembers, 13)
	m.Members = make([]MapMember, n)
	for i := range m.Members {
		m.Members[i] = MapMember{Node: cluster.NodeID(r.U64()), Rack: cluster.RackID(r.U32()), Addr: r.String(MaxAddr)}
	}
	n = r.Count(MaxNamespaces, 2+2*cluster.Partitions)
	m.Namespaces = make([]MapNamespace, n)
	for i := range m.Namespaces {
		x := &m.Namespaces[i]
		x.Name = r.String(record.MaxNamespace)
		x.RF = r.U8()
		for j := range x.Masters {
			x.Masters[j] = r.U16()
			if x.Masters[j] != NoMaster && int(x.Masters[j]) >= len(m.Members) {
				r.Fail("map names a member it does not list")
			}
		}
	}
	return r.Done()
}
