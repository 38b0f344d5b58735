package chart

import (
	"golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	pfont "gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
)

// outlined writes texts as the outlines of their glyphs. gonum's PDF canvas
// cannot write bold faces, nor characters beyond one code page (µ, ∞, −);
// outlines print alike everywhere, at the price that text cannot be searched.
type outlined struct{ inked }

// FillString implements vg.Canvas.
func (o outlined) FillString(f pfont.Face, at vg.Point, txt string) {
	var buf sfnt.Buffer
	ppem := fixed.Int26_6(f.Face.UnitsPerEm())
	scale := f.Font.Size.Points() / float64(ppem)
	x := at.X.Points()
	var last sfnt.GlyphIndex
	for _, r := range txt {
		g, err := f.Face.GlyphIndex(&buf, r)
		if err != nil {
			continue // a damaged font: a character less
		}
		if k, err := f.Face.Kern(&buf, last, g, ppem, font.HintingNone); err == nil && last != 0 {
			x += float64(k) * scale
		}
		last = g
		segments, err := f.Face.LoadGlyph(&buf, g, ppem, nil)
		if err != nil {
			continue
		}
		o.Fill(glyph(segments, x, at.Y.Points(), scale))
		if a, err := f.Face.GlyphAdvance(&buf, g, ppem, font.HintingNone); err == nil {
			x += float64(a) * scale
		}
	}
}

// glyph turns a glyph's segments (y down) into a path at x, y (y up).
func glyph(list sfnt.Segments, x, y, scale float64) vg.Path {
	var p vg.Path
	pt := func(q fixed.Point26_6) vg.Point {
		return vg.Point{X: vg.Length(x + float64(q.X)*scale), Y: vg.Length(y - float64(q.Y)*scale)}
	}
	for _, s := range list {
		switch s.Op {
		case sfnt.SegmentOpMoveTo:
			if len(p) > 0 {
				p.Close()
			}
			p.Move(pt(s.Args[0]))
		case sfnt.SegmentOpLineTo:
			p.Line(pt(s.Args[0]))
		case sfnt.SegmentOpQuadTo:
			p.QuadTo(pt(s.Args[0]), pt(s.Args[1]))
		case sfnt.SegmentOpCubeTo:
			p.CubeTo(pt(s.Args[0]), pt(s.Args[1]), pt(s.Args[2]))
		}
	}
	if len(p) > 0 {
		p.Close()
	}
	return p
}
