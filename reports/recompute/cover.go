package recompute

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// given are the numbers of run.json that are configuration: what was asked for,
// or what follows from that before anything ran. A * stands for any name or
// index. Everything else was measured and needs a recomputation.
var given = compile(
	"generator.lanes", // where the generator keeps no log of them
	"generator.seed",
	"generator.in_flight_max",
	"generator.warmup_s",
	"generator.deadline_ms",
	"generator.think_ms",
	"generator.local_nodes",
	"generator.gomaxprocs",
	"device.dilation",
	"slo[*].limit.p",
	"slo[*].limit.latency_us",
	"stages.operations.*.every",
	"shard.index",
	"shard.of",
)

func compile(patterns ...string) (list []*regexp.Regexp) {
	for _, p := range patterns {
		list = append(list, regexp.MustCompile("^"+star.ReplaceAllString(regexp.QuoteMeta(p), `[^.\]]+`)+"$"))
	}
	return list
}

var star = regexp.MustCompile(`\\\*`)

func isGiven(field string) bool {
	for _, p := range given {
		if p.MatchString(field) {
			return true
		}
	}
	return false
}

// cover walks run.json itself and notes each number that nothing has looked at.
func (c *checker) cover() error {
	text, err := os.ReadFile(filepath.Join(c.dir, "run.json"))
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("run.json: %w", err)
	}
	c.out.Numbers = map[State]int{}
	walk("", v, func(field, number string) {
		_, seen := c.at[field]
		switch {
		case seen:
		case isGiven(field):
			c.add(field, number, "", "configuration", Given)
		case c.newer():
			c.add(field, number, "", "", Unknown)
		default:
			c.add(field, number, "", "", Older)
		}
		c.out.Numbers[c.out.Findings[c.at[field]].State]++
	})
	return nil
}

// walk calls f for each number of a JSON value, with its path.
func walk(path string, v any, f func(field, number string)) {
	switch v := v.(type) {
	case json.Number:
		f(path, v.String())
	case []any:
		for i, x := range v {
			walk(fmt.Sprintf("%s[%d]", path, i), x, f)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			field := k
			if path != "" {
				field = path + "." + k
			}
			walk(field, v[k], f)
		}
	}
}
