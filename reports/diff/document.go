package diff

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/hlog"
	"headroom/reports/page"
	"headroom/reports/stats"
)

// Document returns the comparison as a report; gate adds the gate's word.
func Document(r *Result, gate bool) *page.Document {
	d := &page.Document{Kind: "Headroom comparison", Title: title(r), Meta: fmt.Sprintf("%s against %s", candidates(r), r.Runs[0].Name)}
	if r.Options.Pairs {
		d.Meta = fmt.Sprintf("%s, interleaved", stats.Plural(int64(len(r.Runs)/2), "pair"))
	}
	var v page.Verdicts
	if r.Forced != "" {
		d.Stamp = "Different workloads"
		v = append(v, page.Verdict{Level: "fail", Rule: "R11", Text: r.Forced + ": compared only because it was forced"})
	}
	if gate {
		whole, list := r.Gate()
		if whole != Pass && d.Stamp == "" {
			d.Stamp = "Gate: " + string(whole)
		}
		for _, j := range list {
			level := map[Decision]string{Pass: "info", Fail: "fail", Undecided: "warn"}[j.Decision]
			text := j.Text
			if len(r.Shifts) > 1 {
				text = j.Run + ": " + text
			}
			v = append(v, page.Verdict{Level: level, Rule: "GATE", Text: text})
		}
	}
	for _, s := range r.Shifts {
		v = append(v, page.Verdict{Level: "info", Rule: "VERDICT", Text: sentence(s)})
		if s.Pairs == 0 {
			v = append(v, page.Verdict{Level: "warn", Rule: "R8", Text: fmt.Sprintf("%s and %s are single runs: the interval counts what varies within a run, not from run to run; interleaved pairs (--pairs) do", s.A, s.B)})
		}
	}
	for _, x := range r.Runs {
		v = append(v, concerns(x)...)
	}
	d.Add("verdicts", "Verdicts", sorted(v))
	x := environmentDiff(r.Runs, r.Options.Pairs)
	d.Add("environment", "What differs around the runs", page.Text(environmentSentence(x)), x.table)
	for i, s := range r.Shifts {
		id, head := "shift", "Difference at every percentile"
		if len(r.Shifts) > 1 {
			id, head = fmt.Sprintf("shift%d", i+1), "Difference of "+s.B
		}
		d.Add(id, head, page.Text(howToRead(s)), shiftFigure(r, s, id), shiftTable(s, id))
	}
	d.Add("curves", "Percentiles", curves(r))
	d.Add("operations", "By operation", operationTable(r))
	d.Add("commands", "Commands", commands(r)...)
	return d
}

func candidates(r *Result) string {
	var out []string
	for _, x := range r.Runs[1:] {
		out = append(out, x.Name)
	}
	return strings.Join(out, ", ")
}

func sorted(v page.Verdicts) (out page.Verdicts) {
	for _, level := range []string{"fail", "warn", "info"} {
		for _, x := range v {
			if x.Level == level {
				out = append(out, x)
			}
		}
	}
	return out
}

// concerns repeats what a run itself says against its figures.
func concerns(r *Run) (out page.Verdicts) {
	for _, v := range r.Folder.Summary.Verdicts {
		if v.Level == result.Fail {
			out = append(out, page.Verdict{Level: "warn", Rule: v.Rule, Text: r.Name + ": " + v.Text})
		}
	}
	for _, p := range r.Problems {
		out = append(out, page.Verdict{Level: "warn", Rule: "DATA", Text: r.Name + ": " + p})
	}
	return out
}

func environmentSentence(x around) string {
	paired := ""
	if n := len(x.paired); n > 0 {
		paired = fmt.Sprintf(" From pair to pair, but not within one, %s: %s.", map[bool]string{true: "this differs", false: "these differ"}[n == 1], strings.Join(x.paired, ", "))
	}
	if x.table == nil {
		word := "all"
		if paired != "" {
			word = "all other"
		}
		return fmt.Sprintf("Nothing: %s %d recorded properties are equal.", word, x.same) + paired
	}
	return fmt.Sprintf("%s; %d are equal. A difference of the runs may come from any of these.", stats.Plural(int64(len(x.table.Rows)), "recorded difference"), x.same) + paired
}

func howToRead(s Shift) string {
	if s.Why != "" {
		return fmt.Sprintf("Change from %s to %s at each percentile, without an interval: %s.", s.A, s.B, s.Why)
	}
	if s.Pairs > 0 {
		return fmt.Sprintf("Change from %s to %s at each percentile, the mean of %s; the intervals hold at all percentiles and for the throughput at once, with 95 %% confidence (signs of the pairs flipped). The times pool all runs of a side; the change is the geometric mean of the pairs' own changes, and not that of the pooled times where pairs differ much.", s.A, s.B, stats.Plural(int64(s.Pairs), "pair"))
	}
	return fmt.Sprintf("Change from %s to %s at each percentile; the intervals hold at all percentiles and for the throughput at once, with 95 %% confidence (block bootstrap over the seconds of each run).", s.A, s.B)
}

func title(r *Result) string {
	if len(r.Shifts) == 1 {
		return headline(r.Shifts[0])
	}
	n := 0
	for _, s := range r.Shifts {
		if slow, fast := shown(s); len(slow)+len(fast) > 0 || fails(s) != nil {
			n++
		}
	}
	switch {
	case n == 1:
		return fmt.Sprintf("1 of %s is shown to differ from %s", stats.Plural(int64(len(r.Shifts)), "run"), r.Runs[0].Name)
	case n == 0:
		return fmt.Sprintf("No difference from %s is shown in any of %s", r.Runs[0].Name, stats.Plural(int64(len(r.Shifts)), "run"))
	}
	return fmt.Sprintf("%d of %s are shown to differ from %s", n, stats.Plural(int64(len(r.Shifts)), "run"), r.Runs[0].Name)
}

// headline is the verdict without what a title has no room for.
func headline(s Shift) string {
	slower, faster := shown(s)
	if len(slower) == 0 || len(faster) == 0 {
		return strings.TrimSuffix(sentence(s), ".")
	}
	brief := func(list []Difference) string {
		d := quoted(list)
		if len(list) == 1 {
			return fmt.Sprintf("%s (%s)", span(list), signed(d.Change))
		}
		return fmt.Sprintf("%s (%s %s)", span(list), stats.PercentileName(d.P), signed(d.Change))
	}
	return fmt.Sprintf("%s is slower than %s at %s, and faster at %s", s.B, s.A, brief(slower), brief(faster))
}

// fails returns the lowest percentile that failed operations reach in the second
// run only, nil without one.
func fails(s Shift) *Difference {
	for i := range s.Points {
		if d := &s.Points[i]; math.IsInf(d.B, 1) && !math.IsInf(d.A, 1) && d.Supported {
			return d
		}
	}
	return nil
}

// shown splits the percentiles whose interval excludes zero.
func shown(s Shift) (slower, faster []Difference) {
	for _, d := range s.Points {
		switch {
		case !d.Known():
		case d.ChangeLo > 0:
			slower = append(slower, d)
		case d.ChangeHi < 0:
			faster = append(faster, d)
		}
	}
	return slower, faster
}

// widest is the change furthest from zero.
func widest(list []Difference) Difference {
	best := list[0]
	for _, d := range list {
		if math.Abs(math.Log1p(d.Change)) > math.Abs(math.Log1p(best.Change)) {
			best = d
		}
	}
	return best
}

// quoted prefers the p99 of a list, as most targets are set there.
func quoted(list []Difference) Difference {
	for _, d := range list {
		if d.P == 0.99 {
			return d
		}
	}
	return widest(list)
}

func clause(d Difference) string {
	return fmt.Sprintf("%s %s (%s to %s), interval %s to %s", stats.PercentileName(d.P), signed(d.Change), latency(d.A), latency(d.B), signed(d.ChangeLo), signed(d.ChangeHi))
}

func latency(us float64) string {
	if math.IsInf(us, 1) {
		return "∞"
	}
	return stats.Micros(us)
}

// sentence is the verdict in words.
func sentence(s Shift) string {
	if d := fails(s); d != nil {
		return fmt.Sprintf("%s fails more operations than %s: its %s is infinite, that of %s %s.", s.B, s.A, stats.PercentileName(d.P), s.A, latency(d.A))
	}
	slower, faster := shown(s)
	switch {
	case len(slower) > 0 && len(faster) > 0:
		return fmt.Sprintf("%s is slower than %s at %s: %s; and faster at %s: %s.", s.B, s.A, span(slower), clause(quoted(slower)), span(faster), clause(quoted(faster)))
	case len(slower) > 0:
		return fmt.Sprintf("%s is slower than %s at %s: %s.", s.B, s.A, span(slower), clause(quoted(slower)))
	case len(faster) > 0:
		return fmt.Sprintf("%s is faster than %s at %s: %s.", s.B, s.A, span(faster), clause(quoted(faster)))
	case s.Why != "":
		return fmt.Sprintf("Whether %s differs from %s is not known: %s.", s.B, s.A, s.Why)
	}
	for _, d := range s.Points {
		if d.P == 0.99 && d.Known() {
			return fmt.Sprintf("No difference is shown between %s and %s: p99 lies between %s and %s.", s.A, s.B, signed(d.ChangeLo), signed(d.ChangeHi))
		}
	}
	return fmt.Sprintf("No difference is shown between %s and %s.", s.A, s.B)
}

// span names percentiles: p50 to p99, or p90.
func span(list []Difference) string {
	first, last := stats.PercentileName(list[0].P), stats.PercentileName(list[len(list)-1].P)
	if first == last {
		return first
	}
	if len(list) == 2 {
		return first + " and " + last
	}
	return fmt.Sprintf("%d percentiles from %s to %s", len(list), first, last)
}

// shiftFigure draws the changes with their intervals.
func shiftFigure(r *Result, s Shift, id string) *page.Figure {
	zero := 0.0
	rows := chart.Rows{Unit: "change from " + s.A + " to " + s.B, X: chart.Percent, Zero: &zero, Alt: sentence(s)}
	place, reading := func(change float64) float64 { return change * 100 }, "Right of zero is slower"
	if far(s) {
		place, reading = func(change float64) float64 { return math.Log10(max(1+change, leastRatio)) }, "Right of 1× is slower"
		rows.X, rows.Unit = chart.Ratios, s.B+" as a multiple of "+s.A+", log scale"
	}
	add := func(label string, d Difference, up, down chart.Ink, text string) {
		if math.IsNaN(d.Change) {
			return
		}
		ink := chart.Grey
		switch {
		case d.Known() && d.ChangeLo > 0:
			ink = up
		case d.Known() && d.ChangeHi < 0:
			ink = down
		}
		row := chart.Row{Label: label, Text: text, Dots: []chart.Dot{{At: place(d.Change), Ink: ink}}}
		if d.Known() {
			row.Spans = []chart.Span{{From: place(d.ChangeLo), To: place(d.ChangeHi), Ink: ink}}
		}
		rows.Rows = append(rows.Rows, row)
	}
	for _, d := range s.Points {
		if d.Supported {
			add(stats.PercentileName(d.P), d, chart.Red, chart.Green, latency(d.A)+" to "+latency(d.B))
		}
	}
	add("throughput", s.Rate, chart.Green, chart.Red, stats.Rate(s.Rate.A)+" to "+stats.Rate(s.Rate.B)+"/s")
	if len(rows.Rows) == 0 {
		return nil
	}
	caption := reading + "; of the throughput, faster. " + rows.Alt
	if r.Forced != "" {
		caption = "DIFFERENT WORKLOADS. " + caption
		rows.Unit = "different workloads: " + rows.Unit
	}
	return &page.Figure{Name: id, Caption: caption, Wide: rows.Draw(chart.Wide), Narrow: rows.Draw(chart.Narrow)}
}

const (
	// farRatio is how many times as much a figure may become before per cent hide
	// all that is less, and leastRatio the least that is drawn.
	farRatio   = 10
	leastRatio = 1e-6
)

// far reports whether some change, or an end of its interval, is beyond farRatio
// either way.
func far(s Shift) bool {
	for _, d := range append([]Difference{s.Rate}, s.Points...) {
		for _, v := range []float64{d.Change, d.ChangeLo, d.ChangeHi} {
			if v > farRatio-1 || v < 1.0/farRatio-1 {
				return true
			}
		}
	}
	return false
}

func shiftTable(s Shift, id string) *page.Table {
	t := &page.Table{Name: id, Label: "Difference at every percentile", Head: []string{"Response time", s.A, s.B, "difference", "change", "interval"}}
	if s.Pairs > 0 {
		t.Head = []string{"Response time", s.A + " pooled", s.B + " pooled", "difference, pooled", "change, mean of pairs", "interval"}
	}
	for _, d := range s.Points {
		if !d.Supported {
			t.Rows = append(t.Rows, []page.Cell{{Text: stats.PercentileName(d.P)}, {Text: "not enough samples", Faint: true}, {Text: "not enough samples", Faint: true}, {Text: "unknown", Faint: true}, {Text: "unknown", Faint: true}, {Text: "unknown", Faint: true}})
			continue
		}
		t.Rows = append(t.Rows, []page.Cell{{Text: stats.PercentileName(d.P)}, micros(d.A), micros(d.B), difference(d), changeCell(d), intervalCell(d)})
	}
	r := s.Rate
	t.Rows = append(t.Rows, []page.Cell{{Text: "Throughput", Note: "median second"}, {Text: stats.Rate(r.A) + "/s", Raw: number(r.A)}, {Text: stats.Rate(r.B) + "/s", Raw: number(r.B)},
		{Text: plusMinus(r.B-r.A, stats.Rate) + "/s", Raw: number(r.B - r.A)}, changeCell(r), intervalCell(r)})
	return t
}

func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	return fmt.Sprintf("%g", math.Round(v*1e4)/1e4)
}

func micros(us float64) page.Cell {
	return page.Cell{Text: latency(us), Raw: number(us), Bad: math.IsInf(us, 1)}
}

func difference(d Difference) page.Cell {
	v := d.B - d.A
	if math.IsInf(d.A, 0) || math.IsInf(d.B, 0) {
		return page.Cell{Text: "unknown", Faint: true}
	}
	return page.Cell{Text: plusMinus(v, stats.Micros), Raw: number(v)}
}

func plusMinus(v float64, f func(float64) string) string {
	if v < 0 {
		return "−" + f(-v)
	}
	return "+" + f(v)
}

func changeCell(d Difference) page.Cell {
	return page.Cell{Text: signed(d.Change), Raw: number(d.Change), Bad: d.P > 0 && d.Known() && d.ChangeLo > 0}
}

func intervalCell(d Difference) page.Cell {
	if !d.Known() {
		return page.Cell{Text: "none", Faint: true}
	}
	return page.Cell{Text: signed(d.ChangeLo) + " to " + signed(d.ChangeHi), Raw: number(d.ChangeLo) + " " + number(d.ChangeHi)}
}

// maxCurves bounds the runs of one figure: more cannot be told apart.
const maxCurves = 6

func curves(r *Result) *page.Figure {
	n := chart.Nines{Unit: "response time, log scale, by share of operations"}
	if r.Forced != "" {
		n.Note = "different workloads"
	}
	list := r.Runs
	if r.Options.Pairs {
		list = []*Run{pooled(r, 0), pooled(r, 1)}
	}
	for i, x := range list {
		if i == maxCurves {
			break
		}
		c := stats.CurveOf(x.All)
		cc := chart.Curve{Name: x.Name, Ink: chart.Lines[i%len(chart.Lines)], Supported: c.Supported, Width: 1.8}
		for _, q := range c.Points {
			cc.Points = append(cc.Points, chart.Point{X: q.P, Y: q.US})
		}
		n.Curves = append(n.Curves, cc)
	}
	n.Alt = "Response time of all operations, run by run. Dashed: fewer samples than bound the percentile."
	if r.Options.Pairs {
		n.Alt = "Response time of all operations, all runs of a side pooled. Dashed: fewer samples than bound the percentile."
	}
	if len(list) > maxCurves {
		n.Alt += fmt.Sprintf(" The first %d of %d runs.", maxCurves, len(list))
	}
	return &page.Figure{Name: "percentiles", Caption: n.Alt, Wide: n.Draw(chart.Wide), Narrow: n.Draw(chart.Narrow)}
}

// pooled is one side of pairs as one run.
func pooled(r *Result, side int) *Run {
	all := hlog.NewCounts()
	for i := side; i < len(r.Runs); i += 2 {
		all.Merge(r.Runs[i].All)
	}
	return &Run{Name: sideName(r.Runs, side), All: all}
}

// operationTable shows every operation, so that what got worse is not hidden
// behind what got better (rule R12).
func operationTable(r *Result) *page.Table {
	t := &page.Table{Name: "operations", Label: "p50 and p99 of every operation", Head: []string{"Operation"}}
	for _, x := range r.Runs {
		t.Head = append(t.Head, x.Name+" p50", x.Name+" p99")
	}
	if len(t.Head) > 13 {
		return nil
	}
	for _, op := range stats.Operations(r.Runs[0].Folder) {
		row := []page.Cell{{Text: op}}
		for _, x := range r.Runs {
			o := x.Folder.Summary.Operations[op]
			row = append(row, percentile(o.Response, "p50", o.Response.P50), percentile(o.Response, "p99", o.Response.P99))
		}
		t.Rows = append(t.Rows, row)
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}

// percentile is a run's own figure, or why there is none.
func percentile(p result.Percentiles, name string, v *float64) page.Cell {
	switch {
	case v != nil:
		return micros(*v)
	case slices.Contains(p.Infinite, name):
		return page.Cell{Text: "∞", Note: "failed operations", Bad: true}
	}
	return page.Cell{Text: "not enough samples", Faint: true}
}

func commands(r *Result) (out []page.Block) {
	for i, x := range r.Runs {
		if i == 12 {
			break
		}
		out = append(out, page.Heading(x.Name), page.Code(page.Command(x.Folder.Summary.Command)))
	}
	return out
}
