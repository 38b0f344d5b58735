package capacity

import (
	"fmt"
	"math"
	"strings"

	"headroom/planner/plan"
	"headroom/reports/chart"
	"headroom/reports/page"
)

// maxTypes bounds the rows of the cost figure; the table has more.
const maxTypes = 12

func rows(name string, r chart.Rows) *page.Figure {
	return &page.Figure{Name: name, Caption: r.Alt, Wide: r.Draw(chart.Wide), Narrow: r.Draw(chart.Narrow)}
}

// label names a candidate: type, copies, racks.
func label(c plan.Candidate) string {
	s := fmt.Sprintf("%s, %d copies", c.Type, c.Copies)
	if c.Copies == 1 {
		s = c.Type + ", 1 copy"
	}
	return s + racks(c.Racks)
}

// costFigure shows the monthly cost of the cheapest layout of every type, nil
// without prices.
func costFigure(p *Plan) *page.Figure {
	r := chart.Rows{Unit: "US dollars a month, list price"}
	seen := map[string]bool{}
	for i, c := range p.Candidates {
		if !c.Feasible || c.USDPerHour == nil || seen[c.Type] || len(r.Rows) == maxTypes {
			continue
		}
		seen[c.Type] = true
		ink := chart.BlueWash
		if p.Answer != nil && *p.Answer == i {
			ink = chart.Blue
		}
		r.Rows = append(r.Rows, chart.Row{Label: label(c), Text: fmt.Sprintf("%s, %s", monthly(c.USDPerHour), nodes(c.Nodes)), Bars: []chart.Bar{{To: *c.USDPerHour * hoursPerMonth, Ink: ink}}})
	}
	if len(r.Rows) == 0 {
		return nil
	}
	r.Alt = "The cheapest layout of the only machine type with a price that meets the requirements."
	if n := len(r.Rows); n > 1 {
		r.Alt = fmt.Sprintf("The cheapest layout of each of the %d cheapest machine types that meet the requirements; the answer has the stronger colour.", n)
	}
	return rows("cost", r)
}

// stateFigure is the heat map of utilisations.
func stateFigure(b *plan.Candidate) *page.Figure {
	m := chart.Matrix{Unit: "share of the limit in use"}
	keys := resources(b)
	if len(b.States) == 0 || len(keys) == 0 {
		return nil
	}
	for _, k := range keys {
		m.Columns = append(m.Columns, words(k))
	}
	worst, where, empty := -1.0, "", false
	for _, s := range b.States {
		m.Rows = append(m.Rows, words(s.State))
		line := make([]float64, len(keys))
		for j, k := range keys {
			line[j] = math.NaN()
			if v := s.Resources[k]; v != nil {
				line[j] = *v
				if *v > worst {
					worst, where = *v, words(k)+" in state "+words(s.State)
				}
			}
			empty = empty || s.Resources[k] == nil
		}
		m.Cells = append(m.Cells, line)
	}
	if worst < 0 {
		return nil
	}
	if x := b.Binding; x != nil && x.Utilisation != nil && percent(*x.Utilisation) == percent(worst) {
		where = words(x.Resource) + " in state " + words(x.State) // of several alike, the one that the plan names
	}
	m.Alt = fmt.Sprintf("Utilisation of every resource in every state; 100 %% is the limit. The highest is %s at %s.", where, percent(worst))
	if empty {
		m.Alt += " An empty cell was not judged."
	}
	return &page.Figure{Name: "states", Caption: m.Alt, Wide: m.Draw(chart.Wide), Narrow: m.Draw(chart.Narrow)}
}

// latencyFigure shows p50 to p99 of reads and writes in every state, nil
// without any percentile.
func latencyFigure(b *plan.Candidate) *page.Figure {
	r := chart.Rows{Unit: "predicted latency from p50 to p99, whiskers are its interval, log scale", Log: true}
	worst, where, finite := -1.0, "", 0
	var infinite []string
	for _, s := range b.States {
		for _, x := range []struct {
			what, field string
			p50, p99    *float64
			interval    *[2]float64
			ink         chart.Ink
			wash        chart.Ink
		}{{"reads", "p99_ms", s.P50, s.P99, s.P99Range, chart.Blue, chart.BlueWash}, {"writes", "write_p99_ms", s.WriteP50, s.WriteP99, nil, chart.Green, chart.GreenWash}} {
			if x.p99 == nil && has(s.Infinite, x.field) {
				infinite = append(infinite, x.what+" in state "+words(s.State))
				r.Rows = append(r.Rows, chart.Row{Label: x.what + ", " + words(s.State), Text: "∞, overloaded", Ink: &chart.Red})
			}
			if x.p99 == nil {
				continue
			}
			finite++
			row := chart.Row{Label: x.what + ", " + words(s.State), Text: millis(x.p99), Dots: []chart.Dot{{At: *x.p99 * 1000, Ink: x.ink}}}
			if x.p50 != nil {
				row.Bars = []chart.Bar{{From: *x.p50 * 1000, To: *x.p99 * 1000, Ink: x.wash}}
			}
			if x.interval != nil {
				row.Spans = []chart.Span{{From: x.interval[0] * 1000, To: x.interval[1] * 1000, Ink: x.ink}}
			}
			if *x.p99 > worst {
				worst, where = *x.p99, x.what+" in state "+words(s.State)
			}
			r.Rows = append(r.Rows, row)
		}
	}
	if finite == 0 {
		return nil // the table says which are infinite
	}
	r.Alt = fmt.Sprintf("The highest predicted p99 is that of %s: %s.", where, millis(&worst))
	if n := len(infinite); n > 0 {
		r.Alt = fmt.Sprintf("Overloaded, so that p99 is infinite: %s. The highest finite p99 is that of %s: %s.", strings.Join(infinite[:min(n, 3)], ", ")+more(n-3), where, millis(&worst))
	}
	return rows("latency", r)
}

// more counts what a sentence leaves out, or is empty.
func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}

func millis(v *float64) string {
	switch {
	case v == nil:
		return page.Missing
	case *v < 1:
		return fmt.Sprintf("%.0f µs", *v*1000)
	case *v < 1000:
		return fmt.Sprintf("%.3g ms", *v)
	default:
		return fmt.Sprintf("%.3g s", *v/1000)
	}
}

// chanceFigure draws the probability that so many nodes are enough.
func chanceFigure(p *Plan) *page.Figure {
	if len(p.Curve) == 0 {
		return nil
	}
	s := chart.Series{Ink: chart.Blue, Dots: true, Step: true, Name: "P(enough)"}
	for _, c := range p.Curve {
		s.Points = append(s.Points, chart.Point{X: float64(c.Nodes), Y: c.PFeasible})
	}
	lo, hi := s.Points[0].X, s.Points[len(s.Points)-1].X
	pad := max((hi-lo)*0.03, 0.5)
	panel := chart.Panel{Unit: "probability over the uncertain inputs", X: chart.Wholes, XUnit: "servers", Y: chart.Shares, From: lo - pad, To: hi + pad, Least: 1, Height: 170, NameBands: true, Series: []chart.Series{s}}
	b := p.best()
	if n := float64(b.Nodes); n >= panel.From && n <= panel.To {
		panel.Bands = append(panel.Bands, chart.Band{From: n, To: n, Edge: &chart.Green, Label: fmt.Sprintf("answer: %d", b.Nodes)})
	}
	if p.LeastRegret != nil {
		if n := float64(*p.LeastRegret); n >= panel.From && n <= panel.To && *p.LeastRegret != b.Nodes {
			panel.Bands = append(panel.Bands, chart.Band{From: n, To: n, Edge: &chart.Amber, Label: fmt.Sprintf("least regret: %d", *p.LeastRegret)})
		}
	}
	panel.Alt = fmt.Sprintf("The probability that so many servers are enough; %d are enough with %s.", b.Nodes, percent(b.PFeasible))
	return &page.Figure{Name: "probability", Caption: panel.Alt, Wide: panel.Draw(chart.Wide), Narrow: panel.Draw(chart.Narrow)}
}

// tornadoFigure draws how far each input moves the answer.
func tornadoFigure(p *Plan) *page.Figure {
	if len(p.Tornado) == 0 {
		return nil
	}
	answer := float64(p.best().Nodes)
	r := chart.Rows{Unit: "servers needed with the input at its p10 and its p90", X: chart.Wholes, Zero: &answer}
	widest := p.Tornado[0]
	for i, s := range p.Tornado {
		if i == maxTypes {
			break
		}
		if math.Abs(float64(s.P10-s.P90)) > math.Abs(float64(widest.P10-widest.P90)) {
			widest = s
		}
		r.Rows = append(r.Rows, chart.Row{Label: words(s.Input), Text: fmt.Sprintf("%d to %d", s.P10, s.P90),
			Bars: []chart.Bar{{From: float64(s.P10), To: float64(s.P90), Ink: chart.BlueWash}},
			Dots: []chart.Dot{{At: float64(s.P10), Ink: chart.Grey}, {At: float64(s.P90), Ink: chart.Blue}}})
	}
	r.Alt = fmt.Sprintf("The input that moves the answer most is %s: %d servers at its p10 (grey), %d at its p90 (blue), all else at the median. The line is the answer, %d.", words(widest.Input), widest.P10, widest.P90, p.best().Nodes)
	return rows("tornado", r)
}

// growthFigure shows the months until full on one line.
func growthFigure(f *plan.TimeUntil) *page.Figure {
	if f.P50 == nil && f.P10 == nil {
		return nil
	}
	row := chart.Row{Label: "full"}
	lo, hi := f.P10, f.P90
	if lo == nil {
		lo = f.P50
	}
	if hi == nil {
		ten := 120.0
		hi = &ten
	}
	row.Spans = []chart.Span{{From: *lo, To: *hi, Ink: chart.Blue}}
	alt := fmt.Sprintf("The plan is full in %.1f months at the earliest tenth", *lo)
	if f.P50 != nil {
		row.Dots = []chart.Dot{{At: *f.P50, Ink: chart.Blue}}
		row.Text = fmt.Sprintf("%.1f months", *f.P50)
		alt = fmt.Sprintf("By the stated growth the plan is full in %.1f months (p10 to p90 of the growth: %.1f to %.1f)", *f.P50, *lo, *hi)
		if f.P90 == nil {
			alt = fmt.Sprintf("By the stated growth the plan is full in %.1f months, with the fastest tenth of growth in %.1f", *f.P50, *lo)
		}
	}
	if f.P90 == nil {
		alt += "; with the slowest tenth not within ten years, where the line ends"
	}
	r := chart.Rows{Unit: "months from now", Rows: []chart.Row{row}, Alt: alt + "."}
	return rows("growth", r)
}
