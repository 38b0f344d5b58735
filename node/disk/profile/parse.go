package profile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"headroom/workloads/strict"
	"headroom/workloads/units"
)

// kind bounds a profile file: MaxRows rows of MaxPoints quantiles.
var kind = strict.Kind{What: "a device profile", Limit: 2 << 20}

// Error is a fault in a profile file, with its place.
type Error = strict.Error

// Parse reads a profile; name stands in errors, which are *Error where they
// have a place. It is strict: an unknown or repeated key is an error.
func Parse(name string, text []byte) (*Profile, error) {
	f, err := strict.Read(name, text, kind)
	if err != nil {
		return nil, err
	}
	p := &Profile{}
	r := reader{File: f, p: p}
	if err := f.Versioned("a device profile", r.known("", r.top())); err != nil {
		return nil, err
	}
	slices.SortStableFunc(p.Service, compareRows)
	if err := p.Validate(); err != nil {
		return nil, f.Fault(nil, "%s", err)
	}
	return p, nil
}

type reader struct {
	*strict.File
	p *Profile
}

// keys maps what a block may hold to what sets it from its node.
type keys map[string]func(ast.Node) error

func (r *reader) top() keys {
	p := r.p
	return keys{
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

// known calls the setter of a key of a block.
func (r *reader) known(label string, known keys) strict.Set {
	return func(t *token.Token, v ast.Node) error {
		set := known[t.Value]
		if set == nil && label != "" && strings.HasPrefix(t.Value, "p") {
			set = known["p"]
		}
		if set == nil {
			return r.Fault(t, "%sunknown key %q: want one of %s", label, t.Value, known)
		}
		return r.set(t, v, set)
	}
}

// mapping reads a block below the top.
func (r *reader) mapping(label string, n ast.Node, known keys) error {
	return r.Block(n, strict.Label{Block: label, Key: label}, r.known(label, known))
}

func (r *reader) set(key *token.Token, v ast.Node, set func(ast.Node) error) error {
	err := set(v)
	var placed *Error
	if err == nil || errors.As(err, &placed) {
		return err
	}
	return r.Fault(v.GetToken(), "%s: %v", key.Value, err)
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
		return r.Fault(n.GetToken(), "service: want a list, \"- op: read\"")
	}
	for _, item := range list.Values {
		row, err := r.row(item)
		if err != nil {
			return err
		}
		if err := row.validate(); err != nil {
			return r.Fault(item.GetToken(), "service: %v", err)
		}
		if slices.ContainsFunc(r.p.Service, func(s Service) bool { return compareRows(s, row) == 0 }) {
			return r.Fault(item.GetToken(), "service: %v of %v is given twice", row.Op, row.Size)
		}
		if r.p.Service = append(r.p.Service, row); len(r.p.Service) > MaxRows {
			return r.Fault(item.GetToken(), "service: more than %d rows", MaxRows)
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
		return row, r.Fault(item.GetToken(), "service: a row without op: want read, write or sync")
	}
	for it := item.(ast.MapNode).MapRange(); it.Next(); {
		key := it.Key().GetToken()
		if key.Value == "op" || key.Value == "size" {
			continue
		}
		percent, err := strconv.ParseFloat(key.Value[1:], 64)
		if err != nil {
			return row, r.Fault(key, "service: unknown key %q: want op, size, or p0 to p100", key.Value)
		}
		if len(row.Points) == MaxPoints {
			return row, r.Fault(key, "service: more than %d quantiles", MaxPoints)
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
		s, ok := strict.Scalar(n)
		if !ok {
			return errors.New("want a single value")
		}
		return set(s)
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
