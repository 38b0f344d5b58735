package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"headroom/loadgen/result"
	"headroom/node/disk/profile"
	"headroom/planner/model"
	"headroom/planner/plan"
)

// planOf is a plan of five nodes, of which one may fail, bound as said.
func planOf(resource string, fewer float64) *plan.Plan {
	r := plan.Defaults()
	r.Name = "test"
	r.Namespaces = []plan.Namespace{{Name: "default", Records: model.Point(5e8), ValueBytes: model.Point(100), Reads: model.Point(4e4), Writes: model.Point(1e4),
		PeakFactor: model.Point(1), Bins: model.Point(1), BinName: model.Point(1)}}
	use, rebuild, answer := 0.9, 600.0, 0
	return &plan.Plan{Format: plan.Format, Requirements: &r, Answer: &answer, Candidates: []plan.Candidate{{Type: "t", Nodes: 5, Copies: 2, Racks: 1, Feasible: true,
		Binding:     &plan.Binding{State: "nodes_lost_migrating", Resource: resource, Utilisation: &use},
		WhyNotFewer: &plan.Fewer{Nodes: 4, State: "nodes_lost_migrating", Resource: resource, Utilisation: &fewer, Failing: 1, Text: "because"}, RebuildSec: &rebuild}}}
}

// cluster answers for node counts whether operations succeed.
type cluster struct {
	t      *testing.T
	holds  map[int]bool
	loads  []Load
	absent bool // it writes no folder
}

func (c *cluster) start(_ context.Context, l Load) error {
	c.loads = append(c.loads, l)
	if c.absent {
		return errors.New("no such program")
	}
	w, err := result.Create(l.Dir)
	if err != nil {
		c.t.Fatal(err)
	}
	seconds := int(l.Duration.Seconds())
	back := 4.0
	f := result.Fault{AtSec: 10, What: "kill", Node: "node1"}
	if c.holds[l.Nodes] {
		f.RedundancyRestoredSec = &back
	}
	for s := range seconds {
		row := result.SeriesRow{TSec: s, Op: "get", Offered: 1000, OK: 1000}
		if !c.holds[l.Nodes] && s > 15 {
			row.OK, row.Failed = 700, 300
		}
		w.Series(row)
		w.Node("node2", result.NodeSample{TSec: float64(s), Up: true, UsedBytes: 40e6, RSSBytes: -1, CPUPct: -1})
	}
	w.Summary(&result.Summary{Format: result.Format, DurationSec: float64(seconds), Faults: []result.Fault{f}})
	return w.Close()
}

func verdict(t *testing.T, p *plan.Plan, holds map[int]bool) (*plan.Verification, *cluster) {
	t.Helper()
	c := &cluster{t: t, holds: holds}
	card, err := Run(t.Context(), Config{Plan: p, Dir: t.TempDir(), Start: c.start, Now: time.Unix(1_800_000_000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return card, c
}

func TestTheVerdictFollowsWhatWasRun(t *testing.T) {
	f := func(name string, p *plan.Plan, holds map[int]bool, want plan.Verdict, arithmetic bool, trials int) {
		t.Helper()
		card, _ := verdict(t, p, holds)
		if card.Verdict != want || card.ByArithmetic != arithmetic || len(card.Trials) != trials {
			t.Errorf("%s: %s (by arithmetic: %v, %d trials), want %s: %s", name, card.Verdict, card.ByArithmetic, len(card.Trials), want, card.Text)
		}
	}
	f("n holds, n-1 fails", planOf("memory", 1.2), map[int]bool{5: true}, plan.Confirmed, false, 2)
	f("n fails", planOf("memory", 1.2), nil, plan.Refuted, false, 2)
	f("n-1 holds far beyond its limit", planOf("memory", 1.2), map[int]bool{5: true, 4: true}, plan.Refuted, false, 2)
	f("n-1 holds, a little beyond its limit", planOf("memory", 1.02), map[int]bool{5: true, 4: true}, plan.NotDistinguishable, false, 2)
	f("the processors bind", planOf("cpu", 1.2), map[int]bool{5: true}, plan.Confirmed, false, 2)
	f("the link binds", planOf("network", 1.2), map[int]bool{5: true}, plan.Confirmed, false, 2)
	f("the rebuild binds", planOf("migration_bandwidth", 1.2), map[int]bool{5: true}, plan.Confirmed, false, 2)
	writes := planOf("cpu", 1.2)
	writes.Requirements.Namespaces[0].Reads = model.Point(1e3)
	f("the processors bind, by writes", writes, map[int]bool{5: true}, plan.NotDistinguishable, false, 1)
	draws := planOf("memory", 1.2)
	draws.Candidates[0].WhyNotFewer.Failing = 0.12
	f("n-1 fails in some draws only", draws, map[int]bool{5: true, 4: true}, plan.NotDistinguishable, false, 2)
	draws = planOf("memory", 1.7)
	draws.Candidates[0].WhyNotFewer.Failing = 0.51
	f("n-1 fails in half of the draws, by several resources", draws, map[int]bool{5: true, 4: true}, plan.NotDistinguishable, false, 2)
	racks := planOf("memory", 1.2)
	racks.Candidates[0].WhyNotFewer.State, racks.Candidates[0].Binding.State = "rack_lost", "rack_lost"
	f("the loss of a rack binds", racks, map[int]bool{5: true}, plan.Confirmed, true, 1)
	f("a rule binds", planOf("redundancy", 1.2), map[int]bool{5: true}, plan.Confirmed, true, 1)
}

func TestTheMiniatureKeepsNodesCopiesAndFailures(t *testing.T) {
	card, c := verdict(t, planOf("memory", 1.2), map[int]bool{5: true})
	if len(c.loads) != 2 || c.loads[0].Nodes != 5 || c.loads[1].Nodes != 4 {
		t.Fatalf("ran %+v", c.loads)
	}
	for _, l := range c.loads {
		set := strings.Join(l.Set, " ")
		if !strings.Contains(set, "replication-factor=2") || !strings.Contains(set, "memory-limit=") || l.Set[1] != c.loads[0].Set[1] {
			t.Errorf("%d nodes with %s: want two copies and the same memory limit for both", l.Nodes, set)
		}
		if len(l.Faults) != 1 || l.Faults[0] != "kill node1 @10s" {
			t.Errorf("%d nodes with faults %v", l.Nodes, l.Faults)
		}
	}
	if m := card.Miniature; m.Rates != 50 || m.OpsPerSec != 1000 || m.Bytes < 100 {
		t.Errorf("miniature %+v", m)
	}
}

func TestTheMemoryLimitIsAsFullAsPlanned(t *testing.T) {
	cfg := Config{Plan: planOf("memory", 1.2), Dir: t.TempDir()}.withDefaults()
	m, err := shrink(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	full := m.bytes(5, "nodes_lost_migrating") / (stopWrites * float64(m.limit))
	if full < 0.899 || full > 0.901 {
		t.Errorf("the miniature is %.3f full in the binding state, the plan 0.9", full)
	}
	if over := m.bytes(4, "nodes_lost_migrating") / (stopWrites * float64(m.limit)); over < 1.05 {
		t.Errorf("four nodes are %.3f full, want more than fits", over)
	}
}

func TestWhatCannotBeVerifiedIsRefusedWithAReason(t *testing.T) {
	f := func(want string, change func(p *plan.Plan)) {
		t.Helper()
		p := planOf("memory", 1.2)
		change(p)
		_, err := Run(t.Context(), Config{Plan: p, Dir: t.TempDir(), Start: (&cluster{t: t, absent: true}).start})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	f("no answer", func(p *plan.Plan) { p.Answer = nil })
	f("40 nodes", func(p *plan.Plan) { p.Candidates[0].Nodes = 40 })
	f("what binds", func(p *plan.Plan) { p.Candidates[0].Binding = nil })
	f("no operations", func(p *plan.Plan) { p.Requirements.Namespaces[0].Records = model.Point(0) })
	f("no such program", func(*plan.Plan) {})
}

func TestACardWidensTheModel(t *testing.T) {
	m, e := model.Priors(), -0.6
	Widen(m, &plan.Verification{Compared: []plan.Compared{{Unit: "s", Error: &e}, {Unit: "bytes"}}})
	if m.Errors.Rebuild != 0.6 || m.Errors.Bytes != 0 {
		t.Errorf("errors %+v", m.Errors)
	}
	mean, tail := 0.05, 0.2
	Widen(m, &plan.Verification{Compared: []plan.Compared{{Name: meanRead + "healthy", Unit: "ms", Error: &mean}, {Name: "p99 of reads, healthy", Unit: "ms", Error: &tail}}})
	if m.Errors.Mean != mean || m.Errors.P99 != tail {
		t.Errorf("errors %+v, want %g of the mean and %g of p99", m.Errors, mean, tail)
	}
	better := 0.1
	Widen(m, &plan.Verification{Compared: []plan.Compared{{Unit: "s", Error: &better}}})
	if m.Errors.Rebuild != 0.6 {
		t.Error(fmt.Sprint("a better run made the model forget a worse one: ", m.Errors.Rebuild))
	}
}

func TestStationsAreAsBusyAsPlanned(t *testing.T) {
	p := planOf("cpu", 1.2)
	cfg := Config{Plan: p, Dir: t.TempDir()}.withDefaults()
	m, err := shrink(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	use := func(n int, state string) float64 {
		reads := m.card.OpsPerSec * 0.8 * m.spread(n, state).Masters * (1 - m.cached(m.device.size))
		return reads * m.device.real.Mean(profile.Read, smallRead).Seconds() * m.device.dilation / float64(m.device.real.Channels)
	}
	if got := use(5, "nodes_lost_migrating"); math.Abs(got-0.9) > 0.001 {
		t.Errorf("a station is %.3f busy in the binding state, the plan has 0.9", got)
	}
	if got, want := use(4, "nodes_lost_migrating"), 0.9*4/3; math.Abs(got/want-1) > 0.03 {
		t.Errorf("of four nodes %.3f, want about %.3f: three serve what four did", got, want)
	}
}

func TestMigrationIsSlowedDownLikeTheRest(t *testing.T) {
	p := planOf("memory", 1.2)
	cfg := Config{Plan: p, Dir: t.TempDir()}.withDefaults()
	m, err := shrink(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	if want := leastRebuild + m.pace.failover; math.Abs(m.rebuild(5)-want) > 0.2 {
		t.Errorf("the rebuild is to take %.2f s, want %.2f", m.rebuild(5), want)
	}
	// Of the dead node's copies each survivor sends about a quarter.
	sends := m.pace.rate * leastRebuild
	if want := float64(m.card.Records) * 2 / 5 / 4 * (108 + model.MigratedBytes); math.Abs(sends/want-1) > 0.1 {
		t.Errorf("a survivor sends %.0f bytes, want about %.0f", sends, want)
	}
	p.Candidates[0].WhyNotFewer.State, p.Candidates[0].Binding.State = "rolling_restart", "rolling_restart"
	p.Requirements.Redundancy.FailNodes = 0
	card, c := verdict(t, p, map[int]bool{5: true})
	if len(c.loads) != 2 || len(c.loads[0].Faults) != 1 || c.loads[0].Faults[0] != "term node1 @10s" {
		t.Errorf("%s with faults %v: want a node that stops in order", card.Verdict, c.loads[0].Faults)
	}
}

func TestTheMiniatureRunsAtThePlansLevel(t *testing.T) {
	p := planOf("cpu", 1.4)
	enough, fewer := 0.95, 1.15
	w := p.Candidates[0].WhyNotFewer
	w.Failing, w.Level, w.EnoughAt, w.FewerAt = 0.12, 0.93, &enough, &fewer
	cfg := Config{Plan: p, Dir: t.TempDir()}.withDefaults()
	m, err := shrink(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	if *m.bind.Utilisation != enough || m.over != fewer || m.byDraws() {
		t.Errorf("the miniature runs at %g, fewer at %g; want the figures at the plan's level", *m.bind.Utilisation, m.over)
	}
	card, _ := verdict(t, p, map[int]bool{5: true, 4: true})
	if card.Verdict != plan.Refuted {
		t.Errorf("fewer held at 115 %% of the limit: %s", card.Verdict)
	}
}
