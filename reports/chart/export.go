package chart

import (
	"fmt"
	"image/color"
	"io"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgpdf"
)

// exportDPI gives a wide figure 2,347 pixels: sharp on a slide.
const exportDPI = 192

// Space around an exported picture and between its caption's lines.
const (
	exportMargin = 16.0
	captionLead  = 17.0
)

// Picture is a figure to be pasted elsewhere: its caption stands above it.
type Picture struct {
	Figure  Figure
	Caption string
	Dark    bool
}

// lines wraps the caption at the figure's width.
func (p Picture) lines() []string {
	var out []string
	cur := ""
	for _, word := range strings.Fields(p.Caption) {
		next := strings.TrimSpace(cur + " " + word)
		if textWidth(next, sizeLabel) > p.Figure.Width && cur != "" {
			out, next = append(out, cur), word
		}
		cur = next
	}
	if cur != "" {
		out = append(out, fit(cur, p.Figure.Width, sizeLabel))
	}
	return out
}

func (p Picture) size() (w, h, top float64) {
	top = exportMargin
	if n := len(p.lines()); n > 0 {
		top += float64(n)*captionLead + 6
	}
	return p.Figure.Width + 2*exportMargin, p.Figure.Height + top + exportMargin, top
}

// SVG writes the picture as a file of its own, with its style inside.
func (p Picture) SVG(w io.Writer) error {
	width, height, top := p.size()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%s" height="%s">`+"\n<style>%s</style>\n", num(width), num(height), num(width), num(height), p.css())
	fmt.Fprintf(&b, `<rect class="f-paper" width="100%%" height="100%%"/>`+"\n<g class=\"chart\">\n")
	for i, l := range p.lines() {
		fmt.Fprintf(&b, `<text class="f-text" font-size="%s" x="%s" y="%s">%s</text>`+"\n", num(sizeLabel), num(exportMargin), num(exportMargin+float64(i)*captionLead+sizeLabel), escape(l))
	}
	b.WriteString("</g>\n")
	inner := strings.Replace(p.Figure.SVG, "<svg ", fmt.Sprintf(`<svg x="%s" y="%s" width="%s" height="%s" `, num(exportMargin), num(top), num(p.Figure.Width), num(p.Figure.Height)), 1)
	b.WriteString(inner + "</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// css resolves the inks for one scheme: a picture does not follow its reader.
func (p Picture) css() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".chart{font-family:%s}.chart path{fill:none;stroke-linejoin:round;stroke-linecap:round}.chart .b{font-weight:700}.f-paper{fill:%s}", fontStack, hex(p.pick(Paper)))
	for _, i := range Inks() {
		fmt.Fprintf(&b, ".chart .s-%s{stroke:%s}.chart .f-%s{fill:%s}", i.Name, hex(p.pick(i)), i.Name, hex(p.pick(i)))
	}
	return b.String()
}

func (p Picture) pick(i Ink) color.NRGBA {
	if p.Dark {
		return i.Dark
	}
	return i.Light
}

// PNG writes the picture at 192 dots an inch.
func (p Picture) PNG(w io.Writer) error {
	width, height, _ := p.size()
	c := vgimg.NewWith(vgimg.UseWH(vg.Length(width), vg.Length(height)), vgimg.UseDPI(exportDPI), vgimg.UseBackgroundColor(p.pick(Paper)))
	p.onto(c)
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(w)
	return err
}

// PDF writes the picture as vectors, texts as outlines.
func (p Picture) PDF(w io.Writer) error {
	width, height, _ := p.size()
	c := vgpdf.New(vg.Length(width), vg.Length(height))
	if p.Dark {
		c.SetColor(p.pick(Paper))
		c.Fill(vg.Rectangle{Max: vg.Point{X: vg.Length(width), Y: vg.Length(height)}}.Path())
	}
	p.onto(pdfCanvas{c})
	_, err := c.WriteTo(w)
	return err
}

// onto draws the picture on any canvas of gonum.
func (p Picture) onto(c vg.Canvas) {
	_, height, top := p.size()
	to := vg.Canvas(inked{c, p})
	if pdf, ok := c.(pdfCanvas); ok {
		to = outlined{inked{pdf.Canvas, p}}
	}
	dc := draw.NewCanvas(sized{to, p}, 0, 0)
	for i, l := range p.lines() {
		dc.FillText(anchored(style(Text, sizeLabel, false), text.XLeft, text.YTop),
			vg.Point{X: exportMargin, Y: vg.Length(height - exportMargin - float64(i)*captionLead)}, l)
	}
	to.Push()
	to.Translate(vg.Point{X: exportMargin, Y: vg.Length(height - top - p.Figure.Height)})
	for _, op := range p.Figure.ops {
		op(to)
	}
	to.Pop()
}

// inked turns inks into the colours of one scheme.
type inked struct {
	vg.Canvas
	p Picture
}

// SetColor implements vg.Canvas.
func (i inked) SetColor(c color.Color) {
	if ink, ok := c.(Ink); ok {
		c = i.p.pick(ink)
	}
	i.Canvas.SetColor(c)
}

// pdfCanvas marks a canvas that must be given outlines instead of text.
type pdfCanvas struct{ vg.Canvas }

// sized gives draw.NewCanvas the size it asks for.
type sized struct {
	vg.Canvas
	p Picture
}

// Size implements vg.CanvasSizer.
func (s sized) Size() (w, h vg.Length) {
	width, height, _ := s.p.size()
	return vg.Length(width), vg.Length(height)
}
