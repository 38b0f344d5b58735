package stats

import (
	"math"

	"headroom/reports/hlog"
)

// rowsPerDecade is the height of a heat map's cells: 2, 3.2, 5 ... wide steps
// that still show two modes a factor of two apart.
const rowsPerDecade = 6

// Heat is how many operations took how long, over time. Columns are Step
// seconds wide, rows a sixth of a decade of microseconds high.
type Heat struct {
	Step   int
	First  int // row of the lowest latency: 10^(First/rowsPerDecade) µs is its lower edge
	Rows   int
	Column []HeatColumn
	Most   int64 // the highest count of a cell
}

// HeatColumn is one column: the counts of its rows from the lowest up and the
// operations that failed.
type HeatColumn struct {
	T      int
	Counts []int64
	Failed int64
}

// Low returns the lower edge of row i in microseconds.
func (h *Heat) Low(i int) float64 {
	return math.Pow(10, float64(h.First+i)/rowsPerDecade)
}

// heatRows bounds the rows: 0.1 µs to beyond result.MaxLatency.
const (
	heatFirst = -rowsPerDecade
	heatRows  = 11 * rowsPerDecade
)

type heat struct {
	out Heat
	row []int16 // row of each histogram bucket
}

func newHeat(span float64) *heat {
	h := &heat{out: Heat{Step: niceStep(span, maxColumns)}, row: make([]int16, hlog.Buckets())}
	for i := range h.row {
		_, high := hlog.Value(int32(i))
		us := float64(high) / 1e3
		r := int(math.Floor(math.Log10(us)*rowsPerDecade)) - heatFirst
		h.row[i] = int16(min(max(r, 0), heatRows-1))
	}
	return h
}

// maxHeatColumns bounds what a clock that jumps ahead can ask for.
const maxHeatColumns = 4 * maxColumns

func (h *heat) add(t int, c *hlog.Counts) {
	at := t - mod(t, h.out.Step)
	if n := len(h.out.Column); n == 0 || h.out.Column[n-1].T != at {
		if n >= maxHeatColumns {
			return
		}
		h.out.Column = append(h.out.Column, HeatColumn{T: at, Counts: make([]int64, heatRows)})
	}
	col := &h.out.Column[len(h.out.Column)-1]
	c.Each(func(i int32, n int64) { col.Counts[h.row[i]] += n })
	col.Failed += c.Infinite
}

// finish cuts the rows to those that hold something; nil without any.
func (h *heat) finish() *Heat {
	lo, hi := heatRows, -1
	for _, c := range h.out.Column {
		for i, n := range c.Counts {
			if n > 0 {
				lo, hi = min(lo, i), max(hi, i)
				h.out.Most = max(h.out.Most, n)
			}
		}
	}
	if hi < lo {
		return nil
	}
	h.out.First, h.out.Rows = heatFirst+lo, hi-lo+1
	for i := range h.out.Column {
		h.out.Column[i].Counts = h.out.Column[i].Counts[lo : hi+1]
	}
	return &h.out
}
