package plan

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"headroom/node/cluster"
	"headroom/node/partition"
)

// settled is what every member of a settled cluster reports: full copies of
// what the table gives it.
func settled(l Layout) (reports map[cluster.NodeID]*partition.Report) {
	v, t := l.view(nil), l.Table()
	reports = map[cluster.NodeID]*partition.Report{}
	for _, m := range v.Members {
		reports[m.Node] = &partition.Report{}
	}
	for p := range cluster.Partitions {
		for _, m := range t.Replicas(p) {
			reports[v.Members[m].Node].Copies[p] = partition.Copy{State: partition.Full, Key: v.Key}
		}
		for _, r := range reports {
			r.Established[p] = v.Key
		}
	}
	return reports
}

// TestLossesAreWhatTheNodesPlan asks node/partition what the survivors would
// do, and compares: unavailable partitions, who serves, what is filled.
func TestLossesAreWhatTheNodesPlan(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, l := range []Layout{{Nodes: 4, Copies: 2, Racks: 1}, {Nodes: 7, Copies: 3, Racks: 1}, {Nodes: 9, Copies: 2, Racks: 3}, {Nodes: 6, Copies: 3, Racks: 2}, {Nodes: 5, Copies: 1, Racks: 1}} {
		reports := settled(l)
		for lost := 1; lost <= 3; lost++ {
			dead := rng.Perm(l.Nodes)[:lost]
			gone := map[cluster.NodeID]bool{}
			for i := range dead {
				dead[i]++
				gone[cluster.NodeID(dead[i])] = true
			}
			v := l.view(gone)
			v.Key.Counter++
			now := partition.NewTable(v, l.Copies)
			var list []*partition.Report
			for _, m := range v.Members {
				list = append(list, reports[m.Node])
			}
			checkLoss(t, l, dead, gone, now, partition.NewPlan(v, now, list))
		}
	}
}

func checkLoss(t *testing.T, l Layout, dead []int, gone map[cluster.NodeID]bool, now *partition.Table, real *partition.Plan) {
	t.Helper()
	n := l.Nodes - len(dead)
	unavailable, masters, fill := 0, make([]int, n), make([]int, n)
	for p := range real.Parts {
		part := &real.Parts[p]
		if !part.Available {
			unavailable++
			continue
		}
		masters[part.Master]++
		for _, m := range part.Fill {
			fill[m]++
		}
	}
	whole := l.Table()
	if got := l.Unavailable(whole, dead); got != unavailable {
		t.Errorf("%+v without %v: %d unavailable partitions, the nodes find %d", l, dead, got, unavailable)
	}
	s := &Shape{Layout: l}
	got := s.compare(whole, now, gone, false)
	if got.unavailable != unavailable || got.masters != share(masters) || got.fill != share(fill) {
		t.Errorf("%+v without %v: %+v, the nodes plan %d unavailable, %g masters, %g fills", l, dead, got, unavailable, share(masters), share(fill))
	}
}

func TestFluidIsNeverWorseThanReal(t *testing.T) {
	for _, l := range []Layout{{Nodes: 5, Copies: 2, Racks: 1, FailNodes: 1}, {Nodes: 9, Copies: 3, Racks: 3, FailNodes: 2, FailRacks: 1}, {Nodes: 12, Copies: 2, Racks: 2, FailNodes: 1, FailRacks: 1}, {Nodes: 97, Copies: 2, Racks: 1, FailNodes: 1}, {Nodes: 4, Copies: 1, Racks: 1}} {
		low, real := fluid(l), newShape(l)
		for i := range real.States {
			a, b := low.States[i], real.States[i]
			if a.Used != b.Used || a.Alive != b.Alive && a.Used {
				t.Errorf("%+v, %s: fluid %+v, real %+v", l, stateNames[i], a, b)
			}
			for _, pair := range [][2]float64{{a.Masters, b.Masters}, {a.Writes, b.Writes}, {a.Stored, b.Stored}, {a.Fill, b.Fill}, {a.Send, b.Send}} {
				if pair[0] > pair[1]+1e-12 {
					t.Errorf("%+v, %s: the fluid bound %+v is above the real %+v", l, stateNames[i], a, b)
				}
			}
		}
	}
}

func TestRackAwarePlacementSurvivesARack(t *testing.T) {
	l := Layout{Nodes: 9, Copies: 2, Racks: 3}
	for r := range 3 {
		if n := l.Unavailable(l.Table(), l.racks(r, 1)); n != 0 {
			t.Errorf("rack %d lost: %d partitions unavailable", r, n)
		}
	}
	// Without racks a third of the nodes takes some partitions with it.
	l.Racks = 1
	if n := l.Unavailable(l.Table(), []int{1, 4, 7}); n == 0 {
		t.Error("no partition lost although placement knows no racks")
	}
}

func TestReplicaSetsAreDistinct(t *testing.T) {
	sets := replicaSets(Layout{Nodes: 5, Copies: 2, Racks: 1}.Table())
	if len(sets) != 10 {
		t.Errorf("%d pairs of 5 nodes share a partition, want all 10", len(sets))
	}
	for _, s := range sets {
		if !slices.IsSorted(s) {
			t.Errorf("set %v is not sorted", s)
		}
	}
}

// TestARebuildLastsUntilTheBusiestSenderIsDone: with eight nodes the one that
// receives most receives a sixth more than any sends, which costs no time
// unless it is short of something.
func TestARebuildLastsUntilTheBusiestSenderIsDone(t *testing.T) {
	sp := pool.Of(Layout{Nodes: 8, Copies: 2, Racks: 1, FailNodes: 1}).States[NodesLostMigrating]
	if sp.Fill < 1.1*sp.Send {
		t.Fatalf("%+v: nobody receives more than is sent; the test says nothing", sp)
	}
	d := demand{records: 1e6, body: 1e9, targets: &Requirements{}}
	k := machine{migrateBytes: 1e6, migrateHz: 1e9, failover: 2}
	plenty := spare{network: math.Inf(1), device: math.Inf(1)}
	f := func(what string, left spare, target, wantTime, wantUse, wantRate float64) {
		t.Helper()
		d.targets.Targets.Rebuild = target
		var time, use float64
		rate := migrate(&sp, &d, &k, left, &time, &use)
		if math.Abs(time-wantTime) > 1e-6 || math.Abs(use-wantUse) > 1e-9 || math.Abs(rate-wantRate) > 1e-3 {
			t.Errorf("%s: %g s, %g of its pace, %g bytes/s; want %g, %g, %g", what, time, use, rate, wantTime, wantUse, wantRate)
		}
	}
	sends, fills := sp.Send*d.body, sp.Fill*d.body
	f("by its sender", plenty, 0, sends/1e6+2, 0, 0)
	f("by the network of the receiver", spare{network: 1e5, device: math.Inf(1)}, 0, fills/1e5+2, 0, 0)
	f("within a target", plenty, 102, sends/1e6+2, sends/100/1e6, fills/100)
	f("within too short a one", plenty, 3, sends/1e6+2, sends/1e6, fills/(sends/1e6))
}
