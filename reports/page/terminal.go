package page

import (
	"fmt"
	"io"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/stats"

	"github.com/jedib0t/go-pretty/v6/table"
	ptext "github.com/jedib0t/go-pretty/v6/text"
)

// Lines returns the five lines that tell a run's story: steady rate and p99,
// time without service, lost acknowledged writes, time to full redundancy,
// where the report is. An empty report says that none was written.
func Lines(f *stats.Facts, report string) []string {
	h := headline(f)
	rate := value{Label: "Steady rate and p99", Text: h[0].Text + ", p99 " + h[1].Text, Note: h[0].Note}
	if !f.Steady.OK {
		rate.Text = h[0].Text
	}
	if report == "" {
		report = "none written; headroom-reports html " + f.Run.Dir + " makes one"
	}
	var out []string
	for _, v := range []value{rate, h[2], h[3], h[4], {Label: "Report", Text: report}} {
		line := fmt.Sprintf("%-25s %s", v.Label, printable(v.Text))
		if v.Note != "" {
			line += " (" + printable(v.Note) + ")"
		}
		out = append(out, line)
	}
	return out
}

// printable replaces what could steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || (r >= 0x7f && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
}

// Terminal writes a run at a glance as text: the title, the verdicts, the five
// lines of Lines and the tables of operations, faults and nodes.
func Terminal(w io.Writer, f *stats.Facts, report string) error {
	var b strings.Builder
	if s := stamp(f); s != "" {
		fmt.Fprintf(&b, "*** %s ***\n", strings.ToUpper(s))
	}
	fmt.Fprintf(&b, "%s.\n\n", printable(Title(f)))
	for _, v := range Verdicts(f) {
		fmt.Fprintf(&b, "%-8s %s: %s\n", levelName(v.Level), printable(v.Rule), printable(v.Text))
	}
	b.WriteString("\n")
	for _, l := range Lines(f, report) {
		b.WriteString(l + "\n")
	}
	for _, t := range []*grid{faultTable(f), operationTable(f), nodeTable(f)} {
		if t != nil {
			b.WriteString("\n" + textTable(t) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func levelName(l result.Level) string {
	switch l {
	case result.Fail:
		return "FAIL"
	case result.Warn:
		return "warning"
	default:
		return "note"
	}
}

func textTable(t *grid) string {
	w := table.NewWriter()
	w.SetStyle(table.StyleLight)
	w.Style().Options.DrawBorder = false
	w.Style().Format.Header = ptext.FormatDefault
	head := table.Row{}
	var cols []table.ColumnConfig
	for i, h := range t.Head {
		head = append(head, h)
		if i > 0 && !t.Words[i] {
			cols = append(cols, table.ColumnConfig{Number: i + 1, Align: ptext.AlignRight, AlignHeader: ptext.AlignRight})
		}
	}
	w.AppendHeader(head)
	w.SetColumnConfigs(cols)
	for _, r := range t.Rows {
		line := table.Row{}
		for _, c := range r {
			line = append(line, printable(c.Text))
		}
		w.AppendRow(line)
	}
	return w.Render()
}
