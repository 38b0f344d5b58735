package chart

import (
	"fmt"
	"html"
	"image"
	"image/color"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Box is where a text of a drawing stands, in SVG units from the upper left
// corner: the extent of its glyphs as gonum measures them.
type Box struct {
	Text                     string
	Left, Top, Right, Bottom float64
}

// Overlaps reports whether two boxes share area.
func (b Box) Overlaps(o Box) bool {
	return b.Left < o.Right && o.Left < b.Right && b.Top < o.Bottom && o.Top < b.Bottom
}

// Flaws names every text of the figure that leaves its frame or touches another:
// none, or the drawing is wrong. Tests of whole reports ask each figure.
func (f Figure) Flaws() (out []string) {
	for i, b := range f.Boxes {
		if b.Left < -0.5 || b.Top < -0.5 || b.Right > f.Width+0.5 || b.Bottom > f.Height+0.5 {
			out = append(out, fmt.Sprintf("%q at %.0f,%.0f to %.0f,%.0f leaves the frame of %g x %g", b.Text, b.Left, b.Top, b.Right, b.Bottom, f.Width, f.Height))
		}
		for _, o := range f.Boxes[:i] {
			if b.Overlaps(o) {
				out = append(out, fmt.Sprintf("%q at %.0f,%.0f touches %q at %.0f,%.0f", b.Text, b.Left, b.Top, o.Text, o.Left, o.Top))
			}
		}
	}
	return out
}

// canvas is a vg.Canvas that writes SVG whose colours are the theme's inks.
// gonum's own SVG canvas writes literal colours and one transform per text;
// this one names inks as classes, so a drawing follows the page's colour
// scheme, is a third of the size, and remembers every text's box.
type canvas struct {
	body  strings.Builder
	w, h  float64
	stack []state
	boxes []Box
	ops   []func(vg.Canvas) // the same drawing for any other canvas
}

// state is what Push saves: the pen and the transform to user space (x right,
// y up, origin lower left).
type state struct {
	color  color.Color
	width  float64
	dashes []vg.Length
	m      matrix
}

// matrix maps (x, y) to (a·x + c·y + e, b·x + d·y + f).
type matrix struct{ a, b, c, d, e, f float64 }

func newCanvas(width, height float64) *canvas {
	c := &canvas{w: width, h: height, stack: []state{{m: matrix{a: 1, d: 1}}}}
	vg.Initialize(c)
	return c
}

func (c *canvas) top() *state { return &c.stack[len(c.stack)-1] }

// Size returns the drawing's width and height.
func (c *canvas) Size() (w, h vg.Length) { return vg.Length(c.w), vg.Length(c.h) }

// SetLineWidth sets the width of stroked paths.
func (c *canvas) SetLineWidth(w vg.Length) {
	c.ops = append(c.ops, func(o vg.Canvas) { o.SetLineWidth(w) })

	c.top().width = w.Points()
}

// SetLineDash sets the dash pattern; the offset is always taken as zero.
func (c *canvas) SetLineDash(pattern []vg.Length, _ vg.Length) {
	c.ops = append(c.ops, func(o vg.Canvas) { o.SetLineDash(pattern, 0) })

	c.top().dashes = pattern
}

// SetColor sets the colour of what is drawn next.
func (c *canvas) SetColor(col color.Color) {
	if col == nil {
		col = Text
	}
	c.top().color = col
	c.ops = append(c.ops, func(o vg.Canvas) { o.SetColor(col) })
}

// Rotate turns the coordinate system by rad.
func (c *canvas) Rotate(rad float64) {
	c.ops = append(c.ops, func(o vg.Canvas) { o.Rotate(rad) })

	s, k := math.Sincos(rad)
	m := &c.top().m
	m.a, m.b, m.c, m.d = m.a*k+m.c*s, m.b*k+m.d*s, m.c*k-m.a*s, m.d*k-m.b*s
}

// Translate moves the origin to pt.
func (c *canvas) Translate(pt vg.Point) {
	c.ops = append(c.ops, func(o vg.Canvas) { o.Translate(pt) })

	m := &c.top().m
	m.e, m.f = m.at(pt.X.Points(), pt.Y.Points())
}

// Scale stretches the coordinate system.
func (c *canvas) Scale(x, y float64) {
	c.ops = append(c.ops, func(o vg.Canvas) { o.Scale(x, y) })

	m := &c.top().m
	m.a, m.b, m.c, m.d = m.a*x, m.b*x, m.c*y, m.d*y
}

// Push saves the pen and the transform.
func (c *canvas) Push() {
	c.ops = append(c.ops, func(o vg.Canvas) { o.Push() })

	c.stack = append(c.stack, *c.top())
}

// Pop restores what the last Push saved.
func (c *canvas) Pop() {
	c.ops = append(c.ops, func(o vg.Canvas) { o.Pop() })

	c.stack = c.stack[:len(c.stack)-1]
}

func (m matrix) at(x, y float64) (float64, float64) {
	return m.a*x + m.c*y + m.e, m.b*x + m.d*y + m.f
}

// point maps a point to SVG units.
func (c *canvas) point(p vg.Point) (x, y float64) {
	x, y = c.top().m.at(p.X.Points(), p.Y.Points())
	return x, c.h - y
}

// Stroke draws the outline of a path.
func (c *canvas) Stroke(path vg.Path) {
	c.ops = append(c.ops, func(o vg.Canvas) { o.Stroke(path) })

	s := c.top()
	if s.width <= 0 {
		return
	}
	fmt.Fprintf(&c.body, `<path class="%s" stroke-width="%s"`, class("s", s.color), num(s.width))
	if len(s.dashes) > 0 {
		parts := make([]string, len(s.dashes))
		for i, d := range s.dashes {
			parts[i] = num(d.Points())
		}
		fmt.Fprintf(&c.body, ` stroke-dasharray="%s"`, strings.Join(parts, " "))
	}
	fmt.Fprintf(&c.body, " d=\"%s\"/>\n", c.data(path))
}

// Fill fills a path.
func (c *canvas) Fill(path vg.Path) {
	c.ops = append(c.ops, func(o vg.Canvas) { o.Fill(path) })

	fmt.Fprintf(&c.body, "<path class=\"%s\" d=\"%s\"/>\n", class("f", c.top().color), c.data(path))
}

// FillString draws one line of text with its baseline at pt.
func (c *canvas) FillString(f font.Face, pt vg.Point, txt string) {
	c.ops = append(c.ops, func(o vg.Canvas) { o.FillString(f, pt, txt) })

	if strings.TrimSpace(txt) == "" || f.Font.Size == 0 {
		return
	}
	x, y := c.point(pt)
	width, ext := f.Width(txt).Points(), f.Extents()
	c.boxes = append(c.boxes, Box{Text: txt, Left: x, Right: x + width,
		Top: y - ext.Ascent.Points(), Bottom: y + ext.Descent.Points()})
	cls := class("f", c.top().color)
	if f.Font.Weight > 0 {
		cls += " b"
	}
	fmt.Fprintf(&c.body, `<text class="%s" font-size="%s" x="%s" y="%s" textLength="%s" lengthAdjust="spacingAndGlyphs">%s</text>`+"\n",
		cls, num(f.Font.Size.Points()), num(x), num(y), num(width), escape(txt))
}

// DrawImage does nothing: no drawing of this package holds an image.
func (c *canvas) DrawImage(vg.Rectangle, image.Image) {}

// begin marks what is drawn until end as series i, for readers who switch it
// off.
func (c *canvas) begin(i int) { fmt.Fprintf(&c.body, "<g data-s=\"%d\">", i) }

func (c *canvas) end() { c.body.WriteString("</g>\n") }

// marked runs draw between begin and end.
func marked(dc draw.Canvas, i int, draw func()) {
	if c := beneath(dc); c != nil && i >= 0 {
		c.begin(i)
		defer c.end()
	}
	draw()
}

// beneath is the canvas under any number of crops, each of which wraps the one
// before; nil for one of another kind.
func beneath(c vg.Canvas) *canvas {
	for {
		switch x := c.(type) {
		case *canvas:
			return x
		case draw.Canvas:
			c = x.Canvas
		default:
			return nil
		}
	}
}

// data returns the path in SVG's syntax. Points that fall on the one before
// them at a tenth of a pixel are left out.
func (c *canvas) data(path vg.Path) string {
	var b strings.Builder
	last := ""
	for _, comp := range path {
		x, y := c.point(comp.Pos)
		switch comp.Type {
		case vg.MoveComp:
			last = num(x) + " " + num(y)
			b.WriteString("M" + last)
		case vg.LineComp:
			if at := num(x) + " " + num(y); at != last {
				last = at
				b.WriteString("L" + at)
			}
		case vg.ArcComp:
			b.WriteString(arc(x, y, comp.Radius.Points()))
		case vg.CurveComp:
			b.WriteString("L" + num(x) + " " + num(y))
		case vg.CloseComp:
			b.WriteString("Z")
		}
	}
	return b.String()
}

// arc draws a whole circle around (x, y): the only arcs this package makes are
// the round marks on a curve.
func arc(x, y, r float64) string {
	rs := num(r)
	return "M" + num(x-r) + " " + num(y) +
		"A" + rs + " " + rs + " 0 1 1 " + num(x+r) + " " + num(y) +
		"A" + rs + " " + rs + " 0 1 1 " + num(x-r) + " " + num(y)
}

func class(kind string, c color.Color) string {
	if i, ok := c.(Ink); ok {
		return kind + "-" + i.Name
	}
	return kind + "-" + Text.Name
}

// num prints a coordinate with at most one decimal; a value that is not finite
// (which callers must have removed) becomes 0, never NaN.
func num(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// escape makes any text safe inside SVG and drops characters XML forbids.
func escape(s string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == '\ufffe' || r == '\uffff' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd")))
}
