package plan

import (
	"fmt"
	"math"
	"slices"

	"headroom/node/cluster"
	"headroom/planner/catalog"
)

// plan makes the file of judged choices, best first.
func (m *maker) plan(choices []choice) *Plan {
	p := &Plan{Format: Format, Requirements: m.in.req,
		Model: ModelRef{m.in.model.Name, m.in.model.Prior, m.in.model.Runs, m.in.model.RestsCPU(), m.in.model.RestsPace()}}
	for i := range choices {
		p.Candidates = append(p.Candidates, m.candidate(&choices[i]))
	}
	if len(choices) > 0 && choices[0].feasible {
		p.Answer = new(int)
		m.aboutAnswer(p, &choices[0])
	} else {
		p.Summary = noAnswer(choices)
	}
	p.Assumptions = m.assumptions(choices)
	p.OnPaper = m.onPaper(choices)
	return p
}

// aboutAnswer adds all that is computed for the answer only.
func (m *maker) aboutAnswer(p *Plan, c *choice) {
	if c.latency != nil && c.latency.samples < answerSamples {
		k := m.in.machine(c.kind, m.in.median())
		s := m.shapes.Of(c.layout)
		l := c.loads
		c.latency = m.latency(s, c.kind, &m.base, &k, &l, answerSamples)
	}
	kinds := m.in.machines(c.kind, m.draws)
	c.fewer.level = m.decisive(c, kinds)
	p.Candidates[0] = m.candidate(c)
	p.Shadow = m.shadow(c, kinds)
	p.Curve, p.LeastRegret = m.curve(c, kinds)
	p.Tornado = m.tornado(c)
	p.Full = m.timeToFull(c, kinds)
	p.NodeConfig = m.nodeConfig(c)
	p.Summary = m.summary(p, c)
}

func (m *maker) candidate(c *choice) Candidate {
	out := Candidate{
		Type: c.kind.Name, Nodes: c.layout.Nodes, Copies: c.layout.Copies, Racks: c.layout.Racks, USDPerHour: finite(c.cost()),
		Feasible: c.feasible, Reason: c.reason, PFeasible: c.p, Confidence: string(c.kind.Confidence), Source: c.kind.Source,
		Date: c.kind.Date, Note: c.kind.Note, Transferred: c.kind.Name != m.in.model.Host.Type,
	}
	if c.layout.Nodes == 0 {
		return out // ruled out before anything was computed
	}
	state, resource, use := c.loads.worst()
	out.Binding = &Binding{stateNames[state], resourceNames[resource], finite(use)}
	out.BytesPerNode = c.loads.stored
	if !c.feasible {
		return out
	}
	f := c.fewer
	out.WhyNotFewer = &Fewer{Nodes: f.nodes, State: f.state, Resource: f.resource, Utilisation: finite(f.use), Failing: f.failing, Text: f.text}
	if l := f.level; l.at > 0 {
		out.WhyNotFewer.Level, out.WhyNotFewer.EnoughAt, out.WhyNotFewer.FewerAt = l.at, finite(l.enough), finite(l.fewer)
	}
	rebuild := c.loads.rebuild[NodesLostMigrating]
	if c.layout.FailNodes == 0 {
		rebuild = c.loads.rebuild[RollingRestart]
	}
	out.RebuildSec, out.MTTDLYears = finite(rebuild), finite(c.loads.mttdl/secondsPerYear)
	out.Unavailable = finite(c.loads.down)
	if m.base.flash > 0 {
		out.LowWaterMark = finite(math.Ceil(c.loads.mark*100) / 100)
	}
	s := m.shapes.Of(c.layout)
	for i := range s.States {
		if s.States[i].Used {
			out.States = append(out.States, m.state(c, s, i))
		}
	}
	return out
}

func (m *maker) state(c *choice, s *Shape, i int) State {
	out := State{State: stateNames[i], Nodes: s.States[i].Alive, Resources: map[string]*float64{}, Unavailable: s.States[i].Unavailable}
	for r, v := range c.loads.use[i] {
		if v == 0 {
			continue
		}
		if out.Resources[resourceNames[r]] = finite(v); math.IsInf(v, 0) {
			out.Infinite = append(out.Infinite, resourceNames[r])
		}
	}
	if v := c.loads.rebuild[i]; v > 0 {
		out.RebuildSec = finite(v)
	}
	if c.latency == nil {
		out.Unsupported = []string{"p50_ms", "p99_ms", "p99_9_ms", "write_p50_ms", "write_p99_ms", "write_p99_9_ms"}
		return out
	}
	ms := func(v float64) *float64 { return finite(v * 1000) }
	read, write := c.latency.read[i], c.latency.write[i]
	out.P50, out.P99, out.WriteP50, out.WriteP99 = ms(read.P50), ms(read.P99), ms(write.P50), ms(write.P99)
	if e := 1 + m.in.model.Errors.P99; out.P99 != nil {
		out.P99Range = &[2]float64{*out.P99 / e, *out.P99 * e}
	}
	if c.latency.samples >= answerSamples {
		out.P999, out.WriteP999 = ms(read.P999), ms(write.P999)
	} else {
		out.Unsupported = []string{"p99_9_ms", "write_p99_9_ms"}
	}
	if math.IsInf(read.P99, 1) {
		out.Infinite = append(out.Infinite, "p50_ms", "p99_ms", "p99_9_ms", "write_p50_ms", "write_p99_ms", "write_p99_9_ms")
	}
	return out
}

// assumptions lists what the figures rest on.
func (m *maker) assumptions(choices []choice) []Assumption {
	mo := m.in.model
	var list []Assumption
	add := func(prior bool, format string, args ...any) {
		list = append(list, Assumption{fmt.Sprintf(format, args...), prior})
	}
	add(mo.RestsCPU(), "CPU per operation: %v us a read, %v us a write at its master, %v us at a replica, %v us per KiB beside", mo.ReadCPU, mo.WriteCPU, mo.ReplicaCPU, mo.PerKiBCPU)
	add(mo.RestsPace(), "a node moves %v MB/s and %v records/s of migration at most", mo.MigrateBytes.Times(1e-6), mo.MigrateRecords)
	add(mo.Rests("failover_s"), "a dead node's partitions are served again after %v s", mo.Failover)
	if t := m.in.req.Targets; !mo.Latency() && max(t.ReadP99, t.WriteP99, t.DegradedReadP99, t.DegradedWriteP99) > 0 {
		add(true, "the targets for p99 are not judged: the model predicts no percentile")
	}
	if mo.ScaleNodes == 0 {
		add(true, "throughput grows linearly with the nodes: not measured")
	}
	if transferred := slices.ContainsFunc(choices, func(c choice) bool { return c.kind.Name != mo.Host.Type }); transferred {
		add(true, "a CPU of a type that was not measured is %v times as slow per operation", mo.Transfer)
	}
	for _, c := range choices[:min(1, len(choices))] {
		m.assumeRow(c.kind, add)
		if n := c.layout.Nodes; mo.ScaleNodes > 0 && n > 2*mo.ScaleNodes {
			add(true, "extrapolation: %d nodes, measured up to %d", n, mo.ScaleNodes)
		}
	}
	m.assumeSizes(add)
	if len(choices) > 0 {
		if l := choices[0].layout; l.Racks > 1 && l.Racks < l.Copies {
			add(false, "%d copies in %d racks: each rack holds a copy of every partition and some racks two, so the loss of a rack may leave %s", l.Copies, l.Racks, leftText(l))
		}
	}
	add(false, "records lie on partitions at random; data and load of the fullest node come from the real table of nodes 1 to n")
	return list
}

// leftText is what the loss of the rack that holds most leaves of a partition.
func leftText(l Layout) string {
	if left := l.Copies - (l.Copies+l.Racks-1)/l.Racks; left > 1 {
		return fmt.Sprintf("%d copies", left)
	}
	return "a single copy"
}

func (m *maker) assumeRow(t *catalog.Type, add func(bool, string, ...any)) {
	add(false, "%s: %s, %s (%s)", t.Name, t.Confidence, t.Source, t.Date)
	if math.IsNaN(t.NetBase) {
		add(true, "%s: sustained network is %v of its burst rate", t.Name, burstShare)
	}
	if m.base.flash == 0 {
		return
	}
	if math.IsNaN(t.ReadBytes) || math.IsNaN(t.WriteBytes) {
		add(true, "%s: its devices move as many bytes per second as their IOPS of 4 KiB", t.Name)
	}
	if math.IsNaN(t.DWPD) {
		add(true, "%s: its devices bear %v drive writes per day", t.Name, m.in.req.Limits.DWPD)
	}
}

func (m *maker) assumeSizes(add func(bool, string, ...any)) {
	r := m.in.model.Measured
	for i := range m.in.req.Namespaces {
		n := &m.in.req.Namespaces[i]
		for _, s := range n.sizes(m.in.pick(m.in.median())) {
			if r.ValueMost > 0 && (s.Bytes < r.ValueLeast/2 || s.Bytes > r.ValueMost*2) {
				add(true, "extrapolation: values of %.0f bytes (%s), measured %.0f to %.0f", s.Bytes, n.Name, r.ValueLeast, r.ValueMost)
			}
		}
	}
}

// onPaper lists what this cluster cannot do yet and the plan answers anyway.
func (m *maker) onPaper(choices []choice) []string {
	var list []string
	red, xdr := &m.in.req.Redundancy, &m.in.req.XDR
	if red.Strong {
		list = append(list, "strong consistency: a partition needs all its replicas, or a majority of the nodes and one replica; not verifiable by this cluster")
	}
	if red.Sites > 1 {
		list = append(list, fmt.Sprintf("%d sites: each holds the plan's nodes and a whole copy, kept alike by shipping (xdr.targets counts it); not verifiable by this cluster", red.Sites))
	}
	if xdr.Targets > 0 {
		list = append(list, m.shipping())
	}
	if len(choices) > 0 && choices[0].feasible && choices[0].layout.Nodes > cluster.MaxMembers {
		list = append(list, fmt.Sprintf("%d nodes: this cluster agrees on %d at most; not verifiable by this cluster", choices[0].layout.Nodes, cluster.MaxMembers))
	}
	return list
}

// shipped is the bytes per second that go to other clusters at the peak, and
// what their link carries, 0 if that is not said.
func (m *maker) shipped() (need, link float64) {
	at := m.in.pick(m.in.median())
	return (m.base.writeBytes + m.base.writes*at(&m.in.model.RequestBytes)) * m.base.ships, at(&m.in.req.XDR.Link)
}

// shipping is the arithmetic of shipping to other clusters, over a link that
// carries it.
func (m *maker) shipping() string {
	need, link := m.shipped()
	text := fmt.Sprintf("XDR to %s ships %.3g MB/s at the peak", plural(m.in.req.XDR.Targets, "cluster"), need/1e6)
	if link > need {
		text += fmt.Sprintf(", %s of the link", percent(need/link))
		if outage := m.in.pick(m.in.median())(&m.in.req.XDR.Outage); outage > 0 {
			text += fmt.Sprintf("; an outage of %s is caught up in %s", span(outage), span(outage*need/(link-need)))
		}
	}
	return text + "; counted on the nodes' network, not on their CPU; not verifiable by this cluster"
}
