package sim

// Revive does what an operator's command of that name does: it is for the
// principal.
func (d *Data) Revive(n *Node) {
	if a, ok := n.App.(*app); ok && n.Up {
		d.W.record("revive", uint64(n.ID))
		d.W.logf("node%d is told to give up missing data", n.ID)
		a.revive = true
		n.Membership.Recluster(n.Now())
		n.pump()
	}
}

// revived is server's.
func (a *app) revived() {
	a.revive = false
	for _, s := range a.spaces {
		plan := s.Committed().Plan
		for pid := range plan.Parts {
			if plan.Revive && !plan.Parts[pid].Available {
				a.n.Membership.Recluster(a.n.Now())
				return
			}
		}
	}
}

// Unavailable is how many partitions nobody serves, as a node sees it.
func (d *Data) Unavailable(n *Node) int { return int(n.App.(*app).ownProgress().Unavailable) }

// Kept counts the keys that the masters of their partitions hold.
func (d *Data) Kept() (count int) {
	for _, k := range d.keys {
		for _, n := range d.W.Nodes {
			a, ok := n.App.(*app)
			if !ok || !n.Up || a.view == nil {
				continue
			}
			s := a.spaces[k.space]
			if i, ok := s.Master(k.pid()); !ok || a.view.Members[i].Node != n.ID {
				continue
			}
			if m, _, found := s.store.Get(&k.digest, nil); found && !m.Tombstone {
				count++
			}
			break
		}
	}
	return count
}
