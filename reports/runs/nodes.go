package runs

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/page"
	"headroom/reports/stats"
)

// maxNodeLines is how many nodes a panel tells apart by colour; of more it
// shows the range, the median and the extreme node.
const maxNodeLines = 6

// nodePoints bounds the points of a node's curve.
const nodePoints = 300

// nodeMeasure is one thing that is sampled of every node.
type nodeMeasure struct {
	name, unit string
	y          chart.Measure
	of         func(result.NodeSample) float64 // NaN when unknown
	print      func(float64) string
	what       string // "used at most", for the caption
}

func known0(v float64) float64 {
	if v < 0 {
		return math.NaN()
	}
	return v
}

var nodeMeasures = []nodeMeasure{
	{"node-cpu", "CPU, per cent of one core", chart.Default, func(s result.NodeSample) float64 { return known0(s.CPUPct) },
		func(v float64) string { return fmt.Sprintf("%.0f %% of one core", v) }, "CPU"},
	{"node-memory", "resident memory", chart.Sizes, func(s result.NodeSample) float64 { return known0(float64(s.RSSBytes)) }, stats.Bytes, "resident memory"},
}

// nodeFigures draws each measure over time, nodes side by side.
func nodeFigures(f *stats.Facts) []page.Block {
	var panels []chart.Panel
	var names []string
	curves := make([]map[string][]chart.Point, 0, len(nodeMeasures))
	measures := append([]nodeMeasure(nil), nodeMeasures...)
	for _, m := range nodeMeasures {
		curves = append(curves, nodeCurves(f, m))
	}
	for _, e := range f.Extras {
		if e.Column == "stop_writes" {
			continue // drawn as bands
		}
		measures, curves = append(measures, extraMeasure(e)), append(curves, extraCurves(e))
	}
	var idle, unknown []string
	var hovers []*page.Hover
	for i, m := range measures {
		if known, some := values(curves[i]); !known {
			unknown = append(unknown, m.what)
			continue
		} else if !some {
			idle = append(idle, m.what)
			continue
		}
		p, peak := nodePanel(f, m, curves[i])
		p.To, p.Bands, p.NameBands, p.Height = f.End(), bands(f), len(panels) == 0, 130
		hovers = append(hovers, sideBySide(f, &p, nodeNames(f), curves[i], peak, m.print))
		panels, names = append(panels, p), append(names, m.name)
	}
	return append(stacked(panels, names, hovers), undrawn(idle, unknown)...)
}

// stacked draws panels on one time axis, below each other.
func stacked(panels []chart.Panel, names []string, hovers []*page.Hover) (out []page.Block) {
	wide, narrow := chart.Stack(chart.Wide, panels...), chart.Stack(chart.Narrow, panels...)
	for i := range panels {
		out = append(out, &page.Figure{Name: names[i], Caption: panels[i].Alt, Wide: wide[i], Narrow: narrow[i], Hover: hovers[i]})
	}
	return out
}

// nodeNames returns the sampled nodes in natural order.
func nodeNames(f *stats.Facts) (out []string) {
	for _, r := range f.NodeRows {
		out = append(out, r.Node)
	}
	return out
}

// nodeCurves returns a measure of every node over time.
func nodeCurves(f *stats.Facts, m nodeMeasure) map[string][]chart.Point {
	curves := map[string][]chart.Point{}
	for node, list := range f.Run.Nodes {
		for _, s := range list {
			if s.TSec < 0 || math.IsNaN(s.TSec) {
				continue
			}
			v := math.NaN()
			if s.Up {
				v = m.of(s)
			}
			curves[node] = append(curves[node], chart.Point{X: s.TSec, Y: v})
		}
	}
	return curves
}

// extraWords say what the columns of our own writer hold.
var extraWords = map[string]string{"unavailable": "number of unavailable partitions", "used_bytes": "size of index and records",
	"net_busy_pct": "use of link or receive buffer", "net_dropped": "number of datagrams dropped",
	"device_pct": "use of a device's busiest resource", "device_queued_blocks": "number of blocks that wait to be written", "devices_failed": "number of failed devices",
	"evicted": "number of records evicted"}

// extraMeasure says how a further column is drawn: by the unit that its name
// ends with.
func extraMeasure(e stats.Extra) nodeMeasure {
	what := extraWords[e.Column]
	if what == "" {
		what = strings.ReplaceAll(e.Column, "_", " ")
	}
	m := nodeMeasure{name: "node-" + strings.ReplaceAll(e.Column, "_", "-"), unit: what, what: what, print: func(v float64) string { return stats.Rate(v) }}
	switch {
	case strings.HasSuffix(e.Column, "_bytes"):
		m.y, m.print = chart.Sizes, stats.Bytes
	case strings.HasSuffix(e.Column, "_pct"):
		m.y, m.print = chart.Percent, func(v float64) string { return stats.Percent(v / 100) }
	}
	return m
}

func extraCurves(e stats.Extra) map[string][]chart.Point {
	curves := map[string][]chart.Point{}
	for node, list := range e.Nodes {
		for _, s := range list {
			if s.T >= 0 {
				curves[node] = append(curves[node], chart.Point{X: s.T, Y: s.Value})
			}
		}
	}
	return curves
}

// nodePanel is the panel of a measure that has a value, without its curves, and
// the node with the peak.
func nodePanel(f *stats.Facts, m nodeMeasure, curves map[string][]chart.Point) (p chart.Panel, peakNode string) {
	p = chart.Panel{Unit: m.unit, Y: m.y}
	peak, at := math.Inf(-1), 0.0
	for _, node := range nodeNames(f) {
		for _, q := range curves[node] {
			if q.Y > peak {
				peak, peakNode, at = q.Y, node, q.X
			}
		}
	}
	p.Alt = fmt.Sprintf("The highest %s of a node was %s, of %s at %.0f s.", m.what, m.print(peak), peakNode, at)
	if len(curves) > maxNodeLines {
		p.Alt += fmt.Sprintf(" The range is that of all %d nodes.", len(curves))
	}
	return p, peakNode
}

// sideBySide draws the curves of things of one kind in their order: each if
// they are few, else their range and the one with the peak. The hover has the
// same curves.
func sideBySide(f *stats.Facts, p *chart.Panel, names []string, curves map[string][]chart.Point, peak string, print func(float64) string) *page.Hover {
	var whole [][]chart.Point
	if len(curves) > maxNodeLines {
		p.Series, names = crowd(curves, peak), []string{"median", peak}
		whole = [][]chart.Point{p.Series[0].Points, curves[peak]}
	} else {
		for i, n := range names {
			p.Series = append(p.Series, chart.Series{Name: n, Ink: chart.Lines[i%len(chart.Lines)], Width: 1.4, Points: chart.Thin(curves[n], nodePoints)})
			whole = append(whole, curves[n])
		}
	}
	return curvesHover(f, names, whole, print)
}

// crowd sums many nodes up: their range and median in 200 stretches of time,
// and the node with the peak.
func crowd(curves map[string][]chart.Point, peak string) []chart.Series {
	end := 0.0
	for _, c := range curves {
		if n := len(c); n > 0 {
			end = max(end, c[n-1].X)
		}
	}
	const parts = 200
	var at [parts + 1][]float64
	for _, c := range curves {
		for _, q := range c {
			if !math.IsNaN(q.Y) && end > 0 {
				i := min(int(q.X/end*parts), parts)
				at[i] = append(at[i], q.Y)
			}
		}
	}
	mid := chart.Series{Name: "median", Ink: chart.Blue, Wash: chart.BlueWash}
	for i, list := range at {
		if len(list) == 0 {
			continue
		}
		sort.Float64s(list)
		x := float64(i) / parts * end
		mid.Points = append(mid.Points, chart.Point{X: x, Y: list[len(list)/2]})
		mid.Range = append(mid.Range, chart.Extent{X: x, Low: list[0], High: list[len(list)-1]})
	}
	return []chart.Series{mid, {Name: peak, Ink: chart.Amber, Width: 1.2, Points: chart.Thin(curves[peak], nodePoints)}}
}

// balanceFigure shows how evenly the partitions lie at the last sample.
func balanceFigure(f *stats.Facts) *page.Figure {
	r := chart.Rows{Unit: "partitions at the last sample", Alt: balanceSentence(f.NodeRows)}
	for _, n := range f.NodeRows {
		if !n.Up || n.Masters < 0 || n.Copies < 0 {
			continue
		}
		r.Rows = append(r.Rows, chart.Row{Label: n.Node, Text: stats.Count(n.Masters) + " masters, " + stats.Count(n.Copies) + " copies",
			Bars: []chart.Bar{{To: float64(n.Copies), Ink: chart.BlueWash}, {To: float64(n.Masters), Ink: chart.Blue}}})
	}
	if len(r.Rows) < 2 || len(r.Rows) > maxRows {
		return nil
	}
	return &page.Figure{Name: "balance", Caption: "Masters (the stronger colour) and all copies of each node.", Wide: r.Draw(chart.Wide), Narrow: r.Draw(chart.Narrow)}
}

// maxRows bounds a figure of rows: what does not fit a page is in the table.
const maxRows = 40

// operationFigure shows p50, p99 and p99.9 of every operation.
func operationFigure(f *stats.Facts) *page.Figure {
	ops := stats.Operations(f.Run)
	if len(ops) < 2 || len(ops) > maxRows {
		return nil
	}
	r := chart.Rows{Unit: "response time from p50 to p99.9, dot at p99, log scale", Log: true}
	worst, worstOp := -1.0, ""
	for _, op := range ops {
		p := f.Run.Summary.Operations[op].Response
		row := chart.Row{Label: op, Text: percentileText(p, "p99")}
		if p.P50 != nil && p.P99 != nil {
			to := *p.P99
			if p.P999 != nil {
				to = *p.P999
			}
			row.Bars = []chart.Bar{{From: *p.P50, To: to, Ink: chart.BlueWash}}
		}
		if p.P99 != nil {
			row.Dots = []chart.Dot{{At: *p.P99, Ink: chart.Blue}}
			if *p.P99 > worst {
				worst, worstOp = *p.P99, op
			}
		}
		r.Rows = append(r.Rows, row)
	}
	if worstOp == "" {
		return nil
	}
	r.Alt = slowestCaption(f, worstOp, worst)
	return &page.Figure{Name: "operations", Caption: r.Alt, Wide: r.Draw(chart.Wide), Narrow: r.Draw(chart.Narrow)}
}

// slowestCaption names the operation with the highest p99, and those of which
// the intervals do not tell it apart.
func slowestCaption(f *stats.Facts, worst string, us float64) string {
	text := fmt.Sprintf("The highest p99 is that of %s, %s", worst, stats.Micros(us))
	own, ok := f.Run.Summary.Operations[worst].Response.CI99["p99"]
	if !ok || own[0] == nil {
		return text + "."
	}
	var alike []string
	for _, op := range stats.Operations(f.Run) {
		ci, ok := f.Run.Summary.Operations[op].Response.CI99["p99"]
		if op != worst && ok && ci[1] != nil && *ci[1] >= *own[0] {
			alike = append(alike, op)
		}
	}
	switch {
	case len(alike) > 3:
		text += fmt.Sprintf("; its 99 %% interval overlaps those of %d others", len(alike))
	case len(alike) > 1:
		text += "; its 99 % interval overlaps those of " + join(alike)
	case len(alike) == 1:
		text += "; its 99 % interval overlaps that of " + alike[0]
	}
	return text + "."
}

func percentileText(p result.Percentiles, name string) string {
	c := percentileCell(p, name)
	return c.Text
}

// generatorFigures draw what the generator says of itself, nil without its
// samples.
func generatorFigures(f *stats.Facts) []page.Block {
	list := f.Run.Generator
	if len(list) == 0 {
		return nil
	}
	own := chart.Series{Name: "generator", Ink: chart.Blue, Width: 1.4}
	host := chart.Series{Name: "host", Ink: chart.Grey, Width: 1.4}
	steal := chart.Series{Name: "steal", Ink: chart.Red, Width: 1.4}
	flight := chart.Series{Name: "in flight", Ink: chart.Blue, Width: 1.4}
	peak := 0
	for _, s := range list {
		if s.TSec < 0 || math.IsNaN(s.TSec) {
			continue
		}
		own.Points = append(own.Points, chart.Point{X: s.TSec, Y: known0(s.CPUPct)})
		host.Points = append(host.Points, chart.Point{X: s.TSec, Y: known0(s.HostCPUPct)})
		steal.Points = append(steal.Points, chart.Point{X: s.TSec, Y: known0(s.StealPct)})
		flight.Points = append(flight.Points, chart.Point{X: s.TSec, Y: float64(s.InFlight)})
		peak = max(peak, s.InFlight)
	}
	panels := []chart.Panel{
		{Unit: "CPU: generator, of one core; host and steal, of all", Y: chart.Percent, Series: []chart.Series{own, host, steal}, Alt: "CPU of the generator and its host, and what the hypervisor took."},
		{Unit: "operations in flight", Series: []chart.Series{flight}, Alt: fmt.Sprintf("At most %s were in flight at a sample.", stats.Plural(int64(peak), "operation"))},
	}
	whole := [][][]chart.Point{{own.Points, host.Points, steal.Points}, {flight.Points}}
	hovers := make([]*page.Hover, len(panels))
	for i := range panels {
		p := &panels[i]
		p.To, p.Bands, p.NameBands, p.Height = f.End(), bands(f), i == 0, 110
		var names []string
		for k := range p.Series {
			names = append(names, p.Series[k].Name)
			p.Series[k].Points = chart.Thin(p.Series[k].Points, nodePoints)
		}
		hovers[i] = curvesHover(f, names, whole[i], generatorPrints[i])
	}
	return stacked(panels, []string{"generator-cpu", "in-flight"}, hovers)
}

// generatorPrints print a value of each of the generator's panels.
var generatorPrints = []func(float64) string{func(v float64) string { return fmt.Sprintf("%.0f %%", v) }, func(v float64) string { return stats.Count(int64(v)) }}
