package diff

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/page"
	"headroom/reports/stats"
)

// field is one line of an environment.
type field struct{ name, value string }

// fields lists where and how a run was made; what the runs are compared for
// (the program's commit) is among them.
func fields(r *Run) []field {
	e, s := r.Folder.Environment, r.Folder.Summary
	g := s.Generator
	out := []field{
		{"target", s.Target}, {"offered rate", stats.Rate(s.OfferedOpsPerSec) + " ops/s"}, {"loop", strings.Trim(s.Loop+", "+g.Arrivals, ", ")},
		{"schedule", s.Schedule}, {"local nodes", fmt.Sprint(g.LocalNodes)}, {"device", device(s.Device)}, {"audit", yes(s.Audit.Enabled)},
		{"host shared with the target", yes(g.SharedHost)}, {"in-flight limit", fmt.Sprint(g.InFlightMax)}, {"think time", stats.Millis(g.ThinkMS)}, {"records loaded", stats.Count(g.LoadedRecs)}, {"warm-up", stats.Seconds(g.WarmupSec)},
		{"deadline", stats.Millis(g.DeadlineMS)}, {"seed", fmt.Sprint(g.Seed)}, {"lanes", fmt.Sprint(g.Lanes)}, {"faults", fmt.Sprint(len(s.Faults))},
		{"kernel", e.Kernel}, {"CPU", e.CPUModel}, {"cores", fmt.Sprint(e.Cores)}, {"memory", stats.Bytes(float64(e.MemBytes))}, {"governor", e.Governor},
		{"clock source", e.Clock}, {"Go", e.GoVersion}, {"GOMAXPROCS", fmt.Sprint(e.GOMAXPROCS)}, {"system", e.GOOS + "/" + e.GOARCH}, {"commit", commit(r)},
	}
	var keys []string
	for k := range e.Flags {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		out = append(out, field{"node " + k, e.Flags[k]})
	}
	return out
}

// device is what the nodes keep their records on; nothing is known of those of
// another cluster.
func device(d *result.Device) string {
	if d == nil {
		return ""
	}
	out := d.Spec
	if d.Class != "" && d.Class != d.Spec {
		out += ", class " + d.Class
	}
	if d.Dilation > 1 {
		out += fmt.Sprintf(", time stretched %g times", d.Dilation)
	}
	return out
}

func yes(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

func commit(r *Run) string {
	sha := r.Folder.Environment.GitSHA
	if r.Folder.Environment.GitDirty {
		sha += " with local changes"
	}
	return sha
}

// around is what differs around runs.
type around struct {
	table *page.Table // nil when nothing differs
	same  int         // properties that are equal in all runs
	// paired differ from pair to pair and are equal within each: interleaving
	// takes them out of the comparison.
	paired []string
}

// environmentDiff compares the properties of runs, or of the sides of pairs.
func environmentDiff(runs []*Run, pairs bool) (out around) {
	values := map[string][]string{}
	var order []string
	for i, r := range runs {
		for _, f := range fields(r) {
			if values[f.name] == nil {
				values[f.name] = make([]string, len(runs))
				order = append(order, f.name)
			}
			values[f.name][i] = f.value
		}
	}
	t := &page.Table{Name: "environment", Label: "What differs between the runs", Head: []string{"Differs"}, Words: map[int]bool{}}
	for i, r := range runs {
		if name := r.Name; !pairs {
			t.Head = append(t.Head, name)
		} else if i < 2 {
			t.Head = append(t.Head, sideName(runs, i))
		}
		t.Words[i+1] = true
	}
	for _, name := range order {
		list := values[name]
		switch {
		case equal(list):
			out.same++
			continue
		case pairs && equalInPairs(list):
			out.paired = append(out.paired, name)
			continue
		case pairs:
			list = []string{several(list, 0), several(list, 1)}
		}
		row := []page.Cell{{Text: name}}
		for _, v := range list {
			if v == "" {
				v = page.Missing
			}
			row = append(row, page.Cell{Text: v, Faint: v == page.Missing})
		}
		t.Rows = append(t.Rows, row)
	}
	if len(t.Rows) > 0 {
		out.table = t
	}
	return out
}

func equal(list []string) bool {
	return !slices.ContainsFunc(list, func(v string) bool { return v != list[0] })
}

func equalInPairs(list []string) bool {
	for i := 0; i+1 < len(list); i += 2 {
		if list[i] != list[i+1] {
			return false
		}
	}
	return true
}

// several lists the different values of one side of pairs.
func several(list []string, side int) string {
	var out []string
	for i := side; i < len(list); i += 2 {
		if v := list[i]; !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	if len(out) > 4 {
		return fmt.Sprintf("%d different values", len(out))
	}
	return strings.Join(out, " / ")
}
