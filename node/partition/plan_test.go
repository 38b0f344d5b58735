package partition

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"headroom/node/cluster"
)

// key returns the key of the View with that counter.
func key(counter uint64) cluster.ViewKey {
	if counter == 0 {
		return cluster.ViewKey{}
	}
	return cluster.ViewKey{Counter: counter, Proposer: 7, Inc: 1}
}

func full(k uint64) Copy   { return Copy{State: Full, Key: key(k)} }
func subset(k uint64) Copy { return Copy{State: Subset, Key: key(k)} }
func spare(k uint64) Copy  { return Copy{State: Spare, Key: key(k)} }

func empty(c Copy) Copy {
	c.Empty = true
	return c
}

// place is one partition of a four-member View under test. Its copies are
// given in row order, so that place[0] is the final master's.
type place struct {
	t           *testing.T
	rf          int
	established uint64
	copies      []Copy
}

// want is a Part and the copies after commit, members by position in the row.
type want struct {
	unavailable, fresh bool
	master             int
	write, dup, repr   []int
	fill, spares       []int
	after              []Copy
}

const testPid = 1234

func (pl place) is(w want) {
	pl.t.Helper()
	v := newView(len(pl.copies), nil)
	v.Key = key(9)
	tab := NewTable(v, pl.rf)
	row := tab.Row(testPid)
	reports := make([]*Report, len(row))
	for i, m := range row {
		reports[m] = &Report{}
		reports[m].Copies[testPid] = pl.copies[i]
	}
	reports[row[len(row)-1]].Established[testPid] = key(pl.established) // known to one is enough
	plan := NewPlan(v, tab, reports)
	part := &plan.Parts[testPid]
	at := func(ms []uint16) []int {
		var out []int
		for _, m := range ms {
			out = append(out, slices.Index(row, m))
		}
		return out
	}
	got := want{
		unavailable: !part.Available, fresh: part.Fresh, master: slices.Index(row, part.Master),
		write: at(part.WriteSet), dup: at(part.Duplicates), repr: at(part.Represented),
		fill: at(part.Fill), spares: at(part.Spares),
	}
	for i, m := range row {
		got.after = append(got.after, plan.CopyAfter(testPid, m, pl.copies[i]))
	}
	if diff := cmp.Diff(w, got, cmp.AllowUnexported(want{})); diff != "" {
		pl.t.Errorf("plan differs (-want +got):\n%s", diff)
	}
	established := key(9)
	if w.unavailable {
		established = key(pl.established)
	}
	if part.Established != established || part.Final != row[0] || !slices.Equal(part.Replicas, row[:tab.RF()]) {
		pl.t.Errorf("established %v, final %d, replicas %v of row %v", part.Established, part.Final, part.Replicas, row)
	}
}

func TestPlanOfPartitionsNobodyHolds(t *testing.T) {
	no := Copy{}
	place{t, 2, 0, []Copy{no, no, no, no}}.is(want{fresh: true, write: []int{0, 1},
		after: []Copy{empty(full(9)), empty(full(9)), no, no}})
	place{t, 2, 5, []Copy{no, no, no, no}}.is(want{unavailable: true, master: -1, after: []Copy{no, no, no, no}})
	// The only Full copy is of an older View than one that was served.
	place{t, 2, 5, []Copy{full(4), no, no, no}}.is(want{unavailable: true, master: -1, after: []Copy{full(4), no, no, no}})
	// A split took the master; a Subset and a Spare are left.
	place{t, 2, 5, []Copy{no, subset(5), spare(5), no}}.is(want{unavailable: true, master: -1,
		after: []Copy{no, subset(5), spare(5), no}})
	// Records that no View vouches for are not given up either.
	place{t, 2, 0, []Copy{no, subset(5), no, no}}.is(want{unavailable: true, master: -1,
		after: []Copy{no, subset(5), no, no}})
}

func TestPlanOfEmptyPartitionsMovesNothing(t *testing.T) {
	no := Copy{}
	// A complete copy elsewhere goes when the master has committed, not before.
	place{t, 2, 5, []Copy{no, empty(full(5)), empty(full(5)), no}}.is(want{fresh: true, write: []int{0, 1},
		after: []Copy{empty(full(9)), empty(full(9)), empty(full(5)), no}})
	place{t, 2, 5, []Copy{no, no, empty(subset(5)), empty(full(5))}}.is(want{fresh: true, write: []int{0, 1},
		after: []Copy{empty(full(9)), empty(full(9)), no, empty(full(5))}})
	// A Spare with records: the full way, so that the fill removes them.
	place{t, 2, 5, []Copy{spare(4), empty(full(5)), no, no}}.is(want{master: 1, write: []int{1, 0}, fill: []int{0},
		after: []Copy{subset(9), empty(full(9)), no, no}})
}

func TestPlanOfPartitionsInSync(t *testing.T) {
	no := Copy{}
	place{t, 2, 5, []Copy{full(5), full(5), no, no}}.is(want{write: []int{0, 1}, after: []Copy{full(9), full(9), no, no}})
	// The replicas moved by one: the first holder in the row serves until the final master is filled.
	place{t, 2, 5, []Copy{no, full(5), full(5), no}}.is(want{master: 1, write: []int{1, 0, 2}, fill: []int{0}, spares: []int{2},
		after: []Copy{empty(subset(9)), full(9), full(9), no}})
	place{t, 2, 5, []Copy{no, no, full(5), full(5)}}.is(want{master: 2, write: []int{2, 0, 1, 3}, fill: []int{0, 1}, spares: []int{3},
		after: []Copy{empty(subset(9)), empty(subset(9)), full(9), full(9)}})
	// The second replica is new: no handoff.
	place{t, 2, 5, []Copy{full(5), no, no, full(5)}}.is(want{write: []int{0, 1, 3}, fill: []int{1}, spares: []int{3},
		after: []Copy{full(9), empty(subset(9)), no, full(9)}})
	// A Spare in the replica set gets writes again and a delta; one outside keeps its key.
	place{t, 2, 5, []Copy{full(5), spare(3), spare(4), no}}.is(want{write: []int{0, 1}, fill: []int{1}, spares: []int{2},
		after: []Copy{full(9), subset(9), spare(4), no}})
}

func TestPlanAbsorbsWhatTheMasterMayLack(t *testing.T) {
	no := Copy{}
	// Two sides of a split: the newer one serves, the other is absorbed through one holder.
	place{t, 2, 6, []Copy{full(6), no, full(5), full(5)}}.is(want{write: []int{0, 1}, dup: []int{2}, repr: []int{3},
		fill: []int{1}, spares: []int{2, 3}, after: []Copy{full(9), empty(subset(9)), full(5), full(5)}})
	place{t, 2, 6, []Copy{full(5), full(5), full(6), full(6)}}.is(want{master: 2, write: []int{2, 0, 1, 3}, dup: []int{0}, repr: []int{1},
		fill: []int{0, 1}, spares: []int{3}, after: []Copy{subset(9), subset(9), full(9), full(9)}})
	// Each old version has its own representative.
	place{t, 2, 6, []Copy{full(6), full(3), full(5), full(3)}}.is(want{write: []int{0, 1}, dup: []int{1, 2}, repr: []int{3},
		fill: []int{1}, spares: []int{2, 3}, after: []Copy{full(9), subset(9), full(5), full(3)}})
	// A Subset stands for itself only, though it has the master's key.
	place{t, 2, 6, []Copy{full(6), subset(6), subset(6), no}}.is(want{write: []int{0, 1}, dup: []int{1, 2}, fill: []int{1},
		spares: []int{2}, after: []Copy{full(9), subset(9), subset(6), no}})
	// Empty copies are never duplicates, and a Full with records comes before an empty one.
	place{t, 2, 6, []Copy{empty(full(6)), empty(subset(6)), full(6), empty(full(5))}}.is(want{master: 2, write: []int{2, 0, 1},
		fill: []int{0, 1}, spares: []int{3}, after: []Copy{empty(subset(9)), empty(subset(9)), full(9), empty(spare(9))}})
	// The newest is empty, an older one is not: it may hold what the newest side never saw.
	place{t, 1, 6, []Copy{empty(full(6)), full(5), no, no}}.is(want{write: []int{0}, dup: []int{1}, spares: []int{1},
		after: []Copy{empty(full(9)), full(5), no, no}})
}

func TestCopiesThatMayDifferAreEachLookedAt(t *testing.T) {
	v := newView(4, nil)
	v.Key = key(9)
	tab := NewTable(v, 3)
	row := tab.Row(testPid)
	f := func(copies []Copy, unequal []Unequal, compared bool, duplicates, represented int) {
		t.Helper()
		reports := make([]*Report, len(row))
		for i, m := range row {
			reports[m] = &Report{}
			reports[m].Copies[testPid], reports[m].Unequal[testPid] = copies[i], unequal[i]
		}
		p := NewPlan(v, tab, reports).Parts[testPid]
		if p.Unequal != compared || len(p.Duplicates) != duplicates || len(p.Represented) != represented {
			t.Errorf("%v with %v: compared %v, duplicates %v, represented %v; want %v, %d, %d", copies, unequal, p.Unequal, p.Duplicates, p.Represented, compared, duplicates, represented)
		}
	}
	sides := []Copy{full(8), full(5), full(5), {}}
	f(sides, []Unequal{0, 0, 0, 0}, false, 1, 1)
	f(sides, []Unequal{0, 0, Differ, 0}, false, 2, 0)
	f(sides, []Unequal{0, Writing, 0, 0}, false, 2, 0)
	f(sides, []Unequal{Differ, 0, 0, Writing}, true, 1, 1)
	equal := []Copy{full(8), full(8), full(8), {}}
	f(equal, []Unequal{Writing, 0, 0, 0}, false, 0, 0) // it serves on, and runs them again
	f(equal, []Unequal{0, Writing, 0, 0}, true, 0, 0)
	f(equal, []Unequal{0, 0, Differ, 0}, true, 0, 0)
}

func TestPlanAtOtherReplicationFactors(t *testing.T) {
	no := Copy{}
	place{t, 1, 5, []Copy{no, full(5), no, no}}.is(want{master: 1, write: []int{1, 0}, fill: []int{0},
		after: []Copy{empty(subset(9)), full(9), no, no}})
	place{t, 3, 5, []Copy{full(5), full(5), no, no}}.is(want{write: []int{0, 1, 2}, fill: []int{2},
		after: []Copy{full(9), full(9), empty(subset(9)), no}})
	place{t, 4, 5, []Copy{full(5), full(4), no, no}}.is(want{write: []int{0, 1, 2, 3}, dup: []int{1}, fill: []int{1, 2, 3},
		after: []Copy{full(9), subset(9), empty(subset(9)), empty(subset(9))}})
	place{t, 2, 5, []Copy{full(5)}}.is(want{write: []int{0}, after: []Copy{full(9)}})
	place{t, 3, 5, []Copy{no, full(5)}}.is(want{master: 1, write: []int{1, 0}, fill: []int{0}, after: []Copy{empty(subset(9)), full(9)}})
}

func TestAbsorbedCopiesOutsideTheReplicasBecomeSpares(t *testing.T) {
	v := newView(4, nil)
	v.Key = key(9)
	tab := NewTable(v, 2)
	row := tab.Row(testPid)
	reports := make([]*Report, 4)
	for i, c := range []Copy{full(6), subset(6), full(5), full(5)} {
		reports[row[i]] = &Report{}
		reports[row[i]].Copies[testPid] = c
	}
	plan := NewPlan(v, tab, reports)
	f := func(position int, in, want Copy) {
		t.Helper()
		if got := plan.CopyAbsorbed(testPid, row[position], in); got != want {
			t.Errorf("CopyAbsorbed of position %d, %+v = %+v, want %+v", position, in, got, want)
		}
	}
	f(0, full(9), full(9))
	f(1, subset(9), subset(9))
	f(2, full(5), spare(9))
	f(3, empty(full(5)), empty(spare(9)))
	f(3, Copy{}, Copy{})
}

func TestMissingReportsHoldNothing(t *testing.T) {
	v := newView(3, nil)
	plan := NewPlan(v, NewTable(v, 2), nil)
	for pid := range plan.Parts {
		if !plan.Parts[pid].Fresh {
			t.Fatalf("partition %d of a new cluster: %+v", pid, plan.Parts[pid])
		}
	}
}

func TestCommonAncestorIsTheNewestSharedView(t *testing.T) {
	f := func(a, b []uint64, want uint64) {
		t.Helper()
		keys := func(counters []uint64) (out []cluster.ViewKey) {
			for _, c := range counters {
				out = append(out, key(c))
			}
			return out
		}
		if got := CommonAncestor(keys(a), keys(b)); got != key(want) {
			t.Errorf("CommonAncestor(%v, %v) = %v, want %v", a, b, got, key(want))
		}
	}
	f(nil, nil, 0)
	f([]uint64{3, 2, 1}, []uint64{5, 4}, 0)
	f([]uint64{6, 3, 2, 1}, []uint64{5, 3, 2, 1}, 3)
	f([]uint64{1, 2, 3}, []uint64{3, 1}, 3)
}

// randomReports draws what four Views of two lineages could have left.
func randomReports(rng *rand.Rand, n int) []*Report {
	reports := make([]*Report, n)
	for m := range reports {
		if rng.IntN(8) == 0 {
			continue
		}
		reports[m] = &Report{}
		for pid := range cluster.Partitions {
			c := Copy{State: State(rng.IntN(4)), Empty: rng.IntN(3) == 0, Key: key(1 + rng.Uint64N(4))}
			if c.State == None {
				c = Copy{}
			}
			reports[m].Copies[pid] = c
			reports[m].Established[pid] = key(rng.Uint64N(5))
		}
	}
	return reports
}

func TestPlansOfRandomReportsKeepTheRules(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for round := range 24 {
		n := 1 + rng.IntN(6)
		v := newView(n, nil)
		tab := NewTable(v, 1+rng.IntN(4))
		reports := randomReports(rng, n)
		plan := NewPlan(v, tab, reports)
		if diff := cmp.Diff(plan.Parts[7], NewPlan(v, tab, reports).Parts[7], cmp.AllowUnexported(Part{})); diff != "" {
			t.Fatalf("round %d: the same input gave two plans:\n%s", round, diff)
		}
		for pid := range plan.Parts {
			checkPart(t, plan, pid, reports)
		}
		if t.Failed() {
			t.Fatalf("round %d of seed 5,6", round)
		}
	}
}

func checkPart(t *testing.T, plan *Plan, pid int, reports []*Report) {
	t.Helper()
	part := &plan.Parts[pid]
	if !part.Available {
		if part.Master != Nobody || len(part.WriteSet)+len(part.Fill)+len(part.Duplicates)+len(part.Spares) != 0 {
			t.Errorf("partition %d is unavailable with %+v", pid, part)
		}
		return
	}
	fulls := 0
	for m := range reports {
		before := Copy{}
		if reports[m] != nil {
			before = reports[m].Copies[pid]
		}
		after := plan.CopyAfter(pid, uint16(m), before)
		is := func(set []uint16) bool { return slices.Contains(set, uint16(m)) }
		fullNow := after.State == Full && after.Key == plan.Key
		switch {
		case uint16(m) == part.Master && !fullNow,
			fullNow != (is(part.WriteSet) && !is(part.Fill)),
			(is(part.Replicas) || uint16(m) == part.Master) && !is(part.WriteSet),
			is(part.WriteSet) && !is(part.Replicas) && !part.InSync(before),
			!part.Fresh && is(part.Spares) != (!is(part.Replicas) && uint16(m) != part.Master && after.State != None),
			part.Fresh && (len(part.Spares) > 0 || plan.Left(pid, uint16(m), after) != (!is(part.Replicas) && before.State == Full)),
			is(part.Duplicates) && (before.Empty || before.State == None || before.State == Spare || uint16(m) == part.Master),
			is(part.Represented) && (before.State != Full || is(part.Duplicates)):
			t.Errorf("partition %d member %d: %+v -> %+v breaks %+v", pid, m, before, after, part)
		}
		if fullNow {
			fulls++
		}
	}
	if fulls == 0 || part.WriteSet[0] != part.Master || part.Established != plan.Key {
		t.Errorf("partition %d: %d Full copies, %+v", pid, fulls, part)
	}
}

func BenchmarkNewPlan(b *testing.B) {
	for _, n := range []int{4, 8} {
		v := newView(n, nil)
		tab := NewTable(v, 2)
		settled := make([]*Report, n)
		for m := range settled {
			settled[m] = &Report{}
		}
		lost := NewTable(without(v, 0), 2)
		for pid := range cluster.Partitions {
			for _, m := range lost.Replicas(pid) {
				settled[m+1].Copies[pid] = full(5)
				settled[m+1].Established[pid] = key(5)
			}
		}
		b.Run(v.Members[0].Node.String()+"-joins", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				NewPlan(v, tab, settled)
			}
		})
	}
}
