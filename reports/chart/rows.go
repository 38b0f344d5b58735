package chart

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Rows is a figure of horizontal bars, intervals and dots, one row a thing:
// a tornado, a forest plot, a waterfall.
type Rows struct {
	Unit, Alt string
	Rows      []Row
	Log       bool    // values are microseconds on a log axis
	X         Measure // of the axis; zero means amounts
	// Zero draws a line at this value, from which bars are read; NaN or 0 means
	// the axis' start, or zero where the axis has it inside.
	Zero *float64
}

// Row is one thing with its marks. Text is written at the right end.
type Row struct {
	Label, Text string
	Bars        []Bar
	Spans       []Span
	Dots        []Dot
	Ink         *Ink // of Text; nil for the theme's
}

// Bar fills [From, To]. A From of 0 on a log axis is the axis' start.
type Bar struct {
	From, To float64
	Ink      Ink
}

// Span is an interval drawn as a line with ends.
type Span struct {
	From, To float64
	Ink      Ink
}

// Dot marks a value.
type Dot struct {
	At  float64
	Ink Ink
}

const (
	rowPitch  = 26.0
	rowBar    = 12.0
	rowStack  = 40.0 // pitch on a narrow figure, where the label stands above
	rowBorder = 8.0
)

// Draw draws the figure.
func (r Rows) Draw(width float64) Figure {
	stacked := width < 600
	lo, hi := r.span()
	ticks := r.ticks(lo, hi, width)
	left, right := rowBorder, rowBorder
	pitch := rowPitch
	if stacked {
		pitch = rowStack
	} else {
		for _, row := range r.Rows {
			left = max(left, textWidth(row.Label, sizeLabel)+12)
			right = max(right, textWidth(row.Text, sizeTick)+12)
		}
		left, right = min(left, width*0.3), min(right, width*0.35)
	}
	if n := len(ticks); n > 0 { // half of the last label stands beyond its tick
		right = max(right, textWidth(ticks[n-1].Label, sizeTick)/2+2)
	}
	height := float64(len(r.Rows))*pitch + 24 + 24
	c := newCanvas(width, height)
	dc := draw.NewCanvas(c, vg.Length(width), vg.Length(height))
	frame := draw.Crop(dc, vg.Length(left), -vg.Length(right), 24, -24)
	x := func(v float64) vg.Length {
		if r.Log {
			v = logOf(v)
		}
		return frame.X((min(max(v, lo), hi) - lo) / (hi - lo))
	}
	// rule draws a vertical line, beside the labels where these stand above.
	rule := func(v float64, sty draw.LineStyle) {
		at := frame.X((v - lo) / (hi - lo))
		if !stacked {
			dc.StrokeLine2(sty, at, frame.Min.Y, at, frame.Max.Y)
			return
		}
		for i := range r.Rows {
			mid := frame.Max.Y - vg.Length((float64(i)+0.5)*pitch) - 8
			dc.StrokeLine2(sty, at, mid-rowBar, at, mid+rowBar/2)
		}
	}
	for _, t := range ticks {
		rule(t.Value, line(Grid, 0.8))
	}
	if z := r.zero(lo, hi); !math.IsNaN(z) {
		rule(z, line(Grey, 1))
	}
	for i, row := range r.Rows {
		mid := frame.Max.Y - vg.Length((float64(i)+0.5)*pitch)
		if stacked {
			mid -= 8
		}
		r.row(dc, row, rowPlace{mid: mid, x: x, lo: lo, stacked: stacked, left: left, right: right, width: width})
	}
	xLabels(dc, frame, ticks, lo, hi, width)
	dc.FillText(anchored(style(Muted, sizeTick, false), text.XLeft, text.YTop), vg.Point{Y: vg.Length(height)}, fit(r.Unit, width, sizeTick))
	return finish(c, r.Alt, 0, Frame{})
}

type rowPlace struct {
	mid                vg.Length
	x                  func(float64) vg.Length
	lo                 float64
	stacked            bool
	left, right, width float64
}

func (r Rows) row(dc draw.Canvas, row Row, p rowPlace) {
	for _, b := range row.Bars {
		from := b.From
		if r.Log && from <= 0 {
			from = math.Pow(10, p.lo)
		}
		x0, x1 := p.x(from), p.x(b.To)
		if x1 < x0 {
			x0, x1 = x1, x0
		}
		x1 = max(x1, x0+1)
		dc.FillPolygon(b.Ink, rect(x0.Points(), p.mid.Points()-rowBar/2, x1.Points(), p.mid.Points()+rowBar/2))
	}
	for _, s := range row.Spans {
		x0, x1 := p.x(s.From), p.x(s.To)
		sty := line(s.Ink, 1.6)
		dc.StrokeLine2(sty, x0, p.mid, x1, p.mid)
		dc.StrokeLine2(sty, x0, p.mid-4, x0, p.mid+4)
		dc.StrokeLine2(sty, x1, p.mid-4, x1, p.mid+4)
	}
	for _, d := range row.Dots {
		pt := vg.Point{X: p.x(d.At), Y: p.mid}
		dc.DrawGlyph(draw.GlyphStyle{Color: Paper, Radius: 5.6, Shape: draw.CircleGlyph{}}, pt)
		dc.DrawGlyph(draw.GlyphStyle{Color: d.Ink, Radius: 4, Shape: draw.CircleGlyph{}}, pt)
	}
	ink := Text
	if row.Ink != nil {
		ink = *row.Ink
	}
	if p.stacked { // label and value share the line above the bar
		value := fit(row.Text, p.width*0.6, sizeTick)
		room := p.width - textWidth(value, sizeTick) - 12
		up := p.mid + rowBar/2 + 4
		dc.FillText(anchored(style(Text, sizeLabel, false), text.XLeft, text.YBottom), vg.Point{X: 0, Y: up}, fit(row.Label, room, sizeLabel))
		dc.FillText(anchored(style(ink, sizeTick, false), text.XRight, text.YBottom), vg.Point{X: vg.Length(p.width - 1), Y: up}, value)
		return
	}
	dc.FillText(anchored(style(Text, sizeLabel, false), text.XLeft, text.YCenter), vg.Point{X: 0, Y: p.mid}, fit(row.Label, p.left-8, sizeLabel))
	dc.FillText(anchored(style(ink, sizeTick, false), text.XRight, text.YCenter), vg.Point{X: vg.Length(p.width - 1), Y: p.mid}, fit(row.Text, p.right-8, sizeTick))
}

// span returns the range of the axis in drawing units.
func (r Rows) span() (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	take := func(v float64) {
		if r.Log {
			if v <= 0 {
				return
			}
			v = logOf(v)
		}
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	for _, row := range r.Rows {
		for _, b := range row.Bars {
			take(b.From)
			take(b.To)
		}
		for _, s := range row.Spans {
			take(s.From)
			take(s.To)
		}
		for _, d := range row.Dots {
			take(d.At)
		}
	}
	if r.Zero != nil {
		take(*r.Zero)
	}
	if math.IsInf(lo, 0) {
		return 0, 1
	}
	if r.Log {
		y := logAxis(lo, hi)
		return y.lo, y.hi
	}
	if r.Zero == nil {
		lo, hi = min(lo, 0), max(hi, 0)
	}
	if hi-lo <= 0 {
		hi = lo + 1
	}
	pad := (hi - lo) * 0.03
	if lo < 0 || r.Zero != nil {
		lo -= pad
	}
	return lo, hi + pad
}

func (r Rows) zero(lo, hi float64) float64 {
	z := 0.0
	if r.Zero != nil {
		z = *r.Zero
	}
	if r.Log {
		return math.NaN()
	}
	if z < lo || z > hi {
		return math.NaN()
	}
	return z
}

func (r Rows) ticks(lo, hi, width float64) []plot.Tick {
	if r.Log {
		return DurationTicks(lo, hi)
	}
	return valueTicks(r.X, lo, hi, max(int(width/110), 3))
}
