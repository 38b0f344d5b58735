package plan

import "slices"

// level is a share of the draws, and what the resource that fewer nodes fail by
// is used to, at most, in that share of them: with enough nodes and with fewer.
// Zero: there is none at which the one has room and the other has not.
type level struct{ at, enough, fewer float64 }

// decisive finds the level at which enough nodes are as far below the limit as
// fewer are above: there the plan's claim shows best.
func (m *maker) decisive(c *choice, kinds []machine) level {
	state, resource := StateIndex(c.fewer.state), slices.Index(resourceNames[:], c.fewer.resource)
	if state < 0 || resource < 0 {
		return level{}
	}
	fewer := c.layout
	fewer.Nodes = c.fewer.nodes
	a, b := m.uses(m.shapes.Of(c.layout), kinds, state, resource), m.uses(m.shapes.Of(fewer), kinds, state, resource)
	best := level{}
	for i := range a {
		l := level{float64(i+1) / float64(len(a)), a[i], b[i]}
		if l.room() > best.room() {
			best = l
		}
	}
	return best
}

// room is how far both sides are from the limit, 0 if one is on the wrong side
// of it.
func (l level) room() float64 { return max(min(1-l.enough, l.fewer-1), 0) }

// uses is the use of a resource in a state in every draw, ascending.
func (m *maker) uses(s *Shape, kinds []machine, state, resource int) []float64 {
	list := make([]float64, len(kinds))
	var l loads
	for i := range kinds {
		judge(s, 1, &m.draws.demands[i], &kinds[i], &l)
		list[i] = l.use[state][resource]
	}
	slices.Sort(list)
	return list
}
