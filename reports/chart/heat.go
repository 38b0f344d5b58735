package chart

import (
	"fmt"
	"math"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// HeatMap is how many samples lie in each cell of time and latency.
type HeatMap struct {
	Unit, Alt string
	From, To  float64 // seconds of the time axis
	Step      float64 // width of a column in seconds
	Low       float64 // lower edge of the lowest row, log10 of microseconds
	Row       float64 // height of a row in the same
	Columns   []HeatColumn
	Bands     []Band // events: only their edges are drawn, over the cells
	Height    float64
}

// HeatColumn is one column: its counts from the lowest row up.
type HeatColumn struct {
	At     float64
	Counts []int64
}

// most returns the highest count.
func (h HeatMap) most() (n int64) {
	for _, c := range h.Columns {
		for _, v := range c.Counts {
			n = max(n, v)
		}
	}
	return n
}

// level returns which ink a count gets, -1 for none. Steps are equal in the
// logarithm: a tail of one in a thousand must be seen beside the bulk.
func level(n, most int64) int {
	if n <= 0 {
		return -1
	}
	if most <= 1 {
		return len(Heats) - 1
	}
	l := math.Log(float64(n)) / math.Log(float64(most))
	return min(int(l*float64(len(Heats))), len(Heats)-1)
}

// top returns the upper edge of the rows, log10 of microseconds.
func (h HeatMap) top() float64 {
	rows := 1
	for _, c := range h.Columns {
		rows = max(rows, len(c.Counts))
	}
	return h.Low + float64(rows)*h.Row
}

// axisPanel is a panel with the map's y axis, for margins.
func (h HeatMap) axisPanel() Panel {
	return Panel{Log: true, Series: []Series{{Points: []Point{{0, math.Pow(10, h.Low)}, {1, math.Pow(10, h.top())}}}}}
}

// Draw draws the map on its own; see StackHeat.
func (h HeatMap) Draw(width float64) Figure {
	return h.draw(width, stackMargins(width, []Panel{h.axisPanel()}))
}

func (h HeatMap) draw(width float64, m margins) Figure {
	hi := h.top()
	height := h.Height
	if height <= 0 {
		height = 170
	}
	m.top = 24
	if !(h.To > h.From) {
		h.To = h.From + 1
	}
	c := newCanvas(width, height+m.top+m.bottom)
	dc := draw.NewCanvas(c, vg.Length(c.w), vg.Length(c.h))
	frame := draw.Crop(dc, vg.Length(m.left), -vg.Length(m.right), vg.Length(m.bottom), -vg.Length(m.top))
	y := yAxis{h.Low, hi, DurationTicks(h.Low, hi)}
	for len(y.ticks) < 2 && y.hi-y.lo < 3 {
		y.lo, y.hi = y.lo-0.2, y.hi+0.2
		y.ticks = DurationTicks(y.lo, y.hi)
	}
	xt := ClockTicks(h.From, h.To, int((width-m.left-m.right)/60))
	pl := bare(h.From, h.To, y)
	pl.Add(gridPlotter{y.ticks, nil})
	pin(pl, h.From, h.To, y)
	pl.Draw(frame)
	h.cells(c, frame, y)
	h.edges(frame)
	yLabels(dc, frame, y, m)
	xLabels(dc, frame, xt, h.From, h.To, width)
	legend := fmt.Sprintf("1 to %s per cell", Amount(round3(float64(h.most()))))
	room := width - textWidth(legend, sizeTick) - float64(len(Heats))*11 - 16
	dc.FillText(anchored(style(Muted, sizeTick, false), text.XLeft, text.YTop), vg.Point{X: 0, Y: vg.Length(c.h)}, fit(h.Unit, room, sizeTick))
	h.legend(c, dc, legend, width)
	return finish(c, h.Alt, 0, Frame{m.left, width - m.right, m.top, c.h - m.bottom, h.From, h.To})
}

// round3 keeps three significant digits.
func round3(v float64) float64 {
	if !(v > 0) {
		return v
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-2)
	return math.Round(v/unit) * unit
}

// legend draws the ramp at the upper right.
func (h HeatMap) legend(c *canvas, dc draw.Canvas, label string, width float64) {
	left := width - textWidth(label, sizeTick) - float64(len(Heats))*11 - 6
	for i, ink := range Heats {
		x := left + float64(i)*11
		dc.FillPolygon(ink, rect(x, c.h-12, x+11, c.h-3))
	}
	dc.FillText(anchored(style(Muted, sizeTick, false), text.XRight, text.YTop), vg.Point{X: vg.Length(width - 1), Y: vg.Length(c.h)}, label)
}

func rect(x0, y0, x1, y1 float64) []vg.Point {
	p := func(x, y float64) vg.Point { return vg.Point{X: vg.Length(x), Y: vg.Length(y)} }
	return []vg.Point{p(x0, y0), p(x1, y0), p(x1, y1), p(x0, y1)}
}

// cells fills the map, one path for each ink: a map of 150 columns is 40 KB
// of SVG instead of 400.
func (h HeatMap) cells(c *canvas, frame draw.Canvas, y yAxis) {
	paths := make([]vg.Path, len(Heats))
	most := h.most()
	atX := func(t float64) vg.Length {
		return frame.X((min(max(t, h.From), h.To) - h.From) / (h.To - h.From))
	}
	atY := func(row int) vg.Length { return frame.Y((h.Low + float64(row)*h.Row - y.lo) / (y.hi - y.lo)) }
	for _, col := range h.Columns {
		x0, x1 := atX(col.At), atX(col.At+h.Step)
		if x1 <= x0 {
			continue
		}
		for i := 0; i < len(col.Counts); {
			l, from := level(col.Counts[i], most), i
			for i < len(col.Counts) && level(col.Counts[i], most) == l {
				i++
			}
			if l < 0 {
				continue
			}
			paths[l].Move(vg.Point{X: x0, Y: atY(from)})
			paths[l].Line(vg.Point{X: x1, Y: atY(from)})
			paths[l].Line(vg.Point{X: x1, Y: atY(i)})
			paths[l].Line(vg.Point{X: x0, Y: atY(i)})
			paths[l].Close()
		}
	}
	for l, p := range paths {
		if len(p) > 0 {
			c.SetColor(Heats[l])
			c.Fill(p)
		}
	}
}

func (h HeatMap) edges(frame draw.Canvas) {
	for _, b := range h.Bands {
		if b.Edge == nil || b.From < h.From || b.From > h.To {
			continue
		}
		x := frame.X((b.From - h.From) / (h.To - h.From))
		frame.StrokeLine2(line(*b.Edge, 1), x, frame.Min.Y, x, frame.Max.Y)
	}
}
