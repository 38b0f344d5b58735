package runs

import (
	"fmt"
	"math"

	"headroom/reports/chart"
	"headroom/reports/page"
	"headroom/reports/stats"
)

// when prints the stretch of a bin.
func when(f *stats.Facts, b stats.Bin) string {
	if f.Step == 1 {
		return fmt.Sprintf("second %d", b.T)
	}
	return fmt.Sprintf("%d to %d s", b.T, b.T+f.Step)
}

func hover(f *stats.Facts, names []string, value func(b stats.Bin) []string) *page.Hover {
	h := &page.Hover{Names: names, Values: make([][]string, len(names))}
	for _, b := range f.Bins {
		h.X = append(h.X, middle(f, b))
		h.Labels = append(h.Labels, when(f, b))
		for i, v := range value(b) {
			h.Values[i] = append(h.Values[i], v)
		}
	}
	return h
}

func throughputHover(f *stats.Facts) *page.Hover {
	names := []string{"completed", "offered"}
	if f.Run.Summary.Loop == "closed" {
		names = names[:1]
	}
	return hover(f, names, func(b stats.Bin) []string {
		ok := stats.Rate(b.OK)
		if f.Step > 1 {
			ok += " (" + stats.Between(b.OKLow, b.OKHigh, stats.Rate) + ")"
		}
		return []string{ok, stats.Rate(b.Offered)}[:len(names)]
	})
}

func latencyHover(f *stats.Facts) *page.Hover {
	return hover(f, []string{"max", "p99", "p50"}, func(b stats.Bin) []string {
		return []string{latencyText(b.Max), latencyText(b.P99), latencyText(b.P50)}
	})
}

func latencyText(us float64) string {
	switch {
	case math.IsInf(us, 1):
		return "∞ (failed operations)"
	case math.IsNaN(us):
		return "nothing completed"
	}
	return stats.Micros(us)
}

// staleAfter is how old a sample may be, in seconds, to be shown as the value of
// a moment: nodes are sampled every second, on a busy machine less often.
const staleAfter = 3.0

// curvesHover shows the samples of curves, each as it was last before the end of
// a bin; nil without bins. Points are in the order of time.
func curvesHover(f *stats.Facts, names []string, curves [][]chart.Point, print func(float64) string) *page.Hover {
	if len(f.Bins) == 0 {
		return nil
	}
	next := make([]int, len(curves)) // the first point that is later
	return hover(f, names, func(b stats.Bin) []string {
		end := float64(b.T + f.Step)
		out := make([]string, len(curves))
		for i, c := range curves {
			for next[i] < len(c) && c[next[i]].X < end {
				next[i]++
			}
			out[i] = "not sampled"
			if k := next[i] - 1; k >= 0 && c[k].X >= float64(b.T)-staleAfter && !math.IsNaN(c[k].Y) {
				out[i] = print(c[k].Y)
			}
		}
		return out
	})
}
