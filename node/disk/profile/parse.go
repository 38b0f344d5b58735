package profile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"headroom/workloads/units"
)

// maxFile bounds a profile file: MaxRows rows of MaxPoints quantiles.
const maxFile = 2 << 20

// Error is a fault in a profile file, with its place.
type Error struct {
	File         string
	Line, Column int
	Text         string
}

// Error gives "file:line:column: text".
func (e *Error) Error() string { return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text) }

// Parse reads a profile; name stands in errors, which are *Error where they
// have a place. It is strict: an unknown or repeated key is an error.
func Parse(name string, text []byte) (*Profile, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: %d bytes, a device profile has at most %d", name, len(text), maxFile)
	}
	doc, err := parser.ParseBytes(text, 0)
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			return nil, fault(name, at.GetToken(), "%s", at.GetMessage())
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(doc.Docs) == 0 || doc.Docs[0].Body == nil {
		return nil, &Error{File: name, Line: 1, Column: 1, Text: "empty, want \"version: 1\" and the keys of a device profile"}
	}
	if len(doc.Docs) > 1 {
		return nil, fault(name, doc.Docs[1].GetToken(), "a second document, want one")
	}
	p := &Profile{}
	r := reader{file: name, p: p}
	if err := r.mapping("", doc.Docs[0].Body, r.top()); err != nil {
		return nil, err
	}
	if !r.versioned {
		return nil, &Error{File: name, Line: 1, Column: 1, Text: "no version, want \"version: 1\""}
	}
	slices.SortStableFunc(p.Service, compareRows)
	if err := p.Validate(); err != nil {
		return nil, &Error{File: name, Line: 1, Column: 1, Text: err.Error()}
	}
	return p, nil
}

func fault(file string, t *token.Token, format string, args ...any) *Error {
	e := &Error{File: file, Line: 1, Column: 1, Text: fmt.Sprintf(format, args...)}
	if t != nil && t.Position != nil {
		e.Line, e.Column = t.Position.Line, t.Position.Column
	}
	return e
}

type reader struct {
	file      string
	p         *Profile
	versioned bool
}

// keys maps what a block may hold to what sets it from its node.
type keys map[string]func(ast.Node) error

func (r *reader) top() keys {
	p := r.p
	return keys{
		"version": scalar(func(s string) error {
			if r.versioned = s == "1"; !r.versioned {
				return errors.New("this program reads version 1")
			}
			return nil
		}),
		"name": text(&p.Name), "class": text(&p.Class), "about": text(&p.About), "source": text(&p.Source),
		"channels": scalar(func(s string) error {
			n, err := units.ParseCount(s)
			p.Channels = int(min(n, MaxChannels+1))
			return err
		}),
		"capacity": size(&p.Capacity),
		"service":  r.service,
		"bandwidth": r.block("bandwidth", keys{"read": bandwidth(&p.Bandwidth.Read), "write": bandwidth(&p.Bandwidth.Write),
			"total": bandwidth(&p.Bandwidth.Total)}),
		"iops": r.block("iops", keys{"read": rate(&p.IOPS.Read), "write": rate(&p.IOPS.Write), "total": rate(&p.IOPS.Total)}),
		"stalls": r.block("stalls", keys{"every": size(&p.Stalls.Every), "for": scalar(func(s string) (err error) {
			p.Stalls.For, err = units.ParseDuration(s)
			return err
		})}),
		"die-after": scalar(func(s string) (err error) {
			p.DieAfter, err = units.ParseDuration(s)
			return err
		}),
		"hang-after": scalar(func(s string) (err error) {
			p.HangAfter, err = units.ParseDuration(s)
			return err
		}),
		"dilation": scalar(func(s string) (err error) {
			p.Dilation, err = strconv.ParseFloat(s, 64)
			return err
		}),
	}
}

// mapping calls the setter of each key of a block, once.
func (r *reader) mapping(label string, n ast.Node, known keys) error {
	m, ok := n.(ast.MapNode)
	if !ok {
		return fault(r.file, n.GetToken(), "%swant \"key: value\" lines", label)
	}
	seen := map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		t := it.Key().GetToken()
		if seen[t.Value] {
			return fault(r.file, t, "%s%s: given twice", label, t.Value)
		}
		seen[t.Value] = true
		set := known[t.Value]
		if set == nil && label != "" && strings.HasPrefix(t.Value, "p") {
			set = known["p"]
		}
		if set == nil {
			return fault(r.file, t, "%sunknown key %q: want one of %s", label, t.Value, known)
		}
		if err := r.set(t, it.Value(), set); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) set(key *token.Token, v ast.Node, set func(ast.Node) error) error {
	err := set(v)
	var placed *Error
	if err == nil || errors.As(err, &placed) {
		return err
	}
	return fault(r.file, v.GetToken(), "%s: %v", key.Value, err)
}

// String lists the keys for an error.
func (k keys) String() string {
	var names []string
	for name := range k {
		if name == "p" {
			name = "p0 to p100"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (r *reader) block(name string, known keys) func(ast.Node) error {
	return func(n ast.Node) error { return r.mapping(name+": ", n, known) }
}

// service reads the list of rows.
func (r *reader) service(n ast.Node) error {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return fault(r.file, n.GetToken(), "service: want a list, \"- op: read\"")
	}
	for _, item := range list.Values {
		row, err := r.row(item)
		if err != nil {
			return err
		}
		if err := row.validate(); err != nil {
			return fault(r.file, item.GetToken(), "service: %v", err)
		}
		if slices.ContainsFunc(r.p.Service, func(s Service) bool { return compareRows(s, row) == 0 }) {
			return fault(r.file, item.GetToken(), "service: %v of %v is given twice", row.Op, row.Size)
		}
		if r.p.Service = append(r.p.Service, row); len(r.p.Service) > MaxRows {
			return fault(r.file, item.GetToken(), "service: more than %d rows", MaxRows)
		}
	}
	return nil
}

func (r *reader) row(item ast.Node) (Service, error) {
	row := Service{Op: Ops}
	known := keys{"size": size(&row.Size), "op": scalar(func(s string) error {
		i := slices.Index(opNames[:], s)
		if i < 0 {
			return fmt.Errorf("%q: want read, write or sync", s)
		}
		row.Op = Op(i)
		return nil
	})}
	known["p"] = func(ast.Node) error { return nil } // the quantiles are read below
	if err := r.mapping("service: ", item, known); err != nil {
		return row, err
	}
	if row.Op == Ops {
		return row, fault(r.file, item.GetToken(), "service: a row without op: want read, write or sync")
	}
	for it := item.(ast.MapNode).MapRange(); it.Next(); {
		key := it.Key().GetToken()
		if key.Value == "op" || key.Value == "size" {
			continue
		}
		percent, err := strconv.ParseFloat(key.Value[1:], 64)
		if err != nil {
			return row, fault(r.file, key, "service: unknown key %q: want op, size, or p0 to p100", key.Value)
		}
		if len(row.Points) == MaxPoints {
			return row, fault(r.file, key, "service: more than %d quantiles", MaxPoints)
		}
		pt := Point{Q: percent / 100}
		if err := r.set(key, it.Value(), scalar(func(s string) (err error) {
			pt.Time, err = units.ParseDuration(s)
			return err
		})); err != nil {
			return row, err
		}
		row.Points = append(row.Points, pt)
	}
	return row, nil
}

// scalar adapts a setter from text to one from a node.
func scalar(set func(string) error) func(ast.Node) error {
	return func(n ast.Node) error {
		s, ok := n.(ast.ScalarNode)
		if !ok || n.Type() == ast.NullType {
			return errors.New("want a single value")
		}
		if lit, ok := n.(*ast.LiteralNode); ok { // a block of text
			return set(lit.Value.Value)
		}
		return set(s.GetToken().Value)
	}
}

func text(to *string) func(ast.Node) error {
	return scalar(func(s string) error {
		*to = strings.TrimSpace(s)
		return nil
	})
}

func size(to *units.Bytes) func(ast.Node) error {
	return scalar(func(s string) (err error) {
		*to, err = units.ParseBytes(s)
		return err
	})
}

func rate(to *float64) func(ast.Node) error {
	return scalar(func(s string) error {
		v, err := units.ParseRate(s)
		*to = float64(v)
		return err
	})
}

func bandwidth(to *float64) func(ast.Node) error {
	return scalar(func(s string) error {
		v, err := units.ParseBytes(strings.TrimSuffix(s, "/s"))
		if err != nil || v == 0 {
			return fmt.Errorf("bandwidth %q: want bytes per second above zero, such as 200MB/s or 1GiB/s", s)
		}
		*to = float64(v)
		return nil
	})
}
