package capacity

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"headroom/planner/plan"
	"headroom/reports/page"
)

// Document returns the capacity report of a plan.
func Document(p *Plan) *page.Document {
	d := &page.Document{Kind: "Headroom capacity report", Meta: p.name(), Title: title(p), Footer: "Plan file of format " + p.Format + "; model: " + p.Model.Name + "."}
	b := p.best()
	if b == nil {
		d.Stamp = "No plan is feasible"
	}
	d.Add("answer", "The answer", answer(p)...)
	d.Add("verdicts", "How far to trust it", verdicts(p))
	d.Add("cost", "Cost and servers by machine type", costFigure(p), folded("All machine types", costTable(p)))
	if b != nil {
		d.Add("binding", "What binds, and why not fewer", page.Text(bindingText(b)), page.Text(fewerText(b)), shadowTable(p))
		d.Add("states", "Every resource in every state", or(stateFigure(b), "The plan lists no state."), stateTable(b))
		d.Add("latency", "Latency by state", or(latencyFigure(b), noLatency(p)), latencyTable(b))
		d.Add("redundancy", "Rebuild and redundancy", redundancyTable(b))
		d.Add("growth", "Growth until full", growth(p)...)
		d.Add("uncertainty", "How sure the number is", or(chanceFigure(p), "The plan holds no probability by number of nodes."),
			or(tornadoFigure(p), "No uncertain input alone, from its p10 to its p90, changes the number of servers."), chanceTable(p), tornadoTable(p))
	}
	d.Add("verification", "Predicted and measured", verification(p)...)
	d.Add("catalog", "Catalog rows used", folded("Rows of the catalog, with source and date", catalogTable(p)))
	d.Add("assumptions", "Assumptions", assumptionTable(p))
	if p.NodeConfig != "" {
		d.Add("configuration", "Node configuration", page.Code(p.NodeConfig))
	}
	d.Add("requirements", "Requirements", folded("Every value of the requirements", requirementTable(p)))
	d.Add("signature", "Agreed", page.Text("The undersigned have read the assumptions above and agree to this capacity."), page.Sign{"Capacity engineer, date", "Service owner, date", "Budget owner, date"})
	return d
}

func or(f *page.Figure, why string) page.Block {
	if f == nil {
		return page.Absent(why)
	}
	return f
}

// name is the plan's own name.
func (p *Plan) name() string {
	var r struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(p.Requirements, &r) != nil {
		return ""
	}
	return r.Name
}

// words turns nodes_lost_migrating into nodes lost migrating.
// longTable is from how many rows a table is folded away; it is open in print.
const longTable = 15

func folded(what string, t *page.Table) page.Block {
	switch {
	case t == nil:
		return nil
	case len(t.Rows) < longTable:
		return t
	}
	return page.Details{Summary: what, Blocks: []page.Block{t}}
}

func words(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "re_replicated", "re-replicated"), "_", " ")
}

func nodes(n int) string {
	if n == 1 {
		return "1 server"
	}
	return fmt.Sprintf("%d servers", n)
}

func usd(v *float64) string {
	if v == nil {
		return page.Missing
	}
	return fmt.Sprintf("$%.2f", *v)
}

// hoursPerMonth is what clouds bill and the planner counts.
const hoursPerMonth = 730

func monthly(v *float64) string {
	if v == nil {
		return page.Missing
	}
	return "$" + thousands(math.Round(*v*hoursPerMonth))
}

func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func percent(v float64) string { return fmt.Sprintf("%.3g %%", v*100) }

func title(p *Plan) string {
	b := p.best()
	if b == nil {
		return fmt.Sprintf("None of %d combinations of machine type, copies and racks meets the requirements", len(p.Candidates))
	}
	t := fmt.Sprintf("%s of type %s carry %s", nodes(b.Nodes), b.Type, subject(p))
	if b.Nodes == 1 {
		t = fmt.Sprintf("1 server of type %s carries %s", b.Type, subject(p))
	}
	if b.USDPerHour != nil {
		t += fmt.Sprintf(" for %s a month", monthly(b.USDPerHour))
	}
	if p.Model.Prior {
		t += ", by priors"
	}
	return t
}

func subject(p *Plan) string {
	if n := p.name(); n != "" {
		return n
	}
	return "the load"
}

func answer(p *Plan) []page.Block {
	b := p.best()
	text := p.Summary
	if b == nil {
		if text == "" {
			text = "No candidate passes every state. The table of types says what stops each."
		}
		return []page.Block{page.Text(text)}
	}
	v := page.Values{
		{Label: "Servers", Text: fmt.Sprint(b.Nodes), Note: fmt.Sprintf("%s, %d copies%s", b.Type, b.Copies, racks(b.Racks))},
		{Label: "Cost", Text: monthly(b.USDPerHour) + " a month", Note: usd(b.USDPerHour) + " an hour, list price of the catalog"},
		{Label: "Probability that it is enough", Text: percent(b.PFeasible), Note: "over the uncertain inputs"},
		{Label: "Full redundancy after a loss", Text: duration(b.RebuildSec)},
		{Label: "Until a partition is lost for good", Text: years(b.MTTDLYears), Note: "mean of a model of independent failures"},
	}
	if b.USDPerHour == nil {
		v[1].Text, v[1].Note = page.Missing, "the catalog has no price"
	}
	if x := b.Binding; x != nil && x.Utilisation != nil {
		v = append(v, page.Value{Label: "What binds", Text: words(x.Resource), Note: fmt.Sprintf("%s of its limit in state %s", percent(*x.Utilisation), words(x.State)), Bad: *x.Utilisation > 1})
	}
	if text == "" {
		return []page.Block{v}
	}
	return []page.Block{page.Text(text), v}
}

func racks(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf(", %d racks", n)
}

func duration(sec *float64) string {
	if sec == nil {
		return page.Missing
	}
	s := *sec
	switch {
	case s < 1:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 120:
		return fmt.Sprintf("%.3g s", s)
	case s < 7200:
		return fmt.Sprintf("%.3g min", s/60)
	default:
		return fmt.Sprintf("%.3g h", s/3600)
	}
}

func years(v *float64) string {
	switch {
	case v == nil:
		return page.Missing
	case *v >= 1e4:
		e := math.Floor(math.Log10(*v))
		return fmt.Sprintf("%.1f × 10%s years", *v/math.Pow(10, e), raised(int(e)))
	case *v < 1:
		return fmt.Sprintf("%.3g days", *v*365.25)
	default:
		return fmt.Sprintf("%.0f years", *v)
	}
}

// raised prints a positive exponent.
func raised(n int) string {
	return strings.Map(func(r rune) rune { return []rune("⁰¹²³⁴⁵⁶⁷⁸⁹")[r-'0'] }, fmt.Sprint(n))
}

func verdicts(p *Plan) page.Verdicts {
	var v page.Verdicts
	b := p.best()
	if b == nil {
		v = append(v, page.Verdict{Level: "fail", Rule: "FEASIBLE", Text: "no candidate meets the requirements"})
	}
	for _, s := range p.OnPaper {
		v = append(v, page.Verdict{Level: "warn", Rule: "ON PAPER", Text: s + ": this cluster cannot do it yet"})
	}
	if p.Model.Prior {
		v = append(v, page.Verdict{Level: "warn", Rule: "PRIOR", Text: "nothing was measured: the figures rest on shipped priors, and no percentile is predicted (headroom-planner fit turns load tests into a model)"})
	} else {
		v = append(v, page.Verdict{Level: "info", Rule: "MODEL", Text: fmt.Sprintf("%s, fitted to %s", p.Model.Name, runsText(p.Model.Runs))})
	}
	if b != nil && b.Transferred {
		v = append(v, page.Verdict{Level: "warn", Rule: "TRANSFERRED", Text: b.Type + " is not the type that was measured: its CPU and devices are scaled from the catalog"})
	}
	if b != nil && b.Confidence != "" && b.Confidence != "measured" {
		v = append(v, page.Verdict{Level: "info", Rule: "CATALOG", Text: fmt.Sprintf("the row of %s is %s (%s, %s)", b.Type, b.Confidence, b.Source, b.Date)})
	}
	slices.SortStableFunc(v, func(a, b page.Verdict) int { return strings.Compare(gravity[a.Level], gravity[b.Level]) })
	return v
}

// gravity sorts verdicts, the worst first.
var gravity = map[string]string{"fail": "a", "warn": "b", "info": "c"}

func runsText(list []string) string {
	switch {
	case len(list) == 0:
		return "no run that it names"
	case len(list) <= 3:
		return "the runs " + strings.Join(list, ", ")
	default:
		return fmt.Sprintf("%d runs", len(list))
	}
}

func bindingText(b *plan.Candidate) string {
	x := b.Binding
	if x == nil || x.Utilisation == nil {
		return "The plan names no binding resource: the number is set by a rule of its structure."
	}
	return fmt.Sprintf("The least room is in %s in state %s, at %s of its limit.", words(x.Resource), words(x.State), percent(*x.Utilisation))
}

func fewerText(b *plan.Candidate) string {
	f := b.WhyNotFewer
	switch {
	case f == nil:
		return "The plan does not say why fewer servers would not do."
	case f.Text != "":
		return "Why not fewer: " + f.Text + "."
	case f.Utilisation != nil:
		return fmt.Sprintf("Why not fewer: with %d, %s in state %s is at %s of its limit.", f.Nodes, words(f.Resource), words(f.State), percent(*f.Utilisation))
	default:
		return fmt.Sprintf("Why not fewer: %d break a rule of the structure (%s).", f.Nodes, words(f.Resource))
	}
}

func noLatency(p *Plan) string {
	if p.Model.Prior {
		return "No percentile is given: without a measured model there is nothing to compute one from."
	}
	return "The plan gives no percentile for any state."
}

// growth says when the plan is full.
func growth(p *Plan) []page.Block {
	if p.Full == nil {
		return []page.Block{page.Text("The requirements state no growth.")}
	}
	f := p.Full
	say := func(v *float64) string {
		if v == nil {
			return "not within ten years"
		}
		return fmt.Sprintf("%.1f months", *v)
	}
	t := &page.Table{Name: "growth", Label: "Months until the plan is full", Head: []string{"Months until full", "from now"}}
	for _, r := range []struct {
		name string
		v    *float64
	}{{"with the fastest tenth of growth (p10)", f.P10}, {"median", f.P50}, {"with the slowest tenth (p90)", f.P90}} {
		t.Rows = append(t.Rows, []page.Cell{{Text: r.name}, {Text: say(r.v)}})
	}
	if fig := growthFigure(f); fig != nil {
		return []page.Block{fig, t}
	}
	return []page.Block{page.Text("By the stated growth the plan is not full within ten years."), t}
}

// sortedKeys returns the resources of all states in one order.
func resources(b *plan.Candidate) (out []string) {
	seen := map[string]bool{}
	for _, s := range b.States {
		for k := range s.Resources {
			if !seen[k] {
				seen[k] = true
				out = append(out, k)
			}
		}
	}
	sort.Strings(out)
	return out
}
