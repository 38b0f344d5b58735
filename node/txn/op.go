package txn

import (
	"errors"
	"slices"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/planted"
	"headroom/node/record"
	"headroom/node/wire"
)

// phase is how far an op has come.
type phase uint8

const (
	resolving   phase = iota // asking the duplicates for the record, then the device; nothing applied
	replicating              // applied here, waiting for the write set
	handing                  // the new master has been given the applied write
	ended
)

// op is one request in flight: a write from its first step to its last
// acknowledgement, or a read that resolves duplicates first.
type op struct {
	id        uint64
	req       Request // Body is the op's own copy
	adopt     bool    // a write handed over by the former master: apply meta and body as they are
	phase     phase
	await     []cluster.NodeID // who has yet to answer
	sent      cluster.Instant
	began     cluster.Instant // of its first step
	meta      record.Meta     // replicating: the applied record
	body      []byte          //   and its body, reused between ops
	reply     wire.Reply
	applied   bool           // the store has it
	own       bool           //   under a version that this Core made for it
	upon      record.Version //   upon this one; zero: there was none
	replied   bool           // CommitMaster: the client has its answer, the replicas not yet the record
	acked     bool           //   which was StatusOK
	unsettled bool           // stored here, and may yet be lost: reads of the record wait
	readers   []*Request     //   here
	queue     []*Request     // later writes of the same record
	adopted   []*op          // later adoptions of the same record
	merging   bool           // resolving: the suspects have been asked, the duplicates are
	answers   []answer       //   what they said, if there are several
	losers    []answer       //   and which of that lost against what is here
	loading   bool           // resolving: the record is being read from its device
	loads     uint8          // how often
	loaded    *Record        // and what was read last; nil: nothing yet
}

// answer is the version of the record that a duplicate has.
type answer struct {
	sides   *partition.Sides
	version record.Version
	against record.Version // it lost against; of losers
}

// repeatable reports whether a client may send the write again without
// knowing whether it took effect.
func (o *op) repeatable() bool {
	return !o.req.CheckGen && o.req.Kind != wire.KindOperate
}

func (c *Core) newOp(q *Request) *op {
	var o *op
	if n := len(c.free); n > 0 {
		o, c.free = c.free[n-1], c.free[:n-1]
	} else {
		o = &op{}
	}
	c.nextID++
	kept := append(o.req.Body[:0], q.Body...)
	*o = op{id: c.nextID, req: *q, await: o.await[:0], body: o.body[:0]}
	o.req.Body = kept
	c.ops[o.id] = o
	c.order = append(c.order, o)
	if p := c.parts[q.Digest.Partition()]; p != nil {
		p.inflight++
	}
	return o
}

// run takes an op from its beginning, in the current View.
func (c *Core) run(now Now, p *part, o *op) {
	if o.began == 0 {
		o.began = now.Mono
	}
	o.phase, o.merging, o.answers, o.losers = resolving, len(p.Suspects) == 0, nil, nil
	switch {
	case !p.asks():
		c.execute(now, p, o)
		return
	case o.merging:
		c.askDuplicates(now, p, o)
	default:
		o.await, o.sent = append(o.await[:0], p.Suspects...), now.Mono
		c.ask(o)
	}
	c.stats.Resolves++
}

// askDuplicates asks what has to be merged: when the suspects have told what
// this line has, or has not been asked at all.
func (c *Core) askDuplicates(now Now, p *part, o *op) {
	o.merging, o.await, o.sent = true, o.await[:0], now.Mono
	for _, d := range p.Duplicates {
		o.await = append(o.await, d.Node)
	}
	c.ask(o)
}

// ask sends, or sends again, what the op waits for.
func (c *Core) ask(o *op) {
	for _, n := range o.await {
		s := Send{To: n, ID: o.id}
		switch o.phase {
		case resolving:
			s.Kind = wire.KindResolve
			s.Resolve = wire.Resolve{View: c.view.Key, Namespace: c.cfg.Namespace, Digest: o.req.Digest}
		case replicating, handing:
			s.Kind = wire.KindReplicate
			if o.phase == handing {
				s.Kind = wire.KindAdopt
			}
			s.Replicate = wire.Replicate{View: c.view.Key, Namespace: c.cfg.Namespace, Digest: o.req.Digest, Meta: o.meta, Body: o.body}
		}
		c.out.Sends = append(c.out.Sends, s)
	}
}

// execute applies the op to the store and starts its replication. Nothing of
// it is applied yet: if the lease ended while the duplicates were asked, it
// waits as it would have before.
func (c *Core) execute(now Now, p *part, o *op) {
	if o.applied && !o.adopt {
		c.replicateAgain(now, p, o)
		return
	}
	if !o.adopt && now.Mono >= now.Lease {
		q := o.req.clone()
		c.end(now, o)
		c.park(q)
		return
	}
	if o.req.isRead() {
		q := o.req
		q.kept = false // it is the op's memory
		if c.readLater(&q) {
			c.end(now, o)
		} else if r, ready := c.get(now, o); ready {
			c.found(now, &o.req, r)
			c.end(now, o)
		}
		return
	}
	if o.adopt {
		c.executeAdopted(now, p, o)
		return
	}
	before, ready := c.before(now, o)
	if !ready {
		return
	}
	c.stats.Writes++
	c.executed(now, &o.req)
	m, body, bins, changed, s := c.change(now, &o.req, before)
	o.reply = wire.Reply{Status: s, Generation: m.Generation, Expiry: m.Expiry, Bins: bins}
	if !changed {
		c.finish(now, o)
		return
	}
	if !m.Tombstone && c.stops(now, p) {
		c.stats.Stopped++
		o.reply = wire.Reply{Status: wire.StatusStopWrites}
		c.finish(now, o)
		return
	}
	c.unsettle(o)
	if err := c.cfg.Store.Put(&o.req.Digest, m, body); err != nil {
		o.reply = wire.Reply{Status: refused(err)}
		c.finish(now, o)
		return
	}
	if before.Found && p.Doubt.Covers(before.Meta.Version) {
		c.succeeds(&o.req.Digest, before.Meta.Version)
	}
	o.own, o.upon, o.meta, o.body = true, before.Meta.Version, m, append(o.body[:0], body...)
	c.replicate(now, p, o)
}

// succeeds tells that a version was written upon, not lost.
func (c *Core) succeeds(d *record.Digest, v record.Version) {
	if !planted.Is(planted.SuccessorNotTold) {
		c.noLoss(d, v, record.Version{})
	}
}

// abandon tells that this node has not acknowledged the version under which an op
// has stored its write, and will not, whatever becomes of the write: that goes on
// under another version, or ends in doubt, or its client sends it again. If the
// version loses a conflict, what is lost is what it was written upon.
func (c *Core) abandon(o *op) {
	if o.own && !o.acked && !planted.Is(planted.UnacknowledgedCounted) {
		c.noLoss(&o.req.Digest, o.meta.Version, o.upon)
	}
}

func (c *Core) noLoss(d *record.Digest, v, upon record.Version) {
	if c.cfg.NoLoss != nil {
		c.cfg.NoLoss(*d, v, upon)
	}
}

// executeAdopted applies a write that the former master had applied but not
// acknowledged, under a version of this View, so that nothing from before the
// View can win against it once it is acknowledged. If the record is newer
// here, the former master may have been away while its client sent the write
// again and others after it: then the newer record goes to all members, which
// replaces the write where it was applied, and the client is told to repeat.
func (c *Core) executeAdopted(now Now, p *part, o *op) {
	cur, ok := c.cfg.Store.Meta(&o.req.Digest)
	if ok && cur.Version.Newer(o.meta.Version) && !cur.Version.SameWrite(o.meta.Version) && !planted.Is(planted.AdoptedReplacesNewer) {
		newer, ready := c.get(now, o)
		if !ready {
			return
		}
		o.reply = wire.Reply{Status: wire.StatusNotMaster}
		if newer.Meta.Unreadable { // another holder has it, and the next View brings it
			o.reply.Status = wire.StatusInDoubt
			c.finish(now, o)
			return
		}
		o.meta, o.body = newer.Meta, append(o.body[:0], newer.Body...)
		c.replicate(now, p, o)
		return
	}
	c.stats.Adopted++
	o.reply = wire.Reply{Status: wire.StatusOK}
	was := o.meta.Version
	o.meta.Version = c.stamp(now, was)
	if ok {
		follow(&o.meta, cur)
	}
	c.unsettle(o)
	if err := c.cfg.Store.Put(&o.req.Digest, o.meta, o.req.Body); err != nil {
		o.reply.Status = refused(err)
		c.finish(now, o)
		return
	}
	c.succeeds(&o.req.Digest, was)
	if ok && p.Doubt.Covers(cur.Version) {
		c.succeeds(&o.req.Digest, cur.Version)
	}
	o.own, o.upon, o.body = true, was, append(o.body[:0], o.req.Body...)
	c.replicate(now, p, o)
}

// unsettle lets reads of the record wait from now on: the op is about to store
// what is not on every member yet.
func (c *Core) unsettle(o *op) {
	if !o.unsettled && !planted.Is(planted.UnsettledRead) {
		o.unsettled = true
		c.tellUnsettled(o, 1)
	}
}

// settle ends that: the record is on all members, or the op knows no more.
func (c *Core) settle(o *op) {
	if o.unsettled {
		o.unsettled = false
		c.tellUnsettled(o, -1)
	}
}

func (c *Core) tellUnsettled(o *op, by int32) {
	if c.cfg.Unsettled != nil {
		c.cfg.Unsettled(&o.req.Digest, by)
	}
}

// refused is the status of a write that the store did not take.
func refused(err error) wire.Status {
	var r interface{ Retryable() bool }
	if errors.As(err, &r) && r.Retryable() {
		return wire.StatusBusy
	}
	return wire.StatusStopWrites
}

// superseded ends an applied write whose record has moved on without it.
func (o *op) superseded() wire.Reply {
	if o.repeatable() {
		return wire.Reply{Status: wire.StatusNotMaster}
	}
	return wire.Reply{Status: wire.StatusInDoubt}
}

func (c *Core) replicate(now Now, p *part, o *op) {
	o.phase, o.applied, o.sent = replicating, true, now.Mono
	o.await = append(o.await[:0], p.WriteSet...)
	c.ask(o)
	if len(o.await) == 0 {
		c.finish(now, o)
	} else if (c.cfg.CommitMaster || planted.Is(planted.AckBeforeReplica)) && !o.replied {
		o.req.finished(now)
		c.answer(o) // it goes on until the replicas have it: they count as equal to this copy
		c.settle(o) // acknowledged: reads may tell of it
	}
}

// finish answers a write and lets the next one of its record begin.
func (c *Core) finish(now Now, o *op) {
	if !o.replied {
		o.req.finished(now)
		c.answer(o)
	}
	c.abandon(o)
	c.stats.Finished++
	c.stats.WriteTime += now.Mono.Sub(o.began)
	c.end(now, o)
}

func (c *Core) answer(o *op) {
	o.replied, o.acked = true, o.reply.Status == wire.StatusOK
	if o.adopt {
		c.out.Answers = append(c.out.Answers, Answer{To: o.req.From, Kind: wire.KindReplicated, Status: o.reply.Status})
		return
	}
	o.reply.Bins = c.keep(o.reply.Bins)
	c.out.Replies = append(c.out.Replies, Reply{To: o.req.From, Reply: o.reply})
}

// end forgets an op, answers the reads that waited for it and starts the next
// one queued behind it.
func (c *Core) end(now Now, o *op) {
	delete(c.ops, o.id)
	o.phase = ended
	c.settle(o)
	pid := o.req.Digest.Partition()
	if p := c.parts[pid]; p != nil {
		p.inflight--
		if p.inflight == 0 && p.draining {
			c.out.Drained = append(c.out.Drained, pid)
		}
	}
	if c.busy[o.req.Digest] != o {
		return
	}
	delete(c.busy, o.req.Digest)
	readers, queue, adopted := o.readers, o.queue, o.adopted
	o.readers, o.queue, o.adopted = nil, nil, nil
	c.readers -= len(readers)
	c.requestAll(now, readers)
	for _, a := range adopted {
		c.startAdopted(now, a)
	}
	c.requestAll(now, queue) // they queue again behind the first that starts
}

// requestAll executes requests that waited, but for those that waited too long.
func (c *Core) requestAll(now Now, list []*Request) {
	for _, q := range list {
		if !c.overdue(now, q) {
			c.Request(now, q)
		}
	}
}

// overdue ends a request that has not been executed by its deadline.
func (c *Core) overdue(now Now, q *Request) bool {
	if now.Mono < q.Deadline {
		return false
	}
	c.stats.Timeouts++
	c.reply(q.From, wire.StatusTimeout)
	return true
}

// expireWaiting ends what has waited behind o for too long.
func (c *Core) expireWaiting(now Now, o *op) {
	late := func(q *Request) bool { return c.overdue(now, q) }
	o.queue = slices.DeleteFunc(o.queue, late)
	before := len(o.readers)
	o.readers = slices.DeleteFunc(o.readers, late)
	c.readers -= before - len(o.readers)
}

// Receive handles a message of another node: KindReplicate, KindAdopt or
// KindResolve. Byte slices in it are copied if kept.
func (c *Core) Receive(now Now, from Origin, kind wire.Kind, rep *wire.Replicate, res *wire.Resolve) {
	key := res.View
	if kind != wire.KindResolve {
		key = rep.View
	}
	var mine cluster.ViewKey
	if c.view != nil {
		mine = c.view.Key
	}
	switch {
	case mine.Less(key) || c.frozen && key == mine:
		c.hold(from, kind, rep, res)
	case key != mine && !(kind == wire.KindReplicate && planted.Is(planted.StaleWriteApplied)):
		c.stale(from, kind)
	case kind == wire.KindReplicate:
		c.apply(now, from, rep)
	case kind == wire.KindAdopt:
		c.adopt(now, from, rep)
	default:
		c.answerResolve(from, res)
	}
}

// stale refuses a message of an older View; the sender runs it again in its
// next one.
func (c *Core) stale(from Origin, kind wire.Kind) {
	c.stats.Stale++
	a := Answer{To: from, Kind: wire.KindReplicated, Status: wire.StatusStaleView}
	if kind == wire.KindResolve {
		a.Kind, a.Resolved.Status = wire.KindResolved, wire.StatusStaleView
	}
	c.out.Answers = append(c.out.Answers, a)
}

func (c *Core) hold(from Origin, kind wire.Kind, rep *wire.Replicate, res *wire.Resolve) {
	if len(c.held) >= MaxHeld || c.heldBytes+len(rep.Body) > MaxWaiting {
		c.stats.Refused++
		c.stale(from, kind)
		return
	}
	h := held{from: from, kind: kind, res: *res, rep: *rep}
	h.rep.Body = slices.Clone(rep.Body)
	c.heldBytes += len(rep.Body)
	c.held = append(c.held, h)
}

// apply stores a replica of a write.
func (c *Core) apply(now Now, from Origin, m *wire.Replicate) {
	p := c.parts[m.Digest.Partition()]
	a := Answer{To: from, Kind: wire.KindReplicated}
	if p != nil && p.dropped {
		a.Status = wire.StatusNotFound // no copy is needed here any more
	} else if p == nil || !p.Replica {
		a.Status = wire.StatusStaleView
	} else if m.Meta.Tombstone && planted.Is(planted.TombstoneForgotten) {
		a.Status = wire.StatusOK
	} else if _, _, _, err := c.cfg.Store.PutNewer(&m.Digest, m.Meta, m.Body); err != nil {
		a.Status = refused(err)
	} else {
		c.stats.Replicas++
		_ = c.clock.Receive(m.Meta.Version.Stamp, now.WallMS) // too far ahead: stamp steps over it
	}
	c.out.Answers = append(c.out.Answers, a)
}

// adopt takes over a write from the former master of its partition.
func (c *Core) adopt(now Now, from Origin, m *wire.Replicate) {
	pid := m.Digest.Partition()
	p := c.parts[pid]
	if p == nil || p.Master != c.cfg.Self || p.draining {
		c.stale(from, wire.KindAdopt)
		return
	}
	o := c.newOp(&Request{Request: wire.Request{Namespace: m.Namespace, Digest: m.Digest, Body: m.Body},
		Kind: wire.KindPut, From: from, Deadline: now.Mono.Add(c.cfg.Deadline)})
	o.adopt, o.meta = true, m.Meta
	c.startAdopted(now, o)
}

func (c *Core) startAdopted(now Now, o *op) {
	p := c.parts[o.req.Digest.Partition()]
	if first := c.busy[o.req.Digest]; first != nil {
		first.adopted = append(first.adopted, o)
		return
	}
	c.busy[o.req.Digest] = o
	c.runOrRefuse(now, p, o)
}

// answerResolve tells a working master what this node's duplicate copy holds.
func (c *Core) answerResolve(from Origin, m *wire.Resolve) {
	meta, body, ok, ready := c.cfg.Store.GetNow(&m.Digest, c.body[:0])
	c.body = body[:0]
	if !ready {
		c.loadFor(from, m)
		return
	}
	c.tell(from, Record{meta, body, ok})
}

// tell answers a question about a duplicate with r.
func (c *Core) tell(to Origin, r Record) {
	a := Answer{To: to, Kind: wire.KindResolved}
	a.Resolved = wire.Resolved{Status: wire.StatusNotFound}
	if r.Found && r.Meta.Unreadable {
		a.Resolved.Status = wire.StatusStaleView // asked again until it can be read, or the View changes
	} else if r.Found {
		a.Resolved = wire.Resolved{Meta: r.Meta, Body: c.keep(r.Body)}
	}
	c.out.Answers = append(c.out.Answers, a)
}

// Replicated handles the answer of one member to KindReplicate or KindAdopt
// with the given id.
func (c *Core) Replicated(now Now, from cluster.NodeID, id uint64, s wire.Status) {
	o := c.ops[id]
	if o == nil || c.frozen || o.phase == resolving || s == wire.StatusStaleView || s == wire.StatusBusy {
		return // a device's queue is full there, of an older try, or the View is changing: Commit or Tick runs it again
	}
	i := slices.Index(o.await, from)
	if i < 0 {
		return
	}
	if s == wire.StatusNotMaster && o.phase == handing {
		o.reply = o.superseded()
	} else if s == wire.StatusNotFound && o.phase == replicating {
		c.Left(o.req.Digest.Partition(), from)
	} else if s != wire.StatusOK {
		// A member that ran out of room before its word that it would reached
		// this one: the caller is told, and the write goes on.
		c.noRoom[from] = now.Mono.Add(noRoomFor)
		c.doubt(o)
		return
	} else if len(c.noRoom) > 0 {
		delete(c.noRoom, from)
	}
	o.await = slices.Delete(o.await, i, i+1)
	if len(o.await) == 0 {
		c.finish(now, o)
	}
}

// ResolvedBy handles a duplicate's answer to KindResolve.
func (c *Core) ResolvedBy(now Now, from cluster.NodeID, id uint64, m *wire.Resolved) {
	o := c.ops[id]
	if o == nil || o.phase != resolving || m.Status == wire.StatusStaleView {
		return
	}
	i := slices.Index(o.await, from)
	p := c.parts[o.req.Digest.Partition()]
	if i < 0 || p == nil || c.frozen {
		return
	}
	if m.Status == wire.StatusOK && !c.merge(now, p, from, o, m) {
		return // asked again when our own record is here
	}
	o.await = slices.Delete(o.await, i, i+1)
	if len(o.await) == 0 && !o.merging && len(p.Duplicates) > 0 {
		c.askDuplicates(now, p, o)
	} else if len(o.await) == 0 {
		c.settleLosers(p, o)
		c.execute(now, p, o)
	}
}

// settleLosers counts the versions of duplicates that lost against what is here:
// not those that the writer of another duplicate's knew, from which what is here
// may have come. If the merge has ended meanwhile it has compared them all, and
// what is here now may have been written upon them.
func (c *Core) settleLosers(p *part, o *op) {
	if len(p.Duplicates) == 0 || len(o.losers) == 0 {
		o.answers, o.losers = nil, nil
		return
	}
	winners := slices.DeleteFunc(slices.Clone(o.answers), func(a answer) bool {
		return slices.ContainsFunc(o.losers, func(l answer) bool { return l.version.SameWrite(a.version) })
	})
	for _, l := range o.losers {
		if !slices.ContainsFunc(o.answers, l.knownTo) {
			c.discard(&o.req.Digest, l.version, func(v record.Version) bool {
				x := answer{sides: l.sides, version: v}
				return l.sides.Judge(l.against, v) == partition.Conflict && !slices.ContainsFunc(winners, x.knownTo)
			})
		}
	}
	o.answers, o.losers = nil, nil
}

// knownTo reports whether the writer of a's version knew l's.
func (l answer) knownTo(a answer) bool {
	return a.sides != l.sides && a.sides.Between(l.sides).Knew(a.version, l.version)
}

// merge takes a duplicate's record if it is newer. Of two versions written on
// the two sides of a split the one with the later stamp wins, whatever their
// regimes: it is lifted so that it wins everywhere (record.Meta.LiftFor). The
// other counts as discarded, unless there is no room: then migration settles it.
// False means that our record has to be loaded first.
func (c *Core) merge(now Now, p *part, from cluster.NodeID, o *op, m *wire.Resolved) bool {
	d := &o.req.Digest
	old, existed := c.cfg.Store.Meta(d)
	i := slices.IndexFunc(p.Duplicates, func(x Duplicate) bool { return x.Node == from })
	verdict := partition.Newer
	theirs := answer{version: m.Meta.Version}
	if i >= 0 {
		theirs.sides = p.Duplicates[i].Sides
	}
	if i >= 0 && len(p.Duplicates) > 1 {
		o.answers = append(o.answers, theirs)
	}
	if existed && i >= 0 {
		verdict = theirs.sides.Judge(old.Version, m.Meta.Version)
	}
	if verdict == partition.Newer {
		_, _, _, _ = c.cfg.Store.PutNewer(d, m.Meta, m.Body) // no room: migration brings it
		return true
	}
	winner, body, loser := m.Meta, m.Body, old.Version
	if old.Version.Later(m.Meta.Version) {
		winner, loser = old, m.Meta.Version
	}
	regime := winner.LiftFor(loser, verdict == partition.Conflict, c.view.Key.Counter)
	if winner.Version == old.Version && regime > old.Version.Regime {
		r, ready := c.get(now, o)
		if !ready || r.Meta.Version != old.Version {
			return false
		}
		winner, body = r.Meta, r.Body
		if winner.Unreadable && old.Version.Newer(loser) {
			regime = old.Version.Regime // it wins as it is, and cannot be marked
		}
	}
	winner.Lift(regime)
	if winner.Version != old.Version {
		if winner.Unreadable {
			return true
		}
		if applied, _, _, err := c.cfg.Store.PutNewer(d, winner, body); err != nil || !applied {
			return true
		}
	}
	switch {
	case verdict != partition.Conflict:
	case loser == m.Meta.Version:
		theirs.against = winner.Version
		o.losers = append(o.losers, theirs)
	default:
		c.discard(d, loser, func(w record.Version) bool { return theirs.sides.Judge(w, theirs.version) == partition.Conflict })
	}
	return true
}

// discard counts a version that lost a conflict; so tells whether one that it was
// written upon did, too.
func (c *Core) discard(d *record.Digest, loser record.Version, so func(record.Version) bool) {
	if c.cfg.Lost == nil || c.cfg.Lost(*d, loser, so) {
		c.stats.ConflictsDiscarded++
	}
}
