package runs

import (
	"fmt"
	"io"
	"strings"

	"headroom/reports/page"
	"headroom/reports/stats"
)

// Lines returns the five lines that tell a run's story: steady rate and p99,
// time without service, lost acknowledged writes, time to full redundancy,
// where the report is. An empty report says that none was written.
func Lines(f *stats.Facts, report string) []string {
	h := headline(f)
	rate := page.Value{Label: "Steady rate and p99", Text: h[0].Text + ", p99 " + h[1].Text, Note: h[0].Note}
	switch {
	case !f.Steady.OK:
		rate.Text = h[0].Text
	case unjudged(f):
		rate.Label = "Rate and p99, unjudged"
	}
	if report == "" {
		report = "none written; headroom-reports html " + f.Run.Dir + " makes one"
	}
	var out []string
	for _, v := range []page.Value{rate, h[2], h[3], h[4], {Label: "Report", Text: report}} {
		line := fmt.Sprintf("%-25s %s", v.Label, page.Printable(v.Text))
		if v.Note != "" {
			line += " (" + page.Printable(v.Note) + ")"
		}
		out = append(out, line)
	}
	return out
}

// Terminal writes a run at a glance as text: the title, the verdicts, the five
// lines of Lines and the tables of operations, faults and nodes.
func Terminal(w io.Writer, f *stats.Facts, report string) error {
	var b strings.Builder
	if s := stamp(f); s != "" {
		fmt.Fprintf(&b, "*** %s ***\n", strings.ToUpper(s))
	}
	fmt.Fprintf(&b, "%s.\n\n", page.Printable(Title(f)))
	for _, v := range Verdicts(f) {
		fmt.Fprintf(&b, "%-8s %s: %s\n", page.LevelName(string(v.Level)), page.Printable(v.Rule), page.Printable(v.Text))
	}
	b.WriteString("\n")
	for _, l := range Lines(f, report) {
		b.WriteString(l + "\n")
	}
	for _, t := range []*page.Table{faultTable(f), operationTable(f), nodeTable(f)} {
		if t != nil {
			b.WriteString("\n" + t.String() + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
