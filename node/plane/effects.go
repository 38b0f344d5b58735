package plane

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/migrate"
	"headroom/node/partition"
	"headroom/node/txn"
	"headroom/node/wire"
)

// TickMigration does one bounded slice of migration work (below 1 ms). It
// reports whether there is more to do at once, and when to call again if not.
func (p *Plane) TickMigration(now cluster.Instant) (busy bool, deadline cluster.Instant) {
	p.mig.mu.Lock()
	defer p.mig.mu.Unlock()
	for _, pid := range p.mig.takeDrained() {
		p.mig.core.Drained(now, pid)
	}
	p.mig.core.Tick(now)
	p.carryOutMigrationLocked()
	return p.mig.core.Busy(), p.mig.core.Deadline()
}

func (m *migrator) takeDrained() []int {
	m.drainMu.Lock()
	defer m.drainMu.Unlock()
	list := m.drained
	m.drained = nil
	return list
}

// Migrate takes in one message of a migration.
func (p *Plane) Migrate(now cluster.Instant, from cluster.NodeID, m *wire.Migrate) {
	p.mig.mu.Lock()
	p.mig.core.Receive(now, from, m)
	p.carryOutMigrationLocked()
	p.noteLeft(from, m)
	p.mig.mu.Unlock()
	p.host.Wake() // its deadline may have moved
}

// noteLeft takes a member that says that it has dropped its copy out of the
// write set, so that no write waits for it when it is gone a moment later.
func (p *Plane) noteLeft(from cluster.NodeID, m *wire.Migrate) {
	c, pid := p.plan.Load(), int(m.Partition)
	if m.Step == wire.StepDone && m.Answers == wire.StepAllDone && c != nil && m.View == c.View.Key && pid < cluster.Partitions {
		p.run(pid, func(core *txn.Core) { core.Left(pid, from) })
	}
}

// carryOutMigrationLocked does what the migration core asked for, in the order
// that its Effects prescribe. The migration's lock is held.
func (p *Plane) carryOutMigrationLocked() {
	out := p.mig.core.Take()
	for _, pid := range out.Resolved {
		doubt := p.mig.core.Copies().Lines[pid].Doubt()
		p.route(int(pid), func(core *txn.Core) { core.Resolved(int(pid), doubt) })
	}
	for _, m := range out.Master {
		p.newMaster(m)
	}
	for _, pid := range out.Dropped {
		p.dropped(int(pid))
	}
	for i := range out.Sends {
		p.host.SendMigrate(&out.Sends[i])
	}
	if out.Keep {
		p.host.Keep()
	}
	for _, pid := range out.Drain {
		p.route(int(pid), func(core *txn.Core) { core.Drain(int(pid)) })
	}
	p.readLocked(out.Reads)
}

// dropped tells a partition's transactions that its copy is gone, and removes
// what they stored between the drop and now. A View that came since may have made
// this node a holder again.
func (p *Plane) dropped(pid int) {
	p.route(pid, func(core *txn.Core) {
		if p.mig.core.Copies().Copies[pid].State == partition.None {
			core.Dropped(pid)
			p.store.Drop(pid)
		}
	})
}

// newMaster moves a partition's requests to the node that serves it now.
func (p *Plane) newMaster(m migrate.Mastership) {
	c := p.plan.Load()
	i := c.View.Index(m.Node)
	if i < 0 {
		return
	}
	pid := int(m.Partition)
	p.masters[pid].Store(uint32(i))
	p.route(pid, func(core *txn.Core) {
		if m.Node == p.self {
			core.Become(p.host.Now(), pid, writeSetWithout(c, pid, p.self))
		} else {
			core.SetMaster(p.host.Now(), pid, m.Node)
		}
	})
	p.host.MapChanged(false)
}

func (p *Plane) shardOf(pid int) int { return pid % len(p.shards) }

// run calls f on a partition's transaction core under its lock, and carries
// out the effects.
func (p *Plane) run(pid int, f func(core *txn.Core)) { p.runShard(p.shardOf(pid), f) }

func (p *Plane) runShard(index int, f func(core *txn.Core)) {
	sh := &p.shards[index]
	sh.mu.Lock()
	f(sh.core)
	p.carryOutLocked(index)
	sh.mu.Unlock()
}

// route is run for calls that change who serves a partition: it publishes the
// outcome to the readers.
func (p *Plane) route(pid int, f func(core *txn.Core)) {
	p.run(pid, func(core *txn.Core) {
		f(core)
		p.publishOneLocked(core, pid)
	})
}

// carryOutLocked does what the shard's core asked for; the shard's lock is
// held.
func (p *Plane) carryOutLocked(index int) {
	for p.carryOutOnceLocked(index) {
	}
}

// carryOutOnceLocked reports whether the core has effects again: that its
// devices are overloaded may end an op, and another one begins.
func (p *Plane) carryOutOnceLocked(index int) (again bool) {
	core := p.shards[index].core
	out := core.Take()
	if len(out.Executed) > 0 {
		p.stored(out.Executed)
	}
	late := slices.ContainsFunc(out.Replies, func(r txn.Reply) bool { return r.Read }) && p.leaseOver()
	for i := range out.Replies {
		r := &out.Replies[i]
		if r.Read && late {
			r.Reply = wire.Reply{Status: wire.StatusUnavailable} // the client asks again
		}
		p.host.Reply(r.To, &r.Reply)
	}
	for i := range out.Sends {
		p.host.SendTxn(p.frame(index, out.Sends[i].ID), &out.Sends[i])
	}
	for i := range out.Answers {
		p.host.Answer(&out.Answers[i])
	}
	for i := range out.Forwards {
		p.host.Forward(out.Forwards[i].To, out.Forwards[i].Req)
	}
	if len(out.Lacking) > 0 {
		p.unequal.note(out.Lacking)
	}
	if len(out.Drained) > 0 {
		p.mig.drainMu.Lock()
		p.mig.drained = append(p.mig.drained, out.Drained...)
		p.mig.drainMu.Unlock()
		p.host.Wake()
	}
	if len(out.Loads) == 0 {
		core.Reset()
		return false
	}
	loads := slices.Clone(out.Loads)
	core.Reset()
	return p.loadLocked(index, loads)
}

// stored marks the sampled requests whose record was just read or written. Of
// several that ran in one call each bears the time of all.
func (p *Plane) stored(list []*txn.Marks) {
	now := p.host.Now().Mono
	for _, m := range list {
		m.Stored = now
	}
}

// leaseOver reports whether the lease has ended by now, after the records were
// read: a node that was paused in between must not answer with what it held
// before.
func (p *Plane) leaseOver() bool {
	now := p.host.Now()
	return now.Mono >= now.Lease
}

// frame packs a transaction id with its namespace and shard, so that the
// answer finds its core.
func (p *Plane) frame(index int, id uint64) uint64 {
	return id<<16 | uint64(p.id)<<8 | uint64(index)
}

// FrameNamespace is the namespace that an answer with this frame id is for.
func FrameNamespace(frame uint64) uint8 { return uint8(frame >> 8) }
