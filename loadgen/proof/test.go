package proof

import (
	"math"

	"headroom/loadgen/result"
)

const (
	// testZ is the critical value of each look: with about ten looks it keeps
	// the chance of any wrong decision near 1 % (Pocock's constant for ten looks
	// at 1 %, two-sided, is 3.12).
	testZ = 3.12
	// expectMin is how many operations beyond the limit must be expected at the
	// limit before the normal approximation is trusted.
	expectMin = 10
	// looksMin is the least number of seconds before a decision that a limit
	// holds: what is still in flight could be the slow part. A failure may be seen a
	// second earlier.
	looksMin = 4
)

// Test decides by the seconds of a probe whether the share of operations beyond
// a limit is above what its percentile allows. Seconds vary more than
// independent operations would; the excess is estimated and widens the test.
// The zero value has seen nothing.
type Test struct {
	Allowed float64 // 1 - p
	n, k    []float64
}

// Add adds a second in which n operations ended, k of them beyond the limit.
func (t *Test) Add(n, k int64) {
	if n > 0 {
		t.n, t.k = append(t.n, float64(n)), append(t.k, float64(k))
	}
}

// Decide returns Holds, Fails, or Undecided when more seconds are needed.
func (t *Test) Decide() result.Outcome {
	n, k := 0.0, 0.0
	for i := range t.n {
		n += t.n[i]
		k += t.k[i]
	}
	if len(t.n) < looksMin-1 || n*t.Allowed < expectMin {
		return result.Undecided
	}
	z := (k - t.Allowed*n) / math.Sqrt(t.excess(k/n)*n*t.Allowed*(1-t.Allowed))
	switch {
	case z > testZ:
		return result.Fails
	case z < -testZ && len(t.n) >= looksMin:
		return result.Holds
	}
	return result.Undecided
}

// excess is the variance of the seconds' counts beyond the limit over that of
// independent operations with the same share, at least 1.
func (t *Test) excess(share float64) float64 {
	if len(t.n) < 3 || share <= 0 || share >= 1 {
		return 1
	}
	chi := 0.0
	for i := range t.n {
		d := t.k[i] - share*t.n[i]
		chi += d * d / (t.n[i] * share * (1 - share))
	}
	return max(1, chi/float64(len(t.n)-1))
}
