// Package convert owns the reading of other tools' workloads: YCSB's
// .properties and the stage files of asbench. It runs nothing.
//
// The invariant to know: each line of the input is either in the workload that
// comes out, exactly, or named in a Note. Nothing is dropped silently.
//
// Start reading at File.
package convert

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"headroom/workloads"
)

// Kind is what became of a line that is not in the workload exactly.
type Kind string

// The kinds of notes.
const (
	Dropped Kind = "not converted" // has no counterpart
	Close   Kind = "approximated"  // has one that differs
	Flag    Kind = "use"           // belongs to the command line of `run`
)

// Note is about one line of the input; Line is zero for a default of the other
// tool that the input does not mention.
type Note struct {
	Line int
	Key  string
	Kind Kind
	Text string
}

// String gives "line 3, fieldcount: approximated: …".
func (n Note) String() string {
	at := n.Key
	if n.Line > 0 {
		at = fmt.Sprintf("line %d, %s", n.Line, n.Key)
	}
	return fmt.Sprintf("%s: %s: %s", at, n.Kind, n.Text)
}

// maxFile bounds an input: workloads are a few kilobytes.
const maxFile = 1 << 20

// File converts text by the ending of name: .properties is YCSB's, .yaml and
// .yml asbench's.
func File(name string, text []byte) (*workloads.Workload, []Note, error) {
	if len(text) > maxFile {
		return nil, nil, fmt.Errorf("%s: %d bytes, want at most %d", name, len(text), maxFile)
	}
	var w *workloads.Workload
	var notes []Note
	var err error
	switch ext := filepath.Ext(name); ext {
	case ".properties":
		w, notes, err = Properties(name, text)
	case ".yaml", ".yml":
		if bytes.HasPrefix(bytes.TrimSpace(text), []byte("version:")) {
			return nil, nil, fmt.Errorf("%s: this is a workload of Headroom already", name)
		}
		w, notes, err = Asbench(name, text)
	default:
		// YCSB's own files have no ending: "workloads/workloada".
		if !bytes.Contains(text, []byte("=")) {
			return nil, nil, fmt.Errorf("%s: want a .properties file of YCSB or a .yaml of asbench's stages", name)
		}
		w, notes, err = Properties(name, text)
	}
	slices.SortStableFunc(notes, func(a, b Note) int { return a.Line - b.Line })
	if err != nil {
		return nil, notes, err
	}
	if err := w.Validate(); err != nil {
		return nil, notes, fmt.Errorf("%s: what it says makes no workload: %w", name, err)
	}
	return w, notes, nil
}

// base is what a conversion starts from.
func base(name string) (*workloads.Workload, error) {
	w, err := workloads.Load("ycsb-a")
	if err != nil {
		return nil, err
	}
	w.Mix = [workloads.Ops]float64{}
	w.Name = plain(strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)))
	if w.Name = w.Name[:min(len(w.Name), 100)]; w.Name == "" {
		w.Name = "converted"
	}
	return w, nil
}

// plain leaves what can be printed in a comment or a name.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// YAML prints a converted workload with its notes on top.
func YAML(from string, w *workloads.Workload, notes []Note) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Converted from %s.\n", plain(filepath.Base(from)))
	for _, n := range notes {
		fmt.Fprintf(&b, "# %s\n", plain(n.String()))
	}
	b.Write(w.YAML())
	return []byte(b.String())
}
