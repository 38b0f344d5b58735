package drive

import (
	"context"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"headroom/loadgen/result"
	"headroom/loadgen/target"
	"headroom/workloads"
)

// mixOf is a workload of 1000 records of 100 bytes with the given shares.
func mixOf(t testing.TB, mix string) *workloads.Workload {
	t.Helper()
	w, err := workloads.Load("ycsb-c")
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"records": "1000", "value-size": "100B", "mix": mix, "keys.distribution": "uniform"} {
		if err := w.Set(k, v); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func start(t testing.TB, cfg Config) *Driver {
	t.Helper()
	if cfg.Lanes == 0 {
		cfg.Lanes = 2
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Load(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	return d
}

// run loads, runs, reads back and returns what was measured.
func run(t testing.TB, cfg Config, during func(*Driver)) (*Report, result.Audit) {
	t.Helper()
	d := start(t, cfg)
	if during != nil {
		go during(d)
	}
	r, err := d.Run(context.Background(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.ReadBack(context.Background(), 10*time.Second, nil); err != nil {
		t.Fatal(err)
	}
	return r, d.Audit()
}

func TestAHealthyTargetHasAnEmptyAudit(t *testing.T) {
	r, a := run(t, Config{Workload: mixOf(t, "get:30,put:20,read-modify-write:10,insert:10,delete:10,operate:5,touch:5,batch-get:5,batch-put:5"), Target: target.NewFake(),
		Rate: 20_000, Warmup: 100 * time.Millisecond, Duration: 500 * time.Millisecond, Seed: 1}, nil)
	if a.Lost+a.StaleReads+a.Corrupt+a.FalseNotFound != 0 {
		t.Errorf("a target without faults has findings: %+v", a)
	}
	if a.ReadBack != a.KeysWritten || a.KeysWritten < 1000 || a.ReadBackFailed != 0 {
		t.Errorf("read back %d of %d keys, %d failed, want all of at least 1000", a.ReadBack, a.KeysWritten, a.ReadBackFailed)
	}
	var count, offered int64
	for name, op := range r.Operations {
		if op.Count == 0 || op.Failed+op.InDoubt != 0 || op.OK != op.Count || op.Lateness.Samples != op.Count {
			t.Errorf("%s: %+v", name, op)
		}
		count += op.Count
	}
	for _, s := range r.Series {
		offered += s.Offered
	}
	if count != r.Offered || offered != r.Offered || r.Achieved != count {
		t.Errorf("count %d, series %d, offered %d, achieved %d, want all equal", count, offered, r.Offered, r.Achieved)
	}
	if r.Offered < 9_000 || r.Offered > 11_000 { // 10,000 +- 10 sigma
		t.Errorf("%d operations in 0.5 s at 20,000/s", r.Offered)
	}
}

// TestAStallShowsInResponseAsArithmeticSays: a target that answers nothing for
// 2 s delays every arrival of those seconds by what is left of them. Of n
// arrivals at a rate the slowest thousandth came in the first n/1000/rate of the
// stall. Only those in flight see it in their service time: too few for p99.9.
func TestAStallShowsInResponseAsArithmeticSays(t *testing.T) {
	const (
		rate     = 3000
		stall    = 2 * time.Second
		duration = 3200 * time.Millisecond
		inFlight = 4
	)
	f := target.NewFake()
	cfg := Config{Workload: mixOf(t, "get:100"), Target: f, Rate: rate, Arrivals: ArriveConstant, Duration: duration, Seed: 3, InFlight: inFlight,
		Faults: []time.Duration{600 * time.Millisecond}}
	r, _ := run(t, cfg, func(d *Driver) {
		<-time.After(600 * time.Millisecond)
		f.Stall(stall)
	})
	get := r.Operations["get"]
	n := duration.Seconds() * rate
	want := (stall.Seconds() - n/1000/rate) * 1e6
	// A busy machine adds its own delays, and takes none away.
	atLeast := func(name string, got, want float64) {
		t.Helper()
		if got < 0.9*want || got > want+stall.Seconds()*1e6 {
			t.Errorf("%s = %.0f us, want %.0f", name, got, want)
		}
	}
	atLeast("response p99.9", value(get.Response.P999), want)
	// 2 of 3.2 s of arrivals wait evenly between 2 s and none: the median is the
	// wait of those that came (3.2/2)/2 of the way before the stall's end.
	want = (stall.Seconds() - duration.Seconds()/2) * 1e6
	atLeast("response p50", value(get.Response.P50), want)
	if got := value(get.Service.P999); got < 0 || got > stall.Seconds()*1e6/2 {
		t.Errorf("service p99.9 = %.0f us: the stall hit %d of %.0f operations", got, inFlight, n)
	}
	if r.Queued == 0 {
		t.Error("no arrival was queued by the in-flight limit")
	}
	if g := r.GapAround(600 * time.Millisecond); !g.Known || g.Worst < stall*9/10 || g.Worst > stall*3/2 || g.Failed != 0 {
		t.Errorf("gap = %+v, want about %v", g, stall)
	}
}

// starved is a target whose first lane gets no CPU for 3 ms at every
// submission, as on a core that something else holds.
type starved struct {
	*target.Fake
	lanes atomic.Int32
}

type starvedLane struct{ target.Lane }

func (s *starved) NewLane(n int, complete func(*target.Result)) (target.Lane, error) {
	l, err := s.Fake.NewLane(n, complete)
	if s.lanes.Add(1)%2 == 1 {
		l = &starvedLane{l}
	}
	return l, err
}

func (l *starvedLane) Submit(op *target.Op) error {
	for end := time.Now().Add(3 * time.Millisecond); time.Now().Before(end); {
	}
	return l.Lane.Submit(op)
}

func TestAStarvedLaneIsCaught(t *testing.T) {
	d := start(t, Config{Workload: mixOf(t, "get:100"), Target: target.NewFake(), Rate: 1600, Duration: 900 * time.Millisecond, Lanes: 2, Seed: 1,
		Deadline: 300 * time.Millisecond})
	d.cfg.Target = &starved{Fake: d.cfg.Target.(*target.Fake)}
	r, err := d.Run(context.Background(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := result.Summary{Target: "quic://elsewhere:4300", Generator: result.Generator{GOMAXPROCS: 2}}
	d.Summarize(r, &s)
	if s.Generator.WorstLaneLatenessUS == nil || *s.Generator.WorstLaneLatenessUS < 1000 {
		t.Errorf("the worst lane's lateness p99 is %v us, want milliseconds", value(s.Generator.WorstLaneLatenessUS))
	}
	for _, v := range Verdicts(&s, nil) {
		if v.Rule == "GENERATOR-LIMITED" && v.Level == result.Fail {
			return
		}
	}
	t.Errorf("a generator with a starved lane was believed: %+v", Verdicts(&s, nil))
}

// TestRareSamplesCountForTheirTime: eight in flight for two of ten seconds are
// 1.6 on average, however rarely the others are looked at.
func TestRareSamplesCountForTheirTime(t *testing.T) {
	l := &lane{slots: make([]slot, 8)}
	c := &collector{r: &Report{lanes: []*lane{l}}, w: window{end: 10 * time.Second}}
	for at := time.Duration(0); at < 10*time.Second; at += 5 * time.Millisecond {
		quiet := at < 4*time.Second || at >= 6*time.Second
		if l.free = nil; quiet {
			l.free = make([]uint32, 8)
		}
		if !quiet || at%(40*time.Millisecond) == 0 {
			c.look(at)
		}
	}
	if mean := c.looked.InFlightSec / c.looked.LookedSec; math.Abs(mean-1.6) > 0.05 {
		t.Errorf("%.2f in flight, want 1.6", mean)
	}
}

func TestInFlightAgreesWithLittlesLaw(t *testing.T) {
	s := result.Summary{Generator: result.Generator{InFlightMean: 10}}
	r := &Report{InFlightMean: 10, InFlightSamples: 2000, Duration: 10 * time.Second, Busy: 100 * time.Second}
	if l := r.little(); l == nil || math.Abs(*l) > 1e-9 {
		t.Errorf("10 in flight at 100/s of 100 ms: residual %v, want 0", value(r.little()))
	}
	r.Busy = 50 * time.Second
	s.Generator.LittleResidual = r.little()
	if l := r.little(); l == nil || math.Abs(*l-0.5) > 1e-9 {
		t.Errorf("10 in flight at 100/s of 50 ms: residual %v, want 0.5", value(r.little()))
	}
	found := false
	for _, v := range Verdicts(&s, nil) {
		found = found || v.Rule == "LITTLE"
	}
	if !found {
		t.Error("a residual of one half is no finding")
	}
	if r.InFlightSamples = 10; r.little() != nil {
		t.Error("ten samples are enough to accuse the measurement")
	}
	if r.InFlightSamples = 1600; r.little() != nil {
		t.Error("1,600 samples of 2,000 are enough to accuse the measurement: a starved one looks when it has nothing to do")
	}
}

func value(p *float64) float64 {
	if p == nil {
		return -1
	}
	return *p
}

// once returns a Judge that gives fate to the n-th operation of kind.
func once(kind target.Kind, n int, fate target.Fate) func(*target.Op) target.Fate {
	seen := 0
	return func(op *target.Op) target.Fate {
		if op.Kind == kind {
			if seen++; seen == n {
				return fate
			}
		}
		return target.Good
	}
}

func TestPlantedViolationsAreFound(t *testing.T) {
	cfg := Config{Workload: mixOf(t, "get:50,put:50"), Rate: 10_000, Duration: 300 * time.Millisecond, Seed: 1}
	f := func(name string, judge func(*target.Op) target.Fate, want func(result.Audit) bool) {
		t.Helper()
		fake := target.NewFake()
		fake.Judge = judge
		cfg.Target = fake
		if _, a := run(t, cfg, nil); !want(a) {
			t.Errorf("%s: audit %+v", name, a)
		}
	}
	f("flipped byte", once(target.Read, 100, target.FlipByte), func(a result.Audit) bool {
		return a.Corrupt == 1 && a.Lost+a.StaleReads+a.FalseNotFound == 0
	})
	f("hidden record", once(target.Read, 100, target.HideRecord), func(a result.Audit) bool {
		return a.FalseNotFound == 1 && a.Lost+a.StaleReads+a.Corrupt == 0
	})
	// With 1500 writes to 1000 keys most keys have a previous value after a while.
	stale := 0
	f("stale reads", func(op *target.Op) target.Fate {
		if op.Kind == target.Read && stale < 1000 {
			stale++
			return target.StaleRead
		}
		return target.Good
	}, func(a result.Audit) bool { return a.StaleReads > 100 && a.Lost+a.Corrupt+a.FalseNotFound == 0 })
}

func TestALostLastWriteIsFoundAtTheEnd(t *testing.T) {
	fake := target.NewFake()
	lost := int64(0)
	var loading atomic.Bool
	loading.Store(true)
	fake.Judge = func(op *target.Op) target.Fate {
		if op.Kind == target.Write && op.Key == 7 && !loading.Load() {
			lost++
			return target.LoseWrite
		}
		return target.Good
	}
	d := start(t, Config{Workload: mixOf(t, "put:100"), Target: fake, Rate: 20_000, Duration: 300 * time.Millisecond, Seed: 1})
	loading.Store(false)
	if _, err := d.Run(context.Background(), nil, nil); err != nil {
		t.Fatal(err)
	}
	fake.Drop(9)
	if err := d.ReadBack(context.Background(), time.Second, nil); err != nil {
		t.Fatal(err)
	}
	if a := d.Audit(); lost == 0 || a.Lost != 2 || a.StaleReads != 0 || a.FalseNotFound != 0 {
		t.Errorf("key 7 lost %d writes and key 9 vanished: audit %+v, want lost = 2", lost, a)
	}
}

func TestDoubtAndFailureAreNotLoss(t *testing.T) {
	fake := target.NewFake()
	n := 0
	fake.Judge = func(op *target.Op) target.Fate {
		if n++; op.Kind == target.Read && n%7 != 0 {
			return target.Good
		}
		return []target.Fate{target.Good, target.FailIt, target.DoubtIt, target.DoubtLost}[n%4]
	}
	r, a := run(t, Config{Workload: mixOf(t, "get:30,put:40,delete:20,insert:10"), Target: fake, Rate: 20_000, Duration: 300 * time.Millisecond,
		Seed: 1}, nil)
	if a.Lost+a.StaleReads+a.Corrupt+a.FalseNotFound != 0 {
		t.Errorf("failed and in-doubt writes were taken for violations: %+v", a)
	}
	put := r.Operations["put"]
	if put.Failed == 0 || put.InDoubt == 0 || put.Response.P90 != nil || len(put.Response.Infinite) == 0 {
		t.Errorf("put: %+v, want failed and in doubt, and an infinite p90", put)
	}
	if a.InDoubtWrites == 0 {
		t.Error("no in-doubt write counted")
	}
}

// TestFailuresAreNoRate: a target that fails half of what it is asked is not
// steady at the whole of it.
func TestFailuresAreNoRate(t *testing.T) {
	fake := target.NewFake()
	n := 0
	fake.Judge = func(*target.Op) target.Fate {
		n++
		return []target.Fate{target.Good, target.FailIt}[n%2]
	}
	r, _ := run(t, Config{Workload: mixOf(t, "get:100"), Target: fake, Rate: 1000, Duration: 1100 * time.Millisecond}, nil)
	if len(r.Seconds) == 0 || r.Seconds[0].Rate < 100 || r.Seconds[0].Rate > 700 {
		t.Errorf("seconds %v, %d operations offered, half of them failed", r.Seconds, r.Offered)
	}
}

func TestClosedLoopKeepsItsClientsBusy(t *testing.T) {
	r, _ := run(t, Config{Workload: mixOf(t, "get:100"), Target: target.NewFake(), Closed: 8, Duration: 200 * time.Millisecond}, nil)
	get := r.Operations["get"]
	if get.Count < 1000 || r.InFlightPeak > 8 || value(get.Lateness.P50) > 1000 {
		t.Errorf("closed loop: %d operations, peak %d in flight, lateness p50 %v us", get.Count, r.InFlightPeak, value(get.Lateness.P50))
	}
}

func TestWritersToOneKeyWaitForEachOther(t *testing.T) {
	w := mixOf(t, "put:100")
	w.Records = 1
	f := target.NewFake()
	r, a := run(t, Config{Workload: w, Target: f, Rate: 2000, Duration: 300 * time.Millisecond}, func(*Driver) {
		f.Stall(100 * time.Millisecond)
	})
	if r.Operations["put"].OK != r.Offered || a.Lost != 0 || r.Queued == 0 {
		t.Errorf("%d of %d writes to one key, %d queued, audit %+v", r.Operations["put"].OK, r.Offered, r.Queued, a)
	}
}

func TestAStopKeepsWhatWasMeasured(t *testing.T) {
	d := start(t, Config{Workload: mixOf(t, "get:100"), Target: target.NewFake(), Rate: 5000, Duration: time.Hour})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	r, err := d.Run(ctx, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Interrupted || r.Duration > 2*time.Second || r.Operations["get"].Count == 0 || r.Shed != 0 {
		t.Errorf("interrupted %v after %v, %d operations, %d shed", r.Interrupted, r.Duration, r.Operations["get"].Count, r.Shed)
	}
}

// mute accepts operations and never completes them.
type mute struct{}

func (mute) NewLane(int, func(*target.Result)) (target.Lane, error) { return mute{}, nil }
func (mute) Submit(*target.Op) error                                { return nil }
func (mute) Flush()                                                 {}
func (mute) Close() error                                           { return nil }

func TestOperationsThatNeverEndAreGivenUp(t *testing.T) {
	d, err := New(Config{Workload: mixOf(t, "put:100"), Target: mute{}, Rate: 1000, Duration: 100 * time.Millisecond,
		Deadline: 50 * time.Millisecond, Lanes: 1, InFlight: 10})
	if err != nil {
		t.Fatal(err)
	}
	d.table.assume(1000)
	r, err := d.Run(context.Background(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	put := r.Operations["put"]
	if put.InDoubt != 10 || put.Failed != r.Shed || put.Count != r.Offered || r.Shed < 50 {
		t.Errorf("in doubt %d, failed %d, offered %d, shed %d: want the 10 in flight in doubt and the rest shed", put.InDoubt,
			put.Failed, r.Offered, r.Shed)
	}
}

type sumSink map[string]int64

func (s sumSink) Interval(op string, kind result.Kind, h *hdr.Histogram, _, _ time.Time) {
	s[op+string(kind)] += h.TotalCount()
}

func TestIntervalsAddUpToTheSummary(t *testing.T) {
	d := start(t, Config{Workload: mixOf(t, "get:50,put:50"), Target: target.NewFake(), Rate: 20_000, Duration: 1100 * time.Millisecond})
	sink := sumSink{}
	calls := 0
	r, err := d.Run(context.Background(), sink, func(Progress) { calls++ })
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"get", "put"} {
		for _, kind := range result.Kinds {
			if got, want := sink[op+string(kind)], r.Operations[op].Count; got != want {
				t.Errorf("%s %s: intervals hold %d, summary %d", op, kind, got, want)
			}
		}
	}
	if calls < 2 {
		t.Errorf("%d progress calls in 1.1 s", calls)
	}
}

func TestNothingIsAllocatedPerOperation(t *testing.T) {
	d := start(t, Config{Workload: mixOf(t, "get:50,put:50"), Target: target.Null{}, Closed: 16, Lanes: 1, NoAudit: true,
		Duration: 300 * time.Millisecond})
	l, err := d.newLane(0, 1, window{end: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const ops = 100_000
	for range ops {
		l.issue(d.clock.Now())
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > ops/100 {
		t.Errorf("%d allocations in %d operations, want none", n, ops)
	}
}

// BenchmarkNullTarget is the whole cost of an operation but for the target:
// draw, key, value, three histograms, audit table.
func BenchmarkNullTarget(b *testing.B) {
	d := start(b, Config{Workload: mixOf(b, "get:95,put:5"), Target: target.Null{}, Closed: 16, Lanes: 1, NoAudit: true, Duration: time.Hour})
	l, err := d.newLane(0, 1, window{end: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		l.issue(d.clock.Now())
	}
}

func BenchmarkValue(b *testing.B) {
	w := mixOf(b, "put:100")
	w.ValueSize = workloads.FixedSize(1000)
	f := newFiller(w, 1)
	buf := make([]byte, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := parse(f.put(buf, header{seq: 1})); !ok {
			b.Fatal("corrupt")
		}
	}
}

// TestATargetThatTakesNoMoreIsNotTheGeneratorsFault: a stall fills the in-flight
// limit; what waits for a place is in the response times, not in the lateness.
func TestATargetThatTakesNoMoreIsNotTheGeneratorsFault(t *testing.T) {
	f := target.NewFake()
	d := start(t, Config{Workload: mixOf(t, "get:100"), Target: f, Rate: 2000, Duration: 1500 * time.Millisecond, Lanes: 1, InFlight: 50, Seed: 1,
		Deadline: 5 * time.Second})
	go f.Stall(time.Second)
	r, err := d.Run(context.Background(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	get := r.Operations["get"]
	if get.OK != get.Count || r.Queued == 0 || get.Lateness.Samples >= get.Count || value(get.Response.P90) < 400_000 {
		t.Errorf("%d of %d succeeded, %d were held back, %d have a lateness, response p90 %v us", get.OK, get.Count, r.Queued, get.Lateness.Samples, value(get.Response.P90))
	}
	s := result.Summary{Target: "quic://elsewhere:4300", Loop: "open", Generator: result.Generator{GOMAXPROCS: 2}}
	d.Summarize(r, &s)
	for _, v := range Verdicts(&s, nil) {
		if v.Rule == "GENERATOR-LIMITED" && strings.Contains(v.Text, "lateness") && value(get.Lateness.P99) < value(get.Response.P99)/10 {
			t.Errorf("the generator is accused: %s", v.Text)
		}
	}
}

func TestATargetThatGoesAwayIsSaidToBeGone(t *testing.T) {
	series := func(ok ...int64) []result.SeriesRow {
		var list []result.SeriesRow
		for i, n := range ok {
			list = append(list, result.SeriesRow{TSec: i, Op: "get", OK: n, Offered: 10}, result.SeriesRow{TSec: i, Op: "put", Failed: 3})
		}
		return list
	}
	f := func(want float64, ok ...int64) {
		t.Helper()
		r := Report{Series: series(ok...), Offered: 50, Duration: time.Duration(len(ok)) * time.Second}
		if got := value(r.nothingFrom()); got != want {
			t.Errorf("successes %v: nothing from %v on, want %v", ok, got, want)
		}
	}
	f(2, 9, 9, 0, 0, 0)
	f(-1, 9, 9, 9, 0, 0) // two seconds may be a failover
	f(-1, 9, 0, 0, 0, 9)
	f(0, 0, 0, 0)
	from := 2.0
	s := result.Summary{NothingFromSec: &from}
	level := func() result.Level {
		for _, v := range Verdicts(&s, nil) {
			if v.Rule == "TARGET" {
				return v.Level
			}
		}
		return ""
	}
	if got := level(); got != result.Fail {
		t.Errorf("level %q, want fail", got)
	}
	s.Faults = []result.Fault{{What: "kill"}}
	if got := level(); got != result.Warn {
		t.Errorf("level %q after a fault of ours, want warn", got)
	}
	s = result.Summary{Audit: result.Audit{Enabled: true, ReadBackFailed: 7}}
	if got := level(); got != result.Fail {
		t.Errorf("level %q when nothing can be read back, want fail", got)
	}
	s.Audit.ReadBack = 1
	if got := level(); got != "" {
		t.Errorf("level %q when something was read back, want none", got)
	}
}
