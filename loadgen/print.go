package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"headroom/loadgen/result"
	"headroom/workloads/units"
)

// print writes the summary to stdout: a table, or run.json with --json.
func (s *session) print() error {
	if s.o.json {
		return printJSON(s.stdout, &s.summary)
	}
	s.printOperations()
	s.printFaults()
	for _, level := range []result.Level{result.Fail, result.Warn, result.Info} {
		for _, v := range s.summary.Verdicts {
			if v.Level == level {
				fmt.Fprintf(s.stdout, "%-4s  %s: %s\n", v.Level, v.Rule, v.Text)
			}
		}
	}
	_, err := fmt.Fprintf(s.stdout, "run folder: %s\n", s.dir)
	return err
}

func printJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, string(text))
	return err
}

func (s *session) printOperations() {
	m := &s.summary
	for _, v := range m.Verdicts { // on top of the figures that it concerns
		if v.Level == result.Fail && v.Rule != "SLO" { // a missed limit is the target's own figure
			fmt.Fprintf(s.stdout, "\nDO NOT USE THESE FIGURES as the target's: %s", v.Rule)
			break
		}
	}
	fmt.Fprintf(s.stdout, "\n%s loop, %v offered, %v achieved over %.1f s; response time from the intended start\n", m.Loop,
		units.Rate(math.Round(m.OfferedOpsPerSec)), units.Rate(math.Round(m.AchievedOpsPerSec)), m.DurationSec)
	t := plainTable()
	t.AppendHeader(table.Row{"operation", "count", "failed", "in doubt", "p50", "p90", "p99", "p99.9", "max", "service p99", "lateness p99"})
	var names []string
	for name := range m.Operations {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		o := m.Operations[name]
		r := &o.Response
		t.AppendRow(table.Row{name, o.Count, o.Failed, o.InDoubt, cell(r, "p50", r.P50), cell(r, "p90", r.P90), cell(r, "p99", r.P99),
			cell(r, "p99_9", r.P999), cell(r, "max", r.Max), cell(&o.Service, "p99", o.Service.P99), cell(&o.Lateness, "p99", o.Lateness.P99)})
	}
	fmt.Fprintln(s.stdout, t.Render())
}

func (s *session) printFaults() {
	if len(s.summary.Faults) == 0 {
		return
	}
	t := plainTable()
	t.AppendHeader(table.Row{"fault", "at", "longest wait", "failed", "in doubt", "one view after", "redundancy after"})
	for _, f := range s.summary.Faults {
		t.AppendRow(table.Row{f.What + " " + f.Node, fmt.Sprintf("%.2f s", f.AtSec), optional(f.GapMS, 1e3), f.Failed, f.InDoubt,
			optional(f.OneViewMS, 1e3), optional(f.RedundancyRestoredSec, 1e6)})
	}
	fmt.Fprintln(s.stdout, t.Render())
	for _, c := range s.summary.Conflicts {
		if c.Discarded > 0 {
			fmt.Fprintf(s.stdout, "discarded after a split: %d acknowledged versions of namespace %s (%s)\n", c.Discarded, c.Namespace, c.Cause)
		}
	}
}

func plainTable() table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = 0 // as written
	t.Style().Options = table.OptionsNoBordersAndSeparators
	return t
}

// cell prints a percentile, "few" when there are not enough samples and "inf"
// when failed operations reach it; "~" marks a wide interval (rule R3).
func cell(p *result.Percentiles, name string, v *float64) string {
	switch {
	case slices.Contains(p.Unsupported, name):
		return "few"
	case v == nil:
		return "inf"
	case slices.Contains(p.Wide, name):
		return "~" + micros(*v)
	}
	return micros(*v)
}

// optional prints a time given in units of so many microseconds.
func optional(v *float64, unitUS float64) string {
	if v == nil {
		return "not seen"
	}
	return micros(*v * unitUS)
}

// print writes the search as a table and the answer as sentences.
func (n *knee) print(w io.Writer) error {
	d := &n.doc
	if n.o.json {
		return printJSON(w, d)
	}
	t := plainTable()
	t.AppendHeader(table.Row{"probe", "rate", "achieved", "seconds", "p50", "p99", "slower", "allowed", "outcome"})
	for _, p := range d.Probes {
		var slower, allowed []string
		for _, x := range p.Tests {
			slower = append(slower, fmt.Sprintf("%.3g %%", 100*float64(x.Beyond)/math.Max(1, float64(x.Samples))))
			allowed = append(allowed, fmt.Sprintf("%.3g %%", 100*(1-x.Limit.P)))
		}
		r := &p.Response
		if p.Migrating != nil {
			r = p.Migrating
		}
		t.AppendRow(table.Row{p.Phase, units.Rate(p.RateOpsPerSec), units.Rate(math.Round(p.AchievedOpsPerSec)), fmt.Sprintf("%.0f", p.DurationSec),
			cell(r, "p50", r.P50), cell(r, "p99", r.P99), strings.Join(slower, ", "), strings.Join(allowed, ", "), p.Outcome})
	}
	fmt.Fprintf(w, "\n%s\n\n%s\n", t.Render(), n.sentence())
	for _, level := range []result.Level{result.Fail, result.Warn, result.Info} {
		for _, v := range d.Verdicts {
			if v.Level == level {
				fmt.Fprintf(w, "%-4s  %s: %s\n", v.Level, v.Rule, v.Text)
			}
		}
	}
	_, err := fmt.Fprintf(w, "study folder: %s (%.0f of %.0f s)\n", n.dir, d.SpentSec, d.BudgetSec)
	return err
}

// tried begins the sentence of a search without an answer.
func (n *knee) tried() string {
	if len(n.doc.Probes) == 0 {
		return "No rate was tried that could hold "
	}
	if heldOnce(n.doc.Probes) {
		return "No rate was confirmed to hold "
	}
	low, high := math.Inf(1), 0.0
	for _, p := range n.doc.Probes {
		low, high = min(low, p.RateOpsPerSec), max(high, p.RateOpsPerSec)
	}
	return fmt.Sprintf("None of the rates tried, %v to %v, held ", units.Rate(math.Round(low)), units.Rate(math.Round(high)))
}

// sentence is the answer in words.
func (n *knee) sentence() string {
	d := &n.doc
	var slo []string
	for _, l := range d.SLO {
		slo = append(slo, fmt.Sprintf("%s of %s <= %s", strings.ReplaceAll(l.Percentile, "_", "."), nameOf(l), micros(l.LatencyUS)))
	}
	what := strings.Join(slo, " and ")
	if d.During != "" {
		what += " while nodes go through " + d.During
	}
	if d.AnswerOpsPerSec == nil {
		return n.tried() + what + "."
	}
	high := "no rate failed"
	if d.HighOpsPerSec != nil {
		high = fmt.Sprintf("%v failed", units.Rate(math.Round(*d.HighOpsPerSec)))
	}
	low := "nothing was decided below it"
	if d.LowOpsPerSec != nil {
		low = fmt.Sprintf("%v held", units.Rate(math.Round(*d.LowOpsPerSec)))
	}
	confirmed := "not confirmed"
	if d.Confirmed && d.ConfirmSec > 0 {
		confirmed = fmt.Sprintf("confirmed over %.0f s", d.ConfirmSec)
	}
	if d.During != "" {
		confirmed += ", each probe with a fault of its own"
	}
	text := fmt.Sprintf("%v hold %s (%s; %s, %s).\nLimit: %s: %s.", units.Rate(math.Round(*d.AnswerOpsPerSec)), what, confirmed, low, high,
		d.Limiting.Resource, d.Limiting.Text)
	if d.AchievedOverOffered != nil && d.CouldOverOffered != nil {
		text += fmt.Sprintf("\nAchieved %.2f %% of what was offered; this generator could have sent %.1f times as much.", 100**d.AchievedOverOffered, *d.CouldOverOffered)
	}
	return text
}
