// Package page owns the form of a report: a Document of sections and blocks,
// and its renderings as one self-contained HTML file, Markdown, CSV and text.
// It knows no run, no plan and no statistics: packages runs, diff and capacity
// build documents, package chart draws their figures.
//
// The invariant to know: no text of a document reaches a rendering unescaped;
// the only trusted markup is what chart returns, which escapes its own texts.
// A page refers to nothing outside itself, and its content security policy
// keeps it so. Everything on it can be read with scripts switched off.
//
// Start reading at Document, then HTML.
package page

import (
	"fmt"
	"strings"

	"headroom/reports/chart"
)

// Missing is what a report prints where a value was not measured. It is a
// word, not a dash, so that a screen reader says it too.
const Missing = "not recorded"

// Document is a report before it is given a form.
type Document struct {
	Kind     string // what this is: "Headroom run report"
	Meta     string // which run, when, how long
	Title    string // one sentence, without a full stop
	Stamp    string // one word over something that must not be used, or empty
	Sections []Section
	Footer   string
	// Windows lets the reader choose a stretch of time; nil for none.
	Windows *Windows
}

// Section is a part of a document under a heading.
type Section struct {
	ID, Title string
	Blocks    []Block
}

// Block is one of Text, Absent, Heading, Verdicts, Values, *Figure, *Table,
// Code, Key, Details, Sign and Chooser.
type Block interface{ name() string }

// Text is a paragraph.
type Text string

// Absent is a paragraph that says what cannot be shown, and why.
type Absent string

// Heading is a heading inside a section.
type Heading string

// Code is text as a machine reads it: a command, a file.
type Code string

// Verdict is a judgement; Level is fail, warn or info.
type Verdict struct{ Level, Rule, Text string }

// Verdicts is a list of judgements, worst first.
type Verdicts []Verdict

// fewNotes stand with the violations; more are folded away below them.
const fewNotes = 3

// Judged shows verdicts: what violates a rule first, and a sentence when nothing
// does. Many mere notes are folded away, so that they hide nothing else.
func Judged(list Verdicts) []Block {
	var bad, notes Verdicts
	for _, v := range list {
		if v.Level == "fail" || v.Level == "warn" {
			bad = append(bad, v)
			continue
		}
		notes = append(notes, v)
	}
	var out []Block
	if len(bad) == 0 {
		out = append(out, Text("No rule was violated."))
	}
	if len(notes) <= fewNotes {
		bad, notes = append(bad, notes...), nil
	}
	if len(bad) > 0 {
		out = append(out, bad)
	}
	if len(notes) > 0 {
		out = append(out, Details{Summary: fmt.Sprintf("%d notes", len(notes)), Blocks: []Block{notes}})
	}
	return out
}

// Value is a figure at the top of a report with what is to be known about it.
type Value struct {
	Label, Text, Note string
	Bad               bool // a figure that breaks a promise: printed in red
}

// Values are the headline figures.
type Values []Value

// Figure is a drawing in both widths with its caption.
type Figure struct {
	Name         string // by which png, svg and pdf ask for it
	Caption      string
	Wide, Narrow chart.Figure
	Note         string // labels that found no room, key to marks
	Hover        *Hover // values to show under the pointer; nil for none
}

// Hover is what a pointer over a figure shows: for each X one value a series,
// printed. Series are in the drawing's order.
type Hover struct {
	X      []float64  `json:"x"`
	Labels []string   `json:"labels"` // X printed
	Names  []string   `json:"names"`
	Values [][]string `json:"values"` // by series, then X
}

// Key explains the marks of the figures over time that follow it.
type Key []Mark

// Mark is an entry of a Key; Class is its style.
type Mark struct{ Class, Text string }

// Details are blocks folded away on screen and open in print.
type Details struct {
	Summary string
	Blocks  []Block
}

// Sign are lines to sign on, each with what stands below it.
type Sign []string

// Chooser is where the percentiles of a chosen stretch of time stand; without
// a script it says how to get one.
type Chooser struct{ Note string }

// Table is a table of a report. The first cell of a row is its header; cells
// of columns in Words are aligned left, all others are numbers.
type Table struct {
	Name  string // by which md and csv ask for it
	Label string // what the table holds, for readers who do not see it
	Head  []string
	Words map[int]bool
	Rows  [][]Cell
	// Units are those of Raw values by column; CSV has them in its head.
	Units map[int]string
}

// Cell is a value with a remark in small print.
type Cell struct {
	Text, Note string
	// Raw is the value for a machine: a bare number in the unit that the
	// column's heading or the cell's text names first. Empty means Text.
	Raw        string
	Bad, Faint bool
}

func (Text) name() string     { return "text" }
func (Absent) name() string   { return "absent" }
func (Heading) name() string  { return "heading" }
func (Code) name() string     { return "code" }
func (Verdicts) name() string { return "verdicts" }
func (Values) name() string   { return "values" }
func (*Figure) name() string  { return "figure" }
func (*Table) name() string   { return "table" }
func (Key) name() string      { return "key" }
func (Details) name() string  { return "details" }
func (Chooser) name() string  { return "chooser" }
func (Sign) name() string     { return "sign" }

// Plain returns cells of bare texts; those that say Missing are faint.
func Plain(texts ...string) []Cell {
	out := make([]Cell, len(texts))
	for i, t := range texts {
		out[i] = Cell{Text: t, Faint: t == Missing}
	}
	return out
}

// Add appends a section; nil blocks are left out, and a section without blocks
// is not added.
func (d *Document) Add(id, title string, blocks ...Block) {
	var kept []Block
	for _, b := range blocks {
		switch x := b.(type) {
		case nil:
			continue
		case *Figure:
			if x == nil {
				continue
			}
		case *Table:
			if x == nil {
				continue
			}
		}
		kept = append(kept, b)
	}
	if len(kept) > 0 {
		d.Sections = append(d.Sections, Section{id, title, kept})
	}
}

// each calls f for every block, those inside Details too.
func (d *Document) each(f func(Block)) {
	var walk func([]Block)
	walk = func(list []Block) {
		for _, b := range list {
			f(b)
			if x, ok := b.(Details); ok {
				walk(x.Blocks)
			}
		}
	}
	for _, s := range d.Sections {
		walk(s.Blocks)
	}
}

// Figures returns the document's figures in order.
func (d *Document) Figures() (out []*Figure) {
	d.each(func(b Block) {
		if f, ok := b.(*Figure); ok {
			out = append(out, f)
		}
	})
	return out
}

// Tables returns the document's tables in order.
func (d *Document) Tables() (out []*Table) {
	d.each(func(b Block) {
		if t, ok := b.(*Table); ok {
			out = append(out, t)
		}
	})
	return out
}

// Figure returns a figure by name; the error lists the names there are.
func (d *Document) Figure(name string) (*Figure, error) {
	var names []string
	for _, f := range d.Figures() {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return nil, unknown("plot", name, names)
}

// Table returns a table by name; the error lists the names there are.
func (d *Document) Table(name string) (*Table, error) {
	var names []string
	for _, t := range d.Tables() {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return nil, unknown("table", name, names)
}

func unknown(what, name string, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("no %s %q: this report has none", what, name)
	}
	return fmt.Errorf("no %s %q; there are %s", what, name, strings.Join(names, ", "))
}
