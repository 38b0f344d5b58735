package client

import (
	"maps"
	"slices"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// routes is where requests go under one map. It is immutable.
type routes struct {
	m     *wire.Map
	nodes []*node       // by index in m.Members
	next  chan struct{} // closed when other routes replace these
}

// master returns the master of a partition, nil if nobody serves it. The
// namespace must exist.
func (r *routes) master(namespace uint8, partition int) *node {
	if int(namespace) >= len(r.m.Namespaces) {
		return nil
	}
	i := r.m.Namespaces[namespace].Masters[partition]
	if i == wire.NoMaster {
		return nil
	}
	return r.nodes[i]
}

// namespace returns the index of a namespace, -1 if there is none.
func (r *routes) namespace(name string) int {
	for i := range r.m.Namespaces {
		if r.m.Namespaces[i].Name == name {
			return i
		}
	}
	return -1
}

// atlas decides which map to believe, given those that members push. The map
// of the newest View wins. Members of one View push maps that differ only
// while mastership is handed over, each with generations of its own; so
// within a View the atlas applies what changed between two maps of one
// member, and lets a member speak for itself when its first map disagrees.
// A wrong guess costs one forwarded request.
type atlas struct {
	cur     *wire.Map                    // nil until the first map
	sources map[cluster.NodeID]*wire.Map // newest map of each connected member in the View of cur
}

// offer takes a map that member from pushed and reports whether cur changed.
// Maps, once offered, are never written.
func (a *atlas) offer(from cluster.NodeID, m *wire.Map) bool {
	if a.sources == nil {
		a.sources = make(map[cluster.NodeID]*wire.Map)
	}
	// If nobody who stands for cur is connected any more, the cluster may
	// have started anew, with View counters from one on.
	orphaned := a.cur == nil || len(a.sources) == 0
	order := 1
	if !orphaned {
		order = m.View.Compare(a.cur.View)
	}
	switch {
	case order < 0:
		if a.sources[from] != nil {
			delete(a.sources, from) // it fell back: it does not stand for cur
		}
		return false
	case order > 0 || !sameShape(m, a.cur):
		clear(a.sources)
		a.sources[from] = m
		a.cur = m
		return true
	}
	last := a.sources[from]
	if last != nil && m.Generation < last.Generation {
		return false
	}
	a.sources[from] = m
	return a.merge(from, m, last)
}

// forget drops what a member said when its connection is lost.
func (a *atlas) forget(from cluster.NodeID) { delete(a.sources, from) }

// sameShape reports whether two maps of a View list the same members and
// namespaces, so that indexes of one hold in the other.
func sameShape(a, b *wire.Map) bool {
	return slices.Equal(a.Members, b.Members) && slices.EqualFunc(a.Namespaces, b.Namespaces,
		func(x, y wire.MapNamespace) bool { return x.Name == y.Name && x.RF == y.RF })
}

// merge applies what m, the successor of last (nil: none), says to a copy of
// cur.
func (a *atlas) merge(from cluster.NodeID, m, last *wire.Map) bool {
	self := slices.IndexFunc(m.Members, func(x wire.MapMember) bool { return x.Node == from })
	next := *a.cur
	next.Generation = max(next.Generation, m.Generation)
	next.Namespaces = slices.Clone(a.cur.Namespaces)
	changed := false
	for i := range next.Namespaces {
		now := &next.Namespaces[i].Masters
		for p, said := range m.Namespaces[i].Masters {
			news := last != nil && last.Namespaces[i].Masters[p] != said
			own := last == nil && self >= 0 && (int(said) == self || int(now[p]) == self)
			if said != now[p] && (news || own) {
				now[p], changed = said, true
			}
		}
	}
	if changed {
		a.cur = &next
	}
	return changed
}

// offer takes a map that node from pushed.
func (c *Client) offer(from cluster.NodeID, m *wire.Map) {
	if len(m.Members) == 0 {
		return // a node that is in no View yet has nothing to say
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() {
		return
	}
	c.mapsSeen++
	if c.atlas.offer(from, m) {
		c.installLocked(c.atlas.cur)
	}
}

// installLocked makes m the routes of all calls from now on.
func (c *Client) installLocked(m *wire.Map) {
	r := &routes{m: m, nodes: make([]*node, len(m.Members)), next: make(chan struct{})}
	gone := maps.Clone(c.nodes)
	for i, x := range m.Members {
		n := c.nodes[x.Node]
		if n != nil && n.addr != x.Addr {
			c.leaveLocked(n)
			n = nil
		}
		if n == nil {
			n = c.joinLocked(x)
		}
		n.left.Store(0)
		r.nodes[i] = n
		delete(gone, x.Node)
	}
	for _, n := range gone {
		c.leaveLocked(n)
	}
	old := c.routes.Swap(r)
	if old != nil {
		close(old.next)
	}
	c.mapsUsed++
	c.changed.Store(true)
	c.nudge()
}
