package migrate

import (
	"slices"

	"headroom/node/partition"
	"headroom/node/wire"
)

// keep is a member that waits until this node's copy states are on its devices:
// the final master of a partition, which may be this node itself. Before that a
// power cut would take a copy back to what the devices say of it, and the copies
// that were dropped because it was Full would be missing.
type keep struct {
	from    uint16
	pid     uint16
	seq     uint32
	changes uint64 // that have to be kept
	drop    bool   // it waits until this node's copy, which is kept as none, is dropped
}

// Changes counts the changes of the copy states: take it with Copies, and give
// it to Kept when they are stored.
func (c *Core) Changes() uint64 { return c.changes }

// Kept tells that the copy states are stored, with what the copies held, as they
// were when Changes returned changes.
func (c *Core) Kept(changes uint64) {
	c.kept = max(c.kept, changes)
	if c.frozen || c.view == nil {
		return
	}
	waiting := c.keeps
	c.keeps = nil
	for i := range waiting {
		if k := &waiting[i]; k.changes <= c.kept {
			c.keptAnswer(k)
		} else {
			c.keeps = append(c.keeps, *k)
		}
	}
}

func (c *Core) isKept() bool { return !c.cfg.Keeps || c.kept >= c.changes }

// askKeep asks the replicas whether they have kept that they are Full.
func (c *Core) askKeep(j *job) {
	to := j.targets
	if c.isKept() {
		to = slices.DeleteFunc(slices.Clone(to), func(m uint16) bool { return m == c.self })
	}
	if len(to) == 0 {
		c.next(j)
		return
	}
	c.ask(j, to, &wire.Migrate{Step: wire.StepKeep})
}

// post sends a question of j; this node asks itself for Keep only.
func (c *Core) post(j *job, to uint16, m *wire.Migrate) {
	if to != c.self {
		c.send(to, j.pid, m)
		return
	}
	m.Partition = j.pid
	c.keep(to, m)
}

// keep answers as soon as it is kept that our copy is Full. There is one final
// master of each partition, which bounds who waits.
func (c *Core) keep(from uint16, m *wire.Migrate) bool {
	if k := c.report.Copies[m.Partition]; k.State != partition.Full || k.Key != c.view.Key {
		return false
	}
	k := keep{from: from, pid: m.Partition, seq: m.Seq, changes: c.changes}
	if c.isKept() {
		c.keptAnswer(&k)
		return true
	}
	c.out.Keep = true
	if i := slices.IndexFunc(c.keeps, func(x keep) bool { return x.pid == k.pid && !x.drop }); i >= 0 {
		c.keeps[i].seq = k.seq // asked again
	} else {
		c.keeps = append(c.keeps, k)
	}
	return true
}

// dropLater drops our copy when it is kept that there is none, and answers then.
// Until then it stays in the write set: were it found after a power cut by a
// node that had said it was gone, it would lack what was written since.
func (c *Core) dropLater(from uint16, m *wire.Migrate) {
	if i := slices.IndexFunc(c.keeps, func(x keep) bool { return x.drop && x.pid == m.Partition }); i >= 0 {
		c.keeps[i].seq = m.Seq // asked again
		return
	}
	c.changes++
	c.out.Keep = true
	c.keeps = append(c.keeps, keep{from: from, pid: m.Partition, seq: m.Seq, changes: c.changes, drop: true})
}

// EachLeaving calls f with each partition whose copy is dropped as soon as it is
// kept that there is none.
func (c *Core) EachLeaving(f func(pid int)) {
	for i := range c.keeps {
		if c.keeps[i].drop {
			f(int(c.keeps[i].pid))
		}
	}
}

func (c *Core) keptAnswer(k *keep) {
	if k.drop {
		c.drop(int(k.pid))
		c.send(k.from, k.pid, &wire.Migrate{Step: wire.StepDone, Answers: wire.StepAllDone, Seq: k.seq})
		return
	}
	m := &wire.Migrate{Step: wire.StepDone, Answers: wire.StepKeep, Seq: k.seq}
	if k.from == c.self {
		m.Partition = k.pid
		c.answered(k.from, m)
		return
	}
	c.send(k.from, k.pid, m)
}
