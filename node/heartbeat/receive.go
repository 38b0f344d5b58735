package heartbeat

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/planted"
	"headroom/node/wire"
)

// Receive takes a pulse that arrived from the address from. The Core keeps
// nothing of m but copies.
func (c *Core) Receive(now cluster.Instant, m *wire.Pulse, from string) {
	c.checkPause(now)
	defer c.flush(now)
	switch {
	case m.Cluster != c.cfg.Cluster:
		c.stats.ForeignCluster++
		return
	case m.Node == c.self.Node:
		c.fromSelf(now, m, from)
		return
	case m.To != 0 && m.To != c.self.Node:
		c.stats.WrongDestination++
		return
	case m.IsAnnouncement():
		c.announced(now, m)
		return
	}
	if m.Addr == "" {
		m.Addr = from
	}
	p := c.add(now, m.Node, m.Addr)
	if p == nil || !c.accept(now, p, m) {
		return
	}
	c.stats.Received++
	c.learn(now, p, m)
	c.listen(now, p)
	c.renew(now, p, m)
	c.gossip(now, m)
	c.noteRival(now, p, m)
	c.seedAnswered(p, m)
	if m.Ask {
		p.due(now)
	}
	if m.Seq == 0 { // a call to a seed: the answer tells which one this node is
		p.called = m.Called
	}
	if m.Goodbye {
		p.gone = true
		c.lose(now, p, Left)
	}
	c.judge(now)
}

// accept decides whether m is news of p, and makes p heard.
func (c *Core) accept(now cluster.Instant, p *peer, m *wire.Pulse) bool {
	moved := p.member.Inc != 0 && m.Addr != p.at            // others may have told another address of a lost peer
	fresh := p.heard && now.Sub(p.quietFrom) < c.timeout(p) // it lives, and a lease of it may hold
	switch {
	case moved && (fresh || m.Inc < p.member.Inc && p.heard):
		// While p is heard where it was, this is a second process with its
		// id. The answer says where p is, so that the two find each other.
		c.stats.Twin++
		c.introduce(now, p, m)
		return false
	case m.Inc == p.member.Inc && !moved && (m.Sent <= p.sent || p.gone), m.Inc < p.member.Inc && !moved:
		c.stats.Stale++
		return false
	case m.Inc != p.member.Inc && !planted.Is(planted.RestartUnnoticed) || moved:
		c.takeOver(now, p, m)
	}
	if m.Seq > p.seq && p.heard {
		if p.seq > 0 {
			p.timing.observe(now.Sub(p.heardAt), c.cfg.Interval, int(min(m.Seq-p.seq-1, 100)))
		}
		p.seq = m.Seq
	}
	p.sent, p.heardAt, p.quietFrom = m.Sent, now, now
	if p.doubted || p.refusals > 0 {
		p.due(now) // tell it: until then it echoes nothing
	}
	p.refusals, p.doubted, p.dead, p.refused, p.misses = 0, false, false, false, 0
	if !p.heard {
		p.heard, p.seq, p.timing = true, m.Seq, timing{}
		p.deafFrom, p.deaf = 0, false
		c.event(now, p, Appeared)
		c.changed(now)
	}
	return true
}

// takeOver replaces what was known of p by a new incarnation.
func (c *Core) takeOver(now cluster.Instant, p *peer, m *wire.Pulse) {
	if p.heard {
		c.event(now, p, Restarted)
	}
	granted := p.grantFrom
	if p.member.Inc != m.Inc {
		granted = 0 // to another process
	}
	*p = peer{member: cluster.Member{Node: m.Node, Inc: m.Inc, Addr: m.Addr}, at: m.Addr, heard: p.heard, grantFrom: granted,
		dueAt: p.dueAt, lastSent: p.lastSent, sendSeq: p.sendSeq, called: p.called}
	p.due(now)
	c.changed(now)
}

// learn copies what p reports.
func (c *Core) learn(now cluster.Instant, p *peer, m *wire.Pulse) {
	before := p.member
	wasLeaving, view, frozen := p.leaving, p.view, p.frozen
	p.member = cluster.Member{Node: m.Node, Inc: m.Inc, Rack: m.Rack, Quiesced: m.Quiesced || m.Leaving, Addr: m.Addr}
	p.leaving, p.view, p.frozen = m.Leaving, m.View, m.Frozen
	if before != p.member || wasLeaving != p.leaving || view != p.view || frozen != p.frozen {
		c.out.Changed = true
	}
	quiet := m.Shared && !m.Partial && len(m.HearsBits)+len(m.DoubtBits)+len(m.Hears)+len(m.Doubts) == 0
	if quiet && p.quiet == m.View {
		return // the same as last time
	}
	hears, doubts := m.Hears, m.Doubts
	if m.Shared {
		if c.view == nil || c.view.Key != m.View {
			// Bits over members this node does not know; the next pulse will
			// tell. Until then a peer that has told nothing hears anybody: a
			// process that restarted within the detection time gets pulses
			// meant for its former self, and must not think it is alone.
			if p.hears == nil && !p.partial {
				p.partial = true
				c.out.Changed = true
			}
			return
		}
		if len(m.HearsBits) == 0 {
			hears = allBut(c.view, m.Node, hears)
		}
		hears = fromBits(c.view, m.HearsBits, hears)
		doubts = fromBits(c.view, m.DoubtBits, doubts)
	}
	hears, doubts = sorted(hears), sorted(doubts)
	if p.quiet = (cluster.ViewKey{}); quiet {
		p.quiet = m.View
	}
	if !slices.Equal(hears, p.hears) || m.Partial != p.partial {
		p.hears, p.partial = hears, m.Partial
		c.out.Changed = true
	}
	if !slices.Equal(doubts, p.doubts) {
		p.doubts = doubts
		c.probeDoubted(now, doubts)
	}
}

// probeDoubted calls the nodes another member doubts: if they live, their
// answer says so; if their port refuses, this is the second witness.
func (c *Core) probeDoubted(now cluster.Instant, doubts []cluster.NodeID) {
	for _, n := range doubts {
		if q := c.find(n); q != nil && q.heard && !q.doubted && now.Sub(q.lastSent) >= probeGap {
			q.ask = true
			q.due(now)
		}
	}
}

// renew extends the lease that p's echo proves.
func (c *Core) renew(now cluster.Instant, p *peer, m *wire.Pulse) {
	if m.EchoSent < c.trustFrom {
		return // echoes a pulse from before a suspension: nobody knows how long ago
	}
	other := c.view != nil && m.View != c.view.Key && !planted.Is(planted.LeaseAcrossViews)
	frozen := m.Frozen && !planted.Is(planted.FrozenGrantsLeases)
	if c.view == nil || other || frozen || m.EchoInc != c.self.Inc || m.EchoSent > c.stamp {
		return
	}
	under := m.View
	if planted.Is(planted.LeaseAcrossViews) {
		under = c.view.Key
	}
	if p.leaseKey != under {
		p.leaseKey, p.leaseFrom = under, 0
	}
	p.leaseFrom = max(p.leaseFrom, m.EchoSent)
	if planted.Is(planted.LeaseCountsFromReceipt) {
		p.leaseFrom = now
	}
}

// gossip takes in where other nodes are.
func (c *Core) gossip(now cluster.Instant, m *wire.Pulse) {
	for _, e := range m.Known {
		switch q := c.find(e.Node); {
		case e.Node == c.self.Node:
			if e.Addr != c.self.Addr {
				c.callTwin(now, e.Addr)
			}
		case q == nil:
			if q = c.add(now, e.Node, e.Addr); q != nil {
				q.due(now)
			}
		case !q.heard:
			q.member.Addr = e.Addr
		}
	}
}

// fromSelf handles a pulse that bears this node's own id: its own call to a
// seed that is itself, a late pulse of its last life, or a second process.
func (c *Core) fromSelf(now cluster.Instant, m *wire.Pulse, from string) {
	if m.Inc == c.self.Inc && m.Addr == c.self.Addr {
		for _, s := range c.seeds {
			if s.addr == m.Called {
				s.isSelf = true
			}
		}
		return
	}
	if m.Addr == c.self.Addr {
		c.stats.Stale++ // an address belongs to one process: that was my last life
		return
	}
	t := &c.selfTwin
	if m.Sent > t.sent {
		t.seen++
	}
	t.sent = m.Sent
	c.callTwin(now, m.Addr)
	// Three pulses of growing age are a living process, not one that moved
	// to another address and left a packet behind. Sent counts from the start
	// of the process: the younger one yields, by address if they are equal.
	older := m.Sent > now || m.Sent == now && m.Addr > c.self.Addr
	if older {
		t.until = now.Add(maxStretch * c.cfg.Timeout)
	}
	if t.seen >= 3 && older {
		c.out.DuplicateSelf = m.Addr
	}
}

// callTwin lets another process with this node's id hear of this one.
func (c *Core) callTwin(now cluster.Instant, addr string) {
	t := &c.selfTwin
	if t.asked == 0 || now.Sub(t.asked) >= c.cfg.Interval/2 {
		t.asked = now
		c.callSeed(now, &seed{addr: addr})
	}
}

// introduce answers a pulse that uses p's id with where p is.
func (c *Core) introduce(now cluster.Instant, p *peer, m *wire.Pulse) {
	if p.introducedAt != 0 && now.Sub(p.introducedAt) < c.cfg.Interval/2 {
		return
	}
	p.introducedAt = now
	a := c.header(now)
	a.To = m.Node
	a.Known = []wire.Endpoint{{Node: p.member.Node, Addr: p.member.Addr}}
	c.out.Pulses = append(c.out.Pulses, Outgoing{Addr: m.Addr, Pulse: a})
	p.due(now)
	p.twinAddr = m.Addr
}

// noteRival keeps whether p takes another process for this node. Only an
// introduction says so; a numbered pulse goes to the process that p hears, so
// one that moved is told that it has been accepted.
func (c *Core) noteRival(now cluster.Instant, p *peer, m *wire.Pulse) {
	rival := m.Seq == 0 && (p.rival || slices.ContainsFunc(m.Known, func(e wire.Endpoint) bool {
		return e.Node == c.self.Node && e.Addr != c.self.Addr
	}))
	if rival == p.rival || planted.Is(planted.RivalUnnoticed) {
		return
	}
	p.rival, c.out.Changed = rival, true
	if rival {
		c.event(now, p, Rivalled)
	}
}

// rivalled reports whether somebody takes another process for this node. Until
// that has changed this one forms no View and serves in none: a second process
// that was given an id in use must not answer even for the few pulses that it
// takes the two to find each other, or for good if the path between them is cut.
func (c *Core) rivalled() bool {
	return c.selfTwin.until != 0 || slices.ContainsFunc(c.peers, func(p *peer) bool { return p.heard && p.rival })
}

func (c *Core) seedAnswered(p *peer, m *wire.Pulse) {
	for _, s := range c.seeds {
		if s.addr == m.Addr || m.Called != "" && s.addr == m.Called {
			s.node, s.misses = p.member.Node, 0
		}
	}
}

// Refused tells that the port of n refused a pulse.
func (c *Core) Refused(now cluster.Instant, n cluster.NodeID) {
	c.checkPause(now)
	p := c.find(n)
	if p == nil || !p.heard || p.refusals > 0 && now.Sub(p.refusedAt) < probeGap {
		return
	}
	p.refusals++
	p.refusedAt = now
	if p.refusals == 1 {
		c.tellAll(now) // the others probe it at once
	}
	if p.refusals < probes {
		p.dueAt = now.Add(probeGap)
	}
	c.doubtRefusals(now)
	c.judge(now)
	c.flush(now)
}

func fromBits(v *cluster.View, bits []byte, more []cluster.NodeID) []cluster.NodeID {
	ids := slices.Clone(more)
	for i := range v.Members {
		if i/8 < len(bits) && bits[i/8]&(1<<(i%8)) != 0 {
			ids = append(ids, v.Members[i].Node)
		}
	}
	return ids
}

// allBut lists the members of v but one, after more.
func allBut(v *cluster.View, one cluster.NodeID, more []cluster.NodeID) []cluster.NodeID {
	ids := slices.Clone(more)
	for i := range v.Members {
		if v.Members[i].Node != one {
			ids = append(ids, v.Members[i].Node)
		}
	}
	return ids
}

func sorted(ids []cluster.NodeID) []cluster.NodeID {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// checkPause notices that this node itself stood still: silence in that time
// is no evidence against the others, and no lease survives it.
func (c *Core) checkPause(now cluster.Instant) {
	gap := now.Sub(c.lastCall)
	c.lastCall = now
	if gap < c.cfg.Interval*3/2 {
		return
	}
	c.strain, c.easeAt = min(c.strain+1, maxStrain), c.beats+easeBeats
	for _, p := range c.peers {
		p.quietFrom = max(p.quietFrom, now)
		if p.deafFrom != 0 {
			p.deafFrom = now // it had nothing to hear
		}
		if gap > c.cfg.Timeout/2 {
			p.leaseKey = cluster.ViewKey{}
		}
	}
	if gap > c.cfg.Timeout/2 {
		c.out.Events = append(c.out.Events, Event{Node: c.self.Node, Kind: Paused, Silence: gap})
	}
	c.beat = now // tell everybody at once
}

// Resumed tells that the machine was suspended, during which the clock behind
// now stood still: no lease survives it, and silence was this node's own.
func (c *Core) Resumed(now cluster.Instant) {
	for _, p := range c.peers {
		p.quietFrom, p.leaseKey = max(p.quietFrom, now), cluster.ViewKey{}
		if p.deafFrom != 0 {
			p.deafFrom = now
		}
	}
	c.out.Events = append(c.out.Events, Event{Node: c.self.Node, Kind: Paused})
	c.beat, c.trustFrom = now, now
}

// callEvery is how many beats pass between calls to somebody silent.
func callEvery(misses int) uint64 {
	if misses > coldAfter {
		return coldIntervals
	}
	return 1
}
