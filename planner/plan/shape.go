package plan

import (
	"encoding/binary"
	"slices"
	"sync"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/planner/model"
)

// MaxNodes is the largest cluster that is planned, on paper: a View holds
// cluster.MaxMembers, and a plan beyond says so.
const MaxNodes = 1000

// Layout is all that placement depends on.
type Layout struct {
	Nodes, Copies, Racks int // Racks 1: none named
	FailNodes, FailRacks int
}

// The states of a cluster, in the order of a plan.
const (
	Healthy = iota
	NodesLost
	NodesLostMigrating
	Restored
	RackLost
	RollingRestart
	numStates
)

var stateNames = [numStates]string{"healthy", "nodes_lost", "nodes_lost_migrating", "re_replicated", "rack_lost", "rolling_restart"}

// StateIndex returns the index of a state by its name in a plan, -1 for none.
func StateIndex(name string) int { return slices.Index(stateNames[:], name) }

// Spread is how partitions lie on the nodes in one state. Shares are of the
// 4096 partitions of one copy, at the node that has most.
type Spread struct {
	Used        bool // the requirements ask for this state
	Alive       int
	Masters     float64 // that it serves
	Writes      float64 // whose writes it takes, as master or replica
	Stored      float64 // whose data it holds
	Fill        float64 // that it receives
	Send        float64 // that it sends
	Unavailable int     // partitions without a copy
}

// Shape is a Layout with its spreads, those of the real partition tables of
// nodes 1 to n, node i in rack i modulo Racks.
type Shape struct {
	Layout
	States   [numStates]Spread
	sets     [][]uint16 // distinct replica sets
	survives []float64  // Survives, once asked for
	once     sync.Once
}

// view is a View of the nodes that are alive.
func (l Layout) view(dead map[cluster.NodeID]bool) *cluster.View {
	v := &cluster.View{Key: cluster.ViewKey{Counter: 1, Proposer: cluster.NodeID(l.Nodes), Inc: 1}}
	for i := l.Nodes; i >= 1; i-- {
		if dead[cluster.NodeID(i)] {
			continue
		}
		m := cluster.Member{Node: cluster.NodeID(i), Inc: 1}
		if l.Racks > 1 {
			m.Rack = cluster.RackID(i%l.Racks + 1)
		}
		v.Members = append(v.Members, m)
	}
	return v
}

// Table returns the placement of the healthy cluster.
func (l Layout) Table() *partition.Table { return partition.NewTable(l.view(nil), l.Copies) }

// Unavailable returns how many partitions have no copy outside the dead
// nodes, whose numbers are 1 to Nodes.
func (l Layout) Unavailable(t *partition.Table, dead []int) int {
	gone := make([]bool, l.Nodes)
	for _, d := range dead {
		gone[l.Nodes-d] = true // members are in descending order
	}
	n := 0
	for p := range cluster.Partitions {
		if !slices.ContainsFunc(t.Replicas(p), func(m uint16) bool { return !gone[m] }) {
			n++
		}
	}
	return n
}

// newShape computes the tables of all states: two to a few dozen, at 2 ms
// (3 nodes) to 100 ms (1000 nodes) each.
func newShape(l Layout) *Shape {
	s := &Shape{Layout: l}
	whole := l.Table()
	s.sets = replicaSets(whole)
	b := whole.Balance()
	s.States[Healthy] = Spread{Used: true, Alive: l.Nodes, Masters: share(b.Masters), Writes: share(b.Copies), Stored: share(b.Copies)}
	for k := 1; k <= max(l.FailNodes, 1) && k < l.Nodes; k++ {
		for _, first := range [2]int{1, l.Nodes/2 + 1} {
			lost, migrating, restored := s.lose(whole, l.nodes(first, k), false)
			if k <= l.FailNodes {
				s.States[NodesLost].worsen(lost)
				s.States[NodesLostMigrating].worsen(migrating)
				s.States[Restored].worsen(restored)
			}
			if k == 1 && l.Copies == 1 {
				_, migrating, _ = s.lose(whole, l.nodes(first, k), true)
			}
			if k == 1 {
				s.States[RollingRestart].worsen(migrating)
			}
		}
	}
	for k := 1; k <= l.FailRacks && k < l.Racks; k++ {
		for _, first := range [2]int{0, l.Racks / 2} {
			_, migrating, restored := s.lose(whole, l.racks(first, k), false)
			s.States[RackLost].worsen(migrating)
			s.States[RackLost].worsen(restored)
		}
	}
	return s
}

// nodes lists k nodes from the first on, around the end.
func (l Layout) nodes(first, k int) []int {
	list := make([]int, k)
	for i := range list {
		list[i] = (first-1+i)%l.Nodes + 1
	}
	return list
}

// racks lists the nodes of k racks from the first on.
func (l Layout) racks(first, k int) []int {
	var list []int
	for i := 1; i <= l.Nodes; i++ {
		if (i%l.Racks-first+l.Racks)%l.Racks < k {
			list = append(list, i)
		}
	}
	return list
}

func share(counts []int) float64 { return float64(slices.Max(counts)) / cluster.Partitions }

// lose returns the spreads after the loss of the dead nodes: before copies are
// made again, while they are, and after. Nodes that leave in good order hand
// their partitions over first: then no copy is lost, be it the only one.
func (s *Shape) lose(whole *partition.Table, dead []int, inOrder bool) (lost, migrating, restored Spread) {
	gone := map[cluster.NodeID]bool{}
	for _, d := range dead {
		gone[cluster.NodeID(d)] = true
	}
	l := s.compare(whole, partition.NewTable(s.view(gone), s.Copies), gone, inOrder)
	lost = Spread{Alive: l.alive, Masters: l.masters, Writes: l.after, Stored: l.before, Unavailable: l.unavailable}
	migrating = Spread{Alive: l.alive, Masters: l.masters, Writes: l.after, Stored: l.both, Fill: l.fill, Send: l.send, Unavailable: l.unavailable}
	restored = Spread{Alive: l.alive, Masters: l.final, Writes: l.after, Stored: l.after, Unavailable: l.unavailable}
	return lost, migrating, restored
}

// worsen keeps the worse of each figure.
func (s *Spread) worsen(o Spread) {
	if !s.Used {
		*s = o
		s.Used = true
		return
	}
	s.Alive = min(s.Alive, o.Alive)
	s.Masters, s.Writes, s.Stored = max(s.Masters, o.Masters), max(s.Writes, o.Writes), max(s.Stored, o.Stored)
	s.Fill, s.Send, s.Unavailable = max(s.Fill, o.Fill), max(s.Send, o.Send), max(s.Unavailable, o.Unavailable)
}

// loss is the comparison of two tables, shares at the worst survivor.
type loss struct {
	alive, unavailable                              int
	masters, final, before, after, both, fill, send float64
}

// compare walks the partitions: who serves at once (the first of the new row
// that has a copy, as node/partition plans it), who holds what, who sends and
// receives.
func (s *Shape) compare(old, now *partition.Table, gone map[cluster.NodeID]bool, inOrder bool) loss {
	n := s.Nodes - len(gone)
	index := make([]int, s.Nodes) // of an old member in the new table, -1 if it is gone
	for i, at := 0, 0; i < s.Nodes; i++ {
		index[i] = -1
		if !gone[cluster.NodeID(s.Nodes-i)] {
			index[i], at = at, at+1
		}
	}
	masters, before, both := make([]int, n), make([]int, n), make([]int, n)
	fill, send := make([]int, n), make([]int, n)
	l := loss{alive: n}
	held := make([]bool, n)
	leaving := 0 // partitions that those who leave send
	for p := range cluster.Partitions {
		clear(held)
		for _, m := range old.Replicas(p) {
			if i := index[m]; i >= 0 {
				held[i] = true
				before[i]++
				both[i]++
			}
		}
		at := slices.IndexFunc(now.Row(p), func(m uint16) bool { return held[m] })
		if at < 0 && inOrder {
			for _, m := range now.Replicas(p) {
				both[m]++
				fill[m]++
			}
			masters[now.Row(p)[0]]++
			leaving++
			continue
		}
		if at < 0 {
			l.unavailable++
			continue
		}
		working := now.Row(p)[at]
		masters[working]++
		for _, m := range now.Replicas(p) {
			if !held[m] {
				both[m]++
				fill[m]++
				send[working]++
			}
		}
	}
	b := now.Balance()
	l.masters, l.final, l.before, l.after = share(masters), share(b.Masters), share(before), share(b.Copies)
	l.both, l.fill, l.send = share(both), share(fill), share(append(send, leaving/max(len(gone), 1)))
	return l
}

// replicaSets returns the distinct sets of nodes that share a partition.
func replicaSets(t *partition.Table) [][]uint16 {
	seen := map[string]bool{}
	var sets [][]uint16
	key := make([]byte, 2*maxCopies)
	for p := range cluster.Partitions {
		set := slices.Clone(t.Replicas(p))
		slices.Sort(set)
		for i, m := range set {
			binary.LittleEndian.PutUint16(key[2*i:], m)
		}
		if k := string(key[:2*len(set)]); !seen[k] {
			seen[k] = true
			sets = append(sets, set)
		}
	}
	return sets
}

// moreLosses is how many losses beyond the copies the chain counts: what
// survives that many does so once in many thousand.
const moreLosses = 3

// Survives is model.Survival of the real replica sets, of a fluid shape that of
// random ones. Computed once.
func (s *Shape) Survives() []float64 {
	s.once.Do(func() {
		if s.sets == nil {
			random := model.RandomSurvival(s.Nodes, s.Copies, cluster.Partitions)
			s.survives = random[:min(len(random), s.Copies+moreLosses+1)]
			return
		}
		s.survives = model.Survival(s.Nodes, s.sets, min(s.Nodes, s.Copies+moreLosses), 1)
	})
	return s.survives
}

// fluid is the spread of a perfect placement, every partition whole: no real
// one is better in any state, so a layout that fails with it need not be
// computed.
func fluid(l Layout) *Shape {
	s := &Shape{Layout: l}
	// The node that has most has at least the mean, rounded up.
	most := func(partitions, alive int) float64 {
		return float64((partitions+alive-1)/alive) / cluster.Partitions
	}
	even := func(alive, lost int) Spread {
		copies := cluster.Partitions * min(l.Copies, alive)
		f := Spread{Used: true, Alive: alive, Masters: most(cluster.Partitions, alive), Writes: most(copies, alive), Stored: most(copies, alive)}
		if lost > 0 {
			left := cluster.Partitions*l.Copies - lost*(cluster.Partitions*l.Copies/l.Nodes)
			f.Fill = most(max(copies-left, 0), alive)
			f.Send = f.Fill
		}
		return f
	}
	s.States[Healthy] = even(l.Nodes, 0)
	if f := min(l.FailNodes, l.Nodes-1); f > 0 {
		s.States[NodesLost], s.States[NodesLostMigrating], s.States[Restored] = even(l.Nodes-f, 0), even(l.Nodes-f, f), even(l.Nodes-f, 0)
		s.States[NodesLost].Stored = 0 // no more than when healthy
	}
	if gone := l.FailRacks * (l.Nodes / l.Racks); l.FailRacks > 0 && gone < l.Nodes {
		s.States[RackLost] = even(l.Nodes-gone, gone)
	}
	if l.Nodes > 1 {
		s.States[RollingRestart] = even(l.Nodes-1, 1)
	}
	return s
}

// Shapes caches shapes: many machine types share a layout. Its methods may be
// called from any goroutine.
type Shapes struct {
	mu  sync.Mutex // guards of, never held while computing
	of  map[Layout]*cached
	low map[Layout]*Shape
}

type cached struct {
	once  sync.Once
	shape *Shape
}

// NewShapes returns an empty cache.
func NewShapes() *Shapes { return &Shapes{of: map[Layout]*cached{}, low: map[Layout]*Shape{}} }

// Of returns the shape of a layout.
func (c *Shapes) Of(l Layout) *Shape {
	c.mu.Lock()
	e := c.of[l]
	if e == nil {
		e = &cached{}
		c.of[l] = e
	}
	c.mu.Unlock()
	e.once.Do(func() { e.shape = newShape(l) })
	return e.shape
}

// fluid returns the fluid shape of a layout.
func (c *Shapes) fluid(l Layout) *Shape {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.low[l]
	if s == nil {
		s = fluid(l)
		c.low[l] = s
	}
	return s
}
