// Package stats derives the numbers of a report from a run folder: the steady
// part of the run and its rate, percentiles over all operations and per
// second, when nodes were down and copies missing. It also prints numbers with
// their units (text.go), so that every page and terminal says them alike. It
// draws nothing and words no sentence.
//
// The invariant to know: what was not measured stays absent (nil, an empty
// list, a false flag, an entry of Facts.Problems); it never becomes a zero or
// a NaN that could be taken for a measurement.
//
// Start reading at Load, then Derive.
package stats

import (
	"math"
	"sort"

	"headroom/loadgen/result"

	mstats "github.com/montanaflynn/stats"
)

// Faults are judged from before to after these many seconds around them, as
// the definition of a fault's gap has it; steady seconds lie outside.
const (
	faultBefore = 1
	faultAfter  = 5
)

// minSteady is the least number of steady seconds that carry a headline: the
// 95 % interval of a median needs six samples.
const minSteady = 6

// Facts are the derived numbers of one run.
type Facts struct {
	Run      *result.Run
	Problems []string // what is missing or damaged, one sentence each
	Nodes    int      // nodes under test, zero when unknown
	Total    result.Operation
	Steady   Steady
	Curves   []Curve
	Seconds  []Second
	// SecondsOf names the operation whose latencies Seconds holds, or is empty
	// when they are over all operations.
	SecondsOf string
	// Bins are the seconds in bins of Step seconds, as many as a figure shows.
	Step       int
	Bins       []Bin
	Heat       *Heat    // nil without interval logs
	Windows    *Windows // nil without interval logs
	Redundancy []Redundancy
	Migrations []Span
	Down       []Span
	StopWrites []Span  // when a node refused writes because it was full
	Phases     []Phase // parts of a study, for whoever knows them
	Extras     []Extra
	NodeRows   []NodeRow
}

// Interval is an estimate with its 95 % confidence interval.
type Interval struct {
	Value, Low, High float64
	N                int // samples
}

// Steady is the undisturbed part of a run.
type Steady struct {
	// OK is false when there is no steady part; Why then says so.
	OK  bool
	Why string
	// Healthy is true when the seconds also exclude times with a node down or
	// a migration under way.
	Healthy bool
	Seconds int
	Rate    Interval // completed operations per second, median over seconds
	Offered Interval // operations due per second, in the same seconds
	// Response covers the operations of the steady seconds.
	Response result.Percentiles
}

// Second is one second of the measured phase over all operations. Latencies
// are microseconds, NaN where nothing completed, +Inf where failed operations
// reach them.
type Second struct {
	T                   int
	Offered, OK, Failed int64 // Failed includes operations in doubt
	P50, P99, Max       float64
}

// Curve is the latency distribution of one kind over all operations.
type Curve struct {
	Kind        result.Kind
	Percentiles result.Percentiles
	Points      []Quantile
	// Supported is the highest share with enough samples.
	Supported float64
	// FiniteTo is the share of operations that completed, 1 without failures.
	FiniteTo float64
}

// Quantile is a point of a percentile curve: the latency in microseconds below
// which a share P of the operations lies, +Inf among the failed ones.
type Quantile struct{ P, US float64 }

// Span is a stretch of time in seconds of the measured phase. To is +Inf when
// its end was not seen.
type Span struct {
	From, To float64
	Node     string
}

// Phase is a named stretch of a run.
type Phase struct {
	Span
	Name string
}

// Redundancy is the redundancy at one moment.
type Redundancy struct {
	T          float64
	Partitions int64 // left to migrate, over all nodes
	Bytes      int64
}

// Needed returns how many samples bound percentile p with 99 % confidence.
func Needed(p float64) int64 {
	lo, hi := int64(1), int64(1)
	for !result.Supported(p, hi) && hi < 1<<50 {
		hi *= 2
	}
	for lo < hi {
		if mid := (lo + hi) / 2; result.Supported(p, mid) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// Median returns the median of values and its 95 % interval from order
// statistics; the interval is the range of all values below six of them.
func Median(values []float64) Interval {
	if len(values) == 0 {
		return Interval{}
	}
	s := append([]float64(nil), values...)
	sort.Float64s(s)
	n := float64(len(s))
	mid, err := mstats.Median(s)
	if err != nil {
		return Interval{}
	}
	half := 1.96 * math.Sqrt(n) / 2
	lo := int(math.Floor(n/2 - half))
	hi := int(math.Ceil(n/2 + half))
	lo, hi = min(max(lo, 0), len(s)-1), max(min(hi, len(s)-1), 0)
	return Interval{Value: mid, Low: s[lo], High: s[hi], N: len(s)}
}
