package plane

import (
	"slices"
	"sync"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/txn"
)

// unequal is what this node knows of copies that count as equal and may differ,
// because a member had no room for a write until that was given up. The next
// report tells of it, and the partition's hub compares. A View is wanted as soon
// as that can help.
type unequal struct {
	mu      sync.Mutex       // taken last: nothing is called under it
	lacking []txn.Lacking    // oldest first; each once since the last report
	told    int              // how many of them the last report was about
	stopped []cluster.NodeID // as in SetStopped
}

func (u *unequal) note(list []txn.Lacking) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range list {
		if !slices.Contains(u.lacking[u.told:], l) {
			u.lacking = append(u.lacking, l)
		}
	}
}

func (u *unequal) setStopped(nodes []cluster.NodeID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stopped = nodes
}

// tell puts all that is known into a report.
func (u *unequal) tell(r *partition.Report) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.told = len(u.lacking)
	for _, l := range u.lacking {
		r.Unequal[l.Partition] |= partition.Differ
	}
}

// committed forgets what the View's reports have told: migration remembers it.
func (u *unequal) committed() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lacking, u.told = slices.Clone(u.lacking[u.told:]), 0
}

// WantsComparison reports whether a View is wanted so that copies are compared:
// some may differ, and who lacks something takes writes again, as this node does
// unless it is full.
func (p *Plane) WantsComparison(full func() bool) bool {
	c, u := p.plan.Load(), &p.unequal
	u.mu.Lock()
	defer u.mu.Unlock()
	if c == nil || len(u.lacking) == 0 {
		return false
	}
	return !slices.ContainsFunc(u.lacking, func(l txn.Lacking) bool {
		return l.Node == p.self && full() || c.View.Index(l.Node) >= 0 && slices.Contains(u.stopped, l.Node)
	})
}
