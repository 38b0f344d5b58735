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
// in flight may be on some of them only. A master that stays runs its writes again
// by itself; that is too late if another serves and they were acknowledged.
func (c *Core) noteUnequal(v *cluster.View, plan *partition.Plan) {
	if c.self == partition.Nobody || planted.Is(planted.SurvivorsNotCompared) {
		return
	}
	now := make([]int, len(c.view.Members)) // their places in v
	for i, m := range c.view.Members {
		if now[i] = v.Index(m.Node); now[i] >= 0 && !v.Has(m.Node, m.Inc) {
			now[i] = -1
		}
	}
	for pid := range c.plan.Parts {
		part := &c.plan.Parts[pid]
		if !part.Available {
			continue
		}
		lost := now[part.Master] < 0 || now[part.Final] < 0 // Final may serve already, without our knowledge
		moved := c.cfg.CommitMaster && now[c.master[pid]] != int(plan.Parts[pid].Master)
		c.unsure[pid] = c.unsure[pid] || lost || moved
	}
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
