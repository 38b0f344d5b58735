package studies

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/page"
	"headroom/reports/stats"
)

func kneeDocument(dir string, k *result.Knee) *page.Document {
	d := begin("Headroom knee report", kneeTitle(k), k.Study)
	d.Add("figures", "Headline figures", kneeValues(k))
	if f := kneeFigure(k); f != nil {
		d.Add("curve", "Load and latency", f, probeTable(k))
	} else {
		d.Add("curve", "Load and latency", page.Absent("Nothing to draw: no probe measured a latency."), probeTable(k))
	}
	d.Add("limit", "What ends the rate", page.Text(limitText(k)), useFigure(k))
	if h := k.Hysteresis; h != nil {
		d.Add("hysteresis", "After an overload", page.Text(hysteresisText(h)))
	}
	d.Add("slo", "The target", page.Text("The SLO: "+sloText(k.SLO)+". Failed operations count as infinitely slow."), auditTable(k.Audit))
	return end(d, k.Study)
}

func duringText(during string) string {
	if during == "" {
		return ""
	}
	for _, x := range [][2]string{{"kill", "while a node is killed and comes back"}, {"term", "while a node leaves and comes back"},
		{"stop", "while a node stands still for a time"}, {"rolling-restart", "throughout a rolling restart"}} {
		if x[0] == during {
			return " " + x[1]
		}
	}
	return " during " + during
}

func kneeTitle(k *result.Knee) string {
	if k.AnswerOpsPerSec == nil {
		word := "No rate held"
		if heldOnce(k) > 0 {
			word = "No rate was confirmed to hold"
		}
		return fmt.Sprintf("%s %s%s", word, sloText(k.SLO), duringText(k.During))
	}
	t := fmt.Sprintf("%s holds %s%s", rateText(*k.AnswerOpsPerSec), sloText(k.SLO), duringText(k.During))
	if k.HighOpsPerSec == nil {
		t = "At least " + t
	}
	if !k.Confirmed {
		t += ", not confirmed by a longer run"
	}
	return t
}

// near is how far two offered rates lie apart at most to be one, as a share:
// Poisson arrivals vary.
const near = 0.05

// doubts are what the probes say against the answer.
func doubts(k *result.Knee) string {
	held, undecided, above := false, false, 0.0
	for _, x := range k.Probes {
		switch rate := x.OfferedOpsPerSec; {
		case x.Outcome == result.Holds && rate > *k.AnswerOpsPerSec*(1+near):
			above = max(above, rate)
		case math.Abs(rate / *k.AnswerOpsPerSec - 1) > near:
		case x.Outcome == result.Holds:
			held = true
		case x.Outcome == result.Undecided:
			undecided = true
		}
	}
	text := ""
	if undecided && !held {
		text = "; its probe is undecided: its samples do not tell on which side of the limit it lies"
	}
	if above > 0 {
		text += "; a probe at " + rateText(above) + " held, too"
	}
	return text
}

func kneeValues(k *result.Knee) page.Values {
	rate := page.Value{Label: "Highest rate that holds", Text: optionalRate(k.AnswerOpsPerSec)}
	once := heldOnce(k)
	switch {
	case k.AnswerOpsPerSec == nil:
		if rate.Text, rate.Bad = "none", true; once > 0 {
			rate.Note = rateText(once) + " held in a probe, and not when that was confirmed"
		}
	case k.Confirmed:
		rate.Note = "confirmed by a run of " + stats.Seconds(k.ConfirmSec)
	default:
		rate.Note = "not confirmed by a longer run"
	}
	if k.AnswerOpsPerSec != nil {
		rate.Note += doubts(k)
	}
	between := page.Value{Label: "The knee lies between", Text: page.Missing}
	switch {
	case k.LowOpsPerSec != nil && k.HighOpsPerSec != nil:
		between.Text = stats.Rate(*k.LowOpsPerSec) + " and " + rateText(*k.HighOpsPerSec)
		between.Note = "by the search: the highest rate that it takes to hold, and the lowest that did not"
	case k.LowOpsPerSec != nil:
		between.Text, between.Note = "above "+rateText(*k.LowOpsPerSec), "no rate failed within the limits of the search"
	case k.HighOpsPerSec != nil:
		if between.Text, between.Note = "below "+rateText(*k.HighOpsPerSec), "every rate tried failed"; once > 0 {
			between.Note = "no rate held twice"
		}
	}
	if k.AnswerOpsPerSec == nil { // of no rate is there anything to say
		return page.Values{rate, between, limitValue(k)}
	}
	p99 := page.Value{Label: "p99 at the answer", Text: optionalMicros(k.Response.P99)}
	if lo, hi, of := bounds(k.Response, "p99"); of != "" && !math.IsInf(hi, 1) {
		p99.Note = of + " interval " + stats.Between(lo, hi, stats.Micros)
	}
	out := page.Values{rate, between, p99, limitValue(k)}
	if k.CouldOverOffered != nil {
		out = append(out, page.Value{Label: "The generator could have sent", Text: stats.Times(*k.CouldOverOffered), Note: "as much, into a null target", Bad: *k.CouldOverOffered < 1.2})
	}
	return out
}

func limitValue(k *result.Knee) page.Value {
	limit := page.Value{Label: "Limited by", Text: k.Limiting.Resource, Note: k.Limiting.Node}
	if limit.Text == "" {
		limit.Text = "unknown"
	}
	return limit
}

// heldOnce is the highest rate of a probe that held although the search has no
// answer, zero without one.
func heldOnce(k *result.Knee) (rate float64) {
	for _, x := range k.Probes {
		if x.Outcome == result.Holds && k.AnswerOpsPerSec == nil {
			rate = max(rate, x.OfferedOpsPerSec)
		}
	}
	return rate
}

// term returns the percentile of the SLO that the curve shows: the first term
// over all operations, else p99.
func term(list []result.Limit) (name string, p, us float64) {
	for _, l := range list {
		if l.Op == "" && (l.Percentile == "p50" || l.Percentile == "p90" || l.Percentile == "p99" || l.Percentile == "p99_9") {
			return l.Percentile, l.P, l.LatencyUS
		}
	}
	return "p99", 0.99, 0
}

var outcomeInks = map[result.Outcome]chart.Ink{result.Holds: chart.Green, result.Fails: chart.Red, result.Undecided: chart.Amber, result.GeneratorLimited: chart.Grey}

// kneeFigure draws latency over rate, one dot a probe, nil without any.
func kneeFigure(k *result.Knee) *page.Figure {
	name, p, slo := term(k.SLO)
	var curve []chart.Point
	top := 0.0
	of := "" // the confidence of the intervals
	byOutcome := map[result.Outcome]*chart.Series{}
	for _, x := range k.Probes {
		v := value(x.Response, name)
		top = max(top, x.OfferedOpsPerSec)
		if math.IsNaN(v) {
			continue
		}
		s := byOutcome[x.Outcome]
		if s == nil {
			s = &chart.Series{Ink: outcomeInks[x.Outcome], Dots: true, Loop: true, Width: -1, Name: string(x.Outcome)}
			if s.Ink.Name == "" {
				s.Ink = chart.Grey
			}
			byOutcome[x.Outcome] = s
		}
		s.Points = append(s.Points, chart.Point{X: x.OfferedOpsPerSec, Y: v})
		if lo, hi, confidence := bounds(x.Response, name); confidence != "" {
			if of != "" && of != confidence+" " {
				confidence = "95 or 99 %"
			}
			of = confidence + " "
			s.Bars = append(s.Bars, chart.Extent{X: x.OfferedOpsPerSec, Low: lo, High: hi})
		}
		if x.Phase != result.PhaseDown && x.Outcome != result.GeneratorLimited {
			curve = append(curve, chart.Point{X: x.OfferedOpsPerSec, Y: v})
		}
	}
	if len(byOutcome) == 0 {
		return nil
	}
	sort.Slice(curve, func(i, j int) bool { return curve[i].X < curve[j].X })
	panel := chart.Panel{Unit: stats.PercentileName(p) + " response time, log scale", XUnit: "offered operations per second", X: chart.Amounts, Log: true,
		To: top * 1.05, Height: 260, NameBands: true, Series: []chart.Series{{Ink: chart.Grey, Width: 1.2, Points: curve, Mute: true}}}
	for _, o := range []result.Outcome{result.Holds, result.Fails, result.Undecided, result.GeneratorLimited} {
		if s := byOutcome[o]; s != nil {
			sort.Slice(s.Points, func(i, j int) bool { return s.Points[i].X < s.Points[j].X })
			panel.Series = append(panel.Series, *s)
		}
	}
	if slo > 0 {
		panel.Series = append(panel.Series, chart.Series{Name: "SLO " + stats.Micros(slo), Ink: chart.Red, Dashed: true, Width: 1.2, Mute: true,
			Points: []chart.Point{{X: 0, Y: slo}, {X: panel.To, Y: slo}}})
	}
	panel.Bands = kneeBands(k)
	panel.Alt = fmt.Sprintf("Each dot is a probe at one rate with the %sinterval of its %s; the wash is where the knee lies. %s.", of, stats.PercentileName(p), kneeTitle(k))
	return figure("knee", panel)
}

func kneeBands(k *result.Knee) []chart.Band {
	var out []chart.Band
	if k.LowOpsPerSec != nil && k.HighOpsPerSec != nil {
		out = append(out, chart.Band{From: *k.LowOpsPerSec, To: *k.HighOpsPerSec, Wash: chart.AmberWash, Label: "knee"})
	}
	if k.AnswerOpsPerSec != nil {
		a := *k.AnswerOpsPerSec
		out = append(out, chart.Band{From: a, To: a, Wash: chart.Grid, Edge: &chart.Green, Label: stats.Rate(a) + " holds"})
	}
	return out
}

func probeTable(k *result.Knee) *page.Table {
	t := &page.Table{Name: "probes", Label: "Every rate tried", Head: []string{"Probe", "phase", "offered", "achieved", "p50", "p99", "beyond the SLO", "verdict", "why", "folder"},
		Words: map[int]bool{1: true, 7: true, 8: true, 9: true}}
	for _, x := range k.Probes {
		var beyond, samples int64
		for _, l := range x.Tests {
			beyond, samples = max(beyond, l.Beyond), max(samples, l.Samples)
		}
		t.Rows = append(t.Rows, []page.Cell{{Text: fmt.Sprint(x.N)}, {Text: x.Phase}, {Text: rateText(x.OfferedOpsPerSec), Raw: raw(x.OfferedOpsPerSec)},
			{Text: rateText(x.AchievedOpsPerSec), Raw: raw(x.AchievedOpsPerSec)}, latencyCell(x.Response, "p50"), latencyCell(x.Response, "p99"),
			{Text: stats.Count(beyond), Note: "of " + stats.Count(samples), Raw: fmt.Sprint(beyond)}, {Text: string(x.Outcome), Bad: x.Outcome == result.Fails},
			{Text: x.Why}, {Text: x.Dir}})
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}

func latencyCell(p result.Percentiles, name string) page.Cell {
	v := value(p, name)
	switch {
	case math.IsInf(v, 1):
		return page.Cell{Text: "∞", Note: "failed operations", Bad: true}
	case math.IsNaN(v):
		return page.Cell{Text: "not enough samples", Faint: true}
	}
	c := page.Cell{Text: stats.Micros(v), Raw: raw(v)}
	if lo, hi, of := bounds(p, name); of != "" && !math.IsInf(hi, 1) {
		c.Note = stats.Between(lo, hi, stats.Micros)
	}
	return c
}

func limitText(k *result.Knee) string {
	if k.Limiting.Text == "" {
		return "What limits the rate is not known: no resource was measured to be busy at the knee."
	}
	return strings.ToUpper(k.Limiting.Text[:1]) + k.Limiting.Text[1:] + "."
}

// useFigure shows how busy each resource was at the lowest rate that failed,
// or if none did at the highest, nil without figures.
func useFigure(k *result.Knee) *page.Figure {
	var best *result.Probe
	better := func(x, than *result.Probe) bool {
		if (x.Outcome == result.Fails) != (than.Outcome == result.Fails) {
			return x.Outcome == result.Fails
		}
		return (x.OfferedOpsPerSec < than.OfferedOpsPerSec) == (x.Outcome == result.Fails)
	}
	for i := range k.Probes {
		if x := &k.Probes[i]; len(x.Use) > 0 && x.Outcome != result.GeneratorLimited && (best == nil || better(x, best)) {
			best = x
		}
	}
	if best == nil {
		return nil
	}
	r := chart.Rows{Unit: "share in use at " + rateText(best.OfferedOpsPerSec), X: chart.Shares}
	for i, u := range best.Use {
		if i == 20 {
			break
		}
		ink := chart.BlueWash
		if u.Resource == k.Limiting.Resource && u.Node == k.Limiting.Node {
			ink = chart.Amber
		}
		label := u.Resource
		if u.Node != "" {
			label += " " + u.Node
		}
		r.Rows = append(r.Rows, chart.Row{Label: label, Text: stats.Percent(math.Round(u.Utilisation*1000) / 1000), Bars: []chart.Bar{{To: max(u.Utilisation, 0), Ink: ink}}})
	}
	r.Alt = fmt.Sprintf("At %s the busiest resource is %s.", rateText(best.OfferedOpsPerSec), best.Use[0].Resource)
	return rows("resources", r)
}

func hysteresisText(h *result.Hysteresis) string {
	if h.Recovered {
		return fmt.Sprintf("After an overload of %s the SLO held again at %s within %s: the cluster recovers by itself.", rateText(h.UpOpsPerSec), rateText(h.DownOpsPerSec), stats.Seconds(h.RecoverSeconds))
	}
	return fmt.Sprintf("After an overload of %s the SLO did not hold again at %s: the cluster stays slow at a rate it held before. Plan for load shedding.", rateText(h.UpOpsPerSec), rateText(h.DownOpsPerSec))
}

func auditTable(a result.Audit) *page.Table {
	if !a.Enabled {
		return nil
	}
	t := &page.Table{Name: "audit", Label: "Counts of the audit over all probes", Head: []string{"Checked in all probes", "count"}}
	for _, x := range []struct {
		name string
		n    int64
		bad  bool
	}{{"Acknowledged writes", a.AcknowledgedWrites, false}, {"Lost", a.Lost, true}, {"Stale reads", a.StaleReads, true}, {"Corrupt values", a.Corrupt, true}, {"False not-found answers", a.FalseNotFound, true}} {
		t.Rows = append(t.Rows, []page.Cell{{Text: x.name}, {Text: stats.Count(x.n), Raw: fmt.Sprint(x.n), Bad: x.bad && x.n > 0}})
	}
	return t
}
