package runs

import (
	"fmt"
	"math"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/page"
	"headroom/reports/stats"
)

// timeFigures are the figures on one time axis, nil for one without data.
type timeFigures struct{ throughput, latency, heat *page.Figure }

// timelines draws throughput, latency and the heat map.
func timelines(f *stats.Facts) (out timeFigures) {
	if len(f.Bins) == 0 {
		return out
	}
	panels := []chart.Panel{throughputPanel(f)}
	lat, ok := latencyPanel(f)
	if ok {
		panels = append(panels, lat)
	}
	for i := range panels {
		panels[i].From, panels[i].To, panels[i].Bands, panels[i].NameBands = 0, f.End(), bands(f), i == 0
	}
	panels[0].Alt = throughputCaption(f)
	if ok {
		panels[1].Alt = latencyCaption(f)
	}
	h := heatMap(f)
	stack := func(width float64) ([]chart.Figure, chart.Figure) {
		if h == nil {
			return chart.Stack(width, panels...), chart.Figure{}
		}
		return chart.StackHeat(width, *h, panels...)
	}
	wide, wideHeat := stack(chart.Wide)
	narrow, narrowHeat := stack(chart.Narrow)
	out.throughput = &page.Figure{Name: "throughput", Caption: panels[0].Alt, Wide: wide[0], Narrow: narrow[0], Note: droppedNote(wide[0]), Hover: throughputHover(f)}
	if ok {
		out.latency = &page.Figure{Name: "latency", Caption: panels[1].Alt, Wide: wide[1], Narrow: narrow[1], Hover: latencyHover(f)}
	}
	if h != nil {
		out.heat = &page.Figure{Name: "heat", Caption: h.Alt, Wide: wideHeat, Narrow: narrowHeat}
	}
	return out
}

func droppedNote(f chart.Figure) string {
	if f.Dropped == 0 {
		return ""
	}
	return stats.Plural(int64(f.Dropped), "more event") + " without a label: see the availability table."
}

// figure draws one panel in both widths.
func figure(name string, p chart.Panel) *page.Figure {
	return &page.Figure{Name: name, Caption: p.Alt, Wide: p.Draw(chart.Wide), Narrow: p.Draw(chart.Narrow)}
}

// maxBands bounds the bands of a figure: more cannot be told apart, and a
// damaged events.csv may hold a million.
const maxBands = 400

// bands returns what happened, as background of every time axis.
func bands(f *stats.Facts) []chart.Band {
	var out []chart.Band
	end := f.End()
	for _, p := range f.Phases {
		out = append(out, chart.Band{From: p.From, To: min(p.To, end), Wash: chart.BlueWash, Label: p.Name})
	}
	for _, d := range f.Down {
		out = append(out, chart.Band{From: d.From, To: min(d.To, end), Wash: chart.DownWash})
	}
	for _, m := range f.Migrations {
		b := chart.Band{From: m.From, To: min(m.To, end), Wash: chart.AmberWash}
		if b.To-b.From > end/100 {
			b.Label = "migrating"
		}
		out = append(out, b)
	}
	for _, m := range f.StopWrites {
		out = append(out, chart.Band{From: m.From, To: min(m.To, end), Wash: chart.RedWash, Label: "writes stopped"})
	}
	for _, e := range f.Run.Events {
		if e.Kind == result.EventView && e.TSec >= 0 && len(out) < maxBands {
			out = append(out, chart.Band{From: e.TSec, To: e.TSec, Wash: chart.Grid, Edge: &chart.Grey})
		}
	}
	for _, x := range f.Run.Summary.Faults {
		b := chart.Band{From: x.AtSec, To: x.AtSec, Wash: chart.RedWash, Edge: &chart.Red, Label: x.What + " " + x.Node}
		if x.GapMS != nil && *x.GapMS > 0 && (x.What == "kill" || x.What == "term" || x.What == "stop" || x.What == "fail-device") {
			b.To = x.AtSec + *x.GapMS/1e3
		}
		if len(out) < 2*maxBands {
			out = append(out, b)
		}
	}
	return out
}

// middle is where a bin's point stands.
func middle(f *stats.Facts, b stats.Bin) float64 { return float64(b.T) + float64(f.Step)/2 }

func failedBins(f *stats.Facts) (out []float64) {
	for _, s := range f.Seconds {
		if s.Failed > 0 {
			out = append(out, float64(s.T))
		}
	}
	return out
}

func throughputPanel(f *stats.Facts) chart.Panel {
	ok := chart.Series{Name: "completed", Ink: chart.Blue, Wash: chart.BlueWash}
	offered := chart.Series{Name: "offered", Ink: chart.Grey, Dashed: true, Width: 1.2}
	for _, b := range f.Bins {
		if float64(b.T) >= f.Run.Summary.DurationSec && len(ok.Points) > 0 {
			break // what was still under way at the end: no second of its own
		}
		x := middle(f, b)
		ok.Points = append(ok.Points, chart.Point{X: x, Y: b.OK})
		offered.Points = append(offered.Points, chart.Point{X: x, Y: b.Offered})
		if f.Step > 1 {
			ok.Range = append(ok.Range, chart.Extent{X: x, Low: b.OKLow, High: b.OKHigh})
		}
	}
	p := chart.Panel{Unit: "operations per second", Series: []chart.Series{ok}, Failed: failedBins(f)}
	if f.Run.Summary.Loop != "closed" {
		p.Series = append(p.Series, offered)
	}
	return p
}

func latencyPanel(f *stats.Facts) (p chart.Panel, ok bool) {
	list := []chart.Series{
		{Name: "max", Ink: chart.Grey, Width: 1.1},
		{Name: "p99", Ink: chart.Blue, Width: 2, Wash: chart.BlueWash},
		{Name: "p50", Ink: chart.Green, Width: 2},
	}
	for _, b := range f.Bins {
		x := middle(f, b)
		for i, v := range []float64{b.Max, b.P99, b.P50} {
			list[i].Points = append(list[i].Points, chart.Point{X: x, Y: v})
			ok = ok || !math.IsNaN(v) && !math.IsInf(v, 0)
		}
		if f.Step > 1 {
			list[1].Range = append(list[1].Range, chart.Extent{X: x, Low: b.P99Low, High: b.P99High})
		}
	}
	for _, l := range sloLines(f) {
		list = append(list, chart.Series{Name: "SLO " + l.name, Ink: chart.Red, Dashed: true, Width: 1.2, Mute: true,
			Points: []chart.Point{{X: 0, Y: l.us}, {X: f.End(), Y: l.us}}})
	}
	p = chart.Panel{Unit: "response time, log scale", Log: true, Height: 200, Series: list, Failed: failedBins(f)}
	return p, ok
}

func redundancyFigure(f *stats.Facts) *page.Figure {
	if len(f.Redundancy) < 2 {
		return nil
	}
	s := chart.Series{Ink: chart.Amber, Step: true, Name: "left"}
	for _, m := range f.Redundancy {
		s.Points = append(s.Points, chart.Point{X: m.T, Y: float64(max(m.Partitions, 0))})
	}
	s.Points = chart.Thin(s.Points, 700)
	return figure("redundancy", chart.Panel{Unit: "partitions left to migrate", Height: 130, Series: []chart.Series{s}, To: f.End(), Bands: bands(f), NameBands: true, Alt: redundancyCaption(f)})
}

func heatMap(f *stats.Facts) *chart.HeatMap {
	if f.Heat == nil {
		return nil
	}
	const sixth = 1.0 / 6
	h := &chart.HeatMap{Unit: "response time, log scale", From: 0, To: f.End(), Step: float64(f.Heat.Step), Row: sixth, Low: float64(f.Heat.First) * sixth,
		Bands: bands(f), Alt: heatCaption(f)}
	for _, c := range f.Heat.Column {
		h.Columns = append(h.Columns, chart.HeatColumn{At: float64(c.T), Counts: c.Counts})
	}
	return h
}

// nines draws the percentile curves, nil without any.
func nines(f *stats.Facts) *page.Figure {
	inks := map[result.Kind]chart.Ink{result.Response: chart.Blue, result.Service: chart.Green, result.Lateness: chart.Grey}
	n := chart.Nines{Unit: "latency, log scale, by share of operations"}
	// Service lies below response, often exactly: it is drawn first and wider.
	widths := map[result.Kind]float64{result.Response: 1.8, result.Service: 4}
	for i := range f.Curves {
		c := f.Curves[len(f.Curves)-1-i]
		if len(c.Points) == 0 {
			continue
		}
		cc := chart.Curve{Name: string(c.Kind), Ink: inks[c.Kind], Supported: c.Supported, Width: widths[c.Kind]}
		for _, q := range c.Points {
			cc.Points = append(cc.Points, chart.Point{X: q.P, Y: q.US})
		}
		n.Curves = append(n.Curves, cc)
		if c.Kind == result.Response && c.FiniteTo < 1 {
			n.Note = fmt.Sprintf("infinite beyond %s: failed operations", nine(c.FiniteTo))
		}
	}
	if len(n.Curves) == 0 {
		return nil
	}
	for _, l := range sloLines(f) {
		n.Limits = append(n.Limits, chart.Limit{Name: "SLO " + l.name, P: l.p, US: l.us})
	}
	n.Alt = ninesCaption(f)
	wide := n.Draw(chart.Wide)
	n.Height = 240
	return &page.Figure{Name: "percentiles", Caption: n.Alt, Wide: wide, Narrow: n.Draw(chart.Narrow)}
}

// nine prints a share as a percentile with as many nines as it needs: 99.93 %.
func nine(p float64) string {
	digits := 1
	if p > 0 && p < 1 {
		digits = min(max(1, int(math.Ceil(chart.NinesX(p)))-1), 8)
	}
	scale := math.Pow(10, float64(digits))
	return fmt.Sprintf("%.*f %%", digits, math.Floor(p*100*scale)/scale)
}

// sloLine is one term of the run's SLO over all operations.
type sloLine struct {
	name  string
	p, us float64
}

// sloLines returns the SLO's terms that hold for all operations; those of a
// single operation are in the SLO table.
func sloLines(f *stats.Facts) (out []sloLine) {
	for _, l := range f.Run.Summary.SLO {
		if l.Limit.Op == "" && l.Limit.P > 0 && l.Limit.P < 1 && l.Limit.LatencyUS > 0 {
			out = append(out, sloLine{fmt.Sprintf("%s %s", stats.PercentileName(l.Limit.P), stats.Micros(l.Limit.LatencyUS)), l.Limit.P, l.Limit.LatencyUS})
		}
	}
	return out
}
