package membership

import (
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/planted"
	"headroom/node/wire"
)

// round is this node's proposal under way.
type round struct {
	ballot    cluster.ViewKey
	members   []cluster.Member
	promised  []*fence
	holdAt    cluster.Instant // all have promised; ask to accept then; zero: not yet
	accepting bool
	accepted  []*wire.Accepted
	fences    []*fence        // of the acceptances
	deadline  cluster.Instant // of the phase
	fenceAt   cluster.Instant // all have accepted; commit then; zero: not yet
}

// fence is what an answer says of leases that outlive it.
type fence struct {
	at     cluster.Instant // when it came
	view   cluster.ViewKey // the View that is left
	leases []wire.Fence
}

type mute struct {
	node  cluster.NodeID
	fails int
	until cluster.Instant // left out until then; zero: not yet
}

// phaseTimeout is how long the members have to answer one phase.
func (c *Core) phaseTimeout() time.Duration { return roundTimeout << c.slow }

// propose starts a round for the desired members.
func (c *Core) propose(now cluster.Instant) {
	c.counter++
	n := len(c.desired)
	r := &round{members: c.desired, promised: make([]*fence, n), accepted: make([]*wire.Accepted, n),
		fences: make([]*fence, n), deadline: now.Add(c.phaseTimeout()),
		ballot: cluster.ViewKey{Counter: c.counter, Proposer: c.self.Node, Inc: c.self.Inc}}
	c.round = r
	c.promised = r.ballot
	c.persist()
	c.stats.Rounds++
	for i, m := range r.members {
		if m.Node == c.self.Node {
			r.promised[i] = &fence{now, c.viewKey(), c.fences(now, r.members)}
			continue
		}
		c.send(m.Node, &wire.Prepare{Ballot: r.ballot, Members: r.members})
	}
	c.promisedAll(now)
}

func (c *Core) onPromise(now cluster.Instant, from cluster.NodeID, m *wire.Promise) {
	r := c.round
	i := r.index(from)
	if i < 0 || m.Ballot != r.ballot || r.accepting {
		c.stats.Inert++
		return
	}
	r.promised[i] = &fence{now, m.View, m.Fences}
	c.promisedAll(now)
}

// promisedAll opens the second phase once everybody has promised, and what is
// known of the leases of nodes left out has ended: everybody serves until then,
// instead of standing frozen.
func (c *Core) promisedAll(now cluster.Instant) {
	r := c.round
	if slices.Contains(r.promised, nil) {
		return
	}
	r.holdAt = fenceEnd(now, r.promised)
	r.deadline = r.holdAt.Add(c.phaseTimeout())
	c.open(now)
}

// open asks everybody to accept, when the hold is over.
func (c *Core) open(now cluster.Instant) {
	r := c.round
	if r == nil || r.holdAt == 0 || r.accepting || now < r.holdAt {
		return
	}
	r.accepting = true
	r.deadline = now.Add(c.phaseTimeout())
	for i, m := range r.members {
		if m.Node != c.self.Node {
			c.send(m.Node, &wire.Accept{Ballot: r.ballot, Members: r.members})
			continue
		}
		c.accepted, c.frozeAt = r.ballot, now
		payload := c.host.Freeze(r.ballot, r.members)
		r.accepted[i] = &wire.Accepted{Ballot: r.ballot, Payload: payload}
		r.fences[i] = &fence{now, c.viewKey(), c.fences(now, r.members)}
	}
	c.persist()
	c.acceptedAll(now)
}

func (c *Core) onAccepted(now cluster.Instant, from cluster.NodeID, m *wire.Accepted) {
	r := c.round
	i := r.index(from)
	if i < 0 || m.Ballot != r.ballot || !r.accepting || r.accepted[i] != nil {
		c.stats.Inert++
		return
	}
	r.accepted[i], r.fences[i] = m, &fence{now, m.View, m.Fences}
	c.acceptedAll(now)
}

// acceptedAll computes, once everybody has accepted, until when leases of
// nodes left out may hold. The commit waits for the last of these.
func (c *Core) acceptedAll(now cluster.Instant) {
	r := c.round
	if planted.Is(planted.IntegerMajority) {
		r.acceptForRest(now)
	}
	if slices.Contains(r.accepted, nil) {
		return
	}
	at := fenceEnd(now, r.fences)
	if planted.Is(planted.CommitBeforeFence) {
		at = now
	}
	r.fenceAt = at
	r.deadline = at.Add(c.phaseTimeout())
	c.finish(now)
}

// fenceEnd is when the last lease of a node left out has ended. A node's lease
// in a View needs the echo of all members, so the first fence to pass ends it:
// the minimum over the members that leave the same View.
func fenceEnd(now cluster.Instant, fences []*fence) cluster.Instant {
	type lease struct {
		view cluster.ViewKey
		node cluster.NodeID
		inc  cluster.Incarnation
	}
	ends := map[lease]cluster.Instant{}
	for _, a := range fences {
		for _, f := range a.leases {
			k := lease{a.view, f.Node, f.Inc}
			end := a.at.Add(f.Wait)
			if old, ok := ends[k]; !ok || end < old {
				ends[k] = end
			}
		}
	}
	at := now
	for _, end := range ends { // the maximum: the order of a map cannot be seen
		at = max(at, end)
	}
	return at
}

// finish commits the round when its fence has passed.
func (c *Core) finish(now cluster.Instant) {
	r := c.round
	if r == nil || r.fenceAt == 0 || now < r.fenceAt {
		return
	}
	m := &wire.Commit{View: cluster.View{Key: r.ballot, Members: r.members}}
	for _, a := range r.accepted {
		m.Payloads = append(m.Payloads, a.Payload)
	}
	parts := m.Split()
	for _, q := range r.members {
		if q.Node != c.self.Node {
			c.sendAll(q.Node, parts)
		}
		c.unmute(q.Node)
	}
	c.round = nil
	c.adopt(now, m)
}

// onNack gives the round up. Someone knows better: of a higher ballot, or
// that this node is outside its set.
func (c *Core) onNack(now cluster.Instant, from cluster.NodeID, m *wire.Nack) {
	c.seen(m.Promised)
	if c.round.index(from) < 0 || m.Ballot != c.round.ballot {
		c.stats.Inert++
		return
	}
	c.stats.Nacked++
	wait := c.backoff()
	if m.Outside {
		wait += outsideBackoff << c.outside
		c.outside = min(c.outside+1, maxOutside)
	}
	c.abandon(now, wait)
}

// expireRound gives up a round whose phase took too long.
func (c *Core) expireRound(now cluster.Instant) {
	r := c.round
	if r == nil || now < r.deadline {
		return
	}
	c.stats.Timeouts++
	c.slow = min(c.slow+1, maxSlow)
	for i, m := range r.members {
		if m.Node != c.self.Node && (r.promised[i] == nil || r.accepting && r.accepted[i] == nil) {
			c.blame(now, m.Node)
		}
	}
	c.abandon(now, c.backoff())
}

// abortOnChange starts over at once when a proposed member is gone, or when a
// node has come while the round waits: for promises, when nobody is frozen yet,
// or for leases. It would be left out although it lives, and its own lease be
// waited for. The departure of any other node does not matter to the round.
func (c *Core) abortOnChange(now cluster.Instant) {
	r := c.round
	if r == nil {
		return
	}
	waits := (!r.accepting || now < r.fenceAt) && !planted.Is(planted.WaitingRoundGoesOn)
	if lacks(c.desired, r.members) || waits && lacks(r.members, c.desired) {
		c.stats.Aborted++
		c.abandon(now, 0)
	}
}

// lacks reports whether one of want is not in have.
func lacks(have, want []cluster.Member) bool {
	return slices.ContainsFunc(want, func(m cluster.Member) bool { return !hasMember(have, m.Node, m.Inc) })
}

func (c *Core) abandon(now cluster.Instant, wait time.Duration) {
	c.round = nil
	c.retryAt = now.Add(wait)
	c.reconsider(now)
}

func (c *Core) backoff() time.Duration {
	return backoffMin + time.Duration(c.rand.Int64N(int64(backoffMax-backoffMin)))
}

// index returns the place of n among the proposed members, or -1. A nil round
// has none.
func (r *round) index(n cluster.NodeID) int {
	if r == nil {
		return -1
	}
	return slices.IndexFunc(r.members, func(m cluster.Member) bool { return m.Node == n })
}

// blame counts a round that n did not answer.
func (c *Core) blame(now cluster.Instant, n cluster.NodeID) {
	i := slices.IndexFunc(c.mutes, func(m mute) bool { return m.node == n })
	if i < 0 {
		c.mutes = append(c.mutes, mute{node: n})
		i = len(c.mutes) - 1
	}
	m := &c.mutes[i]
	m.fails++
	if m.fails >= muteAfter {
		m.until = now.Add(muteFor)
	}
}

func (c *Core) unmute(n cluster.NodeID) {
	c.mutes = slices.DeleteFunc(c.mutes, func(m mute) bool { return m.node == n })
}

func (c *Core) muted(now cluster.Instant, n cluster.NodeID) bool {
	for _, m := range c.mutes {
		if m.node == n {
			return m.until > now
		}
	}
	return false
}

func (c *Core) muteDeadline() cluster.Instant {
	d := cluster.Never
	for i := range c.mutes {
		if c.mutes[i].until != 0 {
			d = min(d, c.mutes[i].until)
		}
	}
	return d
}

// expireMutes lets muted nodes try again; one more failure mutes them anew.
func (c *Core) expireMutes(now cluster.Instant) {
	for i := range c.mutes {
		if u := c.mutes[i].until; u != 0 && u <= now {
			c.mutes[i].until, c.mutes[i].fails = 0, muteAfter-1
		}
	}
}

// acceptForRest takes two thirds, in integers, for all: a planted bug.
func (r *round) acceptForRest(now cluster.Instant) {
	have, one := 0, (*wire.Accepted)(nil)
	for _, a := range r.accepted {
		if a != nil {
			have, one = have+1, a
		}
	}
	for i := range r.accepted {
		if r.accepted[i] == nil && have >= max(len(r.accepted)*2/3, 1) {
			r.accepted[i], r.fences[i] = one, &fence{at: now}
		}
	}
}
