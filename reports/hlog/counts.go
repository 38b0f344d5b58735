package hlog

import (
	"math"
	"math/bits"
	"time"

	"headroom/loadgen/result"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// The shape of every histogram of a run folder; see result.NewHistogram.
const (
	lowest  = 128
	highest = int64(result.MaxLatency / time.Nanosecond)
	digits  = 3

	unitBits = 7    // log2(lowest)
	subCount = 2048 // linear buckets that give three digits
	halfBits = 10   // log2(subCount/2)
	half     = subCount / 2
)

// buckets is the length of a histogram of the shape.
var buckets = func() int64 { return int64(Index(highest)) + 1 }()

// Index returns the bucket of a value in nanoseconds. Values beyond the shape
// get indices beyond Buckets.
func Index(ns int64) int32 {
	v := max(ns, 0) >> unitBits
	if v < subCount {
		return int32(v)
	}
	shift := bits.Len64(uint64(v)) - (halfBits + 1)
	return int32(int64(shift+1)<<halfBits + v>>shift - half)
}

// Value returns the range of nanoseconds that bucket i stands for. Percentiles
// are its upper end, as HdrHistogram has it.
func Value(i int32) (low, high int64) {
	b := i>>halfBits - 1
	sub := int64(i&(half-1)) + half
	if b < 0 {
		sub, b = sub-half, 0
	}
	low = sub << (int64(b) + unitBits)
	return low, low + 1<<(int64(b)+unitBits) - 1
}

// Buckets returns how many buckets the shape has.
func Buckets() int { return int(buckets) }

// Counts is a dense histogram of the shape.
type Counts struct {
	n        []int64
	lo, hi   int32 // touched buckets: [lo, hi)
	Total    int64
	Infinite int64 // operations that never completed, counted beside
}

// NewCounts returns an empty histogram.
func NewCounts() *Counts { return &Counts{n: make([]int64, buckets), lo: math.MaxInt32} }

// Reset empties the histogram; it costs what was touched, not its length.
func (c *Counts) Reset() {
	if c.hi > c.lo {
		clear(c.n[c.lo:c.hi])
	}
	c.lo, c.hi, c.Total, c.Infinite = math.MaxInt32, 0, 0, 0
}

// Add adds bins.
func (c *Counts) Add(bins []Bin) {
	if len(bins) == 0 {
		return
	}
	c.lo, c.hi = min(c.lo, bins[0].Index), max(c.hi, bins[len(bins)-1].Index+1)
	for _, b := range bins {
		c.n[b.Index] += b.Count
		c.Total += b.Count
	}
}

func (c *Counts) add(i int32, n int64) {
	c.lo, c.hi = min(c.lo, i), max(c.hi, i+1)
	c.n[i] += n
	c.Total += n
}

// Merge adds another histogram.
func (c *Counts) Merge(o *Counts) {
	c.lo, c.hi = min(c.lo, o.lo), max(c.hi, o.hi)
	for i := o.lo; i < o.hi; i++ {
		c.n[i] += o.n[i]
	}
	c.Total += o.Total
	c.Infinite += o.Infinite
}

// Sparse appends the non-empty buckets to bins[:0].
func (c *Counts) Sparse(bins []Bin) []Bin {
	bins = bins[:0]
	for i := c.lo; i < c.hi; i++ {
		if c.n[i] > 0 {
			bins = append(bins, Bin{i, c.n[i]})
		}
	}
	return bins
}

// Quantiles writes the latencies in nanoseconds below which the shares p
// (rising) of all operations lie into out, +Inf where they fall among the
// infinite ones and NaN without any operation.
func (c *Counts) Quantiles(p, out []float64) {
	n := c.Total + c.Infinite
	i, cum := c.lo-1, int64(0)
	for k, q := range p {
		if n == 0 {
			out[k] = math.NaN()
			continue
		}
		rank := max(int64(math.Ceil(q*float64(n))), 1)
		if rank > c.Total {
			out[k] = math.Inf(1)
			continue
		}
		for cum < rank {
			i++
			cum += c.n[i]
		}
		_, high := Value(i)
		out[k] = float64(high)
	}
}

// Quantile returns one quantile; see Quantiles.
func (c *Counts) Quantile(p float64) float64 {
	var out [1]float64
	c.Quantiles([]float64{p}, out[:])
	return out[0]
}

// Histogram returns the finite samples as the library's histogram, for what
// needs one (result.Summarize).
func (c *Counts) Histogram() *hdr.Histogram {
	return hdr.Import(&hdr.Snapshot{LowestTrackableValue: lowest, HighestTrackableValue: highest, SignificantFigures: digits, Counts: c.n})
}

// Each calls f for each non-empty bucket in rising order.
func (c *Counts) Each(f func(i int32, n int64)) {
	for i := c.lo; i < c.hi; i++ {
		if c.n[i] > 0 {
			f(i, c.n[i])
		}
	}
}
