package client

import (
	"sync/atomic"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// Stages is where the time of one operation went, from Submit to Done. Those
// before and after Node follow each other and do not overlap.
type Stages struct {
	// Known is false when the operation ended without an answer, or the node
	// that answered does not tell its stages; then the others mean nothing.
	Known   bool
	Wait    time.Duration // until the request was appended that was answered: no master, earlier attempts
	Send    time.Duration // until QUIC had taken it
	Node    wire.Stages   // at the node
	Network time.Duration // between the two processes, both ways: their kernels and QUIC, and the node's sending
	Receive time.Duration // from reading the answer until it was handled

	flight *flight
}

// flight is one attempt. It is made anew for each, because the news that it was
// sent may come when the call is used again already.
type flight struct {
	appended cluster.Instant
	sent     atomic.Int64 // cluster.Instant, zero: not yet
}

// sentLocked notes that a sampled call was appended to the send buffer.
func (cn *conn) sentLocked(call *Call) {
	c := cn.c
	f := &flight{appended: c.Now()}
	*call.Stages = Stages{flight: f}
	cn.link.OnSent(func() { f.sent.Store(int64(c.Now())) })
}

// staged fills in the stages of a call whose answer is being handled at now.
// What is left of the time since the request was appended is the network's.
// The news that it was sent may come late, even after the answer: sending takes
// no more than what the others leave.
func (cn *conn) staged(call *Call, node *wire.Stages, now cluster.Instant) {
	s := call.Stages
	f := s.flight
	cn.mu.Lock()
	waited := cn.link.SinceRead()
	cn.mu.Unlock()
	left := now.Sub(f.appended) - node.Sum()
	take := func(d time.Duration) time.Duration {
		d = max(0, min(d, left))
		left -= d
		return d
	}
	*s = Stages{Known: true, Node: *node, Wait: f.appended.Sub(call.Submitted), Receive: take(waited)}
	s.Send = take(cluster.Instant(f.sent.Load()).Sub(f.appended))
	s.Network = max(0, left)
}
