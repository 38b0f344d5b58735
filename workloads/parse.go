package workloads

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Error is a fault in a workload file, with its place.
type Error struct {
	File         string
	Line, Column int
	Text         string
}

// Error gives "file:line:column: text".
func (e *Error) Error() string { return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text) }

// Parse reads a workload file; name is used in errors, which are *Error. It
// checks every key and value, not yet the whole: Validate does, after
// overrides.
func Parse(name string, text []byte) (*Workload, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: %d bytes, a workload has at most %d", name, len(text), maxFile)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			return nil, fault(name, at.GetToken(), "%s", at.GetMessage())
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil, &Error{File: name, Line: 1, Column: 1, Text: "empty, want \"version: 1\" and the keys of a workload"}
	}
	if len(file.Docs) > 1 {
		return nil, fault(name, file.Docs[1].GetToken(), "a second document, want one")
	}
	w := withDefaults()
	p := walker{file: name, w: &w, seen: map[string]bool{}}
	if err := p.mapping("", file.Docs[0].Body); err != nil {
		return nil, err
	}
	if !p.seen["version"] {
		return nil, &Error{File: name, Line: 1, Column: 1, Text: "no version, want \"version: 1\""}
	}
	return &w, nil
}

func fault(file string, t *token.Token, format string, args ...any) *Error {
	e := &Error{File: file, Line: 1, Column: 1, Text: fmt.Sprintf(format, args...)}
	if t != nil && t.Position != nil {
		e.Line, e.Column = t.Position.Line, t.Position.Column
	}
	return e
}

// walker sets the fields of a workload from the nodes of a file.
type walker struct {
	file string
	w    *Workload
	seen map[string]bool
}

// mapping handles the keys of a block whose dotted prefix is "" or "mix.".
func (p *walker) mapping(prefix string, n ast.Node) error {
	m, ok := n.(ast.MapNode)
	if !ok {
		return fault(p.file, n.GetToken(), "%swant \"key: value\" lines", label(prefix))
	}
	for it := m.MapRange(); it.Next(); {
		t := it.Key().GetToken()
		key := prefix + t.Value
		if p.seen[key] {
			return fault(p.file, t, "%s: given twice", key)
		}
		p.seen[key] = true
		if err := p.value(key, t, it.Value()); err != nil {
			return err
		}
	}
	return nil
}

func label(prefix string) string {
	if prefix == "" {
		return ""
	}
	return strings.TrimSuffix(prefix, ".") + ": "
}

func (p *walker) value(key string, at *token.Token, v ast.Node) error {
	switch key {
	case "version":
		if s, ok := scalar(v); !ok || s != "1" {
			return fault(p.file, at, "version: this program reads version 1")
		}
		return nil
	case "mix", "keys":
		if s, ok := scalar(v); ok && key == "mix" && s != "" {
			break // mix: get:95,update:5
		}
		return p.mapping(key+".", v)
	case "stages":
		return p.sequence(key, v, p.stage)
	case "faults":
		return p.sequence(key, v, func(n ast.Node) error {
			s, ok := scalar(n)
			if !ok {
				return fault(p.file, n.GetToken(), "faults: want text such as \"kill node3 @40%%\"")
			}
			p.w.Faults = append(p.w.Faults, s)
			return nil
		})
	}
	if !Has(key) {
		return fault(p.file, at, "unknown key %q%s", key, didYouMean(key, append(Keys(), "version", "keys", "stages", "faults")))
	}
	s, ok := scalar(v)
	if !ok {
		return fault(p.file, v.GetToken(), "%s: want a single value", key)
	}
	if err := p.w.Set(key, s); err != nil {
		return fault(p.file, v.GetToken(), "%s", err)
	}
	return nil
}

// sequence calls item for the values of a list.
func (p *walker) sequence(key string, v ast.Node, item func(ast.Node) error) error {
	list, ok := v.(*ast.SequenceNode)
	if !ok {
		return fault(p.file, v.GetToken(), "%s: want a list, lines that begin with \"- \"", key)
	}
	if len(list.Values) > stagesMax {
		return fault(p.file, v.GetToken(), "%s: %d, want at most %d", key, len(list.Values), stagesMax)
	}
	for _, n := range list.Values {
		if err := item(n); err != nil {
			return err
		}
	}
	return nil
}

// stage reads one item of stages.
func (p *walker) stage(n ast.Node) error {
	m, ok := n.(ast.MapNode)
	if !ok {
		return fault(p.file, n.GetToken(), "stages: want \"- duration: 30s\" and the other keys of a stage")
	}
	s, seen := newStage(), map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		t := it.Key().GetToken()
		if seen[t.Value] {
			return fault(p.file, t, "stages: %s: given twice", t.Value)
		}
		seen[t.Value] = true
		if err := p.stageKey(&s, t, it.Value()); err != nil {
			return err
		}
	}
	if seen["rate"] && seen["factor"] {
		return fault(p.file, n.GetToken(), "stages: rate and factor exclude each other")
	}
	if err := s.validate(); err != nil {
		return fault(p.file, n.GetToken(), "stages: %s", err)
	}
	p.w.Stages = append(p.w.Stages, s)
	return nil
}

func (p *walker) stageKey(s *Stage, t *token.Token, v ast.Node) error {
	if m, ok := v.(ast.MapNode); ok && t.Value == "mix" {
		return p.stageMix(s, m)
	}
	set := stageFields[t.Value]
	if set == nil {
		known := slices.Sorted(maps.Keys(stageFields))
		return fault(p.file, t, "unknown key %q of a stage%s; it has %s", t.Value, didYouMean(t.Value, known), strings.Join(known, ", "))
	}
	text, ok := scalar(v)
	if !ok {
		return fault(p.file, v.GetToken(), "%s: want a single value", t.Value)
	}
	if err := set(s, text); err != nil {
		return fault(p.file, v.GetToken(), "%s: %s", t.Value, err)
	}
	return nil
}

func (p *walker) stageMix(s *Stage, m ast.MapNode) error {
	for it := m.MapRange(); it.Next(); {
		t := it.Key().GetToken()
		op := slices.Index(opNames[:], t.Value)
		if op < 0 {
			return fault(p.file, t, "unknown operation %q%s", t.Value, didYouMean(t.Value, opNames[:]))
		}
		text, _ := scalar(it.Value())
		share, err := parseNumber(text)
		if err != nil {
			return fault(p.file, it.Value().GetToken(), "mix.%s: %s", t.Value, err)
		}
		s.Mix[op] = share
	}
	return nil
}

// scalar returns the text of a plain or quoted value.
func scalar(n ast.Node) (string, bool) {
	plain := []ast.NodeType{ast.StringType, ast.IntegerType, ast.FloatType, ast.BoolType}
	if n == nil || !slices.Contains(plain, n.Type()) {
		return "", false
	}
	return n.GetToken().Value, true
}
