package txn

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/planted"
	"headroom/node/wire"
)

// Freeze stops the shard: no write is acknowledged and no read answered until
// the next Commit. Call it before *accepted* is sent.
func (c *Core) Freeze() { c.frozen = true }

// Writing calls f with the partition of each write that this node has stored and
// that may not be on all other members yet, perhaps several times.
func (c *Core) Writing(f func(pid int)) {
	for _, o := range c.order {
		if o.applied && o.phase != ended && !planted.Is(planted.WritesInFlightNotTold) {
			f(o.req.Digest.Partition())
		}
	}
}

// Commit installs a View and this node's assignments in it, runs the writes
// in flight again on their new write sets, and then everything that waited.
// Partitions without an assignment are served by nobody known.
func (c *Core) Commit(now Now, v *cluster.View, list []Assignment) {
	c.view, c.tag, c.frozen = v, v.Key.Tag(), false
	clear(c.asked)
	clear(c.asking)
	c.parts = [cluster.Partitions]*part{}
	slab := make([]part, len(list))
	for i := range list {
		slab[i].Assignment = list[i]
		c.parts[list[i].Partition] = &slab[i]
	}
	running := slices.Clone(c.order)
	for _, o := range running {
		c.parked = append(c.parked, o.readers...) // this node may not serve the record any more
		o.readers = nil
		if o.phase != ended {
			if p := c.parts[o.req.Digest.Partition()]; p != nil {
				p.inflight++
			}
		}
	}
	c.readers = 0
	for _, o := range running {
		if o.phase != ended && (c.busy[o.req.Digest] == o || o.req.isRead()) {
			c.rerun(now, o)
		}
	}
	c.unpark(now)
	c.replay(now)
}

// rerun takes an op into a new View, or to a new master, under a new id: an
// answer that was given before, and is late, must not count.
func (c *Core) rerun(now Now, o *op) {
	if o.applied && planted.Is(planted.WritesNotRunAgain) {
		c.finish(now, o)
		return
	}
	c.stats.Rerun++
	c.abandon(o)
	delete(c.ops, o.id)
	c.nextID++
	o.id = c.nextID
	c.ops[o.id] = o
	p := c.parts[o.req.Digest.Partition()]
	switch {
	case o.phase == resolving && o.adopt:
		c.runOrRefuse(now, p, o)
	case o.phase == resolving && !o.applied: // begin again
		q := o.req.clone()
		c.end(now, o)
		c.Request(now, q) // which may be fenced
	case p == nil || p.Master == 0: // nobody to give it to before the next View
		o.await = o.await[:0]
		c.doubt(o)
	case p.Master != c.cfg.Self:
		o.phase, o.await, o.sent = handing, append(o.await[:0], p.Master), now.Mono
		c.ask(o)
	case p.asks() && !o.adopt:
		c.run(now, p, o) // the other side may have newer, acknowledged ones: they win
	default:
		c.replicateAgain(now, p, o)
	}
}

// doubt answers an applied write whose fate is not known. It goes on, so that
// the copies that count as equal become so.
func (c *Core) doubt(o *op) {
	if !o.replied {
		o.reply = wire.Reply{Status: wire.StatusInDoubt}
		c.stats.InDoubt++
		c.answer(o)
	}
}

func (c *Core) runOrRefuse(now Now, p *part, o *op) {
	if p == nil || p.Master != c.cfg.Self {
		o.reply = wire.Reply{Status: wire.StatusStaleView}
		c.finish(now, o)
		return
	}
	c.run(now, p, o)
}

// replicateAgain sends an applied write to the write set of the new View,
// under a version of that View: its old version may be older than what the
// other side of a merge holds for the record, and it has yet to be
// acknowledged.
func (c *Core) replicateAgain(now Now, p *part, o *op) {
	cur, ok := c.cfg.Store.Meta(&o.req.Digest)
	if ok && cur.Version.Newer(o.meta.Version) && !cur.Version.SameWrite(o.meta.Version) {
		o.reply = o.superseded()
		c.finish(now, o)
		return
	}
	was := o.meta.Version
	o.meta.Version = c.stamp(now, was)
	if ok {
		follow(&o.meta, cur)
	}
	if err := c.cfg.Store.Put(&o.req.Digest, o.meta, o.body); err != nil {
		o.await = append(o.await[:0], c.cfg.Self)
		c.giveUp(o)
		o.reply = wire.Reply{Status: wire.StatusInDoubt}
		c.finish(now, o)
		return
	}
	c.succeeds(&o.req.Digest, was)
	if ok && p.Doubt.Covers(cur.Version) {
		c.succeeds(&o.req.Digest, cur.Version)
	}
	c.replicate(now, p, o)
}

// replay handles the messages that were held for this View.
func (c *Core) replay(now Now) {
	todo := c.held
	c.held, c.heldBytes = nil, 0
	for i := range todo {
		h := &todo[i]
		c.Receive(now, h.from, h.kind, &h.rep, &h.res)
	}
}

// Drain stops a partition that is about to be handed over: new requests park,
// and Effects.Drained tells when the last write in flight has ended, which
// may be at once.
func (c *Core) Drain(pid int) {
	p := c.parts[pid]
	if p == nil || p.Master != c.cfg.Self {
		return
	}
	p.draining = true
	if p.inflight == 0 {
		c.out.Drained = append(c.out.Drained, pid)
	}
}

// Become makes this node the working master of a partition, or tells the
// working master that its replicas are all full: writeSet are the other
// members that get every write from now on. Those that will drop their copies
// are among them until they say that they have: a copy that reports itself
// Full at the next View change must have every write. Writes in flight no
// longer wait for members outside it.
func (c *Core) Become(now Now, pid int, writeSet []cluster.NodeID) {
	p := c.parts[pid]
	if p == nil {
		return
	}
	p.Master, p.WriteSet, p.Suspects, p.Duplicates, p.draining, p.Replica = c.cfg.Self, writeSet, nil, nil, false, true
	for _, o := range slices.Clone(c.order) {
		if o.req.Digest.Partition() != pid {
			continue
		}
		if o.phase == handing && !c.frozen { // to the master of a moment ago, which takes it no more
			c.rerun(now, o)
		}
		if o.phase != replicating {
			continue
		}
		o.await = slices.DeleteFunc(o.await, func(n cluster.NodeID) bool { return !slices.Contains(writeSet, n) })
		if len(o.await) == 0 && !c.frozen {
			c.finish(now, o)
		}
	}
	c.unpark(now)
}

// Dropped records that this node's copy is gone: it takes no more writes of
// the partition in this View, and tells a master that sends one.
func (c *Core) Dropped(pid int) {
	if p := c.parts[pid]; p != nil && p.Replica {
		p.Replica, p.dropped = false, true
	}
}

// Left records that member n has dropped its copy: it leaves the write set.
func (c *Core) Left(pid int, n cluster.NodeID) {
	if p := c.parts[pid]; p != nil && slices.Contains(p.WriteSet, n) {
		p.WriteSet = slices.DeleteFunc(slices.Clone(p.WriteSet), func(m cluster.NodeID) bool { return m == n })
	}
}

// SetMaster records that another node has become the working master; requests
// parked here for the partition go to it, and so do writes that the master of
// a moment ago did not take.
func (c *Core) SetMaster(now Now, pid int, n cluster.NodeID) {
	p := c.parts[pid]
	if p == nil || n == c.cfg.Self {
		return
	}
	p.Master, p.Suspects, p.Duplicates, p.draining = n, nil, nil, false
	for _, o := range slices.Clone(c.order) {
		if o.phase == handing && o.req.Digest.Partition() == pid && !c.frozen {
			c.rerun(now, o)
		}
	}
	c.unpark(now)
}

// Resolved records that the store now holds all that the partition's
// duplicates held; reads are answered from it again. Its descent says so, but
// for what doubt covers.
func (c *Core) Resolved(pid int, doubt *partition.Doubt) {
	if p := c.parts[pid]; p != nil {
		p.Suspects, p.Duplicates, p.Doubt = nil, nil, doubt
	}
}

// Deadline is when Tick has something to do: a coarse beat while anything is
// in flight or parked.
func (c *Core) Deadline(now cluster.Instant) cluster.Instant {
	if len(c.order) == 0 && len(c.parked) == 0 {
		return cluster.Never
	}
	return now.Add(ackRetry / 5)
}

// Tick repeats what has not been answered, ends what is overdue and tries the
// parked requests again if the lease is back.
func (c *Core) Tick(now Now) {
	kept := c.order[:0]
	for _, o := range c.order {
		if o.phase == ended {
			c.recycle(o)
			continue
		}
		kept = append(kept, o)
	}
	clear(c.order[len(kept):])
	c.order = kept
	for _, o := range slices.Clone(c.order) {
		c.tickOp(now, o)
	}
	if len(c.parked) > 0 {
		c.unpark(now)
	}
}

func (c *Core) tickOp(now Now, o *op) {
	if o.phase == ended || c.view == nil {
		return
	}
	c.expireWaiting(now, o)
	if now.Mono >= o.req.Deadline && (c.busy[o.req.Digest] == o || o.req.isRead()) && c.expireOp(now, o) {
		return
	}
	if !c.frozen && now.Mono.Sub(o.sent) >= ackRetry && len(o.await) > 0 {
		o.sent = now.Mono
		c.ask(o)
	}
}

// expireOp answers an op that is overdue, and reports whether it ends. A write
// that is applied goes on: its replicas count as equal to this copy.
func (c *Core) expireOp(now Now, o *op) (ends bool) {
	switch {
	case o.req.isRead():
		c.overdue(now, &o.req)
		c.end(now, o)
		return true
	case !o.applied:
		c.stats.Timeouts++
		o.reply = wire.Reply{Status: wire.StatusTimeout}
		c.finish(now, o)
		return true
	}
	c.doubt(o)
	dropped := planted.Is(planted.DoubtfulWriteDropped)
	if now.Mono.Sub(o.req.Deadline) < keepFor && len(c.ops) <= maxKept && !dropped {
		return false
	}
	if !dropped {
		c.giveUp(o)
	}
	c.finish(now, o)
	return true
}

// giveUp tells that copies that count as equal may differ by an op's write: a
// member had no room for it for so long.
func (c *Core) giveUp(o *op) {
	if planted.Is(planted.RefusedWriteForgotten) {
		return
	}
	if len(o.await) == 0 {
		o.await = append(o.await, c.cfg.Self)
	}
	c.stats.GivenUp++
	for _, n := range o.await {
		c.out.Lacking = append(c.out.Lacking, Lacking{o.req.Digest.Partition(), n})
	}
}

// recycle keeps an ended op's memory for the next one.
func (c *Core) recycle(o *op) {
	if len(c.free) < MaxQueue && cap(o.body) <= 64<<10 {
		c.free = append(c.free, o)
	}
}
