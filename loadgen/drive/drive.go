// Package drive owns the load itself: lanes that issue operations when they
// are due, the histograms and counts of what came back, and the audit of what
// the target acknowledged. It owns no process of the target, no connection
// (target does) and no file (a Sink does).
//
// The invariants to know: response time runs from the intended start, whatever
// delayed the operation; an operation that fails or is in doubt is infinitely
// slow in every percentile and is counted; writes to a key are serialised
// inside the generator, so "last acknowledged" is well defined and any read
// that is older is the target's fault.
//
// A lane is one goroutine with its own schedule, random stream, histograms and
// door to the target. Per operation there is no goroutine, no channel and no
// allocation; a lane's mutex is uncontended but for completions of its own.
//
// Start reading at Driver, then lane.run and lane.endLocked.
package drive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"headroom/loadgen/pace"
	"headroom/loadgen/result"
	"headroom/loadgen/target"
	"headroom/workloads"
	"headroom/workloads/units"
)

// Defaults and limits of Config.
const (
	DefaultDeadline = 2 * time.Second
	// inFlightMin and inFlightMax bound the default in-flight limit: enough to
	// keep every intended start of one deadline at the configured rate, but
	// not more slots than 8 MB.
	inFlightMin = 1024
	inFlightMax = 1 << 16
	// MaxLanes bounds goroutines and histograms (about 1 MB per lane and operation).
	MaxLanes = 256
	// MaxClosed bounds the clients of a closed loop.
	MaxClosed = 1 << 16
	// MaxInFlight bounds Config.InFlight: some 100 MB of slots.
	MaxInFlight = 1 << 20
	// MaxPhase bounds warm-up and measured phase: what is kept of each second is
	// in memory, of 30 days 1 GB.
	MaxPhase = 30 * 24 * time.Hour
)

// Arrivals names an arrival process.
type Arrivals string

// The arrival processes.
const (
	ArrivePoisson  Arrivals = "poisson"
	ArriveConstant Arrivals = "constant"
	ArriveTrace    Arrivals = "trace"  // by Config.Trace
	ArriveClosed   Arrivals = "closed" // by Config.Closed: when an answer is there
)

// Config is one load test. The zero value of a field with a default means the
// default.
type Config struct {
	Workload *workloads.Workload // valid
	Target   target.Target
	// Rate is the open loop's arrival rate over all lanes; zero means a closed
	// loop of Closed operations in flight.
	Rate     units.Rate
	Closed   int
	Arrivals Arrivals // default ArrivePoisson
	// Profile is a rate that changes over time, instead of Rate; its time zero
	// is the start of the measured phase, and its first rate holds in the warm-up.
	Profile *pace.Profile
	// Trace is intended starts of an open loop, ascending, instead of Rate; its
	// time zero is the start of the warm-up. It is shared, not copied.
	Trace []time.Duration
	// Think is how long a closed client rests between an answer and its next
	// operation, which is then intended for the end of the rest.
	Think time.Duration
	// Precise lets each lane hold a thread and spin before an arrival: 0.1 us of
	// lateness at the median instead of about 50, for a core per lane.
	Precise bool
	// Awake keeps the machine's cores from sleeping during a Run, where the
	// kernel lets it (pace.KeepAwake): not for a target on the same machine, which
	// would answer sooner than it does by itself.
	Awake bool
	Lanes int // default GOMAXPROCS
	// InFlight limits the operations in flight over all lanes; further
	// arrivals wait inside the generator and keep their intended start.
	// Default: 1.5 deadlines of the rate, 1024 to 65536.
	InFlight int
	Deadline time.Duration // of each operation, default DefaultDeadline
	Warmup   time.Duration // driven like the rest, not measured
	Duration time.Duration // of the measured phase
	Seed     uint64        // of arrivals, keys and values
	NoAudit  bool
	// Writer marks the values of this run; it must differ between runs on the
	// same target. Default: from the clock.
	Writer uint32
	// Faults are the planned instants of faults after the start of the
	// measured phase; gaps are recorded around them only.
	Faults []time.Duration
	// Waterfall is of how many operations of a kind one is asked where its time
	// went; zero: about a hundred a second, from one in 10 to one in 1000;
	// NoWaterfall: none.
	Waterfall int
	// SLO are limits of which Progress and Report count the operations beyond.
	SLO []result.Limit
}

// open reports whether arrivals are independent of answers.
func (c *Config) open() bool { return c.Profile != nil || c.Trace != nil }

func (c Config) withDefaults() Config {
	if c.Arrivals == "" {
		c.Arrivals = ArrivePoisson
	}
	if c.Deadline == 0 {
		c.Deadline = DefaultDeadline
	}
	if c.Lanes == 0 {
		c.Lanes = runtime.GOMAXPROCS(0)
	}
	if c.Profile == nil && c.Rate > 0 {
		c.Profile = StagesProfile(c.Workload, c.Rate, c.Duration)
	}
	if c.Trace != nil {
		c.Arrivals = ArriveTrace
	}
	if !c.open() {
		c.Lanes = max(1, min(c.Lanes, c.Closed))
		c.InFlight = c.Closed
		c.Arrivals = ArriveClosed
	}
	if c.InFlight == 0 {
		c.InFlight = max(inFlightMin, min(inFlightMax, int(1.5*c.peak()*c.Deadline.Seconds())))
	}
	if c.Writer == 0 {
		c.Writer = uint32(mix(uint64(time.Now().UnixNano()))) | 1
	}
	return c
}

// peak is the highest rate of an open loop; of a trace, its mean.
func (c *Config) peak() float64 {
	if n := len(c.Trace); n > 0 {
		return float64(n) / max(1, c.Trace[n-1].Seconds())
	}
	return float64(c.Profile.Peak())
}

// Validate reports the first field that cannot be.
func (c *Config) Validate() error {
	loads := 0
	for _, given := range []bool{c.Rate > 0 && c.Profile == nil, c.Profile != nil, c.Trace != nil, c.Closed > 0} {
		if given {
			loads++
		}
	}
	switch {
	case c.Workload == nil || c.Target == nil:
		return errors.New("drive: no workload or no target")
	case c.Rate < 0 || loads == 0:
		return errors.New("drive: neither a rate nor a number of closed clients")
	case loads > 1:
		return errors.New("drive: a rate, a profile, a trace and closed clients exclude each other")
	case c.Think < 0 || c.Think > 0 && c.Closed == 0:
		return errors.New("drive: think time is for closed clients")
	case c.Closed < 0 || c.Closed > MaxClosed:
		return fmt.Errorf("drive: %d closed clients, want 1 to %d", c.Closed, MaxClosed)
	case c.Lanes < 0 || c.Lanes > MaxLanes:
		return fmt.Errorf("drive: %d lanes, want 1 to %d", c.Lanes, MaxLanes)
	case c.Arrivals != "" && c.Arrivals != ArrivePoisson && c.Arrivals != ArriveConstant && loads == 1 && (c.Rate > 0 || c.Profile != nil):
		return fmt.Errorf("drive: unknown arrivals %q, want %s or %s", c.Arrivals, ArrivePoisson, ArriveConstant)
	case c.Waterfall < NoWaterfall:
		return fmt.Errorf("drive: one operation in %d sampled", c.Waterfall)
	case c.InFlight < 0 || c.InFlight > MaxInFlight:
		return fmt.Errorf("drive: %d operations in flight, want at most %d", c.InFlight, MaxInFlight)
	case c.Duration < 0 || c.Warmup < 0 || c.Deadline < 0:
		return errors.New("drive: a negative duration")
	case c.Duration > MaxPhase || c.Warmup > MaxPhase:
		return fmt.Errorf("drive: phases of %v and %v, want at most %v", c.Warmup, c.Duration, MaxPhase)
	}
	return c.Workload.Validate()
}

// Driver runs the phases of one load test, in the order Load, Run (several
// times if wanted), ReadBack. The phases are called by one goroutine; Snapshot
// by any.
type Driver struct {
	cfg    Config
	clock  pace.Clock
	table  *table
	audit  *audit
	filler *filler
	hot    []uint64 // keys of the hot partitions or node

	waterfall *waterfall // of the Run under way

	errs   errorCounts
	lanes  int    // as given, 0 for the default
	stream uint64 // of arrivals and choices of the runs to come
}

var errAbandoned = errors.New("the target never completed the operation")

// New returns a Driver for cfg. Nothing is sent yet.
func New(cfg Config) (*Driver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	lanes := cfg.Lanes
	cfg = cfg.withDefaults()
	d := &Driver{waterfall: &waterfall{}, lanes: lanes, stream: cfg.Seed, cfg: cfg, clock: pace.NewClock(), table: newTable(), filler: newFiller(cfg.Workload, cfg.Seed)}
	d.audit = &audit{clock: d.clock, enabled: !cfg.NoAudit, writer: cfg.Writer, table: d.table, deletes: cfg.Workload.Issues(workloads.Delete),
		ttl: cfg.Workload.TTL}
	switch w := cfg.Workload; {
	case cfg.NoAudit:
		d.audit.why = "switched off"
	case w.ValueSize.Min < headerSize:
		d.audit.enabled, d.audit.why = false, fmt.Sprintf("value-size %v goes below the %d bytes of the audit's header",
			w.ValueSize, headerSize)
	}
	var err error
	if err = suits(cfg.Workload, cfg.Target); err == nil {
		d.hot, err = hotKeys(cfg.Workload, cfg.Target, cfg.Seed)
	}
	return d, err
}

// Config returns the configuration with its defaults filled in.
func (d *Driver) Config() Config { return d.cfg }

// Clock is the clock of the driver's instants.
func (d *Driver) Clock() pace.Clock { return d.clock }

// newLane makes lane i of n for the window.
func (d *Driver) newLane(i, n int, w window) (*lane, error) {
	capacity := share(d.cfg.InFlight, i, n)
	l := &lane{d: d, window: w, held: -1, next: w.start, buf: make([]byte, d.cfg.Workload.ValueSize.Max),
		slots: make([]slot, capacity), free: make([]uint32, 0, capacity), again: make([]uint32, 0, capacity),
		now: newInterval(d.cfg.Workload), spare: newInterval(d.cfg.Workload),
		late1: result.NewHistogram(), pick: rand.New(rand.NewPCG(d.stream, uint64(2*i))), wake: make(chan struct{}, 1), tick: time.NewTicker(wakeMax)}
	for s := range l.slots {
		l.free = append(l.free, uint32(s))
	}
	l.mixes = d.mixes(w.end - w.measured)
	for op := range l.now {
		if l.now[op] != nil {
			l.offered[op] = make([]uint32, int((w.end-w.measured)/time.Second)+1)
		}
	}
	planned := slices.Clone(d.cfg.Faults)
	for f := range planned {
		planned[f] += w.measured - w.start
	}
	l.gaps = newGaps(planned, w.end-w.start)
	if d.cfg.open() {
		l.sched = d.schedule(i, n, w.measured-w.start)
		l.advance()
	}
	if d.cfg.Think > 0 {
		l.resting.ring = make([]rest, capacity)
	}
	var err error
	if l.chooser, err = d.cfg.Workload.Chooser(d.place(i, n)); err != nil {
		return nil, err
	}
	if l.timer, err = pace.NewTimer(); err != nil {
		return nil, err
	}
	if l.door, err = d.cfg.Target.NewLane(capacity, l.complete); err != nil {
		l.timer.Close()
		return nil, err
	}
	return l, nil
}

// schedule makes lane i's part of the arrivals, of n, with a warm-up of lead.
func (d *Driver) schedule(i, n int, lead time.Duration) pace.Schedule {
	switch d.cfg.Arrivals {
	case ArriveTrace:
		return pace.NewTrace(d.cfg.Trace, i, n)
	case ArriveConstant:
		return pace.NewConstant(d.cfg.Profile.After(lead), i, n)
	}
	// Its own stream, so that the same seed gives the same arrivals for every workload.
	return pace.NewPoisson(d.cfg.Profile.After(lead), n, rand.New(rand.NewPCG(d.stream, uint64(2*i+1))))
}

// place is lane i of n to a chooser of keys.
func (d *Driver) place(i, n int) workloads.Place {
	return workloads.Place{Seed: d.cfg.Seed, Lane: i, Lanes: n, Hot: d.hot}
}

// share is part i of n when total is split as evenly as it goes, at least 1.
func share(total, i, n int) int {
	s := total / n
	if i < total%n {
		s++
	}
	return max(s, 1)
}

// errorCounts counts errors by their text.
type errorCounts struct {
	mu     sync.Mutex // guards counts
	counts map[string]int64
}

// errorKindsMax bounds the texts kept: errors may carry addresses and numbers.
const errorKindsMax = 64

func (e *errorCounts) note(err error) {
	text := err.Error()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.counts == nil {
		e.counts = map[string]int64{}
	}
	if _, known := e.counts[text]; !known && len(e.counts) >= errorKindsMax {
		text = "other errors"
	}
	e.counts[text]++
}

// Errors returns how often each error text was seen.
func (d *Driver) Errors() map[string]int64 {
	d.errs.mu.Lock()
	defer d.errs.mu.Unlock()
	out := make(map[string]int64, len(d.errs.counts))
	for k, v := range d.errs.counts {
		out[k] = v
	}
	return out
}

// Audit returns the audit's counts so far.
func (d *Driver) Audit() result.Audit { return d.audit.summary() }

// Findings returns the violations listed since the last call, at most 1000 in
// a driver's life; Run passes those of its time to its progress function.
func (d *Driver) Findings() []Finding { return d.audit.takeFindings() }

// SetRate changes the driver to an open loop of the given rate for the runs to
// come.
func (d *Driver) SetRate(rate units.Rate) { d.SetProfile(pace.Steady(rate)) }

// SetProfile changes the driver to an open loop of the given profile for the
// runs to come.
func (d *Driver) SetProfile(p *pace.Profile) {
	d.cfg.Rate, d.cfg.Closed, d.cfg.InFlight, d.cfg.Think, d.cfg.Trace = 0, 0, 0, 0, nil
	d.cfg.Profile = p
	if d.cfg.Arrivals != ArriveConstant {
		d.cfg.Arrivals = ArrivePoisson
	}
	d.cfg.Lanes = d.lanes
	d.cfg = d.cfg.withDefaults()
}

// SetPhases changes the lengths of warm-up and measured phase and the planned
// faults for the runs to come.
func (d *Driver) SetPhases(warmup, duration time.Duration, faults []time.Duration) {
	d.cfg.Warmup, d.cfg.Duration, d.cfg.Faults = warmup, duration, faults
}

// SetSeed changes the arrivals and choices of the runs to come. Keys keep their
// heat, which comes from the first seed.
func (d *Driver) SetSeed(seed uint64) { d.stream = seed }

// Calibrate runs a closed loop of the given number of clients for a short time
// and returns the rate at which operations succeeded, and those operations. The driver's own load is
// as before afterwards.
func (d *Driver) Calibrate(ctx context.Context, clients int, length time.Duration) (Capacity, error) {
	saved := d.cfg
	defer func() { d.cfg = saved }()
	d.cfg.Rate, d.cfg.Profile, d.cfg.Trace, d.cfg.Closed, d.cfg.Think = 0, nil, nil, clients, 0
	d.cfg.InFlight, d.cfg.Faults, d.cfg.Lanes = 0, nil, d.lanes
	// The first third warms up connections and code.
	d.cfg.Warmup, d.cfg.Duration = length/3, length-length/3
	d.cfg = d.cfg.withDefaults()
	r, err := d.Run(ctx, nil, nil)
	if err != nil {
		return Capacity{}, err
	}
	if r.Interrupted {
		return Capacity{}, context.Cause(ctx)
	}
	if r.Achieved == 0 {
		return Capacity{}, fmt.Errorf("no operation succeeded in %v with %d clients", length, clients)
	}
	return Capacity{Rate: units.Rate(float64(r.Achieved) / r.Duration.Seconds()), Sent: r.Achieved, Took: r.Duration}, nil
}
