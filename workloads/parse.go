package workloads

import (
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"headroom/workloads/strict"
)

// kind bounds a workload file.
var kind = strict.Kind{What: "a workload", Limit: 1 << 20}

// Error is a fault in a workload file, with its place.
type Error = strict.Error

// Parse reads a workload file; name is used in errors, which are *Error. It
// checks every key and value, not yet the whole: Validate does, after
// overrides.
func Parse(name string, text []byte) (*Workload, error) {
	f, err := strict.Read(name, text, kind)
	if err != nil {
		return nil, err
	}
	w := withDefaults()
	p := walker{File: f, w: &w}
	if err := f.Versioned("a workload", p.under("")); err != nil {
		return nil, err
	}
	return &w, nil
}

// walker sets the fields of a workload from the nodes of a file.
type walker struct {
	*strict.File
	w *Workload
}

// under sets the keys of a block whose dotted prefix is "" or "mix.".
func (p *walker) under(prefix string) strict.Set {
	return func(key *token.Token, v ast.Node) error { return p.value(prefix+key.Value, key, v) }
}

func label(prefix string) string {
	if prefix == "" {
		return ""
	}
	return strings.TrimSuffix(prefix, ".") + ": "
}

func (p *walker) value(key string, at *token.Token, v ast.Node) error {
	switch key {
	case "mix", "keys":
		if s, ok := strict.Scalar(v); ok && key == "mix" && s != "" {
			break // mix: get:95,update:5
		}
		return p.Block(v, strict.Label{Block: label(key + "."), Key: key + "."}, p.under(key+"."))
	case "stages":
		return p.sequence(key, v, p.stage)
	case "faults":
		return p.sequence(key, v, func(n ast.Node) error {
			s, ok := strict.Scalar(n)
			if !ok {
				return p.Fault(n.GetToken(), "faults: want text such as \"kill node3 @40%%\"")
			}
			p.w.Faults = append(p.w.Faults, s)
			return nil
		})
	}
	if !Has(key) {
		return p.Fault(at, "unknown key %q%s", key, didYouMean(key, append(Keys(), "version", "keys", "stages", "faults")))
	}
	s, ok := strict.Scalar(v)
	if !ok {
		return p.Fault(v.GetToken(), "%s: want a single value", key)
	}
	if err := p.w.Set(key, s); err != nil {
		return p.Fault(v.GetToken(), "%s", err)
	}
	return nil
}

// sequence calls item for the values of a list.
func (p *walker) sequence(key string, v ast.Node, item func(ast.Node) error) error {
	list, ok := v.(*ast.SequenceNode)
	if !ok {
		return p.Fault(v.GetToken(), "%s: want a list, lines that begin with \"- \"", key)
	}
	if len(list.Values) > stagesMax {
		return p.Fault(v.GetToken(), "%s: %d, want at most %d", key, len(list.Values), stagesMax)
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
	if _, ok := n.(ast.MapNode); !ok {
		return p.Fault(n.GetToken(), "stages: want \"- duration: 30s\" and the other keys of a stage")
	}
	s, seen := newStage(), map[string]bool{}
	err := p.Block(n, strict.Label{Key: "stages: "}, func(key *token.Token, v ast.Node) error {
		seen[key.Value] = true
		return p.stageKey(&s, key, v)
	})
	if err != nil {
		return err
	}
	if seen["rate"] && seen["factor"] {
		return p.Fault(n.GetToken(), "stages: rate and factor exclude each other")
	}
	if err := s.validate(); err != nil {
		return p.Fault(n.GetToken(), "stages: %s", err)
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
		return p.Fault(t, "unknown key %q of a stage%s; it has %s", t.Value, didYouMean(t.Value, known), strings.Join(known, ", "))
	}
	text, ok := strict.Scalar(v)
	if !ok {
		return p.Fault(v.GetToken(), "%s: want a single value", t.Value)
	}
	if err := set(s, text); err != nil {
		return p.Fault(v.GetToken(), "%s: %s", t.Value, err)
	}
	return nil
}

func (p *walker) stageMix(s *Stage, m ast.MapNode) error {
	for it := m.MapRange(); it.Next(); {
		t := it.Key().GetToken()
		op := slices.Index(opNames[:], t.Value)
		if op < 0 {
			return p.Fault(t, "unknown operation %q%s", t.Value, didYouMean(t.Value, opNames[:]))
		}
		text, _ := strict.Scalar(it.Value())
		share, err := parseNumber(text)
		if err != nil {
			return p.Fault(it.Value().GetToken(), "mix.%s: %s", t.Value, err)
		}
		s.Mix[op] = share
	}
	return nil
}
