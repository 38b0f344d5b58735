package main

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"headroom/loadgen/result"
	"headroom/reports/diff"
	"headroom/reports/page"
	"headroom/reports/sample"
)

// pages are one page of every kind.
func pages(t *testing.T) map[string]string {
	t.Helper()
	root := t.TempDir()
	run, knee := filepath.Join(root, "run"), filepath.Join(root, "knee")
	if err := sample.Write(run); err != nil {
		t.Fatal(err)
	}
	v := 900.0
	if err := result.WriteStudy(knee, result.KneeFile, &result.Knee{Study: result.Study{Format: result.KneeFormat, ID: "k"}, SLO: []result.Limit{{Percentile: "p99", P: 0.99, LatencyUS: 2000}},
		AnswerOpsPerSec: &v, Probes: []result.Probe{{N: 1, OfferedOpsPerSec: 900, Outcome: result.Holds, Response: result.Percentiles{P99: &v, P50: &v}}}}); err != nil {
		t.Fatal(err)
	}
	matrix, overload := filepath.Join(root, "matrix"), filepath.Join(root, "overload")
	m := &result.Matrix{Study: result.Study{Format: result.MatrixFormat}, Axes: []result.Axis{{Name: "nodes", Values: []string{"1", "2"}}}}
	for i, n := range m.Axes[0].Values {
		m.Cells = append(m.Cells, result.Cell{N: i, Values: map[string]string{"nodes": n}, State: result.CellDone, KneeOpsPerSec: &v, P99US: &v})
	}
	if err := result.WriteStudy(matrix, result.MatrixFile, m); err != nil {
		t.Fatal(err)
	}
	if err := result.WriteStudy(overload, result.OverloadFile, &result.Overload{Study: result.Study{Format: result.OverloadFormat, Machine: result.Environment{GOOS: "linux", Cores: 2}}, RateOpsPerSec: 3000, OverShare: 1.2, Dir: "run"}); err != nil {
		t.Fatal(err)
	}
	if err := sample.Write(filepath.Join(overload, "run")); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, path := range map[string]string{"run": run, "knee": knee, "matrix": matrix, "overload": overload, "plan": filepath.Join("capacity", "testdata", "plan.json")} {
		d, err := document(path)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := page.HTML(&b, d); err != nil {
			t.Fatal(err)
		}
		out[name] = b.String()
	}
	for name, of := range map[string]func([]string) (*page.Document, error){"compare": compareDocument, "trend": diff.Trend} {
		d, err := of([]string{run, run})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := page.HTML(&b, d); err != nil {
			t.Fatal(err)
		}
		out[name] = b.String()
	}
	return out
}

func TestEveryPageIsAccessible(t *testing.T) {
	for name, text := range pages(t) {
		text, _, _ = strings.Cut(text, "<script>\"use strict\"")
		level := 0
		for _, m := range regexp.MustCompile(`<h([1-6])`).FindAllStringSubmatch(text, -1) {
			l := int(m[1][0] - '0')
			if l > level+1 {
				t.Errorf("%s: heading level %d follows %d", name, l, level)
			}
			level = l
		}
		for _, svg := range regexp.MustCompile(`<svg [^>]*>`).FindAllString(text, -1) {
			if m := regexp.MustCompile(`role="img" aria-label="([^"]*)"`).FindStringSubmatch(svg); m == nil || len(m[1]) < 20 {
				t.Errorf("%s: a figure without alternative text: %s", name, svg)
			}
		}
		seen := map[string]bool{}
		for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(text, -1) {
			if seen[m[1]] {
				t.Errorf("%s: id %q stands twice", name, m[1])
			}
			seen[m[1]] = true
		}
		tables := strings.Count(text, "<table")
		if heads := strings.Count(text, "<thead>"); tables == 0 || heads != tables {
			t.Errorf("%s: %d tables, %d with a head", name, tables, heads)
		}
		for _, th := range regexp.MustCompile(`<th[ >][^>]*`).FindAllString(text, -1) {
			if !strings.Contains(th, "scope=") {
				t.Errorf("%s: a header without scope: %s", name, th)
			}
		}
		if !strings.Contains(text, `<html lang="en">`) || strings.Count(text, "<h1>") != 1 {
			t.Errorf("%s: no language, or not one first heading", name)
		}
	}
}

func TestPlotsAndTablesComeByName(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "run")
	if err := sample.Write(dir); err != nil {
		t.Fatal(err)
	}
	f := func(want int, says string, args ...string) {
		t.Helper()
		var o, e bytes.Buffer
		if got := run(args, &o, &e); got != want || !strings.Contains(o.String()+e.String(), says) {
			t.Errorf("%q exits %d, want %d, and prints %.300q%q, want %q", args, got, want, o.String(), e.String(), says)
		}
	}
	f(0, "latency.svg", "svg", dir, "latency", "-o", filepath.Join(root, "latency.svg"))
	f(0, "heat.png", "png", dir, "heat", "throughput", "-o", filepath.Join(root, "p"), "--dark")
	f(0, "latency.pdf", "pdf", dir, "latency", "-o", filepath.Join(root, "latency.pdf"), "--narrow")
	f(2, "there are throughput, latency", "png", dir, "nope")
	f(2, "there are ", "csv", dir, "nope")
	f(0, "| kill node3 | 10.00 s | 310 ms |", "md", dir, "faults")
	f(0, "# 4 nodes held", "md", dir)
	f(0, "operations", "csv", dir)
	f(0, "get,114000,", "csv", dir, "operations")
	f(2, "no flag --pairs", "html", dir, "--pairs")
	f(2, "even number", "compare", "--pairs", dir, dir, dir)
	f(2, "want a share", "compare", dir, dir, "--threshold", "lots")
	f(2, "not on loopback", "serve", root, "--listen", "0.0.0.0:1")
	f(2, "want ADDRESS:PORT", "serve", root, "--listen", "nonsense")
	f(2, "there is no ", "html", filepath.Join(root, "none"))
	f(2, "there is no ", "compare", dir, filepath.Join(root, "none"))
	f(2, "there is no ", "serve", filepath.Join(root, "none"))
	f(1, "at least two run folders", "trend", root)
	f(3, "target not met", "compare", dir, dir, "--gate")
	f(0, `"format": "headroom-compare/1"`, "compare", dir, dir, "--json")
	f(0, "| p50 |", "compare", dir, dir, "--markdown")
	f(0, "shift.svg", "compare", dir, dir, "--plot", "shift", "-o", filepath.Join(root, "shift.svg"))
	f(0, "p.png", "compare", dir, dir, "--plot", "percentiles", "-o", filepath.Join(root, "p.png"), "--dark", "--narrow")
	f(0, ",difference,change,interval", "compare", dir, dir, "--table", "shift")
	f(0, "| Response time |", "compare", dir, dir, "--table", "shift", "--markdown")
	f(0, "t.pdf", "trend", dir, dir, "--plot", "trend-p99", "-o", filepath.Join(root, "t.pdf"))
	f(0, "Run,folder,started", "trend", dir, dir, "--table", "runs")
	f(2, "there are shift, ", "compare", dir, dir, "--plot", "nope", "-o", filepath.Join(root, "x.svg"))
	f(2, "ends in .png", "compare", dir, dir, "--plot", "shift")
	f(2, "goes with --markdown only", "compare", dir, dir, "--table", "shift", "--json")
	f(2, "no flag --plot", "html", dir, "--plot", "latency")
	f(3, "do not follow from the raw files", "verify", dir) // the sample's numbers are made up
}
