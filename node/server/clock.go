package server

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"headroom/node/cluster"
)

const (
	// jumpLimit separates drift from a jump: 2 s is far beyond what NTP slews
	// between two looks.
	jumpLimit = 2 * time.Second
	// jumpTrust is how long a jumped wall clock must stay where it jumped to
	// before the node believes it: an operator's mistake is undone sooner.
	jumpTrust = 10 * time.Minute
	lookEvery = time.Second
)

// wallClock is the time that stamps records and expires them. It runs on the
// monotonic clock from where the wall clock stood at the start, follows drift,
// and ignores a jump until it has lasted: a clock that is set forward for a
// moment must not expire the data.
type wallClock struct {
	start  time.Time    // with its monotonic reading
	offset atomic.Int64 // milliseconds added to start's wall time + elapsed

	jumped time.Duration // monotonic time since when the clock stands elsewhere; zero: it does not
}

// read returns the monotonic instant and the wall time in milliseconds.
func (c *wallClock) read() (cluster.Instant, int64) {
	elapsed := time.Since(c.start)
	return cluster.Instant(elapsed), c.at(elapsed)
}

func (c *wallClock) at(elapsed time.Duration) int64 {
	return c.start.UnixMilli() + elapsed.Milliseconds() + c.offset.Load()
}

// look compares with the machine's wall clock; one goroutine calls it each
// lookEvery. It reports a jump once, when it is seen.
func (c *wallClock) look(elapsed time.Duration, machineMS int64) (jump time.Duration) {
	behind := time.Duration(machineMS-c.at(elapsed)) * time.Millisecond
	switch {
	case behind.Abs() <= jumpLimit:
		c.offset.Add(behind.Milliseconds())
		c.jumped = 0
	case c.jumped == 0:
		c.jumped = elapsed
		return behind
	case elapsed-c.jumped >= jumpTrust:
		c.offset.Add(behind.Milliseconds())
		c.jumped = 0
	}
	return 0
}

// suspendLimit is how far the clock that counts suspension may run ahead of
// the one that does not, between two looks, before the node takes it that the
// machine was suspended.
const suspendLimit = 50 * time.Millisecond

// suspension watches for the machine having been suspended: the monotonic
// clock stands still meanwhile, so a lease would seem to hold.
type suspension struct {
	ahead time.Duration // boot-time clock minus monotonic clock
	known bool
}

// look reports whether the machine was suspended since the last look.
func (s *suspension) look() bool {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil {
		return false // no such clock: nothing can be said
	}
	ahead := time.Duration(boot.Nano() - mono.Nano())
	was := s.known && ahead-s.ahead > suspendLimit
	s.ahead, s.known = ahead, true
	return was
}
