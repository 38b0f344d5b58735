package server

import (
	"context"
	"runtime"
	"time"

	"headroom/node/cluster"
	"headroom/node/migrate"
	"headroom/node/partition"
	"headroom/node/transport"
	"headroom/node/txn"
	"headroom/node/wire"
)

// migration runs a namespace's migration core until ctx ends. Each turn holds
// the lock for one bounded slice of work (below 1 ms), and yields between
// slices so that requests go first.
func (n *Node) migration(ctx context.Context, ns *namespace) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		ns.mig.mu.Lock()
		now := n.now()
		for _, pid := range ns.mig.takeDrained() {
			ns.mig.core.Drained(now.Mono, pid)
		}
		ns.mig.core.Tick(now.Mono)
		n.carryOutMigrationLocked(ns)
		busy, deadline := ns.mig.core.Busy(), ns.mig.core.Deadline()
		ns.mig.mu.Unlock()
		if busy {
			runtime.Gosched()
			continue
		}
		wait := time.Hour
		if deadline != cluster.Never {
			wait = max(deadline.Sub(n.now().Mono), time.Millisecond)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-ns.mig.wake:
		case <-timer.C:
		}
	}
}

func (m *migrator) takeDrained() []int {
	m.drainMu.Lock()
	defer m.drainMu.Unlock()
	list := m.drained
	m.drained = nil
	return list
}

// migrateFrame takes in one message of a migration. It runs on the bulk
// connection's reader, so a receiver that is slow to apply slows its sender.
func (n *Node) migrateFrame(c *transport.Conn, st *connState, payload []byte) {
	if err := st.migrate.Parse(payload); err != nil {
		c.Close(err)
		return
	}
	if int(st.migrate.Namespace) >= len(n.namespaces) {
		c.Close(badFrame(nil))
		return
	}
	ns := n.namespaces[st.migrate.Namespace]
	ns.mig.mu.Lock()
	ns.mig.core.Receive(n.now().Mono, c.Peer().Node, &st.migrate)
	n.carryOutMigrationLocked(ns)
	n.noteLeft(ns, c.Peer().Node, &st.migrate)
	ns.mig.mu.Unlock()
	ns.mig.kick() // its deadline may have moved
}

// noteLeft takes a member that says that it has dropped its copy out of the
// write set, so that no write waits for it when it is gone a moment later.
func (n *Node) noteLeft(ns *namespace, from cluster.NodeID, m *wire.Migrate) {
	com, pid := ns.plan.Load(), int(m.Partition)
	if m.Step == wire.StepDone && m.Answers == wire.StepAllDone && com != nil && m.View == com.view.Key && pid < cluster.Partitions {
		n.run(ns, pid, func(core *txn.Core) { core.Left(pid, from) })
	}
}

// carryOutMigrationLocked does what the migration core asked for, in the
// order its Effects prescribe. ns.mig.mu is held.
func (n *Node) carryOutMigrationLocked(ns *namespace) {
	out := ns.mig.core.Take()
	for _, pid := range out.Resolved {
		n.route(ns, int(pid), func(core *txn.Core) { core.Resolved(int(pid)) })
	}
	for _, m := range out.Master {
		n.newMaster(ns, m)
	}
	for _, pid := range out.Dropped {
		n.dropped(ns, int(pid))
	}
	for i := range out.Sends {
		n.sendMigrate(&out.Sends[i])
	}
	for _, pid := range out.Drain {
		n.route(ns, int(pid), func(core *txn.Core) { core.Drain(int(pid)) })
	}
}

// dropped tells a partition's transactions that its copy is gone, and removes
// what they stored between the drop and now.
func (n *Node) dropped(ns *namespace, pid int) {
	n.route(ns, pid, func(core *txn.Core) {
		core.Dropped(pid)
		if ns.mig.core.Copies().Copies[pid].State == partition.None {
			ns.store.Drop(pid)
		}
	})
}

// route is run for calls that change who serves a partition: it publishes the
// outcome to the readers.
func (n *Node) route(ns *namespace, pid int, f func(core *txn.Core)) {
	sh := ns.shardOf(pid)
	sh.mu.Lock()
	f(sh.core)
	ns.publishOneLocked(pid)
	n.carryOutLocked(ns, pid%shardCount)
	sh.mu.Unlock()
}

// newMaster moves a partition's requests to the node that serves it now.
func (n *Node) newMaster(ns *namespace, m migrate.Mastership) {
	com := ns.plan.Load()
	i := com.view.Index(m.Node)
	if i < 0 {
		return
	}
	pid := int(m.Partition)
	ns.masters[pid].Store(uint32(i))
	n.route(ns, pid, func(core *txn.Core) {
		if m.Node == n.id {
			core.Become(n.now(), pid, writeSetWithout(com, pid, n.id))
		} else {
			core.SetMaster(n.now(), pid, m.Node)
		}
	})
	n.mapChanged(false)
}

func (n *Node) sendMigrate(s *migrate.Send) {
	_ = n.mesh.Send(s.To, transport.ClassBulk, func(b []byte) []byte { // refused: the core repeats it
		at := len(b)
		b = wire.AppendHeader(b, wire.Header{Kind: wire.KindMigrate})
		b = s.Msg.Append(b)
		wire.PutLength(b, at)
		return b
	})
}

// sweepEvery is the beat on which shards repeat what was not answered and
// forwards expire.
const sweepEvery = 10 * time.Millisecond

// sweep ticks the transaction cores that have anything in flight.
func (n *Node) sweep(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	last := n.mono()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := n.mono()
		if late := now.Sub(last) - sweepEvery; int64(late) > n.beatLate.Load() {
			n.beatLate.Store(int64(late))
		}
		last = now
		for _, ns := range n.namespaces {
			for i := range ns.shards {
				sh := &ns.shards[i]
				sh.mu.Lock()
				if now := n.now(); sh.core.Deadline(now.Mono) != cluster.Never {
					sh.core.Tick(now)
					n.carryOutLocked(ns, i)
				}
				sh.mu.Unlock()
			}
		}
		n.sweepForwards(n.now().Mono, 0)
	}
}
