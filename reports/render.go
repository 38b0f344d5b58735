package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"headroom/reports/page"
	"headroom/reports/stats"
)

// render reads the run folder dir and writes what verb asks for.
func render(verb, dir, output, report string, out io.Writer) error {
	run, problems, err := stats.Load(dir)
	if err != nil {
		return err
	}
	facts := stats.Derive(run, problems)
	switch verb {
	case "terminal":
		return page.Terminal(out, facts, report)
	case "summary":
		for _, l := range page.Lines(facts, report) {
			fmt.Fprintln(out, l)
		}
		return nil
	}
	if output == "" {
		output = filepath.Join(dir, "report.html")
	}
	var buf bytes.Buffer
	if err := page.HTML(&buf, facts); err != nil {
		return err
	}
	// Written beside and renamed, so that a full disk leaves no half page.
	if err := os.WriteFile(output+".tmp", buf.Bytes(), 0o644); err != nil {
		return err
	}
	if err := os.Rename(output+".tmp", output); err != nil {
		return err
	}
	fmt.Fprintln(out, output)
	return nil
}
