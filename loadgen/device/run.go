package device

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"headroom/loadgen/pace"
	"headroom/node/disk"
	"headroom/workloads/units"
)

const (
	// readers and movers are how many small reads, and how many requests for
	// blocks of each kind, are at the device at most. Beyond them requests
	// wait in order, and their wait counts.
	readers = 128
	movers  = 16
	// queueMax is how many requests wait before a dispatcher waits as well;
	// the intended starts go on.
	queueMax = 4096
	// lagMax is how far a stream may fall behind before the device has failed
	// the rate and the run ends (ACT's max-lag).
	lagMax = 10 * time.Second
)

// errLag ends a run whose device fell lagMax behind.
var errLag = fmt.Errorf("the device fell %v behind the load", lagMax)

// Config of a run.
type Config struct {
	Device   disk.Device // filled with data before
	Load     Load
	Warmup   time.Duration // driven and not counted
	Duration time.Duration
	Slice    time.Duration // a whole number of seconds
	Limits   []Limit
	Seed     uint64
	// Second is called after each measured second, if set.
	Second func(Second)
}

// Run drives the device and returns what it did. It blocks for Warmup and
// Duration, or until ctx ends or the device falls too far behind; what was
// measured until then is returned. The error says what could not be started.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.Load.Validate(); err != nil {
		return nil, err
	}
	if cfg.Device.Size() < 4*int64(cfg.Load.Block) {
		return nil, fmt.Errorf("%v are too few for blocks of %v: want at least four", units.Bytes(cfg.Device.Size()), units.Bytes(cfg.Load.Block))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	clock := pace.NewClock()
	r := newRecorder(&cfg, clock)
	var wg sync.WaitGroup
	for k, rate := range cfg.Load.Rates() {
		if rate <= 0 {
			continue
		}
		s := &stream{cfg: &cfg, kind: k, clock: clock, rec: r, cancel: cancel, queue: make(chan request, queueMax)}
		timer, err := pace.NewTimer()
		if err != nil {
			cancel(err)
			wg.Wait()
			return nil, err
		}
		wg.Go(func() { s.dispatch(ctx, timer, rate) })
		for w := range s.workers() {
			wg.Go(func() { s.work(uint64(w)) })
		}
	}
	r.tick(ctx)
	cause := context.Cause(ctx)
	// What is still at the device counts: a device that hangs at the end of
	// the run must not look quick. A dead one is given up.
	limit := time.AfterFunc(lagMax, func() { r.over.Store(true) })
	defer limit.Stop()
	if cause != nil {
		r.over.Store(true)
	}
	wg.Wait()
	if cause == nil {
		r.last()
	}
	return r.report(cause), nil
}

// stream is one kind of request: a dispatcher that keeps the intended starts,
// and workers that carry them out.
type stream struct {
	cfg    *Config
	kind   int
	clock  pace.Clock
	rec    *recorder
	cancel context.CancelCauseFunc
	queue  chan request
	busy   atomic.Int64
}

// request is one arrival; late is how late the dispatcher was for it.
type request struct {
	intended time.Duration
	late     time.Duration
	waits    bool // all workers were busy: what follows is the device's matter
}

func (s *stream) workers() int {
	if s.kind == 0 {
		return readers
	}
	return movers
}

// dispatch hands out the arrivals of a Poisson process until ctx ends.
func (s *stream) dispatch(ctx context.Context, timer *pace.Timer, rate float64) {
	defer close(s.queue)
	defer timer.Close()
	stop := context.AfterFunc(ctx, func() { _ = timer.Arm(0) }) // it wakes Wait; a closed timer needs none
	defer stop()
	arrivals := pace.NewPoisson(pace.Steady(units.Rate(rate)), 1, rand.New(rand.NewPCG(s.cfg.Seed, uint64(s.kind))))
	end := s.cfg.Warmup + s.cfg.Duration
	for next := arrivals.Next(); next < end; next = arrivals.Next() {
		for now := s.clock.Now(); now < next; now = s.clock.Now() {
			if ctx.Err() != nil {
				return
			}
			if timer.Arm(next-now) != nil || timer.Wait() != nil {
				return
			}
		}
		late := s.clock.Now() - next
		if late > lagMax {
			s.cancel(errLag)
		}
		r := request{intended: next, late: late, waits: s.busy.Load() >= int64(s.workers())}
		select {
		case s.queue <- r:
		case <-ctx.Done():
			return
		}
	}
}

// work carries out requests until the dispatcher has ended and the queue is
// empty or the run is over.
func (s *stream) work(id uint64) {
	l, d := &s.cfg.Load, s.cfg.Device
	rng := rand.New(rand.NewPCG(s.cfg.Seed+1, uint64(s.kind)<<32|id))
	size := l.Block
	if s.kind == 0 {
		size = l.ReadSize()
	}
	buf := disk.Aligned(size)
	for i := range buf {
		buf[i] = byte(rng.Uint32()) // incompressible, so that no drive makes it less
	}
	places := d.Size() / int64(size)
	for r := range s.queue {
		if s.rec.over.Load() {
			continue
		}
		s.busy.Add(1)
		off, sent := int64(size)*rng.Int64N(places), s.clock.Now()
		var err error
		if s.kind == 1 {
			err = d.WriteAt(buf, off)
		} else {
			err = d.ReadAt(buf, off)
		}
		done := s.clock.Now()
		s.busy.Add(-1)
		// Between dispatch and start the generator is late only if a worker
		// was free: otherwise the request waited for the device.
		late := r.late
		if !r.waits {
			late = sent - r.intended
		}
		s.rec.record(s.kind, r.intended, sent, done, late, err)
		if errors.Is(err, disk.ErrClosed) {
			return
		}
	}
}
