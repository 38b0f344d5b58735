package server

import (
	"headroom/node/cluster"
	"headroom/node/transport"
	"headroom/node/wire"
)

// tellLosses tells the other members which versions this node has counted as
// discarded after a split, as far as they have not said that they know.
func (n *Node) tellLosses(v *cluster.View) {
	for i := range v.Members {
		m := &v.Members[i]
		if m.Node == n.id {
			continue
		}
		for _, ns := range n.namespaces {
			if l := ns.News(m); l != nil {
				n.sendControl(m.Node, wire.KindLosses, l.Append)
			}
		}
	}
}

// sendControl sends a message that is sent again if it is lost.
func (n *Node) sendControl(to cluster.NodeID, k wire.Kind, payload func(b []byte) []byte) {
	_ = n.mesh.Send(to, transport.ClassControl, func(b []byte) []byte { // refused: sent again soon
		at := len(b)
		b = payload(wire.AppendHeader(b, wire.Header{Kind: k}))
		wire.PutLength(b, at)
		return b
	})
}

// heardLosses takes in what another member has counted, or that it knows what
// this one has.
func (n *Node) heardLosses(c *transport.Conn, kind wire.Kind, payload []byte) {
	var m wire.Losses
	var k wire.LossesKnown
	from := c.Peer().Node
	if kind == wire.KindLosses {
		if err := m.Parse(payload); err != nil || int(m.Namespace) >= len(n.namespaces) {
			c.Close(badFrame(err))
		} else if k, ok := n.namespaces[m.Namespace].HeardLosses(from, &m); ok {
			n.sendControl(from, wire.KindLossesKnown, k.Append)
		}
	} else if err := k.Parse(payload); err != nil || int(k.Namespace) >= len(n.namespaces) {
		c.Close(badFrame(err))
	} else {
		n.namespaces[k.Namespace].HeardLossesKnown(from, &k)
	}
}
