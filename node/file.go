package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"headroom/node/server"
	"headroom/workloads/strict"
)

// kind bounds a configuration file: every key of 32 namespaces is 10 KB.
var kind = strict.Kind{What: "a configuration", Limit: 1 << 20}

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
	if err := kind.Fits(path, st.Size()); err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	file, err := strict.Read(path, b, kind)
	if err != nil || file.Body == nil {
		return err // an empty file: all defaults
	}
	f := &configFile{File: file, c: c}
	return f.Block(file.Body, strict.Label{}, f.topKey)
}

type configFile struct {
	*strict.File
	c *server.Config
}

func (f *configFile) topKey(key *token.Token, v ast.Node) error {
	top, below := keyNames()
	switch {
	case key.Value == "namespaces":
		return f.namespaces(v)
	case slices.Contains(below, key.Value):
		return f.Fault(key, "%s belongs to a namespace: below \"namespaces:\", after \"- name: …\"", key.Value)
	case !slices.Contains(top, key.Value):
		return f.unknown(key, append(top, below...))
	}
	values := []ast.Node{v}
	if list, ok := v.(*ast.SequenceNode); ok && key.Value == "seeds" {
		values = list.Values
	}
	for _, v := range values {
		s, ok := strict.Scalar(v)
		if !ok {
			return f.Fault(v.GetToken(), "%s: want a single value", key.Value)
		}
		if err := setKey(f.c, key.Value, s); err != nil {
			return f.Fault(v.GetToken(), "%s: %v", key.Value, err)
		}
	}
	return nil
}

func (f *configFile) namespaces(v ast.Node) error {
	list, ok := v.(*ast.SequenceNode)
	if !ok {
		return f.Fault(v.GetToken(), "namespaces: want a list, \"- name: …\"")
	}
	_, keys := keyNames()
	for _, item := range list.Values {
		var n server.NamespaceConfig
		err := f.Block(item, strict.Label{}, func(key *token.Token, v ast.Node) error {
			if !slices.Contains(keys, key.Value) {
				return f.unknown(key, keys)
			}
			s, ok := strict.Scalar(v)
			if !ok {
				return f.Fault(v.GetToken(), "%s: want a single value", key.Value)
			}
			if err := setNamespaceKey(&n, key.Value, s); err != nil {
				return f.Fault(v.GetToken(), "%s: %v", key.Value, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if n.Name == "" {
			return f.Fault(item.GetToken(), "a namespace without name")
		}
		f.c.Namespaces = append(f.c.Namespaces, n)
	}
	return nil
}

func (f *configFile) unknown(key *token.Token, keys []string) error {
	if near := strict.Nearest(key.Value, keys); near != "" {
		return f.Fault(key, "unknown key %q, did you mean %q?", key.Value, near)
	}
	return f.Fault(key, "unknown key %q; see `headroom-node run --help`", key.Value)
}
