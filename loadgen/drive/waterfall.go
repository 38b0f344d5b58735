package drive

import (
	"slices"
	"sync"
	"time"

	"headroom/loadgen/result"
	"headroom/loadgen/target"
	"headroom/workloads"
)

const (
	// NoWaterfall as Config.Waterfall samples nothing.
	NoWaterfall = -1
	// waterfallRate is how many operations of each kind are sampled a second
	// when Config.Waterfall leaves it open: 500 in five seconds, enough for the
	// row of p99.
	waterfallRate = 100
	// waterfallFew and waterfallMany bound what that makes of a rate: of 10 to
	// 1000 operations one is sampled. A sample costs about a microsecond of the
	// generator and as much of the node.
	waterfallFew, waterfallMany = 10, 1000
	// waterfallKeep bounds the samples kept of one kind, about a megabyte of
	// stages.csv; beyond it every second is left out.
	waterfallKeep = 8192
)

// sample is an operation whose stages are asked for.
type sample struct {
	stages   target.Stages // of its requests together
	asked    int           // requests
	answered int           // requests whose stages are known
}

// waterfall gathers the sampled operations of one Run.
type waterfall struct {
	every  [workloads.Ops]int // one in so many of each kind; 0: none
	opened time.Duration      // start of the measured phase

	mu    sync.Mutex // guards all below; taken after a lane's
	kinds [workloads.Ops]sampled
}

// sampled is what was kept of one kind.
type sampled struct {
	asked, answered int64
	stride          int64 // one in so many answered ones is kept
	list            []result.StageSample
}

// newWaterfall decides how often each kind is sampled in a run whose measured
// phase begins at opened.
func (d *Driver) newWaterfall(opened, length time.Duration) *waterfall {
	w := &waterfall{opened: opened}
	stager, ok := d.cfg.Target.(target.Stager)
	if !ok || d.cfg.Waterfall == NoWaterfall {
		return w
	}
	mix := d.mixes(length)[0]
	for op := range workloads.Ops {
		if !d.cfg.Workload.Issues(op) || !slices.ContainsFunc(kindsOf[op], stager.Sampled) {
			continue
		}
		if w.every[op] = d.cfg.Waterfall; w.every[op] == 0 {
			w.every[op] = waterfallEvery(d.cfg.peakRate() * mix.share(op) / 100)
		}
	}
	return w
}

// waterfallEvery is of how many operations one is sampled at a rate, zero when
// that is not known.
func waterfallEvery(rate float64) int {
	if rate <= 0 {
		return waterfallMany
	}
	return min(max(int(rate/waterfallRate), waterfallFew), waterfallMany)
}

// peakRate is the highest rate of an open loop, zero for a closed one.
func (c *Config) peakRate() float64 {
	if !c.open() {
		return 0
	}
	return c.peak()
}

// share is an operation's part of the mix, percent.
func (m *stageMix) share(op workloads.Op) float64 {
	if op == 0 {
		return m.cumul[0]
	}
	return m.cumul[op] - m.cumul[op-1]
}

// sampling decides whether the lane's next operation of a kind is sampled.
func (l *lane) sampling(kind workloads.Op) *sample {
	every := l.d.waterfall.every[kind]
	if every == 0 {
		return nil
	}
	l.sinceSample[kind]++
	if l.sinceSample[kind] < every {
		return nil
	}
	l.sinceSample[kind] = 0
	return &sample{}
}

// add takes in the stages of one request; nil when the target did not tell.
func (s *sample) add(t *target.Stages) {
	s.asked++
	if t == nil {
		return
	}
	s.answered++
	s.stages.Node = t.Node
	for i, d := range t.D {
		s.stages.D[i] += d
	}
}

// keep adds an operation that has ended; answered says how. It reports whether
// the stages are known.
func (w *waterfall) keep(s *slot, answered bool, now time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := &w.kinds[s.kind]
	k.asked++
	if !answered || s.sample.answered < s.sample.asked || s.sent < 0 {
		return false
	}
	k.answered++
	if k.stride = max(k.stride, 1); k.answered%k.stride != 0 {
		return true
	}
	x := result.StageSample{TSec: (s.intended - w.opened).Seconds(), Op: s.kind.String(), Node: s.sample.stages.Node,
		ResponseUS: micros(now - s.intended)}
	x.StagesUS[0] = micros(s.sent - s.intended)
	for i, d := range s.sample.stages.D {
		x.StagesUS[1+i] = micros(d)
	}
	if k.list = append(k.list, x); len(k.list) >= waterfallKeep {
		k.thin()
	}
	return true
}

// thin leaves out every second sample, and of those to come.
func (k *sampled) thin() {
	for i := range len(k.list) / 2 {
		k.list[i] = k.list[2*i+1]
	}
	k.list = k.list[:len(k.list)/2]
	k.stride *= 2
}

func micros(d time.Duration) float64 { return float64(d) / 1000 }

// report gives the samples and what they say, by kind; nil when none was asked.
func (w *waterfall) report() ([]result.StageSample, *result.Stages) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []result.StageSample
	out := &result.Stages{Operations: map[string]result.StageSummary{}}
	for op := range w.kinds {
		k := &w.kinds[op]
		if k.asked == 0 {
			continue
		}
		sum := result.SummarizeStages(k.list)
		sum.Every, sum.Asked, sum.Answered = w.every[op], k.asked, k.answered
		out.Operations[workloads.Op(op).String()] = sum
		list = append(list, k.list...)
	}
	if len(out.Operations) == 0 {
		return nil, nil
	}
	return list, out
}
