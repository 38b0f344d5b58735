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

// Draw draws the matrix. On a narrow figure columns are lettered, and the key
// stands below.
func (m Matrix) Draw(width float64) Figure {
	left := 0.0
	for _, r := range m.Rows {
		left = max(left, textWidth(r, sizeTick)+10)
	}
	left = min(left, width*0.34)
	cell := (width - left) / float64(max(len(m.Columns), 1))
	lettered := false
	for _, c := range m.Columns {
		a, b := halves(c)
		lettered = lettered || max(textWidth(a, sizeTick), textWidth(b, sizeTick)) > cell-6
	}
	height := 20 + matrixHead + matrixRow*float64(len(m.Rows)) + 4
	if lettered {
		height += keyRow * float64(len(m.Columns))
	}
	c := newCanvas(width, height)
	dc := draw.NewCanvas(c, vg.Length(width), vg.Length(height))
	put := func(s string, x, y float64, sty text.Style) {
		dc.FillText(sty, vg.Point{X: vg.Length(x), Y: vg.Length(height - y)}, s)
	}
	muted, plain := style(Muted, sizeTick, false), style(Text, sizeTick, false)
	put(fit(m.Unit, width, sizeTick), 0, 0, anchored(muted, text.XLeft, text.YTop))
	for j, name := range m.Columns {
		mid := left + (float64(j)+0.5)*cell
		if lettered {
			put(letter(j), mid, 20+matrixHead-16, anchored(style(Text, sizeTick, true), text.XCenter, text.YTop))
			y := height - keyRow*float64(len(m.Columns)-j) + 2
			put(letter(j), 0, y, anchored(style(Text, sizeTick, true), text.XLeft, text.YTop))
			put(fit(name, width-24, sizeTick), 22, y, anchored(muted, text.XLeft, text.YTop))
			continue
		}
		a, b := halves(name)
		put(a, mid, 20, anchored(muted, text.XCenter, text.YTop))
		put(b, mid, 34, anchored(muted, text.XCenter, text.YTop))
	}
	for i, name := range m.Rows {
		top := 20 + matrixHead + float64(i)*matrixRow
		put(fit(name, left-8, sizeTick), 0, top+matrixRow/2, anchored(plain, text.XLeft, text.YCenter))
		for j := range m.Columns {
			m.cell(dc, put, i, j, cellPlace{left + float64(j)*cell, top, cell, height})
		}
	}
	return finish(c, m.Alt, 0, Frame{})
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
