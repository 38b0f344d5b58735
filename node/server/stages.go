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

// asked begins the marks of a batch or scan whose client wants stages; nil for
// others.
func (n *Node) asked(c *transport.Conn, h wire.Header) *txn.Marks {
	if h.Flags&wire.FlagStages == 0 {
		return nil
	}
	return n.marks(c)
}

// itemMarks are the marks of one record of a batch, which is begun now; nil
// unless the batch is sampled.
func (n *Node) itemMarks(batch *txn.Marks) *txn.Marks {
	if batch == nil {
		return nil
	}
	return &txn.Marks{Arrived: batch.Arrived, Started: n.mono()}
}

// appendHead appends the header of a reply and, when m is not nil, the stages
// up to now. The payload follows.
func (n *Node) appendHead(b []byte, h wire.Header, m *txn.Marks) []byte {
	if m == nil {
		return wire.AppendHeader(b, h)
	}
	h.Flags |= wire.FlagStages
	s := m.Stages(n.mono())
	return s.Append(wire.AppendHeader(b, h))
}
