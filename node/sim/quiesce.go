package sim

import "headroom/node/cluster"

// Quiesce does what an operator's command of that name does to a node.
func (n *Node) Quiesce() { n.quiesce(true) }

// Unquiesce ends it.
func (n *Node) Unquiesce() { n.quiesce(false) }

func (n *Node) quiesce(on bool) {
	if !n.Up || n.Paused || n.quiesced == on {
		return
	}
	n.quiesced = on
	what := "quiesced"
	if !on {
		what = "unquiesced"
	}
	n.w.record(what, uint64(n.ID))
	n.w.logf("node%d is %s", n.ID, what)
	n.Heartbeat.SetQuiesced(n.Now(), on)
	n.Membership.SetSelf(n.Now(), n.self())
	n.pump()
}

// self is how the node describes itself.
func (n *Node) self() cluster.Member {
	m := cluster.Member{Node: n.ID, Inc: n.Inc, Addr: n.addr(), Quiesced: n.quiesced || n.leaving}
	if i := int(n.ID) - 1; i < len(n.w.cfg.Racks) {
		m.Rack = n.w.cfg.Racks[i]
	}
	return m
}
