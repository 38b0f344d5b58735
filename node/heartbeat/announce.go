package heartbeat

import (
	"headroom/node/cluster"
	"headroom/node/wire"
)

// announced takes in an announcement, which a node sends to everybody who
// listens. It shows where a node can be called and that its process lives, and
// nothing else: whether two nodes hear each other, and every lease, is a matter
// of the pulses between the two. So a network that carries the group but not
// the path between two nodes has a broken link, not two healthy nodes.
func (c *Core) announced(now cluster.Instant, m *wire.Pulse) {
	p := c.find(m.Node)
	switch {
	case m.Addr == "":
		return
	case p == nil:
		if p = c.add(now, m.Node, m.Addr); p != nil {
			c.stats.Announced++
			p.ask = true
			p.due(now)
		}
		return
	case m.Inc < p.member.Inc || m.Inc == p.member.Inc && m.Sent <= p.aired:
		c.stats.Stale++
		return
	}
	c.stats.Announced++
	if !p.heard { // it may have moved; whether it is what it says, its answer shows
		p.member.Addr = m.Addr
		if now.Sub(p.lastSent) >= c.cfg.Interval/2 {
			p.ask = true
			p.due(now)
		}
	}
	if m.Inc != p.member.Inc || m.Addr != p.member.Addr {
		return // a restarted process, or a second one: its pulses will tell
	}
	p.aired, p.airedAt = m.Sent, now
	p.refusals, p.dead = 0, false // a process that lives has not closed its port: a firewall refuses
}

// airs reports whether p announced itself within the timeout: its process
// lives, so that its silence is a broken link.
func (c *Core) airs(now cluster.Instant, p *peer) bool {
	return p.airedAt != 0 && now.Sub(p.airedAt) < c.cfg.Timeout
}
