package plan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"

	"headroom/planner/catalog"
	"headroom/planner/model"
)

// choice is a machine type in a layout, judged.
type choice struct {
	kind     *catalog.Type
	layout   Layout
	loads    loads // at the median of every input
	p        float64
	feasible bool
	reason   string // why there is no feasible number of nodes
	fewer    fewer
	latency  *latencies // nil without a measured model
}

// fewer is why a step fewer nodes do not do.
type fewer struct {
	nodes           int
	state, resource string
	use             float64
	failing         float64 // share of draws that fail; 1 for a rule
	text            string
}

// maker carries what the search shares.
type maker struct {
	in     *inputs
	draws  *draws
	base   demand
	shapes *Shapes
}

// Input is what a plan is made of.
type Input struct {
	Requirements *Requirements
	Model        *model.Model   // nil: the shipped priors
	Types        []catalog.Type // nil: from the catalogs that the requirements name
	Shapes       *Shapes        // nil: a new cache
}

// Make plans: the fewest nodes of each type that pass every state, cheapest
// first. It computes for up to some seconds; ctx ends it early with its error.
// It returns a Plan whose Answer is nil when nothing is feasible; that is no
// error.
func Make(ctx context.Context, input Input) (*Plan, error) {
	m, types, err := newMaker(&input)
	if err != nil {
		return nil, err
	}
	choices, err := m.search(ctx, types)
	if err != nil {
		return nil, err
	}
	sortChoices(choices)
	return m.plan(choices), nil
}

func newMaker(input *Input) (*maker, []catalog.Type, error) {
	r := input.Requirements
	if err := r.Validate(); err != nil {
		return nil, nil, err
	}
	types, err := selectTypes(r, input.Types)
	if err != nil {
		return nil, nil, err
	}
	mo := input.Model
	if mo == nil {
		mo = model.Priors()
	}
	if err := mo.Validate(); err != nil {
		return nil, nil, fmt.Errorf("model: %w", err)
	}
	m := &maker{in: newInputs(r.Clone(), widened(mo)), shapes: input.Shapes}
	if m.shapes == nil {
		m.shapes = NewShapes()
	}
	m.draws, m.base = m.in.draw(), m.in.demand(m.in.median())
	return m, types, nil
}

// widened returns the model with its intervals widened by the errors that
// verification found.
func widened(m *model.Model) *model.Model {
	c := *m
	for _, t := range []*model.Triple{&c.ReadCPU, &c.WriteCPU, &c.ReplicaCPU, &c.PerKiBCPU} {
		*t = t.Widen(m.Errors.Throughput)
	}
	for _, t := range []*model.Triple{&c.MigrateBytes, &c.MigrateRecords} {
		*t = t.Widen(m.Errors.Rebuild)
	}
	return &c
}

func selectTypes(r *Requirements, types []catalog.Type) ([]catalog.Type, error) {
	if types == nil {
		files := r.Catalogs
		if len(files) == 0 {
			files = catalog.Default()
		}
		var err error
		if types, err = catalog.Load(files); err != nil {
			return nil, err
		}
	}
	var names []string
	for i := range types {
		names = append(names, types[i].Name)
	}
	for _, p := range r.Types {
		if !slices.ContainsFunc(types, func(t catalog.Type) bool { return t.Match([]string{p}) }) {
			return nil, fmt.Errorf("catalog.types: no type matches %q; the catalog has %s", p, strings.Join(names, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(types), func(t catalog.Type) bool { return !t.Match(r.Types) }), nil
}

// search judges every type with every number of copies and racks, on all
// cores.
func (m *maker) search(ctx context.Context, types []catalog.Type) ([]choice, error) {
	work := make(chan *catalog.Type)
	var mu sync.Mutex
	var all []choice
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(types)) {
		wg.Go(func() {
			for t := range work {
				list := m.judgeType(ctx, t)
				mu.Lock()
				all = append(all, list...)
				mu.Unlock()
			}
		})
	}
	for i := range types {
		select {
		case work <- &types[i]:
		case <-ctx.Done():
		}
	}
	close(work)
	wg.Wait()
	return all, ctx.Err()
}

func (m *maker) judgeType(ctx context.Context, t *catalog.Type) []choice {
	var list []choice
	red := &m.in.req.Redundancy
	var kinds []machine // for every draw; resolved when first needed
	for _, copies := range red.Copies {
		for _, racks := range red.Racks {
			if ctx.Err() != nil {
				return nil
			}
			if kinds == nil {
				kinds = m.in.machines(t, m.draws)
			}
			c := choice{kind: t, layout: Layout{Copies: copies, Racks: racks, FailNodes: red.FailNodes, FailRacks: red.FailRacks}}
			if err := m.unfit(t, c.layout); err != nil {
				c.reason = err.Error()
			} else {
				m.fewest(&c, kinds)
			}
			list = append(list, c)
		}
	}
	return list
}

// unfit says why no number of nodes of the type in such a layout can do.
func (m *maker) unfit(t *catalog.Type, l Layout) error {
	switch {
	case l.Copies <= l.FailNodes:
		return fmt.Errorf("RF %d: the loss of %d nodes at once takes all copies of a partition; RF %d at least", l.Copies, l.FailNodes, l.FailNodes+1)
	case l.FailRacks > 0 && l.Racks <= l.FailRacks:
		return fmt.Errorf("%d racks: none is left when %d fail", l.Racks, l.FailRacks)
	case l.FailRacks > 0 && l.Copies <= l.FailRacks:
		return fmt.Errorf("RF %d: the loss of %d racks takes all copies of a partition; RF %d at least", l.Copies, l.FailRacks, l.FailRacks+1)
	case math.IsNaN(t.NetBase) && math.IsNaN(t.NetBurst):
		return errors.New("its network bandwidth is unknown: add net_base_gbps to the catalog")
	}
	if m.base.budget > 0 && math.IsNaN(t.USDPerHour) {
		return errors.New("its price is unknown, and there is a budget: add od_usd_h to the catalog")
	}
	if err := m.tooSlow(); err != nil || m.base.flash == 0 {
		return err
	}
	switch {
	case t.Devices == 0:
		return errors.New("it has no local device, and a namespace is on flash")
	case math.IsNaN(t.ReadIOPS) || math.IsNaN(t.WriteIOPS):
		return errors.New("its device figures are unknown: measure it with headroom-loadgen device, or add read_iops and write_iops to the catalog")
	}
	return nil
}

// tooSlow says that even a quiet node misses a target: then no number helps.
func (m *maker) tooSlow() error {
	if !m.in.model.Latency() {
		return nil
	}
	g, mo := &m.in.req.Targets, m.in.model
	if q := mo.Read.Quantile(0.99) * 1e-6; g.ReadP99 > 0 && q > g.ReadP99 && m.base.reads > 0 {
		return fmt.Errorf("a quiet node of the model reads with a p99 of %s, the target is %s: more nodes do not help", span(q), span(g.ReadP99))
	}
	if q := mo.Write.Quantile(0.99) * 1e-6; g.WriteP99 > 0 && q > g.WriteP99 && m.base.writes > 0 {
		return fmt.Errorf("a quiet node of the model writes with a p99 of %s, the target is %s: more nodes do not help", span(q), span(g.WriteP99))
	}
	return nil
}

// least is the smallest number of nodes that the rules allow.
func (m *maker) least(l Layout) (n int, rule string) {
	n, rule = l.Copies+l.FailNodes, fmt.Sprintf("RF %d copies must find a node each after the loss of %d", l.Copies, l.FailNodes)
	if k := 2*l.FailNodes + 1; m.in.req.Redundancy.Strong && k > n {
		n, rule = k, fmt.Sprintf("strong consistency needs a majority after the loss of %d nodes", l.FailNodes)
	}
	if l.Racks > 1 {
		if rest := n % l.Racks; rest != 0 || n < l.Racks {
			n, rule = (n+l.Racks-1)/l.Racks*l.Racks, fmt.Sprintf("the %d racks are to have equally many nodes", l.Racks)
		}
	}
	return n, rule
}

// fewest scans the numbers of nodes upwards: feasibility need not grow with
// every node (skew, racks), so each is tried.
func (m *maker) fewest(c *choice, kinds []machine) {
	step := max(c.layout.Racks, 1)
	first, rule := m.least(c.layout)
	k := m.in.machine(c.kind, m.in.median())
	missed := firstMiss
	best := attempt{short: math.Inf(1)}
	for n := first; n <= m.in.req.MaxNodes; n += step {
		c.layout.Nodes = n
		at := m.attempt(c, &k, kinds, &missed)
		if at.short <= 0 {
			c.feasible = true
			m.explainFewer(c, kinds, n-step, first, rule)
			return
		}
		if at.short < best.short {
			best = at
		}
	}
	if best.nodes == 0 {
		c.reason = fmt.Sprintf("%d nodes at least (%s), max-nodes is %d", first, rule, m.in.req.MaxNodes)
		return
	}
	c.layout.Nodes, c.p, c.reason = best.nodes, best.p, best.why
	c.loads = best.loads
}

// attempt is one number of nodes, judged. short is how far it is from
// feasible: the worst utilisation above 1 or, where the medians are feasible,
// the probability that is missing; 0 or less is feasible.
type attempt struct {
	nodes    int
	short, p float64
	loads    loads
	why      string
}

// attempt judges c's layout, first as a fluid shape. It leaves what it found
// in c. missed is carried from one number of nodes to the next, see
// missFactor.
func (m *maker) attempt(c *choice, k *machine, kinds []machine, missed *float64) attempt {
	target := m.in.req.Probability
	low := m.shapes.fluid(c.layout)
	if judge(low, *missed, &m.base, k, &c.loads); !c.loads.feasible() {
		return m.overLimit(c)
	}
	p, over := probability(low, *missed, m.draws, kinds, target)
	if c.p = p; p < target {
		return m.improbable(c, &over)
	}
	s := m.shapes.Of(c.layout)
	judge(s, 1, &m.base, k, &c.loads)
	*missed = missFactor(low, &m.base, k, &c.loads)
	if !c.loads.feasible() {
		return m.overLimit(c)
	}
	if c.p, over = probability(s, 1, m.draws, kinds, target); c.p < target {
		return m.improbable(c, &over)
	}
	if c.latency = m.judgeLatency(s, c.kind, k, &c.loads); c.latency != nil && !c.loads.feasible() {
		return m.overLimit(c)
	}
	return attempt{nodes: c.layout.Nodes}
}

// overLimit is an attempt that fails at the median of every input.
func (m *maker) overLimit(c *choice) attempt {
	s, r, use := c.loads.worst()
	return attempt{c.layout.Nodes, use, 0, c.loads, fmt.Sprintf("no number up to %d does; at %d %s in state %s is at %s of its limit",
		m.in.req.MaxNodes, c.layout.Nodes, wordsOf(resourceNames[r]), wordsOf(stateNames[s]), percent(use))}
}

// improbable is an attempt that fails in too many draws.
func (m *maker) improbable(c *choice, over *[numStates][numResources]int) attempt {
	s, r := mostOver(over)
	return attempt{c.layout.Nodes, 1 - c.p, c.p, c.loads, fmt.Sprintf("no number up to %d does; at %d it fails in %s of the draws, mostly because of %s in state %s",
		m.in.req.MaxNodes, c.layout.Nodes, percent(1-c.p), wordsOf(resourceNames[r]), wordsOf(stateNames[s]))}
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

// explainFewer judges a step fewer nodes in the same way and notes what is
// over its limit.
func (m *maker) explainFewer(c *choice, kinds []machine, n, first int, rule string) {
	f := fewer{nodes: n, failing: 1}
	if n < first {
		f.state, f.resource, f.use = "structure", "nodes", float64(first)/float64(max(n, 1))
		f.text = fmt.Sprintf("%d nodes are the least: %s", first, rule)
		c.fewer = f
		return
	}
	l := c.layout
	l.Nodes = n
	s := m.shapes.Of(l)
	k := m.in.machine(c.kind, m.in.median())
	var at loads
	judge(s, 1, &m.base, &k, &at)
	if at.feasible() {
		m.judgeLatency(s, c.kind, &k, &at)
	}
	state, resource, use := at.worst()
	if use > 1+tolerance {
		p, _ := probability(s, 1, m.draws, kinds, 0)
		f.failing = max(1-p, math.SmallestNonzeroFloat64)
		f.text = fmt.Sprintf("with %d nodes %s in state %s is at %s of its limit", n, wordsOf(resourceNames[resource]), wordsOf(stateNames[state]), percent(use))
	} else {
		p, over := probability(s, 1, m.draws, kinds, 0)
		state, resource = mostOver(&over)
		use = m.medianOver(s, kinds, state, resource)
		f.failing = 1 - p
		f.text = fmt.Sprintf("%d nodes are enough at the median of every input, but fail in %.1f %% of the draws (allowed: %.1f %%), mostly because %s in state %s is over its limit, by a median of %s",
			n, (1-p)*100, (1-m.in.req.Probability)*100, wordsOf(resourceNames[resource]), wordsOf(stateNames[state]), percent(use-1))
	}
	f.state, f.resource, f.use = stateNames[state], resourceNames[resource], use
	c.fewer = f
}

// medianOver is the median utilisation of a resource among the draws in which
// it is over its limit.
func (m *maker) medianOver(s *Shape, kinds []machine, state, resource int) float64 {
	var list []float64
	var l loads
	for i := range m.draws.demands {
		judge(s, 1, &m.draws.demands[i], &kinds[i], &l)
		if v := l.use[state][resource]; v > 1+tolerance {
			list = append(list, v)
		}
	}
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// cost is dollars per hour, NaN if unknown.
func (c *choice) cost() float64 { return float64(c.layout.Nodes) * c.kind.USDPerHour }

// sortChoices puts feasible ones first, by cost (unknown last), then by
// headroom in failures, then by time to rebuild.
func sortChoices(list []choice) {
	rank := func(c *choice) [5]float64 {
		cost := c.cost()
		if math.IsNaN(cost) {
			cost = math.Inf(1)
		}
		_, _, use := c.loads.worst()
		infeasible := 0.0
		if !c.feasible {
			infeasible, cost = 1, 0
		}
		return [5]float64{infeasible, cost, use, c.loads.rebuild[RollingRestart], float64(c.layout.Copies)}
	}
	slices.SortFunc(list, func(a, b choice) int {
		ra, rb := rank(&a), rank(&b)
		for i := range ra {
			if ra[i] < rb[i] {
				return -1
			}
			if ra[i] > rb[i] {
				return 1
			}
		}
		if n := strings.Compare(a.kind.Name, b.kind.Name); n != 0 {
			return n
		}
		return a.layout.Racks - b.layout.Racks
	})
}
