package local

import "golang.org/x/sys/unix"

const (
	// staUnsync and staNano are bits of adjtimex's status: nobody disciplines the
	// clock; its offset is in nanoseconds.
	staUnsync = 0x40
	staNano   = 0x2000
)

// ClockEstimate is what the kernel believes of the wall clock: how far it is
// from true time and within what bound, in milliseconds. ok is false when
// nothing (NTP, PTP) disciplines it.
func ClockEstimate() (offsetMS, errorMS float64, ok bool) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil || t.Status&staUnsync != 0 {
		return 0, 0, false
	}
	per := 1e3
	if t.Status&staNano != 0 {
		per = 1e6
	}
	// The kernel's offset is what is still to be corrected: the clock is behind
	// by it. Maxerror is in microseconds.
	return -float64(t.Offset) / per, float64(t.Maxerror) / 1e3, true
}
