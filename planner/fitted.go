package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"headroom/planner/catalog"
	"headroom/planner/fit"
	"headroom/planner/model"
)

// runFit makes a model of run folders and device profiles.
func runFit(_ context.Context, o *options, out io.Writer) error {
	cfg := fit.Config{Runs: o.args, Devices: o.devices, Type: o.kind, Name: o.name, Now: time.Now()}
	if err := cfg.Check(); err != nil {
		return usageError{err}
	}
	m, r, err := fit.Make(cfg)
	if err != nil {
		return err
	}
	if o.output == "" {
		o.output = "model.json"
	}
	if err := noteType(o.kind, r); err != nil {
		return err
	}
	if err := m.Save(o.output); err != nil {
		return err
	}
	if o.json {
		return printJSON(out, struct {
			Model  *model.Model `json:"model"`
			Report *fit.Report  `json:"fit"`
		}{m, r})
	}
	printFit(out, m, r)
	fmt.Fprintf(out, "model file: %s\n", o.output)
	return nil
}

// noteType says that no shipped catalog has the type that the runs were made
// on: a slip of the pen would make every plan transfer its figures.
func noteType(name string, r *fit.Report) error {
	types, err := catalog.Load(catalog.Shipped())
	if err != nil {
		return err
	}
	if name != "" && !slices.ContainsFunc(types, func(t catalog.Type) bool { return t.Name == name }) {
		r.Notes = append(r.Notes, fmt.Sprintf("no shipped catalog has the type %s: give plan the --catalog that has it, else its figures are transferred to every type", name))
	}
	return nil
}

// printFit prints the runs beside the fit, the figures, and what is missing.
func printFit(out io.Writer, m *model.Model, r *fit.Report) {
	if len(r.Runs) > 0 {
		t := plainTable()
		t.AppendHeader(table.Row{"run", "nodes", "ops/s", "busiest", "CPU, cores", "by the fit", "error", "left out", "read p99", "by the model"})
		for _, f := range r.Runs {
			t.AppendRow(table.Row{f.ID, f.Nodes, fmt.Sprintf("%.4g", f.OpsPerSec), percent(f.Utilisation), figure(f.CPU), figure(f.CPUPredicted), share(f.CPUError),
				share(f.LeftOutError), micros(f.P99), micros(f.P99Model)})
		}
		fmt.Fprintf(out, "%s\n%s\n\n", t.Render(), r.Summary())
	}
	t := plainTable()
	t.AppendHeader(table.Row{"figure", "value [p10, p50, p90]", ""})
	for _, n := range m.Uncertain() {
		name := strings.TrimPrefix(n.Name, "model.")
		t.AppendRow(table.Row{name, n.Value.String(), mark(m.Rests(name))})
	}
	for name, d := range m.Devices {
		t.AppendRow(table.Row{"device " + name, fmt.Sprintf("%d channels, read %.4g us, write %.4g us, %.4g/%.4g IOPS", d.Channels, d.Read.Mean(), d.Write.Mean(),
			d.ReadIOPS, d.WriteIOPS), ""})
	}
	if m.Latency() {
		t.AppendRow(table.Row{"quiet read", fmt.Sprintf("p50 %.4g us, p99 %.4g us", m.Read.Quantile(0.5), m.Read.Quantile(0.99)), mark(m.Rests("read_us"))})
		t.AppendRow(table.Row{"quiet write", fmt.Sprintf("p50 %.4g us, p99 %.4g us", m.Write.Quantile(0.5), m.Write.Quantile(0.99)), mark(m.Rests("write_us"))})
	}
	fmt.Fprintf(out, "%s\n", t.Render())
	for _, n := range r.Notes {
		fmt.Fprintf(out, "note: %s\n", n)
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(out, "skipped: %s\n", s)
	}
}

func mark(prior bool) string {
	if prior {
		return "prior"
	}
	return "measured"
}

func figure(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.3g", *v)
}

func share(v *float64) string {
	if v == nil {
		return ""
	}
	return percent(*v)
}

func micros(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.0f us", *v)
}
