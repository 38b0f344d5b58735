package drive

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"headroom/loadgen/result"
	"headroom/workloads"
)

// Sink takes what a Run produces while it runs; *result.Writer is one. Its
// methods are called by one goroutine.
type Sink interface {
	// Interval is called once per second, operation and kind of the measured phase.
	Interval(op string, kind result.Kind, h *hdr.Histogram, from, to time.Time)
}

// Progress is what a Run has done so far, once a second.
type Progress struct {
	// Second is the second of the measured phase that ended, negative in the
	// warm-up; beyond the end only stragglers come in.
	Second  int
	Elapsed time.Duration // since the start of the measured phase, negative before
	Left    time.Duration
	// Of the last second, all operations together. P99US is NaN without any
	// and +Inf when failed operations reach it; of the warm-up, nothing is known.
	OK, Failed, InDoubt int64
	P50US, P99US        float64
	InFlight            int
	Audit               result.Audit
	Findings            []Finding // new ones
}

// Report is what a Run measured.
type Report struct {
	// MeasuredFrom is on the driver's clock; Wall is the same instant.
	MeasuredFrom time.Duration
	Wall         time.Time
	Duration     time.Duration // measured; shorter than planned when Interrupted
	Interrupted  bool
	Operations   map[string]result.Operation
	Series       []result.SeriesRow
	// Offered counts the arrivals intended in the measured phase (in a closed
	// loop, the submissions), Achieved those of them that ended OK.
	Offered, Achieved int64
	Shed              int64 // of the offered, never started
	Queued            int64
	InFlightPeak      int
	LateResults       int64 // answers to operations that had been given up
	CPU               time.Duration
	lanes             []*lane
}

// GapAround returns what the operations around a fault at the instant at of
// the measured phase went through. Only planned faults (Config.Faults) are
// covered, within 2 s of their plan.
func (r *Report) GapAround(at time.Duration) Gap {
	var g Gap
	for _, l := range r.lanes {
		l.gaps.add(&g, at+l.window.measured-l.window.start)
	}
	return g
}

// Run drives the warm-up and the measured phase. When ctx ends early, what was
// measured so far is reported and Interrupted is set: that is no error. sink
// and progress may be nil; progress must be quick.
func (d *Driver) Run(ctx context.Context, sink Sink, progress func(Progress)) (*Report, error) {
	start := d.clock.Now()
	w := window{start: start, measured: start + d.cfg.Warmup, end: start + d.cfg.Warmup + d.cfg.Duration}
	r := &Report{MeasuredFrom: w.measured, Wall: d.clock.Wall(w.measured)}
	defer r.closeLanes()
	for i := range d.cfg.Lanes {
		l, err := d.newLane(i, d.cfg.Lanes, w)
		if err != nil {
			return nil, fmt.Errorf("open lane %d of %d: %w", i+1, d.cfg.Lanes, err)
		}
		r.lanes = append(r.lanes, l)
	}
	var stop atomic.Bool
	defer context.AfterFunc(ctx, func() { stop.Store(true) })()
	var wg sync.WaitGroup
	for _, l := range r.lanes {
		wg.Go(func() { l.run(&stop) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	c := &collector{d: d, r: r, w: w, sink: sink, progress: progress, sum: newInterval(d.cfg.Workload),
		second: newInterval(d.cfg.Workload)}
	c.collect(done)
	c.finish()
	return r, nil
}

func (r *Report) closeLanes() {
	for _, l := range r.lanes {
		l.door.Close() // its error concerns operations that were completed or counted already
		l.timer.Close()
		l.tick.Stop()
	}
}

// collector takes the lanes' intervals once a second.
type collector struct {
	d        *Driver
	r        *Report
	w        window
	sink     Sink
	progress func(Progress)
	sum      *interval // of the measured phase
	second   *interval // scratch
	cpuFrom  time.Duration
	cpuSet   bool
}

// collect ticks at the full seconds of the measured phase until done.
func (c *collector) collect(done <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	k := -int(c.w.measured-c.w.start) / int(time.Second)
	for ; ; k++ {
		if k >= 0 && !c.cpuSet {
			c.cpuFrom, c.cpuSet = cpuTime(), true
		}
		timer.Reset(c.w.measured + time.Duration(k+1)*time.Second - c.d.clock.Now())
		select {
		case <-timer.C:
			c.tick(k)
		case <-done:
			c.tick(k)
			return
		}
	}
}

// tick closes second k of the measured phase, negative in the warm-up.
func (c *collector) tick(k int) {
	inFlight := 0
	for _, l := range c.r.lanes {
		v := l.swap()
		for op, cell := range c.second {
			if cell != nil {
				cell.add(v[op])
			}
		}
		l.returnInterval(v)
		l.mu.Lock()
		inFlight += len(l.slots) - len(l.free)
		l.mu.Unlock()
	}
	var all cell
	all.hist[response] = result.NewHistogram()
	for op, cell := range c.second {
		if cell == nil {
			continue
		}
		c.keep(k, workloads.Op(op).String(), cell)
		all.ok += cell.ok
		all.failed += cell.failed
		all.inDoubt += cell.inDoubt
		all.hist[response].Merge(cell.hist[response])
		c.sum[op].add(cell)
		cell.reset()
	}
	if c.progress != nil {
		at := c.d.clock.Now()
		c.progress(Progress{Second: k, Elapsed: at - c.w.measured, Left: max(0, c.w.end-at), OK: all.ok, Failed: all.failed,
			InDoubt: all.inDoubt, P50US: all.micros(response, .5), P99US: all.micros(response, .99), InFlight: inFlight,
			Audit: c.d.audit.summary(), Findings: c.d.audit.takeFindings()})
	}
}

// keep writes one operation's second to the sink and the series.
func (c *collector) keep(k int, op string, cell *cell) {
	empty := cell.ok+cell.infinite() == 0
	if k < 0 || empty && c.w.measured+time.Duration(k)*time.Second >= c.w.end {
		return
	}
	c.r.Series = append(c.r.Series, cell.row(k, op))
	if c.sink == nil {
		return
	}
	from := c.d.clock.Wall(c.w.measured + time.Duration(k)*time.Second)
	for i, kind := range result.Kinds {
		c.sink.Interval(op, kind, cell.hist[i], from, from.Add(time.Second))
	}
}

// finish fills the report from the sums and the finished lanes.
func (c *collector) finish() {
	r := c.r
	r.CPU = cpuTime() - c.cpuFrom
	r.Duration = c.w.end - c.w.measured
	r.Operations = map[string]result.Operation{}
	for _, l := range r.lanes {
		if l.window.end < c.w.end {
			r.Interrupted = true
			r.Duration = min(r.Duration, max(0, l.window.end-c.w.measured))
		}
		r.Queued += l.queued
		r.InFlightPeak += l.peak
		r.LateResults += l.late
		r.Shed += l.shedN
	}
	for op, cell := range c.sum {
		if cell == nil {
			continue
		}
		name := workloads.Op(op).String()
		r.Operations[name] = cell.operation()
		r.Achieved += cell.ok
		for i := range r.Series {
			if s := &r.Series[i]; s.Op == name {
				for _, l := range r.lanes {
					if s.TSec < len(l.offered[op]) {
						s.Offered += int64(l.offered[op][s.TSec])
					}
				}
				r.Offered += s.Offered
			}
		}
	}
}

// cpuTime is the CPU time of this process so far, user and system.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
