package sim

import (
	"time"

	"headroom/node/cluster"
	"headroom/node/disk"
	"headroom/node/record"
)

// damageView is server's: the least time between two Views wanted because of
// damaged records.
const damageView = time.Second

// Break makes one kind of operation of a node's device fail from now on, in all
// its namespaces.
func (n *Node) Break(slot int, kind disk.OpKind) {
	n.w.logf("node%d: %s of device%d fails from now on", n.ID, []string{"each read", "each write", "each sync"}[kind], slot)
	for _, s := range n.App.(*app).spaces {
		if s.vol != nil {
			s.vol.broken = map[string]disk.OpKind{s.vol.devices[slot].Info().Path: kind}
		}
	}
}

// failing decides whether an operation meets a broken device.
func (v *volume) failing(op disk.Op) disk.Fault {
	if kind, ok := v.broken[op.Path]; ok && kind == op.Kind {
		v.refused++
		return disk.Error
	}
	return disk.None
}

// deviceFailed is server's.
func (s *space) deviceFailed(slot int, err error) {
	switch {
	case s.vol.dying != 0:
		return
	case !s.a.d.cfg.Breaks:
		s.a.d.W.fail("node%d: a device is given up: %v", s.a.n.ID, err)
		return
	}
	s.a.d.W.logf("node%d: device%d is given up: %v", s.a.n.ID, slot, err)
	s.post(func() {
		s.vol.gate.Failed()
		s.lostSlots = append(s.lostSlots, slot)
		s.a.n.Membership.Want(s.a.n.Now())
	})
}

// recordDamaged is server's.
func (s *space) recordDamaged(d record.Digest) {
	pid := d.Partition()
	if !s.a.d.cfg.Breaks {
		s.a.d.W.fail("node%d: record %x is damaged", s.a.n.ID, d[:])
		return
	}
	s.a.d.W.logf("node%d: a record of partition %d is damaged", s.a.n.ID, pid)
	s.post(func() {
		c := s.Committed()
		if c == nil || len(c.Plan.Parts[pid].WriteSet) < 2 {
			return
		}
		s.doubtful = append(s.doubtful, pid)
		s.a.wantRepairs()
	})
}

// wantRepairs is server's.
func (a *app) wantRepairs() {
	now := a.n.Now()
	for _, s := range a.spaces {
		switch {
		case len(s.lostSlots)+len(s.doubtful) == 0:
		case now >= s.repairAt:
			s.repairAt = now.Add(damageView)
			a.n.Membership.Want(now)
		default:
			s.a.n.w.After(s.repairAt.Sub(now)+time.Millisecond, func() {
				if a.alive() {
					a.n.deliver(s, func() { a.wantRepairs(); a.n.settle() })
				}
			})
		}
	}
}

// wantComparisons is the part of server's wantRepairs that looks for copies that
// differ.
func (a *app) wantComparisons(now cluster.Instant) {
	for _, s := range a.spaces {
		if now >= s.repairAt && s.WantsComparison(s.refuses) {
			s.repairAt = now.Add(damageView)
			a.n.Membership.Want(now)
		}
	}
}

// refuses is server's.
func (s *space) refuses() bool { return s.store.Stats().StopWrites }

// post runs f on the node's control goroutine: an event of its own.
func (s *space) post(f func()) {
	n := s.a.n
	n.w.After(0, func() {
		if s.a.alive() {
			n.deliver(s, func() {
				f()
				n.settle()
			})
		}
	})
}

// noteLost is server's.
func (s *space) noteLost() {
	for _, slot := range s.lostSlots {
		s.Lose(s.store.Lost(slot), false)
	}
	s.lostSlots = nil
	s.Lose(s.doubtful, true)
	s.doubtful = nil
}
