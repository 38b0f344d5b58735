package server

import (
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"headroom/node/cluster"
)

// absences remembers when this node left the Views of its history, on the clock
// that counts suspension: a machine that slept for a week was away for a week.
type absences map[cluster.ViewKey]time.Duration

// bootTime is that clock. Where there is none, nobody is ever away for long.
func bootTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// leave notes that v (nil: none) is not the node's View any more, and forgets
// what is no longer in the history.
func (a *absences) leave(v *cluster.View, history []cluster.ViewKey) {
	if *a == nil {
		*a = absences{}
	}
	if v != nil {
		(*a)[v.Key] = bootTime()
	}
	for k := range *a {
		if !slices.Contains(history, k) {
			delete(*a, k)
		}
	}
}

// ages are the seconds since this node left each of the Views; zero for the one
// it holds, and for those of an earlier process, whose end nobody knows.
func (a absences) ages(history []cluster.ViewKey) []uint32 {
	now := bootTime()
	list := make([]uint32, len(history))
	for i, k := range history {
		if at, ok := a[k]; ok {
			list[i] = uint32(min((now-at)/time.Second, math.MaxUint32))
		}
	}
	return list
}
