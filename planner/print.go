package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"headroom/planner/plan"
	"headroom/workloads/units"
)

// rows of candidates that are printed without --all.
const rowsMost = 12

func printPlan(out io.Writer, p *plan.Plan, all bool) {
	mark := ""
	if p.Model.Prior {
		mark = " prior"
		fmt.Fprintf(out, "No measured model: every figure marked \"prior\" rests on shipped priors, and no percentile is predicted.\n\n")
	} else if p.Model.PriorCPU {
		mark = " prior"
		fmt.Fprintf(out, "The model does not know what all operations cost: every figure marked \"prior\" rests in part on shipped priors.\n\n")
	}
	printCandidates(out, p, all, mark)
	if best := p.Best(); best != nil {
		printStates(out, best, mark)
		printLevers(out, p)
		if p.NodeConfig != "" {
			fmt.Fprintf(out, "node configuration\n%s\n", indent(p.NodeConfig))
		}
	}
	printAssumptions(out, p)
	fmt.Fprintf(out, "%s\n", wrap(p.Summary, 110))
}

func printCandidates(out io.Writer, p *plan.Plan, all bool, mark string) {
	t := plainTable()
	t.AppendHeader(table.Row{"type", "nodes", "rf", "racks", "$/h", "P", "binds", "at", "bytes/node", "rebuild", "a partition lost", "row", ""})
	shown, unfit := 0, 0
	for i := range p.Candidates {
		c := &p.Candidates[i]
		if !c.Feasible {
			unfit++
		}
		if !all && (!c.Feasible || shown == rowsMost) {
			continue
		}
		shown++
		if !c.Feasible {
			t.AppendRow(table.Row{c.Type, "-", c.Copies, c.Racks, "", "", c.Reason})
			continue
		}
		rests := strings.TrimSpace(mark)
		if rests == "" && c.Transferred {
			rests = "transferred"
		}
		t.AppendRow(table.Row{c.Type, c.Nodes, c.Copies, c.Racks, number(c.USDPerHour, "%.2f"), fmt.Sprintf("%.2f", c.PFeasible),
			words(c.Binding.Resource) + ", " + words(c.Binding.State), number(c.Binding.Utilisation, "%.2f"), units.Bytes(c.BytesPerNode).Human(),
			seconds(c.RebuildSec), every(c.MTTDLYears), c.Confidence, rests})
	}
	if shown > 0 {
		fmt.Fprintln(out, t.Render())
	}
	if !all {
		fmt.Fprintf(out, "%d of %d combinations of type, copies and racks are feasible (--all lists them)\n", len(p.Candidates)-unfit, len(p.Candidates))
	}
	fmt.Fprintln(out)
}

// printStates prints utilisation per state and resource; 1 is the limit.
func printStates(out io.Writer, c *plan.Candidate, mark string) {
	t := plainTable()
	head := table.Row{"state", "nodes"}
	var resources []string
	for _, s := range c.States {
		for r := range s.Resources {
			if !slices.Contains(resources, r) {
				resources = append(resources, r)
			}
		}
	}
	slices.Sort(resources)
	for _, r := range resources {
		head = append(head, strings.Replace(words(r), "p99", "p99/target", 1))
	}
	measured := len(c.States) > 0 && c.States[0].P99 != nil
	if measured {
		head = append(head, "read p50", "p99", "p99.9", "write p99")
	}
	t.AppendHeader(append(head, ""))
	for _, s := range c.States {
		row := table.Row{words(s.State), s.Nodes}
		for _, r := range resources {
			if _, ok := s.Resources[r]; ok {
				row = append(row, number(s.Resources[r], "%.2f"))
			} else {
				row = append(row, "")
			}
		}
		if measured {
			row = append(row, millis(s.P50), millis(s.P99), millis(s.P999), millis(s.WriteP99))
		}
		t.AppendRow(append(row, strings.TrimSpace(mark)))
	}
	fmt.Fprintf(out, "%d x %s, utilisation of each resource (1 is the limit)\n%s\n\n", c.Nodes, c.Type, t.Render())
}

func printLevers(out io.Writer, p *plan.Plan) {
	best := p.Best()
	if f := best.WhyNotFewer; f != nil {
		fmt.Fprintf(out, "why not %d: %s\n", f.Nodes, f.Text)
	}
	for _, s := range p.Shadow {
		with := ""
		if s.Together {
			with = ", only together with the other"
		}
		fmt.Fprintf(out, "shadow price: %s more %s (%s) saves %d, $%.2f an hour%s\n", percent(s.More), words(s.Resource), s.Amount, s.Saves, s.USD, with)
	}
	if len(p.Curve) > 0 {
		var parts []string
		for _, c := range p.Curve {
			parts = append(parts, fmt.Sprintf("%d: %.2f", c.Nodes, c.PFeasible))
		}
		fmt.Fprintf(out, "P(feasible) by nodes: %s; least regret %d nodes\n", strings.Join(parts, ", "), *p.LeastRegret)
		if note := p.CurveNote(); note != "" {
			fmt.Fprintf(out, "  %s\n", note)
		}
	}
	for _, s := range p.Tornado {
		fmt.Fprintf(out, "tornado: %-34s %d to %d nodes (its p10, its p90)\n", s.Input, s.P10, s.P90)
	}
	if p.Full != nil {
		fmt.Fprintf(out, "full after %s months (p10 %s, p90 %s)\n", months(p.Full.P50), months(p.Full.P10), months(p.Full.P90))
	}
	fmt.Fprintln(out)
}

func printAssumptions(out io.Writer, p *plan.Plan) {
	fmt.Fprintln(out, "rests on")
	for _, a := range p.Assumptions {
		mark := "       "
		if a.Prior {
			mark = "prior  "
		}
		fmt.Fprintf(out, "  %s%s\n", mark, a.Text)
	}
	for _, s := range p.OnPaper {
		fmt.Fprintf(out, "  on paper  %s\n", s)
	}
	fmt.Fprintln(out)
}

func plainTable() table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleDefault)
	s := t.Style()
	s.Options = table.Options{}
	s.Box.PaddingRight = " "
	s.Format.Header = text.FormatDefault
	return t
}

func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

func number(v *float64, format string) string {
	if v == nil {
		return "?"
	}
	return fmt.Sprintf(format, *v)
}

func millis(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.3g ms", *v)
}

func seconds(v *float64) string {
	switch {
	case v == nil:
		return "?"
	case *v < 120:
		return fmt.Sprintf("%.3g s", *v)
	case *v < 7200:
		return fmt.Sprintf("%.3g min", *v/60)
	}
	return fmt.Sprintf("%.3g h", *v/3600)
}

func every(v *float64) string {
	if v == nil {
		return "?"
	}
	return fmt.Sprintf("in %.2g years", *v)
}

func months(v *float64) string {
	if v == nil {
		return "over 120"
	}
	return fmt.Sprintf("%.0f", *v)
}

func percent(v float64) string {
	if v > 0 && v < 0.01 {
		return fmt.Sprintf("%.2g %%", v*100)
	}
	return fmt.Sprintf("%.0f %%", v*100)
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ") + "\n"
}

func wrap(s string, width int) string { return text.WrapSoft(s, width) }
