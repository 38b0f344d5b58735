package chart

import (
	"math"
	"sort"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	bandRow     = 16.0 // height of a row of band labels
	maxBandRows = 3    // more rows would push the curves off a phone's screen
	labelPitch  = 14.0 // least distance of two labels at the right edge
)

// xScale maps seconds to SVG units.
type xScale struct{ from, to, left, right float64 }

func (x xScale) at(v float64) float64 {
	return x.left + (v-x.from)/(x.to-x.from)*(x.right-x.left)
}

// placed is a band label with its place: row 0 is next to the frame.
type placed struct {
	label string
	x     float64
	row   int
	ink   Ink
	mark  float64 // x of the event itself
}

func (p placed) draw(dc draw.Canvas, height, top float64) {
	y := height - top + 4 + float64(p.row)*bandRow
	dc.FillText(anchored(style(p.ink, sizeTick, false), text.XLeft, text.YBottom), vg.Point{X: vg.Length(p.x), Y: vg.Length(y)}, p.label)
}

// placeBands finds a row and a place for each named band: beginning at the
// event, pushed left where it would leave the drawing. It returns how many
// rows were used and how many labels found no place.
func placeBands(bands []Band, x xScale, width float64) (list []placed, rows, dropped int) {
	ends := make([]float64, maxBandRows)
	sorted := append([]Band(nil), bands...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].From < sorted[j].From })
	for _, b := range sorted {
		if b.Label == "" || b.From > x.to || max(b.To, b.From) < x.from {
			continue
		}
		label := fit(b.Label, width*0.6, sizeTick)
		w := textWidth(label, sizeTick)
		mark := x.at(max(b.From, x.from))
		left := max(min(mark, width-w-1), 0)
		row := 0
		for row < maxBandRows && ends[row] > left {
			row++
		}
		if row == maxBandRows {
			dropped++
			continue
		}
		ends[row] = left + w + 10
		rows = max(rows, row+1)
		ink := Muted
		if b.Edge != nil {
			ink = *b.Edge
		}
		list = append(list, placed{label, left, row, ink, mark})
	}
	return list, rows, dropped
}

// yLabels writes the tick labels left of the frame. The highest keeps below
// the unit's line.
func yLabels(dc, frame draw.Canvas, y yAxis, m margins) {
	sty := anchored(style(Muted, sizeTick, false), text.XRight, text.YCenter)
	last := math.Inf(-1)
	for _, t := range y.ticks {
		at := frame.Y((t.Value - y.lo) / (y.hi - y.lo))
		if at.Points()-last < labelPitch {
			continue
		}
		last = at.Points()
		dc.FillText(sty, vg.Point{X: vg.Length(m.left - 7), Y: at}, t.Label)
	}
}

// xLabels writes the tick labels below the frame, inside the drawing.
func xLabels(dc, frame draw.Canvas, ticks []plot.Tick, from, to, width float64) {
	sty := anchored(style(Muted, sizeTick, false), text.XLeft, text.YTop)
	last := math.Inf(-1)
	for _, t := range ticks {
		w := textWidth(t.Label, sizeTick)
		at := frame.X((t.Value - from) / (to - from)).Points()
		left := max(min(at-w/2, width-w-1), 0)
		if left < last+6 {
			continue
		}
		last = left + w
		dc.FillText(sty, vg.Point{X: vg.Length(left), Y: frame.Min.Y - 7}, t.Label)
	}
}

// endLabels names each series at the right edge, at the height of its last
// point, moved apart where they would touch.
func endLabels(dc, frame draw.Canvas, list []Series, y yAxis) {
	type end struct {
		s  Series
		at float64
		i  int
	}
	var ends []end
	for i, s := range list {
		runs := s.runs(y.hi)
		if s.Name == "" || len(runs) == 0 {
			continue
		}
		r := runs[len(runs)-1]
		v := max(r[len(r)-1].Y, y.lo)
		if s.Mute {
			i = -1
		}
		ends = append(ends, end{s, frame.Y((v - y.lo) / (y.hi - y.lo)).Points(), i})
	}
	sort.SliceStable(ends, func(i, j int) bool { return ends[i].at < ends[j].at })
	at := make([]float64, len(ends))
	for i, e := range ends {
		at[i] = e.at
	}
	spread(at, frame.Min.Y.Points()+5, frame.Max.Y.Points()-5, labelPitch)
	for i, e := range ends {
		sty := anchored(style(e.s.Ink, sizeLabel, true), text.XLeft, text.YCenter)
		room := dc.Max.X.Points() - frame.Max.X.Points() - 7
		marked(dc, e.i, func() {
			dc.FillText(sty, vg.Point{X: frame.Max.X + 6, Y: vg.Length(at[i])}, fit(e.s.Name, room, sizeLabel))
		})
	}
}

// spread moves rising positions apart to at least pitch, within [lo, hi] as
// far as there is room, and as little as a push up and a push down can.
func spread(at []float64, lo, hi, pitch float64) {
	for i := range at {
		at[i] = max(at[i], lo)
		if i > 0 {
			at[i] = max(at[i], at[i-1]+pitch)
		}
	}
	for i := len(at) - 1; i >= 0; i-- {
		limit := hi - float64(len(at)-1-i)*pitch
		at[i] = min(at[i], limit)
	}
}

func anchored(s text.Style, x text.XAlignment, y text.YAlignment) text.Style {
	s.XAlign, s.YAlign = x, y
	return s
}

func textWidth(s string, size float64) float64 {
	// Labels are measured as bold, the wider of the two faces.
	return style(Text, size, true).Width(s).Points()
}

// oneLine turns line breaks into spaces: gonum would draw several lines.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, s)
}

// fit puts s on one line and shortens it with an ellipsis until it is at most
// width wide.
func fit(s string, width, size float64) string {
	s = oneLine(s)
	if textWidth(s, size) <= width {
		return s
	}
	r := []rune(s)
	for len(r) > 1 && textWidth(string(r)+"…", size) > width {
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}
