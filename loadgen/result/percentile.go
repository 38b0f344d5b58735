package result

import (
	"math"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// histogramLowest is the resolution of histograms in nanoseconds: 128 ns is
// finer than any network target needs, and with 3 digits and MaxLatency it
// keeps a histogram at about 200 KB.
const histogramLowest = 128

// z99 is the squared standard normal quantile of a two-sided 99 % interval.
const z99Squared = 6.6349

// NewHistogram returns an empty latency histogram in nanoseconds, up to
// MaxLatency, 3 significant digits. All histograms of a run folder are of this
// shape, so they merge exactly.
func NewHistogram() *hdr.Histogram {
	return hdr.New(histogramLowest, int64(MaxLatency/time.Nanosecond), 3)
}

// names of the percentiles of a Percentiles, with their value.
var named = [...]struct {
	name string
	p    float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99_9", 0.999}}

// Supported reports whether n samples bound percentile p (0 < p < 1) from
// above with 99 % confidence: n >= 6.635 p/(1-p), 657 samples for p99. Below
// that the interval has no upper end and the percentile must not be printed.
func Supported(p float64, n int64) bool {
	return float64(n) >= z99Squared*p/(1-p)
}

// Precise reports whether n samples give percentile p with a margin of
// (1-p)/20 at 99 % confidence (rule R3): 262,742 samples for p99.
func Precise(p float64, n int64) bool {
	m := (1 - p) / 20
	return float64(n) >= z99Squared*p*(1-p)/(m*m)
}

// Quantile returns the latency in nanoseconds below which a share p of all
// samples lies, the infinite ones included: infinite counts operations that
// never completed. ok is false without samples; the value is +Inf when it
// falls among the infinite ones.
func Quantile(h *hdr.Histogram, infinite int64, p float64) (ns float64, ok bool) {
	n := h.TotalCount() + infinite
	if n == 0 {
		return 0, false
	}
	return atRank(h, int64(math.Ceil(p*float64(n)))), true
}

// atRank returns the value of the r-th smallest sample, +Inf beyond the last.
func atRank(h *hdr.Histogram, r int64) float64 {
	n := h.TotalCount()
	if r > n {
		return math.Inf(1)
	}
	if r < 1 {
		r = 1
	}
	return float64(h.ValueAtPercentile(100 * float64(r) / float64(n)))
}

// Summarize turns a histogram of nanoseconds and a count of infinite samples
// into Percentiles.
func Summarize(h *hdr.Histogram, infinite int64) Percentiles {
	n := h.TotalCount() + infinite
	out := Percentiles{Samples: n, Unsupported: []string{}, Infinite: []string{}, Wide: []string{},
		CI99: map[string][2]*float64{}}
	slots := [...]**float64{&out.P50, &out.P90, &out.P99, &out.P999}
	for i, q := range named {
		if n == 0 || !Supported(q.p, n) {
			out.Unsupported = append(out.Unsupported, q.name)
			continue
		}
		v, _ := Quantile(h, infinite, q.p)
		if math.IsInf(v, 1) {
			out.Infinite = append(out.Infinite, q.name)
			continue
		}
		*slots[i] = micros(v)
		if !Precise(q.p, n) {
			out.Wide = append(out.Wide, q.name)
		}
		half := math.Sqrt(z99Squared * float64(n) * q.p * (1 - q.p))
		lo := atRank(h, int64(math.Floor(q.p*float64(n)-half)))
		hi := atRank(h, int64(math.Ceil(q.p*float64(n)+half)))
		out.CI99[q.name] = [2]*float64{micros(lo), micros(hi)}
	}
	switch {
	case infinite > 0:
		out.Infinite = append(out.Infinite, "max")
	case n == 0:
		out.Unsupported = append(out.Unsupported, "max")
	default:
		out.Max = micros(float64(h.Max()))
	}
	return out
}

// micros returns nanoseconds as microseconds, nil for infinity.
func micros(ns float64) *float64 {
	if math.IsInf(ns, 0) {
		return nil
	}
	us := math.Round(ns/10) / 100
	return &us
}
