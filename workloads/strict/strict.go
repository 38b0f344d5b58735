// Package strict reads the YAML files of the house: one document, known keys,
// each given once, and a place in the file for every fault. It knows no key of
// any of them: whoever reads a file gives a function for each block.
//
// The invariant to know: nothing in a file is skipped without a word.
//
// Start reading at Read, then File.Block.
package strict

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Error is a fault in a file, with its place; the first line and column are 1.
type Error struct {
	File         string
	Line, Column int
	Text         string
}

// Error gives "file:line:column: text".
func (e *Error) Error() string { return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text) }

// File is a file under way.
type File struct {
	Name string   // for errors
	Body ast.Node // nil when the file is empty
}

// Kind is what a file is: for limits and errors.
type Kind struct {
	What  string // "a workload"
	Limit int    // bytes
}

// Read parses text as one YAML document; name is for errors, which are *Error
// where they have a place.
func Read(name string, text []byte, k Kind) (*File, error) {
	if err := k.Fits(name, int64(len(text))); err != nil {
		return nil, err
	}
	f := &File{Name: name}
	doc, err := parser.ParseBytes(text, 0)
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			return nil, f.Fault(at.GetToken(), "%s", at.GetMessage())
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(doc.Docs) > 1 {
		return nil, f.Fault(doc.Docs[1].Start, "a second document, want one")
	}
	if len(doc.Docs) == 1 {
		f.Body = doc.Docs[0].Body
	}
	return f, nil
}

// Fits reports a file that is too large to be read.
func (k Kind) Fits(name string, size int64) error {
	if size > int64(k.Limit) {
		return fmt.Errorf("%s: %d bytes, %s has at most %d", name, size, k.What, k.Limit)
	}
	return nil
}

// Fault is an error at t, or at the file's beginning when t is nil.
func (f *File) Fault(t *token.Token, format string, args ...any) *Error {
	e := &Error{f.Name, 1, 1, fmt.Sprintf(format, args...)}
	if t != nil && t.Position != nil {
		e.Line, e.Column = t.Position.Line, t.Position.Column
	}
	return e
}

// Set is called for a key of a block with its value.
type Set func(key *token.Token, v ast.Node) error

// Versioned reads the file's top block, in which "version: 1" must stand; set is
// called for the other keys. what is what else the file holds, for errors.
func (f *File) Versioned(what string, set Set) error {
	if f.Body == nil {
		return f.Fault(nil, "empty, want \"version: 1\" and the keys of %s", what)
	}
	version := false
	err := f.Block(f.Body, Label{}, func(key *token.Token, v ast.Node) error {
		if key.Value != "version" {
			return set(key, v)
		}
		if s, ok := Scalar(v); !ok || s != "1" {
			return f.Fault(key, "version: this program reads version 1")
		}
		version = true
		return nil
	})
	if err == nil && !version {
		return f.Fault(nil, "no version, want \"version: 1\"")
	}
	return err
}

// Label is how errors name a block: before what is wrong with the whole, and
// before a key in it.
type Label struct{ Block, Key string }

// Block calls set for each key of a block, in the order of the file.
func (f *File) Block(n ast.Node, l Label, set Set) error {
	m, ok := n.(ast.MapNode)
	if !ok {
		return f.Fault(n.GetToken(), "%swant \"key: value\" lines", l.Block)
	}
	seen := map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		key := it.Key().GetToken()
		if seen[key.Value] {
			return f.Fault(key, "%s%s: given twice", l.Key, key.Value)
		}
		seen[key.Value] = true
		if err := set(key, it.Value()); err != nil {
			return err
		}
	}
	return nil
}

// Scalar returns the text of a single value: plain, quoted, or a block of text.
func Scalar(n ast.Node) (string, bool) {
	if lit, ok := n.(*ast.LiteralNode); ok {
		return lit.Value.Value, true
	}
	plain := []ast.NodeType{ast.StringType, ast.IntegerType, ast.FloatType, ast.BoolType}
	if n == nil || !slices.Contains(plain, n.Type()) {
		return "", false
	}
	return n.GetToken().Value, true
}

// Nearest returns the candidate with the smallest edit distance to got, or ""
// when all differ in more than half of their letters.
func Nearest(got string, candidates []string) string {
	best, name := math.MaxInt, ""
	for _, c := range candidates {
		if d := distance(got, c); d < best && 2*d <= max(len(c), len(got)) {
			best, name = d, c
		}
	}
	return name
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
