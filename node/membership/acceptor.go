package membership

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/planted"
	"headroom/node/wire"
)

// maxCounter bounds the counter that is believed: a ballot near the end of
// the number range would leave no higher one.
const maxCounter = 1 << 62

// onPrepare promises unless a higher ballot was promised, the proposer is
// outside this node's own set, this incarnation is not meant, or another
// process has this node's id.
func (c *Core) onPrepare(now cluster.Instant, from cluster.NodeID, m *wire.Prepare) {
	if !c.wellFormed(from, m.Ballot, m.Members) {
		c.stats.Inert++
		return
	}
	c.seen(m.Ballot)
	outside := !c.wants(from) && from != c.self.Node
	// The counter is the regime of record versions: of two Views in a row it
	// must differ, not only the key. What was accepted may yet be committed.
	lower := m.Ballot.Compare(c.promised) <= 0
	used := m.Ballot.Counter <= max(c.viewKey().Counter, c.accepted.Counter) && !planted.Is(planted.CounterReused)
	if lower || used || outside || c.rivalled() {
		c.send(from, &wire.Nack{Ballot: m.Ballot, Promised: c.promised, Outside: outside})
		return
	}
	c.promised = m.Ballot
	c.persist()
	if c.round != nil && c.round.ballot != m.Ballot {
		c.abandon(now, c.backoff())
	}
	c.send(from, &wire.Promise{Ballot: m.Ballot, View: c.viewKey(), Fences: c.fences(now, m.Members)})
}

// onAccept freezes this node and reports.
func (c *Core) onAccept(now cluster.Instant, from cluster.NodeID, m *wire.Accept) {
	if !c.wellFormed(from, m.Ballot, m.Members) {
		c.stats.Inert++
		return
	}
	if m.Ballot != c.promised && !planted.Is(planted.LowerBallotAccepted) {
		c.send(from, &wire.Nack{Ballot: m.Ballot, Promised: c.promised})
		return
	}
	if m.Ballot == c.accepted {
		return // said already, and the connection does not lose
	}
	c.accepted = m.Ballot
	c.frozeAt = now
	payload := c.host.Freeze(m.Ballot, m.Members)
	c.persist()
	c.send(from, &wire.Accepted{Ballot: m.Ballot, View: c.viewKey(), Fences: c.fences(now, m.Members), Payload: payload})
}

// fences lists the members of the View being left that the new one lacks.
func (c *Core) fences(now cluster.Instant, members []cluster.Member) []wire.Fence {
	if c.view == nil {
		return nil
	}
	var fs []wire.Fence
	for _, m := range c.view.Members {
		if hasMember(members, m.Node, m.Inc) || m.Node == c.self.Node {
			continue
		}
		f := wire.Fence{Node: m.Node, Inc: m.Inc}
		if until := c.host.GrantedUntil(m.Node, m.Inc); until > now {
			f.Wait = until.Sub(now) + fenceMargin
		}
		fs = append(fs, f)
	}
	return fs
}

// onCommit adopts the View if it is the newest that this node accepted. Any
// other is inert: an older one because a later round has begun, which counts
// on this node's later report; a newer one cannot be without its acceptance.
func (c *Core) onCommit(now cluster.Instant, m *wire.Commit) {
	stale := m.View.Key != c.accepted && !planted.Is(planted.StaleCommit)
	if stale || m.View.Key.Less(c.viewKey()) || !hasMember(m.View.Members, c.self.Node, c.self.Inc) || m.View.Key == c.viewKey() {
		c.stats.Inert++
		return
	}
	c.adopt(now, m)
}

// pieces is a commit that comes in parts.
type pieces struct {
	key  cluster.ViewKey
	next uint16
	data []byte
}

// onCommitPart puts a commit together. Only the ballot accepted last is worth
// the memory; a piece out of order means that one was lost with its connection,
// and the commit is sent again from the beginning.
func (c *Core) onCommitPart(now cluster.Instant, m *wire.CommitPart) {
	if m.Index == 0 {
		c.parts = pieces{key: m.Key}
	}
	p := &c.parts
	stale := m.Key != c.accepted && !planted.Is(planted.StaleCommit)
	if stale || m.Key == c.viewKey() || m.Key != p.key || m.Index != p.next || m.Index > m.Last || m.Last >= wire.MaxCommitParts {
		c.parts = pieces{}
		c.stats.Inert++
		return
	}
	p.data = append(p.data, m.Data...)
	p.next++
	if m.Index < m.Last {
		return
	}
	whole, err := wire.ParseViewMessage(wire.KindCommit, p.data)
	c.parts = pieces{}
	if err != nil {
		c.stats.Inert++ // the proposer does not keep to the format; its next round may
		return
	}
	c.onCommit(now, whole.(*wire.Commit))
}

func (c *Core) adopt(now cluster.Instant, m *wire.Commit) {
	c.view, c.commit, c.parts = &m.View, m.Split(), pieces{}
	c.history = append(slices.Clone(c.history), m.View.Key)
	if n := len(c.history) - HistoryLen; n > 0 {
		c.history = c.history[n:]
	}
	c.stale = nil
	c.slow, c.outside, c.again = 0, 0, false
	c.stats.Commits++
	c.out.Commit = m
	c.persist()
	c.out.Durable = true
	c.reconsider(now)
}

// wellFormed checks what a proposal must have: it comes from its proposer,
// who is a member, as is this node in this incarnation.
func (c *Core) wellFormed(from cluster.NodeID, k cluster.ViewKey, members []cluster.Member) bool {
	return k.Proposer == from && k.Counter < maxCounter && hasMember(members, from, k.Inc) &&
		hasMember(members, c.self.Node, c.self.Inc)
}

func (c *Core) viewKey() cluster.ViewKey {
	if c.view == nil {
		return cluster.ViewKey{}
	}
	return c.view.Key
}

func hasMember(ms []cluster.Member, n cluster.NodeID, inc cluster.Incarnation) bool {
	for i := range ms {
		if ms[i].Node == n {
			return ms[i].Inc == inc || planted.Is(planted.OldIncarnationIsMember)
		}
	}
	return false
}
