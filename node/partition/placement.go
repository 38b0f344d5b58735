package partition

import (
	"cmp"
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
// ripples little: see TestMovementStaysNearTheLeast for the measured overhead.
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
	refused refusals
}

// refusals are the sets of members that refused each partition, of as many
// words as the members need: 1,024 members' took 512 KiB of each Table.
type refusals struct {
	words int // per partition
	bits  []uint64
}

func newRefusals(members int) refusals {
	words := (members + 63) / 64
	return refusals{words: words, bits: make([]uint64, cluster.Partitions*words)}
}

func (r *refusals) has(p int, m uint16) bool { return r.bits[p*r.words+int(m>>6)]>>(m&63)&1 != 0 }
func (r *refusals) add(p int, m uint16)      { r.bits[p*r.words+int(m>>6)] |= 1 << (m & 63) }

func newPlacement(rank *ranking, rows []uint16, rf int) *placement {
	n := len(rank.members)
	pl := &placement{
		rank: rank, rows: rows, n: n, rf: rf, active: rank.active,
		racks: make([]int, n), share: make([]int, n), copies: make([]int, n),
		chosen:  make([]uint16, cluster.Partitions*rf),
		refused: newRefusals(n),
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

// setShares divides the copies evenly among the active members, except where
// the racks force a rack to more or bar it from as many: the others share what
// is left.
func (pl *placement) setShares() {
	fixed, left, members := pl.forcedRacks()
	for i, m := range pl.rank.members {
		if m.Quiesced {
			continue
		}
		if r := pl.racks[i]; fixed[r] != 0 {
			pl.share[i] = (fixed[r] + pl.sizes[r] - 1) / pl.sizes[r]
		} else {
			pl.share[i] = (left + members - 1) / members
		}
	}
}

// forcedRacks returns the copies of each rack that cannot have an even share,
// 0 for the others, and how many copies and members those others have. Racks
// that are off by more, on the one side or the other, settle first, until the
// rest can share evenly.
func (pl *placement) forcedRacks() (fixed []int, left, members int) {
	levels := len(pl.need)
	fixed, left, members = make([]int, len(pl.sizes)), cluster.Partitions*pl.rf, pl.active
	for {
		var over, under int // scaled by members
		for r, size := range pl.sizes {
			if fixed[r] == 0 {
				over += max(size*left-pl.rackMost(size, levels)*members, 0)
				under += max(pl.rackMost(size, levels-1)*members-size*left, 0)
			}
		}
		if over == 0 && under == 0 {
			return fixed, left, members
		}
		evenLeft, evenMembers := left, members
		for r, size := range pl.sizes {
			most, least := pl.rackMost(size, levels), pl.rackMost(size, levels-1)
			switch {
			case fixed[r] != 0:
				continue
			case over >= under && size*evenLeft > most*evenMembers:
				fixed[r] = most
			case over < under && size*evenLeft < least*evenMembers:
				fixed[r] = least
			default:
				continue
			}
			left, members = left-fixed[r], members-size
		}
	}
}

// rackMost is how many copies a rack of that many members holds if it takes
// each partition up to level times.
func (pl *placement) rackMost(size, level int) int { return min(size, level) * cluster.Partitions }

func (pl *placement) run() {
	for p := range cluster.Partitions {
		pl.choose(p)
	}
	pl.refuse()
	pl.level()
	newMasters(pl).run()
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
				if !forced && pl.refused.has(p, m) || slices.Contains(set, m) || pl.inRack(set, m) > level {
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

// refuseRounds bounds deferred acceptance. It ends before when fewer copies
// than half the members are above their share: the last free places lie at the
// end of long chains, and level finds them directly.
const refuseRounds = 32

// holding is one copy of a member, with what it loses by giving it up.
type holding struct {
	loss int64
	pid  int
}

// refuse lets every member with more than its share refuse the partitions
// that rank it lowest, until few are too many or the rounds are over.
func (pl *placement) refuse() {
	excess := make([]int, pl.n)
	lists := make([][]holding, pl.n)
	again := make([]int, 0, pl.n)
	for range refuseRounds {
		total := 0
		for m := range lists {
			excess[m] = max(pl.copies[m]-pl.share[m], 0)
			total += excess[m]
			lists[m] = lists[m][:0]
		}
		if total*2 < pl.active {
			return
		}
		for p := range cluster.Partitions {
			for _, m := range pl.replicas(p) {
				if excess[m] > 0 && !pl.refused.has(p, m) {
					lists[m] = keepLeast(lists[m], excess[m], holding{int64(pl.rank.score(p, m) &^ activeBit), p})
				}
			}
		}
		again = again[:0]
		for m, list := range lists {
			for _, h := range list {
				pl.refused.add(h.pid, uint16(m))
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

// keepLeast inserts h into list, sorted by loss, and keeps at most k.
func keepLeast(list []holding, k int, h holding) []holding {
	if len(list) == k {
		if h.loss >= list[k-1].loss {
			return list
		}
		list = list[:k-1]
	}
	at, _ := slices.BinarySearchFunc(list, h, func(a, b holding) int { return cmp.Compare(a.loss, b.loss) })
	return slices.Insert(list, at, h)
}

// level moves the single copies that deferred acceptance left over: members
// above their share shed, then the emptiest are fed, until two members differ
// by at most one or the racks allow no more. Each move lowers the sum of
// squared counts, so it ends; there is about one per member to do.
func (pl *placement) level() {
	for m := range pl.n {
		for pl.copies[m] > pl.share[m] && pl.shed(uint16(m)) {
		}
	}
	stuck := make([]bool, pl.n)
	for {
		to, most := -1, 0
		for m, c := range pl.copies {
			if pl.rank.members[m].Quiesced {
				continue
			}
			most = max(most, c)
			if !stuck[m] && (to < 0 || c < pl.copies[to]) {
				to = m
			}
		}
		if to < 0 || most-pl.copies[to] < 2 {
			return
		}
		stuck[to] = !pl.feed(uint16(to))
	}
}

// shed moves the copy that ranks from lowest to the best ranked member below
// its share. It reports whether there was one.
func (pl *placement) shed(from uint16) bool {
	best, least := move{pid: -1}, uint64(0)
	for p := range cluster.Partitions {
		score := pl.rank.score(p, from)
		if best.pid >= 0 && score >= least || !slices.Contains(pl.replicas(p), from) {
			continue
		}
		for _, to := range pl.rows[p*pl.n : p*pl.n+pl.active] {
			if mv := (move{p, from, to}); pl.copies[to] < pl.share[to] && pl.allowed(mv) {
				best, least = mv, score
				break
			}
		}
	}
	return pl.apply(best)
}

// feed moves a copy to the member to from one with at least two more: of the
// partition that ranks to highest. It reports whether there was one.
func (pl *placement) feed(to uint16) bool {
	best, most := move{pid: -1}, uint64(0)
	for p := range cluster.Partitions {
		score := pl.rank.score(p, to)
		if score <= most {
			continue
		}
		for _, from := range pl.replicas(p) {
			if mv := (move{p, from, to}); pl.copies[from]-pl.copies[to] >= 2 && pl.allowed(mv) {
				best, most = mv, score
			}
		}
	}
	return pl.apply(best)
}

// move replaces one replica of a partition by another member.
type move struct {
	pid      int
	from, to uint16
}

// allowed reports whether the move keeps the replicas distinct and breaks no
// rack rule.
func (pl *placement) allowed(mv move) bool {
	set := pl.replicas(mv.pid)
	return !slices.Contains(set, mv.to) &&
		(pl.racks[mv.from] == pl.racks[mv.to] || pl.inRack(set, mv.to) < pl.inRack(set, mv.from))
}

func (pl *placement) apply(mv move) bool {
	if mv.pid < 0 {
		return false
	}
	set := pl.replicas(mv.pid)
	set[slices.Index(set, mv.from)] = mv.to
	pl.copies[mv.from]--
	pl.copies[mv.to]++
	return true
}

// loss is how much lower p ranks to than from.
func (pl *placement) loss(p int, from, to uint16) int64 {
	return int64(pl.rank.score(p, from)&^activeBit) - int64(pl.rank.score(p, to)&^activeBit)
}

// arrange writes the chosen order back into the rows.
func (pl *placement) arrange() {
	rest := make([]uint16, 0, pl.n)
	for p := range cluster.Partitions {
		row, set := pl.rows[p*pl.n:(p+1)*pl.n], pl.replicas(p)
		if slices.Equal(row[:pl.rf], set) {
			continue
		}
		rest = rest[:0]
		for _, m := range row {
			if !slices.Contains(set, m) {
				rest = append(rest, m)
			}
		}
		copy(row[copy(row, set):], rest)
	}
}
