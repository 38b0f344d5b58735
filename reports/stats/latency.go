package stats

import (
	"math"
	"sync"

	"headroom/loadgen/result"
	"headroom/reports/hlog"
)

// maxBins is how many points a curve over time keeps: a wide figure has 780
// pixels of frame.
const maxBins = 400

// maxColumns is how many columns a heat map has: cells of five pixels.
const maxColumns = 150

// niceSteps are the widths of bins in seconds that a reader can count in.
var niceSteps = []int{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400}

// niceStep returns the smallest nice width that cuts span seconds into at most
// n bins.
func niceStep(span float64, n int) int {
	for _, s := range niceSteps {
		if span/float64(s) <= float64(n) {
			return s
		}
	}
	last := niceSteps[len(niceSteps)-1]
	return last * int(math.Ceil(span/float64(last)/float64(n)))
}

// Bin is a stretch of the measured phase over all operations. Its percentiles
// come from the added histograms of its seconds: they are never averages of
// percentiles. Latencies are microseconds, NaN where nothing completed, +Inf
// where failed operations reach them.
type Bin struct {
	T       int // first second
	Seconds int // with figures, at most the step
	// OK and Offered are operations per second, the mean over the seconds;
	// OKLow and OKHigh are the slowest and the fastest second.
	OK, OKLow, OKHigh, Offered float64
	Failed                     int64
	P50, P99, P999, Max        float64
	// P99Low and P99High are the lowest and highest p99 of a single second.
	P99Low, P99High float64
}

// timeline collects latencies over time while the logs are read.
type timeline struct {
	f      *Facts
	failed map[int]map[string]int64 // by second and operation
	index  map[int]int              // second to its place in f.Seconds
	steady map[int]bool

	second, bin *hlog.Counts
	binAt       int // first second of bin
	all, calm   *hlog.Counts
	bins        map[int]*Bin
	heat        *heat
	windows     *windowSet
}

// latencies reads the interval logs once per kind: percentiles per second and
// bin, the heat map, the windows, the steady part and the curves.
func (f *Facts) latencies() {
	steady, healthy := f.steadySeconds()
	f.Step = niceStep(f.end(), maxBins)
	tl := newTimeline(f, steady)
	kinds := make([]struct {
		sum *hlog.Counts
		m   merged
	}, len(result.Kinds))
	var wg sync.WaitGroup
	for i, kind := range result.Kinds {
		wg.Go(func() {
			if kind == result.Response {
				kinds[i].m = merge(f.Run, kind, tl.visit)
				kinds[i].sum = tl.all
				return
			}
			kinds[i].sum, kinds[i].m = totals(f.Run, kind)
		})
	}
	wg.Wait()
	tl.finish()
	for i, kind := range result.Kinds {
		f.Problems = append(f.Problems, kinds[i].m.problems...)
		if len(kinds[i].m.ops) == 0 {
			continue
		}
		kinds[i].sum.Infinite = f.infinite(kind, kinds[i].m)
		f.Curves = append(f.Curves, curve(kind, kinds[i].sum))
	}
	if len(f.Curves) == 0 || f.Curves[0].Kind != result.Response {
		f.fallback()
	}
	f.Bins = f.bins(tl.bins)
	f.Steady = f.steady(steady, healthy, tl.calm)
}

func newTimeline(f *Facts, steady map[int]bool) *timeline {
	tl := &timeline{f: f, steady: steady, index: map[int]int{}, failed: map[int]map[string]int64{}, bins: map[int]*Bin{},
		second: hlog.NewCounts(), bin: hlog.NewCounts(), all: hlog.NewCounts(), calm: hlog.NewCounts(),
		binAt: math.MinInt}
	for i, s := range f.Seconds {
		tl.index[s.T] = i
	}
	for _, r := range f.Run.Series {
		if n := r.Failed + r.InDoubt; n > 0 && r.TSec >= 0 {
			if tl.failed[r.TSec] == nil {
				tl.failed[r.TSec] = map[string]int64{}
			}
			tl.failed[r.TSec][r.Op] += n
		}
	}
	tl.heat = newHeat(f.end())
	tl.windows = newWindowSet(f.end(), Operations(f.Run))
	return tl
}

// visit takes in one second.
func (tl *timeline) visit(t int, parts []part) {
	tl.second.Reset()
	for _, p := range parts {
		tl.second.Add(p.bins)
	}
	failed := int64(0)
	for _, n := range tl.failed[t] {
		failed += n
	}
	tl.second.Infinite = failed
	if at := t - mod(t, tl.f.Step); at != tl.binAt {
		tl.closeBin()
		tl.binAt = at
	}
	tl.heat.add(t, tl.second)
	tl.windows.add(t, parts, tl.failed[t])
	tl.bin.Merge(tl.second)
	tl.all.Merge(tl.second)
	if tl.steady[t] {
		tl.calm.Merge(tl.second)
	}
	if i, ok := tl.index[t]; ok {
		tl.f.Seconds[i].latencies(tl.second)
	}
}

func mod(a, b int) int { return ((a % b) + b) % b }

// latencies fills in the second's percentiles over all operations.
func (s *Second) latencies(c *hlog.Counts) {
	var v [3]float64
	c.Quantiles([]float64{0.5, 0.99, 1}, v[:])
	s.P50, s.P99, s.Max = v[0]/1e3, v[1]/1e3, v[2]/1e3
}

func (tl *timeline) closeBin() {
	if tl.bin.Total+tl.bin.Infinite == 0 {
		tl.bin.Reset()
		return
	}
	var v [4]float64
	tl.bin.Quantiles([]float64{0.5, 0.99, 0.999, 1}, v[:])
	tl.bins[tl.binAt] = &Bin{P50: v[0] / 1e3, P99: v[1] / 1e3, P999: v[2] / 1e3, Max: v[3] / 1e3}
	tl.bin.Reset()
}

func (tl *timeline) finish() {
	tl.closeBin()
	tl.f.Heat = tl.heat.finish()
	tl.f.Windows = tl.windows.finish()
}

// bins joins the figures of series.csv with the latencies of the logs.
func (f *Facts) bins(latency map[int]*Bin) []Bin {
	var out []Bin
	nan := math.NaN()
	for _, s := range f.Seconds {
		at := s.T - mod(s.T, f.Step)
		if n := len(out); n == 0 || out[n-1].T != at {
			b := Bin{T: at, P50: nan, P99: nan, P999: nan, Max: nan, P99Low: nan, P99High: nan, OKLow: math.Inf(1)}
			if l := latency[at]; l != nil {
				b.P50, b.P99, b.P999, b.Max = l.P50, l.P99, l.P999, l.Max
			}
			out = append(out, b)
		}
		b := &out[len(out)-1]
		b.Seconds++
		b.OK += float64(s.OK)
		b.Offered += float64(s.Offered)
		b.Failed += s.Failed
		b.OKLow, b.OKHigh = min(b.OKLow, float64(s.OK)), max(b.OKHigh, float64(s.OK))
		if !math.IsNaN(s.P99) {
			if math.IsNaN(b.P99Low) {
				b.P99Low, b.P99High = s.P99, s.P99
			}
			b.P99Low, b.P99High = min(b.P99Low, s.P99), max(b.P99High, s.P99)
		}
		if f.Step == 1 { // also what fallback found without any log
			b.P50, b.P99, b.Max = s.P50, s.P99, s.Max
		}
	}
	for i := range out {
		out[i].OK /= float64(out[i].Seconds)
		out[i].Offered /= float64(out[i].Seconds)
	}
	return out
}

// SecondsOf returns the seconds of a run's measured phase without latencies.
func SecondsOf(run *result.Run) []Second { return seconds(run) }

// EachSecond calls visit with the response histogram over all operations of
// each second, in rising order of time; the histogram is valid during the call.
// It returns what was damaged, and false when the run has no interval log.
func EachSecond(run *result.Run, visit func(t int, c *hlog.Counts)) (problems []string, ok bool) {
	sum := hlog.NewCounts()
	m := merge(run, result.Response, func(t int, parts []part) {
		sum.Reset()
		for _, p := range parts {
			sum.Add(p.bins)
		}
		visit(t, sum)
	})
	return m.problems, len(m.ops) > 0
}

// Totals returns the response percentiles over all operations of a run,
// failed ones being infinite.
func Totals(run *result.Run) result.Percentiles {
	f := &Facts{Run: run}
	sum, m := totals(run, result.Response)
	sum.Infinite = f.infinite(result.Response, m)
	return result.Summarize(sum.Histogram(), sum.Infinite)
}
