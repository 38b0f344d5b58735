package studies

import (
	"fmt"
	"math"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/page"
	"headroom/reports/runs"
	"headroom/reports/stats"
)

func overloadDocument(dir string, o *result.Overload) *page.Document {
	d := begin("Headroom overload report", overloadTitle(o), o.Study)
	d.Add("figures", "Headline figures", overloadValues(o))
	sub, ok := inside(dir, o.Dir)
	if !ok {
		sub = dir
	}
	run, problems, err := stats.Load(sub)
	if err != nil {
		d.Add("loop", "Hysteresis", page.Absent("Nothing to draw: the run cannot be read: "+err.Error()+"."))
		return end(d, o.Study)
	}
	f := stats.Derive(run, problems)
	f.Phases = []stats.Phase{{Span: stats.Span{From: o.BeforeSec, To: o.BeforeSec + o.OverSec}, Name: "overload"}}
	if fig := loopFigure(f, o); fig != nil {
		d.Add("loop", "Hysteresis", fig)
	} else {
		d.Add("loop", "Hysteresis", page.Absent("Nothing to draw: the run has no latencies per second."))
	}
	d.Add("time", "Over time", runs.OverTime(f)...)
	return end(d, o.Study)
}

func overloadTitle(o *result.Overload) string {
	over := fmt.Sprintf("%s at %s of %s", stats.Seconds(o.OverSec), stats.Percent(o.OverShare), rateText(o.RateOpsPerSec))
	switch {
	case !o.OverloadReached:
		return over + " did not overload the target: the test says nothing about recovery"
	case o.RecoverSec == nil:
		return fmt.Sprintf("After %s the latency did not come back within %s at %s", over, stats.Seconds(o.AfterSec), stats.Percent(o.UnderShare))
	case *o.RecoverSec <= 0:
		return fmt.Sprintf("After %s the latency was back in the first second", over)
	default:
		return fmt.Sprintf("After %s the latency was back within %s", over, stats.Seconds(*o.RecoverSec))
	}
}

func overloadValues(o *result.Overload) page.Values {
	recover := page.Value{Label: "Recovered after", Text: "never", Bad: true, Note: fmt.Sprintf("within the %s watched", stats.Seconds(o.AfterSec))}
	if o.RecoverSec != nil {
		recover = page.Value{Label: "Recovered after", Text: stats.Seconds(*o.RecoverSec),
			Note: fmt.Sprintf("until p99 stayed at or below %s for %s", stats.Micros(o.ThresholdUS), stats.Seconds(o.StableSec))}
	}
	if o.RecoverSec != nil && *o.RecoverSec <= 0 {
		recover.Text = "at once"
	}
	if !o.OverloadReached {
		recover = page.Value{Label: "Recovered after", Text: "not tested", Note: "the overload was none"}
	}
	over := page.Value{Label: "p99 during the overload", Text: optionalMicros(o.OverP99US), Note: "median of its seconds"}
	if o.OverP99US != nil && o.ThresholdUS > 0 && *o.OverP99US <= o.ThresholdUS && o.OverloadReached {
		over.Note += fmt.Sprintf("; mostly below the threshold of %s: a mild overload", stats.Micros(o.ThresholdUS))
	}
	if o.OverP99US == nil {
		over.Text, over.Note = "∞ or too few", "failed operations, or too few samples"
	}
	return page.Values{recover, {Label: "p99 before", Text: optionalMicros(o.BaselineP99US), Note: "median of the seconds at " + stats.Percent(o.UnderShare) + " of the rate"}, over,
		{Label: "In flight at most", Text: stats.Count(int64(o.InFlightPeak))}}
}

// loopFigure draws p99 over the offered rate, second by second: the way back
// differs from the way up where the target does not recover.
func loopFigure(f *stats.Facts, o *result.Overload) *page.Figure {
	phases := []chart.Series{{Name: "before", Ink: chart.Green}, {Name: "overload", Ink: chart.Red}, {Name: "after", Ink: chart.Blue}}
	low, top, n := math.Inf(1), 0.0, 0
	for _, b := range f.Bins {
		if math.IsNaN(b.P99) {
			continue
		}
		at, i := float64(b.T), 0
		switch {
		case at >= o.BeforeSec+o.OverSec:
			i = 2
		case at >= o.BeforeSec:
			i = 1
		}
		phases[i].Points = append(phases[i].Points, chart.Point{X: b.Offered, Y: b.P99})
		low, top = min(low, b.Offered), max(top, b.Offered)
		n++
	}
	if n == 0 || top == 0 {
		return nil
	}
	var list []chart.Series
	for i, s := range phases {
		if len(s.Points) == 0 {
			continue
		}
		s.Loop, s.Dots, s.Width = true, len(s.Points) <= 120, 1
		if i > 0 && len(list) > 0 { // join the phases into one path
			last := list[len(list)-1].Points
			s.Points = append([]chart.Point{last[len(last)-1]}, s.Points...)
		}
		list = append(list, s)
	}
	room := max((top-low)*0.05, top*0.01)
	p := chart.Panel{Unit: "p99 of a second, log scale", XUnit: "offered operations per second, not from zero", X: chart.Amounts, Log: true, From: max(low-room, 0), To: top + room, Height: 260, Series: list}
	if o.ThresholdUS > 0 {
		p.Series = append(p.Series, chart.Series{Name: "threshold", Ink: chart.Grey, Dashed: true, Width: 1.2, Mute: true,
			Points: []chart.Point{{X: p.From, Y: o.ThresholdUS}, {X: p.To, Y: o.ThresholdUS}}})
	}
	p.Alt = "The path of rate and p99 through the test. A loop that does not close is a target that does not recover. " + overloadTitle(o) + "."
	return figure("hysteresis", p)
}
