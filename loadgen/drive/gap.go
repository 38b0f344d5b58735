package drive

import (
	"cmp"
	"slices"
	"time"

	"headroom/loadgen/result"
)

// The window of a fault (design: definition of gap_ms), and how far around a
// planned fault the per-millisecond record reaches: an injection that comes
// up to a second early or late is still covered.
const (
	gapBefore = time.Second
	gapAfter  = 5 * time.Second
	gapSlack  = 2 * time.Second
)

// instant is what happened to the operations intended in one millisecond.
type instant struct {
	worstUS         uint32 // longest response, a failed one counting its deadline
	failed, inDoubt uint16
	seen            bool
}

// gaps records response times per millisecond of intended start, for the
// seconds around planned faults only. One per lane, under the lane's lock.
type gaps struct {
	seconds [][]instant // nil where nothing is planned
}

// newGaps covers the given planned instants of a run of length end.
func newGaps(planned []time.Duration, end time.Duration) gaps {
	g := gaps{seconds: make([][]instant, int(end/time.Second)+2)}
	for _, at := range planned {
		from := max(0, at-gapBefore-gapSlack)
		to := min(end, at+gapAfter+gapSlack)
		for s := from / time.Second; s <= to/time.Second; s++ {
			if g.seconds[s] == nil {
				g.seconds[s] = make([]instant, 1000)
			}
		}
	}
	return g
}

func (g *gaps) at(intended time.Duration) *instant {
	ms := intended.Milliseconds()
	if s := ms / 1000; ms >= 0 && s < int64(len(g.seconds)) && g.seconds[s] != nil {
		return &g.seconds[s][ms%1000]
	}
	return nil
}

// record notes one operation; response is its deadline or more if it failed.
func (g *gaps) record(intended, response time.Duration, failed, inDoubt bool) {
	i := g.at(intended)
	if i == nil {
		return
	}
	i.seen = true
	i.worstUS = max(i.worstUS, uint32(min(response.Microseconds(), 1<<32-1)))
	if failed && i.failed < 1<<16-1 {
		i.failed++
	}
	if inDoubt && i.inDoubt < 1<<16-1 {
		i.inDoubt++
	}
}

// WaitsAround returns what became of the operations intended in each millisecond
// of the windows around the given instants of the measured phase, in order of
// time; milliseconds without an operation are left out. GapAround is made of
// the same.
func (r *Report) WaitsAround(faults []time.Duration) (list []result.Wait) {
	if len(r.lanes) == 0 {
		return nil
	}
	w := &r.lanes[0].window
	warmup := w.measured - w.start
	seen := map[time.Duration]bool{}
	for _, at := range faults {
		at = (at + warmup).Truncate(time.Millisecond)
		for t := at - gapBefore; t < at+gapAfter; t += time.Millisecond {
			if seen[t] {
				continue
			}
			seen[t] = true
			x, known := result.Wait{TSec: (t - warmup).Seconds()}, false
			for _, l := range r.lanes {
				if i := l.gaps.at(t); i != nil && i.seen {
					known = true
					x.WorstUS = max(x.WorstUS, int64(i.worstUS))
					x.Failed += int64(i.failed)
					x.InDoubt += int64(i.inDoubt)
				}
			}
			if known {
				list = append(list, x)
			}
		}
	}
	slices.SortFunc(list, func(a, b result.Wait) int { return cmp.Compare(a.TSec, b.TSec) })
	return list
}

// Gap is what the operations intended from 1 s before to 5 s after a fault
// went through.
type Gap struct {
	// Worst is the longest completion - intended start; Known is false when no
	// operation was intended in the window or it was not recorded.
	Worst           time.Duration
	Known           bool
	Failed, InDoubt int64
}

// add widens o by the lane's record around the fault at at.
func (g *gaps) add(o *Gap, at time.Duration) {
	at = at.Truncate(time.Millisecond)
	for t := at - gapBefore; t < at+gapAfter; t += time.Millisecond {
		i := g.at(t)
		if i == nil || !i.seen {
			continue
		}
		o.Known = true
		o.Worst = max(o.Worst, time.Duration(i.worstUS)*time.Microsecond)
		o.Failed += int64(i.failed)
		o.InDoubt += int64(i.inDoubt)
	}
}
