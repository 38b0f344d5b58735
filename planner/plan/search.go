package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

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
	level           level
}

// maker carries what the search shares.
type maker struct {
	in     *inputs
	draws  *draws
	base   demand
	shapes *Shapes

	shapeOnce sync.Once // guards the making of shape
	shape     model.Dist

	cutOnce             sync.Once // guards the making of both
	readCuts, writeCuts *equalCuts
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
// cores: first on paper, which gives the least that each may cost, then by real
// tables, in which large clusters that cannot be near the answer have no part.
func (m *maker) search(ctx context.Context, types []catalog.Type) ([]choice, error) {
	list := m.choices(types)
	each(ctx, list, m.bound)
	slices.SortStableFunc(list, func(a, b *candidate) int { return cmp.Compare(a.leastCost(), b.leastCost()) })
	rest, limit := list, math.Inf(1)
	for len(rest) > 0 && math.IsInf(limit, 1) && ctx.Err() == nil {
		c := rest[0]
		if m.decide(c, limit); c.feasible && c.cost() > 0 {
			limit = c.cost() * farCost
		}
		rest = rest[1:]
	}
	each(ctx, rest, func(c *candidate) { m.decide(c, limit) })
	var all []choice
	for _, c := range list {
		all = append(all, c.choice)
	}
	return all, ctx.Err()
}

// each calls f with every candidate, on all cores, until ctx ends.
func each(ctx context.Context, list []*candidate, f func(*candidate)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(list)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return
				}
				f(list[i])
			}
		})
	}
	wg.Wait()
}

// candidate is a choice on its way to be judged.
type candidate struct {
	choice
	kinds func() []machine // its type in every draw
	least int              // nodes, by its fluid shape; 0: none will do
}

// leastCost is what the least nodes cost an hour; of unknown prices it is zero,
// so that they are judged.
func (c *candidate) leastCost() float64 {
	if v := float64(c.least) * c.kind.USDPerHour; v > 0 {
		return v
	}
	return 0
}

func (m *maker) choices(types []catalog.Type) []*candidate {
	var list []*candidate
	red := &m.in.req.Redundancy
	for i := range types {
		t := &types[i]
		kinds := sync.OnceValue(func() []machine { return m.in.machines(t, m.draws) })
		for _, copies := range red.Copies {
			for _, racks := range red.Racks {
				c := &candidate{kinds: kinds}
				c.kind, c.layout = t, Layout{Copies: copies, Racks: racks, FailNodes: red.FailNodes, FailRacks: red.FailRacks}
				list = append(list, c)
			}
		}
	}
	return list
}

// unfit says why no number of nodes of the type in such a layout can do.
func (m *maker) unfit(t *catalog.Type, l Layout) error {
	switch {
	case l.Copies <= l.FailNodes:
		return fmt.Errorf("RF %d: the loss of %s at once takes all copies of a partition; RF %d at least", l.Copies, counted(l.FailNodes), l.FailNodes+1)
	case l.FailRacks > 0 && l.Racks <= l.FailRacks:
		return fmt.Errorf("%d racks: none is left when %d fail", l.Racks, l.FailRacks)
	case l.FailRacks > 0 && l.Copies <= l.FailRacks:
		return fmt.Errorf("RF %d: the loss of %s takes all copies of a partition; RF %d at least", l.Copies, plural(l.FailRacks, "rack"), l.FailRacks+1)
	case math.IsNaN(t.NetBase) && math.IsNaN(t.NetBurst):
		return errors.New("its network bandwidth is unknown: add net_base_gbps to the catalog")
	}
	if m.base.budget > 0 && math.IsNaN(t.USDPerHour) {
		return errors.New("its price is unknown, and there is a budget: add od_usd_h to the catalog")
	}
	if need, link := m.shipped(); link > 0 && link <= need {
		return fmt.Errorf("XDR to %s ships %.3g MB/s at the peak, and the link carries %.3g: raise xdr.link", plural(m.in.req.XDR.Targets, "cluster"), need/1e6, link/1e6)
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
	n, rule = l.Copies+l.FailNodes, fmt.Sprintf("the %d copies of RF %d must find a node each after the loss of %d", l.Copies, l.Copies, l.FailNodes)
	if n == 1 {
		rule = "RF 1 without a failure to survive"
	}
	if k := 2*l.FailNodes + 1; m.in.req.Redundancy.Strong && k > n {
		n, rule = k, fmt.Sprintf("strong consistency needs a majority after the loss of %s", counted(l.FailNodes))
	}
	if l.Racks > 1 {
		if rest := n % l.Racks; rest != 0 || n < l.Racks {
			n, rule = (n+l.Racks-1)/l.Racks*l.Racks, fmt.Sprintf("the %d racks are to have equally many nodes", l.Racks)
		}
	}
	return n, rule
}

// structure is the state of what a rule forbids.
const structure = "structure"

// explainFewer judges a step fewer nodes in the same way and notes what is
// over its limit.
func (m *maker) explainFewer(c *choice, kinds []machine, n, first int, rule string) {
	f, red := fewer{nodes: n, failing: 1}, &m.in.req.Redundancy
	if n < first {
		f.state, f.resource, f.use = structure, "nodes", float64(first)/float64(max(n, 1))
		f.text = fmt.Sprintf("the least is %s: %s", counted(first), rule)
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
		f.text = fmt.Sprintf("with %s %s", counted(n), red.useWords(state, resource, use))
	} else {
		p, over := probability(s, 1, m.draws, kinds, 0)
		state, resource = mostOver(&over)
		use = m.medianOver(s, kinds, state, resource)
		f.failing = 1 - p
		f.text = fmt.Sprintf("%s are enough at the median of every input, but fail in %.1f %% of the draws (allowed: %.1f %%), mostly because %s is over its limit%s, by a median of %s",
			counted(n), (1-p)*100, (1-m.in.req.Probability)*100, resourceWords(resource), red.when(state, resource), percent(use-1))
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
