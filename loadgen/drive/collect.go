package drive

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"headroom/loadgen/pace"
	"headroom/loadgen/proof"
	"headroom/loadgen/result"
	"headroom/workloads"
)

const (
	// inFlightEvery is how often the operations in flight are counted, for Little's
	// law: 6000 times in 30 s, at the price of one uncontended lock per lane.
	inFlightEvery = 5 * time.Millisecond
	// secondEvery is how soon the end of a second is noticed.
	secondEvery = 5 * time.Millisecond
)

// collector takes the lanes' intervals once a second.
type collector struct {
	d        *Driver
	r        *Report
	w        window
	sink     Sink
	progress func(Progress)
	sum      *interval // of the measured phase
	second   *interval // scratch
	all      cell      // scratch: the second over all operations
	total    cell      // of the measured phase over all operations
	slo      []SLOCount
	cpuFrom  time.Duration
	cpuSet   bool
	lastLook time.Duration // the sampling goroutine's
	sums     LanesSecond   // of the measured phase; what only a second has is zero

	mu     sync.Mutex  // guards looked
	looked LanesSecond // what was sampled since the last tick
}

func newCollector(d *Driver, r *Report, w window) *collector {
	c := &collector{d: d, r: r, w: w, sum: newInterval(d.cfg.Workload), second: newInterval(d.cfg.Workload),
		slo: make([]SLOCount, len(d.cfg.SLO))}
	for i := range c.all.hist {
		c.all.hist[i], c.total.hist[i] = result.NewHistogram(), result.NewHistogram()
	}
	return c
}

// collect ticks at the full seconds of the measured phase until done.
func (c *collector) collect(done <-chan struct{}) {
	stopSampling := c.sampleInFlight()
	soon := time.NewTicker(secondEvery)
	defer soon.Stop()
	k := -int(c.w.measured-c.w.start) / int(time.Second)
	for {
		now := c.d.clock.Now()
		if now >= c.w.measured && !c.cpuSet {
			c.cpuFrom, c.cpuSet = cpuTime(), true
		}
		if now >= c.w.measured+time.Duration(k+1)*time.Second {
			c.tick(k)
			k++
			continue
		}
		select {
		case <-soon.C:
		case <-done:
			stopSampling() // else the last samples were of no second
			if c.d.clock.Now() >= c.w.measured {
				k = max(k, 0)
			}
			c.tick(k)
			return
		}
	}
}

// sampleInFlight looks at random instants until the function that it returns is
// called. It has a timer of its own: the runtime's timers go off when a lane's
// does and would see the operations that it has just sent.
func (c *collector) sampleInFlight() (stop func()) {
	timer, err := pace.NewTimer()
	if err != nil {
		return func() {} // nothing is known of what is in flight
	}
	r := rand.New(rand.NewPCG(c.d.stream, 0x1177))
	var ended atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !ended.Load() {
			if timer.Arm(time.Duration((0.5+r.Float64())*float64(inFlightEvery))) != nil || timer.Wait() != nil {
				return
			}
			c.look(c.d.clock.Now())
		}
	})
	return func() {
		ended.Store(true)
		wg.Wait() // at most 1.5 inFlightEvery
		timer.Close()
	}
}

// look takes a sample of what is in flight. It counts for the time since the
// one before: where the process is starved of CPU some phases have fewer.
func (c *collector) look(now time.Duration) {
	if now >= c.w.measured && now < c.w.end && c.lastLook >= c.w.measured {
		dt, n := (now - c.lastLook).Seconds(), c.busy()
		c.mu.Lock()
		c.looked.InFlightSec += float64(n) * dt
		c.looked.LookedSec += dt
		c.looked.Looks++
		c.mu.Unlock()
	}
	c.lastLook = now
}

// lanesSecond closes a second of what the lanes and the sampling counted, and
// adds it to the sums of the measured phase.
func (c *collector) lanesSecond(k int, s LanesSecond) LanesSecond {
	c.mu.Lock()
	s.InFlightSec, s.LookedSec, s.Looks = c.looked.InFlightSec, c.looked.LookedSec, c.looked.Looks
	c.looked = LanesSecond{}
	c.mu.Unlock()
	if k < 0 {
		return s
	}
	c.sums.InFlightPeak = max(c.sums.InFlightPeak, s.InFlightPeak)
	c.sums.Queued += s.Queued
	c.sums.Shed += s.Shed
	c.sums.InFlightSec += s.InFlightSec
	c.sums.LookedSec += s.LookedSec
	c.sums.Looks += s.Looks
	c.sums.Target += s.Target
	return s
}

// busy counts the operations in flight.
func (c *collector) busy() int {
	n := 0
	for _, l := range c.r.lanes {
		l.mu.Lock()
		n += l.busyLocked()
		l.mu.Unlock()
	}
	return n
}

// tick closes second k of the measured phase, negative in the warm-up.
func (c *collector) tick(k int) {
	var second LanesSecond
	for _, l := range c.r.lanes {
		v, n := l.swap()
		second.InFlightPeak += n.peak
		second.Queued += n.queued
		second.Shed += n.shed
		for op, cell := range c.second {
			if cell != nil {
				if v[op].hist[lateness].TotalCount() > 0 {
					l.late1.Merge(v[op].hist[lateness])
				}
				cell.add(v[op])
			}
		}
		l.returnInterval(v)
	}
	c.all.reset()
	for op, cell := range c.second {
		if cell == nil || k < 0 {
			continue // a late tick of the warm-up may find operations of second 0: they stay for it
		}
		c.keep(k, workloads.Op(op).String(), cell)
		c.all.add(cell)
		c.sum[op].add(cell)
		cell.reset()
	}
	c.keepAll(k)
	second.Target = c.all.busy
	second = c.lanesSecond(k, second)
	c.total.add(&c.all)
	if c.progress == nil {
		return
	}
	at, all := c.d.clock.Now(), &c.all
	c.progress(Progress{Second: k, Elapsed: at - c.w.measured, Left: max(0, c.w.end-at), OK: all.ok, Failed: all.failed,
		InDoubt: all.inDoubt, P50US: all.micros(response, .5), P99US: all.micros(response, .99), InFlight: c.busy(),
		Audit: c.d.audit.summary(), Findings: c.d.audit.takeFindings(), SLO: c.slo, Lanes: second})
}

// keep writes one operation's second to the sink, the series and the blocks.
func (c *collector) keep(k int, op string, cell *cell) {
	empty := cell.ok+cell.infinite() == 0
	if k < 0 || empty && c.w.measured+time.Duration(k)*time.Second >= c.w.end {
		return
	}
	c.r.Series = append(c.r.Series, cell.row(k, op))
	c.block(op).Add(k, cell.hist[response], cell.infinite())
	c.count(op, cell)
	if c.sink == nil {
		return
	}
	from := c.d.clock.Wall(c.w.measured + time.Duration(k)*time.Second)
	for i, kind := range result.Kinds {
		c.sink.Interval(op, kind, cell.hist[i], from, from.Add(time.Second))
	}
}

// keepAll does the same for all operations together, which have no log.
func (c *collector) keepAll(k int) {
	if k < 0 || c.all.ok+c.all.infinite() == 0 && c.w.measured+time.Duration(k)*time.Second >= c.w.end {
		return
	}
	c.block(AllOps).Add(k, c.all.hist[response], c.all.infinite())
	c.count(AllOps, &c.all)
	if c.w.measured+time.Duration(k+1)*time.Second <= c.w.end { // a full second
		c.r.Seconds = append(c.r.Seconds, proof.Second{Rate: float64(c.all.ok),
			P99US: c.all.micros(response, .99)})
	}
}

func (c *collector) block(op string) *proof.Blocks {
	if c.r.Blocks[op] == nil {
		c.r.Blocks[op] = &proof.Blocks{}
	}
	return c.r.Blocks[op]
}

// count counts what was beyond the limits that are for op.
func (c *collector) count(op string, cell *cell) {
	for i, limit := range c.d.cfg.SLO {
		if limit.Op == op {
			c.slo[i].Samples += cell.hist[response].TotalCount() + cell.infinite()
			c.slo[i].Beyond += proof.Above(cell.hist[response], 1000*limit.LatencyUS) + cell.infinite()
			c.slo[i].ByService += proof.Above(cell.hist[service], 1000*limit.LatencyUS) + cell.failed + cell.inDoubt
		}
	}
}

// finish fills the report from the sums and the finished lanes.
func (c *collector) finish() {
	r := c.r
	cpu := cpuTime()
	r.CPU = cpu - c.cpuFrom
	r.Duration, r.SLO = c.w.end-c.w.measured, c.slo
	r.StageSamples, r.Stages = c.d.waterfall.report()
	r.Operations = map[string]result.Operation{}
	for _, l := range r.lanes {
		if l.window.end < c.w.end {
			r.Interrupted = true
			r.Duration = min(r.Duration, max(0, l.window.end-c.w.measured))
		}
		r.LateResults += l.late
		r.LaneLateness = append(r.LaneLateness, result.Summarize(l.late1, 0))
	}
	r.Queued, r.InFlightPeak, r.Shed, r.InFlightSamples, r.Busy = c.sums.Queued, c.sums.InFlightPeak, c.sums.Shed, c.sums.Looks, c.sums.Target
	r.Seconds = r.Seconds[:min(len(r.Seconds), int(r.Duration/time.Second))] // what came after a stop is no second of the run
	r.Meters = []result.Meter{{Name: result.MeterMeasured, To: int64(r.Duration)}, {Name: result.MeterCPU, From: int64(c.cpuFrom), To: int64(cpu)}}
	seconds := int((r.Duration + time.Second - 1) / time.Second)
	for op, cell := range c.sum {
		if cell == nil {
			continue
		}
		name := workloads.Op(op).String()
		sum := cell.operation()
		sum.Response.Boot95 = c.block(name).Percentiles(0, seconds+1).Boot95
		r.Operations[name] = sum
		r.Achieved += cell.ok
		c.offered(op, name)
	}
	r.All = c.total.operation()
	r.All.Response.Boot95 = c.block(AllOps).Percentiles(0, seconds+1).Boot95
	if c.sums.LookedSec > 0 {
		r.InFlightMean = c.sums.InFlightSec / c.sums.LookedSec
	}
}

// offered adds the lanes' counts of arrivals to the series.
func (c *collector) offered(op int, name string) {
	for i := range c.r.Series {
		s := &c.r.Series[i]
		if s.Op != name {
			continue
		}
		for _, l := range c.r.lanes {
			if s.TSec < len(l.offered[op]) {
				s.Offered += int64(l.offered[op][s.TSec])
			}
		}
		c.r.Offered += s.Offered
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
