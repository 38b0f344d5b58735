// Package runs words and arranges the report of one run: which figures and
// tables there are, in which order, and every sentence, all from the numbers
// of package stats. It computes no statistics and knows no markup.
//
// The invariant to know: a figure or table that cannot be shown leaves a
// sentence that says why; nothing is drawn empty.
//
// Start reading at Document, then Title in story.go.
package runs

import (
	"fmt"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/page"
	"headroom/reports/stats"
)

// Document returns the report of a run.
func Document(f *stats.Facts) *page.Document {
	s := f.Run.Summary
	d := &page.Document{Kind: "Headroom run report", Meta: meta(f), Title: Title(f), Stamp: stamp(f)}
	d.Footer = "headroom-reports verify RUN recomputes every number of run.json from the files of the run, and says where one differs."
	if s.ID != "" {
		d.Footer = "Run " + s.ID + ". " + d.Footer
	}
	d.Add("verdicts", "Verdicts", page.Judged(verdicts(f))...)
	d.Add("figures", "Headline figures", headline(f))
	if t := sloTable(f); t != nil {
		d.Add("slo", "The target", t)
	}
	overTime(d, f)
	d.Add("percentiles", "Percentiles", or(nines(f), "Nothing to draw: no interval log (*.hlog) could be read, or it is empty."), kindTable(f))
	waterfalls(d, f)
	availability(d, f)
	d.Add("audit", "Audit", page.Text(auditSentence(f)), auditTable(f), conflictTable(f))
	d.Add("redundancy", "Redundancy over time", or(redundancyFigure(f), "Nothing to draw: no node was sampled."))
	nodes(d, f)
	devices(d, f)
	operations(d, f)
	d.Add("environment", "Environment", orTable(Environment(f.Run.Environment), "environment.json is missing or empty."))
	workload := page.Block(page.Absent("workload.yaml is missing."))
	if f.Run.Workload != "" {
		workload = page.Code(f.Run.Workload)
	}
	d.Add("generator", "Generator", append(generatorFigures(f), generatorTable(f))...)
	d.Add("workload", "Workload", workload)
	commands(d, f)
	if f.Windows != nil {
		for _, g := range f.Windows.Groups {
			d.AddWindows(g.Name, g.Step, g.Data)
		}
	}
	return d
}

// or returns the figure, or a sentence instead of it.
func or(f *page.Figure, why string) page.Block {
	if f == nil {
		return page.Absent(why)
	}
	return f
}

func orTable(t *page.Table, why string) page.Block {
	if t == nil {
		return page.Absent(why)
	}
	return t
}

// OverTime returns the figures over time with their key, for documents of
// studies as well.
func OverTime(f *stats.Facts) []page.Block {
	t := timelines(f)
	key := page.Key{{Class: "k-line", Text: "fault"}, {Class: "k-gap", Text: "gap in service"}, {Class: "k-down", Text: "node down"},
		{Class: "k-move", Text: "migrating"}, {Class: "k-stop", Text: "writes stopped"}, {Class: "k-view", Text: "new view"},
		{Class: "k-fail", Text: "operations failed"}, {Text: "time from the start of the measured phase"}}
	blocks := []page.Block{key, page.Heading("Throughput"), or(t.throughput, "Nothing to draw: series.csv has no second of the measured phase."),
		page.Heading("Latency"), or(t.latency, "Nothing to draw: no operation completed, or no latencies were recorded.")}
	if t.heat != nil {
		blocks = append(blocks, t.heat)
	}
	return blocks
}

func overTime(d *page.Document, f *stats.Facts) {
	blocks := OverTime(f)
	if f.Windows != nil {
		step := f.Windows.Groups[0].Step
		blocks = append(blocks, page.Heading("A stretch of time"), page.Chooser{Note: fmt.Sprintf("Drag across a figure above to see the exact percentiles of that stretch, in steps of %s; "+
			"the arrow keys move it. The histograms are in this file; the page needs no network. It needs scripts for this, and for nothing else.", stats.Plural(int64(step), "second"))})
	}
	d.Add("time", "Over time", blocks...)
}

func availability(d *page.Document, f *stats.Facts) {
	t := faultTable(f)
	if t == nil {
		d.Add("availability", "Availability", page.Text("No fault was injected in this run."))
		return
	}
	d.Add("availability", "Availability", page.Text("The longest gap is the longest time from an operation's intended start to its completion, among operations "+
		"intended from 1 s before to 5 s after the fault; a failed operation counts its deadline."), t)
}

func nodes(d *page.Document, f *stats.Facts) {
	t := nodeTable(f)
	if t == nil {
		d.Add("nodes", "Nodes", page.Absent("No node was sampled."))
		return
	}
	blocks := []page.Block{page.Text(balanceSentence(f.NodeRows)), balanceFigure(f)}
	blocks = append(blocks, nodeFigures(f)...)
	d.Add("nodes", "Nodes", append(blocks, t)...)
}

func operations(d *page.Document, f *stats.Facts) {
	t := operationTable(f)
	if t == nil {
		d.Add("operations", "Operations", page.Absent("The run has no operations."))
		return
	}
	d.Add("operations", "Operations", page.Text("Response time from the intended start, failed operations counting as infinite; in small print the 99 % interval."),
		operationFigure(f), t)
}

func commands(d *page.Document, f *stats.Facts) {
	command := page.Block(page.Absent("The command was not recorded."))
	if words := f.Run.Summary.Command; len(words) > 0 {
		command = page.Code(page.Command(words))
	}
	blocks := []page.Block{command}
	if t := eventTable(f); t != nil {
		blocks = append(blocks, page.Details{Summary: "Events", Blocks: []page.Block{t}})
	}
	d.Add("commands", "Commands", blocks...)
}

func verdicts(f *stats.Facts) (out page.Verdicts) {
	for _, v := range Verdicts(f) {
		out = append(out, page.Verdict{Level: string(v.Level), Rule: v.Rule, Text: v.Text})
	}
	return out
}

// meta is the line above the title: which run, when, how long.
func meta(f *stats.Facts) string {
	s := f.Run.Summary
	var parts []string
	if s.Workload.Name != "" {
		parts = append(parts, s.Workload.Name)
	}
	if !s.Started.IsZero() {
		parts = append(parts, s.Started.UTC().Format("2 January 2006 15:04 UTC"))
	}
	if s.DurationSec > 0 {
		parts = append(parts, stats.Seconds(s.DurationSec)+" measured")
	}
	return strings.Join(parts, " · ")
}

// stamp marks a run that lost data or must not be quoted.
func stamp(f *stats.Facts) string {
	a := f.Run.Summary.Audit
	switch {
	case a.Enabled && a.Lost > 0:
		return "Acknowledged writes lost"
	case a.Enabled && a.Corrupt > 0:
		return "Corrupt values read"
	}
	mark := ""
	for _, v := range f.Run.Summary.Verdicts {
		switch {
		case v.Level == result.Fail && v.Rule == "SLO":
			mark = "Target missed"
		case v.Level == result.Fail:
			return "Failed"
		}
	}
	return mark
}
