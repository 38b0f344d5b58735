package sim

import (
	"headroom/node/cluster"
	"headroom/node/partition"
)

// owners prints who masters and who holds how many of all partitions, and how
// many partitions have two copies in one rack.
func (s *dataScript) owners() {
	for _, n := range s.d.W.Nodes {
		if !n.Up {
			continue
		}
		a := n.App.(*app)
		masters, copies := 0, 0
		a.spaces[0].Copies(func(r *partition.Report) {
			for pid, c := range r.Copies {
				if m, ok := a.spaces[0].Master(pid); ok && a.view.Members[m].Node == n.ID {
					masters++
				}
				if c.State != partition.None {
					copies++
				}
			}
		})
		s.log("node%d masters %d, holds %d", n.ID, masters, copies)
	}
	for _, n := range s.d.W.Nodes {
		if n.Up {
			s.log("%d partitions have two copies in one rack", shareRack(n.App.(*app)))
			return
		}
	}
}

func shareRack(a *app) (count int) {
	parts := &a.spaces[0].Committed().Plan.Parts
	for pid := range parts {
		seen := map[cluster.RackID]bool{}
		for _, m := range parts[pid].Replicas {
			r := a.view.Members[m].Rack
			if r != 0 && seen[r] {
				count++
				break
			}
			seen[r] = true
		}
	}
	return count
}
