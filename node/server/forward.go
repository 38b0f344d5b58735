package server

import (
	"sync"
	"time"

	"headroom/node/cluster"
	"headroom/node/transport"
	"headroom/node/txn"
	"headroom/node/wire"
)

// maxForwards bounds the client requests this node has forwarded and awaits;
// beyond it a request is answered NotMaster and the client goes there itself.
const maxForwards = 16 << 10

// forwarded is a request on its way to the node that masters its partition.
type forwarded struct {
	origin   txn.Origin
	node     cluster.NodeID
	read     bool
	deadline cluster.Instant
}

// forwards is the table of requests forwarded and not yet answered.
type forwards struct {
	mu     sync.Mutex // guards all below
	nextID uint64
	byID   map[uint64]forwarded
}

// forward passes a request on, once. Whatever goes wrong before it is sent is
// NotMaster: not applied, the client retries.
func (n *Node) forward(to cluster.NodeID, q *txn.Request) {
	f := &n.forwards
	f.mu.Lock()
	if len(f.byID) >= maxForwards {
		f.mu.Unlock()
		n.reply(q.From, &wire.Reply{Status: wire.StatusNotMaster})
		return
	}
	f.nextID++
	id := f.nextID
	read := q.Kind == wire.KindGet || q.Kind == wire.KindGetHeader
	f.byID[id] = forwarded{origin: q.From, node: to, read: read, deadline: q.Deadline}
	f.mu.Unlock()
	now := n.mono()
	q.SentMS = uint32(time.Duration(now).Milliseconds()) // on this node's clock from here on
	q.DeadlineMS = uint32(max(1, q.Deadline.Sub(now).Milliseconds()))
	err := n.mesh.Send(to, transport.ClassReplication, func(b []byte) []byte {
		at := len(b)
		b = wire.AppendHeader(b, wire.Header{Kind: q.Kind, Flags: wire.FlagForwarded, ID: id})
		b = q.Append(b)
		wire.PutLength(b, at)
		return b
	})
	if err != nil {
		if _, ok := f.take(id); ok {
			n.reply(q.From, &wire.Reply{Status: wire.StatusNotMaster})
		}
	}
}

func (f *forwards) take(id uint64) (forwarded, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.byID[id]
	delete(f.byID, id)
	return e, ok
}

// forwardReply relays the answer to a forwarded request.
func (n *Node) forwardReply(c *transport.Conn, h wire.Header, payload []byte) {
	e, ok := n.forwards.take(h.ID)
	if !ok {
		return // overdue, and answered already
	}
	var r wire.Reply
	if err := r.Parse(payload); err != nil {
		c.Close(err)
		r = wire.Reply{Status: e.lost()}
	}
	n.reply(e.origin, &r)
}

// lost is the outcome of a forwarded request that will not be answered.
func (e *forwarded) lost() wire.Status {
	if e.read {
		return wire.StatusUnavailable
	}
	return wire.StatusInDoubt
}

// sweepForwards answers for nodes that are gone (gone not zero), and for
// requests that are overdue.
func (n *Node) sweepForwards(now cluster.Instant, gone cluster.NodeID) {
	f := &n.forwards
	var ended []forwarded
	f.mu.Lock()
	for id, e := range f.byID {
		if e.node == gone || e.deadline != 0 && now >= e.deadline {
			ended = append(ended, e)
			delete(f.byID, id)
		}
	}
	f.mu.Unlock()
	for i := range ended {
		n.reply(ended[i].origin, &wire.Reply{Status: ended[i].lost()})
	}
}
