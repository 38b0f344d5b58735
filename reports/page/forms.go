package page

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	ptext "github.com/jedib0t/go-pretty/v6/text"
)

// Markdown writes the document as Markdown: every sentence and table; figures
// are their captions.
func Markdown(w io.Writer, d *Document) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s.\n\n%s\n", markdown(d.Title), markdown(strings.Trim(d.Kind+" · "+d.Meta, " ·")))
	if d.Stamp != "" {
		fmt.Fprintf(&b, "\n**%s**\n", markdown(d.Stamp))
	}
	for _, s := range d.Sections {
		fmt.Fprintf(&b, "\n## %s\n", markdown(s.Title))
		for _, x := range s.Blocks {
			markdownBlock(&b, x)
		}
	}
	if d.Footer != "" {
		fmt.Fprintf(&b, "\n%s\n", markdown(d.Footer))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func markdownBlock(b *strings.Builder, block Block) {
	switch x := block.(type) {
	case Text:
		fmt.Fprintf(b, "\n%s\n", markdown(string(x)))
	case Absent:
		fmt.Fprintf(b, "\n*%s*\n", markdown(string(x)))
	case Heading:
		fmt.Fprintf(b, "\n### %s\n", markdown(string(x)))
	case Code:
		b.WriteString("\n")
		for line := range strings.Lines(string(x)) {
			b.WriteString("    " + Printable(strings.TrimRight(line, "\r\n")) + "\n")
		}
	case Verdicts:
		b.WriteString("\n")
		for _, v := range x {
			fmt.Fprintf(b, "- **%s** %s: %s\n", level(v.Level), markdown(v.Rule), markdown(v.Text))
		}
	case Values:
		b.WriteString("\n")
		for _, v := range x {
			fmt.Fprintf(b, "- %s: **%s** %s\n", markdown(v.Label), markdown(v.Text), markdown(v.Note))
		}
	case *Figure:
		fmt.Fprintf(b, "\n%s\n", markdown(x.Caption))
	case *Table:
		b.WriteString("\n" + x.Markdown() + "\n")
	case Sign:
		for _, l := range x {
			fmt.Fprintf(b, "\n\n\\_\\_\\_\\_\\_\\_\\_\\_ %s\n", markdown(l))
		}
	case Details:
		fmt.Fprintf(b, "\n### %s\n", markdown(x.Summary))
		for _, y := range x.Blocks {
			markdownBlock(b, y)
		}
	}
}

// Markdown returns the table as a Markdown table.
func (t *Table) Markdown() string {
	var b strings.Builder
	for i, h := range t.Head {
		if i == 0 {
			b.WriteString("|")
		}
		b.WriteString(" " + markdown(h) + " |")
	}
	b.WriteString("\n|")
	for i := range t.Head {
		if i == 0 || t.Words[i] {
			b.WriteString(":--|")
			continue
		}
		b.WriteString("--:|")
	}
	for _, r := range t.Rows {
		b.WriteString("\n|")
		for _, c := range r {
			text := markdown(c.Text)
			if c.Bad {
				text = "**" + text + "**"
			}
			if c.Note != "" {
				text += " (" + markdown(c.Note) + ")"
			}
			b.WriteString(" " + text + " |")
		}
	}
	return b.String()
}

// markdown keeps a text on one line and from being read as markup.
func markdown(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "*", `\*`, "_", `\_`, "`", "\\`", "<", "&lt;", "[", `\[`, "#", `\#`).Replace(Printable(s))
}

// CSV writes the table for a machine: a Raw value where a cell has one.
func (t *Table) CSV(w io.Writer) error {
	c := csv.NewWriter(w)
	head := append([]string(nil), t.Head...)
	for i, unit := range t.Units {
		head[i] += " [" + unit + "]"
	}
	if err := c.Write(head); err != nil {
		return err
	}
	for _, r := range t.Rows {
		line := make([]string, len(r))
		for i, x := range r {
			if line[i] = x.Raw; x.Raw == "" {
				line[i] = x.Text
			}
		}
		if err := c.Write(line); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// Printable replaces what could steer a terminal.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || (r >= 0x7f && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
}

// String returns the table as text for a terminal.
func (t *Table) String() string {
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
			line = append(line, Printable(c.Text))
		}
		w.AppendRow(line)
	}
	return w.Render()
}

// LevelName prints a verdict's level for a terminal.
func LevelName(l string) string {
	if l == "fail" {
		return "FAIL"
	}
	return level(l)
}

// Glance writes the document as text for a terminal: title, verdicts and
// tables.
func Glance(w io.Writer, d *Document) error {
	var b strings.Builder
	if d.Stamp != "" {
		fmt.Fprintf(&b, "*** %s ***\n", strings.ToUpper(Printable(d.Stamp)))
	}
	fmt.Fprintf(&b, "%s.\n", Printable(d.Title))
	d.each(func(block Block) {
		switch x := block.(type) {
		case Verdicts:
			b.WriteString("\n")
			for _, v := range x {
				fmt.Fprintf(&b, "%-8s %s: %s\n", LevelName(v.Level), Printable(v.Rule), Printable(v.Text))
			}
		case Values:
			b.WriteString("\n")
			for _, v := range x {
				fmt.Fprintf(&b, "%-30s %s  %s\n", Printable(v.Label), Printable(v.Text), Printable(v.Note))
			}
		case *Table:
			fmt.Fprintf(&b, "\n%s\n", x)
		}
	})
	_, err := io.WriteString(w, b.String())
	return err
}

// commandMax is how long a command is printed on one line.
const commandMax = 72

// Command is Shell with each flag of a long command on a line of its own: a line
// broken at a hyphen reads like another flag.
func Command(words []string) string {
	whole := Shell(words)
	if len(whole) <= commandMax {
		return whole
	}
	var out strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case strings.HasPrefix(w, "--"):
			out.WriteString(" \\\n  ")
		default:
			out.WriteByte(' ')
		}
		out.WriteString(Shell([]string{w}))
	}
	return out.String()
}

// Shell prints a command so that a shell reads the same words again.
func Shell(words []string) string {
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
