package diff

import (
	"fmt"
	"sort"
	"strings"

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
		{"schedule", s.Schedule}, {"local nodes", fmt.Sprint(g.LocalNodes)}, {"records loaded", stats.Count(g.LoadedRecs)}, {"warm-up", stats.Seconds(g.WarmupSec)},
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

func commit(r *Run) string {
	sha := r.Folder.Environment.GitSHA
	if r.Folder.Environment.GitDirty {
		sha += " with local changes"
	}
	return sha
}

// environmentDiff returns a table of what differs and how many lines are equal.
func environmentDiff(runs []*Run) (t *page.Table, same int) {
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
	t = &page.Table{Name: "environment", Label: "What differs between the runs", Head: []string{"Differs"}, Words: map[int]bool{}}
	for i, r := range runs {
		t.Head = append(t.Head, r.Name)
		t.Words[i+1] = true
	}
	for _, name := range order {
		equal := true
		row := []page.Cell{{Text: name}}
		for _, v := range values[name] {
			equal = equal && v == values[name][0]
			if v == "" {
				v = page.Missing
			}
			row = append(row, page.Cell{Text: v, Faint: v == page.Missing})
		}
		if equal {
			same++
			continue
		}
		t.Rows = append(t.Rows, row)
	}
	if len(t.Rows) == 0 {
		return nil, same
	}
	return t, same
}
