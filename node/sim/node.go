package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/heartbeat"
	"headroom/node/membership"
	"headroom/node/wire"
)

// App is what a simulated node runs above membership: the place where
// partition, migrate and txn plug in. All calls come from the one thread;
// now is the node's own clock. An App sends with Node.Send.
type App interface {
	// Freeze is membership.Host's Freeze.
	Freeze(now cluster.Instant, ballot cluster.ViewKey, members []cluster.Member) []byte
	// Commit publishes a View and what its members reported.
	Commit(now cluster.Instant, m *wire.Commit)
	// Receive takes a frame that is not membership's.
	Receive(now cluster.Instant, from cluster.NodeID, class Class, kind wire.Kind, payload []byte)
	Tick(now cluster.Instant)
	Deadline() cluster.Instant
	// Event tells of a verdict of heartbeat, Settled that the effects of
	// both control cores have been carried out.
	Event(now cluster.Instant, e heartbeat.Event)
	Settled(now cluster.Instant)
	// Heard tells that what heartbeat hears has changed.
	Heard()
	// Broken tells that a connection that this node sent on is lost.
	Broken(now cluster.Instant, to cluster.NodeID, class Class)
}

// Node is one simulated process on its host: the cores, their wiring, and
// the disk that outlives them.
type Node struct {
	w    *World
	ID   cluster.NodeID
	host int // its place in World.Nodes and World.addrs

	Up       bool
	Paused   bool
	leaving  bool
	quiesced bool
	HostDown bool // crashed with its host: the port does not even refuse
	Inc      cluster.Incarnation
	Started  cluster.Instant // world time; the node's clock counts from here

	Heartbeat  *heartbeat.Core
	Membership *membership.Core
	App        App

	Disk membership.State // survives crashes
	// Drift is how much faster than true time the host's clock runs, in parts
	// per million, at most maxDrift either way. Set it before Start.
	Drift int64
	Wall  time.Duration // how far the host's wall clock is ahead of the true time

	inbox     []arrival           // while paused
	slowBy    time.Duration       // what it receives it handles this much later, at most
	slowUntil cluster.Instant     // when the last of that is handled
	sender    cluster.Incarnation // of the frame being received
	tickSeq   uint64              // the newest scheduled tick; older ones are void
	frozen    cluster.ViewKey     // the newest ballot accepted in this life
	frozenAt  cluster.Instant     // on its own clock
	newest    cluster.ViewKey     // ever committed, in all lives
	// Lost counts verdicts by kind.
	Lost    map[heartbeat.EventKind]int
	Commits []Committed   // of this life
	Froze   time.Duration // longest time from an acceptance to a commit
}

// Committed notes when a node adopted a View.
type Committed struct {
	At   cluster.Instant // world time
	View *cluster.View
}

// maxInbox bounds the datagrams and frames kept for a paused node, as socket
// buffers do. Beyond it pulses get lost; frames are never dropped, as their
// connection holds the sender back.
const maxInbox = 4096

func (n *Node) addr() string { return n.w.addrs[n.host] }

// wallMS is what the host's wall clock says, in milliseconds since the epoch.
func (n *Node) wallMS() int64 { return wallStart + int64(n.w.now)/1e6 + n.Wall.Milliseconds() }

// Now is the node's own monotonic clock.
func (n *Node) Now() cluster.Instant {
	d := int64(n.w.now.Sub(n.Started))
	return cluster.Instant(d+d/ppm*n.Drift+d%ppm*n.Drift/ppm) + 1
}

const ppm = 1_000_000

// when is the world time at which the node's clock shows at, or a little later.
func (n *Node) when(at cluster.Instant) cluster.Instant {
	d := int64(at - 1)
	if n.Drift != 0 {
		d = d/(ppm+n.Drift)*ppm + d%(ppm+n.Drift)*ppm/(ppm+n.Drift) + 2
	}
	return n.Started.Add(time.Duration(d))
}

// Start starts the process in a new incarnation.
func (n *Node) Start() {
	if n.Up {
		return
	}
	n.Inc++
	n.Up, n.Paused, n.HostDown, n.leaving = true, false, false, false
	n.Started, n.inbox, n.Commits, n.frozen = n.w.now, nil, nil, cluster.ViewKey{}
	n.Lost = map[heartbeat.EventKind]int{}
	n.quiesced = false
	self := n.self()
	n.Heartbeat = heartbeat.New(n.Now(), heartbeat.Config{Self: self, Cluster: 1, Interval: n.w.cfg.Interval,
		Seeds: n.seeds(), Announce: n.w.cfg.Multicast, Rand: n.newRand()})
	n.Membership = membership.New(n.Now(), membership.Config{Self: self, State: n.Disk, Host: n, Rand: n.newRand()})
	if n.w.cfg.NewApp != nil {
		n.App = n.w.cfg.NewApp(n)
	}
	n.w.record("start", uint64(n.ID), uint64(n.Inc))
	n.w.logf("node%d starts, incarnation %d", n.ID, n.Inc)
	n.pump()
}

func (n *Node) newRand() *rand.Rand {
	return rand.New(rand.NewPCG(n.w.rand.Uint64(), n.w.rand.Uint64()))
}

func (n *Node) seeds() []string {
	if n.w.cfg.NoSeeds {
		return nil
	}
	k := n.w.cfg.Seeds
	if k == 0 {
		k = len(n.w.Nodes)
	}
	var s []string
	for _, m := range n.w.Nodes[:min(k, len(n.w.Nodes))] {
		s = append(s, m.addr())
	}
	return s
}

// Crash kills the process; with host, its whole machine.
func (n *Node) Crash(host bool) {
	if !n.Up {
		return
	}
	n.Up, n.Paused, n.HostDown, n.inbox = false, false, host, nil
	n.tickSeq++
	n.w.record("crash", uint64(n.ID))
	n.w.logf("node%d crashes", n.ID)
}

// Pause stops the process as SIGSTOP does.
func (n *Node) Pause() {
	if n.Up && !n.Paused {
		n.Paused = true
		n.tickSeq++
		n.w.record("pause", uint64(n.ID))
		n.w.logf("node%d is paused", n.ID)
	}
}

// Resume continues a paused process: what waited arrives at once.
func (n *Node) Resume() {
	if !n.Up || !n.Paused {
		return
	}
	n.Paused = false
	n.w.record("resume", uint64(n.ID))
	n.w.logf("node%d resumes", n.ID)
	waiting := n.inbox
	n.inbox = nil
	if n.App != nil {
		waiting = n.interleave(waiting)
	}
	for _, a := range waiting {
		if n.Up && !n.Paused {
			a.fn()
		}
	}
	n.pump()
}

// interleave orders what waited as a process does whose connections are read
// by goroutines of their own: in order on each, in any order between them.
// Half of the time its timers come first.
func (n *Node) interleave(waiting []arrival) []arrival {
	if n.w.rand.IntN(2) == 0 {
		n.tick()
	}
	var streams []any
	queues := map[any][]arrival{}
	for _, a := range waiting {
		if queues[a.stream] == nil {
			streams = append(streams, a.stream)
		}
		queues[a.stream] = append(queues[a.stream], a)
	}
	out := make([]arrival, 0, len(waiting))
	for len(streams) > 0 {
		i := n.w.rand.IntN(len(streams))
		q := queues[streams[i]]
		k := 1 + n.w.rand.IntN(len(q))
		out, queues[streams[i]] = append(out, q[:k]...), q[k:]
		if k == len(q) {
			streams = slices.Delete(streams, i, i+1)
		}
	}
	return out
}

// Leave stops the process as SIGTERM does, after drain.
func (n *Node) Leave(drain time.Duration) {
	if !n.Up || n.Paused {
		return
	}
	n.leaving = true
	n.w.logf("node%d is leaving", n.ID)
	n.Heartbeat.SetLeaving(n.Now())
	n.Membership.SetSelf(n.Now(), n.self())
	n.pump()
	inc := n.Inc
	n.w.After(drain, func() {
		if n.Up && n.Inc == inc && !n.Paused {
			n.Heartbeat.Goodbye(n.Now())
			n.pump()
			n.Crash(false)
		}
	})
}

// arrival is something that waits for a paused process. Those of one stream
// keep their order.
type arrival struct {
	stream any
	fn     func()
}

// datagrams is the stream of pulses, the only one that loses what is too much.
const datagrams = "datagrams"

// deliver runs fn in the process: now, or when it is resumed.
func (n *Node) deliver(stream any, fn func()) {
	if !n.Paused {
		n.late(stream, fn)
		return
	}
	if stream != datagrams || len(n.inbox) < maxInbox {
		n.inbox = append(n.inbox, arrival{stream, fn})
	}
}

// late runs fn, or, on a slow node, some time later: in order on each stream.
func (n *Node) late(stream any, fn func()) {
	if n.slowBy == 0 && n.w.now >= n.slowUntil {
		fn()
		return
	}
	at := n.w.now
	if n.slowBy > 0 {
		at = at.Add(time.Duration(n.w.rand.Int64N(int64(n.slowBy))))
	}
	// One queue for all keeps every stream in order, as a starved process does.
	n.slowUntil = max(n.slowUntil, at)
	inc := n.Inc
	n.w.at(n.slowUntil, func() {
		switch {
		case !n.Up || n.Inc != inc:
		case n.Paused:
			n.inbox = append(n.inbox, arrival{stream, fn})
		default:
			fn()
		}
	})
}

func (n *Node) receivePulse(b []byte, from string) {
	p, err := wire.ParsePulse(b)
	if err != nil {
		n.w.fail("node%d: pulse does not parse: %v", n.ID, err)
		return
	}
	n.w.record("pulse", uint64(n.ID), uint64(p.Node), p.Seq)
	n.Heartbeat.Receive(n.Now(), p, from)
	n.settle()
}

func (n *Node) refused(to cluster.NodeID) {
	n.w.record("refused", uint64(n.ID), uint64(to))
	n.Heartbeat.Refused(n.Now(), to)
	n.settle()
}

// receiveFrame is the dispatch by kind.
func (n *Node) receiveFrame(from cluster.NodeID, class Class, kind wire.Kind, payload []byte) {
	n.w.record("frame", uint64(n.ID), uint64(from), uint64(kind))
	if kind >= wire.KindPrepare && kind <= wire.KindWant {
		m, err := wire.ParseViewMessage(kind, payload)
		if err != nil {
			n.w.fail("node%d: frame of kind %d does not parse: %v", n.ID, kind, err)
			return
		}
		n.Membership.Receive(n.Now(), from, m)
	} else if n.App != nil {
		n.App.Receive(n.Now(), from, class, kind, payload)
	}
	if n.w.OnFrame != nil {
		n.w.OnFrame(kind)
	}
	n.settle()
}

// Send sends a frame to another node, and reports whether its connection took
// it. A reply to a forwarded request is taken: it goes back on the connection
// of the request, and is lost only with that, which Broken tells.
func (n *Node) Send(to cluster.NodeID, class Class, kind wire.Kind, payload []byte) bool {
	if to < 1 || int(to) > n.w.cfg.Nodes || class != Control && kind != wire.KindReply && n.w.Net.chance(n.w.Net.cfg.Refused) {
		return false
	}
	if n.w.Net.Drop != nil && n.w.Net.Drop(n.ID, to, kind, payload) {
		return false
	}
	n.w.Net.SendFrame(n, n.w.processOf(n, to), class, kind, payload)
	return true
}

// Freeze implements membership.Host.
func (n *Node) Freeze(ballot cluster.ViewKey, members []cluster.Member) []byte {
	if ballot.Compare(n.frozen) <= 0 {
		n.w.fail("node%d accepts %v after %v", n.ID, ballot, n.frozen)
	}
	n.frozen, n.frozenAt = ballot, n.Now()
	n.Heartbeat.Freeze()
	if n.App != nil {
		return n.App.Freeze(n.Now(), ballot, members)
	}
	return wire.AppendU64(nil, uint64(n.ID))
}

// GrantedUntil implements membership.Host.
func (n *Node) GrantedUntil(m cluster.NodeID, inc cluster.Incarnation) cluster.Instant {
	return n.Heartbeat.GrantedUntil(m, inc)
}

// settle applies effects, or lets more arrive first, as a node does that
// takes a burst of events from its queue before it acts on them.
func (n *Node) settle() {
	if !n.w.Net.chance(n.w.Net.cfg.Batch) {
		n.pump()
		return
	}
	inc := n.Inc
	n.w.After(time.Duration(n.w.rand.Int64N(int64(maxBatch))), func() {
		if n.Up && n.Inc == inc && !n.Paused {
			n.pump()
		}
	})
}

// maxBatch is how long effects wait at most in a batch.
const maxBatch = 3 * time.Millisecond

// pump applies effects until there are none, then plans the next tick.
func (n *Node) pump() {
	n.w.acted = true
	for n.Up && n.w.Err == nil {
		hb := n.Heartbeat.Take()
		for _, o := range hb.Pulses {
			n.sendPulse(o)
		}
		n.announce(hb.Announce)
		for _, e := range hb.Events {
			n.note(e)
		}
		if hb.DuplicateSelf != "" {
			n.duplicate(hb.DuplicateSelf)
			return
		}
		if hb.Changed {
			if n.App != nil {
				n.App.Heard()
			}
			n.Membership.Observe(n.Now(), graph(n.Heartbeat.Peers()))
		}
		ms := n.Membership.Take()
		n.apply(ms)
		if len(hb.Pulses) == 0 && !hb.Changed && ms.Persist == nil && len(ms.Send) == 0 {
			break
		}
	}
	if n.App != nil && n.Up {
		n.App.Settled(n.Now())
	}
	n.plan()
}

// apply carries out membership's effects in their order.
func (n *Node) apply(ms membership.Effects) {
	if ms.Persist != nil && ms.Durable {
		n.Disk = *ms.Persist // what need not be there is not: server's persist
	}
	n.Heartbeat.SetView(n.Now(), n.Membership.View(), n.Membership.Frozen())
	if ms.Commit != nil {
		n.committed(ms.Commit)
	}
	for _, e := range ms.Send {
		n.Send(e.To, Control, e.Msg.Kind(), e.Msg.Append(nil))
	}
}

func (n *Node) committed(m *wire.Commit) {
	v := n.Membership.View()
	n.Commits = append(n.Commits, Committed{At: n.w.now, View: v})
	n.Froze = max(n.Froze, n.Now().Sub(n.frozenAt))
	n.w.record("commit", uint64(n.ID), v.Key.Counter, uint64(v.Key.Proposer))
	n.w.logf("node%d commits %v", n.ID, v)
	n.w.checkCommit(n, m)
	if n.App != nil {
		n.App.Commit(n.Now(), m)
	}
}

func (n *Node) note(e heartbeat.Event) {
	n.Lost[e.Kind]++
	if n.w.OnEvent != nil {
		n.w.OnEvent(n, e)
	}
	if n.App != nil {
		n.App.Event(n.Now(), e)
	}
	n.w.record("event", uint64(n.ID), uint64(e.Node), uint64(e.Kind))
	if e.Kind != heartbeat.Appeared {
		n.w.logf("node%d: %v %v", n.ID, e.Node, e.Kind)
	}
}

func (n *Node) sendPulse(o heartbeat.Outgoing) {
	n.w.checkPulse(n, o.Pulse)
	if i := slices.Index(n.w.addrs, o.Addr); i >= 0 {
		n.w.Net.sendPulse(n, n.w.Nodes[i], o.Node, o.Pulse.Append(nil))
	}
}

// plan schedules the next tick.
func (n *Node) plan() {
	if !n.Up || n.Paused {
		return
	}
	d := min(n.Heartbeat.Deadline(), n.Membership.Deadline())
	if n.App != nil {
		d = min(d, n.App.Deadline())
	}
	n.tickSeq++
	if d == cluster.Never {
		return
	}
	seq := n.tickSeq
	n.w.at(max(n.w.now, n.when(d)), func() {
		if n.tickSeq == seq && n.Up && !n.Paused {
			n.tick()
		}
	})
}

func (n *Node) tick() {
	n.Heartbeat.Tick(n.Now())
	n.Membership.Tick(n.Now())
	if n.App != nil {
		n.App.Tick(n.Now())
	}
	n.pump()
}

// View returns the View the node holds, or nil.
func (n *Node) View() *cluster.View {
	if !n.Up {
		return nil
	}
	return n.Membership.View()
}

// Serves reports whether the node may answer reads now: it has a View, is
// not frozen and holds a lease.
func (n *Node) Serves() bool {
	return n.Up && n.View() != nil && !n.Membership.Frozen() && n.Heartbeat.LeaseUntil(n.View()) > n.Now()
}

func graph(ps []heartbeat.Peer) []membership.Peer {
	out := make([]membership.Peer, len(ps))
	for i, p := range ps {
		out[i] = membership.Peer(p)
	}
	return out
}
