package server

import (
	"time"

	"headroom/node/cluster"
	"headroom/node/transport"
	"headroom/node/txn"
	"headroom/node/wire"
)

// forward passes a request on, once. Whatever goes wrong before it is sent is
// NotMaster: not applied, the client retries.
func (n *Node) forward(to cluster.NodeID, q *txn.Request) {
	id, ok := n.forwards.Add(to, q)
	if !ok {
		n.reply(q.From, &wire.Reply{Status: wire.StatusNotMaster})
		return
	}
	now := n.mono()
	q.SentMS = uint32(time.Duration(now).Milliseconds()) // on this node's clock from here on
	q.DeadlineMS = uint32(max(1, q.Deadline.Sub(now).Milliseconds()))
	flags := wire.FlagForwarded
	if m := q.From.Marks; m != nil && !m.Private {
		flags |= wire.FlagStages
	}
	err := n.mesh.Send(to, transport.ClassReplication, func(b []byte) []byte {
		at := len(b)
		b = wire.AppendHeader(b, wire.Header{Kind: q.Kind, Flags: flags, ID: id})
		b = q.Append(b)
		wire.PutLength(b, at)
		return b
	})
	if err != nil {
		if _, ok := n.forwards.Take(id); ok {
			n.reply(q.From, &wire.Reply{Status: wire.StatusNotMaster})
		}
	}
}

// forwardReply relays the answer to a forwarded request.
func (n *Node) forwardReply(c *transport.Conn, h wire.Header, payload []byte) {
	e, ok := n.forwards.Take(h.ID)
	if !ok {
		return // overdue, and answered already
	}
	var r wire.StagedReply
	err := error(nil)
	if h.Flags&wire.FlagStages != 0 {
		err = r.Parse(payload)
	} else {
		err = r.Reply.Parse(payload)
	}
	if err != nil {
		c.Close(err)
		r = wire.StagedReply{Reply: wire.Reply{Status: e.Lost()}}
	}
	if e.Origin.Marks != nil {
		e.Origin.Marks.Relayed = &r.Stages
	}
	n.reply(e.Origin, &r.Reply)
}

// sweepForwards answers for nodes that are gone (gone not zero), and for
// requests that are overdue.
func (n *Node) sweepForwards(now cluster.Instant, gone cluster.NodeID) {
	for _, e := range n.forwards.Sweep(now, gone) {
		n.reply(e.Origin, &wire.Reply{Status: e.Lost()})
	}
}
