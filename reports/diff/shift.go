package diff

import (
	"math"
	"math/rand/v2"
	"sort"

	"headroom/loadgen/result"
	"headroom/reports/hlog"
)

// Shift is the difference of a run B from a run A, or of all B from all A of
// pairs.
type Shift struct {
	A, B   string
	Points []Difference
	Rate   Difference // of completed operations per second; P is 0
	Pairs  int        // 0: two single runs
	// Why says why there are no intervals, or is empty.
	Why string
}

// Difference is B against A at one percentile. Change is B/A - 1 with the ends
// of an interval; those of all points of a shift hold together with 95 %
// confidence. NaN where there is none.
type Difference struct {
	P               float64
	A, B            float64 // microseconds, or operations per second; +Inf among failed operations
	Change          float64
	ChangeLo        float64
	ChangeHi        float64
	Supported       bool // both have enough samples for the percentile
	MorePairsToTell int  // pairs needed until the interval is as narrow as the threshold; 0 when unknown
}

// Known reports whether the difference has an interval.
func (d Difference) Known() bool { return !math.IsNaN(d.ChangeLo) && !math.IsNaN(d.ChangeHi) }

// minBlocks is the least number of blocks that carry an interval.
const minBlocks = 10

// replicates of the bootstrap: the 95 % point of the largest of a dozen is
// stable to about 2 %.
const replicates = 400

// seed makes a comparison of the same runs give the same interval.
const seed = 20260301

// leastError is the resolution of the histograms, 3 digits: no interval is
// narrower.
const leastError = 0.0005

// quantiles returns the latencies of c at shares in microseconds and whether
// each is supported.
func quantiles(c *hlog.Counts) (v []float64, ok []bool) {
	v, ok = make([]float64, len(shares)), make([]bool, len(shares))
	c.Quantiles(shares, v)
	for i, p := range shares {
		v[i] /= 1e3
		ok[i] = result.Supported(p, c.Total+c.Infinite) && result.Supported(1-p, c.Total+c.Infinite)
	}
	return v, ok
}

// blockShift compares two single runs: blocks of seconds are drawn again with
// replacement, so that an interval counts how one second depends on the next
// within a block. It says nothing about what differs from run to run.
func blockShift(a, b *Run) Shift {
	s := Shift{A: a.Name, B: b.Name, Points: bare(a.All, b.All)}
	s.Rate = rateDifference(median(a.Rates), median(b.Rates))
	if len(a.Blocks) < minBlocks || len(b.Blocks) < minBlocks {
		s.Why = "an interval needs ten seconds of each run"
		return s
	}
	rnd := rand.New(rand.NewPCG(seed, 1))
	n := len(shares) + 1 // the rate comes last
	draws := make([][]float64, replicates)
	scratch := hlog.NewCounts()
	for i := range draws {
		draws[i] = make([]float64, n)
		va, vb := resample(rnd, a, scratch), resample(rnd, b, scratch)
		for k := range n {
			draws[i][k] = logRatio(va[k], vb[k])
		}
	}
	band(&s, draws)
	return s
}

// bare returns the differences without intervals.
func bare(a, b *hlog.Counts) []Difference {
	va, oka := quantiles(a)
	vb, okb := quantiles(b)
	out := make([]Difference, len(shares))
	nan := math.NaN()
	for i, p := range shares {
		out[i] = Difference{P: p, A: va[i], B: vb[i], Supported: oka[i] && okb[i], Change: change(logRatio(va[i], vb[i])), ChangeLo: nan, ChangeHi: nan}
	}
	return out
}

func rateDifference(a, b float64) Difference {
	return Difference{A: a, B: b, Change: change(logRatio(a, b)), ChangeLo: math.NaN(), ChangeHi: math.NaN(), Supported: a > 0 && b > 0}
}

// logRatio returns log(b/a), NaN where either is no positive finite number.
func logRatio(a, b float64) float64 {
	if !(a > 0) || !(b > 0) || math.IsInf(a, 0) || math.IsInf(b, 0) {
		return math.NaN()
	}
	return math.Log(b / a)
}

func change(log float64) float64 { return math.Expm1(log) }

func median(list []float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	s := append([]float64(nil), list...)
	sort.Float64s(s)
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// resample draws a run's blocks with replacement and returns the percentiles
// and the rate of what was drawn.
func resample(rnd *rand.Rand, r *Run, sum *hlog.Counts) []float64 {
	sum.Reset()
	var picked []float64
	per := max(1, len(r.Rates)/len(r.Blocks))
	for range r.Blocks {
		i := rnd.IntN(len(r.Blocks))
		sum.Merge(r.Blocks[i])
		if lo := min(i*per, len(r.Rates)); lo < len(r.Rates) {
			picked = append(picked, r.Rates[lo:min(lo+per, len(r.Rates))]...)
		}
	}
	v := make([]float64, len(shares), len(shares)+1)
	sum.Quantiles(shares, v)
	return append(v, median(picked))
}

// band turns draws of log ratios into intervals that hold at once: each
// difference gets the same number of its own standard errors, as many as the
// worst of them needed in 95 % of the draws.
func band(s *Shift, draws [][]float64) {
	all := append(s.Points[:len(s.Points):len(s.Points)], s.Rate)
	se := make([]float64, len(all))
	use := make([]bool, len(all))
	for k, d := range all {
		centre := math.Log1p(d.Change)
		sum, n := 0.0, 0
		for _, x := range draws {
			if !math.IsNaN(x[k]) {
				sum += (x[k] - centre) * (x[k] - centre)
				n++
			}
		}
		// A percentile that failed operations reach in some draws has no interval.
		use[k] = d.Supported && !math.IsNaN(centre) && n == len(draws)
		if use[k] {
			se[k] = max(math.Sqrt(sum/float64(n)), leastError)
		}
	}
	worst := make([]float64, len(draws))
	for i, x := range draws {
		for k, d := range all {
			if use[k] {
				worst[i] = max(worst[i], math.Abs(x[k]-math.Log1p(d.Change))/se[k])
			}
		}
	}
	sort.Float64s(worst)
	c := worst[min(int(math.Ceil(confidence*float64(len(worst)))), len(worst))-1]
	for k := range all {
		if use[k] {
			centre := math.Log1p(all[k].Change)
			all[k].ChangeLo, all[k].ChangeHi = change(centre-c*se[k]), change(centre+c*se[k])
		}
	}
	s.Points, s.Rate = all[:len(s.Points)], all[len(s.Points)]
}

// minPairs carry a 95 % interval: with fewer, no arrangement of signs is rare
// enough (rule R8).
const minPairs = 6

// maxFlips bounds the arrangements of signs that are tried.
const maxFlips = 4096

// sideName names all runs of one side of pairs by the first and the last.
func sideName(runs []*Run, side int) string {
	first, last := runs[side].Name, runs[len(runs)-2+side].Name
	if first == last {
		return first
	}
	return first + "…" + last
}

// pairedShift compares runs that alternate A B A B …: what differs from run to
// run is in the interval, what drifts over the hour is not.
func pairedShift(runs []*Run) Shift {
	n := len(runs) / 2
	a, b := hlog.NewCounts(), hlog.NewCounts()
	var ra, rb []float64
	k := len(shares) + 1
	d := make([][]float64, n)
	supported := make([]bool, len(shares))
	for i := range supported {
		supported[i] = true
	}
	for i := range n {
		x, y := runs[2*i], runs[2*i+1]
		a.Merge(x.All)
		b.Merge(y.All)
		va, oka := quantiles(x.All)
		vb, okb := quantiles(y.All)
		ra, rb = append(ra, median(x.Rates)), append(rb, median(y.Rates))
		va, vb = append(va, ra[i]), append(vb, rb[i])
		d[i] = make([]float64, k)
		for j := range k {
			d[i][j] = logRatio(va[j], vb[j])
			if j < len(shares) {
				supported[j] = supported[j] && oka[j] && okb[j]
			}
		}
	}
	s := Shift{A: sideName(runs, 0), B: sideName(runs, 1), Points: bare(a, b), Rate: rateDifference(median(ra), median(rb)), Pairs: n}
	for j := range s.Points {
		s.Points[j].Supported = supported[j]
	}
	pairBand(&s, d)
	return s
}

// pairBand gives paired differences their intervals from all (or 4,096 drawn)
// arrangements of signs of the centred differences.
func pairBand(s *Shift, d [][]float64) {
	n, k := len(d), len(d[0])
	all := append(s.Points[:len(s.Points):len(s.Points)], s.Rate)
	mean, se := make([]float64, k), make([]float64, k)
	use := make([]bool, k)
	for j := range k {
		for i := range n {
			mean[j] += d[i][j] / float64(n)
		}
		for i := range n {
			se[j] += (d[i][j] - mean[j]) * (d[i][j] - mean[j])
		}
		se[j] = max(math.Sqrt(se[j]/float64(max(n-1, 1)*n)), leastError)
		use[j] = all[j].Supported && !math.IsNaN(mean[j])
		if use[j] {
			all[j].Change = change(mean[j])
		}
	}
	if n >= minPairs {
		c := flipPoint(d, mean, se, use)
		for j := range k {
			if use[j] {
				all[j].ChangeLo, all[j].ChangeHi = change(mean[j]-c*se[j]), change(mean[j]+c*se[j])
			}
		}
	} else {
		s.Why = "an interval needs six pairs"
	}
	for j := range k {
		all[j].MorePairsToTell = max(minPairs-n, 0)
	}
	s.Points, s.Rate = all[:len(s.Points)], all[len(s.Points)]
}

// flipPoint returns the 95 % point of the largest studentised mean under
// flipped signs.
func flipPoint(d [][]float64, mean, se []float64, use []bool) float64 {
	n := len(d)
	total, all := maxFlips, false
	if n <= 12 {
		total, all = 1<<n, true
	}
	rnd := rand.New(rand.NewPCG(seed, 2))
	worst := make([]float64, total)
	for f := range total {
		bits := uint64(f)
		if !all {
			bits = rnd.Uint64()
		}
		for j := range mean {
			if !use[j] {
				continue
			}
			m, v := 0.0, 0.0
			for i := range n {
				x := d[i][j] - mean[j]
				v += x * x
				if bits>>(i%64)&1 == 1 {
					x = -x
				}
				m += x / float64(n)
			}
			// The flipped sample has its own spread.
			spread := max(math.Sqrt(max(v-float64(n)*m*m, 0)/float64((n-1)*n)), leastError)
			worst[f] = max(worst[f], math.Abs(m)/spread)
		}
	}
	sort.Float64s(worst)
	return worst[min(int(math.Ceil(confidence*float64(total))), total)-1]
}
