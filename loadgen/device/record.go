package device

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"headroom/loadgen/pace"
	"headroom/loadgen/result"
)

// Second is a second of a run, for a run folder. The histograms are valid
// during the call.
type Second struct {
	T        int // from the start of the measured phase
	From, To time.Time
	Kinds    [3]SecondOf
}

// SecondOf is one kind of request in a second.
type SecondOf struct {
	Offered, OK, Failed         int64
	Response, Service, Lateness *hdr.Histogram
}

// Slice is a stretch of the measured phase. The worst one decides.
type Slice struct {
	TSec    int        `json:"t_s"`
	Seconds int        `json:"seconds"`
	Kinds   [3]SliceOf `json:"kinds"`
	Over    []float64  `json:"over"` // share of small reads beyond each limit
	Passed  bool       `json:"passed"`
}

// SliceOf is one kind of request in a slice.
type SliceOf struct {
	Kind   string             `json:"kind"`
	Count  int64              `json:"count"`
	Failed int64              `json:"failed"`
	P      result.Percentiles `json:"response_us"`
}

// Report is what a run found.
type Report struct {
	Clock      pace.Clock
	From       time.Duration // start of the measured phase
	Seconds    int
	Operations map[string]result.Operation
	All        result.Operation // the kinds together
	Offered    [3]int64
	Slices     []Slice
	Worst      int    // of Slices, -1 without any
	Passed     bool   // every slice within every limit, and nothing fell behind
	Why        string // why not
	Stopped    bool   // ended before its duration
	// LateSelf says that the generator itself was late: its lateness p99 is
	// above 50 us and a tenth of the reads' p99, so that a failure may be its
	// own.
	LateSelf   bool
	FirstError error
}

// lateFloor is the lateness that a good timer has anyway.
const lateFloor = 50 * time.Microsecond

// counts is one kind over some time.
type counts struct {
	offered, ok, failed         int64
	over                        []int64
	response, service, lateness *hdr.Histogram
}

func newCounts(limits int) counts {
	return counts{over: make([]int64, limits), response: result.NewHistogram(), service: result.NewHistogram(), lateness: result.NewHistogram()}
}

func (c *counts) add(d *counts) {
	c.offered, c.ok, c.failed = c.offered+d.offered, c.ok+d.ok, c.failed+d.failed
	for i := range c.over {
		c.over[i] += d.over[i]
	}
	c.response.Merge(d.response)
	c.service.Merge(d.service)
	c.lateness.Merge(d.lateness)
}

// operation summarises c for run.json.
func (c *counts) operation() result.Operation {
	return result.Operation{Count: c.offered, OK: c.ok, Failed: c.failed, Response: result.Summarize(c.response, c.failed),
		Service: result.Summarize(c.service, c.failed), Lateness: result.Summarize(c.lateness, 0)}
}

func (c *counts) reset() {
	c.offered, c.ok, c.failed = 0, 0, 0
	clear(c.over)
	c.response.Reset()
	c.service.Reset()
	c.lateness.Reset()
}

// recorder gathers what the workers see, second by second.
type recorder struct {
	cfg   *Config
	clock pace.Clock
	over  atomic.Bool // the run has ended: what is still queued is dropped

	mu    sync.Mutex // guards all below
	now   [3]counts
	first error

	// The goroutine of tick owns these.
	slice, total [3]counts
	slices       []Slice
	seconds      int
}

func newRecorder(cfg *Config, clock pace.Clock) *recorder {
	r := &recorder{cfg: cfg, clock: clock}
	for k := range kinds {
		r.now[k], r.slice[k], r.total[k] = newCounts(len(cfg.Limits)), newCounts(len(cfg.Limits)), newCounts(len(cfg.Limits))
	}
	return r
}

// record counts a request in the second in which it ended.
func (r *recorder) record(kind int, intended, sent, done, late time.Duration, err error) {
	if intended < r.cfg.Warmup {
		return
	}
	took := done - intended
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.now[kind]
	c.offered++
	for i, l := range r.cfg.Limits {
		if err != nil || took > l.Over {
			c.over[i]++
		}
	}
	keep(c.lateness, late)
	if err != nil {
		c.failed++
		if r.first == nil {
			r.first = err
		}
		return
	}
	c.ok++
	keep(c.response, took)
	keep(c.service, done-sent)
}

// keep records d; beyond what a histogram holds counts as that.
func keep(h *hdr.Histogram, d time.Duration) {
	_ = h.RecordValue(int64(min(max(d, 0), result.MaxLatency))) // clamped: cannot fail
}

// tick closes the measured seconds one after the other, all but the last, and
// returns at the end of the run.
func (r *recorder) tick(ctx context.Context) {
	spare := [3]counts{}
	for k := range spare {
		spare[k] = newCounts(len(r.cfg.Limits))
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for end := r.cfg.Warmup + time.Second; end <= r.cfg.Warmup+r.cfg.Duration; end += time.Second {
		timer.Reset(end - r.clock.Now())
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if end == r.cfg.Warmup+r.cfg.Duration {
			return
		}
		r.mu.Lock()
		r.now, spare = spare, r.now
		r.mu.Unlock()
		r.second(end-time.Second, &spare)
		for k := range spare {
			spare[k].reset()
		}
	}
}

// last files the last second, when the workers have ended.
func (r *recorder) last() { r.second(r.cfg.Warmup+r.cfg.Duration-time.Second, &r.now) }

// second files a second that has ended.
func (r *recorder) second(from time.Duration, got *[3]counts) {
	s := Second{T: r.seconds, From: r.clock.Wall(from), To: r.clock.Wall(from + time.Second)}
	for k := range got {
		c := &got[k]
		s.Kinds[k] = SecondOf{c.offered, c.ok, c.failed, c.response, c.service, c.lateness}
		r.slice[k].add(c)
	}
	if r.cfg.Second != nil {
		r.cfg.Second(s)
	}
	r.seconds++
	if r.seconds%int(max(r.cfg.Slice, time.Second)/time.Second) == 0 {
		r.closeSlice()
	}
}

// closeSlice judges the slice that has ended.
func (r *recorder) closeSlice() {
	began := 0
	if n := len(r.slices); n > 0 {
		began = r.slices[n-1].TSec + r.slices[n-1].Seconds
	}
	// A slice in which no read ended has not passed: all of them wait.
	s := Slice{TSec: began, Seconds: r.seconds - began, Over: []float64{}, Passed: r.slice[0].offered > 0 || r.cfg.Load.ReadShare == 0}
	for k := range kinds {
		c := &r.slice[k]
		s.Kinds[k] = SliceOf{kinds[k], c.offered, c.failed, result.Summarize(c.response, c.failed)}
	}
	for i, l := range r.cfg.Limits {
		share := float64(r.slice[0].over[i]) / float64(max(r.slice[0].offered, 1))
		s.Over = append(s.Over, share)
		s.Passed = s.Passed && share < l.Share
	}
	r.slices = append(r.slices, s)
	for k := range kinds {
		r.total[k].add(&r.slice[k])
		r.slice[k].reset()
	}
}

// report judges the run. cause is why its context ended early, or nil.
func (r *recorder) report(cause error) *Report {
	if len(r.slices) == 0 && r.seconds > 0 || r.seconds > 0 && r.slices[len(r.slices)-1].TSec+r.slices[len(r.slices)-1].Seconds < r.seconds {
		r.closeSlice() // a last one, shorter
	}
	rep := &Report{Clock: r.clock, From: r.cfg.Warmup, Seconds: r.seconds, Operations: map[string]result.Operation{}, Slices: r.slices,
		Worst: -1, Passed: r.seconds > 0, Stopped: cause != nil, FirstError: r.first}
	all := newCounts(len(r.cfg.Limits))
	for k, name := range kinds {
		t := &r.total[k]
		rep.Offered[k] = t.offered
		if t.offered == 0 {
			continue
		}
		rep.Operations[name] = t.operation()
		all.add(t)
	}
	rep.All = all.operation()
	if late, ok := result.Quantile(r.total[0].lateness, 0, 0.99); ok {
		p99, _ := result.Quantile(r.total[0].response, r.total[0].failed, 0.99)
		rep.LateSelf = late > float64(lateFloor) && late > p99/10
	}
	worst := math.Inf(-1)
	for i := range r.slices {
		if b := r.burden(&r.slices[i]); b > worst {
			worst, rep.Worst = b, i
		}
	}
	switch {
	case rep.Worst >= 0 && !r.slices[rep.Worst].Passed:
		rep.Passed, rep.Why = false, "the worst slice is beyond a limit"
	case errors.Is(cause, errLag):
		rep.Passed, rep.Why = false, errLag.Error()
	case r.first != nil:
		rep.Passed, rep.Why = false, "requests failed: "+r.first.Error()
	case r.seconds == 0:
		rep.Why = "nothing was measured"
	}
	return rep
}

// burden is how near a slice comes to its limits: 1 is at one of them.
func (r *recorder) burden(s *Slice) float64 {
	b := 0.0
	for i, l := range r.cfg.Limits {
		b = max(b, s.Over[i]/l.Share)
	}
	if p := s.Kinds[0].P.P99; p != nil && b == 0 {
		b = *p * 1e-12 // nothing beyond a limit: the slower p99
	}
	return b
}
