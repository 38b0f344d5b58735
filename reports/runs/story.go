package runs

import (
	"fmt"
	"math"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/page"
	"headroom/reports/stats"
)

// heldShare is the share of the offered rate from which a run is said to have
// held it: the rest is edge effects of the first and last second.
const heldShare = 0.99

// evenShare is the share of the offered rate that the lower end of the steady
// rate's interval must reach for a run to have held it.
const evenShare = 0.9

// Title returns the sentence that sums up the run.
func Title(f *stats.Facts) string {
	s := subject(f) + " " + rate(f)
	parts := []string{s}
	hit := disruptive(f)
	writes := lostClause(f)
	switch {
	case len(hit) == 0:
		parts = append(parts, writes)
	case len(hit) == 1:
		parts = append(parts, fmt.Sprintf("%s cost %s and %s", doing(hit[0]), cost(f, hit[0]), writes))
	default:
		worst, last := longest(hit), hit[len(hit)-1]
		if gone(f, last) {
			parts = append(parts, fmt.Sprintf("%s, the last of %d faults, cost %s and %s", doing(last), len(hit), cost(f, last), writes))
			break
		}
		parts = append(parts, fmt.Sprintf("%s cost at most %s each (%s) and %s", stats.Plural(int64(len(hit)), "fault"), cost(f, worst), doing(worst), writes))
	}
	if m := missed(f.Run.Summary.SLO); m != "" {
		parts = append(parts, m)
	}
	if w := wrongReads(f.Run.Summary.Audit); w != "" {
		parts = append(parts, w)
	}
	return strings.Join(parts, "; ")
}

// missed names the limits that the run did not hold, or is empty.
func missed(list []result.LimitTest) string {
	var parts []string
	for _, x := range list {
		if x.Outcome == result.Fails {
			parts = append(parts, target(x.Limit))
		}
	}
	switch {
	case len(parts) == 0:
		return ""
	case len(parts) > 2:
		return fmt.Sprintf("%d of %d targets were missed", len(parts), len(list))
	case len(parts) == 2:
		return join(parts) + " were missed"
	}
	return parts[0] + " was missed"
}

// target is a limit in words.
func target(l result.Limit) string {
	of := "all operations"
	if l.Op != "" {
		of = l.Op
	}
	return fmt.Sprintf("%s of %s within %s", stats.PercentileName(l.P), of, stats.Micros(l.LatencyUS))
}

func subject(f *stats.Facts) string {
	if f.Nodes > 0 {
		return stats.Plural(int64(f.Nodes), "node")
	}
	if t := f.Run.Summary.Target; t != "" {
		return t
	}
	return "The target"
}

// rate says what was sustained, in words that are true for the run: held,
// completed m of n, or driven by a closed loop.
func rate(f *stats.Facts) string {
	s := f.Run.Summary
	if f.Total.Count == 0 && len(f.Seconds) == 0 {
		return "completed no operation"
	}
	if !f.Steady.OK {
		return fmt.Sprintf("completed %s ops/s on average, without a steady state to quote", stats.Rate(s.AchievedOpsPerSec))
	}
	v, offered := f.Steady.Rate.Value, f.Steady.Offered.Value // of the same seconds: arrivals vary from second to second
	switch {
	case s.Loop == "closed":
		return fmt.Sprintf("completed %s ops/s for %s", stats.Rate(v), stats.Plural(int64(s.Generator.InFlightMax), "closed-loop client"))
	case v < heldShare*offered:
		return fmt.Sprintf("completed %s of %s offered ops/s", stats.Rate(v), stats.Rate(offered))
	case f.Steady.Rate.Low < evenShare*offered:
		return fmt.Sprintf("completed %s ops/s of %s offered, unevenly (%s from second to second)", stats.Rate(v), stats.Rate(offered), stats.Between(f.Steady.Rate.Low, f.Steady.Rate.High, stats.Rate))
	case unjudged(f):
		return fmt.Sprintf("completed %s ops/s in %s %s, not judged steady", stats.Rate(v), stats.Plural(int64(f.Steady.Seconds), "second"), calm(f))
	default:
		return fmt.Sprintf("held %s ops/s", stats.Rate(v))
	}
}

// unjudged reports whether the run does not call itself steady (rule R5), for the
// most part because there was too little of it without faults: its rate is no
// headline then.
func unjudged(f *stats.Facts) bool {
	s := f.Run.Summary.Steady
	return s.Rule != "" && !s.Reached
}

// disruptive returns the faults that take something away.
func disruptive(f *stats.Facts) []result.Fault {
	var out []result.Fault
	for _, x := range f.Run.Summary.Faults {
		if x.What == "kill" || x.What == "term" || x.What == "stop" || x.What == "fail-device" || x.What == "corrupt-device" || x.What == "fill" {
			out = append(out, x)
		}
	}
	return out
}

// doing names a fault as an activity: killing node3.
func doing(x result.Fault) string {
	verbs := map[string]string{"kill": "killing", "term": "terminating", "stop": "pausing", "cont": "resuming", "start": "starting",
		"fail-device": "failing a device of", "corrupt-device": "damaging a device of", "fill": "filling", "empty": "emptying"}
	verb, ok := verbs[x.What]
	if !ok {
		verb = x.What
	}
	return strings.TrimSpace(verb + " " + join(strings.Fields(x.Node)))
}

// gone reports whether nothing succeeded any more after a fault: its longest
// wait, which ends with a deadline, says nothing then.
func gone(f *stats.Facts, x result.Fault) bool {
	after := false
	for _, s := range f.Seconds {
		if float64(s.T) <= x.AtSec {
			continue
		}
		if s.OK > 0 {
			return false
		}
		after = after || s.Failed > 0
	}
	return after
}

func cost(f *stats.Facts, x result.Fault) string {
	if gone(f, x) {
		return "all service from then on"
	}
	if x.GapMS == nil {
		return "an unmeasured stretch of service"
	}
	return stats.Millis(*x.GapMS) + " of service"
}

// longest returns the fault with the longest gap; an unmeasured gap counts as
// the longest, because nothing shorter may be claimed.
func longest(list []result.Fault) result.Fault {
	worst := list[0]
	for _, x := range list[1:] {
		if worst.GapMS == nil {
			break
		}
		if x.GapMS == nil || *x.GapMS > *worst.GapMS {
			worst = x
		}
	}
	return worst
}

// lostClause finishes "killing node3 cost … and": no acknowledged write.
func lostClause(f *stats.Facts) string {
	a := f.Run.Summary.Audit
	calm := len(disruptive(f)) == 0
	switch {
	case !a.Enabled:
		if calm {
			return "lost writes were not audited"
		}
		return "an unaudited number of writes"
	case a.Lost > 0 && calm:
		return stats.Plural(a.Lost, "acknowledged write") + " lost"
	case a.Lost > 0:
		return stats.Plural(a.Lost, "acknowledged write")
	case unread(a) && calm:
		return "lost writes could not be looked for"
	case unread(a):
		return "an unknown number of writes"
	case complete(a) && calm:
		return "no acknowledged write was lost"
	case complete(a):
		return "no acknowledged write"
	case calm:
		return fmt.Sprintf("no acknowledged write was lost among the %s of %s keys read back", stats.Count(readable(a)), stats.Count(a.KeysWritten))
	default:
		return fmt.Sprintf("no acknowledged write among the %s of %s keys read back", stats.Count(readable(a)), stats.Count(a.KeysWritten))
	}
}

// unread reports whether nothing that was written could be read back.
func unread(a result.Audit) bool { return a.KeysWritten > 0 && a.Lost == 0 && readable(a) == 0 }

// readable returns how many keys the final read-back could judge.
func readable(a result.Audit) int64 { return max(a.ReadBack-a.ReadBackFailed, 0) }

func complete(a result.Audit) bool {
	return a.ReadBackFailed == 0 && a.ReadBack >= a.KeysWritten
}

// wrongReads counts what the audit found besides lost writes, or is empty.
func wrongReads(a result.Audit) string {
	if !a.Enabled {
		return ""
	}
	var parts []string
	for _, x := range []struct {
		n    int64
		noun string
	}{{a.StaleReads, "stale read"}, {a.Corrupt, "corrupt value"}, {a.FalseNotFound, "false not-found answer"}} {
		if x.n > 0 {
			parts = append(parts, stats.Plural(x.n, x.noun))
		}
	}
	return join(parts)
}

func join(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}

// headline returns the figures at the top of a report, in a fixed order.
func headline(f *stats.Facts) page.Values {
	return page.Values{steadyRate(f), steadyP99(f), gap(f), lost(f), restored(f)}
}

func steadyRate(f *stats.Facts) page.Value {
	v := page.Value{Label: "Steady rate"}
	if !f.Steady.OK {
		v.Text, v.Note = "no steady state", f.Steady.Why
		return v
	}
	if unjudged(f) {
		v.Label = "Rate, not judged steady"
	}
	r := f.Steady.Rate
	v.Text = stats.Rate(r.Value) + " ops/s"
	v.Note = fmt.Sprintf("median of %s %s, 95 %% interval %s", stats.Plural(int64(r.N), "second"), calm(f), stats.Between(r.Low, r.High, stats.Rate))
	return v
}

func calm(f *stats.Facts) string {
	switch {
	case len(f.Run.Summary.Faults) == 0:
		return "of the measured phase"
	case f.Steady.Healthy:
		return "with all nodes up and nothing migrating"
	default:
		return "outside the fault windows"
	}
}

func steadyP99(f *stats.Facts) page.Value {
	v := page.Value{Label: "p99 response"}
	if f.Steady.OK && f.Steady.Response.Samples > 0 {
		v.Text = percentile(f.Steady.Response, "p99")
		v.Note = strings.TrimSpace("all operations, in the same seconds " + interval(f.Steady.Response, "p99"))
		return v
	}
	v.Text, v.Note = stats.Missing, "no interval log could be read"
	if f.Steady.OK {
		return v
	}
	v.Text, v.Note = "no steady state", "percentiles of the whole run are in the operations table"
	return v
}

func gap(f *stats.Facts) page.Value {
	v := page.Value{Label: "Time without service"}
	hit := disruptive(f)
	if len(hit) == 0 {
		v.Text, v.Note = "no fault", "no node was killed, stopped or paused in this run"
		return v
	}
	worst := longest(hit)
	if last := hit[len(hit)-1]; gone(f, last) {
		v.Text, v.Note, v.Bad = "to the end", "nothing succeeded after "+doing(last), true
		return v
	}
	if worst.GapMS == nil {
		v.Text, v.Note = stats.Missing, "after "+doing(worst)
		return v
	}
	v.Text = stats.Millis(*worst.GapMS)
	v.Note = "longest wait of an operation, " + doing(worst)
	if len(hit) > 1 {
		v.Note += fmt.Sprintf("; worst of %d faults", len(hit))
	}
	return v
}

func lost(f *stats.Facts) page.Value {
	a := f.Run.Summary.Audit
	v := page.Value{Label: "Lost acknowledged writes"}
	if !a.Enabled {
		v.Text, v.Note = "not audited", a.Why
		return v
	}
	v.Text, v.Bad = stats.Count(a.Lost), a.Lost > 0
	v.Note = fmt.Sprintf("of %s acknowledged; all %s keys written were read back", stats.Count(a.AcknowledgedWrites), stats.Count(a.KeysWritten))
	if !complete(a) {
		v.Note = fmt.Sprintf("of %s acknowledged; only %s of %s keys written could be read back", stats.Count(a.AcknowledgedWrites), stats.Count(readable(a)), stats.Count(a.KeysWritten))
	}
	if unread(a) {
		v.Text, v.Note = "not known", fmt.Sprintf("of %s acknowledged: none of the %s keys written could be read back", stats.Count(a.AcknowledgedWrites), stats.Count(a.KeysWritten))
	}
	if wrong := a.StaleReads + a.Corrupt + a.FalseNotFound; wrong > 0 {
		v.Bad = true
		v.Note += fmt.Sprintf("; INVALID: %s stale reads, %s corrupt values, %s false not-founds", stats.Count(a.StaleReads), stats.Count(a.Corrupt), stats.Count(a.FalseNotFound))
	}
	return v
}

func restored(f *stats.Facts) page.Value {
	v := page.Value{Label: "Time to full redundancy"}
	hit := disruptive(f)
	if len(hit) == 0 {
		v.Text, v.Note = "no fault", "no partition had a copy to make"
		switch {
		case len(f.Redundancy) == 0:
			v.Note = "no node was sampled"
		case len(f.Migrations) > 0:
			v.Note = "copies moved all the same: see redundancy over time"
		}
		return v
	}
	var worst *result.Fault
	for i, x := range hit {
		if x.RedundancyRestoredSec == nil {
			v.Text, v.Note = notRestored(f), "after "+doing(x)
			return v
		}
		if worst == nil || *x.RedundancyRestoredSec > *worst.RedundancyRestoredSec {
			worst = &hit[i]
		}
	}
	v.Text = stats.Seconds(*worst.RedundancyRestoredSec)
	v.Note = "after " + doing(*worst) + ", until no partition had a copy to make"
	return v
}

// notRestored says why a fault has no restoration time: still migrating when
// the samples end, or not observed.
func notRestored(f *stats.Facts) string {
	if n := len(f.Redundancy); n > 0 && f.Redundancy[n-1].Partitions > 0 {
		return "not reached: " + stats.Plural(f.Redundancy[n-1].Partitions, "partition") + " left"
	}
	return stats.Missing
}

// percentile prints one percentile of p by name (p50, p90, p99, p99_9, max),
// or why there is none.
func percentile(p result.Percentiles, name string) string {
	slots := map[string]*float64{"p50": p.P50, "p90": p.P90, "p99": p.P99, "p99_9": p.P999, "max": p.Max}
	if v := slots[name]; v != nil && !math.IsNaN(*v) && !math.IsInf(*v, 0) {
		return stats.Micros(*v)
	}
	for _, n := range p.Infinite {
		if n == name {
			return "∞ (failed operations)"
		}
	}
	for _, n := range p.Unsupported {
		if n == name && shares[name] > 0 {
			return fmt.Sprintf("not enough samples (%s of %s needed)", stats.Count(p.Samples), stats.Count(stats.Needed(shares[name])))
		}
	}
	return stats.Missing
}

var shares = map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999}

// interval prints the 99 % confidence interval of a percentile, or nothing.
func interval(p result.Percentiles, name string) string {
	ci, ok := p.CI99[name]
	if !ok || ci[0] == nil {
		return ""
	}
	if ci[1] == nil {
		return fmt.Sprintf("(99 %% interval from %s up to failed operations)", stats.Micros(*ci[0]))
	}
	return fmt.Sprintf("(99 %% interval %s)", stats.Between(*ci[0], *ci[1], stats.Micros))
}

// Verdicts returns the run's verdicts, worst first, with those added that
// follow from the figures and that the run does not state itself.
func Verdicts(f *stats.Facts) []result.Verdict {
	s := f.Run.Summary
	var out []result.Verdict
	add := func(rule string, level result.Level, text string) {
		for _, v := range s.Verdicts {
			if v.Rule == rule {
				return
			}
		}
		out = append(out, result.Verdict{Rule: rule, Level: level, Text: text})
	}
	if s.Audit.Enabled && s.Audit.Lost > 0 {
		add("AUDIT", result.Fail, stats.Plural(s.Audit.Lost, "acknowledged write")+" lost")
	}
	if s.Interrupted {
		add("INTERRUPTED", result.Warn, "the run was stopped before its duration ended")
	}
	if s.Loop == "closed" {
		add("R1", result.Info, fmt.Sprintf("closed loop, %s: latencies do not speak for independent arrivals", stats.Plural(int64(s.Generator.InFlightMax), "client")))
	}
	for _, p := range f.Problems {
		out = append(out, result.Verdict{Rule: "DATA", Level: result.Warn, Text: p})
	}
	out = append(append([]result.Verdict(nil), s.Verdicts...), out...)
	var sorted []result.Verdict
	for _, level := range []result.Level{result.Fail, result.Warn, result.Info} {
		for _, v := range out {
			if v.Level == level || (level == result.Info && v.Level != result.Fail && v.Level != result.Warn) {
				sorted = append(sorted, v)
			}
		}
	}
	return sorted
}
