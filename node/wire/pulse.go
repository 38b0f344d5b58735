package wire

import "headroom/node/cluster"

// Limits of a pulse. One pulse must fit a datagram that no path fragments
// (1280 is the smallest IPv6 MTU), with room for the transport's signature.
const (
	MaxPulse     = 1200
	MinPulse     = 32  // a shorter datagram is not answered by every peer's QUIC stack
	MaxAddr      = 120 // host:port; longer names do not occur in certificates we issue
	MaxListed    = 64  // node ids spelled out in one list: 64*8 bytes = 512
	MaxDoubted   = 16  // more doubts than this at once is a partition, which silence tells anyway
	MaxEndpoints = 8   // endpoints gossiped in one pulse; the next pulse carries the next ones
	maxBitmap    = cluster.MaxMembers / 8
)

const (
	pulseQuiesced = 1 << iota
	pulseLeaving
	pulseGoodbye
	pulseFrozen
	pulseAsk
	pulsePartial
	pulseShared
	pulseKnown // all bits a receiver understands are below this one
)

// Pulse is the heartbeat from one node to one other. It is unicast, because
// it echoes what the sender last heard of that destination; an announcement
// (IsAnnouncement) echoes nothing and may go to many.
//
// Layout: cluster u64, to u64, node u64, inc u64, rack u32, flags u8,
// seq u64, sent u64, echo inc u64, echo sent u64, view key (u64,u64,u64),
// addr string, called string, then if shared two byte strings (bitmaps over
// the View's members), two lists of node ids, and a list of endpoints.
type Pulse struct {
	Cluster uint64         // hash of the cluster's name; a foreign pulse is dropped
	To      cluster.NodeID // zero when a seed is called whose name is unknown
	Node    cluster.NodeID
	Inc     cluster.Incarnation
	Rack    cluster.RackID

	Quiesced bool // masters nothing if it can be avoided
	Leaving  bool // was told to stop; counts as quiesced
	Goodbye  bool // the last pulse of a node that leaves: it serves nothing any more
	Frozen   bool // accepted a ballot above View and awaits its commit: grants no lease
	Ask      bool // please answer at once
	Partial  bool // Hears was cut to its limit: nodes that it lacks may be heard

	Addr   string // where the sender wants to be called
	Called string // in a call to a seed: the seed as configured; in its answer: the same
	Seq    uint64 // grows by one with each pulse to this destination
	Sent   cluster.Instant

	EchoInc  cluster.Incarnation // the newest pulse heard of the destination: its incarnation
	EchoSent cluster.Instant     // and its Sent, on the destination's clock

	View cluster.ViewKey // the View the sender has committed

	// Shared says that the destination holds the same View, so that
	// HearsBits and DoubtBits (bit i of byte i/8 for member i) speak of its
	// members; Hears and Doubts then list only other nodes. Without a byte,
	// all other members are heard, and none is doubted.
	Shared    bool
	HearsBits []byte
	DoubtBits []byte
	Hears     []cluster.NodeID // nodes the sender hears
	Doubts    []cluster.NodeID // nodes it hears no more, or whose port refused a pulse
	Known     []Endpoint       // where nodes are that the destination does not hear
}

// Endpoint tells where a node can be called.
type Endpoint struct {
	Node cluster.NodeID
	Addr string
}

// IsAnnouncement reports whether the pulse is for everybody, not for one node
// or a seed.
func (p *Pulse) IsAnnouncement() bool { return p.To == 0 && p.Called == "" }

func (p *Pulse) flags() (f uint8) {
	for i, on := range []bool{p.Quiesced, p.Leaving, p.Goodbye, p.Frozen, p.Ask, p.Partial, p.Shared} {
		if on {
			f |= 1 << i
		}
	}
	return f
}

// Append appends the encoded pulse to b. The caller keeps within the limits
// above; ParsePulse refuses what exceeds them.
func (p *Pulse) Append(b []byte) []byte {
	b = AppendU64(b, p.Cluster)
	b = AppendU64(b, uint64(p.To))
	b = AppendU64(b, uint64(p.Node))
	b = AppendU64(b, uint64(p.Inc))
	b = AppendU32(b, uint32(p.Rack))
	b = append(b, p.flags())
	b = AppendU64(b, p.Seq)
	b = AppendU64(b, uint64(p.Sent))
	b = AppendU64(b, uint64(p.EchoInc))
	b = AppendU64(b, uint64(p.EchoSent))
	b = AppendViewKey(b, p.View)
	b = AppendString(b, p.Addr)
	b = AppendString(b, p.Called)
	if p.Shared {
		b = AppendBytes(b, p.HearsBits)
		b = AppendBytes(b, p.DoubtBits)
	}
	b = appendNodes(b, p.Hears)
	b = appendNodes(b, p.Doubts)
	b = AppendUvarint(b, uint64(len(p.Known)))
	for _, e := range p.Known {
		b = AppendU64(b, uint64(e.Node))
		b = AppendString(b, e.Addr)
	}
	return b
}

// ParsePulse decodes a pulse. Nothing in it aliases b.
func ParsePulse(b []byte) (*Pulse, error) {
	r := NewReader(b)
	if len(b) > MaxPulse {
		r.Fail("pulse longer than a datagram")
	}
	p := &Pulse{Cluster: r.U64(), To: cluster.NodeID(r.U64()), Node: cluster.NodeID(r.U64()),
		Inc: cluster.Incarnation(r.U64()), Rack: cluster.RackID(r.U32())}
	f := r.U8()
	if f >= pulseKnown {
		r.Fail("unknown pulse flag")
	}
	p.Quiesced, p.Leaving, p.Goodbye = f&pulseQuiesced != 0, f&pulseLeaving != 0, f&pulseGoodbye != 0
	p.Frozen, p.Ask, p.Partial, p.Shared = f&pulseFrozen != 0, f&pulseAsk != 0, f&pulsePartial != 0, f&pulseShared != 0
	p.Seq, p.Sent = r.U64(), readInstant(&r)
	p.EchoInc, p.EchoSent = cluster.Incarnation(r.U64()), readInstant(&r)
	p.View = r.ViewKey()
	p.Addr, p.Called = r.String(MaxAddr), r.String(MaxAddr)
	if p.Shared {
		p.HearsBits = append([]byte(nil), r.Bytes(maxBitmap)...)
		p.DoubtBits = append([]byte(nil), r.Bytes(maxBitmap)...)
	}
	p.Hears, p.Doubts = readNodes(&r, MaxListed), readNodes(&r, MaxDoubted)
	for range r.Count(MaxEndpoints, 9) {
		p.Known = append(p.Known, Endpoint{Node: cluster.NodeID(r.U64()), Addr: r.String(MaxAddr)})
	}
	if p.Node == 0 || p.Inc == 0 {
		r.Fail("pulse without a sender")
	}
	return p, r.Done()
}

// readInstant refuses times that would overflow when a duration is added.
func readInstant(r *Reader) cluster.Instant {
	t := r.U64()
	if t > 1<<62 {
		r.Fail("instant out of range")
		return 0
	}
	return cluster.Instant(t)
}

func appendNodes(b []byte, ids []cluster.NodeID) []byte {
	b = AppendUvarint(b, uint64(len(ids)))
	for _, n := range ids {
		b = AppendU64(b, uint64(n))
	}
	return b
}

func readNodes(r *Reader, limit int) []cluster.NodeID {
	n := r.Count(limit, 8)
	if n == 0 {
		return nil
	}
	ids := make([]cluster.NodeID, n)
	for i := range ids {
		ids[i] = cluster.NodeID(r.U64())
	}
	return ids
}
