package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"headroom/planner/examples"
	"headroom/workloads/strict"
)

// Error is a fault in a requirements file, with its place.
type Error = strict.Error

// fileKind bounds a requirements file: every key of 32 namespaces is 20 KB.
var fileKind = strict.Kind{What: "a requirements file", Limit: 1 << 20}

// Load reads requirements: a shipped example by its name, or a file.
func Load(name string) (*Requirements, error) {
	if slices.Contains(examples.Names(), name) {
		return Parse(name+".yaml", examples.Text(name))
	}
	info, err := os.Stat(name)
	if err != nil || info.IsDir() {
		return nil, fmt.Errorf("no requirements %q: neither a file nor one of %s", name, strings.Join(examples.Names(), ", "))
	}
	if err := fileKind.Fits(name, info.Size()); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, text)
}

// Parse reads a requirements file, name is for errors, and validates it.
// Errors of a key are *Error.
func Parse(name string, text []byte) (*Requirements, error) {
	f, err := strict.Read(name, text, fileKind)
	if err != nil {
		return nil, err
	}
	r := Defaults()
	w := walker{File: f, r: &r}
	if err := f.Versioned("requirements", w.top); err != nil {
		return nil, err
	}
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &r, nil
}

// walker sets requirements from the nodes of a file.
type walker struct {
	*strict.File
	r *Requirements
}

// sections are the prefixes of dotted keys, blocks in a file.
var sections = []string{"redundancy", "targets", "limits", "xdr", "catalog"}

func (w *walker) top(key *token.Token, v ast.Node) error {
	switch {
	case key.Value == "namespaces":
		return w.namespaces(v)
	case slices.Contains(sections, key.Value):
		return w.Block(v, strict.Label{Block: key.Value + ": "}, func(inner *token.Token, v ast.Node) error {
			return setNode(w, w.r, topFields, key.Value+".", inner, v)
		})
	}
	return setNode(w, w.r, topFields, "", key, v)
}

func (w *walker) namespaces(v ast.Node) error {
	list, ok := v.(*ast.SequenceNode)
	if !ok {
		return w.Fault(v.GetToken(), "namespaces: want a list, \"- name: …\"")
	}
	for _, item := range list.Values {
		n := namespaceDefaults()
		err := w.Block(item, strict.Label{}, func(key *token.Token, v ast.Node) error {
			if key.Value != "name" {
				return setNode(w, &n, namespaceFields, "", key, v)
			}
			s, ok := strict.Scalar(v)
			if !ok {
				return w.Fault(v.GetToken(), "name: want a single value")
			}
			n.Name = s
			return nil
		})
		if err != nil {
			return err
		}
		if err := n.validate(); err != nil {
			return w.Fault(item.GetToken(), "namespace %q: %v", n.Name, err)
		}
		w.r.Namespaces = append(w.r.Namespaces, n)
	}
	return nil
}

// setNode sets the field prefix+key from a node.
func setNode[T any](w *walker, to *T, fields []field[T], prefix string, key *token.Token, v ast.Node) error {
	i := slices.IndexFunc(fields, func(f field[T]) bool { return f.name == prefix+key.Value })
	if i < 0 {
		return w.Fault(key, "unknown key %q%s", key.Value, nearest(fields, prefix, key.Value))
	}
	s, err := nodeText(v)
	if err == nil {
		err = fields[i].setText(to, s)
	}
	if err != nil {
		return w.Fault(v.GetToken(), "%s: %v", prefix+key.Value, err)
	}
	return nil
}

// nearest names the key that was meant, first one that is right but in the
// wrong place: a common slip.
func nearest[T any](fields []field[T], prefix, key string) string {
	for _, f := range topFields {
		if strings.HasSuffix(f.name, "."+key) {
			return fmt.Sprintf("; %q belongs below %q", key, strings.TrimSuffix(f.name, "."+key)+":")
		}
	}
	for _, f := range namespaceFields {
		if f.name == key {
			return fmt.Sprintf("; %q belongs to a namespace, below \"- name: …\"", key)
		}
	}
	var keys []string
	for _, f := range fields {
		if rest, ok := strings.CutPrefix(f.name, prefix); ok && !strings.Contains(rest, ".") {
			keys = append(keys, rest)
		}
	}
	if prefix == "" {
		keys = append(keys, "namespaces", "version", "name")
		keys = append(keys, sections...)
	}
	if n := strict.Nearest(key, keys); n != "" {
		return fmt.Sprintf(", did you mean %q?", n)
	}
	return fmt.Sprintf(", want one of %s", strings.Join(keys, ", "))
}

// nodeText turns a node into the text of a field: a scalar, a list of
// scalars (a,b,c), or a mapping: p10, p50 and p90, or sizes with shares.
func nodeText(n ast.Node) (string, error) {
	if s, ok := strict.Scalar(n); ok {
		return s, nil
	}
	if list, ok := n.(*ast.SequenceNode); ok {
		var parts []string
		for _, v := range list.Values {
			s, ok := strict.Scalar(v)
			if !ok {
				return "", errors.New("want a list of single values")
			}
			parts = append(parts, s)
		}
		return strings.Join(parts, ","), nil
	}
	m, ok := n.(ast.MapNode)
	if !ok {
		return "", errors.New("want a value")
	}
	var keys, values []string
	for it := m.MapRange(); it.Next(); {
		s, ok := strict.Scalar(it.Value())
		if !ok {
			return "", errors.New("want single values")
		}
		keys, values = append(keys, it.Key().GetToken().Value), append(values, s)
	}
	return mapText(keys, values)
}

func mapText(keys, values []string) (string, error) {
	if !slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, "p") }) {
		for i := range keys {
			keys[i] += ":" + values[i]
		}
		return strings.Join(keys, ","), nil
	}
	out := make([]string, 3)
	for i, k := range keys {
		at := slices.Index([]string{"p10", "p50", "p90"}, k)
		if at < 0 || out[at] != "" {
			return "", fmt.Errorf("%q: want p10, p50 and p90, once each", k)
		}
		out[at] = values[i]
	}
	if len(keys) != 3 {
		return "", errors.New("want p10, p50 and p90")
	}
	return strings.Join(out, ","), nil
}

// MarshalJSON gives an object that Parse reads back, as JSON is YAML.
func (r *Requirements) MarshalJSON() ([]byte, error) {
	out := map[string]any{"version": 1}
	for _, f := range topFields {
		section, key, nested := strings.Cut(f.name, ".")
		if !nested {
			out[f.name] = f.value(r)
			continue
		}
		if out[section] == nil {
			out[section] = map[string]any{}
		}
		out[section].(map[string]any)[key] = f.value(r)
	}
	var list []map[string]any
	for i := range r.Namespaces {
		n := map[string]any{"name": r.Namespaces[i].Name}
		for _, f := range namespaceFields {
			n[f.name] = f.value(&r.Namespaces[i])
		}
		list = append(list, n)
	}
	out["namespaces"] = list
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Requirements) UnmarshalJSON(b []byte) error {
	got, err := Parse("requirements", b)
	if err != nil {
		return err
	}
	*r = *got
	return nil
}
