package partition

import (
	"math"
	"slices"

	"headroom/node/cluster"
)

// Table is the final placement of every partition for one View and one
// replication factor: where copies belong once all migrations are done. It is
// immutable; share it freely.
type Table struct {
	members []cluster.Member
	n, rf   int
	rows    []uint16 // cluster.Partitions rows of n member indexes
}

// MaxRanked bounds the members of a Table. It is more than a View may have
// (cluster.MaxMembers): planners compute tables of clusters that cannot form
// yet.
const MaxRanked = 1 << indexBits

// NewTable ranks the members of v for each partition by rendezvous hashing and
// levels the result: copies in distinct racks as far as the racks allow, copies
// and masters spread evenly within that, quiesced members last. rf is clamped
// to 1 … len(v.Members), which are at most MaxRanked. When every member is
// quiesced, none is: somebody has to serve.
func NewTable(v *cluster.View, rf int) *Table {
	n := len(v.Members)
	t := &Table{members: placed(v.Members), n: n, rf: min(max(rf, 1), n)}
	t.rows = make([]uint16, cluster.Partitions*n)
	if n == 0 {
		return t
	}
	r := newRanking(t.members)
	r.fill(t.rows)
	newPlacement(r, t.rows, min(t.rf, r.active)).run()
	return t
}

// placed returns the members as placement sees them.
func placed(members []cluster.Member) []cluster.Member {
	if slices.ContainsFunc(members, func(m cluster.Member) bool { return !m.Quiesced }) {
		return members
	}
	members = slices.Clone(members)
	for i := range members {
		members[i].Quiesced = false
	}
	return members
}

// RF is the number of replicas of every partition: the factor asked for, or
// the number of members if there are fewer.
func (t *Table) RF() int { return t.rf }

// Row ranks all members for partition p, best first: the first RF hold its
// replicas, Row[0] is the final master. The rest is the order in which members
// take over. The slice is read-only.
func (t *Table) Row(p int) []uint16 { return t.rows[p*t.n : (p+1)*t.n : (p+1)*t.n] }

// Replicas is Row cut to the replicas. The slice is read-only.
func (t *Table) Replicas(p int) []uint16 { return t.rows[p*t.n : p*t.n+t.rf : p*t.n+t.rf] }

// ranking scores members for partitions: a rendezvous hash, so that a member
// that comes or goes changes nothing in the order of the others.
type ranking struct {
	members []cluster.Member
	hashes  []uint64
	active  int // members that are not quiesced
}

func newRanking(members []cluster.Member) *ranking {
	r := &ranking{members: members, hashes: make([]uint64, len(members))}
	for i, m := range members {
		r.hashes[i] = mix(uint64(m.Node))
		if !m.Quiesced {
			r.active++
		}
	}
	return r
}

// mix is a bijection of 64 bits in which each input bit changes each output
// bit with probability 1/2 (the finaliser of SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const (
	indexBits = 10      // MaxRanked members fit
	activeBit = 1 << 63 // of a score: above every quiesced member
	indexMask = 1<<indexBits - 1
	// bucketBits are for up to 128 members, wideBits for more: 64 and 512
	// buckets, as all active members share the top bit.
	bucketBits = 7
	wideBits   = 10
)

// score ranks member m for partition p: greater is better, never equal for two
// members.
func (r *ranking) score(p int, m uint16) uint64 {
	s := mix(r.hashes[m]^uint64(p))>>1&^indexMask | uint64(m)
	if !r.members[m].Quiesced {
		s |= activeBit
	}
	return s
}

// fill writes every row in descending order of score.
func (r *ranking) fill(rows []uint16) {
	n := len(r.members)
	scores, sorted := make([]uint64, n), make([]uint64, n)
	for p := range cluster.Partitions {
		for m := range n {
			scores[m] = r.score(p, uint16(m))
		}
		sortDescending(scores, sorted)
		for i, s := range sorted {
			rows[p*n+i] = uint16(s & indexMask)
		}
	}
}

// sortDescending sorts src into dst. Scores are uniform, so dealing them into
// buckets by their top bits leaves next to nothing to the insertion sort:
// linear where a comparison sort of 128 members takes 20 ms for the table.
func sortDescending(src, dst []uint64) {
	switch n := len(src); {
	case n <= 16:
		copy(dst, src)
	case n <= 128:
		var at [1<<bucketBits + 1]uint16
		deal(src, dst, at[:], 64-bucketBits)
	default:
		var at [1<<wideBits + 1]uint16
		deal(src, dst, at[:], 64-wideBits)
	}
	for i := 1; i < len(dst); i++ {
		s, j := dst[i], i
		for ; j > 0 && dst[j-1] < s; j-- {
			dst[j] = dst[j-1]
		}
		dst[j] = s
	}
}

// deal writes src to dst in buckets of equal top bits, in descending order. at
// is zero, one longer than there are buckets.
func deal(src, dst []uint64, at []uint16, shift uint) {
	bucket := uint64(len(at) - 1)
	for _, s := range src {
		at[bucket-s>>shift]++
	}
	for i := 1; i < len(at); i++ {
		at[i] += at[i-1]
	}
	for _, s := range src {
		b := bucket - 1 - s>>shift
		dst[at[b]] = s
		at[b]++
	}
}

// Balance says how evenly a Table spreads over the members.
type Balance struct {
	Masters, Copies          []int // per member index
	MasterSpread, CopySpread int   // greatest minus least, over members that are not quiesced
}

// Balance counts masters and copies.
func (t *Table) Balance() Balance {
	b := Balance{Masters: make([]int, t.n), Copies: make([]int, t.n)}
	for p := range cluster.Partitions {
		for i, m := range t.Replicas(p) {
			b.Copies[m]++
			if i == 0 {
				b.Masters[m]++
			}
		}
	}
	b.MasterSpread, b.CopySpread = t.spread(b.Masters), t.spread(b.Copies)
	return b
}

func (t *Table) spread(counts []int) int {
	least, most := math.MaxInt, -1
	for m, c := range counts {
		if !t.members[m].Quiesced {
			least, most = min(least, c), max(most, c)
		}
	}
	return max(most-least, 0)
}

// Movement is what a change of placement moves.
type Movement struct {
	Copies  int // replicas on members that did not have them
	Least   int // the same for the placement with the same counts per member that moves least
	Masters int // partitions whose final master is another node
}

// Moves compares two placements of the same namespace. Members are matched by
// NodeID.
func Moves(from, to *Table) Movement {
	var mv Movement
	index := make([]int, to.n) // of to's members in from
	old := &cluster.View{Members: from.members}
	before, after := from.Balance(), to.Balance()
	for m := range index {
		index[m] = old.Index(to.members[m].Node)
		had := 0
		if index[m] >= 0 {
			had = before.Copies[index[m]]
		}
		mv.Least += max(after.Copies[m]-had, 0)
	}
	for p := range cluster.Partitions {
		held := from.Replicas(p)
		for i, m := range to.Replicas(p) {
			was := -1
			for j, h := range held {
				if int(h) == index[m] {
					was = j
				}
			}
			if was < 0 {
				mv.Copies++
			}
			if i == 0 && was != 0 {
				mv.Masters++
			}
		}
	}
	return mv
}
