// Package chart draws the figures of a report as SVG, with gonum/plot below
// and a theme of its own: no axis lines, a light grid, direct labels instead
// of legends, event bands behind the curves. It owns the theme, the tick
// makers and the placement of labels. It knows nothing of run folders and
// writes no sentence: callers give it numbers and names.
//
// The invariant to know: every text of a Figure lies inside its frame and no
// two texts overlap. Figure.Boxes holds the glyph boxes that prove it; a label
// for which there is no room is left out and counted in Figure.Dropped.
//
// A drawing names colours (Ink) instead of holding them, so it needs the style
// sheet of CSS on its page and follows the page's light or dark scheme.
//
// Start reading at Panel, then Nines.
package chart

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/plot/vg"
)

// Widths of a figure in SVG units. A page shows the wide one on screens and
// paper and the narrow one on phones, where a scaled-down wide figure would
// have unreadable labels.
const (
	Wide   = 880.0
	Narrow = 360.0
)

// Figure is a finished drawing.
type Figure struct {
	// SVG is one <svg> element for inlining in HTML, escaped.
	SVG string
	// Width and Height are the size of the drawing in SVG units.
	Width, Height float64
	// Boxes are the places of all texts, in drawing order.
	Boxes []Box
	// Dropped counts event labels for which there was no room.
	Dropped int
	// Frame is where the data stand; zero for a figure without a time axis.
	Frame Frame

	ops []func(vg.Canvas)
}

// Frame is the place of a figure's data in SVG units and what its x axis
// spans.
type Frame struct{ Left, Right, Top, Bottom, From, To float64 }

// Point is one point of a curve.
type Point struct{ X, Y float64 }

// Series is a curve. A point whose Y is NaN interrupts it; one whose Y is +Inf
// is drawn at the upper edge of the frame.
type Series struct {
	Name   string // the direct label at the curve's end; empty for none
	Ink    Ink
	Points []Point // by rising X, unless Loop
	Loop   bool    // points are in their own order: a path, not a function
	// Range is a wash behind the curve: the spread of what each point sums up.
	Range []Extent
	Wash  Ink
	// Bars are vertical intervals through the points.
	Bars []Extent
	Dots bool // mark each point
	// Mute leaves the curve out of what a reader can switch off.
	Mute   bool
	Width  float64 // of the line; zero means 1.8, negative none
	Dashed bool
	Step   bool // hold each value until the next point
}

// Extent is the interval [Low, High] at X.
type Extent struct{ X, Low, High float64 }

// finish wraps what was drawn into an svg element. alt describes the figure to
// readers who do not see it.
func finish(c *canvas, alt string, dropped int, f Frame) Figure {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %s %s" role="img" aria-label="%s"`, num(c.w), num(c.h), escape(alt))
	if f.To > f.From {
		fmt.Fprintf(&b, ` data-frame="%s %s %s %s %g %g"`, num(f.Left), num(f.Right), num(f.Top), num(f.Bottom), f.From, f.To)
	}
	b.WriteString(">\n")
	b.WriteString(c.body.String())
	b.WriteString("</svg>\n")
	return Figure{SVG: b.String(), Width: c.w, Height: c.h, Boxes: c.boxes, Dropped: dropped, Frame: f, ops: c.ops}
}

// runs cuts a series at its missing points into runs of drawable ones, with
// infinite values set to top.
func (s Series) runs(top float64) [][]Point {
	var out [][]Point
	var cur []Point
	for _, p := range s.Points {
		if math.IsNaN(p.Y) || math.IsNaN(p.X) || math.IsInf(p.X, 0) || math.IsInf(p.Y, -1) {
			if len(cur) > 0 {
				out, cur = append(out, cur), nil
			}
			continue
		}
		if s.Step && len(cur) > 0 {
			cur = append(cur, Point{p.X, cur[len(cur)-1].Y})
		}
		cur = append(cur, Point{p.X, min(p.Y, top)})
	}
	if len(cur) > 0 {
		out = append(out, cur)
	}
	return out
}

// Thin reduces a curve to about n points and keeps its look: of each stretch
// of equal width the first, lowest, highest and last point stay, in order, and
// missing points stay missing.
func Thin(points []Point, n int) []Point {
	if len(points) <= n || n < 4 {
		return points
	}
	per := (len(points)*4 + n - 1) / n
	out := make([]Point, 0, n+4)
	for i := 0; i < len(points); i += per {
		out = append(out, extremes(points[i:min(i+per, len(points))])...)
	}
	return out
}

func extremes(part []Point) []Point {
	low, high := 0, 0
	gap := -1
	for i, p := range part {
		if math.IsNaN(p.Y) {
			gap = i
			continue
		}
		if !(part[low].Y <= p.Y) {
			low = i
		}
		if !(part[high].Y >= p.Y) {
			high = i
		}
	}
	keep := map[int]bool{0: true, low: true, high: true, len(part) - 1: true}
	if gap >= 0 {
		keep[gap] = true
	}
	var out []Point
	for i := range part {
		if keep[i] {
			out = append(out, part[i])
		}
	}
	return out
}
