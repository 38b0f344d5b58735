package capacity

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"headroom/planner/plan"
	"headroom/reports/page"
)

// maxCandidates bounds the table of candidates: a plan may hold thousands.
const maxCandidates = 30

func raw(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%g", *v)
}

func costTable(p *Plan) *page.Table {
	t := &page.Table{Name: "candidates", Label: "Machine types and layouts, the cheapest feasible first", Head: []string{"Type", "copies", "racks", "servers", "an hour", "a month", "probability", "binds", "why not"},
		Words: map[int]bool{7: true, 8: true}}
	order := make([]int, len(p.Candidates))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return p.Candidates[order[a]].Feasible && !p.Candidates[order[b]].Feasible })
	for n, i := range order {
		c := p.Candidates[i]
		if n == maxCandidates {
			t.Rows = append(t.Rows, page.Plain("…", "", "", "", "", "", "", "", fmt.Sprintf("%d more in the plan file", len(order)-n)))
			break
		}
		name := page.Cell{Text: c.Type}
		if p.Answer != nil && *p.Answer == i {
			name.Note = "the answer"
		}
		binds := ""
		if b := c.Binding; b != nil {
			binds = words(b.Resource) + ", " + words(b.State)
		}
		servers := page.Cell{Text: fmt.Sprint(c.Nodes)}
		if !c.Feasible {
			servers = page.Cell{Text: "none", Faint: true}
		}
		t.Rows = append(t.Rows, []page.Cell{name, {Text: fmt.Sprint(c.Copies)}, {Text: fmt.Sprint(c.Racks)}, servers, {Text: usd(c.USDPerHour), Raw: raw(c.USDPerHour)},
			{Text: monthly(c.USDPerHour)}, {Text: percent(c.PFeasible), Raw: fmt.Sprint(c.PFeasible)}, {Text: binds}, {Text: c.Reason}})
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}

func shadowTable(p *Plan) *page.Table {
	t := &page.Table{Name: "shadow-prices", Label: "What more of a resource on each server would save", Head: []string{"Resource", "more on each server", "saves servers", "saves an hour"}}
	for _, s := range p.Shadow {
		amount := s.Amount
		if amount == "" {
			amount = percent(s.More)
		}
		if s.Together {
			amount += ", only together with the other"
		}
		t.Rows = append(t.Rows, []page.Cell{{Text: words(s.Resource)}, {Text: amount, Raw: fmt.Sprint(s.More)}, {Text: fmt.Sprint(s.Saves)}, {Text: fmt.Sprintf("$%.2f", s.USD), Raw: fmt.Sprint(s.USD)}})
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}

// stateTable has a row for each resource: there are more of them than states.
func stateTable(b *plan.Candidate) *page.Table {
	keys := resources(b)
	if len(keys) == 0 {
		return nil
	}
	t := &page.Table{Name: "states", Label: "Utilisation of every resource in every state; 100 % is the limit", Head: []string{"Share of the limit"}}
	up := []page.Cell{{Text: "servers up"}}
	for _, s := range b.States {
		t.Head = append(t.Head, words(s.State))
		up = append(up, page.Cell{Text: fmt.Sprint(s.Nodes)})
	}
	t.Rows = append(t.Rows, up)
	for _, k := range keys {
		row := []page.Cell{{Text: words(k)}}
		for _, s := range b.States {
			v := s.Resources[k]
			if v == nil {
				row = append(row, page.Cell{Text: "not judged", Faint: true})
				continue
			}
			row = append(row, page.Cell{Text: percent(*v), Raw: raw(v), Bad: *v > 1})
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func latencyTable(b *plan.Candidate) *page.Table {
	t := &page.Table{Name: "latency", Label: "Predicted latency by state", Head: []string{"State", "read p50", "read p99", "write p50", "write p99"}}
	known := false
	for _, s := range b.States {
		row := []page.Cell{{Text: words(s.State)}}
		for _, x := range []struct {
			name string
			v    *float64
		}{{"p50_ms", s.P50}, {"p99_ms", s.P99}, {"write_p50_ms", s.WriteP50}, {"write_p99_ms", s.WriteP99}} {
			c := page.Cell{Text: millis(x.v), Raw: raw(x.v), Faint: x.v == nil}
			if x.v == nil && has(s.Infinite, x.name) {
				c = page.Cell{Text: "∞", Note: "overloaded", Bad: true}
			}
			if x.name == "p99_ms" && s.P99Range != nil {
				c.Note = millis(&s.P99Range[0]) + " to " + millis(&s.P99Range[1])
			}
			known = known || x.v != nil || c.Bad
			row = append(row, c)
		}
		t.Rows = append(t.Rows, row)
	}
	if !known {
		return nil
	}
	return t
}

func has(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func redundancyTable(b *plan.Candidate) *page.Table {
	t := &page.Table{Name: "redundancy", Label: "Rebuild, loss and availability", Head: []string{"Redundancy", "value"}}
	add := func(name, text, note string) {
		t.Rows = append(t.Rows, []page.Cell{{Text: name, Note: note}, {Text: text, Faint: text == page.Missing}})
	}
	add("Copies of every record", fmt.Sprint(b.Copies), "")
	add("Full redundancy after the planned loss", duration(b.RebuildSec), "")
	for _, s := range b.States {
		if s.RebuildSec != nil {
			add("Full redundancy from state "+words(s.State), duration(s.RebuildSec), "")
		}
		if s.Unavailable > 0 {
			add("Partitions without a copy in state "+words(s.State), fmt.Sprint(s.Unavailable), "of 4096")
		}
	}
	add("Until a partition is lost for good", years(b.MTTDLYears), "mean, of a model of independent failures")
	add("Without service in a year", duration(b.Unavailable), "expected, per partition")
	add("Bytes on the fullest server", size(b.BytesPerNode), "index and records, healthy")
	return t
}

func size(v float64) string {
	for i, name := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if unit := float64(int64(1) << (40 - 10*i)); v >= unit {
			return fmt.Sprintf("%.3g %s", v/unit, name)
		}
	}
	return fmt.Sprintf("%.0f B", v)
}

func chanceTable(p *Plan) *page.Table {
	if len(p.Curve) == 0 {
		return nil
	}
	t := &page.Table{Name: "probability", Label: "Probability that so many servers are enough", Head: []string{"Servers", "probability", "expected regret, $ an hour"}}
	for _, c := range p.Curve {
		t.Rows = append(t.Rows, []page.Cell{{Text: fmt.Sprint(c.Nodes)}, {Text: percent(c.PFeasible), Raw: fmt.Sprint(c.PFeasible)}, {Text: fmt.Sprintf("%.2f", c.Regret), Raw: fmt.Sprint(c.Regret)}})
	}
	return t
}

func tornadoTable(p *Plan) *page.Table {
	if len(p.Tornado) == 0 {
		return nil
	}
	t := &page.Table{Name: "tornado", Label: "Servers with one input at its p10 and its p90", Head: []string{"Input", "servers at p10", "servers at p90"}}
	for _, s := range p.Tornado {
		t.Rows = append(t.Rows, page.Plain(words(s.Input), fmt.Sprint(s.P10), fmt.Sprint(s.P90)))
	}
	return t
}

func catalogTable(p *Plan) *page.Table {
	t := &page.Table{Name: "catalog", Label: "Catalog rows of the candidates", Head: []string{"Type", "confidence", "source", "date", "note"}, Words: map[int]bool{1: true, 2: true, 3: true, 4: true}}
	seen := map[string]bool{}
	for _, c := range p.Candidates {
		if seen[c.Type] || len(t.Rows) == maxCandidates {
			continue
		}
		seen[c.Type] = true
		t.Rows = append(t.Rows, page.Plain(c.Type, c.Confidence, c.Source, strings.ReplaceAll(c.Date, "-", "\u2011"), c.Note))
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}

func assumptionTable(p *Plan) *page.Table {
	if len(p.Assumptions) == 0 {
		return nil
	}
	t := &page.Table{Name: "assumptions", Label: "What the figures rest on", Head: []string{"Assumption", "rests on"}, Words: map[int]bool{1: true}}
	for _, a := range p.Assumptions {
		on := "measurement or arithmetic"
		if a.Prior {
			on = "a prior"
		}
		t.Rows = append(t.Rows, page.Plain(a.Text, on))
	}
	return t
}

// maxRequirements bounds the lines of the requirements shown.
const maxRequirements = 200

func requirementTable(p *Plan) *page.Table {
	t := &page.Table{Name: "requirements", Label: "The requirements as planned", Head: []string{"Requirement", "value"}, Words: map[int]bool{1: true}}
	var tree any
	if json.Unmarshal(p.Requirements, &tree) != nil {
		return nil
	}
	flatten("", tree, func(key, value string) {
		if len(t.Rows) < maxRequirements && value != "" {
			t.Rows = append(t.Rows, page.Plain(key, value))
		}
	})
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}

// flatten calls f for every leaf of a JSON tree, keys joined by dots and in
// order. A list of texts is one leaf.
func flatten(key string, v any, f func(key, value string)) {
	switch x := v.(type) {
	case map[string]any:
		var names []string
		for k := range x {
			names = append(names, k)
		}
		sort.Strings(names)
		for _, k := range names {
			flatten(strings.TrimPrefix(key+"."+k, "."), x[k], f)
		}
	case []any:
		var leaves []string
		for i, e := range x {
			switch e.(type) {
			case map[string]any, []any:
				flatten(fmt.Sprintf("%s[%d]", key, i), e, f)
			default:
				leaves = append(leaves, fmt.Sprint(e))
			}
		}
		f(key, strings.Join(leaves, ", "))
	case nil:
		f(key, "")
	default:
		f(key, fmt.Sprint(x))
	}
}
