package chart

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Band is a stretch of time behind the curves. To equal to From draws a line
// instead. A band with a Label is named above the first panel of a stack.
type Band struct {
	From, To float64 // seconds
	Wash     Ink     // of the area
	Edge     *Ink    // of the line at From; nil for none
	Label    string
}

// Panel is a figure over time.
type Panel struct {
	Unit     string // what the y axis shows, above its upper end
	Alt      string // what the figure says, for readers who do not see it
	From, To float64
	Series   []Series
	Bands    []Band
	// Failed are the seconds in which operations failed: a red strip at the
	// upper edge.
	Failed []float64
	// Log draws microseconds on a log10 axis; else amounts from zero.
	Log bool
	// X and Y are what the axes measure; zero means clock time and amounts. Log
	// overrides Y.
	X, Y Measure
	// XUnit is written below the x axis' end; empty for none.
	XUnit string
	// Least is the least upper end of a y axis from zero.
	Least float64
	// NameBands writes the bands' labels above the frame.
	NameBands bool
	Height    float64 // of the frame, without what stands around it; zero means 170
}

// Measure is what an axis measures.
type Measure int

// The measures. Clock is the default of x axes, Amounts of y axes.
const (
	Default Measure = iota
	Clock
	Amounts
	Sizes   // bytes
	Shares  // 0 to 1, printed as per cent
	Wholes  // whole numbers: nodes
	Percent // per cent as they stand, may be negative
	Ratios  // how many times as much, as decimal logarithms: 0 is the same
	Times   // durations in microseconds, linear
)

// margins are the strips around a frame.
type margins struct{ left, right, top, bottom float64 }

// yAxis is the value range of a frame in drawing units (log10 if log) and its
// ticks.
type yAxis struct {
	lo, hi float64
	ticks  []plot.Tick
}

// Stack draws panels of one width below each other, so that their time axes
// align: all get the widest margins any of them needs.
func Stack(width float64, panels ...Panel) []Figure {
	return drawAll(width, stackMargins(width, panels), panels)
}

// StackHeat is Stack with a heat map below.
func StackHeat(width float64, h HeatMap, panels ...Panel) ([]Figure, Figure) {
	m := stackMargins(width, append(panels[:len(panels):len(panels)], h.axisPanel()))
	return drawAll(width, m, panels), h.draw(width, m)
}

func drawAll(width float64, m margins, panels []Panel) []Figure {
	out := make([]Figure, len(panels))
	for i, p := range panels {
		out[i] = p.draw(width, m)
	}
	return out
}

// stackMargins returns the widest margins any of the panels needs.
func stackMargins(width float64, panels []Panel) margins {
	m := margins{bottom: 24}
	for _, p := range panels {
		if p.XUnit != "" {
			m.bottom = 40
		}
		for _, t := range p.axis().ticks {
			m.left = max(m.left, textWidth(t.Label, sizeTick)+10)
		}
		for _, s := range p.Series {
			m.right = max(m.right, textWidth(s.Name, sizeLabel)+12)
		}
	}
	m.left, m.right = min(m.left, width/4), min(max(m.right, 20), width/3)
	return m
}

// Draw draws a single panel; see Stack.
func (p Panel) Draw(width float64) Figure { return Stack(width, p)[0] }

func (p Panel) draw(width float64, m margins) Figure {
	height := p.Height
	if height <= 0 {
		height = 170
	}
	if !(p.To > p.From) {
		p.To = p.From + 1
	}
	x := xScale{p.From, p.To, m.left, width - m.right}
	var names []placed
	dropped := 0
	m.top = 24
	if p.NameBands {
		var rows int
		names, rows, dropped = placeBands(p.Bands, x, width)
		m.top += float64(rows) * bandRow
	}
	c := newCanvas(width, height+m.top+m.bottom)
	dc := draw.NewCanvas(c, vg.Length(c.w), vg.Length(c.h))
	y := p.axis()
	xt := p.xTicks(int((width - m.left - m.right) / 60))
	frame := draw.Crop(dc, vg.Length(m.left), -vg.Length(m.right), vg.Length(m.bottom), -vg.Length(m.top))
	p.curves(frame, y, xt)
	yLabels(dc, frame, y, m)
	xLabels(dc, frame, xt, p.From, p.To, width)
	dc.FillText(anchored(style(Muted, sizeTick, false), text.XLeft, text.YTop), vg.Point{X: 0, Y: vg.Length(c.h)}, fit(p.Unit, width, sizeTick))
	for _, n := range names {
		n.draw(dc, c.h, m.top)
	}
	if p.XUnit != "" {
		dc.FillText(anchored(style(Muted, sizeTick, false), text.XRight, text.YBottom), vg.Point{X: vg.Length(width - m.right), Y: 3}, fit(p.XUnit, width-m.right, sizeTick))
	}
	endLabels(dc, frame, p.transformed(), y)
	f := Frame{m.left, width - m.right, m.top, c.h - m.bottom, p.From, p.To}
	return finish(c, p.Alt, dropped, f)
}

func (p Panel) xTicks(n int) []plot.Tick {
	switch p.X {
	case Default, Clock:
		return ClockTicks(p.From, p.To, n)
	default:
		return valueTicks(p.X, p.From, p.To, n)
	}
}

// transformed returns the series in drawing units.
func (p Panel) transformed() []Series {
	if !p.Log {
		return p.Series
	}
	out := make([]Series, len(p.Series))
	for i, s := range p.Series {
		out[i] = s
		out[i].Points = make([]Point, len(s.Points))
		for j, q := range s.Points {
			out[i].Points[j] = Point{q.X, logOf(q.Y)}
		}
		out[i].Range, out[i].Bars = logExtents(s.Range), logExtents(s.Bars)
	}
	return out
}

func logExtents(list []Extent) []Extent {
	out := make([]Extent, len(list))
	for i, e := range list {
		out[i] = Extent{e.X, logOf(e.Low), logOf(e.High)}
	}
	return out
}

// logOf returns log10 of a duration in microseconds; durations below 1 µs are
// drawn at 1 µs, and what is not a number stays so.
func logOf(us float64) float64 {
	if math.IsNaN(us) || math.IsInf(us, 1) {
		return us
	}
	return math.Log10(max(us, 1))
}

// axis chooses the range: from zero with a little air for amounts, the decades
// (or 1-2-5 marks) around the data for log durations.
func (p Panel) axis() yAxis {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, s := range p.transformed() {
		for _, q := range s.Points {
			if !math.IsNaN(q.Y) && !math.IsInf(q.Y, 0) {
				lo, hi = min(lo, q.Y), max(hi, q.Y)
			}
		}
		for _, list := range [][]Extent{s.Range, s.Bars} {
			for _, e := range list {
				if !math.IsNaN(e.Low) && !math.IsInf(e.Low, 0) {
					lo, hi = min(lo, e.Low), max(hi, e.Low)
				}
				if !math.IsNaN(e.High) && !math.IsInf(e.High, 0) {
					lo, hi = min(lo, e.High), max(hi, e.High)
				}
			}
		}
	}
	if math.IsInf(lo, 0) {
		lo, hi = 0, 1
	}
	if p.Log {
		return logAxis(lo, hi)
	}
	if lo < 0 { // differences: both sides of zero
		span := max(hi, 0) - lo
		lo, hi = lo-span*0.06, max(hi, 0)+span*0.06
		return yAxis{lo, hi, valueTicks(p.Y, lo, hi, 5)}
	}
	hi = max(hi*1.06, 1e-9, p.Least)
	if hi <= 1e-9 {
		hi = 1
	}
	return yAxis{0, hi, valueTicks(p.Y, 0, hi, 5)}
}

// logAxis widens a range of log10 microseconds until two marks are on it.
func logAxis(lo, hi float64) yAxis {
	lo, hi = lo-0.08, hi+0.08
	for range 4 {
		if t := DurationTicks(lo, hi); len(t) >= 2 {
			return yAxis{lo, hi, t}
		}
		lo, hi = lo-0.2, hi+0.2
	}
	return yAxis{lo, hi, DurationTicks(lo, hi)}
}

// curves draws everything inside the frame through gonum's plot.
func (p Panel) curves(frame draw.Canvas, y yAxis, xt []plot.Tick) {
	pl := bare(p.From, p.To, y)
	pl.Add(bandPlotter{p.Bands}, gridPlotter{y.ticks, nil})
	addSeries(pl, p.transformed(), y)
	pl.Add(stripPlotter{seconds: p.Failed})
	pin(pl, p.From, p.To, y)
	pl.Draw(frame)
}

// bare returns a plot without axes, title or background: the frame is drawn by
// gonum, what stands around it by this package.
func bare(from, to float64, y yAxis) *plot.Plot {
	pl := plot.New()
	pl.BackgroundColor = nil
	pl.HideAxes()
	pl.X.Padding, pl.Y.Padding = 0, 0
	pin(pl, from, to, y)
	return pl
}

// pin sets the ranges, which adding plotters widens.
func pin(pl *plot.Plot, from, to float64, y yAxis) {
	pl.X.Min, pl.X.Max, pl.Y.Min, pl.Y.Max = from, to, y.lo, y.hi
}

func addSeries(pl *plot.Plot, list []Series, y yAxis) {
	for i, s := range list {
		if s.Mute {
			i = -1
		}
		pl.Add(extentPlotter{s, i, y})
		width := s.Width
		if width == 0 {
			width = 1.8
		}
		for _, run := range s.runs(y.hi) {
			if width < 0 {
				break
			}
			xys := make(plotter.XYs, len(run))
			for i, q := range run {
				xys[i].X, xys[i].Y = q.X, max(q.Y, y.lo)
			}
			if len(xys) == 1 { // no line has it: a single second, or one between gaps
				pl.Add(lonePlotter{Point{xys[0].X, xys[0].Y}, s.Ink, i, max(width, 1.5)})
				continue
			}
			l, err := plotter.NewLine(xys)
			if err != nil {
				continue // only for values that runs has removed
			}
			l.LineStyle = line(s.Ink, width)
			if s.Dashed {
				l.LineStyle = line(s.Ink, width, 4, 3)
			}
			pl.Add(markedPlotter{l, i})
		}
		if s.Dots {
			pl.Add(dotPlotter{s, i, y})
		}
	}
}

// markedPlotter marks what it draws as series i.
type markedPlotter struct {
	plot.Plotter
	i int
}

// Plot implements plot.Plotter.
func (m markedPlotter) Plot(c draw.Canvas, pl *plot.Plot) {
	marked(c, m.i, func() { m.Plotter.Plot(c, pl) })
}

// extentPlotter draws a series' ranges and bars.
type extentPlotter struct {
	s Series
	i int
	y yAxis
}

// Plot implements plot.Plotter.
func (e extentPlotter) Plot(c draw.Canvas, pl *plot.Plot) {
	if len(e.s.Range) == 0 && len(e.s.Bars) == 0 {
		return
	}
	trX, trY := pl.Transforms(&c)
	at := func(x, y float64) vg.Point { return vg.Point{X: trX(x), Y: trY(min(max(y, e.y.lo), e.y.hi))} }
	marked(c, e.i, func() {
		for _, run := range extentRuns(e.s.Range) {
			var up, back []vg.Point
			for _, r := range run {
				up = append(up, at(r.X, r.High))
			}
			for i := len(run) - 1; i >= 0; i-- {
				back = append(back, at(run[i].X, run[i].Low))
			}
			c.FillPolygon(e.s.Wash, append(up, back...))
		}
		for _, b := range e.s.Bars {
			if math.IsNaN(b.Low) || math.IsNaN(b.High) {
				continue
			}
			lo, hi := at(b.X, b.Low), at(b.X, b.High)
			c.StrokeLine2(line(e.s.Ink, 1.2), lo.X, lo.Y, hi.X, hi.Y)
			c.StrokeLine2(line(e.s.Ink, 1.2), lo.X-3, lo.Y, lo.X+3, lo.Y)
			c.StrokeLine2(line(e.s.Ink, 1.2), hi.X-3, hi.Y, hi.X+3, hi.Y)
		}
	})
}

// extentRuns cuts a range where values are missing.
func extentRuns(list []Extent) (out [][]Extent) {
	var cur []Extent
	for _, e := range append(list, Extent{Low: math.NaN()}) {
		if math.IsNaN(e.Low) || math.IsNaN(e.High) {
			if len(cur) > 1 {
				out = append(out, cur)
			}
			cur = nil
			continue
		}
		cur = append(cur, e)
	}
	return out
}

// lonePlotter draws a point that has no neighbour.
type lonePlotter struct {
	at     Point
	ink    Ink
	i      int
	radius float64
}

// Plot implements plot.Plotter.
func (l lonePlotter) Plot(c draw.Canvas, pl *plot.Plot) {
	trX, trY := pl.Transforms(&c)
	marked(c, l.i, func() {
		c.DrawGlyph(draw.GlyphStyle{Color: l.ink, Radius: vg.Length(l.radius), Shape: draw.CircleGlyph{}}, vg.Point{X: trX(l.at.X), Y: trY(l.at.Y)})
	})
}

// dotPlotter marks a series' points.
type dotPlotter struct {
	s Series
	i int
	y yAxis
}

// Plot implements plot.Plotter.
func (d dotPlotter) Plot(c draw.Canvas, pl *plot.Plot) {
	trX, trY := pl.Transforms(&c)
	marked(c, d.i, func() {
		for _, q := range d.s.Points {
			if math.IsNaN(q.Y) || math.IsNaN(q.X) {
				continue
			}
			pt := vg.Point{X: trX(q.X), Y: trY(min(max(q.Y, d.y.lo), d.y.hi))}
			c.DrawGlyph(draw.GlyphStyle{Color: Paper, Radius: 4.4, Shape: draw.CircleGlyph{}}, pt)
			c.DrawGlyph(draw.GlyphStyle{Color: d.s.Ink, Radius: 3, Shape: draw.CircleGlyph{}}, pt)
		}
	})
}

// bandPlotter fills the bands over the height of the frame.
type bandPlotter struct{ bands []Band }

// Plot implements plot.Plotter.
func (b bandPlotter) Plot(c draw.Canvas, pl *plot.Plot) {
	trX, _ := pl.Transforms(&c)
	for _, band := range b.bands {
		from, to := max(band.From, pl.X.Min), min(band.To, pl.X.Max)
		if to < from || band.From > pl.X.Max {
			continue
		}
		x0, x1 := trX(from), trX(to)
		if band.To > band.From {
			x1 = max(x1, x0+1.5) // a gap of a few ms must stay visible
			x1 = min(x1, c.Max.X)
			c.FillPolygon(band.Wash, []vg.Point{{X: x0, Y: c.Min.Y}, {X: x1, Y: c.Min.Y}, {X: x1, Y: c.Max.Y}, {X: x0, Y: c.Max.Y}})
		}
		if band.Edge != nil && band.From >= pl.X.Min {
			c.StrokeLine2(line(*band.Edge, 1.2), x0, c.Min.Y, x0, c.Max.Y)
		}
	}
}

// gridPlotter draws hair lines at the ticks.
type gridPlotter struct{ horizontal, vertical []plot.Tick }

// Plot implements plot.Plotter.
func (g gridPlotter) Plot(c draw.Canvas, pl *plot.Plot) {
	trX, trY := pl.Transforms(&c)
	for _, t := range g.horizontal {
		c.StrokeLine2(line(Grid, 0.8), c.Min.X, trY(t.Value), c.Max.X, trY(t.Value))
	}
	for _, t := range g.vertical {
		c.StrokeLine2(line(Grid, 0.8), trX(t.Value), c.Min.Y, trX(t.Value), c.Max.Y)
	}
	c.StrokeLine2(line(Grey, 0.8), c.Min.X, c.Min.Y, c.Max.X, c.Min.Y)
}

// stripPlotter marks seconds, and all from from to to, in red along the upper
// edge.
type stripPlotter struct {
	seconds  []float64
	from, to float64
}

// Plot implements plot.Plotter.
func (s stripPlotter) Plot(c draw.Canvas, pl *plot.Plot) {
	trX, _ := pl.Transforms(&c)
	mark := func(from, to float64) {
		x0, x1 := trX(max(from, pl.X.Min)), trX(min(to, pl.X.Max))
		if x1 > x0 {
			c.FillPolygon(Red, []vg.Point{{X: x0, Y: c.Max.Y - 3}, {X: x1, Y: c.Max.Y - 3}, {X: x1, Y: c.Max.Y}, {X: x0, Y: c.Max.Y}})
		}
	}
	for _, t := range s.seconds {
		mark(t, t+1)
	}
	if s.to > s.from {
		mark(s.from, s.to)
	}
}
