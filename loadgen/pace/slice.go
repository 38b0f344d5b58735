package pace

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// shortSlice is the least time slice that the kernel takes.
const shortSlice = 100 * time.Microsecond

// ShortSlices asks the kernel for short time slices for all threads of this
// process and those that they start. Under EEVDF (Linux 6.12 and later) a thread
// with a short slice that wakes up runs before one that is in the middle of a
// long slice, at the same share of the CPU: on a busy machine a lane is no
// longer a slice of somebody else late (3 ms). It needs no privilege. What the
// process then starts would inherit it: see LongSlice.
func ShortSlices() error {
	list, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, e := range list {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if err := setSlice(tid, shortSlice); err != nil {
			return fmt.Errorf("time slice of thread %d: %w", tid, err)
		}
	}
	return nil
}

// LongSlice locks the calling goroutine to its thread and gives that the
// system's own time slice again, which the programs inherit that it starts. The
// goroutine must end on it, so that the runtime does not use it further.
func LongSlice() error {
	runtime.LockOSThread()
	return setSlice(0, 0)
}

// setSlice sets the slice of one thread, 0 being the calling one; a slice of 0
// is the system's.
func setSlice(tid int, slice time.Duration) error {
	a, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		return err
	}
	a.Runtime = uint64(slice.Nanoseconds())
	return unix.SchedSetAttr(tid, a, 0)
}
