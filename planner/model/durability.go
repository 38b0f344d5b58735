package model

import (
	"math"
	"math/rand/v2"
)

// HoursPerYear is 365.25 days.
const HoursPerYear = 8766

// Repairs says whether failed copies are restored side by side or one after
// the other.
type Repairs bool

// The two ways of repair.
const (
	Parallel Repairs = false
	Serial   Repairs = true
)

// ReplicaMTTDL is the mean time until all r copies of one partition are gone,
// in the unit of mttf and mttr: a birth-death chain, exact.
func ReplicaMTTDL(r int, mttf, mttr float64, repairs Repairs) float64 {
	lambda, mu := 1/mttf, 1/mttr
	// T[k]: mean time from k live copies to k-1.
	next, sum := 1/(float64(r)*lambda), 1/(float64(r)*lambda)
	for k := r - 1; k >= 1; k-- {
		rate := mu
		if repairs == Parallel {
			rate = float64(r-k) * mu
		}
		next = 1/(float64(k)*lambda) + rate/(float64(k)*lambda)*next
		sum += next
	}
	return sum
}

// Cluster describes a cluster for its durability.
type Cluster struct {
	Nodes, Copies int
	MTTF, MTTR    float64 // of a node, in one unit; MTTR until its copies exist again
	// Survives[f] is the probability that the loss of f random nodes loses no
	// partition, zero beyond its end: see Survival and RandomSurvival.
	Survives []float64
}

// MTTDL is the mean time until the first partition is lost, in the unit of
// MTTF. Failed nodes are repaired side by side.
//
// The chain counts failed nodes. It is solved from the top by the probability
// of reaching loss before one node fewer has failed, a sum of positive terms:
// elimination by expected times subtracts numbers that agree in all digits
// when losses are rare.
func (c Cluster) MTTDL() float64 {
	lambda, mu := 1/c.MTTF, 1/c.MTTR
	escape, stay := 0.0, 0.0 // from f+1: probability of loss before f; mean time until loss or f
	top := c.Copies          // the first number of losses that certainly loses data
	for top < c.Nodes && c.survives(top) > 0 {
		top++
	}
	for f := top - 1; f >= 1; f-- {
		fail, loss := float64(c.Nodes-f)*lambda, c.lossAt(f+1)
		on := fail * (1 - loss)
		leave := fail*loss + on*escape + float64(f)*mu
		escape, stay = (fail*loss+on*escape)/leave, (1+on*stay)/leave
	}
	loss := c.lossAt(1)
	return (1/(float64(c.Nodes)*lambda) + (1-loss)*stay) / (loss + (1-loss)*escape)
}

// lossAt is the probability that the f-th loss loses data, given that f-1 did
// not.
func (c Cluster) lossAt(f int) float64 {
	before, after := c.survives(f-1), c.survives(f)
	if before <= 0 {
		return 1
	}
	return min(max(1-after/before, 0), 1)
}

func (c Cluster) survives(f int) float64 {
	switch {
	case f < c.Copies:
		return 1
	case f >= c.Nodes:
		return 0
	case f < len(c.Survives):
		return c.Survives[f]
	}
	return 0
}

// RandomSurvival is the probability that the loss of f = 0 … of n nodes loses
// none of so many partitions whose copies lie on random nodes, as far as it is
// above 1e-12.
func RandomSurvival(n, copies, partitions int) []float64 {
	var list []float64
	for f := 0; f < n; f++ {
		p := math.Pow(1-Choose(f, copies)/Choose(n, copies), float64(partitions))
		if p < 1e-12 {
			break
		}
		list = append(list, p)
	}
	return list
}

// Choose is the number of ways to take k of n, as a float.
func Choose(n, k int) float64 {
	if k < 0 || k > n {
		return 0
	}
	v := 1.0
	for i := 1; i <= k; i++ {
		v = v * float64(n-k+i) / float64(i)
	}
	return v
}

// LossAtOnce is the probability that a partition has all its copies on failed
// nodes when each of n nodes is down with probability p, independently, and
// partitions have r copies at random (Kleppmann).
func LossAtOnce(n, r, partitions int, p float64) float64 {
	sum := 0.0
	for f := r; f <= n; f++ {
		lg := lchoose(n, f) + float64(f)*math.Log(p) + float64(n-f)*math.Log1p(-p)
		share := math.Exp(lchoose(f, r) - lchoose(n, r))
		miss := -math.Expm1(float64(partitions) * math.Log1p(-min(share, 1-1e-16)))
		if share >= 1 {
			miss = 1
		}
		sum += math.Exp(lg) * miss
	}
	return sum
}

func lchoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// Bounds of Survival: sets of failed nodes are all tried up to survivalSets,
// else survivalDraws are drawn. Only losses beyond the number of copies need
// either; they weigh a repair time over a lifetime less than the first.
const (
	survivalSets  = 2_000
	survivalDraws = 500
)

// Survival returns, for f = 0 … most, the share of the sets of f of n nodes
// whose loss leaves every replica set with a survivor. sets are the distinct
// replica sets, all of one size. Up to that size the share is exact.
func Survival(n int, sets [][]uint16, most int, seed uint64) []float64 {
	s := make([]float64, most+1)
	dead := make([]bool, n)
	rng := rand.New(rand.NewPCG(seed, 0x5e75))
	copies := n + 1
	if len(sets) > 0 {
		copies = len(sets[0])
	}
	for f := range s {
		switch {
		case f < copies:
			s[f] = 1
		case f == copies:
			s[f] = max(1-float64(len(sets))/Choose(n, copies), 0)
		case Choose(n, f) <= survivalSets:
			s[f] = surviveAll(n, f, sets, dead)
		default:
			s[f] = surviveDrawn(n, f, sets, dead, rng)
		}
		if s[f] < 1e-12 {
			s[f] = 0
			break
		}
	}
	return s
}

func surviveAll(n, f int, sets [][]uint16, dead []bool) float64 {
	pick := make([]int, f)
	for i := range pick {
		pick[i] = i
	}
	good, total := 0, 0
	for {
		clear(dead)
		for _, i := range pick {
			dead[i] = true
		}
		total++
		if !anyLost(sets, dead) {
			good++
		}
		i := f - 1
		for i >= 0 && pick[i] == n-f+i {
			i--
		}
		if i < 0 {
			return float64(good) / float64(total)
		}
		pick[i]++
		for j := i + 1; j < f; j++ {
			pick[j] = pick[j-1] + 1
		}
	}
}

func surviveDrawn(n, f int, sets [][]uint16, dead []bool, rng *rand.Rand) float64 {
	good := 0
	for range survivalDraws {
		clear(dead)
		for k := 0; k < f; {
			if i := rng.IntN(n); !dead[i] {
				dead[i] = true
				k++
			}
		}
		if !anyLost(sets, dead) {
			good++
		}
	}
	return float64(good) / survivalDraws
}

func anyLost(sets [][]uint16, dead []bool) bool {
	for _, set := range sets {
		lost := true
		for _, m := range set {
			if !dead[m] {
				lost = false
				break
			}
		}
		if lost {
			return true
		}
	}
	return false
}
