package workloads

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"headroom/workloads/keys"
	"headroom/workloads/strict"
	"headroom/workloads/units"
)

// field is one key of a workload, in its dotted form as --set takes it.
type field struct {
	name string
	set  func(*Workload, string) error
}

// fields is every key but version. Parse and Set both go through it.
var fields = makeFields()

func makeFields() []field {
	list := []field{
		{"name", func(w *Workload, s string) error { w.Name = s; return checkName(s) }},
		{"records", func(w *Workload, s string) (err error) {
			w.Records, err = units.ParseCount(s)
			return err
		}},
		{"value-size", func(w *Workload, s string) (err error) {
			w.ValueSize, err = ParseSize(s)
			return err
		}},
		{"compression-ratio", plainNumber(func(w *Workload) *float64 { return &w.CompressionRatio })},
		{"scan-length", count(func(w *Workload) *int { return &w.ScanLength })},
		{"batch-size", count(func(w *Workload) *int { return &w.BatchSize })},
		{"ttl", func(w *Workload, s string) (err error) {
			w.TTL, err = units.ParseDuration(s)
			return err
		}},
		{"mix", func(w *Workload, s string) (err error) {
			w.Mix, err = parseMix(s)
			return err
		}},
		{"keys.distribution", func(w *Workload, s string) error {
			if !slices.Contains(keys.Distributions, s) {
				return fmt.Errorf("unknown distribution %q: want one of %s%s", s, strings.Join(keys.Distributions, ", "),
					didYouMean(s, keys.Distributions))
			}
			w.Keys.Distribution = s
			return nil
		}},
		{"keys.exponent", plainNumber(func(w *Workload) *float64 { return &w.Keys.Exponent })},
		{"keys.hot-fraction", plainNumber(func(w *Workload) *float64 { return &w.Keys.HotFraction })},
		{"keys.hot-share", plainNumber(func(w *Workload) *float64 { return &w.Keys.HotShare })},
		{"keys.percentile", plainNumber(func(w *Workload) *float64 { return &w.Keys.Percentile })},
		{"keys.fraction", plainNumber(func(w *Workload) *float64 { return &w.Keys.Fraction })},
		{"keys.zones", func(w *Workload, s string) (err error) {
			w.Keys.Zones, err = parseZones(s)
			return err
		}},
		{"keys.hot-partitions", count(func(w *Workload) *int { return &w.Keys.HotPartitions })},
		{"keys.hot-node", count(func(w *Workload) *int { return &w.Keys.HotNode })},
	}
	for op := range Ops {
		list = append(list, field{"mix." + op.String(), plainNumber(func(w *Workload) *float64 { return &w.Mix[op] })})
	}
	return list
}

func checkName(s string) error {
	if s == "" || len(s) > 100 {
		return fmt.Errorf("want 1 to 100 characters")
	}
	return nil
}

func plainNumber(at func(*Workload) *float64) func(*Workload, string) error {
	return func(w *Workload, s string) (err error) {
		*at(w), err = parseNumber(s)
		return err
	}
}

func count(at func(*Workload) *int) func(*Workload, string) error {
	return func(w *Workload, s string) error {
		n, err := units.ParseCount(s)
		*at(w) = int(min(n, math.MaxInt32))
		return err
	}
}

// parseNumber reads a number; a percent sign behind it means nothing.
func parseNumber(s string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return v, nil
}

// parseMix reads a whole mix: "get:95,update:5".
func parseMix(s string) (mix [Ops]float64, err error) {
	for part := range strings.SplitSeq(s, ",") {
		name, share, ok := strings.Cut(strings.TrimSpace(part), ":")
		op := slices.Index(opNames[:], name)
		if !ok || op < 0 {
			return mix, fmt.Errorf("%q: want OPERATION:PERCENT,… with %s%s", part, strings.Join(opNames[:], ", "),
				didYouMean(name, opNames[:]))
		}
		if mix[op], err = parseNumber(share); err != nil {
			return mix, fmt.Errorf("%q: %w", part, err)
		}
	}
	return mix, nil
}

// parseZones reads fio's notation: "60:10,30:20,10:70".
func parseZones(s string) ([]keys.Zone, error) {
	var zones []keys.Zone
	for part := range strings.SplitSeq(s, ",") {
		share, of, ok := strings.Cut(strings.TrimSpace(part), ":")
		a, err1 := parseNumber(share)
		b, err2 := parseNumber(of)
		if !ok || err1 != nil || err2 != nil {
			return nil, fmt.Errorf("%q: want SHARE:KEYS,… in percent, such as 60:10,30:20,10:70", part)
		}
		zones = append(zones, keys.Zone{Share: a, Keys: b})
	}
	return zones, nil
}

// Keys lists every key that Set takes.
func Keys() []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

// Has reports whether key is a key of a workload.
func Has(key string) bool { return slices.Contains(Keys(), key) }

// Set overrides one key, as --set does. It does not Validate.
func (w *Workload) Set(key, value string) error {
	for _, f := range fields {
		if f.name != key {
			continue
		}
		if err := f.set(w, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	return fmt.Errorf("unknown workload key %q%s", key, didYouMean(key, Keys()))
}

// didYouMean returns ", did you mean …?" for the nearest candidate, or "".
func didYouMean(got string, candidates []string) string {
	if n := strict.Nearest(got, candidates); n != "" {
		return fmt.Sprintf(": did you mean %q?", n)
	}
	return ""
}
