package main

import (
	"encoding/json"
	"fmt"
	"io"

	"headroom/reports/page"
	"headroom/reports/recompute"
	"headroom/reports/stats"
)

// verify recomputes a run folder; a number that does not follow from the raw
// files is a target that is not met.
func verify(dir string, o options, out io.Writer) error {
	r, err := recompute.Check(dir)
	if err != nil {
		return err
	}
	bad := r.Count(recompute.Differs)
	if o.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			return err
		}
	} else {
		verifyText(r, o.all, out)
	}
	if bad > 0 {
		verb := "do"
		if bad == 1 {
			verb = "does"
		}
		return fmt.Errorf("%w: %s of run.json %s not follow from the raw files of %s", errTarget, stats.Plural(int64(bad), "figure"), verb, dir)
	}
	return nil
}

func verifyText(r *recompute.Report, all bool, out io.Writer) {
	t := &page.Table{Head: []string{"Number", "in run.json", "recomputed", "from", "state"}, Words: map[int]bool{1: true, 2: true, 3: true, 4: true}}
	for _, f := range r.Findings {
		if all || f.State == recompute.Differs || f.State == recompute.Unknown {
			t.Rows = append(t.Rows, page.Plain(f.Field, f.Recorded, f.Recomputed, f.From, string(f.State)))
		}
	}
	for _, p := range r.Problems {
		fmt.Fprintln(out, "warning  "+page.Printable(p))
	}
	if len(t.Rows) > 0 {
		fmt.Fprintf(out, "%s\n\n", t)
	}
	total := 0
	for _, n := range r.Numbers {
		total += n
	}
	fmt.Fprintf(out, "%s of run.json: %d follow from the raw files", stats.Plural(int64(total), "number"), r.Numbers[recompute.Same])
	for _, x := range []struct {
		state recompute.State
		text  string
	}{{recompute.Within, "%d keep to the bound that these give"}, {recompute.Differs, "%d differ"}, {recompute.Unknown, "%d are in no raw file"},
		{recompute.Given, "%d were given, not measured"}} {
		if n := r.Numbers[x.state]; n > 0 || x.state == recompute.Differs {
			fmt.Fprintf(out, ", "+x.text, n)
		}
	}
	fmt.Fprintln(out, " (--all lists them)")
	if n := r.Numbers[recompute.Older]; n > 0 {
		fmt.Fprintf(out, "%s not recomputed: this folder was written by an older version, which left no raw file for them\n", stats.Plural(int64(n), "number"))
	}
}
