// Package page turns the facts of a run into something to read: one
// self-contained HTML file (HTML) or text for a terminal (Terminal, Lines). It
// words every sentence from the numbers and decides the order of things. It
// computes no statistics (package stats) and draws nothing itself (package
// chart).
//
// The invariant to know: no text of a run reaches the page unescaped; the only
// trusted markup is what chart returns, which escapes its own texts. A page
// refers to nothing outside itself.
//
// Start reading at HTML, then Title in story.go.
package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/stats"
)

//go:embed page.html
var pageHTML string

//go:embed style.css
var styleCSS string

// view is what the template sees.
type view struct {
	Style      template.CSS
	Title      string
	ID         string
	Meta       string
	Stamp      string // one word over a run that must not be used
	Verdicts   []result.Verdict
	Headline   []value
	Throughput *figure
	Latency    *figure
	Nines      *figure
	Redundancy *figure

	Kinds, Faults, Audit, Nodes, Operations, Load, Environment, Events *grid

	AuditText, BalanceText, Workload, Command string
}

// HTML writes the report of a run as one file.
func HTML(w io.Writer, f *stats.Facts) error {
	t, err := template.New("page").Funcs(template.FuncMap{"nb": unbroken}).Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("page template: %w", err)
	}
	return t.Execute(w, newView(f))
}

func newView(f *stats.Facts) view {
	s := f.Run.Summary
	v := view{Style: template.CSS(chart.CSS() + styleCSS), Title: Title(f), ID: s.ID, //nolint:gosec // both are our own text
		Meta: meta(f), Stamp: stamp(f), Verdicts: Verdicts(f), Headline: headline(f), Nines: nines(f),
		Kinds: kindTable(f), Faults: faultTable(f), Audit: auditTable(f), Nodes: nodeTable(f), Operations: operationTable(f),
		Load: generatorTable(f), Environment: environmentTable(f), Events: eventTable(f),
		AuditText: auditSentence(f), BalanceText: balanceSentence(f.NodeRows), Workload: f.Run.Workload, Command: shell(s.Command)}
	v.Throughput, v.Latency, v.Redundancy = timelines(f)
	return v
}

// unit matches a number and the unit after it.
var unit = regexp.MustCompile(`([0-9∞]) (%|µs|ms|s|min|h|B|[KMGTP]iB|ops/s)([^\pL]|$)`)

// unbroken keeps numbers and their units on one line.
func unbroken(s string) string { return unit.ReplaceAllString(s, "$1\u00a0$2$3") }

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
	for _, v := range f.Run.Summary.Verdicts {
		if v.Level == result.Fail {
			return "Failed"
		}
	}
	return ""
}

// shell prints a command so that a shell reads the same words again.
func shell(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		if w != "" && strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-") == "" {
			out[i] = w
			continue
		}
		out[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(out, " ")
}
