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
		return fmt.Errorf("%w: %s of run.json do not follow from the raw files of %s", errTarget, stats.Plural(int64(bad), "number"), dir)
	}
	return nil
}

func verifyText(r *recompute.Report, all bool, out io.Writer) {
	t := &page.Table{Head: []string{"Number", "in run.json", "recomputed", "from", "state"}, Words: map[int]bool{1: true, 2: true, 3: true, 4: true}}
	for _, f := range r.Findings {
		if all || f.State == recompute.Differs {
			t.Rows = append(t.Rows, page.Plain(f.Field, f.Recorded, f.Recomputed, f.From, string(f.State)))
		}
	}
	for _, p := range r.Problems {
		fmt.Fprintln(out, "warning  "+page.Printable(p))
	}
	if len(t.Rows) > 0 {
		fmt.Fprintf(out, "%s\n\n", t)
	}
	fmt.Fprintf(out, "%d numbers follow from the raw files, %d keep to the bound that these give, %d differ; %d are in no raw file (--all lists them)\n",
		r.Count(recompute.Same), r.Count(recompute.Within), r.Count(recompute.Differs), r.Count(recompute.Unknown))
}
