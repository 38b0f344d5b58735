package drive

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"headroom/loadgen/target"
	"headroom/workloads/keys"
)

const (
	// bulkInFlight is the pipeline depth of Load and ReadBack over all lanes:
	// a few round trips of every node, far below a queue that would time out.
	bulkInFlight = 256
	// bulkGiveUp ends a bulk phase in which nothing succeeded for so long: four
	// nodes re-form their cluster in a tenth of it.
	bulkGiveUp = 30 * time.Second
	// retryAfter spaces the attempts on one key.
	retryAfter = 20 * time.Millisecond
)

// BulkProgress is how far Load or ReadBack is.
type BulkProgress struct {
	Done, Total int64
	Left        time.Duration // estimated from the rate so far
}

// job is what a bulk phase does with each of its keys.
type job interface {
	// next returns the next key of a lane, false when there is none.
	next(lane int) (key uint64, ok bool)
	// prepare fills op (Token and Budget are set). Any earlier attempt has ended.
	prepare(key uint64, op *target.Op, s *bulkSlot, buf []byte)
	// done ends an attempt; false means the key is to be tried again.
	done(key uint64, s *bulkSlot, r *target.Result) bool
}

type bulkSlot struct {
	key     uint64
	seq     uint32
	before  entry
	ackedMS uint32
}

// bulk runs a job with a full pipeline and retries.
type bulk struct {
	d   *Driver
	job job

	mu       sync.Mutex // guards all below
	done     int64
	lastGood time.Duration
	lastErr  error
}

type bulkLane struct {
	b     *bulk
	i     int
	door  target.Lane
	buf   []byte
	wake  chan struct{}
	mu    sync.Mutex // guards all below
	slots []bulkSlot
	free  []uint32
	retry []retry // ascending by at: every retry waits equally long
}

type retry struct {
	key uint64
	at  time.Duration
}

// bulk runs j over all lanes until its keys are done, ctx ends or nothing
// succeeds for bulkGiveUp.
func (d *Driver) bulk(ctx context.Context, j job, total int64, progress func(BulkProgress)) error {
	b := &bulk{d: d, job: j, lastGood: d.clock.Now()}
	began := b.lastGood
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for i := range d.cfg.Lanes {
		l, err := b.newLane(i)
		if err != nil {
			cancel(err)
			break
		}
		wg.Go(func() { l.run(ctx); l.door.Close() })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			b.report(began, total, progress)
			return context.Cause(ctx)
		case <-tick.C:
			b.report(began, total, progress)
			if err := b.stuck(); err != nil {
				cancel(err)
			}
		}
	}
}

func (b *bulk) report(began time.Duration, total int64, progress func(BulkProgress)) {
	if progress == nil {
		return
	}
	b.mu.Lock()
	p := BulkProgress{Done: b.done, Total: total}
	b.mu.Unlock()
	if p.Done > 0 {
		p.Left = time.Duration(float64(b.d.clock.Now()-began) / float64(p.Done) * float64(total-p.Done))
	}
	progress(p)
}

func (b *bulk) stuck() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.d.clock.Now()-b.lastGood < bulkGiveUp {
		return nil
	}
	if b.lastErr == nil {
		b.lastErr = errors.New("no answer")
	}
	return fmt.Errorf("the target completed nothing for %v: %w", bulkGiveUp, b.lastErr)
}

func (b *bulk) newLane(i int) (*bulkLane, error) {
	n := share(bulkInFlight, i, b.d.cfg.Lanes)
	l := &bulkLane{b: b, i: i, slots: make([]bulkSlot, n), buf: make([]byte, b.d.cfg.Workload.ValueSize.Max),
		wake: make(chan struct{}, 1)}
	for s := range l.slots {
		l.free = append(l.free, uint32(s))
	}
	var err error
	l.door, err = b.d.cfg.Target.NewLane(n, l.complete)
	return l, err
}

// run submits keys until all are done and nothing is in flight. When ctx ends
// it stops submitting and leaves the rest to the door's Close.
func (l *bulkLane) run(ctx context.Context) {
	exhausted := false
	idle := time.NewTicker(retryAfter)
	defer idle.Stop()
	for ctx.Err() == nil {
		key, slot, state := l.take(&exhausted)
		switch state {
		case takeDone:
			return
		case takeWait:
			l.door.Flush()
			select {
			case <-l.wake:
			case <-idle.C:
			}
			continue
		}
		s := &l.slots[slot]
		*s = bulkSlot{key: key}
		op := target.Op{Token: uint64(slot), Key: key, Budget: l.b.d.cfg.Deadline}
		l.b.job.prepare(key, &op, s, l.buf)
		if err := l.door.Submit(&op); err != nil {
			if errors.Is(err, target.ErrFull) {
				err = nil // no fault of anybody's: it is tried again
			}
			l.complete(&target.Result{Token: uint64(slot), Outcome: target.Failed, Err: err})
		}
	}
	l.door.Flush()
}

const (
	takeKey = iota
	takeWait
	takeDone
)

// take returns the next key to submit and a slot for it, or what else to do.
func (l *bulkLane) take(exhausted *bool) (key uint64, slot uint32, state int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == 0 {
		return 0, 0, takeWait
	}
	switch {
	case len(l.retry) > 0 && l.retry[0].at <= l.b.d.clock.Now():
		key = l.retry[0].key
		l.retry = l.retry[1:]
	case *exhausted:
		if len(l.retry) == 0 && len(l.free) == len(l.slots) {
			return 0, 0, takeDone
		}
		return 0, 0, takeWait
	default:
		var ok bool
		if key, ok = l.b.job.next(l.i); !ok {
			*exhausted = true
			return 0, 0, takeWait
		}
	}
	slot = l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	return key, slot, takeKey
}

// complete is the target's callback.
func (l *bulkLane) complete(r *target.Result) {
	now := l.b.d.clock.Now()
	slot := uint32(r.Token)
	key := l.slots[slot].key
	good := l.b.job.done(key, &l.slots[slot], r)
	l.b.mu.Lock()
	if good {
		l.b.done++
		l.b.lastGood = now
	} else {
		l.b.lastErr = r.Err
	}
	l.b.mu.Unlock()
	l.mu.Lock()
	l.free = append(l.free, slot)
	if !good {
		l.retry = append(l.retry, retry{key: key, at: now + retryAfter})
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Load writes records 0 to Records-1 and returns when all are acknowledged. It
// retries for as long as anything succeeds now and then.
func (d *Driver) Load(ctx context.Context, progress func(BulkProgress)) error {
	n := uint64(d.cfg.Workload.Records)
	d.table.next.Store(n)
	j := &loadJob{d: d, at: make([]uint64, d.cfg.Lanes), end: make([]uint64, d.cfg.Lanes)}
	for i := range uint64(d.cfg.Lanes) {
		j.at[i], j.end[i] = n*i/uint64(d.cfg.Lanes), n*(i+1)/uint64(d.cfg.Lanes)
	}
	if err := d.bulk(ctx, j, int64(n), progress); err != nil {
		return fmt.Errorf("load %d records: %w", n, err)
	}
	return nil
}

// loadJob writes a range of keys per lane; at is touched by its lane only.
type loadJob struct {
	d       *Driver
	at, end []uint64
}

func (j *loadJob) next(lane int) (uint64, bool) {
	k := j.at[lane]
	if k == j.end[lane] {
		return 0, false
	}
	j.at[lane]++
	return k, true
}

func (j *loadJob) prepare(key uint64, op *target.Op, s *bulkSlot, buf []byte) {
	s.seq, _ = j.d.table.begin(key, false)
	op.Kind, op.TTL = target.Write, j.d.cfg.Workload.TTL
	op.Value = j.d.filler.put(buf, header{writer: j.d.audit.writer, seq: s.seq, key: key, intended: time.Now().UnixNano()})
}

func (j *loadJob) done(key uint64, s *bulkSlot, r *target.Result) bool {
	j.d.audit.wrote(key, s.seq, r.Outcome, j.d.clock.Now())
	if r.Err != nil {
		j.d.errs.note(r.Err)
	}
	return r.Outcome == target.OK
}

// ReadBack reads the keys with an acknowledged write once more and counts as
// lost those whose last one is gone: first the keys written after the load,
// then the others in random order, until budget is spent. Summary tells how
// many of how many were read. With the audit off it does nothing.
func (d *Driver) ReadBack(ctx context.Context, budget time.Duration, progress func(BulkProgress)) error {
	if !d.audit.enabled {
		return nil
	}
	n := d.table.next.Load()
	total := int64(0)
	for k := range n {
		if d.table.load(k).acked() > 0 {
			total++
		}
	}
	d.audit.keysWritten.Store(total)
	if total == 0 {
		return nil
	}
	j := &backJob{d: d, n: n, mix: keys.NewScramble(n, d.cfg.Seed)}
	j.deadline = d.clock.Now() + budget
	return d.bulk(ctx, j, total, progress)
}

// backJob hands out keys from one shared counter: first pass, then second.
type backJob struct {
	d        *Driver
	n        uint64
	mix      keys.Scramble
	deadline time.Duration

	mu sync.Mutex // guards at; taken after bulkLane.mu
	at uint64
}

func (j *backJob) next(int) (uint64, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.at < 2*j.n && j.d.clock.Now() < j.deadline {
		key, first := j.mix.Map(j.at%j.n), j.at < j.n
		j.at++
		e := j.d.table.load(key)
		if e.acked() > 0 && (e.submitted() > 1) == first {
			return key, true
		}
	}
	return 0, false
}

func (j *backJob) prepare(key uint64, op *target.Op, s *bulkSlot, _ []byte) {
	s.before, s.ackedMS = j.d.table.load(key), j.d.table.ackedAt(key)
	op.Kind = target.Read
}

func (j *backJob) done(key uint64, s *bulkSlot, r *target.Result) bool {
	a, now := j.d.audit, j.d.clock.Now()
	if r.Outcome != target.OK && r.Outcome != target.NotFound {
		if now < j.deadline {
			return false
		}
		a.readBackFailed.Add(1)
		return true
	}
	a.readBack.Add(1)
	if f := a.check(key, s.before, s.ackedMS, r); f != fine {
		a.countBack(f, key, s.before, now)
	}
	return true
}
