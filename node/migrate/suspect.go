package migrate

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/planted"
	"headroom/node/wire"
)

// noteUnequal marks, before v is taken on, the partitions whose copies may differ
// although they count as equal: their master is not in v, and a write that it had
// in flight may be on some of them only; or one of those who hold them says so.
// A master that stays runs its writes again by itself; that is too late if another
// serves and they were acknowledged.
func (c *Core) noteUnequal(v *cluster.View, plan *partition.Plan) {
	if planted.Is(planted.SurvivorsNotCompared) {
		return
	}
	lost := c.mastersLost(v.Members)
	for pid := range plan.Parts {
		next := &plan.Parts[pid]
		told := next.Unequal && next.InSync(c.report.Copies[pid])
		c.unsure[pid] = c.unsure[pid] || told || lost(pid) || c.cfg.CommitMaster && c.moves(pid, v.Members, next)
	}
}

// tellUnequal puts into our report for a View of members what noteUnequal would
// note of our own accord: those in sync with our copy may have another master, or
// be merged with others as one.
func (c *Core) tellUnequal(r *partition.Report, members []cluster.Member) {
	lost := c.mastersLost(members)
	for pid := range r.Copies {
		if r.Copies[pid].State == partition.Full && (c.unsure[pid] || lost(pid)) {
			r.Unequal[pid] = partition.Differ
		}
	}
}

// mastersLost tells of each partition that is served whether its master will be
// missing in a View of members.
func (c *Core) mastersLost(members []cluster.Member) func(pid int) bool {
	if c.self == partition.Nobody {
		return func(int) bool { return false }
	}
	gone := make([]bool, len(c.view.Members))
	for i, m := range c.view.Members {
		gone[i] = !slices.ContainsFunc(members, func(n cluster.Member) bool { return n.Node == m.Node && n.Inc == m.Inc })
	}
	return func(pid int) bool {
		part := &c.plan.Parts[pid]
		return part.Available && (gone[part.Master] || gone[part.Final]) // Final may serve already, without our knowledge
	}
}

// moves reports whether another member than the last master serves next.
func (c *Core) moves(pid int, members []cluster.Member, next *partition.Part) bool {
	if c.self == partition.Nobody || !c.plan.Parts[pid].Available {
		return false
	}
	return next.Master == partition.Nobody || members[next.Master].Node != c.view.Members[c.master[pid]].Node
}

// noteMerge marks our copy after the commit, as the hub begins to take in what
// duplicates hold: until it has told the others of it, those in sync with it are
// behind. One that is not complete is made equal by whoever fills it.
func (c *Core) noteMerge(pid int) {
	part := &c.plan.Parts[pid]
	full := c.report.Copies[pid].State == partition.Full && !part.Fresh // which is empty everywhere
	c.unsure[pid] = full && (c.unsure[pid] || len(part.Duplicates) > 0)
}

// Suspects are the members in sync with this node, the working master, whose
// copies may have records that ours lacks. They are absorbed before all
// duplicates and by version order alone, because theirs is the same line: what
// a merge is about to judge must be what this line holds. It is valid after
// Commit; txn asks them for the same reason, and in the same order.
func (c *Core) Suspects(pid int) []uint16 {
	if j := c.jobs[pid]; j != nil {
		return j.suspects
	}
	return nil
}

// suspects are those of the plan at hand.
func (c *Core) suspects(pid int) []uint16 {
	if !c.unsure[pid] {
		return nil
	}
	return inSync(&c.plan.Parts[pid])
}

// inSync are the members beside the master whose copies count as equal to its.
func inSync(part *partition.Part) []uint16 {
	return slices.DeleteFunc(slices.Clone(part.WriteSet), func(m uint16) bool {
		return m == part.Master || slices.Contains(part.Fill, m)
	})
}

// compares reports whether j absorbs suspects alone, which takes round trips and
// hardly any bytes.
func (j *job) compares() bool { return len(j.suspects) > 0 && len(j.part.Duplicates) == 0 }

// settles reports whether the copies in sync with j's hub may differ from it
// before it has filled them.
func (j *job) settles() bool { return len(j.suspects)+len(j.part.Duplicates) > 0 }

// absorbed takes the hub's word that it holds what our copy held, or, in sync
// with it, that all such copies are equal.
func (c *Core) absorbed(from uint16, m *wire.Migrate) bool {
	pid, part := int(m.Partition), &c.plan.Parts[m.Partition]
	switch {
	case slices.Contains(part.Duplicates, c.self) || slices.Contains(part.Represented, c.self):
		c.setCopy(pid, c.plan.CopyAbsorbed(pid, c.self, c.report.Copies[pid]))
	case slices.Contains(part.WriteSet, c.self):
		c.unsure[pid] = false
	default:
		return false
	}
	c.done(from, m)
	return true
}
