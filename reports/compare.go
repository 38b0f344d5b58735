package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"headroom/reports/diff"
	"headroom/reports/page"
)

// maxRuns bounds a comparison or a trend.
const maxRuns = 500

// share reads 5% or 0.05.
func share(s string) (float64, error) {
	text, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 10) {
		return 0, fmt.Errorf("%w: --threshold %q: want a share such as 5%% or 0.05", errUsage, s)
	}
	return v, nil
}

// compare compares run folders, the first being the baseline.
func compare(dirs []string, o options, out io.Writer) error {
	threshold, err := share(o.threshold)
	if err != nil {
		return err
	}
	if o.undecided != "fail" && o.undecided != "pass" {
		return fmt.Errorf("%w: --undecided %q: want fail or pass", errUsage, o.undecided)
	}
	if o.pairs && len(dirs)%2 != 0 {
		return fmt.Errorf("%w: --pairs takes an even number of runs (A B A B …), not %d", errUsage, len(dirs))
	}
	runs, err := readRuns(dirs)
	if err != nil {
		return err
	}
	r, err := diff.Compare(runs, diff.Options{Pairs: o.pairs, Force: o.force, Threshold: threshold})
	if err != nil {
		return err
	}
	if err := deliver(diff.Document(r, o.gate), o, r, out); err != nil {
		return err
	}
	if !o.gate {
		return nil
	}
	switch whole, _ := r.Gate(); {
	case whole == diff.Fail:
		return fmt.Errorf("%w: the gate fails", errTarget)
	case whole == diff.Undecided && o.undecided == "fail":
		return fmt.Errorf("%w: the runs cannot tell whether it is met (--undecided pass lets that pass)", errTarget)
	}
	return nil
}

// readRuns reads folders; names that are not unique get the folder above.
func readRuns(dirs []string) ([]*diff.Run, error) {
	if len(dirs) > maxRuns {
		return nil, fmt.Errorf("%w: at most %d runs, not %d", errUsage, maxRuns, len(dirs))
	}
	var runs []*diff.Run
	seen := map[string]int{}
	for _, d := range dirs {
		r, err := diff.Read(d)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
		seen[r.Name]++
	}
	for i, r := range runs {
		if seen[r.Name] > 1 {
			r.Name = filepath.Base(filepath.Dir(filepath.Clean(dirs[i]))) + "/" + r.Name
		}
	}
	return runs, nil
}

// deliver writes a document as the options ask: a page, JSON, Markdown, else
// text.
func deliver(d *page.Document, o options, r *diff.Result, out io.Writer) error {
	if o.plot != "" || o.table != "" {
		return part(d, o, out)
	}
	if o.output != "" {
		if err := writeFile(o.output, func(w io.Writer) error { return page.HTML(w, d) }); err != nil {
			return err
		}
		if !o.markdown && !o.json {
			fmt.Fprintf(out, "%s.\n%s\n", page.Printable(d.Title), o.output)
			return nil
		}
	}
	switch {
	case o.json:
		return compareJSON(r, out)
	case o.markdown:
		return page.Markdown(out, d)
	}
	return page.Glance(out, d)
}

// part delivers one plot or table of a document.
func part(d *page.Document, o options, out io.Writer) error {
	if o.table != "" {
		format := "csv"
		if o.markdown {
			format = "md"
		}
		if o.plot != "" || o.output != "" || o.json {
			return fmt.Errorf("%w: --table prints that table, and goes with --markdown only", errUsage)
		}
		return printTables(d, []string{o.table}, format, out)
	}
	format := strings.TrimPrefix(filepath.Ext(o.output), ".")
	if format != "png" && format != "svg" && format != "pdf" || o.json || o.markdown {
		return fmt.Errorf("%w: --plot %s wants --output with a file that ends in .png, .svg or .pdf", errUsage, o.plot)
	}
	f, err := d.Figure(o.plot)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return picture{format: format, narrow: o.narrow, dark: o.dark}.write(o.output, f, out)
}

// compared is a comparison for machines.
type compared struct {
	Format string    `json:"format"`
	Forced string    `json:"forced,omitempty"`
	Gate   string    `json:"gate"`
	Judged []judged  `json:"judged"`
	Shifts []shifted `json:"shifts"`
}

type judged struct {
	Run      string `json:"run"`
	Of       string `json:"of"`
	Decision string `json:"decision"`
	Text     string `json:"text"`
}

type shifted struct {
	A          string      `json:"a"`
	B          string      `json:"b"`
	Pairs      int         `json:"pairs"`
	Points     []point     `json:"points"`
	Throughput *float64    `json:"throughput_change"`
	Interval   *[2]float64 `json:"throughput_interval95"`
}

type point struct {
	Percentile float64     `json:"percentile"`
	A          *float64    `json:"a_us"`
	B          *float64    `json:"b_us"`
	Change     *float64    `json:"change"`
	Interval   *[2]float64 `json:"interval95"`
}

// compareJSON prints a comparison in format headroom-compare/1.
func compareJSON(r *diff.Result, out io.Writer) error {
	whole, list := r.Gate()
	doc := compared{Format: "headroom-compare/1", Forced: r.Forced, Gate: string(whole), Judged: []judged{}}
	for _, j := range list {
		doc.Judged = append(doc.Judged, judged{j.Run, j.Of, string(j.Decision), j.Text})
	}
	for _, s := range r.Shifts {
		x := shifted{A: s.A, B: s.B, Pairs: s.Pairs, Points: []point{}, Throughput: finite(s.Rate.Change), Interval: ends(s.Rate)}
		for _, d := range s.Points {
			if d.Supported {
				x.Points = append(x.Points, point{d.P, finite(d.A), finite(d.B), finite(d.Change), ends(d)})
			}
		}
		doc.Shifts = append(doc.Shifts, x)
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func ends(d diff.Difference) *[2]float64 {
	if !d.Known() {
		return nil
	}
	return &[2]float64{d.ChangeLo, d.ChangeHi}
}

// trend follows runs over time: folders, or one folder with runs below.
func trend(paths []string, o options, out io.Writer) error {
	dirs := paths
	if len(paths) == 1 && !has(paths[0], "run.json") {
		var err error
		if dirs, err = runFolders(paths[0]); err != nil {
			return err
		}
	}
	if len(dirs) < 2 {
		return fmt.Errorf("a trend needs at least two run folders, %s has %d", strings.Join(paths, " "), len(dirs))
	}
	if len(dirs) > maxRuns {
		return fmt.Errorf("%w: at most %d runs, not %d", errUsage, maxRuns, len(dirs))
	}
	d, err := diff.Trend(dirs)
	if err != nil {
		return err
	}
	return deliver(d, o, nil, out)
}

// runFolders returns the folders with a run.json below root, three levels deep.
func runFolders(root string) ([]string, error) {
	var out []string
	var walk func(dir string, depth int) error
	walk = func(dir string, depth int) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if has(dir, "run.json") {
			out = append(out, dir)
			return nil
		}
		for _, e := range entries {
			if e.IsDir() && depth > 0 && len(out) <= maxRuns {
				if err := walk(filepath.Join(dir, e.Name()), depth-1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return out, walk(root, 3)
}
