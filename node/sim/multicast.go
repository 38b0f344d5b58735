package sim

import "headroom/node/wire"

// announce sends a pulse to all other nodes, as a multicast group does. Cuts
// and rejects of the network do not concern it: what carries a group is not
// what carries two nodes' packets. CutGroup does.
func (n *Node) announce(p *wire.Pulse) {
	if p == nil {
		return
	}
	n.w.checkPulse(n, p)
	b := p.Append(nil)
	for _, to := range n.w.Nodes {
		if to == n || n.w.Net.chance(n.w.Net.cfg.Loss) {
			continue
		}
		n.w.After(n.w.Net.latency(), func() {
			if to.Up && !n.w.Net.groupCut[n.ID] && !n.w.Net.groupCut[to.ID] {
				to.deliver(datagrams, func() { to.receivePulse(b, n.addr()) })
			}
		})
	}
}

// CutGroup takes a node off the multicast group, or puts it back.
func (n *Network) CutGroup(node *Node, cut bool) { n.groupCut[node.ID] = cut }
