package server

import (
	"headroom/node/transport"
	"headroom/node/txn"
	"headroom/node/wire"
)

// marks begins to note the way of a sampled request, which is being handled on
// its connection's reader goroutine. It is the only thing that is allocated for
// it, and for sampled requests only.
func (n *Node) marks(c *transport.Conn) *txn.Marks {
	now := n.mono()
	return &txn.Marks{Arrived: now.Add(-c.SinceRead()), Started: now}
}

// appendStaged appends the reply to a sampled request, with its stages up to
// now.
func (n *Node) appendStaged(b []byte, to txn.Origin, r *wire.Reply) []byte {
	at := len(b)
	b = wire.AppendHeader(b, wire.Header{Kind: wire.KindReply, Flags: wire.FlagStages, ID: to.ID})
	s := wire.StagedReply{Stages: to.Marks.Stages(n.mono()), Reply: *r}
	b = s.Append(b)
	wire.PutLength(b, at)
	return b
}
