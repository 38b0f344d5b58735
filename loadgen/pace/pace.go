// Package pace owns when operations are due: rates over time, arrival
// schedules, and the waiters that a lane sleeps on. It starts nothing and
// records nothing.
//
// The invariant to know: a Schedule never depends on how the target behaves.
// An operation is due when it is due, however late the generator or the target
// are; that is what keeps response times honest.
//
// Start reading at Schedule, then Profile.
package pace

import (
	"math"
	"math/rand/v2"
	"time"
)

// Clock is a monotonic clock that starts at zero. Reading it costs about 40 ns.
type Clock struct{ base time.Time }

// NewClock starts a clock.
func NewClock() Clock { return Clock{base: time.Now()} }

// Now is the time since the start.
func (c Clock) Now() time.Duration { return time.Since(c.base) }

// Wall is the wall-clock time of an instant of this clock, assuming that the
// wall clock was not set since.
func (c Clock) Wall(at time.Duration) time.Time { return c.base.Add(at) }

// Since is the instant of a wall-clock time.
func (c Clock) Since(t time.Time) time.Duration { return t.Sub(c.base) }

// Never is the arrival after the last one.
const Never = time.Duration(math.MaxInt64)

// Schedule yields the intended starts of one lane, ascending, from zero on,
// then Never for good.
type Schedule interface {
	Next() time.Duration
}

// Poisson is a Poisson process: independent users. Lanes that each run one are
// together one of the whole rate (superposition). Where the rate changes over
// time, arrivals of a process of rate one are mapped through the inverse of the
// profile's count, which is exact.
type Poisson struct {
	at    float64 // arrivals of all lanes expected so far
	lanes float64
	c     cursor
	r     *rand.Rand
}

// NewPoisson returns one of lanes processes that are p together. The random
// stream should be used for nothing else, so that the same seed gives the same
// arrivals whatever the workload is.
func NewPoisson(p *Profile, lanes int, r *rand.Rand) *Poisson {
	return &Poisson{lanes: float64(lanes), c: cursor{p: p}, r: r}
}

// Next implements Schedule.
func (p *Poisson) Next() time.Duration {
	p.at += p.r.ExpFloat64() * p.lanes
	return p.c.when(p.at)
}

// Constant is evenly spaced arrivals over all lanes, of which this lane takes
// every lanes-th.
type Constant struct {
	i, by uint64
	c     cursor
}

// NewConstant returns lane's part (0 <= lane < lanes) of p.
func NewConstant(p *Profile, lane, lanes int) *Constant {
	return &Constant{i: uint64(lane), by: uint64(lanes), c: cursor{p: p}}
}

// Next implements Schedule.
func (c *Constant) Next() time.Duration {
	at := c.c.when(float64(c.i))
	c.i += c.by
	return at
}

// Trace replays recorded arrivals, of which this lane takes every lanes-th.
type Trace struct {
	times []time.Duration
	i, by int
}

// NewTrace returns lane's part of times, which are ascending and shared.
func NewTrace(times []time.Duration, lane, lanes int) *Trace {
	return &Trace{times: times, i: lane, by: lanes}
}

// Next implements Schedule.
func (t *Trace) Next() time.Duration {
	if t.i >= len(t.times) {
		return Never
	}
	at := t.times[t.i]
	t.i += t.by
	return at
}
