package chart

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Curve is a percentile curve: X is the share of samples (0 to 1, exclusive),
// Y the latency in microseconds, +Inf where operations failed.
type Curve struct {
	Name   string
	Ink    Ink
	Points []Point
	// Supported is the highest share that the number of samples bounds; the
	// curve is dashed beyond it.
	Supported float64
	Width     float64 // of the line; zero means 2
}

func (c Curve) width() float64 {
	if c.Width > 0 {
		return c.Width
	}
	return 2
}

// Nines is a figure of percentile curves: log latency over a nines axis.
type Nines struct {
	Unit, Alt string
	Curves    []Curve
	// Note is written at the upper edge in red, for example where the curve
	// becomes infinite. Empty for none.
	Note string
	// Limits are points that the response curve must not lie above.
	Limits []Limit
	Height float64 // of the frame; zero means 260
}

// Limit is a point of an SLO: at share P the latency may be at most US.
type Limit struct {
	Name  string
	P, US float64
}

// limitSeries draws limits as short dashed lines up to their percentile.
func (n Nines) limitSeries() (out []Series) {
	for _, l := range n.Limits {
		if !(l.P > 0 && l.P < 1) || !(l.US > 0) {
			continue
		}
		x := NinesX(l.P)
		out = append(out, Series{Name: l.Name, Ink: Red, Dashed: true, Width: 1.4, Points: []Point{{0, l.US}, {x, l.US}, {x, l.US / 1.001}}})
	}
	return out
}

// Draw draws the figure.
func (n Nines) Draw(width float64) Figure {
	height := n.Height
	if height <= 0 {
		height = 260
	}
	list, xhi := n.series()
	list = append(list, n.limitSeries()...)
	p := Panel{Log: true, Series: list}
	y := p.axis()
	m := margins{top: 24, bottom: 24}
	if n.Note != "" {
		m.top += bandRow
	}
	for _, t := range y.ticks {
		m.left = max(m.left, textWidth(t.Label, sizeTick)+10)
	}
	for _, s := range list {
		m.right = max(m.right, textWidth(s.Name, sizeLabel)+12)
	}
	m.right = min(m.right, width/3)
	c := newCanvas(width, height+m.top+m.bottom)
	dc := draw.NewCanvas(c, vg.Length(c.w), vg.Length(c.h))
	frame := draw.Crop(dc, vg.Length(m.left), -vg.Length(m.right), vg.Length(m.bottom), -vg.Length(m.top))
	ticks := NinesTicks(xhi)
	pl := bare(0, xhi, y)
	pl.Add(gridPlotter{y.ticks, ticks})
	addSeries(pl, p.transformed(), y)
	pl.Add(n.strip(xhi))
	pin(pl, 0, xhi, y)
	pl.Draw(frame)
	n.marks(frame, xhi, y)
	yLabels(dc, frame, y, m)
	xLabels(dc, frame, ticks, 0, xhi, width)
	dc.FillText(anchored(style(Muted, sizeTick, false), text.XLeft, text.YTop), vg.Point{Y: vg.Length(c.h)}, fit(n.Unit, width, sizeTick))
	if n.Note != "" {
		note := fit(n.Note, width-m.left, sizeTick)
		dc.FillText(anchored(style(Red, sizeTick, false), text.XRight, text.YTop),
			vg.Point{X: vg.Length(width - 1), Y: vg.Length(c.h - 18)}, note)
	}
	endLabels(dc, frame, p.transformed(), y)
	return finish(c, n.Alt, 0, Frame{})
}

// strip marks the shares that are infinite in red along the upper edge.
func (n Nines) strip(xhi float64) stripPlotter {
	s := stripPlotter{from: math.Inf(1), to: xhi}
	for _, c := range n.Curves {
		for _, q := range c.Points {
			if math.IsInf(q.Y, 1) && q.X < 1 {
				s.from = min(s.from, NinesX(q.X))
			}
		}
	}
	return s
}

// series turns curves into lines over the nines axis, a solid and a dashed
// part each, and returns the axis' upper end.
func (n Nines) series() (list []Series, xhi float64) {
	xhi = 2
	for _, c := range n.Curves {
		var solid, loose []Point
		infinite := false
		for _, q := range c.Points {
			if !(q.X >= 0 && q.X < 1) {
				continue
			}
			xhi = max(xhi, min(NinesX(q.X), ninesDeep))
			if infinite { // the first infinite point takes the curve to the edge
				continue
			}
			infinite = math.IsInf(q.Y, 1)
			at := Point{NinesX(q.X), q.Y}
			if q.X <= c.Supported {
				solid = append(solid, at)
				continue
			}
			if len(loose) == 0 && len(solid) > 0 {
				loose = append(loose, solid[len(solid)-1])
			}
			loose = append(loose, at)
		}
		if len(loose) > 0 {
			list = append(list, Series{Ink: c.Ink, Points: solid, Width: c.width()},
				Series{Name: c.Name, Ink: c.Ink, Points: loose, Width: 1.2, Dashed: true})
			continue
		}
		list = append(list, Series{Name: c.Name, Ink: c.Ink, Points: solid, Width: c.width()})
	}
	return list, xhi
}

// marks draws a dot where a supported curve crosses a labelled percentile.
func (n Nines) marks(frame draw.Canvas, xhi float64, y yAxis) {
	for _, c := range n.Curves {
		for _, t := range NinesTicks(xhi) {
			v, ok := c.at(t)
			if !ok {
				continue
			}
			pt := vg.Point{X: frame.X(t.Value / xhi), Y: frame.Y((logOf(v) - y.lo) / (y.hi - y.lo))}
			frame.DrawGlyph(draw.GlyphStyle{Color: Paper, Radius: 4.6, Shape: draw.CircleGlyph{}}, pt)
			frame.DrawGlyph(draw.GlyphStyle{Color: c.Ink, Radius: 3.2, Shape: draw.CircleGlyph{}}, pt)
		}
	}
}

// at returns the curve's finite, supported value nearest to a tick.
func (c Curve) at(t plot.Tick) (us float64, ok bool) {
	best := math.Inf(1)
	for _, q := range c.Points {
		if !(q.X >= 0 && q.X < 1) || q.X > c.Supported || math.IsInf(q.Y, 0) || math.IsNaN(q.Y) {
			continue
		}
		if d := math.Abs(NinesX(q.X) - t.Value); d < best {
			best, us = d, q.Y
		}
	}
	return us, best < 0.03
}
