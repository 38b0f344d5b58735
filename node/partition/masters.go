package partition

import (
	"math"
	"slices"

	"headroom/node/cluster"
)

// masterSweeps bounds how often the members are gone through again after
// something moved. One sweep levels members in equal racks; what a second one
// still finds in odd rack layouts is a master or two.
const masterSweeps = 3

// masters levels the masters of a placement: which of a partition's replicas
// is the master moves no data. It starts from the best ranked replica and
// hands partitions along shortest paths from members with more masters to
// members with at least two fewer, each time the partition that loses least
// rank; when no such path is left no other choice is more even.
type masters struct {
	pl    *placement
	of    []uint16 // master of each partition
	held  [][]int  // partitions per master
	count []int    // masters per member

	seen  []bool
	via   []uint16 // the member before on the path
	what  []int    // the partition that the member before hands over
	loss  []int64
	queue []uint16
}

func newMasters(pl *placement) *masters {
	ms := &masters{
		pl: pl, of: make([]uint16, cluster.Partitions),
		held: make([][]int, pl.n), count: make([]int, pl.n),
		seen: make([]bool, pl.n), via: make([]uint16, pl.n), what: make([]int, pl.n), loss: make([]int64, pl.n),
	}
	for p := range cluster.Partitions {
		set := pl.replicas(p)
		slices.SortFunc(set, func(a, b uint16) int {
			if pl.loss(p, a, b) > 0 {
				return -1
			}
			return 1
		})
		ms.give(p, set[0])
	}
	return ms
}

func (ms *masters) give(p int, m uint16) {
	ms.of[p] = m
	ms.held[m] = append(ms.held[m], p)
	ms.count[m]++
}

func (ms *masters) take(p int, m uint16) {
	i := slices.Index(ms.held[m], p)
	last := len(ms.held[m]) - 1
	ms.held[m][i] = ms.held[m][last]
	ms.held[m] = ms.held[m][:last]
	ms.count[m]--
}

// run levels and puts each master first in its replica set.
func (ms *masters) run() {
	for moved, sweep := true, 0; moved && sweep < masterSweeps; sweep++ {
		moved = ms.sweep()
	}
	for p, m := range ms.of {
		set := ms.pl.replicas(p)
		i := slices.Index(set, m)
		copy(set[1:], set[:i])
		set[0] = m
	}
}

// sweep relieves the member with the most masters until its count cannot go
// down, then the next.
func (ms *masters) sweep() bool {
	moved := false
	done := make([]bool, ms.pl.n)
	for {
		from, least := -1, math.MaxInt
		for m, c := range ms.count {
			if ms.pl.rank.members[m].Quiesced {
				continue
			}
			least = min(least, c)
			if !done[m] && (from < 0 || c > ms.count[from]) {
				from = m
			}
		}
		if from < 0 || ms.count[from]-least < 2 {
			return moved
		}
		if ms.relieve(uint16(from)) {
			moved = true
		} else {
			done[from] = true
		}
	}
}

// relieve hands one master of from along the shortest path that ends at a
// member with at least two fewer, the one with the fewest at that length.
func (ms *masters) relieve(from uint16) bool {
	clear(ms.seen)
	ms.seen[from] = true
	ms.queue = append(ms.queue[:0], from)
	for begin := 0; begin < len(ms.queue); {
		end := len(ms.queue)
		for _, m := range ms.queue[begin:end] {
			ms.expand(m)
		}
		to := from
		for _, m := range ms.queue[end:] {
			if ms.count[m] <= ms.count[from]-2 && ms.count[m] < ms.count[to] {
				to = m
			}
		}
		if to != from {
			ms.hand(from, to)
			return true
		}
		begin = end
	}
	return false
}

// expand adds the members that m can hand a partition to and remembers the
// cheapest for each.
func (ms *masters) expand(m uint16) {
	first := len(ms.queue)
	for _, p := range ms.held[m] {
		for _, to := range ms.pl.replicas(p) {
			if ms.seen[to] && !slices.Contains(ms.queue[first:], to) {
				continue
			}
			loss := ms.pl.loss(p, m, to)
			if !ms.seen[to] {
				ms.seen[to] = true
				ms.queue = append(ms.queue, to)
			} else if loss >= ms.loss[to] {
				continue
			}
			ms.via[to], ms.what[to], ms.loss[to] = m, p, loss
		}
	}
}

// hand shifts one partition along every step of the path.
func (ms *masters) hand(from, to uint16) {
	for to != from {
		p, m := ms.what[to], ms.via[to]
		ms.take(p, m)
		ms.give(p, to)
		to = m
	}
}
