package server

import (
	"fmt"
	"slices"
	"strings"

	"headroom/node/cluster"
	"headroom/node/partition"
)

// StatusBalance is how even the placement of a namespace is, once all
// migrations are done.
type StatusBalance struct {
	MasterSpread int `json:"master_spread"` // most minus fewest masters of a node that is not quiesced
	CopySpread   int `json:"copy_spread"`   // the same of copies
	// Racks counts the racks that copies can be spread over; a node without
	// one is a rack of its own.
	Racks int `json:"racks"`
	// Note says what keeps the placement from being even, or copies from
	// distinct racks; empty when nothing does.
	Note string `json:"note,omitempty"`
}

// evenMasters and evenCopies are the spreads that equal racks always allow.
const (
	evenMasters = 1
	evenCopies  = 2
)

func balanceOf(v *cluster.View, t *partition.Table) StatusBalance {
	b := t.Balance()
	s := StatusBalance{MasterSpread: b.MasterSpread, CopySpread: b.CopySpread}
	var named []string
	sizes := map[cluster.RackID]int{}
	active := 0
	for _, m := range v.Members {
		switch {
		case m.Quiesced:
			continue
		case m.Rack == 0:
			s.Racks++
		default:
			if sizes[m.Rack]++; sizes[m.Rack] == 1 {
				s.Racks++
			}
		}
		active++
	}
	for rack, n := range sizes {
		named = append(named, fmt.Sprintf("rack %d has %d", rack, n))
	}
	slices.Sort(named)
	switch copies := min(t.RF(), active); {
	case len(named) > 0 && s.Racks < copies:
		s.Note = fmt.Sprintf("%d racks for %d copies: copies share a rack", s.Racks, copies)
	case s.MasterSpread > evenMasters || s.CopySpread > evenCopies:
		s.Note = fmt.Sprintf("racks differ in size (%s of %d nodes): copies in distinct racks come before an even share", strings.Join(named, ", "), active)
	}
	return s
}
