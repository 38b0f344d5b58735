package chart

import (
	"fmt"
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// maxTicks bounds the ticks of any axis, whatever range it is asked for.
const maxTicks = 64

// step returns the smallest of 1, 2, 5 times a power of ten that divides span
// into at most n parts.
func step(span float64, n int) float64 {
	if !(span > 0) || math.IsInf(span, 0) {
		return 1
	}
	raw := span / float64(max(n, 1))
	mag := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if mag*m >= raw*(1-1e-9) {
			return mag * m
		}
	}
	return mag * 10
}

// linear returns the ticks at multiples of s within [lo, hi].
func linear(lo, hi, s float64, label func(float64) string) []plot.Tick {
	var out []plot.Tick
	for i := math.Ceil(lo/s - 1e-9); i*s <= hi+s*1e-9 && len(out) < maxTicks; i++ {
		v := i * s
		if v == 0 {
			v = 0 // no negative zero
		}
		out = append(out, plot.Tick{Value: v, Label: label(v)})
	}
	return out
}

// valueTicks are about n ticks of an axis from lo to hi.
func valueTicks(m Measure, lo, hi float64, n int) []plot.Tick {
	switch m {
	case Sizes:
		return linear(lo, hi, sizeStep(hi-lo, n), Size)
	case Shares:
		return linear(lo, hi, step(hi-lo, n), func(v float64) string { return Amount(v*100) + " %" })
	case Percent:
		return linear(lo, hi, step(hi-lo, n), func(v float64) string { return minus(Amount(v)) + " %" })
	case Ratios:
		return linear(lo, hi, max(step(hi-lo, n), 1), func(v float64) string { return Amount(math.Pow(10, v)) + "×" })
	case Wholes:
		return linear(lo, hi, max(step(hi-lo, n), 1), Amount)
	case Clock:
		return ClockTicks(lo, hi, n)
	case Times:
		return linear(lo, hi, step(hi-lo, n), func(v float64) string { return minus(timeLabel(v)) })
	default:
		return linear(lo, hi, step(hi-lo, n), Amount)
	}
}

// minus sets a true minus sign, as wide as a digit.
func minus(s string) string {
	if len(s) > 0 && s[0] == '-' {
		return "−" + s[1:]
	}
	return s
}

// sizeStep is a power of two that cuts span bytes into at most n parts.
func sizeStep(span float64, n int) float64 {
	if !(span > 0) || math.IsInf(span, 0) {
		return 1
	}
	return math.Pow(2, math.Ceil(math.Log2(max(span/float64(max(n, 1)), 1))))
}

// Size prints bytes in the shortest exact binary form: 1.5 GiB.
func Size(v float64) string {
	for i, name := range []string{"PiB", "TiB", "GiB", "MiB", "KiB"} {
		if size := math.Pow(2, float64(50-10*i)); math.Abs(v) >= size {
			return strconv.FormatFloat(math.Round(v/size*1e3)/1e3, 'f', -1, 64) + " " + name
		}
	}
	return strconv.FormatFloat(math.Round(v), 'f', -1, 64) + " B"
}

// AmountTicks are ticks for a rate or a count from zero: 0, 5k, 10k.
func AmountTicks(hi float64) []plot.Tick {
	return linear(0, hi, max(step(hi, 5), 0), Amount)
}

// Amount prints an axis value with the shortest exact scaled form: 2.5k.
func Amount(v float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= u.size*(1-1e-9) {
			return strconv.FormatFloat(math.Round(v/u.size*1e3)/1e3, 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatFloat(math.Round(v*1e3)/1e3, 'f', -1, 64)
}

// clockSteps are the distances of time ticks that a reader can count in.
var clockSteps = []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400}

// ClockTicks are ticks of a time axis in seconds, at most about n of them:
// 0 s, 10 s; 2 min; 1 h.
func ClockTicks(lo, hi float64, n int) []plot.Tick {
	span := hi - lo
	s := 0.0
	switch {
	case span < float64(n):
		s = step(span, n)
	default:
		for _, c := range clockSteps {
			if s = c; span/c <= float64(n) {
				break
			}
		}
		if span/s > float64(n) {
			s *= math.Ceil(span / s / float64(n))
		}
	}
	return linear(lo, hi, s, func(v float64) string { return clock(v, s) })
}

func clock(v, s float64) string {
	f := func(v float64) string { return strconv.FormatFloat(math.Round(v*1e3)/1e3, 'f', -1, 64) }
	switch {
	case v == 0:
		return "0"
	case s < 60:
		if math.Abs(v) < 120 {
			return f(v) + " s"
		}
		sign := ""
		if v < 0 {
			sign, v = "−", -v
		}
		sec := int64(math.Round(v))
		return fmt.Sprintf("%s%d:%02d", sign, sec/60, sec%60)
	case s < 3600:
		return f(v/60) + " min"
	default:
		return f(v/3600) + " h"
	}
}

// DurationTicks are ticks of a log10 axis of microseconds: 100 µs, 1 ms. An
// axis of less than about two decades also has labels at 2 and 5.
func DurationTicks(lo, hi float64) []plot.Tick {
	var out []plot.Tick
	marks := []float64{1}
	if hi-lo < 2.2 {
		marks = []float64{1, 2, 5}
	}
	for d := math.Floor(lo); d <= hi && len(out) < maxTicks; d++ {
		for _, m := range marks {
			v := d + math.Log10(m)
			if v >= lo-1e-9 && v <= hi+1e-9 {
				out = append(out, plot.Tick{Value: v, Label: micros(math.Round(m*math.Pow(10, d)*1e3) / 1e3)})
			}
		}
	}
	return out
}

// timeLabel is a duration on a linear axis, which has a zero.
func timeLabel(us float64) string {
	if us == 0 {
		return "0"
	}
	return micros(us)
}

func micros(us float64) string {
	f := func(v float64) string { return strconv.FormatFloat(math.Round(v*1e3)/1e3, 'f', -1, 64) }
	switch {
	case us < 1000:
		return f(us) + " µs"
	case us < 1e6:
		return f(us/1e3) + " ms"
	default:
		return f(us/1e6) + " s"
	}
}

// ninesDeep is the deepest nines axis: p99.999999, 10^8 samples.
const ninesDeep = 8

// NinesX places a share p (0 to 1, exclusive) on a nines axis: each further
// nine is one unit to the right.
func NinesX(p float64) float64 { return -math.Log10(1 - p) }

// NinesTicks are the ticks of a nines axis up to hi: 50 %, 90 %, 99 %, 99.9 %.
// Minor ticks (no label) stand at the tenths between.
func NinesTicks(hi float64) []plot.Tick {
	out := []plot.Tick{{Value: NinesX(0.5), Label: "50 %"}}
	for n := 1; n <= ninesDeep && float64(n) <= hi+1e-9; n++ {
		label := "90"
		if n >= 2 {
			label = "99"
		}
		if n > 2 {
			label += "." + "99999999"[:n-2]
		}
		out = append(out, plot.Tick{Value: float64(n), Label: label + " %"})
	}
	return out
}
