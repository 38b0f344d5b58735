package plan

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"headroom/workloads/units"
)

// shadow says what would make a step fewer nodes do, at the probability that
// the plan must hold with: the resources that are over their limit there.
// Nothing if a rule forbids fewer, or more than two resources are short.
func (m *maker) shadow(c *choice, kinds []machine) []Shadow {
	if c.fewer.state == "structure" {
		return nil
	}
	l := c.layout
	l.Nodes = c.fewer.nodes
	need := m.quantiles(m.shapes.Of(l), kinds)
	var list []Shadow
	for r, v := range need {
		if v > 1+tolerance && !math.IsInf(v, 0) {
			saves := c.layout.Nodes - c.fewer.nodes
			list = append(list, Shadow{Resource: resourceNames[r], More: v - 1, Amount: m.amount(c, r, v-1), Saves: saves, USD: float64(saves) * c.kind.USDPerHour})
		}
	}
	for i := range list {
		if math.IsNaN(list[i].USD) {
			list[i].USD = 0
		}
	}
	if len(list) > 2 {
		return nil
	}
	return list
}

// quantiles returns for each resource the utilisation in its worst state that
// the required share of the draws does not exceed.
func (m *maker) quantiles(s *Shape, kinds []machine) [numResources]float64 {
	lists := [numResources][]float64{}
	var l loads
	for i := range m.draws.demands {
		judge(s, 1, &m.draws.demands[i], &kinds[i], &l)
		for r := range lists {
			worst := 0.0
			for st := range l.use {
				worst = max(worst, l.use[st][r])
			}
			lists[r] = append(lists[r], worst)
		}
	}
	var out [numResources]float64
	for r, list := range lists {
		slices.Sort(list)
		out[r] = list[min(int(m.in.req.Probability*float64(len(list))), len(list)-1)]
	}
	return out
}

// amount says a share more of a resource in its own unit.
func (m *maker) amount(c *choice, resource int, more float64) string {
	t := c.kind
	switch resource {
	case IndexMemory, Memory:
		return units.Bytes(t.RAMBytes*more).Human() + " of memory per node"
	case DeviceBytes:
		return units.Bytes(t.Bytes()*more).Human() + " of device per node"
	case DeviceIOPS:
		return fmt.Sprintf("%.3g IOPS per node", t.ReadIOPS*more)
	case CPU:
		return fmt.Sprintf("%.1f vCPU per node", t.VCPU*more)
	case Network:
		net := t.NetBase
		if math.IsNaN(net) {
			net = t.NetBurst * burstShare.P50
		}
		return fmt.Sprintf("%.3g Gbps per node", net*more*8/1e9)
	case Durability:
		return fmt.Sprintf("a target of %.1f instead of %.1f nines", m.in.req.Targets.Durability-math.Log10(1+more), m.in.req.Targets.Durability)
	case Availability:
		return fmt.Sprintf("%s a year more", span(m.in.req.Targets.Unavailable*more))
	case Cost:
		return fmt.Sprintf("$%.2f an hour more", m.base.budget*more)
	case Endurance:
		return fmt.Sprintf("%.2g drive writes per day more", m.base.limits.dwpd*more)
	case Migration:
		return fmt.Sprintf("%s more time to rebuild", span(m.in.req.Targets.Rebuild*more))
	}
	return percent(more) + " more"
}

// The chance is computed for so many numbers of nodes below and above the
// answer, in steps of a fifteenth of it.
const (
	curveBelow = 5
	curveAbove = 4
	curveParts = 15
)

// Regret as Netflix's planner weighs it: what is paid for nothing costs its
// share to the power 1.2, what is missing a quarter more.
const (
	regretPower = 1.2
	regretShort = 1.25
)

// curve returns the chance of each number of nodes around the answer and the
// number of the least expected regret.
func (m *maker) curve(c *choice, kinds []machine) ([]Chance, *int) {
	step := max(c.layout.Racks, 1)
	step *= max((c.layout.Nodes+curveParts*step/2)/(curveParts*step), 1)
	first, _ := m.least(c.layout)
	var list []Chance
	ok := [][]bool{}
	m.prepare(c.layout, step)
	begin := c.layout.Nodes - curveBelow*step
	for begin < first {
		begin += step
	}
	for n := begin; n <= c.layout.Nodes+curveAbove*step && n <= MaxNodes; n += step {
		l := c.layout
		l.Nodes = n
		s := m.shapes.Of(l)
		row, good := make([]bool, len(kinds)), 0
		var at loads
		for i := range row {
			judge(s, 1, &m.draws.demands[i], &kinds[i], &at)
			if row[i] = at.feasible(); row[i] {
				good++
			}
		}
		ok = append(ok, row)
		list = append(list, Chance{Nodes: n, PFeasible: float64(good) / float64(len(row))})
	}
	best := 0
	for j := range list {
		for i := range kinds {
			list[j].Regret += regret(list, ok, i, j, step)
		}
		list[j].Regret /= float64(len(kinds))
		if list[j].Regret < list[best].Regret {
			best = j
		}
	}
	return list, &list[best].Nodes
}

// prepare computes the shapes of a curve on all cores.
func (m *maker) prepare(l Layout, step int) {
	var wg sync.WaitGroup
	first, _ := m.least(l)
	for i := -curveBelow; i <= curveAbove; i++ {
		at := l
		if at.Nodes += i * step; at.Nodes >= first && at.Nodes <= MaxNodes {
			wg.Go(func() { m.shapes.Of(at) })
		}
	}
	wg.Wait()
}

// regret of having chosen the j-th number of nodes in draw i.
func regret(list []Chance, ok [][]bool, i, j, step int) float64 {
	needed := list[len(list)-1].Nodes + step
	for k := range list {
		if ok[k][i] {
			needed = list[k].Nodes
			break
		}
	}
	d := float64(list[j].Nodes - needed)
	if d < 0 {
		return math.Pow(-d*regretShort, regretPower)
	}
	return math.Pow(d, regretPower)
}

// tornado moves one uncertain input at a time and finds the fewest nodes of
// the answer's type again. Inputs that change nothing are left out; the
// widest swing comes first.
func (m *maker) tornado(c *choice) []Swing {
	var list []Swing
	for i, v := range m.in.vars {
		low, high := m.in.median(), m.in.median()
		low[i], high[i] = -z90, z90
		a, b := m.fewestAt(c, low), m.fewestAt(c, high)
		if a != b {
			list = append(list, Swing{Input: v.Name, P10: a, P90: b})
		}
	}
	slices.SortStableFunc(list, func(a, b Swing) int { return width(b) - width(a) })
	return list
}

func width(s Swing) int { return max(s.P10-s.P90, s.P90-s.P10) }

// z90 is the standard normal 90th percentile.
const z90 = 1.2815515655446004

// fewestAt is the fewest nodes of the choice's type at one point, 0 if none
// does.
func (m *maker) fewestAt(c *choice, z point) int {
	d, k := m.in.demand(z), m.in.machine(c.kind, z)
	l := c.layout
	first, _ := m.least(l)
	var at loads
	n, _ := smallest(first, m.in.req.MaxNodes, max(l.Racks, 1), func(n int) bool {
		l.Nodes = n
		if judge(m.shapes.fluid(l), firstMiss, &d, &k, &at); !at.feasible() {
			return false
		}
		judge(m.shapes.Of(l), 1, &d, &k, &at)
		return at.feasible()
	})
	return n
}

// longest is how far growth is followed, in months.
const longest = 120

// timeToFull is when growth makes the plan infeasible: p10, p50 and p90 over
// the draws. Nil without growth.
func (m *maker) timeToFull(c *choice, kinds []machine) *TimeUntil {
	grows := slices.ContainsFunc(m.in.req.Namespaces, func(n Namespace) bool { return n.Growth.P90 > 0 })
	if !grows {
		return nil
	}
	s := m.shapes.Of(c.layout)
	const few = 200 // of the draws: a date needs no more
	var months []float64
	for i := range min(few, len(kinds)) {
		months = append(months, m.monthsUntilFull(s, i, &kinds[i]))
	}
	slices.Sort(months)
	at := func(p float64) *float64 { return finite(months[int(p*float64(len(months)))]) }
	return &TimeUntil{at(0.1), at(0.5), at(0.9)}
}

func (m *maker) monthsUntilFull(s *Shape, draw int, k *machine) float64 {
	at := m.in.pick(m.draws.points[draw])
	var l loads
	fits := func(months float64) bool {
		d := m.in.req.resolve(at, months)
		judge(s, 1, &d, k, &l)
		return l.feasible()
	}
	if fits(longest) {
		return math.Inf(1)
	}
	low, high := 0.0, float64(longest)
	for range 12 {
		if mid := (low + high) / 2; fits(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	if low == 0 {
		return 0
	}
	return high
}
