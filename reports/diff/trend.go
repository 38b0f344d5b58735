package diff

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/page"
	"headroom/reports/stats"

	"golang.org/x/perf/benchmath"
)

// metric is one figure followed over runs.
type metric struct {
	name  string
	unit  string // of its axis
	log   bool   // microseconds
	of    func(p result.Percentiles, r *result.Run) float64
	print func(float64) string
}

var metrics = []metric{
	{"p50", "p50 of response times", true, func(p result.Percentiles, _ *result.Run) float64 { return optional(p, "p50", p.P50) }, stats.Micros},
	{"p99", "p99 of response times", true, func(p result.Percentiles, _ *result.Run) float64 { return optional(p, "p99", p.P99) }, stats.Micros},
	{"throughput", "completed operations per second", false, func(_ result.Percentiles, r *result.Run) float64 { return r.Summary.AchievedOpsPerSec }, func(v float64) string { return stats.Rate(v) + " ops/s" }},
}

// optional is NaN for a percentile without enough samples, and infinite for one
// that failed operations reach.
func optional(p result.Percentiles, name string, v *float64) float64 {
	switch {
	case v != nil:
		return *v
	case slices.Contains(p.Infinite, name):
		return math.Inf(1)
	}
	return math.NaN()
}

// trendRun is a run reduced to its metrics.
type trendRun struct {
	dir    string
	run    *result.Run
	values []float64
}

// Trend follows the metrics of runs in the order of their start and returns
// the report with their change points. Runs of another workload than the
// newest are left out and named.
func Trend(dirs []string) (*page.Document, error) {
	var list []trendRun
	var v page.Verdicts
	for _, dir := range dirs {
		run, _, err := stats.Load(dir)
		if err != nil {
			v = append(v, page.Verdict{Level: "warn", Rule: "DATA", Text: fmt.Sprintf("%s is left out: %v", dir, err)})
			continue
		}
		list = append(list, trendRun{dir: dir, run: run})
	}
	sort.SliceStable(list, func(i, j int) bool {
		return list[i].run.Summary.Started.Before(list[j].run.Summary.Started)
	})
	if len(list) == 0 {
		return nil, fmt.Errorf("none of %d folders is a run", len(dirs))
	}
	newest := list[len(list)-1].run.Summary
	var kept []trendRun
	for _, x := range list {
		if s := x.run.Summary; s.Workload.SHA256 != newest.Workload.SHA256 || s.Loop != newest.Loop {
			v = append(v, page.Verdict{Level: "warn", Rule: "R11", Text: fmt.Sprintf("%s is left out: it ran another workload than the newest run", x.dir)})
			continue
		}
		p := stats.Totals(x.run)
		for _, m := range metrics {
			x.values = append(x.values, m.of(p, x.run))
		}
		x.run.Series, x.run.Nodes = nil, nil // a trend holds hundreds of runs
		kept = append(kept, x)
	}
	return trendDocument(kept, v), nil
}

func trendDocument(list []trendRun, v page.Verdicts) *page.Document {
	d := &page.Document{Kind: "Headroom trend", Meta: fmt.Sprintf("%s of %s", stats.Plural(int64(len(list)), "run"), list[0].run.Summary.Workload.Name)}
	figures := []page.Block{page.Text("Each dot is a run, in the order of their start. Lines are medians between change points (E-divisive, permutation test, p at most 0.001, changes of at least 5 %).")}
	var names []string
	var panels []chart.Panel
	table := &page.Table{Name: "changes", Label: "Change points", Head: []string{"Metric", "from run", "folder", "before", "after", "change", "p"}, Words: map[int]bool{2: true}}
	changed := map[string]int{}
	for i, m := range metrics {
		values, at := series(list, i)
		points := changes(values)
		changed[m.name] = len(points)
		for _, c := range points {
			table.Rows = append(table.Rows, changeRow(m, list, values, at, c))
			v = append(v, page.Verdict{Level: "info", Rule: "R15", Text: changeSentence(m, list, at, c)})
		}
		if len(values) > 0 {
			names, panels = append(names, "trend-"+m.name), append(panels, trendPanel(m, values, at, points, len(list)))
		}
	}
	if len(panels) > 0 { // one below the other, each run at one place
		wide, narrow := chart.Stack(chart.Wide, panels...), chart.Stack(chart.Narrow, panels...)
		for i, name := range names {
			figures = append(figures, &page.Figure{Name: name, Caption: panels[i].Alt, Wide: wide[i], Narrow: narrow[i]})
		}
	}
	d.Title = trendTitle(changed, len(list))
	if len(list) < 2*leastSegment {
		v = append(v, page.Verdict{Level: "warn", Rule: "R15", Text: fmt.Sprintf("%s cannot show a change: at least %d on either side are needed", stats.Plural(int64(len(list)), "run"), leastSegment)})
	}
	if len(v) > 0 {
		d.Add("verdicts", "Verdicts", sorted(v))
	}
	d.Add("trend", "Over the runs", figures...)
	if len(table.Rows) > 0 {
		d.Add("changes", "Change points", table)
	}
	d.Add("runs", "Runs", runTable(list))
	return d
}

// series returns a metric's known values and the runs they belong to.
func series(list []trendRun, metric int) (values []float64, at []int) {
	for i, x := range list {
		if y := x.values[metric]; !math.IsNaN(y) && !math.IsInf(y, 1) && y > 0 {
			values, at = append(values, y), append(at, i)
		}
	}
	return values, at
}

func trendTitle(changed map[string]int, n int) string {
	var parts []string
	for _, m := range metrics {
		if c := changed[m.name]; c > 0 {
			parts = append(parts, fmt.Sprintf("%s changed %s", m.name, times(c)))
		}
	}
	if n < 2*leastSegment {
		return fmt.Sprintf("%s are too few to show a change", stats.Plural(int64(n), "run"))
	}
	if len(parts) == 0 {
		return fmt.Sprintf("No change is shown over %s", stats.Plural(int64(n), "run"))
	}
	return fmt.Sprintf("Over %s %s", stats.Plural(int64(n), "run"), strings.Join(parts, ", "))
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

func changeSentence(m metric, list []trendRun, at []int, c changePoint) string {
	return fmt.Sprintf("%s changed by %s at run %d (%s): %s to %s", m.name, signed(c.after/c.before-1), at[c.at]+1, list[at[c.at]].run.Summary.ID, m.print(c.before), m.print(c.after))
}

// changeRow sums both sides up with benchmath: medians and their intervals.
func changeRow(m metric, list []trendRun, values []float64, at []int, c changePoint) []page.Cell {
	cell := func(part []float64) page.Cell {
		s := benchmath.AssumeNothing.Summary(benchmath.NewSample(append([]float64(nil), part...), &benchmath.DefaultThresholds), confidence)
		out := page.Cell{Text: m.print(s.Center), Raw: number(s.Center)}
		if !math.IsInf(s.Lo, 0) && !math.IsInf(s.Hi, 0) {
			out.Note = m.print(s.Lo) + " to " + m.print(s.Hi)
		}
		return out
	}
	return []page.Cell{{Text: m.name}, {Text: fmt.Sprint(at[c.at] + 1)}, {Text: list[at[c.at]].dir}, cell(values[c.from:c.at]), cell(values[c.at:c.to]),
		{Text: signed(c.after/c.before - 1), Raw: number(c.after/c.before - 1)}, {Text: fmt.Sprintf("%.4f", c.p)}}
}

// trendPanel draws a metric of those of the runs, counted from zero, that have
// it.
func trendPanel(m metric, values []float64, at []int, points []changePoint, runs int) chart.Panel {
	dots := chart.Series{Ink: chart.Blue, Dots: true, Width: -1, Name: m.name}
	for i, v := range values {
		dots.Points = append(dots.Points, chart.Point{X: float64(at[i] + 1), Y: v})
	}
	p := chart.Panel{Unit: m.unit, X: chart.Wholes, XUnit: "run", From: 0.5, To: float64(runs) + 0.5, Log: m.log, Height: 150, NameBands: true, Series: []chart.Series{dots}}
	if m.log {
		p.Unit += ", log scale"
	}
	from := 0
	for _, c := range append(points[:len(points):len(points)], changePoint{at: len(values)}) {
		mid := median(values[from:c.at])
		p.Series = append(p.Series, chart.Series{Ink: chart.Slate, Mute: true, Width: 1.4, Points: []chart.Point{{X: float64(at[from]) + 0.6, Y: mid}, {X: float64(at[c.at-1]) + 1.4, Y: mid}}})
		if c.at < len(values) {
			x := float64(at[c.at]) + 0.5
			p.Bands = append(p.Bands, chart.Band{From: x, To: x, Edge: &chart.Red, Label: signed(c.after/c.before - 1)})
		}
		from = c.at
	}
	found := "no change is shown"
	if len(points) > 0 {
		found = stats.Plural(int64(len(points)), "change")
	}
	of := stats.Plural(int64(runs), "run")
	if n := len(values); n < runs {
		of = fmt.Sprintf("%d of %s (the others have none: too few samples, or failed operations reach it)", n, of)
	}
	p.Alt = fmt.Sprintf("The %s of %s, %s: %s.", m.name, of, stats.Between(slices.Min(values), slices.Max(values), m.print), found)
	return p
}

func commitCell(r *result.Run) page.Cell {
	if sha := r.Environment.GitSHA; sha != "" {
		return page.Cell{Text: fmt.Sprintf("%.12s", sha)}
	}
	return page.Cell{Text: page.Missing, Faint: true}
}

func runTable(list []trendRun) *page.Table {
	t := &page.Table{Name: "runs", Label: "Runs in the order of their start", Head: []string{"Run", "folder", "started", "commit"}, Words: map[int]bool{1: true, 2: true, 3: true}}
	for _, m := range metrics {
		t.Head = append(t.Head, m.name)
	}
	for i, x := range list {
		row := []page.Cell{{Text: fmt.Sprint(i + 1)}, {Text: x.dir}, {Text: x.run.Summary.Started.UTC().Format("2006-01-02 15:04")}, commitCell(x.run)}
		for k, m := range metrics {
			y := x.values[k]
			if math.IsInf(y, 1) {
				row = append(row, page.Cell{Text: "∞", Note: "failed operations", Bad: true})
				continue
			}
			if !math.IsNaN(y) {
				row = append(row, page.Cell{Text: m.print(y), Raw: number(y)})
				continue
			}
			row = append(row, page.Cell{Text: "not enough samples", Faint: true})
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
