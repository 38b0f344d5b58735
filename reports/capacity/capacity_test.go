package capacity

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"headroom/planner/plan"
	"headroom/reports/page"
)

func render(t *testing.T, p *Plan) (html, md string) {
	t.Helper()
	var a, b bytes.Buffer
	d := Document(p)
	for _, f := range d.Figures() {
		for _, x := range append(f.Wide.Flaws(), f.Narrow.Flaws()...) {
			t.Errorf("figure %s: %s", f.Name, x)
		}
	}
	if err := page.HTML(&a, d); err != nil {
		t.Fatal(err)
	}
	if err := page.Markdown(&b, d); err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`NaN|[+-]?\bInf\b|%!|<nil>`).FindString(a.String() + b.String()); m != "" {
		t.Errorf("the report holds %q", m)
	}
	return a.String(), b.String()
}

func load(t *testing.T) *Plan {
	t.Helper()
	p, err := Read(filepath.Join("testdata", "plan.json"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheAnswerIsSaidWithWhatItRestsOn(t *testing.T) {
	_, md := render(t, load(t))
	for _, want := range []string{
		"# 7 servers of type big.2x carry sessions for $1,825 a month.",
		"The least room is in index memory in state nodes lost, at 97 % of its limit.",
		"Why not fewer: with 6, index memory in state nodes lost is at 113 % of its limit.",
		"ON PAPER: strong consistency: this cluster cannot do it yet",
		"MODEL: lab, March, fitted to the runs r1, r2",
		"TRANSFERRED: big.2x is not the type that was measured",
		"| index memory | 11 GiB | 1 | $0.36 |",
		"Overloaded, so that p99 is infinite: writes in state nodes lost. The highest finite p99 is that of writes in state healthy: 1.6 ms.",
		"| nodes lost | 240 µs | 1.31 ms | not recorded | **∞** (overloaded) |",
		"8.3 × 10⁴ years",
		"By the stated growth the plan is full in 9.5 months, with the fastest tenth of growth in 4.2; with the slowest tenth not within ten years, where the line ends.",
		"7 are enough with 97 %.",
		"The input that moves the answer most is s.records: 6 servers at its p10 (grey), 9 at its p90 (blue)",
		"| namespaces\\[0].reads | 1/s, 2/s, 3/s |",
		"| keys are uniform | a prior |",
		"This plan was not verified on a running cluster",
		"Budget owner, date",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
}

func TestAnInfeasiblePlanSaysWhatStopsEachType(t *testing.T) {
	p := load(t)
	p.Answer, p.Summary, p.Candidates = nil, "", p.Candidates[:1]
	html, md := render(t, p)
	if !strings.Contains(html, `<p class="stamp">No plan is feasible</p>`) {
		t.Error("no stamp")
	}
	for _, want := range []string{"None of 1 combinations of machine type, copies and racks meets the requirements", "memory: no number up to 256 is enough"} {
		if !strings.Contains(md, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
}

func TestPriorsGiveNoPercentileAndSaySo(t *testing.T) {
	p := load(t)
	p.Model.Prior = true
	for i := range p.Candidates[1].States {
		s := &p.Candidates[1].States[i]
		s.P50, s.P99, s.WriteP50, s.WriteP99, s.P99Range, s.Infinite = nil, nil, nil, nil, nil, nil
	}
	_, md := render(t, p)
	for _, want := range []string{"by priors.", "No percentile is given: without a measured model", "PRIOR: nothing was measured"} {
		if !strings.Contains(md, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
}

func TestHostileAndEmptyPlansAreShownSafely(t *testing.T) {
	evil := `</style><script>alert("x")</script>|` + "\x00\n# h"
	p := load(t)
	p.Summary, p.NodeConfig, p.Model.Name, p.OnPaper = evil, evil, evil, []string{evil}
	for i := range p.Candidates {
		c := &p.Candidates[i]
		c.Type, c.Reason, c.Source, c.Note, c.Confidence = evil, evil, evil, evil, evil
		c.Binding = &plan.Binding{State: evil, Resource: evil}
	}
	p.Candidates[1].States[0].Resources[evil] = p.Candidates[1].RebuildSec
	p.Tornado[0].Input = evil
	html, md := render(t, p)
	if strings.Contains(html, "<script>alert") || strings.Contains(md, "\n# h") {
		t.Error("a plan's text is read as markup")
	}
	zero := 0
	render(t, &Plan{Format: plan.Format})
	render(t, &Plan{Format: plan.Format, Answer: &zero, Candidates: []plan.Candidate{{Feasible: true}}})
}

func TestOtherFilesAreRefused(t *testing.T) {
	f := func(text, says string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "p.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Read(%.40q) = %v, want %q", text, err, says)
		}
	}
	f("", "not a plan")
	f("[1]", "not a plan")
	f(`{"format":"headroom-plan/2"}`, "headroom-plan/2")
	f(`{"format":"headroom-plan/1","answer":3}`, "candidate 3 of 0")
	f(`{"format":"headroom-plan/1","answer":-1}`, "candidate -1")
	f(`{"format":"headroom-plan/1","candidates":7}`, "damaged plan")
}

// TestEveryFigureOfAPlanHasLabelsApart: those of the example, and of a plan with
// many states, types and inputs of long names; render looks at the labels.
func TestEveryFigureOfAPlanHasLabelsApart(t *testing.T) {
	p := load(t)
	var names []string
	for _, f := range Document(p).Figures() {
		names = append(names, f.Name)
	}
	if got, want := strings.Join(names, " "), "cost states latency growth probability tornado"; got != want {
		t.Errorf("figures %q, want %q", got, want)
	}
	long := strings.Repeat("a_very_long_name_", 5)
	b := &p.Candidates[1]
	b.Type = long
	for i := range 40 {
		s := b.States[i%2]
		s.State, s.Resources = fmt.Sprint(long, i), map[string]*float64{}
		for k := range 30 {
			v := float64(k) * float64(i) / 20
			s.Resources[fmt.Sprint(long, "resource_", k)] = &v
		}
		b.States = append(b.States, s)
		p.Tornado = append(p.Tornado, plan.Swing{Input: fmt.Sprint(long, i), P10: i, P90: 3 * i})
		p.Curve = append(p.Curve, plan.Chance{Nodes: 8 + i, PFeasible: 1})
		c := *b
		c.Type = fmt.Sprint("other", i, long)
		p.Candidates = append(p.Candidates, c)
	}
	regret := b.Nodes + 1
	p.LeastRegret = &regret
	render(t, p)
	p.Full.P50, p.Full.P10 = nil, p.Full.P90
	render(t, p)
}
