// Package membership owns the agreement on a View: which nodes, in which
// incarnation, form the cluster. It is told who hears whom (Observe) and by
// whom it is asked (Receive); it neither judges silence (heartbeat does) nor
// knows what a partition is: the bytes that members report when they freeze
// are opaque to it.
//
// A round has a ballot, which becomes the key of its View: Prepare to every
// proposed member, Promise from every one, Accept, Accepted from every one
// with its report, Commit with all reports to all. Ballots do not compete for
// one value as in the single-decree algorithm; each stands for the members
// its proposer chose, and all of them must take part.
//
// The invariant to know: from answering Accepted until a commit of exactly
// that ballot, or of a later one, a member is frozen: it serves nothing under
// its old View and can adopt no View but the newest it accepted. So of two
// Views that share a member, the older has stopped before the newer starts.
// Members left out hold no lease any more when the commit is sent (fences).
//
// Start reading at Core and Effects, then acceptor.go, proposer.go, desire.go.
package membership

import (
	"math/rand/v2"
	"time"

	"headroom/node/cluster"
	"headroom/node/planted"
	"headroom/node/wire"
)

// Timing. A round takes two round trips, about 1 ms in a data centre.
const (
	// grace is how long a fresh node listens for others before it may form
	// a View: two and a half heartbeat intervals. It ends early when the node
	// hears everyone whom the members of an existing View hear.
	grace = 250 * time.Millisecond
	// quietGone and quietCome separate the last change of evidence from a
	// proposal, maxQuiet bounds them together: one crash is acted upon at
	// once, a rack that fails over some tens of milliseconds is one View.
	quietGone = 30 * time.Millisecond
	quietCome = 50 * time.Millisecond
	maxQuiet  = 200 * time.Millisecond
	// roundTimeout is for each of the two phases of a first try. It doubles
	// with each round in a row that timed out, maxSlow times at most: on
	// starved machines 100 ms is not enough, and rounds that never end leave
	// everybody out in turn.
	roundTimeout = 100 * time.Millisecond
	maxSlow      = 3
	// backoffMin to backoffMax, seeded, separate a failed round from the
	// next, so that two proposers do not keep defeating each other.
	backoffMin = 10 * time.Millisecond
	backoffMax = 60 * time.Millisecond
	// outsideBackoff follows a refusal that says "you are outside my set":
	// evidence has to change first, so asking often is no use. It doubles with
	// each such refusal in a row, maxOutside times at most, so that a link that
	// works one way only for hours does not mean elections for hours; other
	// evidence here, or a View, starts it anew.
	outsideBackoff = 200 * time.Millisecond
	maxOutside     = 3
	// muteAfter rounds in a row without an answer from a node that is heard
	// leave it out for muteFor: its process hangs or its control connection
	// is stuck. Nobody freezes meanwhile, as the prepare phase fails.
	// With the doubling that is 2.3 s.
	muteAfter = 5
	muteFor   = time.Second
	// resendGap separates commits sent again to a member that shows an
	// older View; staleAfter is when a new round heals it instead: later than
	// several commits sent again take on a starved machine.
	resendGap  = 50 * time.Millisecond
	staleAfter = 400 * time.Millisecond
	// fenceMargin covers clock granularity and rate differences between
	// nodes: 1 % of a lease of 400 ms.
	fenceMargin = 4 * time.Millisecond
	// HistoryLen bounds the committed keys that are remembered.
	HistoryLen = 32
)

// Host is what the Core asks its node while it answers a message. Both calls
// must be pure reads of other state owned by the same goroutine.
type Host interface {
	// Freeze freezes partition versions and migrations under ballot, which
	// proposes members, and returns the report of them (opaque; it is not
	// kept by the Host). It must tell heartbeat before it returns, so that
	// no pulse grants a lease any more. It is called again for each higher
	// ballot.
	Freeze(ballot cluster.ViewKey, members []cluster.Member) []byte
	// GrantedUntil is heartbeat's upper bound on leases granted to a node.
	GrantedUntil(n cluster.NodeID, inc cluster.Incarnation) cluster.Instant
}

// State is what a durable node writes, and gives to New when it starts again.
//
// Only a committed View must be on the device before it is published
// (Effects.Durable): its counter is the regime of the writes that follow, and
// must not be used again for earlier ones. Promised and Accepted bind this
// incarnation alone, which does not survive a restart: a ballot names its
// members with their incarnations, so the next life is asked by none of them.
// They are kept so that the next life starts with a higher ballot at once.
type State struct {
	Promised cluster.ViewKey   // no lower ballot is promised or accepted any more
	Accepted cluster.ViewKey   // newest ballot accepted
	View     cluster.View      // last committed; zero key: none
	History  []cluster.ViewKey // committed keys, oldest first, at most HistoryLen
}

// Config is what a Core needs to know.
type Config struct {
	Self  cluster.Member
	State State      // of the last life; zero for a new node
	Host  Host       // required
	Rand  *rand.Rand // required; spreads the retries of rival proposers
}

// Peer is a heard node and what it reports. Its fields are those of
// heartbeat.Peer, so that one converts to the other.
type Peer struct {
	Member  cluster.Member
	View    cluster.ViewKey
	Frozen  bool
	Partial bool
	Rival   bool             // takes another process for this node
	Hears   []cluster.NodeID // sorted
}

// Core is the membership state machine of one node. One goroutine owns it.
type Core struct {
	self cluster.Member
	host Host
	rand *rand.Rand

	started  cluster.Instant
	promised cluster.ViewKey
	accepted cluster.ViewKey
	view     *cluster.View // committed in this life; nil: none
	history  []cluster.ViewKey
	counter  uint64             // highest counter seen in any ballot or View
	commit   []wire.ViewMessage // of view, to send again
	parts    pieces

	peers   []Peer // last observed, ascending
	desired []cluster.Member
	wish    wish
	round   *round
	retryAt cluster.Instant
	slow    int             // rounds in a row that timed out, at most maxSlow
	again   bool            // a new View is wanted although the members are the same
	askAt   cluster.Instant // when the principal is asked for it again
	outside int             // refusals in a row that said that this node is outside, at most maxOutside
	stale   []staleMember
	mutes   []mute
	frozeAt cluster.Instant

	out   Effects
	stats Stats
}

// Effects is what a call wants done, in this order: write Persist durably;
// tell heartbeat the View and whether it is Frozen; publish Commit; send.
type Effects struct {
	Persist *State // nil: nothing changed
	Durable bool   // Persist must be on the device (synced) before anything below; else it may be written later or not at all
	Commit  *wire.Commit
	Send    []Envelope
}

// Envelope is a message to a node, over the authenticated control connection.
type Envelope struct {
	To  cluster.NodeID
	Msg wire.ViewMessage
}

// Stats counts rounds for metrics.
type Stats struct {
	Rounds, Commits, Timeouts, Nacked, Aborted, Resent, Inert uint64
}

// New returns a Core that has no View yet: whatever the last life committed
// belongs to another incarnation.
func New(now cluster.Instant, cfg Config) *Core {
	st := cfg.State
	c := &Core{self: cfg.Self, host: cfg.Host, rand: cfg.Rand, started: now, promised: st.Promised,
		accepted: st.Accepted, history: append([]cluster.ViewKey(nil), st.History...)}
	c.counter = max(st.Promised.Counter, st.Accepted.Counter, st.View.Key.Counter)
	if planted.Is(planted.PromiseNotPersisted) {
		c.counter, c.promised, c.accepted = 0, cluster.ViewKey{}, cluster.ViewKey{}
	}
	c.reconsider(now)
	return c
}

// View returns the View committed in this life, or nil. The node may serve
// under it only while it is not Frozen and holds a lease.
func (c *Core) View() *cluster.View { return c.view }

// Frozen reports whether a ballot newer than the View has been accepted.
func (c *Core) Frozen() bool {
	return c.view != nil && c.view.Key.Less(c.accepted) && !planted.Is(planted.AnswersWhileFrozen)
}

// History returns the keys of the last committed Views, oldest first; do not
// change it.
func (c *Core) History() []cluster.ViewKey { return c.history }

// Stats returns the counters since New.
func (c *Core) Stats() Stats { return c.stats }

// Take returns the effects since the last Take and forgets them.
func (c *Core) Take() Effects {
	e := c.out
	c.out = Effects{}
	return e
}

// SetSelf changes how this node describes itself (rack, quiesced, address);
// node id and incarnation stay.
func (c *Core) SetSelf(now cluster.Instant, m cluster.Member) {
	m.Node, m.Inc = c.self.Node, c.self.Inc
	if m != c.self {
		c.self = m
		c.reconsider(now)
		c.act(now)
	}
}

// Recluster wants a new View although the members are the same, because what
// they report has changed in a way that only a View can bring to bear. The
// principal proposes it; on any other node the call does nothing, and says so.
func (c *Core) Recluster(now cluster.Instant) bool {
	if c.view == nil || !c.isPrincipal() {
		return false
	}
	c.again = true
	c.review(now)
	c.act(now)
	return true
}

// askGap separates the questions for a View that a node has not got yet.
const askGap = 200 * time.Millisecond

// Want wants a new View likewise, on any node: the principal is asked for it
// until one is committed.
func (c *Core) Want(now cluster.Instant) {
	if c.view == nil {
		return // the first one will tell
	}
	c.again, c.askAt = true, now
	c.review(now)
	c.act(now)
}

// ask asks the principal for the View that this node wants.
func (c *Core) ask(now cluster.Instant) {
	if c.again && !c.isPrincipal() && now >= c.askAt {
		c.askAt = now.Add(askGap)
		c.send(c.desired[0].Node, &wire.Want{View: c.view.Key})
	}
}

// Observe tells what heartbeat hears now. The Core keeps the slice.
func (c *Core) Observe(now cluster.Instant, peers []Peer) {
	for i := range peers {
		c.seen(peers[i].View)
	}
	same := sameLinks(c.peers, peers)
	c.peers = peers
	if same {
		c.review(now) // only what members report of their View changed
	} else {
		c.reconsider(now)
	}
	c.act(now)
}

// Tick does what is due. Calling it early does no harm.
func (c *Core) Tick(now cluster.Instant) {
	if now >= c.muteDeadline() {
		c.reconsider(now) // somebody may be desired again
	} else {
		c.review(now)
	}
	c.act(now)
}

// Deadline returns when Tick has something to do next.
func (c *Core) Deadline() cluster.Instant {
	d := cluster.Never
	if c.round != nil {
		d = c.round.deadline
		if c.round.fenceAt != 0 {
			d = min(d, c.round.fenceAt)
		}
		if c.round.holdAt != 0 && !c.round.accepting {
			d = min(d, c.round.holdAt)
		}
	} else if c.wish.active {
		d = max(c.wish.fireAt(), c.retryAt)
		if !c.graceOver(c.started) {
			d = max(d, c.started.Add(grace))
		}
		if !c.isPrincipal() || c.rivalled() {
			d = cluster.Never
		}
	}
	if c.again && !c.isPrincipal() {
		d = min(d, c.askAt)
	}
	return min(d, c.staleDeadline(), c.muteDeadline())
}

// Receive takes a message from node from, which the connection has proven.
func (c *Core) Receive(now cluster.Instant, from cluster.NodeID, m wire.ViewMessage) {
	c.expireRound(now)
	switch m := m.(type) {
	case *wire.Prepare:
		c.onPrepare(now, from, m)
	case *wire.Promise:
		c.onPromise(now, from, m)
	case *wire.Nack:
		c.onNack(now, from, m)
	case *wire.Accept:
		c.onAccept(now, from, m)
	case *wire.Accepted:
		c.onAccepted(now, from, m)
	case *wire.Commit:
		c.onCommit(now, m)
	case *wire.CommitPart:
		c.onCommitPart(now, m)
	case *wire.Want:
		if c.view != nil && m.View == c.view.Key { // else another is under way, or known already
			c.Recluster(now)
		}
	}
	c.act(now)
}

// act starts, goes on with or gives up a round, and heals members.
func (c *Core) act(now cluster.Instant) {
	c.expireRound(now)
	c.abortOnChange(now)
	c.open(now)
	c.finish(now)
	c.heal(now)
	c.ask(now)
	if c.round == nil && c.wish.active && c.isPrincipal() && now >= c.wish.fireAt() &&
		now >= c.retryAt && c.graceOver(now) && !c.rivalled() {
		c.propose(now)
	}
}

func (c *Core) isPrincipal() bool { return c.desired[0].Node == c.self.Node }

func (c *Core) send(to cluster.NodeID, m wire.ViewMessage) {
	c.out.Send = append(c.out.Send, Envelope{To: to, Msg: m})
}

func (c *Core) sendAll(to cluster.NodeID, ms []wire.ViewMessage) {
	for _, m := range ms {
		c.send(to, m)
	}
}

func (c *Core) persist() {
	st := &State{Promised: c.promised, Accepted: c.accepted, History: c.history}
	if c.view != nil {
		st.View = *c.view
	}
	c.out.Persist = st
}

// seen keeps the next ballot above k. A counter near the end of its range
// would leave no higher one, and is not believed.
func (c *Core) seen(k cluster.ViewKey) {
	if k.Counter < maxCounter {
		c.counter = max(c.counter, k.Counter)
	}
}
