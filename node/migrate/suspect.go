package migrate

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/planted"
)

// noteLostMasters finds, before v is taken on, the partitions whose working
// master is not in it: a write that was in flight there may be in some of the
// Full copies and not in others, though they count as equal. A master that stays
// runs its writes again by itself.
func (c *Core) noteLostMasters(v *cluster.View) {
	if c.view == nil || planted.Is(planted.SurvivorsNotCompared) {
		return
	}
	lost := make([]bool, len(c.view.Members))
	for i, m := range c.view.Members {
		lost[i] = !v.Has(m.Node, m.Inc)
	}
	for pid, m := range c.master {
		if int(m) < len(lost) && lost[m] {
			c.unsure[pid] = true
		}
	}
}

// Suspects are the members in sync with this node, the working master, whose
// copies have to be compared with ours before they are equal for certain. Until
// then txn asks them as it asks duplicates. It is valid after Commit.
func (c *Core) Suspects(pid int) []uint16 {
	part := &c.plan.Parts[pid]
	if !c.unsure[pid] || !part.Available || part.Master != c.self {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(part.WriteSet), func(m uint16) bool {
		return m == c.self || slices.Contains(part.Fill, m)
	})
}

// sure forgets what was noted of a copy that is not complete: whoever fills it
// makes it equal to its own.
func (c *Core) sure(pid int) {
	if c.report.Copies[pid].State != partition.Full {
		c.unsure[pid] = false
	}
}
