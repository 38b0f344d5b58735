package chart

import (
	"fmt"
	"math"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Matrix is a table of shares of a limit, shaded: 1 is the limit.
type Matrix struct {
	Unit, Alt     string
	Rows, Columns []string
	// Cells are by row, then column; NaN is none.
	Cells [][]float64
}

const (
	matrixRow  = 26.0
	matrixHead = 34.0 // two lines of a column's name
	matrixGap  = 10.0 // between blocks of columns
	matrixCell = 26.0 // least width: three digits
	keyRow     = 16.0
)

// shade returns the ground of a cell and the ink of its text: seven steps to
// the limit, red beyond.
func shade(v float64) (ground, ink Ink) {
	switch {
	case v > 1:
		return Red, Paper
	case v < 0.15:
		return Heats[0], Text
	case v < 0.35:
		return Heats[1], Text
	case v < 0.6:
		return Heats[2], Text
	case v < 0.85:
		return Heats[5], Paper
	default:
		return Heats[6], Paper
	}
}

// Draw draws the matrix. Columns that are too narrow for their names are
// lettered, and the key stands below; more than fit beside each other go into
// further blocks.
func (m Matrix) Draw(width float64) Figure {
	left := 0.0
	for _, r := range m.Rows {
		left = max(left, textWidth(r, sizeTick)+10)
	}
	left = min(left, width*0.34)
	columns := max(len(m.Columns), 1)
	per := min(columns, int((width-left)/matrixCell))
	blocks := (columns + per - 1) / per
	per = (columns + blocks - 1) / blocks // alike
	p := matrixPlace{left: left, cell: (width - left) / float64(per), per: per}
	for _, c := range m.Columns {
		a, b := halves(c)
		p.lettered = p.lettered || max(textWidth(a, sizeTick), textWidth(b, sizeTick)) > p.cell-6
	}
	p.block = matrixHead + matrixRow*float64(len(m.Rows)) + matrixGap
	p.height = 20 + p.block*float64(blocks) - matrixGap + 4
	if p.lettered {
		p.height += keyRow * float64(len(m.Columns))
	}
	c := newCanvas(width, p.height)
	dc := draw.NewCanvas(c, vg.Length(width), vg.Length(p.height))
	put := func(s string, x, y float64, sty text.Style) {
		dc.FillText(sty, vg.Point{X: vg.Length(x), Y: vg.Length(p.height - y)}, s)
	}
	put(fit(m.Unit, width, sizeTick), 0, 0, anchored(style(Muted, sizeTick, false), text.XLeft, text.YTop))
	for j, name := range m.Columns {
		p.head(put, j, name)
		if p.lettered {
			p.key(put, j, len(m.Columns)-j, fit(name, width-24, sizeTick))
		}
	}
	for k := range blocks {
		for i, name := range m.Rows {
			put(fit(name, left-8, sizeTick), 0, p.top(k*per, i)+matrixRow/2, anchored(style(Text, sizeTick, false), text.XLeft, text.YCenter))
		}
	}
	for i := range m.Rows {
		for j := range m.Columns {
			m.cell(dc, put, i, j, cellPlace{p.x(j), p.top(j, i), p.cell, p.height})
		}
	}
	return finish(c, m.Alt, 0, Frame{})
}

// matrixPlace says where the blocks of a matrix stand.
type matrixPlace struct {
	left, cell, block, height float64
	per                       int // columns of a block
	lettered                  bool
}

// x is the left edge of column j, top the upper edge of its row i.
func (p matrixPlace) x(j int) float64 { return p.left + float64(j%p.per)*p.cell }

func (p matrixPlace) top(j, i int) float64 {
	return 20 + float64(j/p.per)*p.block + matrixHead + float64(i)*matrixRow
}

// head writes the name or the letter of column j above it.
func (p matrixPlace) head(put func(string, float64, float64, text.Style), j int, name string) {
	mid, top := p.x(j)+p.cell/2, p.top(j, 0)-matrixHead
	if p.lettered {
		put(letter(j), mid, top+matrixHead-16, anchored(style(Text, sizeTick, true), text.XCenter, text.YTop))
		return
	}
	sty := anchored(style(Muted, sizeTick, false), text.XCenter, text.YTop)
	a, b := halves(name)
	put(a, mid, top, sty)
	put(b, mid, top+14, sty)
}

// key writes what letter j stands for; lines counts from the bottom.
func (p matrixPlace) key(put func(string, float64, float64, text.Style), j, lines int, name string) {
	y := p.height - keyRow*float64(lines) + 2
	put(letter(j), 0, y, anchored(style(Text, sizeTick, true), text.XLeft, text.YTop))
	put(name, 22, y, anchored(style(Muted, sizeTick, false), text.XLeft, text.YTop))
}

type cellPlace struct{ left, top, width, height float64 }

func (m Matrix) cell(dc draw.Canvas, put func(string, float64, float64, text.Style), i, j int, p cellPlace) {
	if i >= len(m.Cells) || j >= len(m.Cells[i]) || math.IsNaN(m.Cells[i][j]) {
		return
	}
	v := m.Cells[i][j]
	ground, ink := shade(v)
	dc.FillPolygon(ground, rect(p.left+1, p.height-p.top-matrixRow+1, p.left+p.width-1, p.height-p.top-1))
	put(percentOf(v, p.width-4), p.left+p.width/2, p.top+matrixRow/2, anchored(style(ink, sizeTick, v > 1), text.XCenter, text.YCenter))
}

// percentOf prints a share as per cent, with its sign where there is room.
func percentOf(v, room float64) string {
	s := fmt.Sprintf("%.0f", v*100)
	switch {
	case math.IsInf(v, 1):
		s = "∞"
	case v > 0 && v < 0.005:
		s = "<1"
	case v > 99:
		s = ">9900"
	}
	if textWidth(s+" %", sizeTick) <= room && s != "∞" {
		return s + " %"
	}
	return fit(s, room, sizeTick)
}

// halves breaks a name into two lines at the space nearest to its middle.
func halves(s string) (a, b string) {
	s = oneLine(s)
	best := -1
	for i, r := range s {
		if r == ' ' && (best < 0 || abs(i-len(s)/2) < abs(best-len(s)/2)) {
			best = i
		}
	}
	if best < 0 {
		return "", s
	}
	return s[:best], s[best+1:]
}

func abs(v int) int { return max(v, -v) }

// letter names column j: A to Z, then AA.
func letter(j int) string {
	if j < 26 {
		return string(rune('A' + j))
	}
	return letter(j/26-1) + letter(j%26)
}
