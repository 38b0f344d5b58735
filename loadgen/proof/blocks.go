// Package proof owns the statistics by which a run is believed: seconds as
// blocks and intervals over them, the steady part of a run, a sequential test
// of a limit, and the verdicts by the rules of the methodology. It measures
// nothing and reads no clock or file.
//
// The invariant to know: operations of one second are not independent, so
// every interval and test here counts seconds (or longer blocks), never
// operations, as its samples.
//
// Start reading at Blocks, then Steady, Test and Verdicts.
package proof

import (
	"iter"
	"math"
	"math/rand/v2"
	"slices"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"headroom/loadgen/result"
)

const (
	// blocksMax bounds a Blocks: when it is full, neighbours are merged, so that
	// an hour has blocks of 15 to 30 s.
	blocksMax = 240
	// bootMin is the least number of blocks that a bootstrap makes sense of.
	bootMin = 10
	// resamples of a bootstrap: the ends of a 95 % interval are then known to
	// within a percent of their rank.
	resamples = 500
)

// bar is a count of equal latencies in nanoseconds.
type bar struct{ ns, count int64 }

// block is what was measured in some seconds.
type block struct {
	bars     []bar // ascending
	infinite int64
}

func (b *block) samples() int64 {
	n := b.infinite
	for _, x := range b.bars {
		n += x.count
	}
	return n
}

// Blocks are the response times of one operation in consecutive blocks of
// equal length. The zero value is empty, with blocks of a second.
type Blocks struct {
	length int // seconds, 0 means 1
	list   []block
}

// Length is the seconds of each block.
func (b *Blocks) Length() int { return max(1, b.length) }

// Add adds the histogram of second sec, 0 and up; infinite counts the operations
// that are infinitely slow.
func (b *Blocks) Add(sec int, h *hdr.Histogram, infinite int64) {
	if sec < 0 {
		return
	}
	var bars []bar
	if h.TotalCount() > 0 {
		for _, x := range h.Distribution() {
			if x.Count > 0 {
				bars = append(bars, bar{x.To, x.Count})
			}
		}
	}
	b.add(sec, bars, infinite)
}

// AddCounts is Add for latencies that are counted already: each yields them in
// nanoseconds, the highest of their bucket, ascending.
func (b *Blocks) AddCounts(sec int, each iter.Seq2[int64, int64], infinite int64) {
	if sec < 0 {
		return
	}
	var bars []bar
	for ns, n := range each {
		bars = append(bars, bar{ns, n})
	}
	b.add(sec, bars, infinite)
}

func (b *Blocks) add(sec int, bars []bar, infinite int64) {
	for sec/b.Length() >= blocksMax {
		b.fold()
	}
	i := sec / b.Length()
	for len(b.list) <= i {
		b.list = append(b.list, block{})
	}
	to := &b.list[i]
	to.infinite += infinite
	to.bars = mergeBars(to.bars, bars)
}

// fold merges neighbours.
func (b *Blocks) fold() {
	var out []block
	for i := 0; i < len(b.list); i += 2 {
		x := b.list[i]
		if i+1 < len(b.list) {
			x.bars = mergeBars(x.bars, b.list[i+1].bars)
			x.infinite += b.list[i+1].infinite
		}
		out = append(out, x)
	}
	b.list, b.length = out, 2*b.Length()
}

func mergeBars(a, b []bar) []bar {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := make([]bar, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].ns < b[0].ns:
			out, a = append(out, a[0]), a[1:]
		case a[0].ns > b[0].ns:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, bar{a[0].ns, a[0].count + b[0].count})
			a, b = a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// Percentiles summarises the seconds [from, to), rounded outwards to blocks,
// with block-bootstrap intervals.
func (b *Blocks) Percentiles(from, to int) result.Percentiles {
	part := b.part(from, to)
	h, infinite := result.NewHistogram(), int64(0)
	for i := range part {
		infinite += part[i].infinite
		for _, x := range part[i].bars {
			_ = h.RecordValues(x.ns, x.count) // it came from a histogram of this shape
		}
	}
	out := result.Summarize(h, infinite)
	out.Boot95 = boot(part, &out)
	return out
}

// Beyond counts the operations of [from, to) and those of them slower than ns.
func (b *Blocks) Beyond(from, to int, ns float64) (samples, beyond int64) {
	for _, x := range b.part(from, to) {
		samples += x.samples()
		beyond += x.infinite
		for _, y := range x.bars {
			if float64(y.ns) > ns {
				beyond += y.count
			}
		}
	}
	return samples, beyond
}

func (b *Blocks) part(from, to int) []block {
	lo := min(max(from, 0)/b.Length(), len(b.list))
	hi := min((max(to, 0)+b.Length()-1)/b.Length(), len(b.list))
	return b.list[lo:max(lo, hi)]
}

// named are the percentiles that get an interval.
var named = []struct {
	name string
	p    float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99_9", 0.999}}

// boot resamples whole blocks with replacement and returns 95 % intervals of
// those percentiles of p that have a value; an infinite end is nil.
func boot(blocks []block, p *result.Percentiles) map[string][2]*float64 {
	if len(blocks) < bootMin {
		return nil
	}
	values, counts := table(blocks)
	r := rand.New(rand.NewPCG(uint64(p.Samples), 0xb007)) // the same run gives the same intervals
	ends := make([][]float64, len(named))
	sum := make([]int64, len(values)+1) // the last: infinite
	for range resamples {
		clear(sum)
		for range blocks {
			for v, n := range counts[r.IntN(len(blocks))] {
				sum[v] += n
			}
		}
		n := int64(0)
		for _, c := range sum {
			n += c
		}
		for i, q := range named {
			ends[i] = append(ends[i], at(values, sum, int64(math.Ceil(q.p*float64(n)))))
		}
	}
	out := map[string][2]*float64{}
	for i, q := range named {
		if slices.Contains(p.Unsupported, q.name) || slices.Contains(p.Infinite, q.name) {
			continue
		}
		slices.Sort(ends[i])
		out[q.name] = [2]*float64{micros(ends[i][resamples*25/1000]), micros(ends[i][resamples*975/1000])}
	}
	return out
}

// table lays the blocks out over their distinct values, infinity last.
func table(blocks []block) (values []int64, counts [][]int64) {
	seen := map[int64]bool{}
	for i := range blocks {
		for _, x := range blocks[i].bars {
			if !seen[x.ns] {
				seen[x.ns] = true
				values = append(values, x.ns)
			}
		}
	}
	slices.Sort(values)
	for i := range blocks {
		row := make([]int64, len(values)+1)
		v := 0
		for _, x := range blocks[i].bars {
			for values[v] < x.ns {
				v++
			}
			row[v] = x.count
		}
		row[len(values)] = blocks[i].infinite
		counts = append(counts, row)
	}
	return values, counts
}

// at is the value of the given rank among counted values, from 1.
func at(values, counts []int64, rank int64) float64 {
	for i, c := range counts {
		if rank -= c; rank <= 0 && i < len(values) {
			return float64(values[i])
		}
	}
	return math.Inf(1)
}

func micros(ns float64) *float64 {
	if math.IsInf(ns, 0) {
		return nil
	}
	us := math.Round(ns/10) / 100
	return &us
}

// Above counts the samples of h that are slower than ns.
func Above(h *hdr.Histogram, ns float64) int64 {
	n := int64(0)
	if h.TotalCount() == 0 || float64(h.Max()) <= ns {
		return 0
	}
	for _, x := range h.Distribution() {
		if x.Count > 0 && float64(x.To) > ns {
			n += x.Count
		}
	}
	return n
}
