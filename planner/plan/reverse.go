package plan

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"headroom/node/cluster"
	"headroom/planner/catalog"
)

// Capacity is what a given cluster takes, as multiples of the requirements:
// the greatest with which every state holds, with the required probability.
type Capacity struct {
	Type       string   `json:"type"`
	Nodes      int      `json:"nodes"`
	Copies     int      `json:"rf"`
	Racks      int      `json:"racks"`
	USDPerHour *float64 `json:"usd_per_hour"`
	// Rates: operations alone are multiplied; Data: records alone; Both. Null:
	// beyond mostScale, nothing in the plan limits it. Zero: nothing fits.
	Rates *float64 `json:"rates"`
	Data  *float64 `json:"data"`
	Both  *float64 `json:"both"`
	// What binds at Both.
	Binding *Binding `json:"binding"`
	// Of the cluster at Both.
	Records     float64  `json:"records"`
	ReadsPerSec float64  `json:"reads_per_s"` // at the peak
	WritesPerS  float64  `json:"writes_per_s"`
	RebuildSec  *float64 `json:"rebuild_s"`
	MTTDLYears  *float64 `json:"mttdl_years"`
	// CopiesSpread is the fullest node's partitions against the mean.
	CopiesSpread float64 `json:"copies_spread"`
	// OneMore is how many partitions are unavailable when one node more dies
	// than there are copies to lose: RF neighbours at once.
	OneMore int    `json:"unavailable_after_rf_losses"`
	Note    string `json:"note,omitempty"`
}

// mostScale bounds the multiples that are tried.
const mostScale = 1e6

// scaled returns the demand with data and rates multiplied.
func (d demand) scaled(data, rates float64) demand {
	for _, v := range []*float64{&d.records, &d.index, &d.memory, &d.flash, &d.body, &d.flashRecords, &d.flashPages} {
		*v *= data
	}
	for _, v := range []*float64{&d.reads, &d.writes, &d.readBytes, &d.writeBytes, &d.flashReads, &d.flashTouched, &d.flashBytes, &d.flashAverage, &d.syncWrites} {
		*v *= rates
	}
	return d
}

// Reverse computes what clusters of one type take, for each number of nodes.
// Copies of 0 are those of the requirements with which it takes most, racks of
// 0 the first that they name. ctx ends it early with its error.
func Reverse(ctx context.Context, input Input, kind string, copies, racks int, sizes []int) ([]Capacity, error) {
	m, types, err := newMaker(&input)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(types, func(t catalog.Type) bool { return t.Name == kind })
	if i < 0 {
		return nil, fmt.Errorf("no machine type %q in the catalog; headroom-planner catalog lists them", kind)
	}
	t := &types[i]
	layouts, err := m.reverseLayouts(t, copies, racks)
	if err != nil {
		return nil, err
	}
	kinds := m.in.machines(t, m.draws)
	var list []Capacity
	for _, n := range sizes {
		best, why := Capacity{}, error(nil)
		for _, l := range layouts {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if l.Nodes = n; m.wrongSize(l) != nil {
				why = cmp.Or(why, m.wrongSize(l))
				continue
			}
			if c := m.capacity(t, l, kinds); best.Nodes == 0 || most(c.Both) > most(best.Both) {
				best = c
			}
		}
		if best.Nodes == 0 {
			return nil, why
		}
		list = append(list, best)
	}
	return list, nil
}

// most is a multiple of a Capacity, which is nil where there is no limit.
func most(v *float64) float64 {
	if v == nil {
		return math.Inf(1)
	}
	return *v
}

// wrongSize says why there can be no such number of nodes.
func (m *maker) wrongSize(l Layout) error {
	first, rule := m.least(l)
	if l.Nodes >= first && l.Nodes <= MaxNodes && l.Nodes%l.Racks == 0 {
		return nil
	}
	racks := ""
	if l.Racks > 1 {
		racks = fmt.Sprintf(", a multiple of the %d racks", l.Racks)
	}
	return fmt.Errorf("%s: want %d to %d%s (%s)", counted(l.Nodes), first, MaxNodes, racks, rule)
}

// reverseLayouts are the layouts to try: with the given copies and racks, or
// those of the requirements that survive their failures.
func (m *maker) reverseLayouts(t *catalog.Type, copies, racks int) ([]Layout, error) {
	red := &m.in.req.Redundancy
	l := Layout{Racks: racks, FailNodes: red.FailNodes, FailRacks: red.FailRacks}
	if l.Racks == 0 {
		l.Racks = red.Racks[0]
	}
	tries := red.Copies
	if copies != 0 {
		tries = []int{copies}
	}
	var list []Layout
	var why error
	for _, l.Copies = range tries {
		if l.Copies < 1 || l.Copies > maxCopies || l.Racks < 1 {
			return nil, fmt.Errorf("RF %d in %d racks: want 1 to %d copies and at least one rack", l.Copies, l.Racks, maxCopies)
		}
		if err := m.unfit(t, l); err != nil {
			why = cmp.Or(why, fmt.Errorf("%s, RF %d: %w", t.Name, l.Copies, err))
			continue
		}
		list = append(list, l)
	}
	if len(list) == 0 {
		return nil, why
	}
	return list, nil
}

func (m *maker) capacity(t *catalog.Type, l Layout, kinds []machine) Capacity {
	s := m.shapes.Of(l)
	k := m.in.machine(t, m.in.median())
	both := m.largest(s, t, &k, kinds, 1, 1)
	out := Capacity{Type: t.Name, Nodes: l.Nodes, Copies: l.Copies, Racks: l.Racks, USDPerHour: finite(float64(l.Nodes) * t.USDPerHour),
		Rates: finite(m.largest(s, t, &k, kinds, 0, 1)), Data: finite(m.largest(s, t, &k, kinds, 1, 0)), Both: finite(both),
		CopiesSpread: s.States[Healthy].Stored * float64(l.Nodes) / float64(l.Copies),
		OneMore:      l.Unavailable(l.Table(), l.nodes(1, min(l.Copies, l.Nodes)))}
	if math.IsInf(both, 1) || both == 0 {
		both = 1
	}
	d := m.base.scaled(both, both)
	var at loads
	judge(s, 1, &d, &k, &at)
	m.latency(s, t, &d, &k, &at, searchSamples)
	state, resource, use := at.worst()
	out.Binding = &Binding{stateNames[state], resourceNames[resource], finite(use)}
	out.Records, out.ReadsPerSec, out.WritesPerS = d.records, d.reads, d.writes
	out.RebuildSec, out.MTTDLYears = finite(at.rebuild[RollingRestart]), finite(at.mttdl/secondsPerYear)
	if l.Nodes > cluster.MaxMembers {
		out.Note = fmt.Sprintf("on paper: this cluster agrees on %d nodes at most", cluster.MaxMembers)
	}
	return out
}

// largest bisects the greatest multiple that holds: of data, of rates, or of
// both, each taking part (1) or staying (0). +Inf beyond mostScale.
func (m *maker) largest(s *Shape, t *catalog.Type, k *machine, kinds []machine, data, rates float64) float64 {
	holds := func(x float64) bool {
		grow := func(takesPart float64) float64 { return 1 + (x-1)*takesPart }
		var l loads
		base := m.base.scaled(grow(data), grow(rates))
		if judge(s, 1, &base, k, &l); !l.feasible() {
			return false
		}
		if m.latency(s, t, &base, k, &l, searchSamples); !l.feasible() {
			return false
		}
		good, need := 0, m.in.req.Probability*float64(len(kinds))
		for i := range kinds {
			d := m.draws.demands[i].scaled(grow(data), grow(rates))
			if judge(s, 1, &d, &kinds[i], &l); l.feasible() {
				good++
			}
			if float64(good+len(kinds)-1-i) < need {
				return false
			}
		}
		return true
	}
	low, high := 1e-6, 1.0
	if !holds(low) {
		return 0
	}
	for holds(high) {
		if low, high = high, high*4; high > mostScale {
			return math.Inf(1)
		}
	}
	for range 20 {
		if mid := math.Sqrt(low * high); holds(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}
