package keys

import (
	"math/rand/v2"
	"slices"
)

// skewDraws is how often each record is drawn on average, twice: once to find
// out which are hot, once to measure these. One pass for both would call some
// records of a uniform distribution hot.
const skewDraws = 50

// Skew says how uneven a Chooser is: the share of the draws that hit the
// hottest record, the hottest hundredth and the hottest fifth of n records. It
// draws 100 times n numbers: a second for 100,000 records.
func Skew(c Chooser, n uint64, r *rand.Rand) (hottest, hundredth, fifth float64) {
	counts := make([]uint32, n)
	draw := func() {
		for range skewDraws * n {
			counts[c.Next(r, n)]++
		}
	}
	draw()
	order := make([]uint32, n)
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int { return int(counts[b]) - int(counts[a]) })
	clear(counts)
	draw()
	share := func(top uint64) (sum float64) {
		for _, k := range order[:max(1, top)] {
			sum += float64(counts[k])
		}
		return sum / float64(skewDraws*n)
	}
	return share(1), share(n / 100), share(n / 5)
}
