package runs

import (
	"fmt"
	"math"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/stats"
)

// throughputCaption says in which second least was completed of what was due;
// without arrivals of its own, in which least was completed.
func throughputCaption(f *stats.Facts) string {
	open := f.Run.Summary.Loop != "closed"
	worst, share := -1, math.Inf(1)
	for i, s := range f.Seconds {
		of := 1.0
		if open {
			of = float64(s.Offered)
		}
		last := i == len(f.Seconds)-1 && float64(s.T+1) > f.Run.Summary.DurationSec
		if last || of <= 0 {
			continue // cut short, or the drain after the end
		}
		if v := float64(s.OK) / of; v < share {
			worst, share = i, v
		}
	}
	if worst < 0 {
		return "Less than one whole second was measured."
	}
	s := f.Seconds[worst]
	var text string
	switch {
	case !open:
		text = fmt.Sprintf("The slowest second, at %d s, completed %s", s.T, stats.Plural(s.OK, "operation"))
	case share >= 1:
		text = "Every second completed what was due in it"
	default:
		text = fmt.Sprintf("At worst, in the second from %d s, %s of %s due were completed in it", s.T, stats.Count(s.OK), stats.Plural(s.Offered, "operation"))
	}
	if n := f.Total.Failed + f.Total.InDoubt; n > 0 {
		text += fmt.Sprintf(". %s failed or are in doubt (seconds marked red)", stats.Plural(n, "operation"))
	}
	return text + "."
}

func latencyCaption(f *stats.Facts) string {
	of := ""
	if f.SecondsOf != "" {
		of = " of " + f.SecondsOf + " (no interval log could be read)"
	}
	worst, at, infinite := -1.0, 0, 0
	for _, s := range f.Seconds {
		switch {
		case math.IsInf(s.P99, 1):
			infinite++
		case s.P99 > worst:
			worst, at = s.P99, s.T
		}
	}
	text := "Response time per second" + of
	if worst >= 0 {
		text += fmt.Sprintf(": the highest finite p99 was %s, at %d s", stats.Micros(worst), at)
	}
	if infinite > 0 {
		text += fmt.Sprintf("; in %s failed operations made it infinite", stats.Plural(int64(infinite), "second"))
	}
	return text + "." + binRemark(f)
}

// binRemark says what a point of a curve over a long run stands for.
func binRemark(f *stats.Facts) string {
	if f.Step <= 1 {
		return ""
	}
	return fmt.Sprintf(" Each point is the percentile over %s; the wash is the range of single seconds.", stats.Plural(int64(f.Step), "second"))
}

func redundancyCaption(f *stats.Facts) string {
	var peak int64
	for _, m := range f.Redundancy {
		peak = max(peak, m.Partitions)
	}
	if peak == 0 {
		return "No partition had a copy to make: redundancy was full throughout."
	}
	text := fmt.Sprintf("At most %s had to be moved or copied", stats.Plural(peak, "partition"))
	sum, open := 0.0, false
	for _, m := range f.Migrations {
		if math.IsInf(m.To, 1) {
			open = true
			continue
		}
		sum += m.To - m.From
	}
	if open {
		return text + "; migrations were still under way when the samples end."
	}
	return text + fmt.Sprintf("; migrations took %s in all.", stats.Seconds(sum))
}

func ninesCaption(f *stats.Facts) string {
	for _, c := range f.Curves {
		if c.Kind != result.Response {
			continue
		}
		return strings.Join(within(c.Percentiles), ", ") + ". Response counts from the intended start; service from the real one; " +
			"lateness is the generator's own delay. Dashed: fewer samples than bound the percentile."
	}
	return "No response times could be read."
}

// balanceSentence says how evenly masters and memory are spread.
func balanceSentence(rows []stats.NodeRow) string {
	var lo, hi int64 = math.MaxInt64, -1
	up := 0
	for _, r := range rows {
		if r.Up && r.Masters >= 0 {
			up++
			lo, hi = min(lo, r.Masters), max(hi, r.Masters)
		}
	}
	switch {
	case up == 0:
		return "No node was up at its last sample."
	case up == 1:
		return "One node was up at its last sample."
	case lo == hi:
		return fmt.Sprintf("At the last sample %d nodes were up and each was master of %s partitions.", up, stats.Count(lo))
	default:
		return fmt.Sprintf("At the last sample %d nodes were up and master of %s to %s partitions each.", up, stats.Count(lo), stats.Count(hi))
	}
}

// auditSentence says what the audit found, in one sentence.
func auditSentence(f *stats.Facts) string {
	a := f.Run.Summary.Audit
	if !a.Enabled {
		if a.Why != "" {
			return "The run was not audited: " + a.Why + "."
		}
		return "The run was not audited."
	}
	wrong := wrongReads(a)
	switch {
	case unread(a) && wrong == "":
		return fmt.Sprintf("None of the %s keys written could be read back at the end: whether a write was lost is not known.", stats.Count(a.KeysWritten))
	case a.Lost == 0 && wrong == "" && complete(a):
		return fmt.Sprintf("All %s acknowledged writes were found again, and no read was stale, corrupt or falsely not found.", stats.Count(a.AcknowledgedWrites))
	case a.Lost == 0 && wrong == "":
		return fmt.Sprintf("No loss was found, but only %s of %s keys could be read back at the end.", stats.Count(readable(a)), stats.Count(a.KeysWritten))
	case wrong == "":
		return stats.Plural(a.Lost, "acknowledged write") + " lost."
	case a.Lost == 0:
		return "No acknowledged write was lost, but the run saw " + wrong + "."
	default:
		return fmt.Sprintf("%s lost, and the run saw %s.", stats.Plural(a.Lost, "acknowledged write"), wrong)
	}
}

// heatCaption says where most operations lie and how far the slowest reach.
func heatCaption(f *stats.Facts) string {
	h := f.Heat
	sums := make([]int64, h.Rows)
	var total int64
	for _, c := range h.Column {
		for i, n := range c.Counts {
			sums[i] += n
			total += n
		}
	}
	best := 0
	for i, n := range sums {
		if n > sums[best] {
			best = i
		}
	}
	return fmt.Sprintf("How many operations took how long: %s of them between %s and %s. A cell is %s wide; the stronger its colour, the more operations, on a log scale.",
		stats.Percent(math.Round(1000*float64(sums[best])/float64(max(total, 1)))/1000), stats.Micros(h.Low(best)), stats.Micros(h.Low(best+1)), stats.Plural(int64(h.Step), "second"))
}

// within says how long which shares of the operations took, as far as they
// are known and finite.
func within(p result.Percentiles) (out []string) {
	if strings.HasPrefix(percentile(p, "p50"), "∞") {
		return []string{"Half of all operations or more were not answered: failed ones count as infinitely slow"}
	}
	known, never := false, []string{}
	for _, x := range []struct{ name, share string }{{"p50", "half of all operations"}, {"p99", "99 %"}, {"p99_9", "99.9 %"}} {
		text := percentile(p, x.name)
		switch {
		case strings.HasPrefix(text, "∞"):
			never = append(never, x.share)
		case strings.Contains(text, "not enough"):
			out = append(out, x.share+" unknown: "+text)
		case known:
			out = append(out, x.share+" within "+text)
		default:
			out, known = append(out, x.share+" answered within "+text), true
		}
	}
	if len(never) > 0 {
		out = append(out, join(never)+" not at all, because failed operations count as infinite")
	}
	out[0] = strings.ToUpper(out[0][:1]) + out[0][1:]
	return out
}
