// Package catalog holds the machine types that a plan may choose from: their
// figures, where each row comes from, when, and how far it can be trusted.
// Rows are CSV; users add files of their own. It judges no type.
//
// The invariant to know: an empty cell is unknown (NaN here), never zero.
//
// Start reading at Type.
package catalog

import (
	"embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"headroom/workloads/strict"
)

// Confidence grades a row by its weakest figure.
type Confidence string

// The grades, best first. Measured is for rows made from own runs.
const (
	Measured  Confidence = "measured"
	Published Confidence = "published"
	Derived   Confidence = "derived"
	Uncertain Confidence = "uncertain"
)

var confidences = []Confidence{Measured, Published, Derived, Uncertain}

// Type is one machine type. Unknown figures are NaN.
type Type struct {
	Name          string
	VCPU          float64
	RAMBytes      float64
	Devices       float64 // local devices
	DeviceBytes   float64 // of each device
	ReadIOPS      float64 // 4 KiB, all devices together
	WriteIOPS     float64
	ReadBytes     float64 // per second, all devices together
	WriteBytes    float64
	DWPD          float64 // rated drive writes per day
	NetBase       float64 // bytes per second each way, sustained
	NetBurst      float64
	USDPerHour    float64 // on demand
	USDPerHour3Yr float64 // reserved for three years
	Confidence    Confidence
	Source        string
	Date          string // ISO date, or "undated"
	Note          string
	File          string // the catalog it is from
}

// Bytes is the capacity of all devices together.
func (t *Type) Bytes() float64 { return t.Devices * t.DeviceBytes }

// MarshalJSON gives the row by the names and in the units of its columns;
// unknown figures are null.
func (t Type) MarshalJSON() ([]byte, error) {
	out := map[string]any{"type": t.Name, "confidence": t.Confidence, "source": t.Source, "date": t.Date, "note": t.Note, "catalog": t.File}
	for _, c := range columns {
		if out[c.name] = nil; !math.IsNaN(*c.at(&t)) {
			out[c.name] = *c.at(&t) / c.factor
		}
	}
	return json.Marshal(out)
}

// column binds a CSV column to a figure. Factors turn catalog units into
// bytes and bytes per second.
type column struct {
	name     string
	factor   float64
	at       func(*Type) *float64
	optional bool // the column may be missing; a cell may be empty in any
	known    bool // a cell must not be empty
}

var columns = []column{
	{name: "vcpu", factor: 1, at: func(t *Type) *float64 { return &t.VCPU }, known: true},
	{name: "ram_gib", factor: 1 << 30, at: func(t *Type) *float64 { return &t.RAMBytes }, known: true},
	{name: "nvme_n", factor: 1, at: func(t *Type) *float64 { return &t.Devices }, known: true},
	{name: "nvme_gb", factor: 1e9, at: func(t *Type) *float64 { return &t.DeviceBytes }},
	{name: "read_iops", factor: 1, at: func(t *Type) *float64 { return &t.ReadIOPS }},
	{name: "write_iops", factor: 1, at: func(t *Type) *float64 { return &t.WriteIOPS }},
	{name: "net_base_gbps", factor: 1e9 / 8, at: func(t *Type) *float64 { return &t.NetBase }},
	{name: "net_burst_gbps", factor: 1e9 / 8, at: func(t *Type) *float64 { return &t.NetBurst }},
	{name: "od_usd_h", factor: 1, at: func(t *Type) *float64 { return &t.USDPerHour }},
	{name: "ri3y_usd_h", factor: 1, at: func(t *Type) *float64 { return &t.USDPerHour3Yr }, optional: true},
	{name: "read_mbps", factor: 1e6, at: func(t *Type) *float64 { return &t.ReadBytes }, optional: true},
	{name: "write_mbps", factor: 1e6, at: func(t *Type) *float64 { return &t.WriteBytes }, optional: true},
	{name: "dwpd", factor: 1, at: func(t *Type) *float64 { return &t.DWPD }, optional: true},
}

// texts are the columns of words; note may be missing.
var texts = []string{"type", "confidence", "source", "date", "note"}

// Limits on a catalog file.
const (
	maxFile = 4 << 20
	maxRows = 10_000
)

// Parse reads a catalog. Errors name file, line and column, and what to do.
func Parse(file string, r io.Reader) ([]Type, error) {
	whole := &io.LimitedReader{R: r, N: maxFile + 1}
	in := csv.NewReader(whole)
	in.Comment = '#'
	head, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: empty, want a header line: %s", file, strings.Join(names(), ","))
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := checkHeader(file, head); err != nil {
		return nil, err
	}
	var types []Type
	seen := map[string]bool{}
	for {
		cells, err := in.Read()
		if whole.N == 0 || len(types) > maxRows {
			return nil, fmt.Errorf("%s: want at most %d types in %d MiB", file, maxRows, maxFile>>20)
		}
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		line, _ := in.FieldPos(0)
		t, err := row(head, cells)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, line, err)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("%s:%d: type %q is listed twice", file, line, t.Name)
		}
		seen[t.Name], t.File = true, file
		types = append(types, t)
	}
	if len(types) == 0 {
		return nil, fmt.Errorf("%s: no types below the header", file)
	}
	return types, nil
}

func names() []string {
	all := []string{"type"}
	for _, c := range columns {
		all = append(all, c.name)
	}
	return append(all, texts[1:]...)
}

func checkHeader(file string, head []string) error {
	for i, h := range head {
		if !slices.Contains(names(), h) {
			hint := ""
			if n := strict.Nearest(h, names()); n != "" {
				hint = fmt.Sprintf(", did you mean %q?", n)
			}
			return fmt.Errorf("%s:1: unknown column %q%s", file, h, hint)
		}
		if slices.Contains(head[:i], h) {
			return fmt.Errorf("%s:1: column %q twice", file, h)
		}
	}
	for _, n := range names() {
		optional := n == "note" || slices.ContainsFunc(columns, func(c column) bool { return c.name == n && c.optional })
		if !optional && !slices.Contains(head, n) {
			return fmt.Errorf("%s:1: column %q is missing: add it, with empty cells where the figure is unknown", file, n)
		}
	}
	return nil
}

func row(head, cells []string) (Type, error) {
	cell := func(name string) string {
		if i := slices.Index(head, name); i >= 0 {
			return strings.TrimSpace(cells[i])
		}
		return ""
	}
	t := Type{Name: cell("type"), Confidence: Confidence(cell("confidence")), Source: cell("source"), Date: cell("date"), Note: cell("note")}
	switch {
	case t.Name == "" || len(t.Name) > 64:
		return t, fmt.Errorf("type %q: want a name of 1 to 64 characters", t.Name)
	case !slices.Contains(confidences, t.Confidence):
		return t, fmt.Errorf("%s: confidence %q, want one of %v", t.Name, t.Confidence, confidences)
	case t.Source == "" || t.Date == "":
		return t, fmt.Errorf("%s: source and date are needed: where is the row from, and when was that (\"undated\" if unknown)", t.Name)
	}
	for _, c := range columns {
		v, err := figure(cell(c.name), c.factor)
		if err != nil {
			return t, fmt.Errorf("%s: %s: %w", t.Name, c.name, err)
		}
		if c.known && math.IsNaN(v) {
			return t, fmt.Errorf("%s: %s is empty: a plan cannot do without it", t.Name, c.name)
		}
		*c.at(&t) = v
	}
	switch {
	case t.VCPU < 1 || t.RAMBytes < 1<<30:
		return t, fmt.Errorf("%s: %g vCPU and %g bytes of RAM, want at least 1 and 1 GiB", t.Name, t.VCPU, t.RAMBytes)
	case t.Devices > 0 && math.IsNaN(t.DeviceBytes):
		return t, fmt.Errorf("%s: %g devices, but nvme_gb is empty", t.Name, t.Devices)
	}
	return t, nil
}

// mostFigure bounds a cell, so that no sum of a plan overflows.
const mostFigure = 1e12

func figure(s string, factor float64) (float64, error) {
	if s == "" {
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0 && v <= mostFigure) {
		return 0, fmt.Errorf("%q is not a number of 0 to %g", s, float64(mostFigure))
	}
	return v * factor, nil
}

//go:embed *.csv
var shipped embed.FS

// Shipped lists the embedded catalogs.
func Shipped() []string {
	entries, err := shipped.ReadDir(".")
	if err != nil {
		panic("catalog: embedded files cannot be listed: " + err.Error())
	}
	var list []string
	for _, e := range entries {
		list = append(list, strings.TrimSuffix(e.Name(), ".csv"))
	}
	return list
}

// Default lists the embedded catalogs that are used when none is named: all
// but the examples.
func Default() []string {
	return slices.DeleteFunc(Shipped(), func(n string) bool { return strings.HasSuffix(n, "-example") })
}

// Load returns the types of the named catalogs: shipped names or files. Of two
// rows with one name the later wins, so that a user's file overrides.
func Load(list []string) ([]Type, error) {
	var all []Type
	for _, name := range list {
		types, err := load(name)
		if err != nil {
			return nil, err
		}
		for _, t := range types {
			if i := slices.IndexFunc(all, func(o Type) bool { return o.Name == t.Name }); i >= 0 {
				all[i] = t
			} else {
				all = append(all, t)
			}
		}
	}
	return all, nil
}

func load(name string) ([]Type, error) {
	if slices.Contains(Shipped(), name) {
		f, err := shipped.Open(name + ".csv")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return Parse(name+".csv", f)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("no catalog %q: it is neither a file nor one of %s", name, strings.Join(Shipped(), ", "))
	}
	defer f.Close()
	return Parse(filepath.Base(name), f)
}

// Match reports whether the type's name matches one of the patterns, in which
// * stands for any characters; no patterns match all.
func (t *Type) Match(patterns []string) bool {
	if len(patterns) == 0 {
		return true
	}
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, t.Name)
		return err == nil && ok || p == t.Name
	})
}
