package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"

	"headroom/planner/plan"
	"headroom/workloads/units"
)

// runWhatIf plans before and after --set.
func runWhatIf(ctx context.Context, o *options, out io.Writer) error {
	if len(o.set) == 0 {
		return usagef("whatif wants --set KEY=VALUE: what is to change")
	}
	before, err := o.requirements(false)
	if err != nil {
		return err
	}
	after := before.Clone()
	if err := o.apply(after); err != nil {
		return err
	}
	in, err := o.input(before)
	if err != nil {
		return err
	}
	a, err := plan.Make(ctx, in)
	if err != nil {
		return given(ctx, err)
	}
	in.Requirements = after
	b, err := plan.Make(ctx, in)
	if err != nil {
		return given(ctx, err)
	}
	if err := printDifferences(o, out, a, b); err != nil {
		return err
	}
	if b.Answer == nil {
		return errMissed
	}
	return nil
}

// runDiff compares two plan files.
func runDiff(_ context.Context, o *options, out io.Writer) error {
	if len(o.args) != 2 {
		return usagef("diff wants two plan files, not %d", len(o.args))
	}
	a, err := readPlan(o.args[0])
	if err != nil {
		return err
	}
	b, err := readPlan(o.args[1])
	if err != nil {
		return err
	}
	return printDifferences(o, out, a, b)
}

func printDifferences(o *options, out io.Writer, a, b *plan.Plan) error {
	list, err := plan.Compare(a, b)
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(out, struct {
			Format      string            `json:"format"`
			Differences []plan.Difference `json:"differences"`
		}{"headroom-plan-diff/1", list})
	}
	if len(list) == 0 {
		fmt.Fprintln(out, "no difference")
		return nil
	}
	t := plainTable()
	t.AppendHeader(table.Row{"", "before", "after"})
	for _, d := range list {
		t.AppendRow(table.Row{d.What, d.Before, d.After})
	}
	fmt.Fprintln(out, t.Render())
	return nil
}

// fleetSizes are the numbers of nodes that fleet computes by itself.
var fleetSizes = []int{3, 5, 10, 20, 50, 100, 200, 500, 1000}

func runReverse(ctx context.Context, o *options, out io.Writer) error {
	if len(o.nodes) != 1 {
		return usagef("reverse wants --nodes N: how many there are")
	}
	return o.capacities(ctx, out, o.nodes)
}

func runFleet(ctx context.Context, o *options, out io.Writer) error {
	if len(o.nodes) > 0 {
		return o.capacities(ctx, out, o.nodes)
	}
	r, err := o.requirements(true)
	if err != nil {
		return err
	}
	racks := o.racks
	if racks == 0 {
		racks = r.Redundancy.Racks[0]
	}
	var sizes []int
	for _, n := range fleetSizes {
		// Down to what the racks divide; at least what the rules ask.
		if n = n / racks * racks; n >= max(slices.Min(r.Redundancy.Copies), r.Redundancy.FailNodes+1, o.copies, racks)+r.Redundancy.FailNodes && !slices.Contains(sizes, n) {
			sizes = append(sizes, n)
		}
	}
	return o.capacities(ctx, out, sizes)
}

// capacities prints what clusters of these sizes take.
func (o *options) capacities(ctx context.Context, out io.Writer, sizes []int) error {
	if o.kind == "" {
		return usagef("give a machine --type; headroom-planner catalog lists them")
	}
	r, err := o.requirements(true)
	if err != nil {
		return err
	}
	in, err := o.input(r)
	if err != nil {
		return err
	}
	list, err := plan.Reverse(ctx, in, o.kind, o.copies, o.racks, sizes)
	if err != nil {
		return given(ctx, err)
	}
	if o.json {
		return printJSON(out, struct {
			Format     string          `json:"format"`
			Capacities []plan.Capacity `json:"capacities"`
		}{"headroom-capacity/1", list})
	}
	printCapacities(out, list, in.Model == nil)
	return nil
}

func printCapacities(out io.Writer, list []plan.Capacity, prior bool) {
	t := plainTable()
	t.AppendHeader(table.Row{"nodes", "rf", "$/h", "rates alone", "data alone", "both", "binds", "records", "reads", "writes", "rebuild", "a partition lost", "fullest/mean", "lost with RF nodes", ""})
	for i := range list {
		c := &list[i]
		mark := c.Note
		if prior {
			mark = "prior " + mark
		}
		t.AppendRow(table.Row{c.Nodes, c.Copies, number(c.USDPerHour, "%.2f"), times(c.Rates), times(c.Data), times(c.Both),
			words(c.Binding.Resource) + ", " + words(c.Binding.State), fmt.Sprintf("%.3g", c.Records), units.Rate(c.ReadsPerSec), units.Rate(c.WritesPerS),
			seconds(c.RebuildSec), every(c.MTTDLYears), fmt.Sprintf("%.3f", c.CopiesSpread), c.OneMore, mark})
	}
	racks := ""
	if n := list[0].Racks; n > 1 {
		racks = fmt.Sprintf(" in %d racks", n)
	}
	fmt.Fprintf(out, "%s%s: how many times the requirements it takes in every state; the columns after it are at that load\n%s\n", list[0].Type, racks, t.Render())
}

func times(v *float64) string {
	if v == nil {
		return "no limit"
	}
	return fmt.Sprintf("%.3gx", *v)
}
