package main

import (
	"fmt"
	"math"
	"time"

	"headroom/loadgen/result"
)

// apartMax is how far apart the shards' measured phases may lie: the seconds of
// a merged run are those of each shard, and beyond half a second most of one
// shard's lies in another second of the next.
const apartMax = 500 * time.Millisecond

// alignment is how far the measured phases of shards lie apart in true time.
type alignment struct {
	apart, within time.Duration // between the first and the last, and how sure that is
	unknown       []int         // shards whose clock was compared with no common one
	none          bool          // that is all of them
	reference     string
}

// align compares the starts of the shards by their clocks' offsets, which must
// be from one node or all from the kernel's own estimate.
func align(runs []*result.Run) alignment {
	var a alignment
	first, last, wide := math.Inf(1), math.Inf(-1), [2]float64{}
	common := runs[0].Summary.Shard
	for _, r := range runs {
		s := r.Summary.Shard
		if s.ClockOffsetMS == nil || s.ClockErrorMS == nil || s.ClockSource != common.ClockSource || s.ClockReference != common.ClockReference {
			a.unknown = append(a.unknown, s.Index)
			continue
		}
		start := millis(r.Summary.MeasuredFrom.Sub(common.StartAt)) - *s.ClockOffsetMS
		first, last = min(first, start), max(last, start)
		// The two widest bounds add up.
		if e := *s.ClockErrorMS; e > wide[0] {
			wide = [2]float64{e, wide[0]}
		} else {
			wide[1] = max(wide[1], e)
		}
	}
	if a.reference = common.ClockReference; a.reference == "" {
		a.reference = "each kernel's own estimate"
	}
	if a.none = math.IsInf(first, 0); !a.none {
		a.apart = time.Duration((last - first) * float64(time.Millisecond))
		a.within = time.Duration((wide[0] + wide[1]) * float64(time.Millisecond))
	}
	return a
}

// check refuses shards whose seconds are not the same ones; loose takes them
// and leaves it to the verdict.
func (a *alignment) check(loose bool) error {
	switch {
	case loose:
		return nil
	case a.apart-a.within > apartMax:
		return fmt.Errorf("the shards' measured phases lie %v apart (by the clock of %s, within %v): their seconds are not the same ones; "+
			"set the clocks (NTP) and run again, or add --allow-skew: latencies are right all the same, the time axis and peaks of the rate are not",
			a.apart.Round(time.Millisecond), a.reference, a.within.Round(time.Millisecond))
	case a.within > apartMax:
		return fmt.Errorf("how far the shards' measured phases lie apart is known within %v only (by the clock of %s): compare the clocks with a nearer "+
			"node or discipline them, or add --allow-skew: latencies are right all the same, the time axis may not be",
			a.within.Round(time.Millisecond), a.reference)
	}
	return nil
}

// verdict says how well the seconds of the shards fit each other.
func (a *alignment) verdict() result.Verdict {
	v := result.Verdict{Rule: "SHARD", Level: result.Info, Text: fmt.Sprintf("the shards' measured phases lie %v apart, within %v, by the clock of %s",
		a.apart.Round(10*time.Microsecond), a.within.Round(10*time.Microsecond), a.reference)}
	if a.apart+a.within > shardLate {
		v.Level = result.Warn
	}
	switch {
	case a.none:
		v.Level, v.Text = result.Warn, "nothing is known of the shards' clocks: how far their seconds lie apart is not known"
	case len(a.unknown) > 0:
		v.Level = result.Warn
		v.Text = fmt.Sprintf("the clocks of shards %v were not compared with that of the others: their seconds may be others; %s", a.unknown, v.Text)
	}
	return v
}
