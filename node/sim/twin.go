package sim

import (
	"fmt"
	"slices"

	"headroom/node/cluster"
	"headroom/node/heartbeat"
)

// twinLife is where the incarnations of a second process begin: far from those
// of the first, as their random bits make them.
const twinLife = 1000

// Twin adds a second process that was given the id of a node, on a host of its
// own. It is down; Start it.
func (w *World) Twin(id cluster.NodeID) *Node {
	n := &Node{w: w, ID: id, host: len(w.Nodes), Inc: twinLife}
	w.addrs = append(w.addrs, fmt.Sprintf("10.0.1.%d:3000", n.host+1))
	w.Nodes = append(w.Nodes, n)
	return n
}

// processOf is the process that n sends frames for that id to: the one whose
// pulses it hears.
func (w *World) processOf(n *Node, id cluster.NodeID) *Node {
	if len(w.Nodes) > w.cfg.Nodes {
		peers := n.Heartbeat.Peers()
		if i := slices.IndexFunc(peers, func(p heartbeat.Peer) bool { return p.Member.Node == id }); i >= 0 {
			return w.Nodes[slices.Index(w.addrs, peers[i].Member.Addr)]
		}
	}
	return w.Node(id)
}

// duplicate ends a process that was told that an older one has its id, as
// package server does.
func (n *Node) duplicate(other string) {
	if len(n.w.Nodes) == n.w.cfg.Nodes {
		n.w.fail("node%d takes %s for a second process of its id; there is none", n.ID, other)
	}
	n.w.logf("node%d at %s stops: the process at %s has its id and was there first", n.ID, n.addr(), other)
	n.Crash(false)
}
