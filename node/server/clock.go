package server

import (
	"time"

	"golang.org/x/sys/unix"

	"headroom/node/cluster"
)

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

// wallAhead is how far the wall clock is ahead of the monotonic time since the
// start. Both come from one reading, which costs a read 20 ns more than one
// clock; the system moves the wall clock on by the time of a suspension before
// any process runs again.
func wallAhead(t time.Time, elapsed time.Duration) int64 { return t.UnixNano() - int64(elapsed) }

// leaseAt is until when this node may answer, as of the reading t. It is zero
// from the instant in which the machine wakes from a suspension, or its wall
// clock is set, until the control goroutine has looked: a read that was under
// way must not be answered because it came first.
func (n *Node) leaseAt(t time.Time, elapsed time.Duration) cluster.Instant {
	if d := wallAhead(t, elapsed) - n.ahead.Load(); d > int64(suspendLimit) || d < -int64(suspendLimit) {
		return 0
	}
	return cluster.Instant(n.lease.Load())
}

// noteWall takes the clocks' distance for the present one, after a look that
// came after the reading t has found no suspension, or given up the lease.
func (n *Node) noteWall(t time.Time) { n.ahead.Store(wallAhead(t, t.Sub(n.start))) }
