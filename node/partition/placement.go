package partition

import (
	"slices"

	"headroom/node/cluster"
)

// placement levels the ranked rows of one Table in place: it chooses the
// replicas of each partition among the active members, then the masters among
// the replicas, and reorders the rows: master, other replicas by rank, the
// rest by rank.
//
// Replicas are chosen by deferred acceptance: each partition takes the best
// members of its row; a member with more than its share refuses those that
// rank it lowest, which then take their next best. Who is refused depends
// on scores only, not on the order of partitions, so a change of membership
// ripples little: see TestMovement for the measured overhead.
type placement struct {
	rank   *ranking
	rows   []uint16
	n, rf  int // rf counts active members only
	active int
	racks  []int // dense rack number per member
	sizes  []int // active members per rack
	need   []int // need[l]: replicas that racks with up to l+1 copies each can take, at most rf
	share  []int // per member: copies it may hold before it refuses

	copies  []int    // per member
	chosen  []uint16 // rf per partition
	refused []refusal
}

// refusal is the set of members that refused one partition.
type refusal [cluster.MaxMembers / 64]uint64

func (r *refusal) has(m uint16) bool { return r[m>>6]>>(m&63)&1 != 0 }
func (r *refusal) add(m uint16)      { r[m>>6] |= 1 << (m & 63) }

func newPlacement(rank *ranking, rows []uint16, rf int) *placement {
	n := len(rank.members)
	pl := &placement{
		rank: rank, rows: rows, n: n, rf: rf, active: rank.active,
		racks: make([]int, n), share: make([]int, n), copies: make([]int, n),
		chosen:  make([]uint16, cluster.Partitions*rf),
		refused: make([]refusal, cluster.Partitions),
	}
	pl.numberRacks()
	for level := 1; len(pl.need) == 0 || pl.need[len(pl.need)-1] < rf; level++ {
		sum := 0
		for _, size := range pl.sizes {
			sum += min(size, level)
		}
		pl.need = append(pl.need, min(sum, rf))
	}
	pl.setShares()
	return pl
}

// numberRacks gives each named rack and each active member without one a
// number.
func (pl *placement) numberRacks() {
	names := make([]cluster.RackID, 0, pl.n)
	for i, m := range pl.rank.members {
		if m.Quiesced {
			continue
		}
		at := -1
		if m.Rack != 0 {
			at = slices.Index(names, m.Rack)
		}
		if at < 0 {
			at = len(names)
			names = append(names, m.Rack)
			pl.sizes = append(pl.sizes, 0)
		}
		pl.racks[i] = at
		pl.sizes[at]++
	}
}

// setShares divides the copies evenly among the active members, except that a
// rack cannot hold more than one copy of a partition (or as many as the racks
// force): what a small rack cannot take, the others share.
func (pl *placement) setShares() {
	limit := len(pl.need) * cluster.Partitions // copies one rack may hold
	left, members := cluster.Partitions*pl.rf, pl.active
	capped := make([]bool, len(pl.sizes))
	for again := true; again; {
		again = false
		for r, size := range pl.sizes {
			if most := min(limit, size*cluster.Partitions); !capped[r] && size*left > most*members {
				capped[r], again = true, true
				left, members = left-most, members-size
			}
		}
	}
	for i, m := range pl.rank.members {
		if m.Quiesced {
			continue
		}
		r := pl.racks[i]
		if size := pl.sizes[r]; capped[r] {
			pl.share[i] = (min(limit, size*cluster.Partitions) + size - 1) / size
		} else {
			pl.share[i] = (left + members - 1) / members
		}
	}
}

func (pl *placement) run() {
	for p := range cluster.Partitions {
		pl.choose(p)
	}
	pl.refuse()
	pl.level()
	pl.masters()
	pl.arrange()
}

func (pl *placement) replicas(p int) []uint16 { return pl.chosen[p*pl.rf : (p+1)*pl.rf] }

// choose takes the best rf active members of the row that did not refuse p,
// at most one per rack, then at most two, and so on; where refusals leave a
// rack level short, refusing members are taken after all: racks come first.
func (pl *placement) choose(p int) {
	set := pl.replicas(p)[:0]
	row := pl.rows[p*pl.n : p*pl.n+pl.active]
	for level, need := range pl.need {
		for _, forced := range [2]bool{false, true} {
			for _, m := range row {
				if len(set) == need {
					break
				}
				if !forced && pl.refused[p].has(m) || slices.Contains(set, m) || pl.inRack(set, m) > level {
					continue
				}
				set = append(set, m)
			}
		}
	}
	for _, m := range set {
		pl.copies[m]++
	}
}

// inRack counts the members of set in m's rack.
func (pl *placement) inRack(set []uint16, m uint16) int {
	n := 0
	for _, o := range set {
		if pl.racks[o] == pl.racks[m] {
			n++
		}
	}
	return n
}

// refuseRounds bounds deferred acceptance. The last few free places are found
// by long chains; level finds them directly.
const refuseRounds = 32

// refuse lets every member with more than its share refuse the partitions
// that rank it lowest, until none has or the rounds are over.
func (pl *placement) refuse() {
	type holding struct {
		score uint64
		pid   int
	}
	lists := make([][]holding, pl.n)
	for range refuseRounds {
		over := false
		for m := range lists {
			lists[m] = lists[m][:0]
			over = over || pl.copies[m] > pl.share[m]
		}
		if !over {
			return
		}
		for p := range cluster.Partitions {
			for _, m := range pl.replicas(p) {
				if pl.copies[m] > pl.share[m] && !pl.refused[p].has(m) {
					lists[m] = append(lists[m], holding{pl.rank.score(p, m), p})
				}
			}
		}
		var again []int
		for m, list := range lists {
			if len(list) == 0 {
				continue
			}
			slices.SortFunc(list, func(a, b holding) int {
				if a.score < b.score {
					return -1
				}
				return 1
			})
			for _, h := range list[:min(len(list), pl.copies[m]-pl.share[m])] {
				pl.refused[h.pid].add(uint16(m))
				again = append(again, h.pid)
			}
		}
		slices.Sort(again)
		for _, p := range slices.Compact(again) {
			for _, m := range pl.replicas(p) {
				pl.copies[m]--
			}
			pl.choose(p)
		}
	}
}

// level moves copies directly from the fullest to the emptiest members until
// they differ by at most one or the racks allow no more.
func (pl *placement) level() {
}

func (pl *placement) masters() {
}

// arrange writes the chosen order back into the rows.
func (pl *placement) arrange() {
	rest := make([]uint16, 0, pl.n)
	for p := range cluster.Partitions {
		row, set := pl.rows[p*pl.n:(p+1)*pl.n], pl.replicas(p)
		rest = rest[:0]
		for _, m := range row {
			if !slices.Contains(set, m) {
				rest = append(rest, m)
			}
		}
		copy(row[copy(row, set):], rest)
	}
}
