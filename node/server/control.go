package server

import (
	"context"
	"hash/fnv"
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/heartbeat"
	"headroom/node/membership"
	"headroom/node/partition"
	"headroom/node/plane"
	"headroom/node/transport"
	"headroom/node/wire"
)

// maxEvents bounds what waits for the control goroutine: at 128 nodes and a
// pulse each 100 ms, three seconds of pulses. Beyond it events are dropped and
// counted; pulses repeat, and membership messages are asked for again.
const maxEvents = 4096

// control is one goroutine that owns the heartbeat and the membership core.
type control struct {
	events    chan func(now cluster.Instant)
	hb        *heartbeat.Core
	ms        *membership.Core
	meta      meta
	suspended suspension
	left      absences
	starved   bool            // it waited for room: see untilStored
	done      <-chan struct{} // closed when the node ends
	linksAt   cluster.Instant // when broken links are to be looked at next
}

// linksEvery is how often broken links are brought up to date for status: they
// change with time alone, too, when an announcement grows old.
const linksEvery = 250 * time.Millisecond

// heard is a snapshot of what heartbeat hears, for status.
type heard struct {
	peers  []heartbeat.Peer
	broken []heartbeat.Link
}

// post hands f to the control goroutine; it never waits.
func (n *Node) post(f func(now cluster.Instant)) { n.tryPost(f) }

// tryPost is post, and reports whether f was taken.
func (n *Node) tryPost(f func(now cluster.Instant)) bool {
	select {
	case n.ctl.events <- f:
		return true
	default:
		n.eventsDropped.Add(1)
		return false
	}
}

// controlLoop owns the control plane until ctx ends.
func (n *Node) controlLoop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var f func(cluster.Instant)
		select {
		case <-ctx.Done():
			return
		case f = <-n.ctl.events:
		case <-timer.C:
		}
		read := time.Now()
		n.checkSuspended()
		n.checkStarved()
		n.noteWall(read)
		if f != nil {
			f(n.mono())
			n.drainEvents()
		}
		now := n.mono()
		if n.ctl.hb.Deadline() <= now {
			n.ctl.hb.Tick(now)
		}
		n.wantRepairs(now)
		n.settle(now)
		if n.ctl.ms.Deadline() <= now {
			n.ctl.ms.Tick(now)
			n.settle(now)
		}
		n.renewLease()
		n.noteLinks(now)
		next := min(n.ctl.hb.Deadline(), n.ctl.ms.Deadline())
		timer.Reset(min(max(next.Sub(n.mono()), 100*time.Microsecond), time.Second))
	}
}

// checkSuspended gives up the lease and all that pulses have proven if the
// machine was suspended: for the others this node was silent all the while.
func (n *Node) checkSuspended() {
	if !n.ctl.suspended.look() {
		return
	}
	n.lease.Store(0)
	n.ctl.hb.Resumed(n.mono())
	n.log.Warn("the machine was suspended; waiting for the others to confirm this node")
}

// drainEvents takes what is waiting already, so that a burst of pulses costs
// one round of effects.
func (n *Node) drainEvents() {
	for range len(n.ctl.events) {
		f := <-n.ctl.events
		f(n.mono())
	}
}

// settle carries out the effects of both cores until there are none. Its loop
// ends: each core answers a change of the other at most once.
func (n *Node) settle(now cluster.Instant) {
	for {
		hb := n.ctl.hb.Take()
		if hb.Changed {
			n.observe(now)
		}
		ms := n.ctl.ms.Take()
		n.carryOutMembership(now, &ms)
		n.carryOutHeartbeat(&hb)
		if len(hb.Pulses) == 0 && len(hb.Events) == 0 && !hb.Changed && ms.Persist == nil && ms.Commit == nil && len(ms.Send) == 0 {
			return
		}
	}
}

// observe gives membership what heartbeat hears, and the mesh whom to connect.
func (n *Node) observe(now cluster.Instant) {
	hp := n.ctl.hb.Peers()
	peers := make([]membership.Peer, len(hp))
	mesh := map[cluster.NodeID]string{}
	for i, p := range hp {
		peers[i] = membership.Peer(p)
		mesh[p.Member.Node] = p.Member.Addr
	}
	if v := n.ctl.ms.View(); v != nil {
		for _, m := range v.Members {
			if _, ok := mesh[m.Node]; !ok && m.Node != n.id {
				mesh[m.Node] = m.Addr
			}
		}
	}
	n.noteHeard()
	n.mesh.SetPeers(mesh)
	n.ctl.ms.Observe(now, peers)
}

// noteHeard brings up to date what status and migration know of the peers.
func (n *Node) noteHeard() {
	hp := n.ctl.hb.Peers()
	n.heard.Store(&heard{peers: hp, broken: n.ctl.hb.BrokenLinks(n.mono())})
	n.confirm(hp)
}

// noteLinks brings the broken links up to date.
func (n *Node) noteLinks(now cluster.Instant) {
	if now < n.ctl.linksAt {
		return
	}
	n.ctl.linksAt = now.Add(linksEvery)
	broken := n.ctl.hb.BrokenLinks(now)
	if h := n.heard.Load(); h != nil && !slices.Equal(h.broken, broken) {
		n.heard.Store(&heard{peers: h.peers, broken: broken})
	}
}

// confirm tells migration which members have committed the current View.
func (n *Node) confirm(peers []heartbeat.Peer) {
	v := n.ctl.ms.View()
	if v == nil || n.ctl.ms.Frozen() {
		return
	}
	for i := range peers {
		if peers[i].View != v.Key {
			continue
		}
		for _, ns := range n.namespaces {
			ns.Confirm(peers[i].Member.Node)
		}
	}
}

func (n *Node) carryOutHeartbeat(e *heartbeat.Effects) {
	for i := range e.Pulses {
		o := &e.Pulses[i]
		node := o.Node
		if node == 0 {
			node = seedID(o.Addr)
		}
		_ = n.ep.SendPulse(node, o.Addr, o.Pulse.Append(n.pulseBuf[:0])) // a refused port is reported by the endpoint
	}
	if e.Announce != nil {
		_ = n.multicast.Send(e.Announce.Append(n.pulseBuf[:0])) // counted; the next one follows within an interval
	}
	for _, ev := range e.Events {
		n.log.Info("heartbeat", "peer", ev.Node.String(), "event", ev.Kind.String(), "silence", ev.Silence.Round(time.Millisecond))
		switch ev.Kind {
		case heartbeat.Silent, heartbeat.Refused, heartbeat.Left, heartbeat.Restarted:
			n.mesh.Drop(ev.Node)
			n.sweepForwards(n.mono(), ev.Node)
			if ev.Kind == heartbeat.Restarted {
				n.mesh.Hurry(ev.Node)
			}
		case heartbeat.Appeared:
			n.mesh.Hurry(ev.Node)
		case heartbeat.Rivalled:
			n.log.Warn("another process uses this node's id: waiting until it is gone", "says", ev.Node.String())
		}
	}
	if e.DuplicateSelf != "" && n.problem.Load() == nil {
		text := "another node at " + e.DuplicateSelf + " uses the id " + n.id.String() + " and was there first: give this node another --node-id"
		n.problem.Store(&text)
		n.log.Error("duplicate node id", "other", e.DuplicateSelf)
		n.fail(text)
	}
}

// seedID keys the pulse socket of a seed whose node is not known yet, out of
// the way of real ids.
func seedID(addr string) cluster.NodeID {
	h := fnv.New64a()
	h.Write([]byte(addr))
	return cluster.NodeID(h.Sum64() | 1<<63)
}

// carryOutMembership keeps the order that membership.Effects prescribes:
// persist, tell heartbeat, publish, send.
func (n *Node) carryOutMembership(now cluster.Instant, e *membership.Effects) {
	if e.Persist != nil && !n.persist(e.Persist, e.Durable) {
		return // a promise that is not kept is not given
	}
	frozen := n.ctl.ms.Frozen()
	n.frozen.Store(frozen)
	n.ctl.hb.SetView(now, n.ctl.ms.View(), frozen)
	if frozen {
		n.lease.Store(0)
	}
	if e.Commit != nil {
		n.commit(e.Commit)
	}
	for i := range e.Send {
		s := &e.Send[i]
		err := n.mesh.Send(s.To, transport.ClassControl, func(b []byte) []byte {
			at := len(b)
			b = wire.AppendHeader(b, wire.Header{Kind: s.Msg.Kind()})
			b = s.Msg.Append(b)
			wire.PutLength(b, at)
			return b
		})
		if err != nil {
			n.log.Debug("membership message not sent", "to", s.To.String(), "kind", s.Msg.Kind(), "err", err)
		}
	}
}

// persist keeps the membership state for a later life; only what must be on
// the device before the effects that follow is waited for. It reports whether
// they may follow.
func (n *Node) persist(st *membership.State, durable bool) bool {
	m := &n.ctl.meta
	m.Promised, m.Accepted, m.History = st.Promised, st.Accepted, st.History
	if !st.View.Key.IsZero() {
		m.View = st.View
	}
	if n.cfg.DataDir == "" || !durable {
		return true
	}
	return n.untilStored(func() error { return storeMeta(n.cfg.DataDir, m) })
}

// Freeze implements membership.Host: everything that could change a partition
// version or acknowledge a write stops, then the versions are reported.
func (n *Node) Freeze(ballot cluster.ViewKey, members []cluster.Member) []byte {
	n.frozen.Store(true)
	n.lease.Store(0)
	n.ctl.hb.Freeze() // the fences that go with the report hold only if no pulse grants a lease from here on
	r := partition.MemberReport{History: n.ctl.ms.History()}
	r.Ages = n.ctl.left.ages(r.History)
	for _, ns := range n.namespaces {
		ns.noteLost()
		r.Namespaces = append(r.Namespaces, partition.NamespaceReport{Name: ns.cfg.Name, RF: ns.cfg.ReplicationFactor,
			Fresh: ns.cfg.MissingFresh, Revive: ns.reviving(n.mono()), Report: ns.Plane.Freeze(members)})
	}
	n.log.Debug("frozen", "ballot", ballot.String())
	return r.Append(nil)
}

// GrantedUntil implements membership.Host.
func (n *Node) GrantedUntil(node cluster.NodeID, inc cluster.Incarnation) cluster.Instant {
	return n.ctl.hb.GrantedUntil(node, inc)
}

// commit installs a View: every node computes the same plan from the same
// reports.
func (n *Node) commit(c *wire.Commit) {
	began := n.mono()
	v := c.View
	if v.Index(n.id) < 0 {
		return
	}
	reports := make([]*partition.MemberReport, len(v.Members))
	for i, p := range c.Payloads {
		r, err := partition.ParseMemberReport(p)
		if err != nil {
			n.log.Error("report does not parse, taken as empty", "member", v.Members[i].Node.String(), "err", err)
			r = &partition.MemberReport{}
		}
		reports[i] = r
	}
	n.committedMS.Store(0)
	n.ctl.left.leave(n.view.Swap(&v), n.ctl.ms.History())
	for _, ns := range n.namespaces {
		n.commitNamespace(ns, &v, reports)
	}
	n.committedMS.Store(time.Now().UnixMilli())
	n.noteHeard()
	n.mapChanged(true)
	n.log.Info("view committed", "view", v.String(), "took", n.mono().Sub(began).Round(10*time.Microsecond))
}

func (n *Node) commitNamespace(ns *namespace, v *cluster.View, members []*partition.MemberReport) {
	reports := make([]*partition.Report, len(members))
	for i, m := range members {
		r := m.Namespace(ns.cfg.Name)
		if r == nil {
			n.log.Error("member has no such namespace", "member", v.Members[i].Node.String(), "namespace", ns.cfg.Name)
			continue
		}
		reports[i] = r.Report
		if r.RF != ns.cfg.ReplicationFactor || r.Fresh != ns.cfg.MissingFresh {
			n.log.Error("members are configured differently; the first in succession order decides", "member", v.Members[i].Node.String(),
				"namespace", ns.cfg.Name, "replication_factor", r.RF, "ours", ns.cfg.ReplicationFactor, "missing_copies_fresh", r.Fresh, "ours", ns.cfg.MissingFresh)
		}
	}
	policy := partition.PolicyOf(members, ns.cfg.Name)
	table := partition.NewTable(v, policy.RF)
	plan := partition.NewPlanAfter(partition.AbsenceOf(members, partition.MaxAbsence), v, table, reports)
	plan.Revive = policy.Revive
	before := ns.Progress().Forgotten
	ns.Commit(n.mono(), &plane.Committed{View: v, Table: table, Plan: plan})
	n.keepView(ns)
	if dropped := ns.Progress().Forgotten - before; dropped > 0 {
		n.log.Warn("copies dropped: this node was away for too long to merge them", "namespace", ns.cfg.Name, "partitions", dropped, "limit", partition.MaxAbsence)
	}
	n.revived(ns, plan)
}

// renewLease publishes until when this node may answer. When the lease comes
// back, what was parked meanwhile runs at once.
func (n *Node) renewLease() {
	until := n.ctl.hb.LeaseUntil(n.ctl.ms.View())
	now := n.mono()
	if n.ctl.ms.Frozen() || n.problem.Load() != nil {
		until = 0
	}
	had := cluster.Instant(n.lease.Swap(int64(until)))
	if had > now || until <= now {
		return
	}
	for _, ns := range n.namespaces {
		ns.Tick()
	}
}

// pulse takes in a heartbeat datagram; the endpoint has checked its signature.
func (n *Node) pulse(payload []byte, from string) {
	p, err := wire.ParsePulse(payload)
	if err != nil {
		n.badPulses.Add(1)
		return
	}
	n.post(func(now cluster.Instant) { n.ctl.hb.Receive(now, p, from) })
}

// viewMessage takes in a membership message from an authenticated node.
func (n *Node) viewMessage(c *transport.Conn, h wire.Header, payload []byte) {
	m, err := wire.ParseViewMessage(h.Kind, slices.Clone(payload))
	if err != nil {
		c.Close(err)
		return
	}
	from := c.Peer().Node
	n.post(func(now cluster.Instant) { n.ctl.ms.Receive(now, from, m) })
}
