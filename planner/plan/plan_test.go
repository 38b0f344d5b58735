package plan

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"headroom/planner/catalog"
	"headroom/planner/model"
)

// pool is shared by the tests: most ask for the same layouts.
var pool = NewShapes()

// types is a small catalog: one type for each thing that may bind.
func types(t testing.TB) []catalog.Type {
	t.Helper()
	const text = `type,vcpu,ram_gib,nvme_n,nvme_gb,read_iops,write_iops,net_base_gbps,net_burst_gbps,od_usd_h,confidence,source,date
even,8,64,1,1000,200000,100000,10,10,1,published,test,undated
cores,32,64,1,1000,200000,100000,10,10,3,published,test,undated
memory,8,256,1,1000,200000,100000,10,10,2,published,test,undated
nodisk,8,64,0,,,,10,10,0.8,published,test,undated
blind,8,64,1,1000,,,10,10,0.9,published,test,undated
unpriced,8,64,1,1000,200000,100000,10,10,,published,test,undated
`
	list, err := catalog.Parse("test.csv", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// answers remembers plans by their overrides: many tests begin from one.
var answers = map[string]*Plan{}

func answer(t testing.TB, text string, sets ...string) *Plan {
	t.Helper()
	key := text + strings.Join(sets, " ")
	if p := answers[key]; p != nil {
		return p
	}
	p := makePlan(t, text, sets...)
	answers[key] = p
	return p
}

func makePlan(t testing.TB, text string, sets ...string) *Plan {
	t.Helper()
	r := parse(t, text)
	for _, s := range sets {
		if err := r.Set(s); err != nil {
			t.Fatalf("--set %s: %v", s, err)
		}
	}
	p, err := Make(t.Context(), Input{Requirements: r, Types: types(t), Shapes: pool})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fewestOf is the fewest nodes of a type, a large number for none.
func fewestOf(p *Plan, kind string) int {
	best := math.MaxInt
	for i := range p.Candidates {
		if c := &p.Candidates[i]; c.Type == kind && c.Feasible {
			best = min(best, c.Nodes)
		}
	}
	return best
}

const flashy = `version: 1
namespaces:
  - name: a
    storage: flash
    records: 400M
    value-size: 1KiB
    reads: 150k/s
    writes: 50k/s
  - name: b
    records: 50M
    value-size: 200B
    reads: 50k/s
targets: {rebuild: 1h}
draws: 100
max-nodes: 64
`

func TestAnswerIsMinimalAndSaysWhy(t *testing.T) {
	p := answer(t, flashy)
	best := p.Best()
	if best == nil || !best.Feasible || best.PFeasible < 0.9 {
		t.Fatalf("answer %+v", best)
	}
	for _, c := range p.Candidates {
		if c.Feasible && c.USDPerHour != nil && *c.USDPerHour < *best.USDPerHour-1e-9 {
			t.Errorf("%s costs %g, the answer %g", c.Type, *c.USDPerHour, *best.USDPerHour)
		}
		if !c.Feasible {
			continue
		}
		if c.WhyNotFewer == nil || c.WhyNotFewer.Nodes >= c.Nodes || *c.WhyNotFewer.Utilisation <= 1 || c.WhyNotFewer.Text == "" {
			t.Errorf("%s with %d nodes: why not fewer is %+v", c.Type, c.Nodes, c.WhyNotFewer)
		}
		for _, s := range c.States {
			for r, v := range s.Resources {
				if v == nil || *v > 1+tolerance || *v < 0 {
					t.Errorf("%s in %s: %s at %v", c.Type, s.State, r, v)
				}
			}
		}
	}
	if p.Summary == "" || !strings.Contains(p.Summary, "(prior)") || p.NodeConfig == "" || len(p.Curve) == 0 || p.LeastRegret == nil {
		t.Errorf("the answer lacks parts: %q", p.Summary)
	}
	for _, want := range []string{"device: ", "defrag-lwm: ", "replication-factor: 2", "memory-limit: "} {
		if !strings.Contains(p.NodeConfig, want) {
			t.Errorf("the node's configuration lacks %q:\n%s", want, p.NodeConfig)
		}
	}
}

func TestOneNodeFewerFailsWhenAskedDirectly(t *testing.T) {
	p := answer(t, flashy)
	best := p.Best()
	q := answer(t, flashy, fmt.Sprintf("max-nodes=%d", best.Nodes-1))
	if n := fewestOf(q, best.Type); n != math.MaxInt {
		t.Errorf("%d nodes were called the least, but %d do", best.Nodes, n)
	}
}

func TestWithoutModelNoPercentileAndEveryFigureIsMarked(t *testing.T) {
	p := answer(t, flashy)
	if !p.Model.Prior {
		t.Error("the model is not marked as prior")
	}
	for _, c := range p.Candidates {
		for _, s := range c.States {
			if s.P99 != nil || s.P50 != nil || len(s.Unsupported) == 0 {
				t.Errorf("%s in %s has a percentile without a model", c.Type, s.State)
			}
		}
	}
	priors := 0
	for _, a := range p.Assumptions {
		if a.Prior {
			priors++
		}
	}
	if priors < 4 {
		t.Errorf("%d assumptions are marked as priors: %+v", priors, p.Assumptions)
	}
}

func TestUnfitTypesSayWhy(t *testing.T) {
	p := answer(t, flashy)
	for _, c := range p.Candidates {
		want := map[string]string{"nodisk": "no local device", "blind": "unknown"}[c.Type]
		if want != "" && (c.Feasible || !strings.Contains(c.Reason, want)) {
			t.Errorf("%s: feasible %v, %q", c.Type, c.Feasible, c.Reason)
		}
		if c.Type == "unpriced" && (c.USDPerHour != nil || !c.Feasible) {
			t.Errorf("unpriced: %+v", c)
		}
	}
	if p.Best().Type == "unpriced" {
		t.Error("the cheapest has no price")
	}
}

func TestPlanFileRoundTripsWithoutNaN(t *testing.T) {
	for _, sets := range [][]string{nil, {"max-nodes=3"}, {"a.records=10G", "max-nodes=5"}} {
		p := answer(t, flashy, sets...)
		path := filepath.Join(t.TempDir(), "plan.json")
		if err := p.Write(path); err != nil {
			t.Fatal(err)
		}
		q, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := json.Marshal(p)
		b, _ := json.Marshal(q)
		if string(a) != string(b) {
			t.Errorf("%v: the plan changes in its file", sets)
		}
		if diff, err := Compare(p, q); err != nil || len(diff) > 0 {
			t.Errorf("a plan differs from itself: %v, %v", diff, err)
		}
	}
}

func TestNothingFeasibleIsAnAnswer(t *testing.T) {
	p := answer(t, flashy, "a.records=100G", "max-nodes=20")
	if p.Answer != nil || p.Summary == "" {
		t.Errorf("answer %v, %q", p.Answer, p.Summary)
	}
	for _, c := range p.Candidates {
		if c.Feasible || c.Reason == "" {
			t.Errorf("%s: %+v", c.Type, c)
		}
	}
}

// TestMore… are metamorphic: whatever the answer is, a harder question never
// has a smaller one.
func TestHarderRequirementsNeverNeedFewerNodes(t *testing.T) {
	f := func(base []string, harder ...string) {
		t.Helper()
		a, b := answer(t, flashy, base...), answer(t, flashy, append(append([]string{}, base...), harder...)...)
		for _, kind := range []string{"even", "cores", "memory"} {
			if x, y := fewestOf(a, kind), fewestOf(b, kind); y < x {
				t.Errorf("%s: %d nodes, with %v only %d", kind, x, harder, y)
			}
		}
	}
	for _, n := range []string{"410M", "500M", "800M", "1600M"} {
		f(nil, "a.records="+n)
	}
	for _, rate := range []string{"51k/s", "70k/s", "200k/s"} {
		f(nil, "a.writes="+rate)
	}
	f(nil, "a.value-size=1100B")
	f(nil, "a.value-size=4KiB")
	f(nil, "redundancy.fail-nodes=2", "redundancy.replication-factor=3")
	f([]string{"redundancy.replication-factor=3"}, "redundancy.fail-nodes=2")
	f([]string{"redundancy.replication-factor=4", "redundancy.fail-nodes=2"}, "redundancy.fail-nodes=3")
	f(nil, "redundancy.replication-factor=3")
	f([]string{"redundancy.racks=3"}, "redundancy.fail-racks=1")
	f(nil, "targets.rebuild=5m")
	f(nil, "targets.durability-nines=4")
	f([]string{"targets.durability-nines=4"}, "targets.durability-nines=5")
	f(nil, "limits.cpu=30%")
	f(nil, "a.peak-factor=3")
	f(nil, "probability=99%")
	f(nil, "horizon-months=12", "a.growth-per-month=5%")
}

func TestBiggerMachinesNeverNeedMore(t *testing.T) {
	r := parse(t, flashy)
	base := types(t)[:1]
	count := func(change func(*catalog.Type)) int {
		k := base[0]
		change(&k)
		p, err := Make(t.Context(), Input{Requirements: r, Types: []catalog.Type{k}, Shapes: pool})
		if err != nil {
			t.Fatal(err)
		}
		return fewestOf(p, k.Name)
	}
	n := count(func(*catalog.Type) {})
	for name, change := range map[string]func(*catalog.Type){
		"device": func(k *catalog.Type) { k.DeviceBytes *= 1.3 }, "second device": func(k *catalog.Type) { k.Devices = 2 },
		"memory": func(k *catalog.Type) { k.RAMBytes *= 1.5 }, "cores": func(k *catalog.Type) { k.VCPU *= 2 },
		"IOPS": func(k *catalog.Type) { k.ReadIOPS *= 2; k.WriteIOPS *= 2 }, "network": func(k *catalog.Type) { k.NetBase *= 2 },
	} {
		if more := count(change); more > n {
			t.Errorf("%d nodes, with more %s %d", n, name, more)
		}
	}
}

func TestScalingEverythingScalesTheNodes(t *testing.T) {
	a := answer(t, flashy)
	for _, k := range []int{2, 4} {
		b := answer(t, flashy, fmt.Sprintf("a.records=%dM", 400*k), fmt.Sprintf("b.records=%dM", 50*k), fmt.Sprintf("a.reads=%dk/s", 150*k),
			fmt.Sprintf("b.reads=%dk/s", 50*k), fmt.Sprintf("a.writes=%dk/s", 50*k))
		for _, kind := range []string{"even", "memory"} {
			x, y := fewestOf(a, kind), fewestOf(b, kind)
			// What one node more or less carries, on both sides, and what the
			// lost node weighs: a few nodes, not a share.
			if y > k*x || y < k*(x-2) {
				t.Errorf("%s: %d nodes, %d for %d times the load", kind, x, y, k)
			}
		}
	}
}

func TestSameSeedSamePlan(t *testing.T) {
	a, _ := json.Marshal(makePlan(t, flashy, "a.records=300M,400M,600M"))
	b, _ := json.Marshal(makePlan(t, flashy, "a.records=300M,400M,600M"))
	if string(a) != string(b) {
		t.Error("two plans of the same requirements differ")
	}
}

func TestUncertaintyNeedsNoFewerAndShowsInTheTornado(t *testing.T) {
	a, b := answer(t, flashy), answer(t, flashy, "a.writes=40k/s,50k/s,90k/s")
	if x, y := fewestOf(a, "even"), fewestOf(b, "even"); y < x {
		t.Errorf("%d nodes for a point, %d for a range above it", x, y)
	}
	found := false
	for _, s := range b.Tornado {
		found = found || s.Input == "a.writes" && s.P90 > s.P10
	}
	if !found {
		t.Errorf("tornado %+v lacks the uncertain writes", b.Tornado)
	}
	last := -1.0
	for _, c := range b.Curve {
		if c.PFeasible < last-0.05 {
			t.Errorf("P(feasible) falls with nodes: %+v", b.Curve)
		}
		last = c.PFeasible
	}
}

func TestTrapsGiveAnAnswerOrAReason(t *testing.T) {
	f := func(feasible bool, reason string, sets ...string) {
		t.Helper()
		p := answer(t, flashy, sets...)
		if (p.Answer != nil) != feasible || !strings.Contains(p.Summary, reason) {
			t.Errorf("%v: answer %v, %q", sets, p.Answer, p.Summary)
		}
		if text, err := json.Marshal(p); err != nil || strings.Contains(string(text), "NaN") {
			t.Errorf("%v: %v", sets, err)
		}
	}
	f(false, "RF 1: the loss of 1 node at once", "redundancy.replication-factor=1")
	f(true, "single copy", "redundancy.replication-factor=1", "redundancy.fail-nodes=0")
	f(true, "2 racks", "redundancy.replication-factor=3", "redundancy.racks=2") // two copies share a rack
	f(false, "takes all copies", "redundancy.fail-nodes=2")
	f(false, "max-nodes is 2", "max-nodes=2")
	f(true, "", "a.writes=0/s")
	f(true, "", "a.writes=0/s", "a.reads=0/s", "b.reads=0/s")
	f(true, "", "a.value-size=1B", "b.value-size=1B")
	f(true, "", "a.value-size=1000KiB", "a.records=100k", "a.reads=100/s", "a.writes=10/s")
	f(true, "", "a.records=1", "b.records=1")
	f(false, "at", "budget-usd-per-hour=0.1")
}

func TestHottestRecordBoundsTheCluster(t *testing.T) {
	p := answer(t, flashy, "a.zipf=1.2", "a.reads=30M/s")
	if p.Answer != nil {
		t.Errorf("%d nodes serve 30 million reads a second of which a fifth go to one record", p.Best().Nodes)
	}
	near := func(exponent, n, want float64) {
		t.Helper()
		if got := hottestShare(exponent, n); math.Abs(got-want) > 0.01*want {
			t.Errorf("hottest share at exponent %g of %g records = %g, want %g", exponent, n, got, want)
		}
	}
	near(1, 1000, 1/7.48547)
	near(0.99, 1e6, 1/15.392) // the generalised harmonic number as YCSB computes it
	near(0, 10, 0)
}

// measured is a model as fit would write it, of the type "even".
func measured() *model.Model {
	m := model.Priors()
	m.Prior, m.Name, m.Host.Type = false, "test", "even"
	for _, t := range []*model.Triple{&m.ReadCPU, &m.WriteCPU, &m.ReplicaCPU, &m.PerKiBCPU, &m.MigrateCPU} {
		*t = model.Point(t.P50)
	}
	m.Read, m.Write = model.Lognormal(150, 0.5), model.Lognormal(400, 0.5)
	m.Devices = map[string]model.Device{"nvme": {Channels: 16, Read: model.Lognormal(80, 0.3), Write: model.Lognormal(100, 0.5),
		ReadIOPS: 200e3, WriteIOPS: 100e3, ReadBytes: 8e8, WriteBytes: 4e8}}
	return m
}

func withModel(t *testing.T, m *model.Model, sets ...string) *Plan {
	t.Helper()
	r := parse(t, flashy)
	for _, s := range sets {
		if err := r.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Make(t.Context(), Input{Requirements: r, Model: m, Types: types(t)[:1], Shapes: pool})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMeasuredModelPredictsPercentiles(t *testing.T) {
	p := withModel(t, measured(), "targets.read-p99=2ms", "targets.write-p99=4ms")
	best := p.Best()
	if best == nil {
		t.Fatal(p.Summary)
	}
	for _, s := range best.States {
		if s.P50 == nil || s.P99 == nil || s.P999 == nil || !(*s.P50 < *s.P99 && *s.P99 < *s.P999) || *s.P99 > 2 {
			t.Errorf("%s: p50 %v, p99 %v, p99.9 %v", s.State, s.P50, s.P99, s.P999)
		}
		// A read takes at least what network and device take on a quiet node.
		if s.P50 != nil && *s.P50 < 0.15 {
			t.Errorf("%s: p50 %g ms is below what a quiet node takes", s.State, *s.P50)
		}
	}
	if best.Transferred {
		t.Error("the measured type is called transferred")
	}
}

func TestAModelThatKnowsLittleMarksWhatRestsOnPriors(t *testing.T) {
	mo := measured()
	if text := withModel(t, mo).Summary; strings.Contains(text, "(prior)") {
		t.Errorf("all was measured, but: %q", text)
	}
	mo.Unmeasured = []string{"read_cpu_us", "migrate_records_per_s"}
	p := withModel(t, mo)
	if !p.Model.PriorCPU || !p.Model.PriorPace || strings.Count(p.Summary, "(prior)") != 3 || strings.Contains(p.Summary, "150 ms (prior)") {
		t.Errorf("%+v: %q; want the probability, the rebuild and the loss marked, and not the failover", p.Model, p.Summary)
	}
}

func TestMixtureKeepsMeanAndTail(t *testing.T) {
	a, b := model.Lognormal(80, 0.3), model.Lognormal(400, 0.5)
	for _, share := range []float64{0, 0.001, 0.3, 0.9, 1} {
		m := mixture(a, b, share)
		want := share*a.Mean() + (1-share)*b.Mean()
		if math.Abs(m.Mean()-want) > 0.02*want {
			t.Errorf("share %g: mean %g, want %g", share, m.Mean(), want)
		}
	}
	// Of one tenth large ones, the slowest hundredth are the slowest tenth of those.
	if got, want := mixture(a, b, 0.9).Quantile(0.99), b.Quantile(0.9); math.Abs(got-want) > 0.03*want {
		t.Errorf("p99 %g, want %g", got, want)
	}
}

func TestTighterSLONeverNeedsFewer(t *testing.T) {
	last := 0
	for _, slo := range []string{"10ms", "2ms", "900us", "800us", "700us"} {
		n := fewestOf(withModel(t, measured(), "targets.read-p99="+slo, "max-nodes=24"), "even")
		if n < last {
			t.Errorf("p99 %s needs %d nodes, a looser one %d", slo, n, last)
		}
		last = n
	}
	if last != math.MaxInt && last < 3 {
		t.Errorf("the tightest target needs %d nodes", last)
	}
}

func TestPapersAreMarked(t *testing.T) {
	p := answer(t, flashy, "redundancy.mode=sc", "redundancy.sites=2", "xdr.targets=1", "xdr.link=10Gbps", "xdr.outage=1h")
	if len(p.OnPaper) != 3 {
		t.Fatalf("on paper: %q", p.OnPaper)
	}
	for _, s := range p.OnPaper {
		if !strings.Contains(s, "not verifiable by this cluster") {
			t.Errorf("%q is not marked", s)
		}
	}
}

// TestTheConfiguredRateRebuildsARackInTime: migrate-rate limits what a node
// sends in any state, and a rack is many times a node.
func TestTheConfiguredRateRebuildsARackInTime(t *testing.T) {
	rate := func(sets ...string) float64 {
		t.Helper()
		p := answer(t, flashy, append([]string{"redundancy.racks=3", "targets.rebuild=1h"}, sets...)...)
		_, rest, ok := strings.Cut(p.NodeConfig, "within 60 min needs ")
		var v float64
		var unit string
		if _, err := fmt.Sscan(rest, &v, &unit); err != nil || !ok || unit != "MiB/s" {
			t.Fatalf("%q: %v", p.NodeConfig, err)
		}
		return v * float64(p.Best().Nodes)
	}
	if node, rack := rate(), rate("redundancy.fail-racks=1"); rack < 2*node {
		t.Errorf("all nodes together: %g MiB/s for a node, %g for a rack", node, rack)
	}
}

func TestShippingTakesNetworkAndALinkThatCarriesIt(t *testing.T) {
	busy := []string{"writes=500k/s", "value-size=2KiB"}
	a, b := answer(t, small, busy...), answer(t, small, append(busy, "xdr.targets=3")...)
	if x, y := fewestOf(a, "cores"), fewestOf(b, "cores"); y <= x || y == math.MaxInt {
		t.Errorf("%d nodes, with three clusters to ship to %d: want more, their network binds", x, y)
	}
	p := answer(t, flashy, "xdr.targets=1", "xdr.link=100Mbps")
	if p.Answer != nil || !strings.Contains(p.Summary, "raise xdr.link") {
		t.Errorf("a link of 12.5 MB/s carries 50,000 writes of 1 KiB a second: %q", p.Summary)
	}
}

func TestABudgetIsForAllSites(t *testing.T) {
	one := answer(t, flashy)
	budget := fmt.Sprintf("budget-usd-per-hour=%g", *one.Best().USDPerHour*1.5)
	if p := answer(t, flashy, budget); p.Answer == nil {
		t.Error(p.Summary)
	}
	if p := answer(t, flashy, budget, "redundancy.sites=2"); p.Answer != nil || !strings.Contains(p.Summary, "budget") {
		t.Errorf("two sites for the price of one and a half: %q", p.Summary)
	}
	if p := answer(t, flashy, "redundancy.sites=2"); !strings.Contains(p.Summary, "each of 2 sites") {
		t.Error(p.Summary)
	}
}

func TestDriftNamesWhatIsBeyondThePlan(t *testing.T) {
	p := answer(t, strings.ReplaceAll(small, "name: a", "name: default"))
	best := p.Best()
	seen := Seen{Records: 2e6, ReadsPerSec: 9_000, WritesPerS: 1_500, MostBytes: best.BytesPerNode}
	lines, err := p.Drift(Observed{Nodes: best.Nodes, Members: best.Nodes, Namespaces: map[string]Seen{"default": seen}})
	if err != nil {
		t.Fatal(err)
	}
	over := map[string]bool{}
	for _, l := range lines {
		over[l.What] = l.Over
	}
	want := map[string]bool{"nodes": false, "default records": false, "default reads": false, "default writes": true, "bytes per node": false}
	if d := cmp.Diff(want, over); d != "" {
		t.Errorf("beyond the plan:\n%s", d)
	}
	seen.Records /= 4
	if lines, _ = p.Drift(Observed{Nodes: best.Nodes, Members: best.Nodes, Namespaces: map[string]Seen{"default": seen}}); !strings.Contains(lines[len(lines)-1].Text, "4 times what was planned") {
		t.Errorf("a quarter of the records fill the nodes as planned, and nothing says why: %+v", lines)
	}
	lines, err = p.Drift(Observed{Nodes: 1, Members: best.Nodes - 1, Namespaces: map[string]Seen{"other": {Records: 1}}})
	if err != nil || len(lines) < 3 || !lines[0].Over || !lines[1].Over {
		t.Errorf("a node and the namespace are missing: %+v, %v", lines, err)
	}
}

func TestReverseInvertsThePlan(t *testing.T) {
	p := answer(t, flashy)
	best := p.Best()
	r := parse(t, flashy)
	list, err := Reverse(t.Context(), Input{Requirements: r, Types: types(t), Shapes: pool}, best.Type, best.Copies, best.Racks, []int{best.Nodes, best.Nodes - 1, 2 * best.Nodes})
	if err != nil {
		t.Fatal(err)
	}
	if *list[0].Both < 1 || *list[1].Both >= 1 || *list[2].Both <= *list[0].Both {
		t.Errorf("multiples %g with the plan's nodes, %g with one fewer, %g with twice as many", *list[0].Both, *list[1].Both, *list[2].Both)
	}
	if err := r.Set("redundancy.replication-factor=choose", "targets.durability-nines=7"); err != nil {
		t.Fatal(err)
	}
	q := answer(t, flashy, "redundancy.replication-factor=choose", "targets.durability-nines=7").Best()
	if list, err = Reverse(t.Context(), Input{Requirements: r, Types: types(t), Shapes: pool}, q.Type, 0, 0, []int{q.Nodes}); err != nil || *list[0].Both < 1 || list[0].Copies < q.Copies {
		t.Errorf("a plan for %d nodes with RF %d, in reverse: %+v, %v", q.Nodes, q.Copies, list, err)
	}
	if _, err := Reverse(t.Context(), Input{Requirements: r, Types: types(t), Shapes: pool}, "none", 2, 1, []int{5}); err == nil {
		t.Error("an unknown type: no error")
	}
	if _, err := Reverse(t.Context(), Input{Requirements: r, Types: types(t), Shapes: pool}, "even", 2, 1, []int{2}); err == nil {
		t.Error("two nodes for two copies and one failure: no error")
	}
}

func TestTargetsThatAreNotJudgedAreNamed(t *testing.T) {
	p, err := Load("profiles")
	if err != nil {
		t.Fatal(err)
	}
	p.Draws = 100
	got, err := Make(t.Context(), Input{Requirements: p, Types: types(t), Shapes: pool})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(got.Assumptions, func(a Assumption) bool { return strings.Contains(a.Text, "p99 are not judged") }) {
		t.Errorf("no word about the p99 targets in %v", got.Assumptions)
	}
}
