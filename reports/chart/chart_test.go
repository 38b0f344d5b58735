package chart

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
)

// checkLabels fails where a text leaves the drawing or touches another.
func checkLabels(t *testing.T, what string, f Figure) {
	t.Helper()
	for _, x := range f.Flaws() {
		t.Errorf("%s: %s", what, x)
	}
	d := xml.NewDecoder(strings.NewReader(f.SVG))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%s: not well-formed: %v", what, err)
		}
	}
	if strings.Contains(f.SVG, "NaN") || strings.Contains(f.SVG, "Inf") {
		t.Errorf("%s: holds a number that is none", what)
	}
}

func TestFlawsAreFound(t *testing.T) {
	in := Box{Text: "in", Left: 10, Top: 10, Right: 50, Bottom: 20}
	for want, boxes := range map[string][]Box{
		"":                                {in, {Text: "beside", Left: 50, Top: 10, Right: 90, Bottom: 20}},
		`"out" at 80,10 to 120,20 leaves`: {in, {Text: "out", Left: 80, Top: 10, Right: 120, Bottom: 20}},
		`"on" at 40,15 touches "in"`:      {in, {Text: "on", Left: 40, Top: 15, Right: 60, Bottom: 25}},
	} {
		got := strings.Join(Figure{Width: 100, Height: 100, Boxes: boxes}.Flaws(), "; ")
		if want == "" && got != "" || !strings.HasPrefix(got, want) {
			t.Errorf("flaws %q, want %q", got, want)
		}
	}
}

func wave(n int, f func(x float64) float64) []Point {
	out := make([]Point, n)
	for i := range out {
		out[i] = Point{float64(i), f(float64(i))}
	}
	return out
}

func TestLabelsLieInsideTheFrameAndApart(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	var crowd []Band
	for i := range 40 {
		crowd = append(crowd, Band{From: float64(i), To: float64(i), Wash: RedWash, Edge: &Red, Label: fmt.Sprintf("kill node%d", i)})
	}
	long := strings.Repeat("a very long name ", 10)
	cases := map[string]Panel{
		"empty":       {To: 10, Unit: "operations per second"},
		"one point":   {To: 1, Series: []Series{{Name: "x", Ink: Blue, Points: []Point{{0.5, 3}}}}},
		"zeroes":      {To: 9, Series: []Series{{Name: "x", Ink: Blue, Points: wave(9, func(float64) float64 { return 0 })}}},
		"no range":    {From: 5, To: 5, Unit: long, Alt: long},
		"close ends":  {To: 60, Log: true, Unit: "ms", Series: []Series{{Name: "p50", Ink: Blue, Points: wave(60, func(float64) float64 { return 700 })}, {Name: "p99", Ink: Green, Points: wave(60, func(float64) float64 { return 701 })}, {Name: "max", Ink: Grey, Points: wave(60, func(float64) float64 { return 702 })}}},
		"infinite":    {To: 60, Log: true, Failed: []float64{1, 2, 59}, Series: []Series{{Name: "p99", Ink: Blue, Points: wave(60, func(x float64) float64 { return []float64{5, nan, inf}[int(x)%3] })}}},
		"only inf":    {To: 60, Log: true, Series: []Series{{Name: "p99", Ink: Blue, Points: wave(60, func(float64) float64 { return inf })}}},
		"crowd":       {To: 40, NameBands: true, Bands: crowd, Unit: "x"},
		"long band":   {To: 40, NameBands: true, Bands: []Band{{From: 39, To: 80, Label: long, Wash: AmberWash}}, Series: []Series{{Name: long, Ink: Blue, Points: wave(40, math.Sin)}}},
		"big numbers": {To: 36000, Series: []Series{{Name: "n", Ink: Blue, Points: wave(36000, func(x float64) float64 { return x * 1e9 })}}},
		"six decades": {To: 100, Log: true, Series: []Series{{Name: "n", Ink: Blue, Points: wave(100, func(x float64) float64 { return math.Pow(10, x/12) })}}},
	}
	for name, p := range cases {
		for _, width := range []float64{Wide, Narrow} {
			checkLabels(t, fmt.Sprintf("%s at %g", name, width), p.Draw(width))
		}
	}
	if f := cases["crowd"].Draw(Narrow); f.Dropped == 0 {
		t.Error("40 labels on a narrow figure: none reported as dropped")
	}
}

func TestNinesLabelsLieInsideTheFrameAndApart(t *testing.T) {
	curve := func(n int, end float64) (out []Point) {
		for i := range n {
			x := end * float64(i) / float64(n)
			y := 100 * math.Pow(10, x/3)
			if x > end*0.9 {
				y = math.Inf(1)
			}
			out = append(out, Point{1 - math.Pow(10, -x), y})
		}
		return out
	}
	for name, n := range map[string]Nines{
		"none":    {},
		"three":   {Unit: "latency", Note: "infinite beyond 99.6 %", Curves: []Curve{{Name: "response", Ink: Blue, Points: curve(300, 6), Supported: 0.999}, {Name: "service", Ink: Green, Points: curve(300, 6), Supported: 0.999}, {Name: "lateness", Ink: Grey, Points: curve(100, 5)}}},
		"shallow": {Curves: []Curve{{Name: "response", Ink: Blue, Points: curve(3, 0.3)}}},
		"deep":    {Curves: []Curve{{Name: "response", Ink: Blue, Points: curve(600, 12), Supported: 1}}},
	} {
		for _, width := range []float64{Wide, Narrow} {
			checkLabels(t, fmt.Sprintf("%s at %g", name, width), n.Draw(width))
		}
	}
}

func TestStackedTimeAxesAlign(t *testing.T) {
	small := Panel{To: 10, Series: []Series{{Name: "a", Ink: Blue, Points: wave(10, math.Abs)}}}
	large := Panel{To: 10, Series: []Series{{Name: "a longer name", Ink: Blue, Points: wave(10, func(x float64) float64 { return x * 1e7 })}}}
	tick := func(f Figure) float64 {
		for _, b := range f.Boxes {
			if b.Text == "4 s" {
				return b.Left
			}
		}
		t.Fatal("no tick at 4 s")
		return 0
	}
	figures := Stack(Wide, small, large)
	if a, b := tick(figures[0]), tick(figures[1]); a != b {
		t.Errorf("tick of 4 s stands at %g and %g, want one place", a, b)
	}
}

func TestTextAndNamesAreEscaped(t *testing.T) {
	evil := "two\nlines" + `</text><script>alert(1)</script>"&` + "\x00"
	f := Panel{To: 9, Unit: evil, Alt: evil, NameBands: true, Bands: []Band{{From: 1, To: 1, Label: evil}},
		Series: []Series{{Name: evil, Ink: Blue, Points: wave(9, math.Sin)}}}.Draw(Wide)
	if strings.Contains(f.SVG, "<script") || strings.Contains(f.SVG, "\x00") {
		t.Errorf("unescaped text in %s", f.SVG)
	}
	checkLabels(t, "evil", f)
}

func TestTicksReadLikeWords(t *testing.T) {
	f := func(got []string, want string) {
		t.Helper()
		if s := strings.Join(got, "|"); s != want {
			t.Errorf("ticks = %s, want %s", s, want)
		}
	}
	labels := func(n int, at func(i int) string) (out []string) {
		for i := range n {
			out = append(out, at(i))
		}
		return out
	}
	a := AmountTicks(12_500)
	f(labels(len(a), func(i int) string { return a[i].Label }), "0|5k|10k")
	c := ClockTicks(0, 300, 6)
	f(labels(len(c), func(i int) string { return c[i].Label }), "0|1 min|2 min|3 min|4 min|5 min")
	s := ClockTicks(0, 40, 9)
	f(labels(len(s), func(i int) string { return s[i].Label }), "0|5 s|10 s|15 s|20 s|25 s|30 s|35 s|40 s")
	d := DurationTicks(math.Log10(80), math.Log10(3e6))
	f(labels(len(d), func(i int) string { return d[i].Label }), "100 µs|1 ms|10 ms|100 ms|1 s")
	n := NinesTicks(4)
	f(labels(len(n), func(i int) string { return n[i].Label }), "50 %|90 %|99 %|99.9 %|99.99 %")
}

func TestThinKeepsExtremesAndGaps(t *testing.T) {
	p := wave(10_000, func(float64) float64 { return 1 })
	p[4321].Y, p[777].Y, p[9000].Y = 50, -3, math.NaN()
	out := Thin(p, 400)
	if len(out) > 500 {
		t.Errorf("%d points left, want about 400", len(out))
	}
	var high, low, gap bool
	for _, q := range out {
		high, low, gap = high || q.Y == 50, low || q.Y == -3, gap || math.IsNaN(q.Y)
	}
	if !high || !low || !gap {
		t.Errorf("kept high %v, low %v, gap %v; want all", high, low, gap)
	}
}

func TestHeatMapsAndRowsKeepTheirLabelsApart(t *testing.T) {
	h := HeatMap{Unit: "response time", To: 40, Step: 1, Low: 2, Row: 1.0 / 6, Bands: []Band{{From: 3, Edge: &Red}, {From: -9, Edge: &Red}}}
	for i := range 40 {
		h.Columns = append(h.Columns, HeatColumn{At: float64(i), Counts: []int64{0, int64(i), 1000, 1, 0, 3}})
	}
	one := HeatMap{To: 1, Step: 1, Low: 2.4, Row: 1.0 / 6, Columns: []HeatColumn{{Counts: []int64{1}}}}
	zero := 0.0
	long := strings.Repeat("a long name ", 9)
	for name, r := range map[string]Rows{
		"none":       {},
		"log":        {Log: true, Unit: "x", Rows: []Row{{Label: "get", Text: "1.2 ms", Bars: []Bar{{From: 100, To: 9000, Ink: Blue}}, Dots: []Dot{{At: 900, Ink: Blue}}}, {Label: long, Text: long}}},
		"both sides": {X: Percent, Zero: &zero, Rows: []Row{{Label: "p50", Spans: []Span{{From: -3, To: 40, Ink: Red}}, Dots: []Dot{{At: 7, Ink: Red}}}}},
		"not finite": {Rows: []Row{{Label: "x", Bars: []Bar{{To: math.Inf(1), Ink: Blue}, {To: math.NaN(), Ink: Blue}}}}},
	} {
		for _, w := range []float64{Wide, Narrow} {
			checkLabels(t, name, r.Draw(w))
		}
	}
	for _, w := range []float64{Wide, Narrow} {
		checkLabels(t, "heat", h.Draw(w))
		checkLabels(t, "one cell", one.Draw(w))
	}
}

func TestRangesBarsAndDotsStayInTheFrame(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	p := Panel{To: 9, X: Amounts, XUnit: "operations per second", Log: true, Series: []Series{{Name: "p99", Ink: Blue, Wash: BlueWash, Dots: true, Width: -1, Points: wave(9, func(x float64) float64 { return x * 100 }),
		Range: []Extent{{0, 1, 2}, {1, nan, nan}, {2, 5, inf}, {3, 5, 6}}, Bars: []Extent{{1, 1, inf}, {2, nan, 3}, {3, 4, 5}}}}}
	for _, w := range []float64{Wide, Narrow} {
		checkLabels(t, "extents", p.Draw(w))
	}
	for _, m := range []Measure{Sizes, Shares, Wholes, Percent, Clock} {
		checkLabels(t, fmt.Sprint("measure ", m), Panel{To: 12, X: m, Y: m, Series: []Series{{Name: "a", Ink: Blue, Points: wave(12, func(x float64) float64 { return x - 4 })}}}.Draw(Wide))
	}
}

func TestALonePointIsSeen(t *testing.T) {
	nan := math.NaN()
	for name, points := range map[string][]Point{"single": {{0.5, 3}}, "between gaps": {{0, nan}, {1, 3}, {2, nan}}} {
		f := Panel{To: 2, Series: []Series{{Name: "x", Ink: Blue, Points: points}}}.Draw(Wide)
		if !regexp.MustCompile(`<g data-s="0"><path class="f-blue" d="[M0-9. ]+A`).MatchString(f.SVG) {
			t.Errorf("%s: no mark of the point in\n%s", name, f.SVG)
		}
	}
}

func TestASeriesIsOneGroupWithItsLabel(t *testing.T) {
	s := Series{Name: "p99", Ink: Blue, Wash: BlueWash, Dots: true, Points: wave(9, math.Abs), Range: []Extent{{0, 1, 2}, {1, 1, 3}}}
	f := Panel{To: 9, Series: []Series{{Name: "max", Ink: Grey, Points: wave(9, math.Sqrt)}, s}}.Draw(Wide)
	for _, want := range []string{`<g data-s="0"><path class="s-grey"`, `<g data-s="1"><path class="f-blue-wash"`, `<g data-s="1"><path class="s-blue"`, `<g data-s="1"><path class="f-paper"`, `<g data-s="1"><text class="f-blue b"`} {
		if !strings.Contains(f.SVG, want) {
			t.Errorf("no %s: a reader cannot switch it off", want)
		}
	}
}

func TestPicturesAreWrittenInEveryFormat(t *testing.T) {
	f := Panel{To: 9, Unit: "x", Series: []Series{{Name: "a", Ink: Blue, Points: wave(9, math.Abs)}}}.Draw(Wide)
	for _, dark := range []bool{false, true} {
		p := Picture{Figure: f, Caption: strings.Repeat("A sentence of some length. ", 12), Dark: dark}
		for name, c := range map[string]struct {
			write func(io.Writer) error
			magic string
		}{"png": {p.PNG, "\x89PNG"}, "pdf": {p.PDF, "%PDF"}, "svg": {p.SVG, "<svg xmlns"}} {
			var b strings.Builder
			if err := c.write(&b); err != nil || !strings.HasPrefix(b.String(), c.magic) || b.Len() < 1000 {
				t.Errorf("%s, dark %v: %d bytes that begin %.8q, %v", name, dark, b.Len(), b.String(), err)
			}
		}
		if n := len(p.lines()); n < 2 {
			t.Errorf("the caption has %d lines, want several", n)
		}
	}
}
