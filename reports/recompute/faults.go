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
)

// fault checks one fault against events.csv, series.csv and the logs.
func (c *checker) fault(i int) {
	x := c.run.Summary.Faults[i]
	name := fmt.Sprintf("faults[%d].", i)
	c.faultAt(name, x)
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
		c.add(name+"gap_ms", text(*x.GapMS), "", "no response log holds an operation of its window", Unknown)
	default:
		most := worst
		if x.Failed+x.InDoubt > 0 || failed+inDoubt > 0 {
			// A failed operation counts its deadline, and what its answer took longer.
			most = max(most, c.run.Summary.Generator.DeadlineMS*1.5)
		}
		c.between(name+"gap_ms", *x.GapMS, least, most, "response logs, deadline")
	}
	c.oneView(name, x)
	c.restored(name, x)
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

func (c *checker) faultAt(name string, x result.Fault) {
	for _, e := range c.run.Events {
		if e.Kind == result.EventFault && e.Node == x.Node && strings.HasPrefix(e.What, x.What) && math.Abs(e.TSec-x.AtSec) <= eventTolerance {
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
	c.add(name+"one_view_ms", text(*x.OneViewMS), "", "events.csv does not hold the Views", Unknown)
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
		c.add(name, text(recorded), "", "events.csv holds no migration that ended", Unknown)
		return
	}
	s := Within
	if recorded < view-eventTolerance {
		s = Differs
	}
	c.add(name, text(recorded)+" s", "at least "+text(view)+" s", "events.csv", s)
}

// slo counts again what was beyond the limits.
func (c *checker) slo() {
	for i, l := range c.run.Summary.SLO {
		name := fmt.Sprintf("slo[%d].", i)
		var samples, beyond int64
		for _, op := range stats.Operations(c.run) {
			if l.Limit.Op != "" && l.Limit.Op != op {
				continue
			}
			sum, err := total(stats.LogPath(c.dir, op, result.Response), math.MinInt64, math.MaxInt64)
			if err != nil {
				c.add(name+"beyond", fmt.Sprint(l.Beyond), "", "a response log is missing or damaged", Unknown)
				return
			}
			rows, _ := c.rows(op)
			infinite := rows.Failed + rows.InDoubt
			samples += sum.Total + infinite
			beyond += above(sum, 1000*l.Limit.LatencyUS) + infinite
		}
		c.whole(name+"samples", l.Samples, samples, "response logs, series.csv")
		c.whole(name+"beyond", l.Beyond, beyond, "response logs, series.csv")
	}
}

// above counts the samples in buckets that reach above ns: those of the bucket
// that ns lies in count as slower, as they do for the generator.
func above(c *hlog.Counts, ns float64) (n int64) {
	c.Each(func(i int32, count int64) {
		if _, high := hlog.Value(i); float64(high) > ns {
			n += count
		}
	})
	return n
}

// steady recomputes the percentiles of the steady part.
func (c *checker) steady() {
	s := c.run.Summary.Steady
	if !s.Reached {
		return
	}
	zero := c.run.Summary.MeasuredFrom.UnixMilli()
	from, to := zero+int64(s.FromSec*1000)-500, zero+int64(s.ToSec*1000)-500 // intervals begin on whole seconds, give or take
	for _, op := range stats.Operations(c.run) {
		want, ok := s.Response[op]
		if !ok {
			continue
		}
		sum, err := total(stats.LogPath(c.dir, op, result.Response), from, to)
		if err != nil {
			continue // named with the operation
		}
		var infinite int64
		for _, r := range c.run.Series {
			if r.Op == op && float64(r.TSec) >= s.FromSec && float64(r.TSec) < s.ToSec {
				infinite += r.Failed + r.InDoubt
			}
		}
		c.percentiles("steady.response_us."+op, want, result.Summarize(sum.Histogram(), infinite), "response log, series.csv")
	}
}
