package membership

import (
	"math/bits"
	"slices"

	"headroom/node/cluster"
	"headroom/node/planted"
)

// wish is the want of a new View and the quiet period before it is proposed.
type wish struct {
	active bool
	since  cluster.Instant // when it arose, or the present burst of evidence began
	last   cluster.Instant // newest change of evidence
	coming bool            // somebody is to join, not only to leave
}

func (w *wish) fireAt() cluster.Instant {
	quiet := quietGone
	if w.coming {
		quiet = quietCome
	}
	return min(w.last.Add(quiet), w.since.Add(maxQuiet))
}

// staleMember is a desired node that shows another View, or is frozen.
type staleMember struct {
	node   cluster.NodeID
	since  cluster.Instant
	resent cluster.Instant
}

// reconsider computes the desired members and whether a new View is needed.
func (c *Core) reconsider(now cluster.Instant) {
	c.expireMutes(now)
	desired := c.desire(now)
	if !cluster.SameMembers(desired, c.desired) {
		if now.Sub(c.wish.last) > quietCome {
			c.wish.since = now // another burst of evidence, with a bound of its own
		}
		c.wish.last = now
		c.desired = desired
		if c.outside > 0 {
			c.outside, c.retryAt = 0, now
		}
	}
	c.review(now)
}

// review decides whether the desired members need a new View.
func (c *Core) review(now cluster.Instant) {
	c.noteStale(now)
	need := c.view == nil || !cluster.SameMembers(c.view.Members, c.desired) || c.again || c.stuck(now)
	if need && !c.wish.active {
		c.wish.since, c.wish.last = now, now
	}
	c.wish.active = need
	c.wish.coming = c.view == nil
	for _, m := range c.desired {
		if c.view != nil && !c.view.Has(m.Node, m.Inc) {
			c.wish.coming = true
		}
	}
}

// sameLinks reports whether two observations differ in nothing that desire
// looks at.
func sameLinks(a, b []Peer) bool {
	return slices.EqualFunc(a, b, func(p, q Peer) bool {
		return p.Member == q.Member && p.Partial == q.Partial && slices.Equal(p.Hears, q.Hears)
	})
}

// wants reports whether n is in the desired set.
func (c *Core) wants(n cluster.NodeID) bool {
	return slices.ContainsFunc(c.desired, func(m cluster.Member) bool { return m.Node == n })
}

// rivalled reports whether somebody takes another process for this node, which
// then takes part in nothing.
func (c *Core) rivalled() bool {
	return slices.ContainsFunc(c.peers, func(p Peer) bool { return p.Rival })
}

// graceOver reports whether this node has listened long enough to form a
// View: its start is long ago, or it is linked with the members of an existing
// View and with everyone whom they hear.
func (c *Core) graceOver(now cluster.Instant) bool {
	if c.view != nil || now.Sub(c.started) >= grace {
		return true
	}
	existing := false
	for _, p := range c.peers {
		existing = existing || !p.View.IsZero()
		if p.Partial || !c.wants(p.Member.Node) {
			return false
		}
		for _, n := range p.Hears {
			if n != c.self.Node && !c.wants(n) {
				return false
			}
		}
	}
	return existing
}

// desire returns the largest set of nodes that contains this one and whose
// members all hear each other, in succession order. Of sets as large it is
// the one that keeps higher ids. Every node with the same evidence that is in
// the set computes the same one, whence one proposer.
func (c *Core) desire(now cluster.Instant) []cluster.Member {
	cand := []*Peer{}
	for i := range c.peers {
		p := &c.peers[i]
		if (p.Partial || contains(p.Hears, c.self.Node)) && !c.muted(now, p.Member.Node) {
			cand = append(cand, p)
		}
	}
	keep := largestMutual(cand)
	ms := make([]cluster.Member, 0, len(keep)+1)
	ms = append(ms, c.self)
	for _, p := range keep {
		ms = append(ms, p.Member)
	}
	cluster.SortMembers(ms)
	if len(ms) > cluster.MaxMembers {
		ms = ms[:cluster.MaxMembers]
	}
	return ms
}

// exactBroken is up to how many nodes with a broken link the largest set is
// found exactly. Beyond it nodes are dropped greedily.
const exactBroken = 16

// largestMutual drops the fewest of ps (ascending by id) so that all others
// hear each other.
func largestMutual(ps []*Peer) []*Peer {
	g := newGraph(ps)
	for {
		broken := g.broken()
		if len(broken) <= exactBroken {
			g.dropFewest(broken)
			break
		}
		g.dropWorst(broken)
	}
	var keep []*Peer
	for i, p := range ps {
		if g.alive.has(i) {
			keep = append(keep, p)
		}
	}
	return keep
}

// set is a set of candidates by their place.
type set [heardMax / 64]uint64

// heardMax is how many nodes heartbeat knows at most, members or not.
const heardMax = 2 * cluster.MaxMembers

func (s *set) has(i int) bool { return s[i>>6]>>(i&63)&1 != 0 }
func (s *set) add(i int)      { s[i>>6] |= 1 << (i & 63) }
func (s *set) del(i int)      { s[i>>6] &^= 1 << (i & 63) }

// common counts what both sets have.
func (s *set) common(o *set) (n int) {
	for i := range s {
		n += bits.OnesCount64(s[i] & o[i])
	}
	return n
}

// graph holds, for each candidate, those with which its link is broken. With
// 128 nodes and as many pulses per interval, looking up names one by one took a
// tenth of a core (measured in the simulator).
type graph struct {
	alive set
	bad   []set
}

func newGraph(ps []*Peer) *graph {
	ps = ps[:min(len(ps), heardMax)]
	g := &graph{bad: make([]set, len(ps))}
	var all set
	for i := range ps {
		all.add(i)
	}
	g.alive = all
	for i, p := range ps {
		if p.Partial {
			continue
		}
		missing := all
		missing.del(i)
		at := 0
		for _, h := range p.Hears { // ascending, as ps is
			for at < len(ps) && ps[at].Member.Node < h {
				at++
			}
			if at < len(ps) && ps[at].Member.Node == h {
				missing.del(at)
			}
		}
		for w := range missing {
			for word := missing[w]; word != 0; word &= word - 1 {
				j := w<<6 + bits.TrailingZeros64(word)
				g.bad[i].add(j)
				g.bad[j].add(i)
			}
		}
	}
	return g
}

// broken lists the nodes that are left with at least one broken link.
func (g *graph) broken() (list []int) {
	for i := range g.bad {
		if g.alive.has(i) && g.bad[i].common(&g.alive) > 0 {
			list = append(list, i)
		}
	}
	return list
}

// dropFewest keeps the largest set of the broken that all hear each other.
// Sets are numbers whose higher bits are higher ids: of sets as large, the
// greatest number keeps the higher ids.
func (g *graph) dropFewest(broken []int) {
	var bad [exactBroken]uint32
	for i, p := range broken {
		for j, q := range broken {
			if g.bad[p].has(q) {
				bad[i] |= 1 << j
			}
		}
	}
	best := largest{bad: &bad}
	best.search(uint32(1)<<len(broken)-1, 0)
	for i, p := range broken {
		if best.found&(1<<i) == 0 {
			g.alive.del(p)
		}
	}
}

// dropWorst drops the node with most broken links; the lowest id of those.
func (g *graph) dropWorst(broken []int) {
	worst, most := 0, -1
	for _, i := range broken {
		if n := g.bad[i].common(&g.alive); n > most {
			worst, most = i, n
		}
	}
	g.alive.del(worst)
}

// largest searches the largest set of nodes that have no broken link between
// them.
type largest struct {
	bad   *[exactBroken]uint32
	found uint32
	count int
}

// search adds to chosen what it can of rest. It takes the highest first, so of
// sets as large it finds the greatest number first; leaving one out is tried
// only if that could help. 16 nodes take some hundred steps at most.
func (l *largest) search(rest, chosen uint32) {
	if bits.OnesCount32(chosen)+bits.OnesCount32(rest) <= l.count {
		return
	}
	if rest == 0 {
		l.found, l.count = chosen, bits.OnesCount32(chosen)
		return
	}
	top := bits.Len32(rest) - 1
	rest &^= 1 << top
	l.search(rest&^l.bad[top], chosen|1<<top)
	if l.bad[top]&rest != 0 {
		l.search(rest, chosen)
	}
}

func contains(ids []cluster.NodeID, n cluster.NodeID) bool {
	_, ok := slices.BinarySearch(ids, n)
	return ok
}

// noteStale keeps track of desired members that do not show this View.
func (c *Core) noteStale(now cluster.Instant) {
	if c.view == nil {
		c.stale = nil
		return
	}
	old := c.stale
	c.stale = nil
	for i := range c.peers {
		p := &c.peers[i]
		if p.View == c.view.Key && !p.Frozen || !c.wants(p.Member.Node) {
			continue
		}
		s := staleMember{node: p.Member.Node, since: now}
		if j := slices.IndexFunc(old, func(o staleMember) bool { return o.node == s.node }); j >= 0 {
			s = old[j]
		}
		c.stale = append(c.stale, s)
	}
}

// stuck reports whether some member needs a new round to get out of another
// View or out of its freeze.
func (c *Core) stuck(now cluster.Instant) bool {
	for _, s := range c.stale {
		if now.Sub(s.since) >= staleAfter {
			return true
		}
	}
	if !c.Frozen() || c.round != nil {
		return false
	}
	ours := c.accepted.Proposer == c.self.Node && c.accepted.Inc == c.self.Inc // and given up
	return ours || now.Sub(c.frozeAt) >= staleAfter
}

func (c *Core) staleDeadline() cluster.Instant {
	d := cluster.Never
	if c.wish.active || c.round != nil {
		return d
	}
	heals := c.view != nil && c.view.Principal() == c.self.Node
	for _, s := range c.stale {
		d = min(d, s.since.Add(staleAfter))
		if heals {
			d = min(d, max(s.resent, s.since).Add(resendGap))
		}
	}
	if c.Frozen() {
		d = min(d, c.frozeAt.Add(staleAfter))
	}
	return d
}

// heal sends the commit again to members that show an older View.
func (c *Core) heal(now cluster.Instant) {
	if c.view == nil || c.view.Principal() != c.self.Node || c.round != nil {
		return
	}
	for i := range c.stale {
		s := &c.stale[i]
		if now.Sub(max(s.since, s.resent)) < resendGap {
			continue
		}
		s.resent = now
		if j := slices.IndexFunc(c.peers, func(p Peer) bool { return p.Member.Node == s.node }); j >= 0 &&
			c.view.Has(s.node, c.peers[j].Member.Inc) && c.peers[j].View.Less(c.view.Key) && !planted.Is(planted.CommitNotResent) {
			c.stats.Resent++
			c.sendAll(s.node, c.commit)
		}
	}
}
