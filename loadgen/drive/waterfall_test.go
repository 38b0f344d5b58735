package drive

import (
	"math"
	"testing"
	"time"

	"headroom/loadgen/proof"
	"headroom/loadgen/result"
	"headroom/loadgen/target"
	"headroom/workloads"
)

// telling is a target that tells the stages of single requests.
type telling struct{ target.Target }

func (t telling) Sampled(k target.Kind) bool { return k == target.Read || k == target.Write }

func (t telling) NewLane(n int, complete func(*target.Result)) (target.Lane, error) {
	stages := target.Stages{Node: "node2"}
	stages.D[target.StageStorage] = 2 * time.Nanosecond
	return t.Target.NewLane(n, func(r *target.Result) {
		r.Stages = &stages
		complete(r)
	})
}

func TestSampledOperationsTellTheirStages(t *testing.T) {
	const every = 7
	cfg := Config{Workload: mixOf(t, "get:60,update:30,read-modify-write:5,scan:5"), Target: telling{target.NewFake()},
		Rate: 20000, Warmup: 100 * time.Millisecond, Duration: 300 * time.Millisecond, Waterfall: every, Seed: 1}
	r, _ := run(t, cfg, nil)
	if r.Stages == nil {
		t.Fatal("no stages")
	}
	for op, want := range map[string]bool{"get": true, "update": true, "read-modify-write": true, "scan": false} {
		s, ok := r.Stages.Operations[op]
		n := r.Operations[op].Count
		if ok != want || ok && (s.Asked < n/every-10 || s.Asked > n/every+10 || s.Answered != s.Asked || s.Every != every) {
			t.Errorf("%s: %d operations, stages %+v", op, n, s)
		}
	}
	requests := map[string]float64{"get": 1, "update": 1, "read-modify-write": 2}
	for _, s := range r.StageSamples {
		const storage = 1 + int(target.StageStorage)
		if s.Node != "node2" || math.Abs(s.StagesUS[storage]-0.002*requests[s.Op]) > 1e-9 || s.StagesUS[0] > s.ResponseUS || s.TSec < 0 || s.TSec > 0.3 {
			t.Fatalf("sample %+v", s)
		}
	}
	cfg.Waterfall = NoWaterfall
	if r, _ := run(t, cfg, nil); r.Stages != nil || len(r.StageSamples) > 0 {
		t.Errorf("%d samples although none was wanted", len(r.StageSamples))
	}
}

func TestStagesHaveOneNameEach(t *testing.T) {
	if len(result.StageNames) != 1+int(target.NumStages) {
		t.Fatalf("%d names for lateness and %d stages", len(result.StageNames), target.NumStages)
	}
	for stage, want := range map[target.Stage]string{target.StageWait: "wait", target.StageAdmission: "admission", target.StageForward: "forward", target.StageReceive: "receive"} {
		if got := result.StageNames[1+stage]; got != want {
			t.Errorf("stage %d is called %q, want %q", stage, got, want)
		}
	}
}

func TestSamplesStayBoundedAndEven(t *testing.T) {
	w := &waterfall{}
	x := &sample{asked: 1, answered: 1}
	const n = 5*waterfallKeep + 3
	for i := range n {
		w.keep(&slot{kind: workloads.Get, sample: x, intended: time.Duration(i), sent: time.Duration(i)}, true, time.Duration(2*i))
	}
	list, s := w.report()
	get := s.Operations["get"]
	if get.Answered != n || int(get.Samples) != len(list) || len(list) >= waterfallKeep || len(list) < waterfallKeep/2 {
		t.Fatalf("%d samples kept, %+v", len(list), get)
	}
	step := list[1].TSec - list[0].TSec
	for i := range list[1:] {
		if d := list[i+1].TSec - list[i].TSec; math.Abs(d-step) > 1e-12 {
			t.Fatalf("samples %d and %d are %v apart, others %v", i, i+1, d, step)
		}
	}
}

func TestTheRateDecidesHowManyAreSampled(t *testing.T) {
	for rate, want := range map[float64]int{0: 1000, 50: 10, 5000: 50, 1e6: 1000} {
		if got := waterfallEvery(rate); got != want {
			t.Errorf("at %v a second one in %d, want %d", rate, got, want)
		}
	}
}

func TestALateTickOfTheWarmUpLosesNoOperation(t *testing.T) {
	d := start(t, Config{Workload: mixOf(t, "get:100"), Target: target.NewFake(), Rate: 100, Duration: time.Second})
	r := &Report{Blocks: map[string]*proof.Blocks{}}
	w := window{measured: d.clock.Now(), end: d.clock.Now() + time.Second}
	l, err := d.newLane(0, 1, w)
	if err != nil {
		t.Fatal(err)
	}
	r.lanes = []*lane{l}
	defer r.closeLanes()
	c := newCollector(d, r, w)
	l.now[workloads.Get].record(target.OK, time.Millisecond, time.Millisecond, 0) // of second 0
	c.tick(-1)
	c.tick(0)
	c.finish()
	if n := r.Operations["get"].OK; n != 1 || len(r.Series) != 1 || r.Series[0].OK != 1 {
		t.Errorf("%d operations in the summary, series %+v", n, r.Series)
	}
}
