// Package pace owns when operations are due: arrival schedules and the timer
// that a lane waits on. It starts nothing and records nothing.
//
// The invariant to know: a Schedule never depends on how the target behaves.
// An operation is due when it is due, however late the generator or the target
// are; that is what keeps response times honest.
//
// Start reading at Schedule.
package pace

import (
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

// Schedule yields the intended starts of one lane, ascending, from zero on.
type Schedule interface {
	Next() time.Duration
}

// Poisson is a Poisson process: independent users. Lanes that each run one at
// rate/lanes are together one of the whole rate (superposition).
type Poisson struct {
	gap float64 // mean, ns
	at  float64
	r   *rand.Rand
}

// NewPoisson returns a process of rate arrivals per second, rate > 0. The
// random stream should be used for nothing else, so that the same seed gives
// the same arrivals whatever the workload is.
func NewPoisson(rate float64, r *rand.Rand) *Poisson { return &Poisson{gap: 1e9 / rate, r: r} }

// Next implements Schedule.
func (p *Poisson) Next() time.Duration {
	p.at += p.r.ExpFloat64() * p.gap
	return time.Duration(p.at)
}

// Constant is one arrival every 1/rate seconds over all lanes, of which this
// lane takes every lanes-th.
type Constant struct {
	gap float64 // ns between arrivals of all lanes
	i   uint64
	by  uint64
}

// NewConstant returns lane's part (0 <= lane < lanes) of a schedule of rate
// arrivals per second in all.
func NewConstant(rate float64, lane, lanes int) *Constant {
	return &Constant{gap: 1e9 / rate, i: uint64(lane), by: uint64(lanes)}
}

// Next implements Schedule.
func (c *Constant) Next() time.Duration {
	at := time.Duration(float64(c.i) * c.gap)
	c.i += c.by
	return at
}
