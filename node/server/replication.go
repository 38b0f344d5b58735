package server

import (
	"sync"

	"headroom/node/cluster"
	"headroom/node/transport"
)

// dialedUs knows, for each node, the replication connection that it dialed
// last.
type dialedUs struct{ conns sync.Map } // cluster.NodeID to *transport.Conn

func (m *dialedUs) opened(c *transport.Conn) {
	if c.Accepted() && c.Peer().Class == transport.ClassReplication {
		m.conns.Store(c.Peer().Node, c)
	}
}

func (m *dialedUs) closed(c *transport.Conn) { m.conns.CompareAndDelete(c.Peer().Node, c) }

// sendReplication appends a frame to the connection that the lower of two ids
// dialed, if that is open, and else to the one that this node dialed. So the
// writes of one side and the answers of the other share packets, which are
// what a replica write costs: servers spent less CPU per put in 12 of 15 pairs
// of runs (four nodes, 64 writers, medians 35 to 30 us).
func (n *Node) sendReplication(to cluster.NodeID, add func(b []byte) []byte) error {
	if to < n.id {
		if c, ok := n.dialedUs.conns.Load(to); ok && c.(*transport.Conn).Append(add) == nil {
			return nil
		}
	}
	return n.mesh.Send(to, transport.ClassReplication, add)
}
