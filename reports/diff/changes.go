package diff

import (
	"math"
	"math/rand/v2"
)

// Change points after Matteson and James (E-divisive, 2014), with the limits
// that Hunter (ICPE 2023) found to work for benchmarks (rule R15).
const (
	windowRuns   = 200  // how far back a segment is looked at
	leastSegment = 7    // runs on either side: fewer cannot reach p 0.001
	mostP        = 1e-3 // of the permutation test
	leastChange  = 0.05 // of the medians, relative
	permutations = 1999
)

// changePoint says that values from at on, up to to, differ from those of
// [from, at).
type changePoint struct {
	from, at, to  int
	before, after float64 // medians
	p             float64
}

// changes returns the change points of values in rising order. The same
// values always give the same points.
func changes(values []float64) []changePoint {
	rnd := rand.New(rand.NewPCG(seed, 3))
	var cuts []changePoint
	var split func(from, to int)
	split = func(from, to int) {
		lo := max(from, to-windowRuns)
		at, q := best(values[lo:to])
		if at < 0 {
			return
		}
		c := changePoint{from: from, at: lo + at, to: to}
		c.before, c.after = median(values[from:c.at]), median(values[c.at:to])
		if c.p = permuted(rnd, values[lo:to], q); c.p > mostP || math.Abs(c.after/c.before-1) < leastChange {
			return
		}
		split(from, c.at)
		cuts = append(cuts, c)
		split(c.at, to)
	}
	split(0, len(values))
	for i := range cuts { // segments end at their neighbours
		if i > 0 {
			cuts[i].from = cuts[i-1].at
		}
		if i+1 < len(cuts) {
			cuts[i].to = cuts[i+1].at
		}
		cuts[i].before, cuts[i].after = median(values[cuts[i].from:cuts[i].at]), median(values[cuts[i].at:cuts[i].to])
	}
	return cuts
}

// best returns the split with the highest energy statistic, -1 when the
// values are too few.
func best(v []float64) (at int, q float64) {
	n := len(v)
	if n < 2*leastSegment {
		return -1, 0
	}
	// Sums of distances within the left part, within the right part and between
	// them, moved one value at a time.
	var left, right, between float64
	for i := range n {
		for j := range i {
			right += math.Abs(v[i] - v[j])
		}
	}
	at = -1
	for k := 1; k < n; k++ {
		toLeft, toRight := 0.0, 0.0
		for j := range n {
			d := math.Abs(v[k-1] - v[j])
			if j < k-1 {
				toLeft += d
			} else {
				toRight += d
			}
		}
		left += toLeft
		right -= toRight
		between += toRight - toLeft
		if k < leastSegment || n-k < leastSegment {
			continue
		}
		a, b := float64(k), float64(n-k)
		e := 2*between/(a*b) - 2*left/(a*(a-1)) - 2*right/(b*(b-1))
		if s := a * b / (a + b) * e; at < 0 || s > q {
			at, q = k, s
		}
	}
	return at, q
}

// permuted returns how often values in random order split as well as q.
func permuted(rnd *rand.Rand, v []float64, q float64) float64 {
	w := append([]float64(nil), v...)
	n := 1
	for i := range permutations {
		rnd.Shuffle(len(w), func(a, b int) { w[a], w[b] = w[b], w[a] })
		if _, x := best(w); x >= q {
			n++
		}
		if n > 8 { // p is beyond mostP whatever follows
			return float64(n) / float64(i+2)
		}
	}
	return float64(n) / (permutations + 1)
}
