package partition

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// settledReport is what one of n members holds after the last migration: full
// copies of one View where it is a replica, nothing elsewhere.
func settledReport(n int) *MemberReport {
	tab := NewTable(newView(n, nil), 2)
	rep := &Report{}
	for pid := range cluster.Partitions {
		if r := tab.Replicas(pid); r[0] == 0 || r[1] == 0 {
			rep.Copies[pid] = Copy{State: Full, Empty: pid%3 == 0, Key: key(1_000_000)}
		}
		rep.Established[pid] = key(1_000_000)
	}
	r := &MemberReport{Namespaces: []NamespaceReport{{Name: "test", RF: 2, Report: rep}}}
	for i := range uint64(MaxHistory) {
		r.History = append(r.History, key(1_000_000-i))
	}
	return r
}

// randomReport has few or many distinct values per column.
func randomReport(rng *rand.Rand) *MemberReport {
	r := &MemberReport{}
	for range rng.IntN(MaxHistory) {
		r.Ages = append(r.Ages, rng.Uint32()>>rng.IntN(32))
		r.History = append(r.History, cluster.ViewKey{Counter: rng.Uint64() >> rng.IntN(64), Proposer: cluster.NodeID(rng.Uint64()), Inc: cluster.Incarnation(rng.Uint32())})
	}
	for i := range rng.IntN(3) {
		keys := uint64(1) << rng.IntN(13)
		rep := &Report{}
		for pid := range cluster.Partitions {
			if s := State(rng.IntN(4)); s != None {
				rep.Copies[pid] = Copy{State: s, Empty: rng.IntN(2) == 0, Key: key(1 + rng.Uint64N(keys))}
			}
			rep.Established[pid] = key(rng.Uint64N(keys))
			rep.Lines[pid] = randomLine(rng, keys)
		}
		for range rng.IntN(3) * rng.IntN(1000) {
			rep.Unequal[rng.IntN(cluster.Partitions)] = Unequal(rng.IntN(4))
		}
		r.Namespaces = append(r.Namespaces, NamespaceReport{Name: strings.Repeat("n", i), RF: 1 + rng.IntN(4), Report: rep})
	}
	return r
}

func TestMemberReportRoundTrips(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for i := range 30 {
		want := randomReport(rng)
		got, err := ParseMemberReport(want.Append(nil))
		if err != nil {
			t.Fatalf("report %d: %v", i, err)
		}
		if diff := cmp.Diff(want.History, got.History); diff != "" {
			t.Fatalf("report %d: history differs:\n%s", i, diff)
		}
		if diff := cmp.Diff(want.Ages, got.Ages); diff != "" {
			t.Fatalf("report %d: ages differ:\n%s", i, diff)
		}
		for j, n := range want.Namespaces {
			if g := got.Namespaces[j]; g.Name != n.Name || g.RF != n.RF || *g.Report != *n.Report {
				t.Fatalf("report %d: namespace %q differs", i, n.Name)
			}
		}
	}
}

func TestSettledReportIsSmall(t *testing.T) {
	b := settledReport(8).Append(nil)
	t.Logf("settled member of 8: %d bytes", len(b))
	if len(b) > 2<<10 {
		t.Errorf("a settled member reports %d bytes, want at most 2 KiB", len(b))
	}
}

func TestReportsOfALargeClusterGrowWithWhatAMemberHolds(t *testing.T) {
	for n, most := range map[int]int{8: 1600, 32: 900, 128: 600} {
		r := settledReport(n)
		r.History = nil
		b := r.Append(nil)
		t.Logf("settled member of %d: %d bytes", n, len(b))
		if len(b) > most {
			t.Errorf("a settled member of %d reports %d bytes, want at most %d", n, len(b), most)
		}
		if got, err := ParseMemberReport(b); err != nil || *got.Namespaces[0].Report != *r.Namespaces[0].Report {
			t.Errorf("the report of a member of %d does not come back: %v", n, err)
		}
	}
}

func TestNilReportAndCopiesInStateNoneAreSentAsNothing(t *testing.T) {
	rep := &Report{}
	rep.Copies[5] = Copy{State: None, Empty: true, Key: key(3)}
	r := &MemberReport{Namespaces: []NamespaceReport{{Name: "a", RF: 1}, {Name: "b", RF: 1, Report: rep}}}
	got, err := ParseMemberReport(r.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range got.Namespaces {
		if *n.Report != (Report{}) {
			t.Errorf("namespace %q holds something", n.Name)
		}
	}
}

func TestHistoryIsCutToItsLimit(t *testing.T) {
	r := &MemberReport{History: make([]cluster.ViewKey, MaxHistory+5)}
	got, err := ParseMemberReport(r.Append(nil))
	if err != nil || len(got.History) != MaxHistory {
		t.Errorf("history of %d keys arrives as %v, %v", len(r.History), got, err)
	}
}

func TestMalformedReportsAreRefused(t *testing.T) {
	good := settledReport(4).Append(nil)
	f := func(name string, b []byte) {
		t.Helper()
		if _, err := ParseMemberReport(b); !errors.Is(err, wire.ErrFrame) {
			t.Errorf("%s: error %v, want a malformed frame", name, err)
		}
	}
	f("empty", nil)
	f("trailing byte", append(bytes.Clone(good), 0))
	for cut := 0; cut < len(good); cut += 37 {
		f("truncated", good[:cut])
	}
	head := []byte{0, 1, 1, 'n', 2, 0}      // no history, one namespace "n", RF 2, no flag
	established := []byte{1, 0, 0, 0, 1, 0} // and the descents
	column := func(b ...byte) []byte { return append(append(bytes.Clone(head), b...), established...) }
	if _, err := ParseMemberReport(column(1, 0)); err != nil {
		t.Errorf("the smallest report: %v", err)
	}
	f("no dictionary", column(0))
	f("state out of range", column(1, 4, 1, 1, 1))
	f("full copy of no view", column(1, 1, 0, 0, 0))
	f("empty copy in state none", column(1, emptyBit, 1, 1, 1))
	f("repeated value", column(append([]byte{2, 0, 0}, make([]byte, 512)...)...))
	f("unused value", column(append([]byte{2, 0, 1, 1, 1, 1}, make([]byte, 512)...)...))
	f("values out of order", column(append([]byte{2, 0, 1, 1, 1, 1}, bytes.Repeat([]byte{0xfd}, 512)...)...))
	f("RF 0", append([]byte{0, 1, 1, 'n', 0, 0, 1, 0}, established...))
	f("unknown flag", append([]byte{0, 1, 1, 'n', 2, 4, 1, 0}, established...))
	f("sparse where packed is shorter", column(0, 1, 0))
	f("place beyond the last partition", column(0, 2, 0, 1, 1, 1, 1, 1, 0x80, 0x20))
	f("name too long", append([]byte{0, 1, MaxName + 1}, make([]byte, 600)...))
	f("too many namespaces", append([]byte{0, MaxNamespaces + 1}, make([]byte, 600)...))
}

func FuzzMemberReport(f *testing.F) {
	rng := rand.New(rand.NewPCG(9, 10))
	f.Add([]byte{0, 0})
	f.Add([]byte{0, 1, 1, 'n', 2, 0, 1, 0, 1, 0, 0, 0, 1, 0})
	f.Add(settledReport(64).Append(nil))
	f.Add(settledReport(4).Append(nil))
	f.Add(randomReport(rng).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseMemberReport(b)
		if err != nil {
			return
		}
		if again := r.Append(nil); !bytes.Equal(again, b) {
			t.Errorf("%d bytes decode and encode to %d others", len(b), len(again))
		}
	})
}

func BenchmarkMemberReport(b *testing.B) {
	r := settledReport(8)
	bytes := r.Append(nil)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Append(bytes[:0])
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseMemberReport(bytes); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// randomLine is the descent of a copy that went through a few of some Views.
func randomLine(rng *rand.Rand, views uint64) Line {
	var list []pass
	for range rng.IntN(3) {
		k := key(1 + rng.Uint64N(views))
		list = append(list, pass{k, rng.Uint64() >> rng.IntN(64), part(rng.IntN(3)), k.Counter + rng.Uint64N(3)})
	}
	return lineOf(list)
}
