// Package studies words and arranges the reports of studies, which are made of
// several runs: the search for the knee, the matrix of device types and
// workloads, the overload test, the calibration of a generator. Like package
// runs it computes no statistics beyond what the study's document holds.
//
// The invariant to know: a rate is never shown without what it was limited by
// and how sure it is; where a study found no answer, its title says so.
//
// Start reading at Document, then knee.go.
package studies

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/chart"
	"headroom/reports/page"
	"headroom/reports/runs"
	"headroom/reports/stats"
)

// Files are the documents that make a folder a study, in the order in which
// they are looked for.
var Files = []string{deviceFile, result.KneeFile, result.OverloadFile, result.MatrixFile, result.CalibrateFile}

// Document reads the study in dir and returns its report. The error is
// fs.ErrNotExist when dir holds no study.
func Document(dir string) (*page.Document, error) {
	var dev device
	if err := result.ReadStudy(dir, deviceFile, deviceFormat, &dev); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		return deviceDocument(dir, &dev)
	}
	var knee result.Knee
	if err := result.ReadStudy(dir, result.KneeFile, result.KneeFormat, &knee); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		return kneeDocument(dir, &knee), nil
	}
	var over result.Overload
	if err := result.ReadStudy(dir, result.OverloadFile, result.OverloadFormat, &over); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		return overloadDocument(dir, &over), nil
	}
	var matrix result.Matrix
	if err := result.ReadStudy(dir, result.MatrixFile, result.MatrixFormat, &matrix); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		return matrixDocument(&matrix), nil
	}
	var cal result.Calibration
	err := result.ReadStudy(dir, result.CalibrateFile, result.CalibrateFormat, &cal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no study (%s): %w", dir, strings.Join(Files, ", "), fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	return calibrateDocument(&cal), nil
}

// begin starts a document with what all studies share.
func begin(kind, title string, s result.Study) *page.Document {
	d := &page.Document{Kind: kind, Title: title, Footer: "Study " + s.ID + ". The runs it is made of are in the folders named in the tables."}
	var parts []string
	if s.Workload.Name != "" {
		parts = append(parts, s.Workload.Name)
	}
	if !s.Started.IsZero() {
		parts = append(parts, s.Started.UTC().Format("2 January 2006 15:04 UTC"))
	}
	if s.SpentSec > 0 {
		parts = append(parts, stats.Seconds(s.SpentSec)+" spent")
	}
	d.Meta = strings.Join(parts, " · ")
	list := append([]result.Verdict(nil), s.Verdicts...)
	if s.Interrupted {
		list = append(list, result.Verdict{Rule: "INTERRUPTED", Level: result.Warn, Text: "the study was stopped before its end; what it had found is here"})
	}
	var v page.Verdicts
	for _, level := range []result.Level{result.Fail, result.Warn, result.Info} {
		for _, x := range list {
			if x.Level == level {
				v = append(v, page.Verdict{Level: string(x.Level), Rule: x.Rule, Text: x.Text})
			}
		}
		if level == result.Fail && len(v) > 0 {
			d.Stamp = "Failed"
		}
	}
	d.Add("verdicts", "Verdicts", page.Judged(v)...)
	return d
}

// end appends environment and command.
func end(d *page.Document, s result.Study) *page.Document {
	d.Add("environment", "Environment", environment(s.Machine))
	d.Add("commands", "Commands", command(s.Command))
	return d
}

func environment(e result.Environment) page.Block {
	if t := runs.Environment(e); t != nil {
		return t
	}
	return page.Absent("The environment was not recorded.")
}

func command(words []string) page.Block {
	if len(words) == 0 {
		return page.Absent("The command was not recorded.")
	}
	return page.Code(page.Command(words))
}

func figure(name string, p chart.Panel) *page.Figure {
	return &page.Figure{Name: name, Caption: p.Alt, Wide: p.Draw(chart.Wide), Narrow: p.Draw(chart.Narrow)}
}

func rows(name string, r chart.Rows) *page.Figure {
	return &page.Figure{Name: name, Caption: r.Alt, Wide: r.Draw(chart.Wide), Narrow: r.Draw(chart.Narrow)}
}

// sloText prints an SLO: p99 of all operations within 2 ms.
func sloText(list []result.Limit) string {
	var out []string
	for _, l := range list {
		of := "all operations"
		if l.Op != "" {
			of = l.Op
		}
		out = append(out, fmt.Sprintf("%s of %s within %s", stats.PercentileName(l.P), of, stats.Micros(l.LatencyUS)))
	}
	return strings.Join(out, ", ")
}

// value returns a percentile by its field name, NaN when absent, +Inf when
// failed operations reach it.
func value(p result.Percentiles, name string) float64 {
	slots := map[string]*float64{"p50": p.P50, "p90": p.P90, "p99": p.P99, "p99_9": p.P999, "max": p.Max}
	if v := slots[name]; v != nil {
		return *v
	}
	for _, n := range p.Infinite {
		if n == name {
			return math.Inf(1)
		}
	}
	return math.NaN()
}

// bounds returns the best interval there is of a percentile and its confidence:
// the bootstrap's, which counts correlation, else the one from order statistics.
// The confidence is empty when there is none.
func bounds(p result.Percentiles, name string) (lo, hi float64, confidence string) {
	for _, x := range []struct {
		of string
		m  map[string][2]*float64
	}{{"95 %", p.Boot95}, {"99 %", p.CI99}} {
		if ci, has := x.m[name]; has && ci[0] != nil {
			if ci[1] == nil {
				return *ci[0], math.Inf(1), x.of
			}
			return *ci[0], *ci[1], x.of
		}
	}
	return 0, 0, ""
}

func rateText(v float64) string { return stats.Rate(v) + " ops/s" }

func optionalRate(v *float64) string {
	if v == nil {
		return page.Missing
	}
	return rateText(*v)
}

func optionalMicros(v *float64) string {
	if v == nil {
		return page.Missing
	}
	return stats.Micros(*v)
}

// raw prints a number for CSV.
func raw(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	return fmt.Sprintf("%g", math.Round(v*1000)/1000)
}

// inside joins a folder with a Dir of a study, which may be hostile: what
// would leave the folder is refused.
func inside(dir, sub string) (string, bool) {
	if sub == "" || !filepath.IsLocal(sub) {
		return "", false
	}
	return filepath.Join(dir, sub), true
}
