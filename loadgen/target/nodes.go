package target

import (
	"sync"
	"sync/atomic"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// NodeState is what a target's client knows of a node.
type NodeState struct {
	Name    string
	Answers int64 // operations that this node answered, so far
	Masters int   // partitions that it masters, of the namespace under load
}

// NodeLister is a Target that tells its nodes apart; view names the state of
// the cluster that the list is from.
type NodeLister interface {
	NodeStates() (view string, nodes []NodeState)
}

// answers counts operations by node. A cluster has few nodes, so that a short
// list is quicker than a map; it only grows.
type answers struct {
	list atomic.Pointer[[]*answered]
	mu   sync.Mutex // held while the list grows
}

type answered struct {
	node cluster.NodeID
	n    atomic.Int64
}

func (a *answers) find(id cluster.NodeID) *answered {
	if list := a.list.Load(); list != nil {
		for _, c := range *list {
			if c.node == id {
				return c
			}
		}
	}
	return nil
}

// add counts one; zero is no node.
func (a *answers) add(id cluster.NodeID) {
	if id == 0 {
		return
	}
	c := a.find(id)
	if c == nil {
		c = a.grow(id)
	}
	c.n.Add(1)
}

func (a *answers) grow(id cluster.NodeID) *answered {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.find(id); c != nil {
		return c
	}
	c := &answered{node: id}
	var list []*answered
	if old := a.list.Load(); old != nil {
		list = append(list, *old...)
	}
	list = append(list, c)
	a.list.Store(&list)
	return c
}

// NodeStates implements NodeLister, from the map that the nodes push. Scans and
// batches are not counted.
func (h *Headroom) NodeStates() (view string, nodes []NodeState) {
	m := h.client.Map()
	for i := range m.Members {
		s := NodeState{Name: m.Members[i].Node.String()}
		if c := h.answers.find(m.Members[i].Node); c != nil {
			s.Answers = c.n.Load()
		}
		nodes = append(nodes, s)
	}
	if int(h.namespace) < len(m.Namespaces) {
		for _, master := range m.Namespaces[h.namespace].Masters {
			if master != wire.NoMaster && int(master) < len(nodes) {
				nodes[master].Masters++
			}
		}
	}
	return m.View.String(), nodes
}
