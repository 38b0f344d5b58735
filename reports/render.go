package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"headroom/reports/chart"
	"headroom/reports/page"
	"headroom/reports/runs"
)

// writeFile writes what f writes, beside and renamed, so that a full disk
// leaves no half file.
func writeFile(path string, f func(io.Writer) error) error {
	var buf bytes.Buffer
	if err := f(&buf); err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", buf.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// html writes the page of what path names.
func html(path, output string, out io.Writer) error {
	d, err := document(path)
	if err != nil {
		return err
	}
	if output == "" {
		output = filepath.Join(path, "report.html")
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			output = strings.TrimSuffix(path, filepath.Ext(path)) + ".html"
		}
	}
	if err := writeFile(output, func(w io.Writer) error { return page.HTML(w, d) }); err != nil {
		return err
	}
	fmt.Fprintln(out, output)
	return nil
}

// terminal prints a run, or the Markdown of anything else, at a glance.
func terminal(path, report string, out io.Writer) error {
	if !has(path, "run.json") {
		d, err := document(path)
		if err != nil {
			return err
		}
		return page.Markdown(out, d)
	}
	f, err := facts(path)
	if err != nil {
		return err
	}
	return runs.Terminal(out, f, report)
}

// summary prints the five lines of a run.
func summary(path, report string, out io.Writer) error {
	f, err := facts(path)
	if err != nil {
		return err
	}
	for _, l := range runs.Lines(f, report) {
		fmt.Fprintln(out, l)
	}
	return nil
}

// picture is how a plot leaves the page.
type picture struct {
	format       string // png, svg, pdf
	output       string // a file, or a directory for several
	narrow, dark bool
}

// plots writes the named plots of what path names, all without names.
func plots(path string, names []string, p picture, out io.Writer) error {
	d, err := document(path)
	if err != nil {
		return err
	}
	var list []*page.Figure
	for _, n := range names {
		f, err := d.Figure(n)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		list = append(list, f)
	}
	if len(names) == 0 {
		list = d.Figures()
	}
	if len(list) == 1 && p.output != "" {
		return p.write(p.output, list[0], out)
	}
	dir := p.output
	if dir == "" {
		dir = filepath.Join(filepath.Dir(path), "plots")
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			dir = filepath.Join(path, "plots")
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range list {
		if err := p.write(filepath.Join(dir, f.Name+"."+p.format), f, out); err != nil {
			return err
		}
	}
	return nil
}

func (p picture) write(path string, f *page.Figure, out io.Writer) error {
	pic := chart.Picture{Figure: f.Wide, Caption: f.Caption, Dark: p.dark}
	if p.narrow {
		pic.Figure = f.Narrow
	}
	write := map[string]func(io.Writer) error{"png": pic.PNG, "svg": pic.SVG, "pdf": pic.PDF}[p.format]
	if err := writeFile(path, write); err != nil {
		return err
	}
	fmt.Fprintln(out, path)
	return nil
}

// tables prints the named tables of what path names as Markdown or CSV; the
// whole document as Markdown, or every table's name, without names.
func tables(path string, names []string, format string, out io.Writer) error {
	d, err := document(path)
	if err != nil {
		return err
	}
	if len(names) == 0 && format == "md" {
		return page.Markdown(out, d)
	}
	if len(names) == 0 {
		for _, t := range d.Tables() {
			fmt.Fprintf(out, "%-14s %s\n", t.Name, t.Label)
		}
		return nil
	}
	return printTables(d, names, format, out)
}

// printTables prints tables of a document as csv or md.
func printTables(d *page.Document, names []string, format string, out io.Writer) error {
	for i, n := range names {
		t, err := d.Table(n)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		if i > 0 {
			fmt.Fprintln(out)
		}
		if format == "csv" {
			err = t.CSV(out)
		} else {
			_, err = fmt.Fprintln(out, t.Markdown())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
