package server

import (
	"math/bits"
	"sync"
	"time"

	"headroom/node/cluster"
	"headroom/node/txn"
	"headroom/node/wire"
)

const (
	// latencyEvery of a connection's requests one is timed for status: it costs
	// 0.3 us, spread over the others 10 ns.
	latencyEvery = 32
	// latencySpan is how long a window is; status tells of one to two of them.
	latencySpan = 15 * time.Second
	// latencyEnough samples bound a p99 with 99 % confidence (n >= 6.635
	// p/(1-p)), latencyFew the median.
	latencyEnough = 657
	latencyFew    = 7
	// latencyParts divide each octave of microseconds: 6 % resolution, to a minute
	// and more.
	latencyParts   = 16
	latencyBuckets = 24 * latencyParts
)

// latency is how long requests of one kind took on this node lately, from the
// arrival of their bytes to their reply, for a sample of them.
type latency struct {
	mu        sync.Mutex // guards all below
	now, last [latencyBuckets]uint32
	from      cluster.Instant // of now
	lastFrom  cluster.Instant // of last
}

// StatusLatency is a sample of the requests of one kind that clients sent to
// this node in the last WindowS seconds. Nil percentiles have too few samples.
type StatusLatency struct {
	Samples uint64   `json:"samples"`
	WindowS float64  `json:"window_s"`
	P50US   *float64 `json:"p50_us"`
	P99US   *float64 `json:"p99_us"`
}

func latencyBucket(d time.Duration) int {
	us := uint64(max(0, d.Microseconds()))
	if us < latencyParts {
		return int(us)
	}
	e := bits.Len64(us) - 5
	return min((e+1)*latencyParts+int(us>>e)-latencyParts, latencyBuckets-1)
}

// latencyTop is the upper end of a bucket in microseconds.
func latencyTop(i int) float64 {
	if i < latencyParts {
		return float64(i + 1)
	}
	return float64(uint64(i%latencyParts+latencyParts+1) << (i/latencyParts - 1))
}

func (l *latency) record(at cluster.Instant, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turnLocked(at)
	l.now[latencyBucket(d)]++
}

// turnLocked begins a new window when the present one is over.
func (l *latency) turnLocked(at cluster.Instant) {
	switch age := at.Sub(l.from); {
	case age < latencySpan:
		return
	case age < 2*latencySpan:
		l.last, l.lastFrom = l.now, l.from
	default:
		l.last, l.lastFrom = [latencyBuckets]uint32{}, at
	}
	l.now, l.from = [latencyBuckets]uint32{}, at
}

// status tells of the last window and the present one.
func (l *latency) status(at cluster.Instant) StatusLatency {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turnLocked(at)
	s := StatusLatency{WindowS: at.Sub(l.lastFrom).Seconds()}
	for i := range l.now {
		s.Samples += uint64(l.now[i]) + uint64(l.last[i])
	}
	at50, at99 := l.quantileLocked(s.Samples, 0.5), l.quantileLocked(s.Samples, 0.99)
	if s.Samples >= latencyFew {
		s.P50US = &at50
	}
	if s.Samples >= latencyEnough {
		s.P99US = &at99
	}
	return s
}

func (l *latency) quantileLocked(n uint64, p float64) float64 {
	seen := 0.0
	for i := range l.now {
		if seen += float64(l.now[i]) + float64(l.last[i]); seen >= p*float64(n) {
			return latencyTop(i)
		}
	}
	return latencyTop(latencyBuckets - 1)
}

// sample marks a client's request now and then, so that it is timed, also when
// the client wants no stages.
func (n *Node) sample(st *connState, q *txn.Request, h wire.Header) {
	st.seen++
	wanted, own := h.Flags&wire.FlagStages != 0, st.seen%latencyEvery == 0 && !q.Forwarded
	if !wanted && !own {
		return
	}
	m := n.marks(st.conn)
	m.Private, m.Timed, m.Namespace = !wanted, own, q.Namespace
	m.Write = q.Kind != wire.KindGet && q.Kind != wire.KindGetHeader
	q.From.Marks = m
}

// timed takes in a request that was sampled for status and is answered now.
func (n *Node) timed(m *txn.Marks, r *wire.Reply) {
	if !m.Timed || r.Status != wire.StatusOK && r.Status != wire.StatusNotFound {
		return
	}
	ns, now := n.namespaces[m.Namespace], n.mono()
	l := &ns.readLatency
	if m.Write {
		l = &ns.writeLatency
	}
	l.record(now, now.Sub(m.Arrived))
}
