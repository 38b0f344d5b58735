package plan

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"headroom/workloads/units"
)

// shadow says what would make a step fewer nodes do, at the probability that
// the plan must hold with: each resource more of which is enough by itself, or
// else the first two that are enough together. Nothing if a rule or a
// percentile forbids fewer, or more than two are short.
func (m *maker) shadow(c *choice, kinds []machine) []Shadow {
	if c.fewer.state == structure {
		return nil
	}
	l := c.layout
	l.Nodes = c.fewer.nodes
	s := m.shapes.Of(l)
	if m.tooLate(s, c) {
		return nil
	}
	d := m.worstUses(s, kinds)
	var list []Shadow
	add := func(r int, more float64, together bool) {
		saves := c.layout.Nodes - c.fewer.nodes
		list = append(list, Shadow{Resource: resourceNames[r], More: more - 1, Amount: m.amount(c, r, more-1), Saves: saves,
			USD: zeroNaN(float64(saves) * c.kind.USDPerHour), Together: together})
	}
	short := d.short()
	for _, r := range short {
		if more, ok := d.enough(m.in.req.Probability, r); ok {
			add(r, more, false)
		}
	}
	for i := 0; i < len(short) && len(list) == 0; i++ {
		for j := i + 1; j < len(short) && len(list) == 0; j++ {
			if a, b, ok := d.pair(m.in.req.Probability, short[i], short[j]); ok {
				add(short[i], a, true)
				add(short[j], b, true)
			}
		}
	}
	return list
}

func zeroNaN(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

// tooLate reports that a percentile is beyond its target in the shape: none of
// the resources that are drawn changes that for certain.
func (m *maker) tooLate(s *Shape, c *choice) bool {
	k := m.in.machine(c.kind, m.in.median())
	var at loads
	judge(s, 1, &m.base, &k, &at)
	m.judgeLatency(s, c.kind, &k, &at)
	for i := range at.use {
		if at.use[i][ReadLatency] > 1+tolerance || at.use[i][WriteLatency] > 1+tolerance {
			return true
		}
	}
	return false
}

// drawn is the utilisation of each resource in its worst state, draw by draw.
type drawn [][numResources]float64

func (m *maker) worstUses(s *Shape, kinds []machine) drawn {
	list := make(drawn, len(kinds))
	var l loads
	for i := range kinds {
		judge(s, 1, &m.draws.demands[i], &kinds[i], &l)
		for st := range l.use {
			for r, v := range l.use[st] {
				list[i][r] = max(list[i][r], v)
			}
		}
	}
	return list
}

// short lists the resources that are over their limit in some draw.
func (d drawn) short() []int {
	var list []int
	for r := range numResources {
		if slices.ContainsFunc(d, func(use [numResources]float64) bool { return use[r] > 1+tolerance }) {
			list = append(list, r)
		}
	}
	return list
}

// enough is how many times as much of the resources there must be for a share
// of the draws to hold; false if no amount of them does.
func (d drawn) enough(share float64, resources ...int) (times float64, ok bool) {
	var list []float64
	for i := range d {
		most, others := 0.0, false
		for r, v := range d[i] {
			if slices.Contains(resources, r) {
				most = max(most, v)
			} else if v > 1+tolerance {
				others = true
			}
		}
		if !others && !math.IsInf(most, 0) {
			list = append(list, most)
		}
	}
	need := max(int(math.Ceil(share*float64(len(d))-1e-6)), 1)
	if len(list) < need || slices.Contains(resources, Redundant) {
		return 0, false
	}
	slices.Sort(list)
	return max(list[need-1], 1), true
}

// pair is how many times as much of two resources there must be together: one as
// much as both would need alike, the other as little as then does, whichever
// way round is less.
func (d drawn) pair(share float64, a, b int) (timesA, timesB float64, ok bool) {
	alike, ok := d.enough(share, a, b)
	if !ok {
		return 0, 0, false
	}
	lessB, _ := d.capped(a, alike).enough(share, b)
	lessA, _ := d.capped(b, alike).enough(share, a)
	if lessA < lessB {
		return lessA, alike, true
	}
	return alike, lessB, true
}

// capped is the draws with so many times as much of a resource.
func (d drawn) capped(resource int, times float64) drawn {
	list := slices.Clone(d)
	for i := range list {
		list[i][resource] /= times
	}
	return list
}

// amount says a share more of a resource in its own unit.
func (m *maker) amount(c *choice, resource int, more float64) string {
	t := c.kind
	switch resource {
	case IndexMemory, Memory:
		return units.Bytes(max(t.RAMBytes-m.base.limits.reserve, 0)*more).Human() + " of memory per node"
	case DeviceBytes:
		return units.Bytes(t.Bytes()*more).Human() + " of device per node"
	case DeviceIOPS:
		return thousands(math.Ceil(t.ReadIOPS*more)) + " read IOPS per node, and of writes likewise"
	case DeviceBandwidth:
		read := t.ReadBytes
		if math.IsNaN(read) {
			read = t.ReadIOPS * ioUnit
		}
		return fmt.Sprintf("%.3g MB/s of reads per node, and of writes likewise", read*more/1e6)
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
