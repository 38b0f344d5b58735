package drive

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"headroom/loadgen/pace"
	"headroom/loadgen/target"
	"headroom/workloads"
	"headroom/workloads/keys"
)

const (
	// batchMax is how many operations a lane submits before it flushes and
	// looks at the clock, the stop flag and finished reads again.
	batchMax = 64
	// wakeMin is the least a lane sleeps: below it the timer costs more CPU
	// than the lateness is worth (100 % of a core at 100,000 wakes a second).
	wakeMin = 50 * time.Microsecond
	// wakeMax bounds how long a lane does not notice a stop.
	wakeMax = 100 * time.Millisecond
	// redraws is how often a writer that meets a key with a write in flight
	// picks another one before it waits for a completion.
	redraws = 32
	// abandonAfter is how long after its deadline an operation that the target
	// never completed is given up. A target that does this has a bug.
	abandonAfter = time.Second
	sweepEvery   = 250 * time.Millisecond
)

type stage uint8

const (
	idle     stage = iota
	inFlight       // the last or only request of the operation is at the target
	reading        // a read-modify-write's read is at the target
	read           // its read is answered, its write not yet submitted
)

// slot is one operation in flight.
type slot struct {
	intended, sent time.Duration
	key            uint64
	before         entry  // the key's entry when the read was submitted
	beforeMS       uint32 // when its last write was acknowledged
	seq            uint32 // of the write
	gen            uint32 // counts the uses, so that a late result is known as such
	kind           workloads.Op
	stage          stage
	notFound       bool
	held           bool    // it could not start when it was due, for want of a place or because of its key
	batch          []item  // of a batch; its memory goes with the slot
	sample         *sample // nil unless its stages are asked for
}

// What may wake a sleeping lane.
const (
	awake      = iota
	onRead     // a read-modify-write can go on
	onAnything // any completion: the lane is blocked
)

// lane issues its share of the load on one goroutine. Completions come on
// others. Lock order: lane.mu, then audit.mu; the target is never called under
// either.
type lane struct {
	d       *Driver
	door    target.Lane
	timer   *pace.Timer
	sched   pace.Schedule // nil in closed loop
	chooser keys.Chooser
	pick    *rand.Rand // kinds, keys, scan lengths
	mixes   []stageMix // the present one first; the issuing goroutine's
	window  window
	op      target.Op // scratch of the issuing goroutine
	buf     []byte
	batch   batchScratch
	next    time.Duration // intended start of the next arrival
	held    int           // kind of an operation that could not start yet, or -1
	heldKey uint64        // 1 + the key of an insert that could not start, or 0
	sample  *sample       // of the held operation
	stopped bool          // a stop was noticed and the window's end moved
	wake    chan struct{} // capacity 1: wakes a lane that sleeps without the timer
	tick    *time.Ticker  // of wakeMax: bounds such a sleep
	offered [workloads.Ops][]uint32

	sinceSample [workloads.Ops]int

	freeAt  time.Duration  // arrivals due before it were held back
	precise *pace.Precise  // nil: the timer
	late1   *hdr.Histogram // lateness of all operations; the collector's

	mu      sync.Mutex // guards all below
	slots   []slot
	free    []uint32
	again   []uint32 // slots in stage read
	resting rests    // closed clients that think
	doneN   uint64   // completions so far
	wakeOn  int
	second  laneSecond
	now     *interval // being recorded into
	spare   *interval // empty, for the next swap
	gaps    gaps
	late    int64 // results of operations already given up
}

// laneSecond is what a lane counts anew every second.
type laneSecond struct {
	peak   int   // the most in flight
	queued int64 // times that the in-flight limit, ErrFull or a key held arrivals back
	shed   int64 // arrivals that never started
}

// window is the time of a run on the driver's clock: arrivals from start on,
// measured from measured on, ending before end.
type window struct {
	start, measured, end time.Duration
}

// run issues operations until the window ends, which a stop moves to now, then
// waits for the rest. What could not start within a deadline after the end
// never does.
func (l *lane) run(stop *atomic.Bool) {
	if l.d.cfg.Precise {
		l.precise = pace.NewPrecise(l.d.clock)
		defer l.precise.Close()
	}
	var lastSweep time.Duration
	for {
		now := l.d.clock.Now()
		l.mu.Lock()
		seen := l.doneN
		l.mu.Unlock()
		l.resume()
		if stop.Load() && !l.stopped {
			l.stopped = true
			l.window.end = min(l.window.end, now)
		}
		overrun := now >= l.window.end+l.d.cfg.Deadline
		blocked := overrun || l.exhausted()
		if !blocked {
			blocked = !l.issueDue(now)
		}
		l.door.Flush()
		if now-lastSweep > sweepEvery {
			lastSweep = now
			l.sweep(now)
		}
		if (overrun || l.exhausted()) && l.quiet() {
			l.shed()
			return
		}
		if blocked || l.exhausted() {
			l.sleepBlocked(seen)
			if l.sched != nil && l.next < l.window.end {
				l.freeAt = l.d.clock.Now()
			}
		} else if l.next > now {
			l.sleepUntil(l.next, now)
		}
	}
}

// exhausted reports that every arrival of the window was issued.
func (l *lane) exhausted() bool { return l.next >= l.window.end }

// issueDue issues what is due at now, at most a batch. It returns false when
// something is due and cannot start before a completion.
func (l *lane) issueDue(now time.Duration) bool {
	for range batchMax {
		if l.sched == nil {
			l.next = l.ready(now)
		}
		if l.next > now || l.next >= l.window.end {
			return true
		}
		sent, ok := l.issue(l.next)
		if !ok {
			if l.sched != nil {
				l.mu.Lock()
				l.second.queued++
				l.mu.Unlock()
			}
			return false
		}
		if now = sent; l.sched != nil {
			l.advance()
		}
	}
	return true
}

// advance moves to the next arrival of the schedule.
func (l *lane) advance() {
	if l.next = l.sched.Next(); l.next < pace.Never-l.window.start {
		l.next += l.window.start
	}
}

// ready gives the intended start of a closed loop's next operation: now, or
// with a think time the end of the earliest rest, whose slot becomes free. With
// all clients at the target it is now, too, and the operation finds no slot.
func (l *lane) ready(now time.Duration) time.Duration {
	if l.d.cfg.Think == 0 {
		return now
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) > 0 { // not yet used once, or its operation could not start
		return min(l.next, now)
	}
	r, ok := l.resting.first()
	if !ok {
		return now
	}
	if r.until <= now {
		l.resting.drop()
		l.free = append(l.free, r.slot)
	}
	return r.until
}

// sleepUntil waits for the next arrival or an answered read.
func (l *lane) sleepUntil(next, now time.Duration) {
	if l.precise != nil {
		l.precise.Until(next)
		return
	}
	if l.timer.Arm(min(max(next-now, wakeMin), wakeMax)) != nil {
		return
	}
	// The timer is armed before wakeOn is set: a callback that sees wakeOn
	// arms it to go off at once, and nothing replaces that.
	l.mu.Lock()
	if len(l.again) > 0 {
		l.mu.Unlock()
		return
	}
	l.wakeOn = onRead
	l.mu.Unlock()
	_ = l.timer.Wait() // fails only when closed, which nobody does before run returns
	l.mu.Lock()
	l.wakeOn = awake
	l.mu.Unlock()
}

// sleepBlocked waits for any completion after the first seen ones. It goes
// through a channel instead of the timer: the goroutine that completes hands
// over within a microsecond and without a system call.
func (l *lane) sleepBlocked(seen uint64) {
	l.mu.Lock()
	if len(l.again) > 0 || l.doneN != seen {
		l.mu.Unlock()
		return
	}
	l.wakeOn = onAnything
	l.mu.Unlock()
	select {
	case <-l.wake:
	case <-l.tick.C:
	}
	l.mu.Lock()
	l.wakeOn = awake
	l.mu.Unlock()
}

// quiet reports that nothing is in flight.
func (l *lane) quiet() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.busyLocked() == 0
}

// busyLocked counts the operations in flight.
func (l *lane) busyLocked() int { return len(l.slots) - len(l.free) - l.resting.n }

// draw picks the kind of the operation intended at the given instant by the
// mix of its stage.
func (l *lane) draw(intended time.Duration) workloads.Op {
	for len(l.mixes) > 1 && intended-l.window.measured >= l.mixes[1].from {
		l.mixes = l.mixes[1:]
	}
	m := &l.mixes[0]
	u := l.pick.Float64() * 100
	for op := range workloads.Ops {
		if u < m.cumul[op] {
			return op
		}
	}
	return m.last
}

// issue starts one operation intended at the given instant. ok is false when
// it cannot start before some completion; then it is tried again first.
func (l *lane) issue(intended time.Duration) (sent time.Duration, ok bool) {
	l.mu.Lock()
	if len(l.free) == 0 {
		l.mu.Unlock()
		return 0, false
	}
	i := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	l.second.peak = max(l.second.peak, l.busyLocked())
	gen, batch := l.slots[i].gen+1, l.slots[i].batch[:0]
	l.mu.Unlock()
	if l.held < 0 {
		l.held = int(l.draw(intended))
		l.count(workloads.Op(l.held), intended)
		l.sample = l.sampling(workloads.Op(l.held))
	}
	s := slot{kind: workloads.Op(l.held), intended: intended, gen: gen, stage: inFlight, batch: batch, sample: l.sample, held: intended < l.freeAt}
	if s.kind == workloads.ReadModifyWrite {
		s.stage = reading
	}
	if !l.choose(&s) {
		l.release(i)
		return 0, false
	}
	l.prepare(i, &s)
	s.sent = l.d.clock.Now()
	l.mu.Lock()
	l.slots[i] = s
	l.mu.Unlock()
	if err := l.door.Submit(&l.op); err == target.ErrFull {
		l.unwrite(&s)
		l.release(i)
		return 0, false
	} else if err != nil {
		l.refuse(err)
	}
	l.held, l.heldKey, l.sample = -1, 0, nil
	return s.sent, true
}

// count counts an arrival as offered in the second of its intended start.
func (l *lane) count(kind workloads.Op, intended time.Duration) {
	if t := intended - l.window.measured; t >= 0 {
		if s := int(t / time.Second); s < len(l.offered[kind]) {
			l.offered[kind][s]++
		}
	}
}

// choose picks the slot's key; for a write it reserves it. False: no key is
// free to be written now.
func (l *lane) choose(s *slot) bool {
	t := l.d.table
	s.seq = 0
	switch s.kind {
	case workloads.BatchGet, workloads.BatchPut:
		return l.chooseBatch(s)
	case workloads.Get, workloads.Scan, workloads.Operate, workloads.Touch:
		s.key = l.chooser.Next(l.pick, t.population.Load())
		return true
	case workloads.Insert:
		if s.key = l.heldKey - 1; l.heldKey == 0 {
			s.key = t.next.Add(1) - 1
		}
		s.seq, _ = t.begin(s.key, false)
		return true
	}
	for range redraws {
		s.key = l.chooser.Next(l.pick, t.population.Load())
		seq, ok := t.begin(s.key, s.kind == workloads.Delete)
		if ok {
			s.seq = seq
			return true
		}
	}
	return false
}

// unwrite gives back the reservation of a write that was never sent.
func (l *lane) unwrite(s *slot) {
	if s.seq > 0 {
		l.d.audit.wrote(s.key, s.seq, target.Failed, s.sent)
	}
	for i := range s.batch {
		if it := &s.batch[i]; it.seq > 0 {
			l.d.audit.wrote(it.key, it.seq, target.Failed, s.sent)
		}
	}
	if s.kind == workloads.Insert {
		l.heldKey = s.key + 1
	}
}

// release gives back slot i, which was not submitted.
func (l *lane) release(i uint32) {
	l.mu.Lock()
	l.slots[i].stage = idle
	l.free = append(l.free, i)
	l.mu.Unlock()
}

// prepare makes l.op the slot's next request: its read, or else its only
// request or the write that follows the read.
func (l *lane) prepare(i uint32, s *slot) {
	o := &l.op
	*o = target.Op{Key: s.key, Token: uint64(s.gen)<<32 | uint64(i), Budget: l.d.cfg.Deadline, Sample: s.sample != nil}
	switch {
	case s.stage == reading || s.kind == workloads.Get:
		o.Kind = target.Read
		l.look(s.key)
		s.before, s.beforeMS = l.d.table.load(s.key), l.d.table.ackedAt(s.key)
	case s.kind == workloads.Scan:
		o.Kind, o.ScanLen = target.Scan, 1+l.pick.IntN(l.d.cfg.Workload.ScanLength)
	case s.kind == workloads.Delete:
		o.Kind = target.Delete
	case s.kind == workloads.Operate:
		o.Kind = target.Operate
	case s.kind == workloads.Touch:
		o.Kind, o.TTL = target.Touch, l.d.cfg.Workload.TTL
	case len(s.batch) > 0:
		l.prepareBatch(s)
	default:
		o.Kind, o.TTL = target.Write, l.d.cfg.Workload.TTL
		o.Value = l.d.filler.put(l.buf, header{writer: l.d.audit.writer, seq: s.seq, key: s.key,
			intended: l.d.clock.Wall(s.intended).UnixNano()})
	}
}

// resume submits the writes of read-modify-writes whose read is answered.
func (l *lane) resume() {
	for {
		l.mu.Lock()
		if len(l.again) == 0 {
			l.mu.Unlock()
			return
		}
		i := l.again[len(l.again)-1]
		l.again = l.again[:len(l.again)-1]
		s := &l.slots[i]
		s.stage = inFlight
		copied := *s
		l.mu.Unlock()
		l.prepare(i, &copied)
		err := l.door.Submit(&l.op)
		if err == target.ErrFull {
			l.mu.Lock()
			s.stage = read
			l.again = append(l.again, i)
			l.mu.Unlock()
			return
		}
		if err != nil {
			l.refuse(err)
		}
	}
}

// refuse ends the operation of l.op, which a closed target did not take.
func (l *lane) refuse(err error) {
	l.complete(&target.Result{Token: l.op.Token, Outcome: target.Failed, Err: err})
}

// shed counts the arrivals that were due and never started as failed: they are
// part of the offered load.
func (l *lane) shed() {
	if l.sched == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for ; l.next < l.window.end; l.advance() {
		kind := workloads.Op(l.held)
		if l.held < 0 {
			kind = l.draw(l.next)
			l.count(kind, l.next)
		}
		l.held = -1
		l.recordLocked(&slot{kind: kind, intended: l.next, sent: -1}, target.Failed, l.next)
		l.second.shed++
	}
}
