package plane

import (
	"headroom/node/cluster"
	"headroom/node/migrate"
	"headroom/node/partition"
	"headroom/node/txn"
	"headroom/node/wire"
)

// Freeze stops everything that could change a partition version or
// acknowledge a write, and returns the versions as they stay until Commit, for a
// View of members.
func (p *Plane) Freeze(members []cluster.Member) *partition.Report {
	p.mig.mu.Lock()
	defer p.mig.mu.Unlock()
	var writing []int
	for i := range p.shards {
		sh := &p.shards[i]
		sh.mu.Lock()
		sh.core.Freeze()
		sh.core.Writing(func(pid int) { writing = append(writing, pid) })
		p.publishLocked(i)
		sh.mu.Unlock()
	}
	r := p.mig.core.Freeze(members)
	for _, pid := range writing {
		r.Unequal[pid] |= partition.Writing
	}
	p.unequal.tell(r)
	return r
}

// Commit installs a View: migration first, which tells the shards' windows of
// conflict, then the shards, then what migration asks for.
func (p *Plane) Commit(now cluster.Instant, c *Committed) {
	self := c.View.Index(p.self)
	if self < 0 {
		return
	}
	p.mig.mu.Lock()
	p.plan.Store(c)
	for pid := range c.Plan.Parts {
		m := uint32(wire.NoMaster)
		if c.Plan.Parts[pid].Available {
			m = uint32(c.Plan.Parts[pid].Master)
		}
		p.masters[pid].Store(m)
	}
	p.unequal.committed()
	p.mig.core.Commit(now, c.View, c.Plan)
	for i := range p.shards {
		sh := &p.shards[i]
		list := p.assignments(c, i, uint16(self))
		sh.mu.Lock()
		sh.core.Commit(p.host.Now(), c.View, list)
		p.publishLocked(i)
		p.carryOutLocked(i)
		sh.mu.Unlock()
	}
	p.mig.takeDrained() // of the View before: here nothing has been drained yet
	p.carryOutMigrationLocked()
	p.mig.mu.Unlock()
	p.host.Wake()
}

// Confirm tells migration that a member has committed the current View, and
// carries out what that asks for.
func (p *Plane) Confirm(m cluster.NodeID) {
	p.mig.mu.Lock()
	defer p.mig.mu.Unlock()
	if p.mig.core.Confirm(m) {
		p.carryOutMigrationLocked()
	}
}

// assignments are this node's parts in a plan, for one shard; migration has
// committed the plan already.
func (p *Plane) assignments(c *Committed, index int, self uint16) []txn.Assignment {
	list := make([]txn.Assignment, 0, cluster.Partitions/len(p.shards)+1)
	members := c.View.Members
	doubts := doubts{}
	for pid := index; pid < cluster.Partitions; pid += len(p.shards) {
		part := &c.Plan.Parts[pid]
		a := txn.Assignment{Partition: pid}
		if part.Available {
			a.Master = members[part.Master].Node
			for _, m := range part.WriteSet {
				if m == self {
					a.Replica = true
				} else if part.Master == self {
					a.WriteSet = append(a.WriteSet, members[m].Node)
				}
			}
			if part.Master == self {
				a.Duplicates = duplicates(c.View, pid, part, p.mig.core)
				a.Doubt = doubts.of(p.mig.core.Copies().Lines[pid])
				for _, m := range p.mig.core.Suspects(pid) {
					a.Suspects = append(a.Suspects, members[m].Node)
				}
			}
		}
		list = append(list, a)
	}
	return list
}

// doubts remembers what was asked: thousands of copies have a few lines.
type doubts map[partition.Line]*partition.Doubt

func (d doubts) of(l partition.Line) *partition.Doubt {
	x, ok := d[l]
	if !ok {
		x = l.Doubt()
		d[l] = x
	}
	return x
}

func duplicates(v *cluster.View, pid int, part *partition.Part, mig *migrate.Core) []txn.Duplicate {
	var list []txn.Duplicate
	for i, m := range part.Duplicates {
		list = append(list, txn.Duplicate{Node: v.Members[m].Node, Sides: mig.Sides(pid, i)})
	}
	return list
}

// writeSetWithout lists the nodes of a partition's write set but one. It holds
// for the whole View: a holder outside the replica set leaves by saying that
// it has dropped its copy.
func writeSetWithout(c *Committed, pid int, self cluster.NodeID) []cluster.NodeID {
	var list []cluster.NodeID
	for _, m := range c.Plan.Parts[pid].WriteSet {
		if n := c.View.Members[m].Node; n != self {
			list = append(list, n)
		}
	}
	return list
}

// publishLocked makes a shard's decisions visible to readers without the lock.
// The shard's lock is held.
func (p *Plane) publishLocked(index int) {
	core := p.shards[index].core
	for pid := index; pid < cluster.Partitions; pid += len(p.shards) {
		p.publishOneLocked(core, pid)
	}
}

func (p *Plane) publishOneLocked(core *txn.Core, pid int) {
	next := (p.routes[pid].Load()>>1 + 1) << 1
	if core.Serves(pid) {
		next |= 1
	}
	p.routes[pid].Store(next)
}
