package recompute

import (
	"fmt"
	"math"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/hlog"
	"headroom/reports/stats"
)

// A fault is judged over the operations intended from before to after these
// many seconds around it.
const (
	before = 1.0
	after  = 5.0
)

// eventTolerance is what three decimals of a second in events.csv may hide on
// both ends of a difference, in seconds. pollTolerance is that of instants which
// the generator learns by asking nodes: seen up to 10 ms off on honest runs.
const (
	eventTolerance = 0.0021
	pollTolerance  = 0.02
	// eventHidden is what six decimals may hide on both ends of a difference.
	eventHidden = 2.1e-6
)

// faults checks each fault against what was written of every millisecond around
// it and of every settled View; in folders of older versions against the bounds
// that the seconds give.
func (c *checker) faults() {
	if c.merged() {
		return
	}
	waits, err := c.run.Waits()
	c.damaged(err)
	for i, x := range c.run.Summary.Faults {
		name := fmt.Sprintf("faults[%d].", i)
		c.faultAt(name, x)
		if err == nil || c.newer() {
			c.waited(name, x, waits)
			c.settled(name, i, x)
		}
		c.bounded(name, x, err != nil && !c.newer())
	}
}

// waited recomputes what the operations around a fault went through.
func (c *checker) waited(name string, x result.Fault, waits []result.Wait) {
	const from = "waits.csv"
	warmup := int64(math.Round(c.run.Summary.Generator.WarmupSec * 1e9))
	at := (int64(math.Round(x.AtSec*1e9)) + warmup) / 1e6 // ms since the warm-up began
	var failed, inDoubt int64
	worst := -1.0
	for _, w := range waits {
		ms := int64(math.Round(w.TSec*1e3 + float64(warmup)/1e6))
		if ms >= at-before*1e3 && ms < at+after*1e3 {
			worst = max(worst, float64(w.WorstUS)/1000)
			failed += w.Failed
			inDoubt += w.InDoubt
		}
	}
	c.whole(name+"failed", x.Failed, failed, from)
	c.whole(name+"in_doubt", x.InDoubt, inDoubt, from)
	var gap *float64
	if worst >= 0 {
		gap = &worst
	}
	c.pointer(name+"gap_ms", x.GapMS, gap, from)
}

// settled compares with the events of the i-th fault.
func (c *checker) settled(name string, i int, x result.Fault) {
	find := func(what string) *float64 {
		for _, e := range c.run.Events {
			if e.Kind == result.EventSettled && strings.HasPrefix(e.What, fmt.Sprintf("%s after fault %d,", what, i+1)) {
				v := e.TSec - x.AtSec
				return &v
			}
		}
		return nil
	}
	for _, y := range []struct {
		field    string
		recorded *float64
		unit     float64 // seconds
		seen     *float64
	}{{"one_view_ms", x.OneViewMS, 1e-3, find("one view")}, {"redundancy_restored_s", x.RedundancyRestoredSec, 1, find("full redundancy")}} {
		switch {
		case y.recorded == nil && y.seen == nil:
		case y.recorded == nil || y.seen == nil:
			c.add(name+y.field, orNull(y.recorded), orNull(y.seen), "events.csv", Differs)
		default:
			c.close(name+y.field, *y.recorded, *y.seen/y.unit, eventHidden/y.unit, "events.csv")
		}
	}
}

// bounded checks one fault against the bounds that the Views, series.csv and the
// logs give; without tell only a wait beyond them counts.
func (c *checker) bounded(name string, x result.Fault, tell bool) {
	all := c.out
	if !tell {
		saved := c.at
		c.out, c.at = &Report{}, map[string]int{}
		defer func() {
			found := c.out.Findings
			c.out, c.at = all, saved
			for _, f := range found {
				if f.State == Differs {
					c.add(f.Field, f.Recorded, f.Recomputed, f.From, Differs)
				}
			}
		}()
	}
	end := x.AtSec + after + c.run.Summary.Generator.DeadlineMS/1e3 + 1
	var failed, inDoubt int64
	worst, least := 0.0, 0.0
	for _, r := range c.run.Series {
		// An operation of the window may end up to its deadline later.
		if t := float64(r.TSec); t >= math.Floor(x.AtSec-before) && t <= end {
			failed += r.Failed
			inDoubt += r.InDoubt
		}
	}
	for _, op := range stats.Operations(c.run) {
		worst = max(worst, c.slowest(op, x.AtSec-before, end))
		least = max(least, c.surely(op, x.AtSec))
	}
	c.atMost(name+"failed", float64(x.Failed), float64(failed), "series.csv")
	c.atMost(name+"in_doubt", float64(x.InDoubt), float64(inDoubt), "series.csv")
	switch {
	case x.GapMS == nil:
	case worst == 0 && failed+inDoubt == 0:
		c.add(name+"gap_ms", text(*x.GapMS), "", "no response log holds an operation of its window", Older)
	default:
		most := worst
		if x.Failed+x.InDoubt > 0 || failed+inDoubt > 0 {
			// A failed operation counts its deadline, and what its answer took longer.
			most = max(most, c.run.Summary.Generator.DeadlineMS*1.5)
		}
		c.between(name+"gap_ms", *x.GapMS, least, most, "response logs, deadline")
	}
	if tell {
		c.oneView(name, x)
		c.restored(name, x)
	}
}

// tickLate is how late a second of a log may end, in seconds, on a busy machine:
// it then holds operations that completed after it.
const tickLate = 2.0

// surely returns the highest response time in milliseconds among operations
// that were intended in the window of a fault whenever they completed within
// their second of the log: the gap cannot be shorter.
func (c *checker) surely(op string, at float64) (ms float64) {
	r, err := hlog.Open(stats.LogPath(c.dir, op, result.Response))
	if err != nil {
		return 0
	}
	defer r.Close()
	zero := float64(c.run.Summary.MeasuredFrom.UnixMilli())
	for {
		iv, err := r.Next()
		if err != nil {
			return ms
		}
		from := (float64(iv.FromMS) - zero) / 1e3
		room := (from - at + before) * 1e9 // of a response that began in the window
		if from+1+tickLate > at+after {
			continue
		}
		for _, b := range iv.Bins {
			low, high := hlog.Value(b.Index)
			if float64(high) <= room {
				ms = max(ms, float64(low/1000)/1e3) // run.json has whole microseconds
			}
		}
	}
}

// faultAt looks for the fault among the events, of which each node that it hit
// has one.
func (c *checker) faultAt(name string, x result.Fault) {
	hidden := eventTolerance
	if c.newer() {
		hidden = eventHidden
	}
	node, _, _ := strings.Cut(x.Node, " ")
	for _, e := range c.run.Events {
		if e.Kind == result.EventFault && e.Node == node && strings.HasPrefix(e.What, x.What) && math.Abs(e.TSec-x.AtSec) <= hidden {
			c.add(name+"at_s", text(x.AtSec), text(e.TSec), "events.csv", Same)
			return
		}
	}
	c.add(name+"at_s", text(x.AtSec), "no such event", "events.csv", Differs)
}

// slowest returns the highest response time in milliseconds of the seconds
// that touch [from, to], zero when the log cannot be read.
func (c *checker) slowest(op string, from, to float64) float64 {
	zero := float64(c.run.Summary.MeasuredFrom.UnixMilli())
	sum, err := total(stats.LogPath(c.dir, op, result.Response), int64(zero+(from-1)*1000), int64(zero+(to+1)*1000))
	if err != nil || sum.Total == 0 {
		return 0
	}
	return highest(sum) / 1e6
}

func highest(c *hlog.Counts) float64 {
	c.Infinite = 0
	return c.Quantile(1)
}

// oneView finds the first View after the fault without (or with) its node that
// every one of its members committed.
func (c *checker) oneView(name string, x result.Fault) {
	if x.OneViewMS == nil {
		return
	}
	with := x.What == "start" || x.What == "cont" || x.What == "fail-device"
	committed := map[string]map[string]bool{}
	for _, e := range c.run.Events {
		text, ok := strings.CutPrefix(e.What, "view ")
		if e.Kind != result.EventView || e.TSec < x.AtSec || !ok {
			continue
		}
		key, list, ok := strings.Cut(text, ": ")
		if !ok {
			continue
		}
		members := strings.Fields(list)
		has := false
		for _, m := range members {
			has = has || m == x.Node
		}
		if has != with {
			continue
		}
		if committed[key] == nil {
			committed[key] = map[string]bool{}
		}
		committed[key][e.Node] = true
		if len(committed[key]) >= len(members) {
			c.near(name+"one_view_ms", *x.OneViewMS/1e3, e.TSec-x.AtSec)
			return
		}
	}
	c.add(name+"one_view_ms", text(*x.OneViewMS), "", "events.csv does not hold the Views", Older)
}

// nextFault is when the first fault after an instant was, +Inf without any.
func (c *checker) nextFault(at float64) float64 {
	next := math.Inf(1)
	for _, x := range c.run.Summary.Faults {
		if x.AtSec > at {
			next = min(next, x.AtSec)
		}
	}
	return next
}

// near compares two stretches of time in seconds within what events.csv holds.
func (c *checker) near(field string, recorded, recomputed float64) {
	s := Differs
	if math.Abs(recorded-recomputed) <= pollTolerance {
		s = Same
	}
	c.add(field, text(recorded)+" s", text(math.Round(recomputed*1000)/1000)+" s", "events.csv", s)
}

// restored finds the first moment after the fault at which every migration
// that had begun had ended. Copies that were all made before the View which
// followed, as those of a node that hands over and leaves, only bound it: the
// members were calm in that View when they were next asked.
func (c *checker) restored(name string, x result.Fault) {
	if x.RedundancyRestoredSec == nil {
		return
	}
	name += "redundancy_restored_s"
	recorded, view := *x.RedundancyRestoredSec, 0.0
	if x.OneViewMS != nil {
		view = *x.OneViewMS / 1e3
	}
	active, early := map[string]bool{}, false
	until := c.nextFault(x.AtSec) - x.AtSec
	for _, e := range c.run.Events {
		since := e.TSec - x.AtSec
		if e.Kind != result.EventMigration || since < 0 || early && since > recorded {
			continue
		}
		if len(active) == 0 && since > until {
			break // another fault's: this one, as of a node that was back at once, moved nothing
		}
		if strings.HasPrefix(e.What, "began") {
			active[e.Node] = true
			continue
		}
		delete(active, e.Node)
		early = len(active) == 0 && since < view-eventTolerance
		if len(active) == 0 && !early {
			c.near(name, recorded, since)
			return
		}
	}
	if !early {
		c.add(name, text(recorded), "", "events.csv holds no migration that ended", Older)
		return
	}
	s := Within
	if recorded < view-eventTolerance {
		s = Differs
	}
	c.add(name, text(recorded)+" s", "at least "+text(view)+" s", "events.csv", s)
}
