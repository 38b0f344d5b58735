package drive

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"headroom/loadgen/pace"
	"headroom/loadgen/proof"
	"headroom/loadgen/result"
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
	// SLO counts, per Config.SLO, the operations of the measured phase so far.
	SLO []SLOCount
	// Lanes is what the lanes counted in the second.
	Lanes LanesSecond
}

// LanesSecond is what all lanes together counted in a second.
type LanesSecond struct {
	InFlightPeak int   // sum of the lanes' highest
	Queued       int64 // times that arrivals were held back
	Shed         int64 // arrivals that never started
	InFlightSec  float64
	LookedSec    float64       // InFlightSec was sampled over these seconds
	Looks        int64         // in so many samples
	Target       time.Duration // that the operations which ended were at the target
}

// SLOCount is how many of the operations that a limit is for were beyond it,
// and how many would have been by service time alone.
type SLOCount struct{ Samples, Beyond, ByService int64 }

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
	SLO               []SLOCount // per Config.SLO
	// All is every operation together; LaneLateness is per lane.
	All          result.Operation
	LaneLateness []result.Percentiles
	CoresAwake   bool // Config.Awake was possible
	// InFlightMean is sampled every inFlightEvery; Busy is how long all completed
	// operations, failed ones included, were at the target.
	InFlightMean    float64
	InFlightSamples int64
	Busy            time.Duration
	// Blocks are the seconds of the measured phase by operation, under AllOps all
	// together; Seconds are those, too.
	Blocks  map[string]*proof.Blocks
	Seconds []proof.Second
	// Stages says where sampled operations, StageSamples, spent their time; nil
	// when none was sampled.
	Stages       *result.Stages
	StageSamples []result.StageSample
	// Meters and Histories are for the run folder; Summarize completes them.
	Meters    []result.Meter
	Histories []result.History
	lanes     []*lane
}

// LaneLogs returns the lateness of each lane in the measured phase. They stay the
// Report's.
func (r *Report) LaneLogs() (list []*hdr.Histogram) {
	for _, l := range r.lanes {
		list = append(list, l.late1)
	}
	return list
}

// AllOps is the key of all operations together in Report.Blocks.
const AllOps = ""

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
	r := &Report{MeasuredFrom: w.measured, Wall: d.clock.Wall(w.measured), Blocks: map[string]*proof.Blocks{}}
	defer r.closeLanes()
	d.waterfall = d.newWaterfall(w.measured, d.cfg.Duration)
	if d.cfg.Awake {
		if awake, err := pace.KeepAwake(); err == nil { // without, the lateness is what it is, and measured
			defer awake.Close()
			r.CoresAwake = true
		}
	}
	for i := range d.cfg.Lanes {
		l, err := d.newLane(i, d.cfg.Lanes, w)
		if err != nil {
			return nil, fmt.Errorf("open lane %d of %d: %w", i+1, d.cfg.Lanes, err)
		}
		r.lanes = append(r.lanes, l)
	}
	var err error
	if d.audit.linear, err = d.sampler(); err != nil {
		return nil, err
	}
	var stop atomic.Bool
	defer context.AfterFunc(ctx, func() { stop.Store(true) })()
	var wg sync.WaitGroup
	for _, l := range r.lanes {
		wg.Go(func() { l.run(&stop) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	c := newCollector(d, r, w)
	c.sink, c.progress = sink, progress
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
