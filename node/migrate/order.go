package migrate

import (
	"cmp"
	"slices"

	"headroom/node/partition"
)

// enqueue orders the jobs: fewest full copies first, because the next crash
// costs those, then those that end in a handoff, then the rest. Before any of
// them come the comparisons, see requeue.
func (c *Core) enqueue(jobs []*job) {
	slices.SortFunc(jobs, func(a, b *job) int {
		return cmp.Or(cmp.Compare(fullCopies(a.part), fullCopies(b.part)),
			cmp.Compare(b2i(a.part.Final == c.self), b2i(b.part.Final == c.self)), cmp.Compare(a.pid, b.pid))
	})
	c.ranks = len(jobs)
	for _, first := range []bool{true, false} {
		for i, j := range jobs {
			if j.compares() != first {
				continue
			}
			if j.order = i; !first {
				j.order += c.ranks
			}
			p := &c.peers[j.targets[0]]
			p.waiting = append(p.waiting, j)
		}
	}
}

// requeue lets j wait for its turn to fill. It was compared before all others
// are filled, which may take hours: each request asks until then.
func (c *Core) requeue(j *job) {
	c.deactivate(j)
	j.order += c.ranks
	p := &c.peers[j.targets[0]]
	at, _ := slices.BinarySearchFunc(p.waiting, j.order, func(a *job, order int) int { return cmp.Compare(a.order, order) })
	p.waiting = slices.Insert(p.waiting, at, j)
	c.busy = true
}

func fullCopies(p *partition.Part) int { return len(p.WriteSet) - len(p.Fill) }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// admit starts the most urgent waiting job for whose peer there is room, and
// returns its cost, zero if there is none.
func (c *Core) admit() int {
	if len(c.active) >= c.cfg.MaxActive {
		return 0
	}
	var best *peer
	for i := range c.peers {
		p := &c.peers[i]
		if len(p.waiting) > 0 && p.active < activePerPeer && (best == nil || p.waiting[0].order < best.waiting[0].order) {
			best = p
		}
	}
	if best == nil {
		return 0
	}
	j := best.waiting[0]
	best.waiting = best.waiting[1:]
	at, _ := slices.BinarySearchFunc(c.active, j.order, func(a *job, order int) int { return cmp.Compare(a.order, order) })
	c.active = slices.Insert(c.active, at, j)
	c.begin(j)
	return jobCost
}

// retire makes room for another job: only Keep and AllDone are left of j.
func (c *Core) retire(j *job) {
	c.deactivate(j)
	if !slices.Contains(c.ending, j) {
		c.ending = append(c.ending, j)
	}
}

func (c *Core) deactivate(j *job) {
	if i := slices.Index(c.active, j); i >= 0 {
		c.active = slices.Delete(c.active, i, i+1)
	}
}
