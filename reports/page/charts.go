package page

import (
	"fmt"
	"html/template"
	"math"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/stats"
)

// figure is a drawing in both widths with its caption.
type figure struct {
	Caption      string
	Wide, Narrow template.HTML
	Note         string // labels that found no room, key to marks
}

// maxPoints is how many points of a curve a figure keeps: more than one per
// two pixels cannot be seen.
const maxPoints = 700

// draw draws a stack of panels in both widths.
func draw(captions []string, panels ...chart.Panel) []figure {
	wide, narrow := chart.Stack(chart.Wide, panels...), chart.Stack(chart.Narrow, panels...)
	out := make([]figure, len(panels))
	for i := range panels {
		out[i] = figure{Caption: captions[i], Wide: inline(wide[i]), Narrow: inline(narrow[i])}
		if n := wide[i].Dropped; n > 0 {
			out[i].Note = stats.Plural(int64(n), "more event") + " without a label: see the availability table."
		}
	}
	return out
}

// inline takes over a drawing: chart escapes every text in it.
func inline(f chart.Figure) template.HTML { return template.HTML(f.SVG) } //nolint:gosec // escaped by chart

// timelines returns the throughput, latency and redundancy figures on one time
// axis, nil for one without data.
func timelines(f *stats.Facts) (throughput, latency, redundancy *figure) {
	var panels []chart.Panel
	var captions []string
	var slots []**figure
	add := func(slot **figure, p chart.Panel, caption string) {
		p.From, p.To, p.Bands, p.NameBands = 0, f.End(), bands(f), len(panels) == 0
		p.Alt = caption
		panels, captions, slots = append(panels, p), append(captions, caption), append(slots, slot)
	}
	if len(f.Seconds) > 0 {
		add(&throughput, throughputPanel(f), throughputCaption(f))
		if p, ok := latencyPanel(f); ok {
			add(&latency, p, latencyCaption(f))
		}
	}
	if len(f.Redundancy) > 1 {
		add(&redundancy, redundancyPanel(f), redundancyCaption(f))
	}
	for i, fig := range draw(captions, panels...) {
		*slots[i] = &fig
	}
	return throughput, latency, redundancy
}

// bands returns what happened, as background of every time axis.
func bands(f *stats.Facts) []chart.Band {
	var out []chart.Band
	end := f.End()
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
	for _, e := range f.Run.Events {
		if e.Kind == result.EventView && e.TSec >= 0 {
			out = append(out, chart.Band{From: e.TSec, To: e.TSec, Wash: chart.Grid, Edge: &chart.Grey})
		}
	}
	for _, x := range f.Run.Summary.Faults {
		b := chart.Band{From: x.AtSec, To: x.AtSec, Wash: chart.RedWash, Edge: &chart.Red, Label: x.What + " " + x.Node}
		if x.GapMS != nil && *x.GapMS > 0 && (x.What == "kill" || x.What == "term" || x.What == "stop") {
			b.To = x.AtSec + *x.GapMS/1e3
		}
		out = append(out, b)
	}
	return out
}

func throughputPanel(f *stats.Facts) chart.Panel {
	ok := chart.Series{Name: "completed", Ink: chart.Blue}
	offered := chart.Series{Name: "offered", Ink: chart.Grey, Dashed: true, Width: 1.2}
	p := chart.Panel{Unit: "operations per second"}
	for _, s := range f.Seconds {
		x := float64(s.T) + 0.5
		ok.Points = append(ok.Points, chart.Point{X: x, Y: float64(s.OK)})
		offered.Points = append(offered.Points, chart.Point{X: x, Y: float64(s.Offered)})
		if s.Failed > 0 {
			p.Failed = append(p.Failed, float64(s.T))
		}
	}
	ok.Points, offered.Points = chart.Thin(ok.Points, maxPoints), chart.Thin(offered.Points, maxPoints)
	p.Series = []chart.Series{ok}
	if f.Run.Summary.Loop != "closed" {
		p.Series = append(p.Series, offered)
	}
	return p
}

func latencyPanel(f *stats.Facts) (p chart.Panel, ok bool) {
	list := []chart.Series{
		{Name: "max", Ink: chart.Grey, Width: 1.1},
		{Name: "p99", Ink: chart.Blue, Width: 2},
		{Name: "p50", Ink: chart.Green, Width: 2},
	}
	for _, s := range f.Seconds {
		for i, v := range []float64{s.Max, s.P99, s.P50} {
			list[i].Points = append(list[i].Points, chart.Point{X: float64(s.T) + 0.5, Y: v})
			ok = ok || !math.IsNaN(v)
		}
		if s.Failed > 0 {
			p.Failed = append(p.Failed, float64(s.T))
		}
	}
	for i := range list {
		list[i].Points = chart.Thin(list[i].Points, maxPoints)
	}
	p.Unit, p.Log, p.Height, p.Series = "response time, log scale", true, 200, list
	return p, ok
}

func redundancyPanel(f *stats.Facts) chart.Panel {
	s := chart.Series{Ink: chart.Amber, Step: true, Name: "left"}
	for _, m := range f.Redundancy {
		s.Points = append(s.Points, chart.Point{X: m.T, Y: float64(max(m.Partitions, 0))})
	}
	s.Points = chart.Thin(s.Points, maxPoints)
	return chart.Panel{Unit: "partitions left to migrate", Height: 130, Series: []chart.Series{s}}
}

// nines draws the percentile curves, nil without any.
func nines(f *stats.Facts) *figure {
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
	caption := ninesCaption(f)
	n.Alt = caption
	wide := n.Draw(chart.Wide)
	n.Height = 240
	return &figure{Caption: caption, Wide: inline(wide), Narrow: inline(n.Draw(chart.Narrow))}
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
