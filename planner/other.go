package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"headroom/planner/catalog"
	"headroom/planner/examples"
)

// runExample lists or prints the shipped requirements.
func runExample(_ context.Context, o *options, out io.Writer) error {
	switch len(o.args) {
	case 0:
		for _, n := range examples.Names() {
			about, _, _ := strings.Cut(string(examples.Text(n)), "version:")
			fmt.Fprintf(out, "%-10s %s\n", n, strings.Join(strings.Fields(strings.ReplaceAll(about, "#", " ")), " "))
		}
		return nil
	case 1:
		text := examples.Text(o.args[0])
		if text == nil {
			return usagef("no example %q: want one of %s", o.args[0], strings.Join(examples.Names(), ", "))
		}
		_, err := out.Write(text)
		return err
	}
	return usagef("example takes one name")
}

// runCatalog lists the machine types.
func runCatalog(_ context.Context, o *options, out io.Writer) error {
	if len(o.args) > 0 {
		return usagef("catalog takes no argument: name files with --catalog")
	}
	types, err := catalog.Load(append(catalog.Default(), o.catalog...))
	if err != nil {
		return usageError{err}
	}
	if o.json {
		return printJSON(out, struct {
			Format string         `json:"format"`
			Types  []catalog.Type `json:"types"`
		}{"headroom-catalog/1", types})
	}
	t := plainTable()
	t.AppendHeader(table.Row{"type", "vCPU", "GiB", "devices", "TB", "read IOPS", "write IOPS", "Gbps", "$/h", "row", "from", "date", "note"})
	for i := range types {
		k := &types[i]
		t.AppendRow(table.Row{k.Name, k.VCPU, k.RAMBytes / (1 << 30), known(k.Devices, 1), known(k.Bytes(), 1e12), known(k.ReadIOPS, 1), known(k.WriteIOPS, 1),
			known(k.NetBase, 1e9/8), known(k.USDPerHour, 1), k.Confidence, k.File + ": " + k.Source, k.Date, k.Note})
	}
	fmt.Fprintln(out, t.Render())
	return nil
}

// known prints a figure in its unit, ? if it is not known.
func known(v, unit float64) string {
	if v != v {
		return "?"
	}
	return fmt.Sprintf("%.4g", v/unit)
}
