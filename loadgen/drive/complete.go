package drive

import (
	"time"

	"headroom/loadgen/target"
	"headroom/workloads"
)

// complete is the target's callback: it ends an operation, or the read of a
// read-modify-write. Any goroutine.
func (l *lane) complete(r *target.Result) {
	now := l.d.clock.Now()
	i := uint32(r.Token)
	l.mu.Lock()
	s := &l.slots[i]
	if s.gen != uint32(r.Token>>32) || s.stage == idle {
		l.late++
		l.mu.Unlock()
		return
	}
	if r.More {
		l.d.audit.item(&s.batch[r.Item], r, s.sent, now)
		l.mu.Unlock()
		return
	}
	if r.Err != nil {
		l.d.errs.note(r.Err)
	}
	wake := l.endLocked(i, s, r, now)
	sleeping := l.wakeOn
	if wake {
		l.wakeOn = awake // once is enough
	}
	l.mu.Unlock()
	switch {
	case wake && sleeping == onAnything:
		select {
		case l.wake <- struct{}{}:
		default: // it is being woken already
		}
	case wake:
		_ = l.timer.Arm(0)
	}
}

// endLocked ends the slot's request and reports whether the lane is to be
// woken.
func (l *lane) endLocked(i uint32, s *slot, r *target.Result, now time.Duration) (wake bool) {
	a := l.d.audit
	out := r.Outcome
	if s.sample != nil {
		s.sample.add(r.Stages)
	}
	if s.kind == workloads.Get || s.stage == reading {
		a.sawRead(s.key, s.sent, now, r)
		if f := a.check(s.key, s.before, s.beforeMS, r); f != fine {
			a.count(f, s.key, s.before, s.beforeMS, r, now)
		}
	}
	if out == target.InDoubt && (s.stage == reading || s.kind == workloads.Get || s.kind == workloads.BatchGet) {
		out = target.Failed // a read changes nothing: nothing is in doubt
	}
	a.endBatch(s.batch, out, s.sent, now)
	answered := out == target.OK || out == target.NotFound
	if s.stage == reading && answered {
		s.stage, s.notFound = read, out == target.NotFound
		l.again = append(l.again, i)
		return l.wakeOn != awake
	}
	if s.seq > 0 {
		a.wrote(s.key, s.seq, out, now)
		a.sawWrite(s.key, s.sent, now, s.seq, s.kind == workloads.Delete, out)
	}
	if s.notFound && answered {
		out = target.NotFound
	}
	if s.sample != nil && s.intended >= l.window.measured && s.intended < l.window.end {
		l.now[s.kind].asked++
		if l.d.waterfall.keep(s, answered, now) {
			l.now[s.kind].answered++
		}
	}
	l.recordLocked(s, out, now)
	s.stage, s.sample = idle, nil
	if think := l.d.cfg.Think; think > 0 {
		l.resting.add(rest{slot: i, until: now + think})
	} else {
		l.free = append(l.free, i)
	}
	l.doneN++
	return l.wakeOn == onAnything
}

// recordLocked adds a finished operation to the interval and the gaps.
func (l *lane) recordLocked(s *slot, out target.Outcome, now time.Duration) {
	resp := now - s.intended
	failed, inDoubt := out == target.Failed, out == target.InDoubt
	gap := resp
	if failed || inDoubt {
		gap = max(resp, l.d.cfg.Deadline)
	}
	l.gaps.record(s.intended-l.window.start, gap, failed, inDoubt)
	if s.intended < l.window.measured || s.intended >= l.window.end {
		return
	}
	late := s.sent - s.intended
	switch {
	case s.sent < 0:
		late = neverSent
	case s.held:
		late = heldBack
	}
	l.now[s.kind].record(out, resp, now-s.sent, late)
}

// sweep gives up operations that the target should have completed long ago.
func (l *lane) sweep(now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := now - l.d.cfg.Deadline - abandonAfter
	for i := range l.slots {
		s := &l.slots[i]
		if s.stage != inFlight && s.stage != reading || s.sent > limit {
			continue
		}
		out := target.InDoubt
		if s.seq == 0 || s.stage == reading {
			out = target.Failed
		}
		l.d.errs.note(errAbandoned)
		l.endLocked(uint32(i), s, &target.Result{Outcome: out, Err: errAbandoned}, now)
	}
}

// swap takes what was recorded and counted so far and starts anew; the caller
// gives the interval back by returnInterval.
func (l *lane) swap() (*interval, laneSecond) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, second := l.now, l.second
	l.now, l.spare = l.spare, nil
	l.second = laneSecond{peak: l.busyLocked()}
	return full, second
}

func (l *lane) returnInterval(v *interval) {
	for _, c := range v {
		if c != nil {
			c.reset()
		}
	}
	l.mu.Lock()
	l.spare = v
	l.mu.Unlock()
}
