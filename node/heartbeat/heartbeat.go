// Package heartbeat owns the question "who hears whom": it sends pulses,
// judges silence and refused ports, and grants and holds read leases. It does
// not decide who is a member of the cluster (membership does, from the Graph
// that Peers gives), and it opens no socket.
//
// The invariant to know: a node's lease in a View ends before any member of
// that View can have helped to commit a View without the node. A lease counts
// from the *sending* of a pulse that a member echoed while it held the same
// View and was not frozen; a member that freezes says for how long the leases
// it granted may last (GrantedUntil), and the proposer waits that long.
//
// Start reading at Core, then Receive (receive.go) and Tick (judge.go).
package heartbeat

import (
	"math/rand/v2"
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// Defaults and limits. Durations derive from the interval, so that a test or
// a wide-area cluster scales all of them with one number.
const (
	DefaultInterval = 100 * time.Millisecond
	// timeoutIntervals: 600 ms at the default interval survives one pause of
	// 300 ms together with a lost pulse on either side of it.
	timeoutIntervals = 6
	// leaseIntervals must stay below timeoutIntervals: a node that falls
	// silent has lost its lease before anybody judges it.
	leaseIntervals = 4
	// maxStretch bounds the adaptive timeout to this multiple of the base.
	maxStretch = 3
	// maxStrain and easeBeats are this node's own health: each time it runs
	// late its timeouts grow by a quarter, up to double, and shrink again by
	// a quarter with each easeBeats pulses on time. A node that is starved of
	// CPU is the last to judge others (Lifeguard's local health).
	maxStrain = 4
	easeBeats = 20
	// minGap separates two pulses to one peer, however many reasons there
	// are to send: it bounds the burst when many nodes arrive at once.
	minGap = 5 * time.Millisecond
	// probeGap separates the probes of a port that refused, and probes is
	// how many must be refused: a firewall reload or a listen socket being
	// reopened is shorter.
	probeGap = 10 * time.Millisecond
	probes   = 3
	// maxPeers bounds known nodes, members or not.
	maxPeers = 2 * cluster.MaxMembers
	// coldIntervals separates calls to nodes and seeds that do not answer,
	// after the first coldAfter intervals of trying each interval.
	coldIntervals = 5
	coldAfter     = 30
	// askAfter2 is, in half intervals, the silence after which a peer is
	// asked to answer at once: later than one lost pulse.
	askAfter2 = 5
	// forgetAfter drops a node that nobody heard for so long and that is no
	// member of the View.
	forgetAfter = time.Hour
)

// Config is what a Core needs to know. The zero value of a duration means its
// default.
type Config struct {
	Self     cluster.Member
	Cluster  uint64        // hash of the cluster's name
	Interval time.Duration // between pulses; default DefaultInterval
	Timeout  time.Duration // silence that makes a node doubted; default 6 intervals; stretched up to 3 times by observed jitter and loss
	Lease    time.Duration // must be below Timeout; default 4 intervals
	Seeds    []string      // addresses to call until their nodes are known
	Announce bool          // make an announcement with each regular pulse, for a multicast group
	Rand     *rand.Rand    // required; spreads the pulses of nodes that started together
}

func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.Timeout == 0 {
		c.Timeout = timeoutIntervals * c.Interval
	}
	if c.Lease == 0 {
		c.Lease = c.Timeout * leaseIntervals / timeoutIntervals
	}
	return c
}

// Core is the heartbeat state machine of one node. One goroutine owns it.
// Call Receive, Refused and the setters as things happen, Tick when Deadline
// is due, and Take after each.
type Core struct {
	cfg     Config
	self    cluster.Member
	leaving bool

	view   *cluster.View // committed; nil before the first
	frozen bool

	peers     []*peer // sorted by node id
	seeds     []*seed
	beat      cluster.Instant // next regular pulse to everybody
	beats     uint64
	stamp     cluster.Instant // Sent of the newest pulse made; strictly grows
	lastCall  cluster.Instant
	strain    int             // how often this node was late of late, at most maxStrain
	easeAt    uint64          // beat at which strain goes down by one
	trustFrom cluster.Instant // echoes of earlier pulses grant no lease
	selfTwin  twin

	out   Effects
	stats Stats
}

// peer is what is known of one other node.
type peer struct {
	member    cluster.Member // in the newest incarnation heard; Inc zero: never heard. Addr is where to call it
	at        string         // where that incarnation was heard
	leaving   bool
	gone      bool // said goodbye in this incarnation: nothing of it counts any more
	dead      bool // lost by goodbye or refused port: no process holds a lease of ours
	refused   bool // lost by a refused port
	heard     bool // in the adjacency: heard and not judged lost
	called    string
	seq       uint64          // of the newest numbered pulse heard, to count losses
	sent      cluster.Instant // Sent of the newest pulse heard: orders pulses, and is echoed
	heardAt   cluster.Instant // when it came; leases granted count from here
	quietFrom cluster.Instant // silence counts from here: heardAt, or later after a pause of ours
	grantFrom cluster.Instant // heardAt when it was last sent an echo, which may grant a lease
	aired     cluster.Instant // Sent of its newest announcement
	airedAt   cluster.Instant // when that came; zero: never
	timing    timing

	view    cluster.ViewKey // as it reports
	frozen  bool
	hears   []cluster.NodeID // as it reports, sorted
	partial bool
	quiet   cluster.ViewKey  // the View all of which it hears and none of which it doubts, and nobody else
	doubts  []cluster.NodeID // as it reports, sorted
	// deafFrom is since when it says that it does not hear this node, or later
	// after a pause of ours; zero: it hears it. deaf: that is a verdict.
	deafFrom cluster.Instant
	deaf     bool

	leaseKey  cluster.ViewKey // the View under which leaseFrom counts
	leaseFrom cluster.Instant // send time of my newest pulse that it echoed under leaseKey

	doubted   bool // silent beyond its timeout
	refusals  int
	refusedAt cluster.Instant // newest counted refusal

	sendSeq  uint64
	lastSent cluster.Instant
	dueAt    cluster.Instant
	ask      bool
	misses   int // regular beats without an answer, while not heard

	introducedAt cluster.Instant // when a process with its id was last told where it is
	twinAddr     string          // and where that process is, told to the peer in its next pulse
	rival        bool            // it takes another process for this node: see rivalled
}

// seed is a configured address, called until the node behind it is heard.
type seed struct {
	addr   string
	node   cluster.NodeID // zero: not known yet
	isSelf bool
	misses int
}

// twin watches for another process that uses this node's id.
type twin struct {
	sent  cluster.Instant // on its clock, of its newest pulse
	seen  int             // pulses with growing sent
	asked cluster.Instant // when it was last called
	until cluster.Instant // it is older: this process holds no lease until then; zero: there is none
}

// New returns a Core that starts calling its seeds at the first Tick.
func New(now cluster.Instant, cfg Config) *Core {
	cfg = cfg.withDefaults()
	c := &Core{cfg: cfg, self: cfg.Self, beat: now, lastCall: now}
	for _, a := range cfg.Seeds {
		if a != "" && a != cfg.Self.Addr && len(a) <= wire.MaxAddr {
			c.seeds = append(c.seeds, &seed{addr: a})
		}
	}
	return c
}

// SetView tells the View that membership committed last (nil: none) and
// whether the node is frozen between an acceptance and its commit. Call it
// after each call of membership, before its messages leave the node. A new
// View is told to everybody at once.
func (c *Core) SetView(now cluster.Instant, v *cluster.View, frozen bool) {
	changed := keyOf(v) != keyOf(c.view)
	if changed {
		for _, p := range c.peers {
			c.out.Changed = c.out.Changed || c.excused(p) // what Peers says of it depends on the View
		}
	}
	c.view, c.frozen = v, frozen
	if !changed {
		return
	}
	for _, p := range c.peers {
		if p.heard {
			p.due(now)
			p.ask = true // its echo under the new View renews the lease
		}
	}
	c.flush(now)
}

// Freeze tells at once that the node is about to answer an acceptance: from
// here on no pulse grants a lease. Call it from membership's Host.Freeze,
// because GrantedUntil is read right after; SetView tells when it is over.
func (c *Core) Freeze() { c.frozen = true }

// SetQuiesced tells whether the node wants to master nothing.
func (c *Core) SetQuiesced(now cluster.Instant, quiesced bool) {
	if c.self.Quiesced != quiesced {
		c.self.Quiesced = quiesced
		c.tellAll(now)
		c.flush(now)
	}
}

// SetLeaving tells the others that this node was told to stop.
func (c *Core) SetLeaving(now cluster.Instant) {
	if !c.leaving {
		c.leaving = true
		c.tellAll(now)
		c.flush(now)
	}
}

// Goodbye makes the last pulses: the others drop this node at once. The node
// must not serve anything any more when it calls this.
func (c *Core) Goodbye(now cluster.Instant) {
	for _, p := range c.peers {
		if p.heard {
			m := c.pulseTo(now, p)
			m.Goodbye, m.Leaving = true, true
			c.out.Pulses = append(c.out.Pulses, Outgoing{Node: p.member.Node, Addr: p.member.Addr, Pulse: m})
		}
	}
}

// Peer is a node that is heard, and what it reports.
type Peer struct {
	Member  cluster.Member // as it describes itself; Quiesced also when it is leaving
	View    cluster.ViewKey
	Frozen  bool
	Partial bool             // Hears may lack nodes
	Rival   bool             // it hears another process with this node's id, and not this one
	Hears   []cluster.NodeID // sorted; do not change
}

// Peers returns every heard node in ascending order of id. This node hears
// all of them; whether they hear it and each other is in their Hears. A member
// of the View that has only just begun to say that it does not hear this node
// counts as hearing it: see excused.
func (c *Core) Peers() []Peer {
	ps := make([]Peer, 0, len(c.peers))
	for _, p := range c.peers {
		if !p.heard {
			continue
		}
		hears := p.hears
		if c.excused(p) {
			i, _ := slices.BinarySearch(hears, c.self.Node)
			hears = slices.Insert(slices.Clone(hears), i, c.self.Node)
		}
		ps = append(ps, Peer{Member: p.member, View: p.view, Frozen: p.frozen, Partial: p.partial, Rival: p.rival, Hears: hears})
	}
	return ps
}

// Link is a pair of nodes of which From does not hear To, although somebody
// else does, or To is heard to announce itself.
type Link struct{ From, To cluster.NodeID }

// BrokenLinks lists the broken links between this node and others and among
// others, for the operator. Both ends list the link, whether or not it has
// cost one of them its place in the View.
func (c *Core) BrokenLinks(now cluster.Instant) []Link {
	var ls []Link
	for _, p := range c.peers {
		if !p.heard {
			if p.member.Inc != 0 && (c.heardByOthers(p) || c.airs(now, p)) {
				ls = append(ls, Link{From: c.self.Node, To: p.member.Node})
			}
			continue
		}
		if p.partial {
			continue
		}
		if !contains(p.hears, c.self.Node) {
			ls = append(ls, Link{From: p.member.Node, To: c.self.Node})
		}
		for _, q := range c.peers {
			if q != p && q.member.Inc != 0 && (q.heard || c.heardByOthers(q)) && !contains(p.hears, q.member.Node) {
				ls = append(ls, Link{From: p.member.Node, To: q.member.Node})
			}
		}
	}
	return ls
}

// heardByOthers reports whether a heard node says that it hears p.
func (c *Core) heardByOthers(p *peer) bool {
	for _, q := range c.peers {
		if q != p && q.heard && contains(q.hears, p.member.Node) {
			return true
		}
	}
	return false
}

// LeaseUntil returns the instant at which this node may no longer answer
// reads as a member of v: zero when it holds no lease, Never when it is the
// only member. A process that is told that another one has its id holds none,
// not even alone. Check it after the record is read.
func (c *Core) LeaseUntil(v *cluster.View) cluster.Instant {
	if v == nil || c.view == nil || v.Key != c.view.Key || c.frozen || !v.Has(c.self.Node, c.self.Inc) || c.rivalled() {
		return 0
	}
	until := cluster.Never
	for i := range v.Members {
		m := &v.Members[i]
		if m.Node == c.self.Node {
			continue
		}
		p := c.find(m.Node)
		if p == nil || p.member.Inc != m.Inc || p.leaseKey != v.Key {
			return 0
		}
		until = min(until, p.leaseFrom.Add(c.cfg.Lease))
	}
	return until
}

// GrantedUntil returns until when the node n in incarnation inc may hold a
// lease by an echo of this node; zero when none is possible. The answer is an
// upper bound: n sent what this node echoed before this node heard it. A node
// that says it does not hear this one, or doubts it, gets no echo: by the time
// that a broken link is judged, the lease of the node it costs has ended, and
// nobody has to be frozen for it.
func (c *Core) GrantedUntil(n cluster.NodeID, inc cluster.Incarnation) cluster.Instant {
	p := c.find(n)
	if p == nil || p.member.Inc != inc || p.dead {
		return 0
	}
	if p.grantFrom == 0 {
		return 0
	}
	return p.grantFrom.Add(c.cfg.Lease)
}

// Effects is what a call wants done. Send the pulses in any order; then, if
// Changed, give Peers to membership; then log the events.
type Effects struct {
	Pulses []Outgoing
	// Announce, if not nil, goes to the multicast group.
	Announce *wire.Pulse
	Changed  bool // Peers differs from the last Take in more than arrival times
	Events   []Event
	// DuplicateSelf is not empty when an older process uses this node's id:
	// the address of that process. This process must refuse to serve.
	DuplicateSelf string
}

// Outgoing is a pulse to send to Addr. Node is zero for a seed not known yet;
// otherwise a refusal of the port is reported with Refused(now, Node).
type Outgoing struct {
	Node  cluster.NodeID
	Addr  string
	Pulse *wire.Pulse
}

// EventKind says what happened to a peer.
type EventKind uint8

// The events, for logs and counters.
const (
	Appeared   EventKind = iota + 1 // first pulse, or the first after Lost
	Restarted                       // another incarnation took over
	Silent                          // lost: nobody hears it
	LinkBroken                      // lost: others hear it, this node does not
	Refused                         // lost: its port refuses, and a second member agrees
	Left                            // said goodbye
	Paused                          // this node itself stood still; Node is its own
	Rivalled                        // it says that another process has this node's id
)

var eventNames = [...]string{"none", "appeared", "restarted", "silent", "link-broken", "refused", "left", "paused", "id-taken"}

// String gives the word used in logs.
func (k EventKind) String() string { return eventNames[k] }

// Event is one change of what this node hears.
type Event struct {
	Node    cluster.NodeID
	Kind    EventKind
	Silence time.Duration // since its last pulse
}

// Stats counts pulses that were dropped, by reason, and verdicts.
type Stats struct {
	Received, Sent                                         uint64
	Announced                                              uint64
	ForeignCluster, WrongDestination, Stale, Twin, TooMany uint64
	Verdicts                                               uint64
}

// Stats returns the counters since New.
func (c *Core) Stats() Stats { return c.stats }

// Take returns the effects since the last Take and forgets them.
func (c *Core) Take() Effects {
	e := c.out
	c.out = Effects{}
	return e
}

func (c *Core) event(now cluster.Instant, p *peer, k EventKind) {
	c.out.Events = append(c.out.Events, Event{Node: p.member.Node, Kind: k, Silence: now.Sub(p.heardAt)})
}

func (c *Core) find(n cluster.NodeID) *peer {
	if i, ok := c.search(n); ok {
		return c.peers[i]
	}
	return nil
}

func (c *Core) search(n cluster.NodeID) (int, bool) {
	return slices.BinarySearchFunc(c.peers, n, func(p *peer, n cluster.NodeID) int {
		switch {
		case p.member.Node < n:
			return -1
		case p.member.Node > n:
			return 1
		}
		return 0
	})
}

// add returns the peer n, made if it is new, or nil at the limit.
func (c *Core) add(now cluster.Instant, n cluster.NodeID, addr string) *peer {
	i, ok := c.search(n)
	if ok {
		return c.peers[i]
	}
	if len(c.peers) >= maxPeers {
		c.stats.TooMany++
		return nil
	}
	p := &peer{member: cluster.Member{Node: n, Addr: addr}, heardAt: now, quietFrom: now, dueAt: cluster.Never, lastSent: now.Add(-time.Hour)}
	c.peers = slices.Insert(c.peers, i, p)
	return p
}

// due makes the next pulse to p leave now, or as soon as minGap allows.
func (p *peer) due(now cluster.Instant) {
	p.dueAt = min(p.dueAt, max(now, p.lastSent.Add(minGap)))
}

// tellAll makes a pulse to everybody due: something they act on has changed.
func (c *Core) tellAll(now cluster.Instant) {
	for _, p := range c.peers {
		if p.heard {
			p.due(now)
		}
	}
}

func keyOf(v *cluster.View) cluster.ViewKey {
	if v == nil {
		return cluster.ViewKey{}
	}
	return v.Key
}
