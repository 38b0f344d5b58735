package migrate

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/planted"
	"headroom/node/wire"
)

// noteLost marks, before v is taken on, the partitions whose master is not in
// it: a write that it had in flight may be on some of the copies that count as
// equal and not on others. A master that stays runs its writes again by itself.
func (c *Core) noteLost(v *cluster.View) {
	if c.view == nil || planted.Is(planted.SurvivorsNotCompared) {
		return
	}
	lost := make([]bool, len(c.view.Members))
	for i, m := range c.view.Members {
		lost[i] = !v.Has(m.Node, m.Inc)
	}
	for pid := range c.plan.Parts {
		part := &c.plan.Parts[pid] // Final may serve already, without our knowledge
		if part.Available && (lost[part.Master] || lost[part.Final]) {
			c.unsure[pid] = true
		}
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
