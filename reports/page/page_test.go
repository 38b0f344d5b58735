package page

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"headroom/reports/chart"
)

const evil = `</script><script>alert(1)</script>|*_[x](y)` + "\x1b[31m\n# h"

func document() *Document {
	d := &Document{Kind: "Kind", Title: evil, Meta: evil, Stamp: evil, Footer: evil}
	f := chart.Panel{To: 9, Unit: evil, Alt: evil, Series: []chart.Series{{Name: evil, Ink: chart.Blue, Points: []chart.Point{{X: 1, Y: 1}, {X: 2, Y: 3}}}}}
	d.Add("a", "A", Text(evil), Absent(evil), Heading("H"), Code(evil), Verdicts{{Level: "fail", Rule: evil, Text: evil}}, Values{{Label: evil, Text: evil, Note: evil}},
		&Figure{Name: "fig", Caption: evil, Wide: f.Draw(chart.Wide), Narrow: f.Draw(chart.Narrow), Hover: &Hover{X: []float64{1}, Labels: []string{evil}, Names: []string{evil}, Values: [][]string{{evil}}}},
		&Table{Name: "tab", Label: evil, Head: []string{"x", "y"}, Rows: [][]Cell{{{Text: evil}, {Text: "1.2 ms", Raw: "1200", Note: evil, Bad: true}}}},
		Key{{Class: "k-line", Text: evil}}, Details{Summary: evil, Blocks: []Block{&Table{Name: "inner", Head: []string{"z"}, Rows: [][]Cell{{{Text: "1"}}}}}}, Chooser{Note: evil}, Sign{evil})
	d.AddWindows(evil, 1, []byte{1, 2, 3})
	return d
}

func TestEveryBlockIsEscapedInEveryForm(t *testing.T) {
	var html, md, glance bytes.Buffer
	for _, err := range []error{HTML(&html, document()), Markdown(&md, document()), Glance(&glance, document())} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if i := strings.Index(html.String(), "<script>alert"); i >= 0 {
		t.Errorf("the page runs a text: %.200s", html.String()[max(0, i-100):])
	}
	for _, s := range []string{"\x1b", "<script>alert", "\n# h"} {
		for line := range strings.Lines(md.String()) {
			if !strings.HasPrefix(line, "    ") && strings.Contains("\n"+line, s) { // indented lines are code
				t.Errorf("the Markdown holds %q in %q", s, line)
			}
		}
	}
	if strings.Contains(glance.String(), "\x1b") {
		t.Error("the text steers the terminal")
	}
}

func TestNothingIsAddedForNothing(t *testing.T) {
	var d Document
	d.Add("a", "A", nil, (*Figure)(nil), (*Table)(nil))
	if len(d.Sections) != 0 {
		t.Errorf("sections = %+v, want none", d.Sections)
	}
}

func TestNamesThatAreNoneListThoseThatAre(t *testing.T) {
	d := document()
	if _, err := d.Table("inner"); err != nil {
		t.Error(err)
	}
	if _, err := d.Table("nope"); err == nil || !strings.Contains(err.Error(), "there are tab, inner") {
		t.Errorf("Table(nope) = %v", err)
	}
	if _, err := d.Figure("nope"); err == nil || !strings.Contains(err.Error(), "there are fig") {
		t.Errorf("Figure(nope) = %v", err)
	}
}

func TestCSVHoldsBareNumbers(t *testing.T) {
	d := document()
	tab, err := d.Table("tab")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := tab.CSV(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(b.String(), "x,y\n") || !strings.HasSuffix(b.String(), ",1200\n") {
		t.Errorf("CSV = %q", b.String())
	}
}

func TestPagesWithoutDataForAScriptHaveNone(t *testing.T) {
	d := &Document{Title: "t"}
	d.Add("a", "A", Text("x"))
	var b bytes.Buffer
	if err := HTML(&b, d); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<script") || strings.Contains(b.String(), "script-src") {
		t.Error("a page of text carries a script")
	}
}

func TestViolationsStandBeforeNotes(t *testing.T) {
	note, warn := Verdict{Level: "info", Rule: "R8", Text: "a note"}, Verdict{Level: "warn", Rule: "R10", Text: "a warning"}
	f := func(list Verdicts, want ...string) {
		t.Helper()
		var got []string
		for _, b := range Judged(list) {
			switch x := b.(type) {
			case Text:
				got = append(got, string(x))
			case Verdicts:
				got = append(got, fmt.Sprint(len(x), " shown"))
			case Details:
				got = append(got, x.Summary)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%d verdicts give %q, want %q", len(list), got, want)
		}
	}
	f(nil, "No rule was violated.")
	f(Verdicts{note, note}, "No rule was violated.", "2 shown")
	f(Verdicts{warn, note, note}, "3 shown")
	f(Verdicts{note, warn, note, note, note}, "1 shown", "4 notes")
	f(Verdicts{note, note, note, note}, "No rule was violated.", "4 notes")
}
