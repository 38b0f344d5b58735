package runs

import (
	"fmt"
	"math"

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
			ok += " (" + between(b.OKLow, b.OKHigh, stats.Rate) + ")"
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
