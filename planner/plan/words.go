package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"headroom/planner/model"
	"headroom/workloads/units"
)

// wordsOf turns a name of the plan file into words.
func wordsOf(name string) string { return strings.ReplaceAll(name, "_", " ") }

func percent(v float64) string {
	switch p := v * 100; {
	case math.IsInf(p, 0):
		return "infinitely many percent"
	case p > 0 && p < 1:
		return fmt.Sprintf("%.2g %%", p)
	case p > 99 && p < 100: // on its side of the limit
		return fmt.Sprintf("%.1f %%", math.Floor(p*10)/10)
	case p > 100 && p < 101:
		return fmt.Sprintf("%.1f %%", math.Ceil(p*10)/10)
	default:
		return fmt.Sprintf("%.0f %%", p)
	}
}

// resourceWords is a resource as it is spoken of.
func resourceWords(r int) string {
	switch r {
	case CPU:
		return "CPU"
	case DeviceIOPS:
		return "device IOPS"
	case ReadLatency:
		return "p99 of reads"
	case WriteLatency:
		return "p99 of writes"
	case Redundant:
		return "copies"
	}
	return wordsOf(resourceNames[r])
}

// when says in which state something is so, with a space before it; nothing for
// resources that have one state only.
func (d *Redundancy) when(state, resource int) string {
	switch resource {
	case Endurance, Durability, Availability, Cost:
		return ""
	}
	lost := " after the loss of " + counted(d.FailNodes)
	switch state {
	case NodesLost:
		return lost
	case NodesLostMigrating:
		return lost + ", while copies are made again"
	case Restored:
		return lost + ", once all copies are made again"
	case RackLost:
		return " after the loss of " + plural(d.FailRacks, "rack")
	case RollingRestart:
		return " while nodes are restarted one by one"
	}
	return " with all nodes up"
}

// useWords says how far a resource is used in a state.
func (d *Redundancy) useWords(state, resource int, use float64) string {
	of := fmt.Sprintf("at %s of its limit", percent(use))
	switch {
	case math.IsInf(use, 0):
		of = "asked of what is not there"
	case use >= 10:
		of = fmt.Sprintf("at %.3g times its limit", use)
	}
	return fmt.Sprintf("%s is %s%s", resourceWords(resource), of, d.when(state, resource))
}

// overMost is how many resources beyond their limits are named.
const overMost = 3

// overWords names what is over its limit, each resource where it is so most.
func (d *Redundancy) overWords(l *loads) string {
	type over struct {
		state, resource int
		use             float64
	}
	var list []over
	for r := range numResources {
		o := over{resource: r}
		for s := range l.use {
			if v := l.use[s][r]; v > o.use {
				o.state, o.use = s, v
			}
		}
		if o.use > 1+tolerance {
			list = append(list, o)
		}
	}
	slices.SortStableFunc(list, func(a, b over) int { return cmp.Compare(b.use, a.use) })
	var parts []string
	for _, o := range list[:min(len(list), overMost)] {
		parts = append(parts, d.useWords(o.state, o.resource, o.use))
	}
	return strings.Join(parts, ", ")
}

// span gives seconds for people: "210 ms", "7.9 s", "12 min", "3.1 h", "4 d".
func span(s float64) string {
	switch {
	case math.IsInf(s, 0) || math.IsNaN(s):
		return "never"
	case s < 1:
		return fmt.Sprintf("%.3g ms", s*1000)
	case s < 120:
		return fmt.Sprintf("%.3g s", s)
	case s < 7200:
		return fmt.Sprintf("%.3g min", s/60)
	case s < 2*86400:
		return fmt.Sprintf("%.3g h", s/3600)
	}
	return fmt.Sprintf("%.3g days", s/86400)
}

func years(y float64) string {
	switch {
	case math.IsInf(y, 0):
		return "never"
	case y >= 1e12:
		return fmt.Sprintf("once in %.2g years", y)
	case y >= 1000: // two digits are more than such a model knows
		unit := math.Pow(10, math.Floor(math.Log10(y))-1)
		return "once in " + grouped(int64(math.Round(y/unit)*unit)) + " years"
	}
	return fmt.Sprintf("once in %.3g years", y)
}

// grouped prints a number with a comma between thousands.
func grouped(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

// noAnswer says why nothing is feasible.
func noAnswer(choices []choice) string {
	if len(choices) == 0 {
		return "There is no machine type to choose from."
	}
	// The nearest miss tells more than a rule that many combinations break.
	var near *choice
	count, most := map[string]int{}, &choices[0]
	for i := range choices {
		c := &choices[i]
		if count[c.reason]++; count[c.reason] > count[most.reason] {
			most = c
		}
		if _, _, use := c.loads.worst(); use > 0 && (near == nil || c.short() < near.short()) {
			near = c
		}
	}
	what := fmt.Sprintf("Most often: %s", most.reason)
	if near != nil {
		what = fmt.Sprintf("The nearest, %s%s with %s: %s", near.kind.Name, inRacks(near.layout.Racks), copies(near.layout.Copies), near.reason)
	}
	none := fmt.Sprintf("None of the %d combinations of machine type, copies and racks meets", len(choices))
	if len(choices) == 1 {
		none = "The one combination of machine type, copies and racks does not meet"
	}
	return fmt.Sprintf("%s the requirements. %s.", none, what)
}

// short is how far a choice that does not do is from doing: its worst
// utilisation or, where that is below the limit, the share of draws that fail.
func (c *choice) short() float64 {
	if _, _, use := c.loads.worst(); use > 1+tolerance {
		return use
	}
	return 1 - c.p
}

// summary is the answer in plain words.
func (m *maker) summary(p *Plan, c *choice) string {
	best := p.Best()
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+" ", args...) }
	price := "at an unknown price"
	if best.USDPerHour != nil {
		price = dollars(*best.USDPerHour)
		if n := m.in.req.Redundancy.Sites; n > 1 {
			price += fmt.Sprintf(" at each of %d sites, %s for all", n, strings.TrimPrefix(dollars(*best.USDPerHour*float64(n)), "at "))
		}
	}
	say("%s of type %s%s, with %s, %s: the cheapest that passes every state, with probability %.2f%s.", counted(best.Nodes), best.Type, inRacks(best.Racks),
		copies(best.Copies), price, best.PFeasible, prior(m.in.model.RestsCPU()))
	state, resource, use := c.loads.worst()
	binds := "What binds, with every input at its median: %s."
	if best.WhyNotFewer.State == structure {
		binds = "What binds is a rule, not a resource: with every input at its median %s, and no other is used more."
	}
	say(binds, m.in.req.Redundancy.useWords(state, resource, use))
	say("Why not fewer: %s.", best.WhyNotFewer.Text)
	m.sayLoss(say, c, best)
	if e := p.expected(); e != "" {
		say("%s", e)
	}
	return strings.TrimSpace(b.String())
}

func dollars(hour float64) string {
	return fmt.Sprintf("at $%.2f an hour (about $%s a month)", hour, thousands(hour*730))
}

func prior(yes bool) string {
	if yes {
		return " (prior)"
	}
	return ""
}

func inRacks(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf(" in %d racks", n)
}

func copies(n int) string {
	if n == 1 {
		return "a single copy of each record"
	}
	return fmt.Sprintf("%d copies of each record", n)
}

// sayLoss tells what happens when a server dies.
func (m *maker) sayLoss(say func(string, ...any), c *choice, best *Candidate) {
	mark := prior(m.in.model.RestsPace())
	if c.layout.Nodes == 1 {
		say("There is one node: when it stops, nothing is served, and records in memory are lost.")
		return
	}
	if c.layout.Copies == 1 {
		say("There is one copy: when a server dies, the records on it are gone until it returns, for good if they are in memory only.")
		return
	}
	at := m.in.pick(m.in.median())
	say("When a server dies, its partitions are served by others after about %s%s, and every record has %d copies again after about %s%s.",
		span(at(&m.in.model.Failover)), prior(m.in.model.Rests("failover_s")), c.layout.Copies, span(c.loads.rebuild[RollingRestart]), mark)
	if c.loads.mttdl > 0 {
		say("A partition is lost for good %s%s.", years(c.loads.mttdl/secondsPerYear), mark)
	}
	if m.base.memory > 0 {
		say("Records in memory do not outlive the loss of power to all holders at once.")
	}
}

// expected says what would change the answer.
func (p *Plan) expected() string {
	var parts, more []string
	for _, s := range p.Shadow {
		more = append(more, fmt.Sprintf("%s more %s (%s)", percent(s.More), resourceWords(slices.Index(resourceNames[:], s.Resource)), s.Amount))
	}
	switch {
	case len(more) == 0:
	case p.Shadow[0].Together:
		parts = append(parts, fmt.Sprintf("%s, together, would save %s", strings.Join(more, " and "), counted(p.Shadow[0].Saves)))
	default:
		parts = append(parts, fmt.Sprintf("%s would save %s", strings.Join(more, ", or "), counted(p.Shadow[0].Saves)))
	}
	if len(p.Tornado) > 0 {
		t := p.Tornado[0]
		parts = append(parts, fmt.Sprintf("the answer depends most on %s: %s with its p10, %s with its p90, all else at the median", t.Input, nodes(t.P10), nodes(t.P90)))
	}
	if f := p.Full; f != nil {
		if f.P50 != nil {
			parts = append(parts, fmt.Sprintf("growth fills the plan in about %.0f months", *f.P50))
		} else {
			parts = append(parts, "growth does not fill the plan within ten years")
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "What would change the answer: " + strings.Join(parts, "; ") + "."
}

// dip is by how much the chance must fall with more nodes to be worth a word:
// some draws in 2,000 are not.
const dip = 0.005

// CurveNote says where more nodes are less likely to do, empty if nowhere. It
// is so where a node more adds less than the tables of two cluster sizes differ
// in how evenly partitions lie after a loss.
func (p *Plan) CurveNote() string {
	for i := 1; i < len(p.Curve); i++ {
		a, b := p.Curve[i-1], p.Curve[i]
		if b.PFeasible < a.PFeasible-dip {
			return fmt.Sprintf("%d nodes are less likely to do than %d: after a loss the partitions of %d happen to lie less evenly, by more than a node adds; before you add nodes, ask reverse --nodes",
				b.Nodes, a.Nodes, b.Nodes)
		}
	}
	return ""
}

func nodes(n int) string {
	if n == 0 {
		return "no number of nodes does"
	}
	return counted(n)
}

func counted(n int) string { return plural(n, "node") }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// nodeConfig is what a node's file says for the plan.
func (m *maker) nodeConfig(c *choice) string {
	var b strings.Builder
	at := m.in.pick(m.in.median())
	room := max(c.kind.RAMBytes-at(&m.in.req.Limits.MemoryReserve), 0)
	if c.layout.Racks > 1 {
		fmt.Fprintf(&b, "rack: 1                       # 1 to %d, %d nodes each\n", c.layout.Racks, c.layout.Nodes/c.layout.Racks)
	}
	if t := m.in.req.Targets.Rebuild; t > 0 {
		s, sends := m.shapes.Of(c.layout), 0.0
		for i := range s.States {
			sends = max(sends, s.States[i].Send)
		}
		fmt.Fprintf(&b, "# the rebuild within %s needs %s/s from each node: leave migrate-rate unset, or above that\n", span(t),
			units.Bytes(sends*(m.base.body+m.base.records*model.MigratedBytes)/max(t-at(&m.in.model.Failover), 1e-3)).Human())
	}
	b.WriteString("namespaces:\n")
	whole := m.base.index + m.base.memory
	for i := range m.in.req.Namespaces {
		n := &m.in.req.Namespaces[i]
		var own demand
		own.add(n, at, m.in.req.Horizon)
		fmt.Fprintf(&b, "  - name: %s\n    replication-factor: %d\n", n.Name, c.layout.Copies)
		if !n.CommitAll {
			b.WriteString("    commit: master\n")
		}
		if n.TTL.P50 > 0 {
			fmt.Fprintf(&b, "    default-ttl: %s\n", time.Duration(n.TTL.P50*1e9))
		}
		if n.Flash {
			m.deviceConfig(&b, c, n)
		}
		limit := units.Bytes(room*(own.index+own.memory)/whole) >> 20 << 20
		fmt.Fprintf(&b, "    memory-limit: %v\n", max(limit, 1<<20))
	}
	return b.String()
}

// stopDefault is the node's stop-writes-used, percent of live bytes.
const stopDefault = 70

// deviceConfig adds the keys of a namespace on devices. Writes must not stop
// in the fullest state of the plan.
func (m *maker) deviceConfig(b *strings.Builder, c *choice, n *Namespace) {
	which := "the machine's device, or a file on it; then also device-size"
	if c.kind.Devices > 1 {
		which = fmt.Sprintf("the machine's %.0f devices, with commas, or a file on each; then also device-size", c.kind.Devices)
	}
	fmt.Fprintf(b, "    device: DEVICE              # %s\n", which)
	if n.SyncWrite {
		b.WriteString("    commit-to-device: true\n")
	}
	fmt.Fprintf(b, "    defrag-lwm: %.0f\n", math.Ceil(c.loads.mark*100))
	fullest := 0.0
	s := m.shapes.Of(c.layout)
	for i := range s.States {
		fullest = max(fullest, s.States[i].Stored*m.base.flash/c.kind.Bytes())
	}
	if stop := math.Ceil(fullest * 100 / model.FillReserve); stop > stopDefault {
		fmt.Fprintf(b, "    stop-writes-used: %.0f\n", min(stop, 95))
	}
}
