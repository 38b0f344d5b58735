package sim

import (
	"fmt"
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/heartbeat"
)

// twinLife is where the incarnations of a second process begin: far from those
// of the first, as their random bits make them.
const twinLife = 1000

// twinEnd is where the names of second processes for Network.Cut begin: above
// nodes and clients.
const twinEnd = 5000

// end names the process's host for Network.Cut: by its node's id, but for a
// second process.
func (n *Node) end() cluster.NodeID {
	if n.host < n.w.cfg.Nodes {
		return n.ID
	}
	return twinEnd + cluster.NodeID(n.host)
}

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

// foundWithin is how long it takes at most until a second process hears of the
// first: it is called, or calls, as often as nodes that do not answer are.
const foundWithin = time.Second

// checkTwins asserts that no second process serves while a path to a member
// works that hears the first: not in its first moments if the path was there
// when it began, and not for long if the path came later.
func (w *World) checkTwins() {
	for _, t := range w.Nodes[w.cfg.Nodes:] {
		for _, m := range w.Nodes[:w.cfg.Nodes] {
			path := [2]int{t.host, m.host}
			if !w.couldTell(m, t) {
				delete(w.check.told, path)
				continue
			}
			since, ok := w.check.told[path]
			if !ok {
				since = w.now
				w.check.told[path] = since
			}
			if always := since.Sub(t.Started) <= foundWithin/100; t.Serves() && (always || w.now.Sub(since) > foundWithin) {
				w.fail("the second process of node%d serves in %v, though node%d, which it has reached since %v, hears the first", t.ID, t.View(), m.ID, since)
			}
		}
	}
}

// couldTell reports whether m, a member of the View of the first process of
// t's id, hears that or is it, and nothing keeps it from telling t.
func (w *World) couldTell(m, t *Node) bool {
	first := w.Node(t.ID)
	for _, n := range []*Node{m, t, first} {
		if !n.Up || n.Paused {
			return false
		}
	}
	v := m.View()
	if v == nil || !v.Has(first.ID, first.Inc) || w.Net.IsCut(m.end(), t.end()) || w.Net.IsCut(t.end(), m.end()) {
		return false
	}
	return m == first || slices.ContainsFunc(m.Heartbeat.Peers(), func(p heartbeat.Peer) bool {
		return p.Member.Node == first.ID && p.Member.Inc == first.Inc
	})
}
