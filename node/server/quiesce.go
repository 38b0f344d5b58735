package server

import (
	"errors"
	"fmt"

	"headroom/node/cluster"
)

// Quiesce makes this node the last of every succession list, or ends that: a
// new View gives its partitions to others, it hands over what it masters once
// they have their copies, and drops its own. No operation fails meanwhile, and
// the node stays a member that forwards what reaches it. It says in words what
// was begun. A restart ends it, so that a machine that was serviced serves.
func (n *Node) Quiesce(on bool) (string, error) {
	switch {
	case n.leaving.Load():
		return "", errors.New("this node is leaving: it hands everything over by itself")
	case n.problem.Load() != nil:
		return "", errors.New(*n.problem.Load())
	}
	if ns := n.withoutDevice(); ns != "" && !on {
		return "", fmt.Errorf("no device of namespace %s works: replace them and start this node again", ns)
	}
	if n.quiesced.Swap(on) == on {
		if on {
			return "was quiesced already", nil
		}
		return "was not quiesced", nil
	}
	if !n.tryPost(func(now cluster.Instant) {
		n.ctl.hb.SetQuiesced(now, on)
		n.ctl.ms.SetSelf(now, n.self())
	}) {
		n.quiesced.Store(!on)
		return "", errors.New("this node is overloaded; ask again")
	}
	n.log.Info("quiesce", "on", on)
	if v := n.view.Load(); on && v != nil && len(v.Members) == 1 {
		return "quiesced; it goes on serving, for it is the only node: another one that joins will take over", nil
	}
	if on {
		return "quiesced: its partitions go to other nodes; safe-to-stop says when that is done", nil
	}
	return "no longer quiesced: it gets its partitions back", nil
}

// withoutDevice names a namespace all of whose devices failed, or is empty.
func (n *Node) withoutDevice() string {
	for _, ns := range n.namespaces {
		if ns.dir != nil && ns.store.Healthy() == 0 {
			return ns.cfg.Name
		}
	}
	return ""
}

// self is how this node describes itself to the others.
func (n *Node) self() cluster.Member {
	return cluster.Member{Node: n.id, Inc: n.inc, Rack: n.cfg.Rack, Addr: n.addr, Quiesced: n.quiesced.Load() || n.leaving.Load()}
}

// masters reports whether this node is the working master of any partition.
func (n *Node) masters(v *cluster.View) bool {
	self := v.Index(n.id)
	for _, ns := range n.namespaces {
		for pid := range cluster.Partitions {
			if m, ok := ns.Master(pid); ok && int(m) == self {
				return true
			}
		}
	}
	return false
}

// quiescing is why a quiesced node has not handed everything over, or empty.
func (n *Node) quiescing(v *cluster.View) string {
	i := v.Index(n.id)
	if !n.quiesced.Load() || i < 0 {
		return ""
	}
	for _, m := range v.Members {
		if !m.Quiesced {
			switch {
			case !v.Members[i].Quiesced:
				return "the cluster has not agreed yet that this node is quiesced; ask again in a second"
			case n.masters(v):
				return "this node still hands partitions over; ask again in a second"
			}
			return ""
		}
	}
	if len(v.Members) == 1 {
		return "this node is the only one, so it goes on serving although it is quiesced: start another one to take over, or unquiesce this one"
	}
	return "every node is quiesced, so none is: unquiesce another one"
}
