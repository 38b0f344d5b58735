package capacity

import (
	"fmt"
	"math"
	"regexp"
	"strings"

	"headroom/reports/page"
)

// verification is the card of predicted beside measured figures.
func verification(p *Plan) []page.Block {
	c := p.Card
	if c == nil {
		return []page.Block{page.Absent("This plan was not verified on a running cluster. headroom-planner verify starts that many emulated nodes and one fewer, and loses the planned number of them.")}
	}
	verdict := strings.ToUpper(string(c.Verdict))
	if c.ByArithmetic {
		verdict += " (the claim about fewer servers by arithmetic, not run)"
	}
	m := c.Miniature
	blocks := []page.Block{page.Text(verdict + ": " + spoken(c.Text) + "."),
		page.Text(fmt.Sprintf("Run at %s on %s as a miniature: %d nodes, %s operations a second (the plan's divided by %s), %s records of %s (divided by %s). Emulated: %s.",
			c.When, c.Host, m.Nodes, digits(m.OpsPerSec), digits(m.Rates), thousands(float64(m.Records)), m.ValueSize, digits(m.Bytes), m.Emulates))}
	if m.Dilation > 1 {
		blocks = append(blocks, page.Text(fmt.Sprintf("The devices were emulated and slowed down %.4g times: measured times of the trials are as many times longer than on real devices.", m.Dilation)))
	}
	trials := &page.Table{Name: "trials", Label: "Clusters that were run", Head: []string{"Nodes", "Killed", "Outcome", "Run folder"}, Words: map[int]bool{2: true, 3: true}}
	for _, t := range c.Trials {
		trials.Rows = append(trials.Rows, page.Plain(fmt.Sprint(t.Nodes), fmt.Sprint(t.Killed), t.Why, t.Run))
	}
	compared := &page.Table{Name: "verification", Label: "Predicted and measured", Head: []string{"Figure", "Predicted", "Measured", "Error"}, Words: map[int]bool{0: true}}
	for _, r := range c.Compared {
		compared.Rows = append(compared.Rows, page.Plain(r.Name, measure(r.Predicted, r.Unit), measure(r.Measured, r.Unit), off(r.Error)))
	}
	return append(blocks, trials, compared)
}

// named matches the names of states and resources; machine types have digits.
var named = regexp.MustCompile(`\b[a-z]+(_[a-z]+)+\b`)

// spoken writes the names of states and resources in a sentence of the planner's
// as words.
func spoken(text string) string { return named.ReplaceAllStringFunc(text, words) }

// digits prints three digits of a small number and all of a large one.
func digits(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.3g", v)
	}
	return thousands(math.Round(v))
}

func measure(v *float64, unit string) string {
	switch {
	case v == nil:
		return page.Missing
	case unit == "bytes":
		return fmt.Sprintf("%.1f MiB", *v/(1<<20))
	}
	return strings.TrimSpace(fmt.Sprintf("%.3g %s", *v, unit))
}

// off is a relative error in percent, with its sign.
func off(v *float64) string {
	if v == nil || math.IsNaN(*v) {
		return page.Missing
	}
	if math.Abs(*v) < 0.0005 {
		return "0 %"
	}
	return strings.Replace(fmt.Sprintf("%+.1f %%", *v*100), "-", "−", 1)
}
