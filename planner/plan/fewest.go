package plan

import (
	"fmt"
	"math"
)

const (
	// exactUpTo is how many nodes are tried one by one. Feasibility need not
	// grow with every node (skew, racks), so up to here each is tried; beyond,
	// where a table takes tens of milliseconds and one node more or less is two
	// parts in a hundred of a partition's worth of skew, in strides.
	exactUpTo = 64
	strides   = 32 // a stride is this part of the nodes
	// farCost is how many times the cheapest answer a cluster beyond exactUpTo
	// must cost on paper to be left there.
	farCost = 1.5
)

// smallest returns the smallest number of nodes that is ok: first, and so on by
// step. Up to exactUpTo it is the smallest; beyond, ok fails a step below it and
// at one number in each stride before.
func smallest(first, last, step int, ok func(n int) bool) (n int, found bool) {
	failed := first - step
	for n = first; n <= last; n += step {
		if n > exactUpTo {
			n = min(n-step+stride(n, step), first+(last-first)/step*step)
		}
		if ok(n) {
			break
		}
		failed = n
	}
	if n > last {
		return 0, false
	}
	for n-failed > step {
		if mid := failed + (n-failed)/step/2*step; ok(mid) {
			n = mid
		} else {
			failed = mid
		}
	}
	return n, true
}

// stride is how far to go from n, a multiple of step.
func stride(n, step int) int { return max(n/strides/step, 1) * step }

// bound finds the least nodes that c may need: those of its fluid shape, which
// no real one betters.
func (m *maker) bound(c *candidate) {
	if err := m.unfit(c.kind, c.layout); err != nil {
		c.reason = err.Error()
		return
	}
	first, rule := m.least(c.layout)
	if first > m.in.req.MaxNodes {
		c.reason = fmt.Sprintf("%d nodes at least (%s), max-nodes is %d", first, rule, m.in.req.MaxNodes)
		return
	}
	k := m.in.machine(c.kind, m.in.median())
	best := attempt{short: math.Inf(1)}
	c.least, _ = smallest(first, m.in.req.MaxNodes, max(c.layout.Racks, 1), func(n int) bool {
		c.layout.Nodes = n
		return m.better(&best, m.inFluid(&c.choice, &k, c.kinds, firstMiss))
	})
	if c.least == 0 {
		m.give(&c.choice, &best)
	}
}

// better keeps the attempt that is less short, and reports whether a is
// feasible.
func (m *maker) better(best *attempt, a attempt) bool {
	if a.short < best.short {
		*best = a
	}
	return a.short <= 0
}

// give makes an attempt that failed the choice's.
func (m *maker) give(c *choice, best *attempt) {
	c.layout.Nodes, c.p, c.reason, c.loads = best.nodes, best.p, m.why(best), best.loads
}

// decide finds the fewest nodes of c by real tables, or leaves it at what is
// known on paper if that is large and costs limit dollars an hour.
func (m *maker) decide(c *candidate, limit float64) {
	if c.least == 0 {
		return
	}
	if least := c.leastCost(); c.least > exactUpTo && least > limit {
		c.layout.Nodes = c.least
		c.reason = fmt.Sprintf("at least %d nodes, $%.2f an hour, by arithmetic: over %g times the cheapest answer, so not worked out", c.least, least, farCost)
		return
	}
	step := max(c.layout.Racks, 1)
	k := m.in.machine(c.kind, m.in.median())
	missed := firstMiss
	best := attempt{short: math.Inf(1)}
	try := func(n int) bool {
		c.layout.Nodes = n
		return m.better(&best, m.attempt(&c.choice, &k, c.kinds, &missed))
	}
	n, found := smallest(c.least, m.in.req.MaxNodes, step, try)
	if !found {
		m.give(&c.choice, &best)
		return
	}
	c.feasible = try(n) // the last one tried may be another
	first, rule := m.least(c.layout)
	m.explainFewer(&c.choice, c.kinds(), n-step, first, rule)
}

// attempt is one number of nodes, judged. short is how far it is from
// feasible: the worst utilisation above 1 or, where the medians are feasible,
// the probability that is missing; 0 or less is feasible.
type attempt struct {
	nodes    int
	short, p float64
	loads    loads
	// of an attempt that fails in too many draws: what most of them lack
	improbable      bool
	state, resource int
}

// inFluid judges c's layout as a fluid shape, with the chance of losing data
// times losses. It leaves what it found in c.
func (m *maker) inFluid(c *choice, k *machine, kinds func() []machine, losses float64) attempt {
	low := m.shapes.fluid(c.layout)
	if judge(low, losses, &m.base, k, &c.loads); !c.loads.feasible() {
		return m.overLimit(c)
	}
	p, over := probability(low, losses, m.draws, kinds(), m.in.req.Probability)
	if c.p = p; p < m.in.req.Probability {
		return m.improbable(c, &over)
	}
	return attempt{nodes: c.layout.Nodes}
}

// attempt judges c's layout, first on paper. It leaves what it found in c.
// missed is carried from one number of nodes to the next, see missFactor.
func (m *maker) attempt(c *choice, k *machine, kinds func() []machine, missed *float64) attempt {
	if a := m.inFluid(c, k, kinds, *missed); a.short > 0 {
		return a
	}
	s := m.shapes.Of(c.layout)
	judge(s, 1, &m.base, k, &c.loads)
	*missed = missFactor(m.shapes.fluid(c.layout), &m.base, k, &c.loads)
	if !c.loads.feasible() {
		return m.overLimit(c)
	}
	var over [numStates][numResources]int
	if c.p, over = probability(s, 1, m.draws, kinds(), m.in.req.Probability); c.p < m.in.req.Probability {
		return m.improbable(c, &over)
	}
	if c.latency = m.judgeLatency(s, c.kind, k, &c.loads); c.latency != nil && !c.loads.feasible() {
		return m.overLimit(c)
	}
	return attempt{nodes: c.layout.Nodes}
}

// overLimit is an attempt that fails at the median of every input.
func (m *maker) overLimit(c *choice) attempt {
	_, _, use := c.loads.worst()
	return attempt{nodes: c.layout.Nodes, short: use, loads: c.loads}
}

// improbable is an attempt that fails in too many draws.
func (m *maker) improbable(c *choice, over *[numStates][numResources]int) attempt {
	a := attempt{nodes: c.layout.Nodes, short: 1 - c.p, p: c.p, loads: c.loads, improbable: true}
	a.state, a.resource = mostOver(over)
	return a
}

// why says what the nearest attempt lacks.
func (m *maker) why(a *attempt) string {
	red := &m.in.req.Redundancy
	if a.improbable {
		return fmt.Sprintf("no number up to %d does; the nearest is %d, which fails in %s of the draws, mostly because of %s%s",
			m.in.req.MaxNodes, a.nodes, percent(1-a.p), resourceWords(a.resource), red.when(a.state, a.resource))
	}
	return fmt.Sprintf("no number up to %d does; the nearest is %d, with which %s", m.in.req.MaxNodes, a.nodes, red.overWords(&a.loads))
}

func mostOver(over *[numStates][numResources]int) (state, resource int) {
	most := -1
	for s := range over {
		for r, n := range over[s] {
			if n > most {
				state, resource, most = s, r, n
			}
		}
	}
	return state, resource
}
