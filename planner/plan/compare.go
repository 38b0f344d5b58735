package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"headroom/workloads/units"
)

// Difference is one line in which two plans differ.
type Difference struct {
	What   string `json:"what"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// Compare lists what differs between two plans: the requirements, then the
// answer, then the fewest nodes of each combination that both have.
func Compare(a, b *Plan) ([]Difference, error) {
	list, err := compareRequirements(a.Requirements, b.Requirements)
	if err != nil {
		return nil, err
	}
	add := func(what, before, after string) {
		if before != after {
			list = append(list, Difference{what, before, after})
		}
	}
	add("model", a.Model.Name, b.Model.Name)
	x, y := answerLines(a), answerLines(b)
	for i := range x {
		add(x[i][0], x[i][1], y[i][1])
	}
	key := func(c *Candidate) string { return fmt.Sprintf("%s, RF %d, %d racks", c.Type, c.Copies, c.Racks) }
	after := map[string]*Candidate{}
	for i := range b.Candidates {
		after[key(&b.Candidates[i])] = &b.Candidates[i]
	}
	for i := range a.Candidates {
		if c, ok := after[key(&a.Candidates[i])]; ok {
			add(key(c), fewestText(&a.Candidates[i]), fewestText(c))
		}
	}
	return list, nil
}

func fewestText(c *Candidate) string {
	if !c.Feasible {
		return "no number of nodes"
	}
	return fmt.Sprintf("%d nodes", c.Nodes)
}

// answerLines is the answer as named texts, always of the same names.
func answerLines(p *Plan) [][2]string {
	names := []string{"answer", "nodes", "cost", "binding", "why not fewer", "probability", "rebuild", "a partition lost", "bytes per node"}
	lines := make([][2]string, len(names))
	for i, n := range names {
		lines[i] = [2]string{n, "none"}
	}
	c := p.Best()
	if c == nil {
		return lines
	}
	set := func(i int, format string, args ...any) { lines[i][1] = fmt.Sprintf(format, args...) }
	set(0, "%s%s, RF %d", c.Type, inRacks(c.Racks), c.Copies)
	set(1, "%d", c.Nodes)
	if c.USDPerHour != nil {
		set(2, "$%.2f an hour", *c.USDPerHour)
	}
	set(3, "%s in state %s at %s", wordsOf(c.Binding.Resource), wordsOf(c.Binding.State), percent(*c.Binding.Utilisation))
	set(4, "%s in state %s", wordsOf(c.WhyNotFewer.Resource), wordsOf(c.WhyNotFewer.State))
	set(5, "%.2f", c.PFeasible)
	if c.RebuildSec != nil {
		set(6, "%s", span(*c.RebuildSec))
	}
	if c.MTTDLYears != nil {
		set(7, "%s", years(*c.MTTDLYears))
	}
	set(8, "%s", units.Bytes(c.BytesPerNode).Human())
	return lines
}

func compareRequirements(a, b *Requirements) ([]Difference, error) {
	x, err := flat(a)
	if err != nil {
		return nil, err
	}
	y, err := flat(b)
	if err != nil {
		return nil, err
	}
	keys := map[string]bool{}
	for k := range x {
		keys[k] = true
	}
	for k := range y {
		keys[k] = true
	}
	var list []Difference
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if x[k] != y[k] {
			list = append(list, Difference{k, x[k], y[k]})
		}
	}
	return list, nil
}

// flat is the requirements as dotted keys and texts.
func flat(r *Requirements) (map[string]string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	out := map[string]string{}
	flatten("", v, out)
	return out, nil
}

func flatten(prefix string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			flatten(prefix+"."+k, inner, out)
		}
	case []any:
		for i, inner := range v {
			name := fmt.Sprint(i)
			if m, ok := inner.(map[string]any); ok {
				name = fmt.Sprint(m["name"])
			}
			flatten(prefix+"."+name, inner, out)
		}
	default:
		out[strings.TrimPrefix(prefix, ".")] = fmt.Sprint(v)
	}
}
