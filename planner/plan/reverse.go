package plan

import (
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
// Copies and racks of 0 are the first of the requirements that survive the
// failures. ctx ends it early with its error.
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
	l, err := m.reverseLayout(t, copies, racks)
	if err != nil {
		return nil, err
	}
	kinds := m.in.machines(t, m.draws)
	var list []Capacity
	for _, n := range sizes {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l.Nodes = n
		if first, rule := m.least(l); n < first || n > MaxNodes || n%l.Racks != 0 {
			return nil, fmt.Errorf("%d nodes: want %d to %d, and a multiple of the %d racks (%s)", n, first, MaxNodes, l.Racks, rule)
		}
		list = append(list, m.capacity(t, l, kinds))
	}
	return list, nil
}

func (m *maker) reverseLayout(t *catalog.Type, copies, racks int) (Layout, error) {
	red := &m.in.req.Redundancy
	l := Layout{Copies: copies, Racks: racks, FailNodes: red.FailNodes, FailRacks: red.FailRacks}
	if l.Racks == 0 {
		l.Racks = red.Racks[0]
	}
	if l.Copies == 0 {
		l.Copies = red.Copies[len(red.Copies)-1]
		for _, c := range red.Copies {
			if c > max(l.FailNodes, l.FailRacks) {
				l.Copies = c
				break
			}
		}
	}
	if l.Copies < 1 || l.Copies > maxCopies || l.Racks < 1 {
		return l, fmt.Errorf("RF %d in %d racks: want 1 to %d copies and at least one rack", l.Copies, l.Racks, maxCopies)
	}
	if err := m.unfit(t, l); err != nil {
		return l, fmt.Errorf("%s, RF %d: %w", t.Name, l.Copies, err)
	}
	return l, nil
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
