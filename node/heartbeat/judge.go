package heartbeat

import (
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/planted"
	"headroom/node/wire"
)

// Tick does what is due. Calling it early does no harm.
func (c *Core) Tick(now cluster.Instant) {
	c.checkPause(now)
	c.judge(now)
	if now >= c.selfTwin.until {
		c.selfTwin.until = 0
	}
	if now >= c.beat {
		c.beatAll(now)
	}
	c.flush(now)
}

// Deadline returns when Tick has something to do next.
func (c *Core) Deadline() cluster.Instant {
	d := c.beat
	for _, p := range c.peers {
		if p.member.Addr != "" {
			d = min(d, p.dueAt)
		}
		if p.heard {
			d = min(d, c.nextJudgement(p))
		}
	}
	return d
}

// nextJudgement is when silence of p next means something.
func (c *Core) nextJudgement(p *peer) cluster.Instant {
	t := c.timeout(p)
	deaf := cluster.Never
	if p.deafFrom != 0 && !p.deaf {
		deaf = p.deafFrom.Add(t)
	}
	if p.doubted {
		return min(deaf, p.quietFrom.Add(t+t/2))
	}
	ask := max(p.quietFrom.Add(c.cfg.Interval*askAfter2/2), p.lastSent.Add(c.cfg.Interval/2))
	return min(deaf, p.quietFrom.Add(t), ask)
}

// timeout is the silence of p that makes it doubted: by its rhythm, and by how
// far this node's own lateness makes its judgement worth less. One that takes
// another process for this node only answers, so of its rhythm nothing is known.
func (c *Core) timeout(p *peer) time.Duration {
	t := p.timing.timeout(c.cfg.Interval, c.cfg.Timeout)
	if p.rival {
		t = maxStretch * c.cfg.Timeout
	}
	return t + t*time.Duration(c.strain)/4
}

// beatAll makes the regular pulses due.
func (c *Core) beatAll(now cluster.Instant) {
	c.beats++
	if c.strain > 0 && c.beats >= c.easeAt {
		c.strain, c.easeAt = c.strain-1, c.beats+easeBeats
	}
	// ±10 %: nodes that started together do not stay in step.
	spread := int64(c.cfg.Interval / 10)
	c.beat = now.Add(c.cfg.Interval + time.Duration(c.cfg.Rand.Int64N(2*spread+1)-spread))
	for _, p := range c.peers {
		if p.heard {
			p.due(now)
			continue
		}
		p.misses++
		if c.beats%callEvery(p.misses) == 0 {
			p.due(now)
		}
	}
	c.forget(now)
	if c.cfg.Announce {
		c.out.Announce = c.header(now)
	}
	for _, s := range c.seeds {
		known := c.find(s.node)
		if s.isSelf || known != nil && known.heard {
			continue
		}
		s.misses++
		if c.beats%callEvery(s.misses) == 0 {
			c.callSeed(now, s)
		}
	}
}

func (c *Core) forget(now cluster.Instant) {
	c.peers = slices.DeleteFunc(c.peers, func(p *peer) bool {
		return !p.heard && now.Sub(p.heardAt) > forgetAfter && (c.view == nil || c.view.Index(p.member.Node) < 0)
	})
}

// judge looks at every heard peer: is its silence, or its refused port, a
// verdict yet?
func (c *Core) judge(now cluster.Instant) {
	for _, p := range c.peers {
		if !p.heard {
			continue
		}
		t := c.timeout(p)
		c.judgeDeaf(p, now.Sub(p.deafFrom) >= t)
		silence := now.Sub(p.quietFrom)
		if silence >= t && !p.doubted {
			p.doubted = true
			c.tellAll(now)
		}
		// A peer that is late is asked: one answer out of several questions
		// is enough, so that loss alone hardly ever makes a verdict.
		if silence >= c.cfg.Interval*askAfter2/2 && !p.doubted && now.Sub(p.lastSent) >= c.cfg.Interval/2 {
			p.ask = true
			p.due(now)
		}
		if !p.doubted && p.refusals < probes {
			continue
		}
		others, agree := c.secondOpinion(p)
		switch {
		case p.refusals >= probes && (agree || others == 0 || planted.Is(planted.RefusedPortBelievedAlone)):
			c.lose(now, p, Refused)
		case p.doubted && (agree || others == 0) && !c.airs(now, p):
			c.lose(now, p, Silent)
		case p.doubted && silence >= t+t/2:
			c.lose(now, p, LinkBroken)
		}
	}
}

// listen notes since when p says that it does not hear this node.
func (c *Core) listen(now cluster.Instant, p *peer) {
	switch {
	case c.hearsMe(p):
		p.deafFrom, p.deaf = 0, false
	case p.deafFrom == 0:
		p.deafFrom = now
		p.due(now) // so that it does
	}
}

// judgeDeaf makes it a verdict that p does not hear this node.
func (c *Core) judgeDeaf(p *peer, timedOut bool) {
	if p.deafFrom == 0 || p.deaf || !timedOut {
		return
	}
	c.out.Changed = c.out.Changed || c.excused(p)
	p.deaf = true
}

// excused reports whether p, a member of the View, says that it does not hear
// this node, and has not said so for as long as makes silence a verdict. A
// process that stood still finds such pulses waiting when it goes on, from
// members that live, hear it in a moment, and may be serving in a View without
// it by now: was it to leave them at once, it would go on alone with what it
// had before, and two Views whose members reach each other would answer. It
// has no lease meanwhile.
func (c *Core) excused(p *peer) bool {
	return p.heard && p.deafFrom != 0 && !p.deaf && !p.partial && !contains(p.hears, c.self.Node) &&
		c.view != nil && c.view.Has(p.member.Node, p.member.Inc) && !planted.Is(planted.OldNewsOfSelfBelieved)
}

// secondOpinion asks what the other heard nodes report of p: how many of them
// there are, and whether one of them misses it too.
func (c *Core) secondOpinion(p *peer) (others int, agree bool) {
	for _, q := range c.peers {
		if q == p || !q.heard || q.doubted || q.refusals > 0 {
			continue
		}
		others++
		_, hears := slices.BinarySearch(q.hears, p.member.Node)
		_, doubts := slices.BinarySearch(q.doubts, p.member.Node)
		if doubts || !hears && !q.partial {
			agree = true
		}
	}
	return others, agree
}

// lose takes p out of the adjacency.
func (c *Core) lose(now cluster.Instant, p *peer, why EventKind) {
	if !p.heard {
		return
	}
	p.heard, p.doubted, p.misses = false, false, 0
	p.dead, p.refused = why == Refused || why == Left, why == Refused
	if p.dead {
		p.airedAt = 0 // what it announced before proves nothing any more
	}
	c.doubtRefusals(now)
	c.stats.Verdicts++
	c.event(now, p, why)
	c.changed(now)
}

// doubtRefusals takes back that the ports that refused mean dead processes, if
// several did within the time of a lease: that is what a firewall looks like
// that rejects instead of dropping, and behind it leases live on. If every
// other member refuses, it is this node that is walled off: it gives up its
// own leases, as others may take it for dead.
func (c *Core) doubtRefusals(now cluster.Instant) {
	if c.view == nil {
		return
	}
	var refused []*peer
	for _, m := range c.view.Members {
		if p := c.find(m.Node); p != nil && (p.refusals > 0 || p.refused) && now.Sub(p.heardAt) < 2*c.cfg.Lease {
			refused = append(refused, p)
		}
	}
	if len(refused) < 2 {
		return
	}
	for _, p := range refused {
		p.dead = p.dead && !p.refused
	}
	if len(refused) == len(c.view.Members)-1 {
		for _, p := range c.peers {
			p.leaseKey = cluster.ViewKey{}
		}
	}
}

// changed tells everybody that this node's adjacency is another.
func (c *Core) changed(now cluster.Instant) {
	c.out.Changed = true
	c.tellAll(now)
}

// flush makes the pulses that are due.
func (c *Core) flush(now cluster.Instant) {
	for _, p := range c.peers {
		if p.dueAt > now || p.member.Addr == "" {
			continue
		}
		m := c.pulseTo(now, p)
		p.dueAt, p.lastSent = cluster.Never, now
		if p.refusals > 0 && p.refusals < probes {
			p.dueAt = now.Add(probeGap)
		}
		c.stats.Sent++
		c.out.Pulses = append(c.out.Pulses, Outgoing{Node: p.member.Node, Addr: p.member.Addr, Pulse: m})
	}
}

func (c *Core) header(now cluster.Instant) *wire.Pulse {
	c.stamp = max(now, c.stamp+1)
	return &wire.Pulse{Cluster: c.cfg.Cluster, Node: c.self.Node, Inc: c.self.Inc, Rack: c.self.Rack,
		Quiesced: c.self.Quiesced, Leaving: c.leaving, Frozen: c.frozen, Addr: c.self.Addr,
		Sent: c.stamp, View: keyOf(c.view)}
}

func (c *Core) callSeed(now cluster.Instant, s *seed) {
	m := c.header(now)
	m.Called, m.Ask = s.addr, true
	c.stats.Sent++
	c.out.Pulses = append(c.out.Pulses, Outgoing{Addr: s.addr, Pulse: m})
}

// pulseTo builds the next pulse for p.
func (c *Core) pulseTo(now cluster.Instant, p *peer) *wire.Pulse {
	m := c.header(now)
	p.sendSeq++
	m.To, m.Seq = p.member.Node, p.sendSeq
	if c.hearsMe(p) {
		m.EchoInc, m.EchoSent = p.member.Inc, p.sent
		if !c.frozen {
			p.grantFrom = p.heardAt
		}
	}
	m.Ask, p.ask = p.ask, false
	m.Called, p.called = p.called, ""
	// What a peer that is not heard holds is not known: spell it out.
	m.Shared = c.view != nil && p.heard && p.view == c.view.Key
	c.reportAll(m)
	c.addKnown(m, p)
	return m
}

// hearsMe reports whether p says, as far as it has said anything, that it
// hears this node and does not doubt it.
func (c *Core) hearsMe(p *peer) bool {
	return (p.partial || contains(p.hears, c.self.Node)) && !contains(p.doubts, c.self.Node)
}

// reportAll puts the adjacency into m. In the quiet case, every member of the
// shared View heard and none doubted, that takes no byte: what a node sends
// grows with the number of members, not with its square.
func (c *Core) reportAll(m *wire.Pulse) {
	if m.Shared {
		n := (len(c.view.Members) + 7) / 8
		m.HearsBits, m.DoubtBits = make([]byte, n), make([]byte, n)
	}
	members, doubts := 0, false
	for _, q := range c.peers {
		if !q.heard {
			continue
		}
		c.report(m, q)
		if m.Shared && c.view.Index(q.member.Node) >= 0 {
			members++
			doubts = doubts || q.doubted || q.refusals > 0
		}
	}
	if m.Shared && !doubts {
		m.DoubtBits = nil
		if members == len(c.view.Members)-1 {
			m.HearsBits = nil
		}
	}
}

// addKnown tells p where the nodes are that this node hears and p does not,
// as many as fit; p's next report says which are still missing.
func (c *Core) addKnown(m *wire.Pulse, p *peer) {
	room := wire.MaxPulse - fixedSize - len(m.Addr) - len(m.Called) - 8*(len(m.Hears)+len(m.Doubts)) - 2*len(m.HearsBits)
	tell := func(n cluster.NodeID, addr string) {
		if size := endpointSize + len(addr); size <= room && len(m.Known) < wire.MaxEndpoints {
			room -= size
			m.Known = append(m.Known, wire.Endpoint{Node: n, Addr: addr})
		}
	}
	if p.twinAddr != "" {
		tell(p.member.Node, p.twinAddr)
		p.twinAddr = ""
	}
	for _, q := range c.peers {
		if q.heard && q != p && !p.partial && !contains(p.hears, q.member.Node) {
			tell(q.member.Node, q.member.Addr)
		}
	}
}

// Bytes of an encoded pulse without its variable parts (rounded up), and of
// an endpoint without its address.
const (
	fixedSize    = 128
	endpointSize = 10
)

// report puts the heard node q into the adjacency of m.
func (c *Core) report(m *wire.Pulse, q *peer) {
	doubted := q.doubted || q.refusals > 0
	if m.Shared {
		if i := c.view.Index(q.member.Node); i >= 0 {
			m.HearsBits[i/8] |= 1 << (i % 8)
			if doubted {
				m.DoubtBits[i/8] |= 1 << (i % 8)
			}
			return
		}
	}
	if len(m.Hears) < wire.MaxListed {
		m.Hears = append(m.Hears, q.member.Node)
	} else {
		m.Partial = true
	}
	if doubted && len(m.Doubts) < wire.MaxDoubted {
		m.Doubts = append(m.Doubts, q.member.Node)
	}
}

func contains(ids []cluster.NodeID, n cluster.NodeID) bool {
	_, ok := slices.BinarySearch(ids, n)
	return ok
}
