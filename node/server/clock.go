package server

import (
	"time"

	"golang.org/x/sys/unix"
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
