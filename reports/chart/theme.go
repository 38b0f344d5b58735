package chart

import (
	"fmt"
	"image/color"
	"strings"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg/draw"
)

// Ink is one named colour of the theme with its value on a light and on a
// dark page. A drawing names the ink; the style sheet gives the value, so the
// same SVG follows the reader's colour scheme and prints light.
type Ink struct {
	Name        string
	Light, Dark color.NRGBA
}

// RGBA makes an Ink a color.Color: its value on a light page.
func (i Ink) RGBA() (r, g, b, a uint32) { return i.Light.RGBA() }

func rgb(v uint32) color.NRGBA {
	return color.NRGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: 0xff}
}

// The inks. Blue, orange and green descend from the Okabe-Ito palette, which
// colour-blind readers tell apart, darkened (lightened on dark) until text in
// them has a contrast of 4.5:1; they also differ in lightness for grey print.
var (
	Text  = Ink{"text", rgb(0x17202b), rgb(0xe6eaf0)}
	Muted = Ink{"muted", rgb(0x586574), rgb(0x9aa7b6)}
	Grid  = Ink{"grid", rgb(0xe4e8ee), rgb(0x2a333e)}
	Paper = Ink{"paper", rgb(0xffffff), rgb(0x12171d)}

	Blue  = Ink{"blue", rgb(0x0061a8), rgb(0x62b5f5)}
	Sky   = Ink{"sky", rgb(0x3a7fb5), rgb(0x3f8fca)}
	Green = Ink{"green", rgb(0x00755a), rgb(0x35c49a)}
	Grey  = Ink{"grey", rgb(0x6b7785), rgb(0x8c99a8)}
	Red   = Ink{"red", rgb(0xb3400a), rgb(0xff9058)}
	Amber = Ink{"amber", rgb(0x8a6100), rgb(0xe0b040)}

	Plum  = Ink{"plum", rgb(0x8a3d78), rgb(0xe08cc8)}
	Slate = Ink{"slate", rgb(0x33475e), rgb(0xb9c8da)}

	BlueWash  = Ink{"blue-wash", rgb(0xcfe2f2), rgb(0x1d3a52)}
	GreenWash = Ink{"green-wash", rgb(0xcbe8df), rgb(0x123f34)}
	RedWash   = Ink{"red-wash", rgb(0xf6bfa4), rgb(0x77351a)}
	DownWash  = Ink{"down-wash", rgb(0xf3f5f8), rgb(0x1a2129)}
	AmberWash = Ink{"amber-wash", rgb(0xf6e8bf), rgb(0x40340f)}
)

// Heats are the inks of a heat map from few to many: one hue, equal steps of
// lightness, so that order survives grey print and colour blindness.
var Heats = []Ink{
	{"heat1", rgb(0xdbe9f4), rgb(0x1b2c3d)}, {"heat2", rgb(0xb9d5ea), rgb(0x1f4160)}, {"heat3", rgb(0x8fbadb), rgb(0x245886)},
	{"heat4", rgb(0x5f9bc8), rgb(0x3272ab)}, {"heat5", rgb(0x3479b0), rgb(0x4d91cb)}, {"heat6", rgb(0x135791), rgb(0x7fb6e4)},
	{"heat7", rgb(0x07335c), rgb(0xc4e1f8)},
}

// Lines are the inks for up to six curves of equal rank.
var Lines = []Ink{Blue, Amber, Green, Plum, Slate, Red}

// Inks returns every ink of the theme, in the order of the style sheet.
func Inks() []Ink {
	return append([]Ink{Text, Muted, Grid, Paper, Blue, Sky, Green, Grey, Red, Amber, Plum, Slate,
		BlueWash, GreenWash, RedWash, DownWash, AmberWash}, Heats...)
}

// CSS returns the style sheet that drawings of this package need: the inks as
// custom properties (light, dark, print) and the classes that use them.
func CSS() string {
	var light, dark, classes strings.Builder
	for _, i := range Inks() {
		fmt.Fprintf(&light, "--%s:%s;", i.Name, hex(i.Light))
		fmt.Fprintf(&dark, "--%s:%s;", i.Name, hex(i.Dark))
		fmt.Fprintf(&classes, ".chart .s-%s{stroke:var(--%s)}.chart .f-%s{fill:var(--%s)}\n", i.Name, i.Name, i.Name, i.Name)
	}
	return ":root{color-scheme:light dark;" + light.String() + "}\n" +
		"@media (prefers-color-scheme:dark){:root{" + dark.String() + "}}\n" +
		"@media print{:root{color-scheme:light;" + light.String() + "}}\n" +
		"svg.chart{display:block;width:100%;height:auto;font-family:" + fontStack + "}\n" +
		".chart path{fill:none;stroke-linejoin:round;stroke-linecap:round}\n" +
		".chart .b{font-weight:700}\n" + classes.String()
}

func hex(c color.NRGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

// fontStack lists fonts with the metrics of Liberation Sans, which gonum
// measures with; every text also carries its measured length.
const fontStack = `"Liberation Sans",Arial,Helvetica,sans-serif`

// Font sizes in SVG units, which are CSS pixels at the drawing's own width.
const (
	sizeTick  = 11.5
	sizeLabel = 12
)

func style(ink Ink, size float64, bold bool) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: font.Length(size)}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return text.Style{Color: ink, Font: f, Handler: plot.DefaultTextHandler}
}

func line(ink Ink, width float64, dashes ...float64) draw.LineStyle {
	l := draw.LineStyle{Color: ink, Width: font.Length(width)}
	for _, d := range dashes {
		l.Dashes = append(l.Dashes, font.Length(d))
	}
	return l
}
