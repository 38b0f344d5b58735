package pace

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// spinFor is how long before the instant a Precise waiter begins to spin:
	// nanosleep of a locked thread is up to 60 us late.
	spinFor = 60 * time.Microsecond
	// sliceMax bounds one sleep, because nothing can wake it early.
	sliceMax = 200 * time.Microsecond
)

// Precise waits by nanosleep and a spin, 0.1 us late at the median, at the
// price of one core per lane. It holds its goroutine's thread.
type Precise struct{ clock Clock }

// NewPrecise locks the calling goroutine to its thread until Close.
func NewPrecise(c Clock) *Precise {
	runtime.LockOSThread()
	// A slack of 1 ns for this thread; where it is refused the default of 50 us
	// only makes the spin longer.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return &Precise{clock: c}
}

// Until waits for the instant at, but not longer than about 200 us, so that the
// caller can look at other things.
func (p *Precise) Until(at time.Duration) {
	left := at - p.clock.Now()
	if left > spinFor {
		ts := unix.NsecToTimespec(int64(min(left-spinFor, sliceMax)))
		_ = unix.Nanosleep(&ts, nil) // a signal ends it early, which the loop of the caller bears
	}
	if left > spinFor+sliceMax {
		return
	}
	for p.clock.Now() < at {
	}
}

// Close gives the thread back.
func (p *Precise) Close() { runtime.UnlockOSThread() }
