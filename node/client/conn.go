package client

import (
	"fmt"
	"sync"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// conn is one connection with the calls in flight on it. A request id is the
// index of its slot and the slot's generation, so that a late reply finds
// either its own call or nothing.
type conn struct {
	c    *Client
	peer cluster.NodeID // set once the dial is done
	node *node          // nil for a seed, which carries no calls

	mu         sync.Mutex // guards all below
	link       link       // nil until attached
	dead       bool       // takes no more calls
	slots      []slot     // grows to Config.MaxInFlight
	free       []uint32   // last out first: busy slots stay at the front
	live       int
	nextExpiry cluster.Instant // no call expires earlier
	sent       uint64
	answered   uint64

	// The frame being encoded: fields instead of a closure, which would be
	// allocated for every request.
	encode func([]byte) []byte
	call   *Call
	callID uint64
	now    cluster.Instant
}

type slot struct {
	call *Call
	gen  uint32 // changes whenever the slot is emptied
}

func newConn(c *Client, n *node) *conn {
	cn := &conn{c: c, node: n, nextExpiry: cluster.Never}
	cn.encode = cn.appendFrame
	return cn
}

// attach takes the dialed link and greets the node.
func (cn *conn) attach(l link, peer cluster.NodeID) error {
	cn.mu.Lock()
	cn.link, cn.peer = l, peer
	cn.mu.Unlock()
	hello := wire.Hello{Protocol: wire.ProtocolV1, Name: cn.c.cfg.Name}
	return l.Append(func(b []byte) []byte {
		at := len(b)
		b = hello.Append(wire.AppendHeader(b, wire.Header{Kind: wire.KindHello}))
		wire.PutLength(b, at)
		return b
	})
}

// send puts call into a slot and its frame into the send buffer. The errors
// are errFull and errDown; then the call is untouched by others.
func (cn *conn) send(call *Call, now cluster.Instant) error {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.dead {
		return errDown
	}
	i, ok := cn.slotLocked()
	if !ok {
		return errFull
	}
	s := &cn.slots[i]
	cn.call, cn.callID, cn.now = call, uint64(s.gen)<<32|uint64(i), now
	err := cn.link.Append(cn.encode)
	cn.call = nil
	if err != nil {
		cn.free = append(cn.free, i)
		select {
		case <-cn.link.Done():
			return errDown
		default:
			return errFull
		}
	}
	s.call = call
	call.node, call.Node = cn.node, cn.peer
	call.Attempts++
	cn.live++
	cn.sent++
	cn.nextExpiry = min(cn.nextExpiry, call.deadline)
	if call.Stages != nil {
		cn.sentLocked(call)
	}
	return nil
}

// slotLocked takes a free slot.
func (cn *conn) slotLocked() (uint32, bool) {
	if n := len(cn.free); n > 0 {
		i := cn.free[n-1]
		cn.free = cn.free[:n-1]
		return i, true
	}
	if len(cn.slots) >= cn.c.cfg.MaxInFlight {
		return 0, false
	}
	cn.slots = append(cn.slots, slot{})
	return uint32(len(cn.slots) - 1), true
}

// appendFrame encodes cn.call; it runs under cn.mu from within send.
func (cn *conn) appendFrame(b []byte) []byte {
	call, at := cn.call, len(b)
	h := wire.Header{Kind: call.Kind, ID: cn.callID}
	if call.Stages != nil {
		h.Flags = wire.FlagStages
	}
	b = wire.AppendHeader(b, h)
	if call.raw != nil {
		b = append(b, call.raw...)
	} else {
		q := wire.Request{
			Namespace: call.Namespace, Digest: call.Digest, TTL: call.TTL,
			View:       cn.c.routes.Load().m.View.Tag(),
			SentMS:     uint32(time.Duration(cn.now).Milliseconds()),
			DeadlineMS: leftMS(call.deadline, cn.now),
			CheckGen:   call.CheckGen, Generation: call.Generation, Body: call.Body,
		}
		b = q.Append(b)
	}
	wire.PutLength(b, at)
	return b
}

// leftMS gives the milliseconds from now to deadline, rounded up: zero would
// mean the node's default.
func leftMS(deadline, now cluster.Instant) uint32 {
	left := (deadline.Sub(now) + time.Millisecond - 1) / time.Millisecond
	return uint32(max(1, min(left, 1<<31)))
}

// take removes the call with this id; nil if it has left already.
func (cn *conn) take(id uint64) *Call {
	i, gen := uint32(id), uint32(id>>32)
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if int(i) >= len(cn.slots) || cn.slots[i].gen != gen || cn.slots[i].call == nil {
		return nil
	}
	cn.answered++
	return cn.takeLocked(i)
}

func (cn *conn) takeLocked(i uint32) *Call {
	s := &cn.slots[i]
	call := s.call
	s.call = nil
	s.gen++
	cn.free = append(cn.free, i)
	cn.live--
	return call
}

// takeIf moves the calls that match to out, in the order of their slots.
func (cn *conn) takeIf(match func(*Call) bool, out []*Call) []*Call {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	for i := range cn.slots {
		if call := cn.slots[i].call; call != nil && match(call) {
			out = append(out, cn.takeLocked(uint32(i)))
		}
	}
	return out
}

// takeExpired moves the calls whose deadline has passed to out. It looks at
// the slots only if some call can have expired.
func (cn *conn) takeExpired(now cluster.Instant, out []*Call) []*Call {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if now < cn.nextExpiry {
		return out
	}
	cn.nextExpiry = cluster.Never
	for i := range cn.slots {
		call := cn.slots[i].call
		switch {
		case call == nil:
		case now >= call.deadline:
			out = append(out, cn.takeLocked(uint32(i)))
		default:
			cn.nextExpiry = min(cn.nextExpiry, call.deadline)
		}
	}
	return out
}

// retire refuses further calls and settles those in flight. The link is gone.
func (cn *conn) retire(now cluster.Instant) {
	cn.mu.Lock()
	cn.dead = true
	cn.mu.Unlock()
	for _, call := range cn.takeIf(func(*Call) bool { return true }, nil) {
		cn.c.lost(call, now)
	}
}

// frame handles what the node sent, on the link's reader goroutine.
func (cn *conn) frame(h wire.Header, payload []byte) {
	switch h.Kind {
	case wire.KindMap:
		m := new(wire.Map)
		if err := m.Parse(payload); err != nil {
			cn.malformed(err)
			return
		}
		cn.c.offer(cn.from(), m)
	case wire.KindReply:
		cn.reply(h, payload)
	case wire.KindBatchReply, wire.KindScanReply:
		cn.replyMany(h, payload)
	default:
		cn.c.unknown.Add(1) // a newer node may push what we do not know
	}
}

// replyMany handles the answer to a batch or a scan.
func (cn *conn) replyMany(h wire.Header, payload []byte) {
	call := cn.take(h.ID)
	if call == nil {
		cn.c.late.Add(1)
		return
	}
	var s wire.Stages
	var err error
	staged := h.Flags&wire.FlagStages != 0
	switch {
	case call.raw == nil:
		err = fmt.Errorf("%w: batch or scan reply to a single request", wire.ErrFrame)
	case staged && call.Stages == nil:
		err = errStages
	case staged:
		payload, err = s.Parse(payload)
	}
	now := cn.c.Now()
	if err != nil {
		cn.c.lost(call, now)
		cn.malformed(err)
		return
	}
	if staged {
		cn.staged(call, &s, now)
	}
	call.Bins = payload
	cn.c.finish(call, wire.StatusOK, nil, now)
}

// errStages refuses an answer to a question that was not asked.
var errStages = fmt.Errorf("%w: stages that nobody asked for", wire.ErrFrame)

// reply handles the answer to a single-record request, or a refusal of another.
func (cn *conn) reply(h wire.Header, payload []byte) {
	call := cn.take(h.ID)
	if call == nil {
		cn.c.late.Add(1)
		return
	}
	var r wire.StagedReply
	var err error
	if h.Flags&wire.FlagStages == 0 {
		err = r.Reply.Parse(payload)
	} else if err = r.Parse(payload); call.Stages == nil && err == nil {
		err = errStages
	}
	now := cn.c.Now()
	if err != nil {
		cn.c.lost(call, now)
		cn.malformed(err)
		return
	}
	if call.raw != nil && r.Status == wire.StatusOK {
		r.Status = wire.StatusBadRequest // a batch or scan has replies of its own kind
	}
	if h.Flags&wire.FlagStages != 0 && !r.Status.Retryable() && r.Status != wire.StatusInDoubt {
		cn.staged(call, &r.Stages, now)
	}
	cn.c.replied(call, &r.Reply, now)
}

// from names the node at the other end.
func (cn *conn) from() cluster.NodeID {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	return cn.peer
}

// malformed gives up a connection whose frames do not parse.
func (cn *conn) malformed(err error) {
	cn.mu.Lock()
	l := cn.link
	cn.mu.Unlock()
	if l != nil {
		l.Close(err)
	}
}
