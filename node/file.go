package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"headroom/node/server"
	"headroom/workloads"
)

// maxFile bounds a configuration file: every key of 32 namespaces is 10 KB.
const maxFile = 1 << 20

// readFile adds what a configuration file says to c. It is strict: an unknown
// or repeated key is an error with file, line, column and the nearest key.
func readFile(path string, c *server.Config) error {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no file %s: --config names a YAML file with the same keys as the flags", path)
	}
	if err != nil {
		return err
	}
	if st.Size() > maxFile {
		return fmt.Errorf("%s: %d bytes, a configuration has at most %d", path, st.Size(), maxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f := &configFile{path: path, c: c}
	doc, err := parser.ParseBytes(b, 0)
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			return f.fault(at.GetToken(), "%s", at.GetMessage())
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Docs) == 0 || doc.Docs[0].Body == nil {
		return nil // an empty file: all defaults
	}
	if len(doc.Docs) > 1 {
		return f.fault(doc.Docs[1].GetToken(), "a second document, want one")
	}
	return f.mapping(doc.Docs[0].Body, f.topKey)
}

type configFile struct {
	path string
	c    *server.Config
}

func (f *configFile) fault(t *token.Token, format string, args ...any) error {
	line, column := 1, 1
	if t != nil && t.Position != nil {
		line, column = t.Position.Line, t.Position.Column
	}
	return fmt.Errorf("%s:%d:%d: %s", f.path, line, column, fmt.Sprintf(format, args...))
}

// mapping calls set for each key of a mapping, once.
func (f *configFile) mapping(n ast.Node, set func(key *token.Token, v ast.Node) error) error {
	m, ok := n.(ast.MapNode)
	if !ok {
		return f.fault(n.GetToken(), "want \"key: value\" lines")
	}
	seen := map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		key := it.Key().GetToken()
		if seen[key.Value] {
			return f.fault(key, "%s: given twice", key.Value)
		}
		seen[key.Value] = true
		if err := set(key, it.Value()); err != nil {
			return err
		}
	}
	return nil
}

func (f *configFile) topKey(key *token.Token, v ast.Node) error {
	top, below := keyNames()
	switch {
	case key.Value == "namespaces":
		return f.namespaces(v)
	case slices.Contains(below, key.Value):
		return f.fault(key, "%s belongs to a namespace: below \"namespaces:\", after \"- name: …\"", key.Value)
	case !slices.Contains(top, key.Value):
		return f.unknown(key, append(top, below...))
	}
	values := []ast.Node{v}
	if list, ok := v.(*ast.SequenceNode); ok && key.Value == "seeds" {
		values = list.Values
	}
	for _, v := range values {
		s, ok := plain(v)
		if !ok {
			return f.fault(v.GetToken(), "%s: want a single value", key.Value)
		}
		if err := setKey(f.c, key.Value, s); err != nil {
			return f.fault(v.GetToken(), "%s: %v", key.Value, err)
		}
	}
	return nil
}

func (f *configFile) namespaces(v ast.Node) error {
	list, ok := v.(*ast.SequenceNode)
	if !ok {
		return f.fault(v.GetToken(), "namespaces: want a list, \"- name: …\"")
	}
	_, keys := keyNames()
	for _, item := range list.Values {
		var n server.NamespaceConfig
		err := f.mapping(item, func(key *token.Token, v ast.Node) error {
			if !slices.Contains(keys, key.Value) {
				return f.unknown(key, keys)
			}
			s, ok := plain(v)
			if !ok {
				return f.fault(v.GetToken(), "%s: want a single value", key.Value)
			}
			if err := setNamespaceKey(&n, key.Value, s); err != nil {
				return f.fault(v.GetToken(), "%s: %v", key.Value, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if n.Name == "" {
			return f.fault(item.GetToken(), "a namespace without name")
		}
		f.c.Namespaces = append(f.c.Namespaces, n)
	}
	return nil
}

func (f *configFile) unknown(key *token.Token, keys []string) error {
	if near := workloads.Nearest(key.Value, keys); near != "" {
		return f.fault(key, "unknown key %q, did you mean %q?", key.Value, near)
	}
	return f.fault(key, "unknown key %q; see `headroom-node run --help`", key.Value)
}

// plain returns the text of a scalar.
func plain(n ast.Node) (string, bool) {
	s, ok := n.(ast.ScalarNode)
	if !ok || n.Type() == ast.NullType {
		return "", false
	}
	return s.GetToken().Value, true
}
