package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"

	"headroom/loadgen/result"
	"headroom/workloads/units"
)

// print writes the summary to stdout: a table, or run.json with --json.
func (s *session) print() error {
	if s.o.json {
		text, err := json.MarshalIndent(&s.summary, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(s.stdout, string(text))
		return err
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

func (s *session) printOperations() {
	m := &s.summary
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
		t.AppendRow(table.Row{f.What + " " + f.Node, fmt.Sprintf("%.2f s", f.AtSec), optional(f.GapMS, "ms"), f.Failed, f.InDoubt,
			optional(f.OneViewMS, "ms"), optional(f.RedundancyRestoredSec, "s")})
	}
	fmt.Fprintln(s.stdout, t.Render())
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

func optional(v *float64, unit string) string {
	if v == nil {
		return "not seen"
	}
	return fmt.Sprintf("%.3g %s", *v, unit)
}
