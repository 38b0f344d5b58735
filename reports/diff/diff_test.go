package diff

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"headroom/loadgen/result"
	"headroom/reports/page"
	"headroom/reports/sample"
)

// fresh writes and reads a run of 20 s whose latencies are scaled.
func fresh(t *testing.T, name string, scale float64, seed uint64) *Run {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := sample.Large(dir, sample.Size{Seconds: 20, Operations: 1, Nodes: 1, Samples: 800, Scale: scale, Seed: seed, Fresh: true}); err != nil {
		t.Fatal(err)
	}
	r, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// apart fails where a text of a figure leaves it or touches another, and where
// one of the named figures is missing.
func apart(t *testing.T, d *page.Document, names ...string) {
	t.Helper()
	for _, f := range d.Figures() {
		for _, x := range append(f.Wide.Flaws(), f.Narrow.Flaws()...) {
			t.Errorf("figure %s: %s", f.Name, x)
		}
	}
	for _, n := range names {
		if _, err := d.Figure(n); err != nil {
			t.Error(err)
		}
	}
}

func at(s Shift, p float64) Difference {
	for _, d := range s.Points {
		if d.P == p {
			return d
		}
	}
	return Difference{Change: math.NaN(), ChangeLo: math.NaN(), ChangeHi: math.NaN()}
}

func TestAShiftIsFoundWithItsSize(t *testing.T) {
	a, b := fresh(t, "a", 1, 1), fresh(t, "b", 1.2, 2)
	r, err := Compare([]*Run{a, b}, Options{Threshold: 0.05})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []float64{0.5, 0.9, 0.99} {
		d := at(r.Shifts[0], p)
		if !d.Known() || d.ChangeLo > 0.2 || d.ChangeHi < 0.2 || d.ChangeLo < 0 {
			t.Errorf("p%g changed by %.3f in [%.3f, %.3f], want an interval around 0.2 above 0", p*100, d.Change, d.ChangeLo, d.ChangeHi)
		}
	}
	if got := sentence(r.Shifts[0]); !strings.HasPrefix(got, "b is slower than a at ") {
		t.Errorf("sentence = %q", got)
	}
	apart(t, Document(r, true), "shift", "percentiles")
	a.Name, b.Name = strings.Repeat("a-long-name-", 12), strings.Repeat("another-name-", 12)
	if r, err = Compare([]*Run{a, b, b, b}, Options{}); err != nil {
		t.Fatal(err)
	}
	apart(t, Document(r, true), "shift1", "shift2", "shift3", "percentiles")
	a.Name, b.Name = "a", "b"
	if whole, _ := r.Gate(); whole != Fail {
		t.Errorf("gate = %s, want fail", whole)
	}
	back, err := Compare([]*Run{b, a}, Options{Threshold: 0.05})
	if err != nil {
		t.Fatal(err)
	}
	if got := sentence(back.Shifts[0]); !strings.HasPrefix(got, "a is faster than b at ") {
		t.Errorf("sentence = %q", got)
	}
	if whole, _ := back.Gate(); whole == Fail {
		t.Error("the gate fails a run that is faster")
	}
}

func TestEqualRunsShowNoDifference(t *testing.T) {
	r, err := Compare([]*Run{fresh(t, "a", 1, 1), fresh(t, "b", 1, 9)}, Options{Threshold: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	if got := sentence(r.Shifts[0]); !strings.HasPrefix(got, "No difference is shown between a and b: p99 lies between ") {
		t.Errorf("sentence = %q", got)
	}
	if whole, list := r.Gate(); whole != Pass {
		t.Errorf("gate = %s of %+v, want pass at 50 %%", whole, list)
	}
}

func TestAGateSaysWhatChangedInItsOwnDirection(t *testing.T) {
	f := func(of string, change, lo, hi float64, want Decision, says string) {
		t.Helper()
		d := Difference{A: 1000, B: 1000 * (1 + change), Change: change, ChangeLo: lo, ChangeHi: hi, Supported: true}
		if of != "throughput" {
			d.P = 0.99
		}
		if j := judge(Shift{A: "a", B: "b"}, d, of, 0.05); j.Decision != want || !strings.Contains(j.Text, says) {
			t.Errorf("%s by %g: %s, %q; want %s and %q", of, change, j.Decision, j.Text, want, says)
		}
	}
	f("p99", 0.2, 0.15, 0.25, Fail, "p99 changed by +20 % (+15 % to +25 %), worse than the 5 % allowed")
	f("p99", -0.2, -0.25, -0.15, Pass, "p99 is worse by no more than 5 %: it changed by −20 %")
	f("throughput", -0.2, -0.25, -0.15, Fail, "throughput changed by −20 % (−25 % to −15 %), worse")
	f("throughput", 0.2, 0.15, 0.25, Pass, "it changed by +20 %")
	f("p99", 0.04, -0.02, 0.1, Undecided, "too wide an interval")
	pairs := Shift{A: "a", B: "b", Pairs: 6}
	d := Difference{P: 0.99, A: 1, B: 1.1, Change: 0.1, ChangeLo: 0.02, ChangeHi: 0.19, Supported: true}
	if got := more(pairs, d, 0.05); got != "about 11 pairs more would decide" {
		t.Errorf("an interval of 0.08 around 0.1 at 0.05: %q", got)
	}
	if got := more(pairs, d, 0.0999); !strings.HasPrefix(got, "more than 100 pairs more") {
		t.Errorf("a change at the threshold: %q", got)
	}
	nothing := &Result{Shifts: []Shift{{A: "a", B: "b", Points: []Difference{{P: 0.99}}, Rate: Difference{A: 5, B: 5, Supported: true}}}, Options: Options{Threshold: 0.05}}
	if whole, list := nothing.Gate(); whole != Undecided || !strings.Contains(list[0].Text, "measure longer") {
		t.Errorf("a throughput alone: %s of %+v, want undecided", whole, list)
	}
}

func TestOtherWorkloadsAreRefusedUnlessForced(t *testing.T) {
	a, b := fresh(t, "a", 1, 1), fresh(t, "b", 1, 2)
	b.Folder.Summary.Workload = result.Workload{Name: "other", SHA256: "ffff"}
	if _, err := Compare([]*Run{a, b}, Options{}); !errors.Is(err, ErrWorkloads) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("Compare = %v, want a refusal that names --force", err)
	}
	r, err := Compare([]*Run{a, b}, Options{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	d := Document(r, false)
	if d.Stamp != "Different workloads" {
		t.Errorf("stamp = %q", d.Stamp)
	}
	for _, f := range d.Figures() {
		if f.Name == "shift" && !strings.Contains(f.Caption, "DIFFERENT WORKLOADS") {
			t.Errorf("the figure is not labelled: %s", f.Caption)
		}
	}
	b.Folder.Summary.Workload = a.Folder.Summary.Workload
	b.Folder.Summary.Loop = "closed"
	if _, err := Compare([]*Run{a, b}, Options{}); !errors.Is(err, ErrWorkloads) {
		t.Errorf("open against closed loop = %v, want a refusal", err)
	}
}

func TestFewPairsAreUndecidedAndSayHowManyMore(t *testing.T) {
	var runs []*Run
	for i := range 6 {
		runs = append(runs, fresh(t, fmt.Sprintf("a%d", i), 1, uint64(10+i)), fresh(t, fmt.Sprintf("b%d", i), 1.2, uint64(20+i)))
		switch i {
		case 2:
			r, err := Compare(runs, Options{Pairs: true, Threshold: 0.05})
			if err != nil {
				t.Fatal(err)
			}
			if whole, list := r.Gate(); whole != Undecided || !strings.Contains(list[0].Text, "six pairs") {
				t.Errorf("three pairs: gate = %s of %+v, want undecided", whole, list)
			}
		case 5:
			r, err := Compare(runs, Options{Pairs: true, Threshold: 0.05})
			if err != nil {
				t.Fatal(err)
			}
			d := at(r.Shifts[0], 0.5)
			if !d.Known() || d.ChangeLo > 0.2 || d.ChangeHi < 0.2 {
				t.Errorf("six pairs: p50 changed by [%.3f, %.3f], want around 0.2", d.ChangeLo, d.ChangeHi)
			}
			if whole, _ := r.Gate(); whole != Fail {
				t.Errorf("six pairs of +20 %%: gate = %s, want fail", whole)
			}
			for k, x := range r.Runs {
				x.Folder.Summary.Generator.Seed = uint64(k / 2)
				x.Folder.Environment.Kernel = []string{"6.1", "6.2"}[k%2]
			}
			doc := Document(r, true)
			apart(t, doc, "shift", "percentiles")
			var b bytes.Buffer
			if err := page.Markdown(&b, doc); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"# b0…b5 is slower than a0…a5", "From pair to pair, but not within one, this differs: seed.", "| Differs | a0…a5 | b0…b5 |", "| kernel | 6.1 | 6.2 |", "all runs of a side pooled"} {
				if !strings.Contains(b.String(), want) {
					t.Errorf("six pairs: the report does not say %q:\n%.1500s", want, b.String())
				}
			}
		}
	}
	if _, err := Compare(runs[:3], Options{Pairs: true}); err == nil {
		t.Error("three runs make one and a half pairs, and no error")
	}
}

func TestTheSimultaneousIntervalCoversZeroMostly(t *testing.T) {
	// 60 comparisons of equal blocks: with 95 % each, more than 10 that exclude
	// zero somewhere have a chance below 1 in 2,000.
	rnd := rand.New(rand.NewPCG(4, 4))
	wrong := 0
	for range 60 {
		d := make([][]float64, 8)
		for i := range d {
			d[i] = make([]float64, len(shares)+1)
			common := rnd.NormFloat64() * 0.02
			for j := range d[i] {
				d[i][j] = common + rnd.NormFloat64()*0.02
			}
		}
		s := Shift{Points: make([]Difference, len(shares)), Pairs: 8, Rate: Difference{Supported: true}}
		for j := range s.Points {
			s.Points[j] = Difference{P: shares[j], Supported: true}
		}
		pairBand(&s, d)
		if up, down := shown(s); len(up)+len(down) > 0 {
			wrong++
		}
	}
	if wrong > 10 {
		t.Errorf("%d of 60 comparisons of equals claim a difference", wrong)
	}
}

func TestChangePointsAreWhereTheStepIs(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	values := make([]float64, 40)
	for i := range values {
		values[i] = 1000 * (1 + 0.02*rnd.NormFloat64())
		if i >= 22 {
			values[i] *= 1.15
		}
	}
	got := changes(values)
	if len(got) != 1 || got[0].at != 22 || math.Abs(got[0].after/got[0].before-1.15) > 0.02 {
		t.Errorf("changes = %+v, want one at 22 of +15 %%", got)
	}
	if got := changes(values[:22]); len(got) != 0 {
		t.Errorf("noise changed at %+v", got)
	}
	for i := range values[22:] {
		values[22+i] /= 1.13 // 2 % remain: shown, perhaps, but too small to matter
	}
	if got := changes(values); len(got) != 0 {
		t.Errorf("a step of 2 %% is reported: %+v", got)
	}
	if got := changes(values[:13]); got != nil {
		t.Errorf("13 values changed at %+v", got)
	}
}

func TestTrendFollowsRunsAndLeavesOthersOut(t *testing.T) {
	root := t.TempDir()
	var dirs []string
	for i := range 16 {
		scale := 1.0
		if i >= 8 {
			scale = 1.4
		}
		dir := filepath.Join(root, fmt.Sprint("r", i))
		if err := sample.Large(dir, sample.Size{Seconds: 8, Operations: 1, Nodes: 1, Samples: 300, Scale: scale, Seed: uint64(i), Day: i, Fresh: true}); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	if err := sample.Alter(dirs[3], func(s *result.Summary) { s.Workload.SHA256 = "other" }); err != nil {
		t.Fatal(err)
	}
	d, err := Trend(append(dirs, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	apart(t, d, "trend-p50", "trend-p99", "trend-throughput")
	if want := "Over 15 runs p50 changed once, p99 changed once"; d.Title != want {
		t.Errorf("title = %q, want %q", d.Title, want)
	}
	var b bytes.Buffer
	if err := page.Markdown(&b, d); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"another workload", "no run folder", "p50 changed by +4"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the trend does not say %q:\n%.1500s", want, b.String())
		}
	}
}

func TestShortRunsHaveNoInterval(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "short")
	if err := sample.Large(dir, sample.Size{Seconds: 8, Operations: 1, Nodes: 1, Samples: 800}); err != nil {
		t.Fatal(err)
	}
	short, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Compare([]*Run{fresh(t, "a", 1, 1), short}, Options{Threshold: 0.05})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := page.Markdown(&b, Document(r, true)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Whether short differs from a is not known: an interval needs ten seconds of each run.", "without an interval", "| none |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report does not say %q:\n%.900s", want, b.String())
		}
	}
	if whole, _ := r.Gate(); whole != Undecided {
		t.Errorf("gate = %s, want undecided", whole)
	}
}

func TestNothingToCompareIsAnError(t *testing.T) {
	if _, err := Read(t.TempDir()); err == nil {
		t.Error("an empty folder was read")
	}
	a := fresh(t, "a", 1, 1)
	if _, err := Compare([]*Run{a}, Options{}); err == nil {
		t.Error("one run was compared")
	}
}

func TestRunsOfDifferentDilationAreNotCompared(t *testing.T) {
	a, b := fresh(t, "a", 1, 1), fresh(t, "b", 1, 2)
	b.Folder.Summary.Device = &result.Device{Spec: "emulated:nvme@20", Dilation: 20}
	if _, err := Compare([]*Run{a, b}, Options{}); !errors.Is(err, ErrWorkloads) || !strings.Contains(err.Error(), "stretched 1 times, those of b 20 times") {
		t.Errorf("Compare = %v, want a refusal that names the dilations", err)
	}
	a.Folder.Summary.Device = &result.Device{Spec: "emulated:hdd@20", Dilation: 20}
	if _, err := Compare([]*Run{a, b}, Options{}); err != nil {
		t.Errorf("runs of one dilation: %v", err)
	}
}

func TestWhatTheRecordsWereOnIsAmongTheDifferences(t *testing.T) {
	a, b := fresh(t, "a", 1, 1), fresh(t, "b", 1, 1)
	a.Folder.Summary.Device = &result.Device{Spec: "dram", Class: "dram", Dilation: 1}
	b.Folder.Summary.Device = &result.Device{Spec: "emulated:sata-ssd@1", Class: "ssd", Dilation: 1}
	x := environmentDiff([]*Run{a, b}, false)
	if x.table == nil || len(x.table.Rows) != 1 || x.table.Rows[0][0].Text != "device" || x.table.Rows[0][2].Text != "emulated:sata-ssd@1, class ssd" {
		t.Errorf("runs on memory and on a device: %+v", x)
	}
}

// TestFailedOperationsAreNotTakenForTooFewSamples: a run of which half failed has
// an infinite p99, not one without samples.
func TestFailedOperationsAreNotTakenForTooFewSamples(t *testing.T) {
	p := result.Percentiles{P50: new(float64), Infinite: []string{"p99"}, Unsupported: []string{"p99_9"}}
	if c := percentile(p, "p99", nil); c.Text != "∞" || !c.Bad {
		t.Errorf("an infinite p99 of an operation: %+v", c)
	}
	if c := percentile(p, "p99_9", nil); c.Text != "not enough samples" {
		t.Errorf("an unsupported p99.9: %+v", c)
	}
	good, bad := fresh(t, "a", 1, 1), fresh(t, "b", 1, 2)
	list := []trendRun{{dir: "a", run: good.Folder, values: []float64{400, 900, 80}}, {dir: "b", run: bad.Folder, values: []float64{500, optional(p, "p99", nil), 40}},
		{dir: "c", run: bad.Folder, values: []float64{500, optional(p, "p99_9", nil), 40}}}
	d := trendDocument(list, nil)
	var b bytes.Buffer
	if err := page.Markdown(&b, d); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"**∞** (failed operations)", "not enough samples", "The p99 of 1 of 3 runs"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the trend does not say %q:\n%s", want, b.String())
		}
	}
}

func TestPanelsOfATrendStandBelowEachOther(t *testing.T) {
	r := fresh(t, "a", 1, 1)
	var list []trendRun
	for i := range 5 {
		p99 := 900.0
		if i == 4 {
			p99 = math.NaN() // the last run has none: its place stays
		}
		list = append(list, trendRun{dir: fmt.Sprint(i), run: r.Folder, values: []float64{4e6, p99, 123_456}})
	}
	figures := trendDocument(list, nil).Figures()
	if len(figures) != 3 {
		t.Fatalf("%d figures", len(figures))
	}
	for _, f := range figures[1:] {
		a, b := figures[0].Wide.Frame, f.Wide.Frame
		if a.Left != b.Left || a.Right != b.Right || a.To != b.To {
			t.Errorf("%s stands from %g to %g and spans to %g, %s from %g to %g, to %g", figures[0].Name, a.Left, a.Right, a.To, f.Name, b.Left, b.Right, b.To)
		}
	}
}

func TestARunThatFailsMoreOperationsDiffers(t *testing.T) {
	nan := math.NaN()
	worse := Shift{A: "a", B: "b", Points: []Difference{{P: 0.99, A: 900, B: math.Inf(1), ChangeLo: nan, ChangeHi: nan, Supported: true}}}
	same := Shift{A: "a", B: "c", Points: []Difference{{P: 0.99, A: 900, B: 900, ChangeLo: -0.1, ChangeHi: 0.1, Supported: true}}}
	r := &Result{Runs: []*Run{{Name: "a"}, {Name: "b"}, {Name: "c"}}, Shifts: []Shift{worse, same}}
	if got, want := title(r), "1 of 2 runs is shown to differ from a"; got != want {
		t.Errorf("title = %q, want %q", got, want)
	}
	if got, want := sentence(worse), "b fails more operations than a: its p99 is infinite, that of a 900 µs."; got != want {
		t.Errorf("sentence = %q, want %q", got, want)
	}
}

// TestGreatChangesAreDrawnAsMultiples: an interval of a million per cent must not
// press the others on zero.
func TestGreatChangesAreDrawnAsMultiples(t *testing.T) {
	s := Shift{A: "a", B: "b", Points: []Difference{{P: 0.5, A: 400, B: 160_000, Change: 399, ChangeLo: 4.6, ChangeHi: 26_852, Supported: true},
		{P: 0.9, A: 900, B: 500, Change: -0.44, ChangeLo: -0.6, ChangeHi: -0.2, Supported: true}}, Rate: Difference{A: 800, B: 170, Change: -0.79, ChangeLo: math.NaN(), ChangeHi: math.NaN()}}
	f := shiftFigure(&Result{}, s, "shift")
	for _, x := range append(f.Wide.Flaws(), f.Narrow.Flaws()...) {
		t.Error(x)
	}
	for _, want := range []string{"1×", "10×", "1k×", "b as a multiple of a, log scale"} {
		if !strings.Contains(f.Wide.SVG, want) {
			t.Errorf("no %q in the figure", want)
		}
	}
	if !strings.Contains(f.Caption, "Right of 1× is slower") {
		t.Errorf("caption %q", f.Caption)
	}
	s.Points[0].Change, s.Points[0].ChangeHi = 0.2, 0.5
	s.Points[0].ChangeLo = 0.1
	if f := shiftFigure(&Result{}, s, "shift"); !strings.Contains(f.Wide.SVG, " %") || strings.Contains(f.Wide.SVG, "×") {
		t.Error("small changes are not drawn in per cent")
	}
}

func TestGreatChangesHaveTheirThousandsApart(t *testing.T) {
	for v, want := range map[float64]string{26852.18: "+2,685,218 %", 0.123: "+12 %", -0.021: "−2.1 %", 0: "0 %"} {
		if got := signed(v); got != want {
			t.Errorf("signed(%v) = %q, want %q", v, got, want)
		}
	}
}
