package pace

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestThreadsHaveShortSlicesAndWhatTheyStartHasNot(t *testing.T) {
	if err := ShortSlices(); err != nil {
		t.Skip("this kernel does not let a process choose its slices: ", err)
	}
	slice := func() uint64 {
		a, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Error(err)
			return 0
		}
		return a.Runtime
	}
	short := make(chan uint64)
	go func() { short <- slice() }()
	got := <-short
	if got != uint64(shortSlice) {
		t.Skipf("this kernel keeps its own slice of %d ns", got)
	}
	long := make(chan uint64)
	go func() { // ends on its thread
		if err := LongSlice(); err != nil {
			t.Error(err)
		}
		long <- slice()
	}()
	if got := <-long; got <= uint64(shortSlice) {
		t.Errorf("a slice of %d ns after LongSlice, want the system's", got)
	}
	go func() { short <- slice() }()
	if got := <-short; got != uint64(shortSlice) {
		t.Errorf("another goroutine has a slice of %d ns after that", got)
	}
}
