package stats

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Missing is what a report prints where a value was not measured. It is a
// word, not a dash, so that a screen reader says it too.
const Missing = "not recorded"

// Count prints n with a comma between thousands: 1,234,567.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "−", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Plural prints n and the noun it counts: "1 node", "4 nodes". The plural is
// the noun with an s.
func Plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Count(n) + " " + noun + "s"
}

// Micros prints a duration given in microseconds with three significant
// digits: 0 µs, 312 µs, 1.42 ms, 2.30 s, 4 min 05 s. A value that is not
// finite or is negative prints as Missing.
func Micros(us float64) string {
	switch {
	case math.IsNaN(us) || math.IsInf(us, 0) || us < 0:
		return Missing
	case us < 999.5:
		return digits(us) + " µs"
	case us < 999.5e3:
		return digits(us/1e3) + " ms"
	case us < 119.95e6:
		return digits(us/1e6) + " s"
	case us < 7200e6:
		s := int64(math.Round(us / 1e6))
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	default:
		m := int64(math.Round(us / 60e6))
		return fmt.Sprintf("%s h %02d min", Count(m/60), m%60)
	}
}

// Millis prints a duration given in milliseconds; see Micros.
func Millis(ms float64) string { return Micros(ms * 1e3) }

// Seconds prints a duration given in seconds; see Micros.
func Seconds(s float64) string { return Micros(s * 1e6) }

// Rate prints a rate with three significant digits: 950, 12.0k, 1.25M. The
// caller adds the unit.
func Rate(v float64) string { return scaled(v, 1000, []string{"", "k", "M", "G", "T"}) }

// Bytes prints a size in binary units: 0 B, 312 MiB.
func Bytes(v float64) string {
	s := scaled(v, 1024, []string{" B", " KiB", " MiB", " GiB", " TiB", " PiB"})
	return s
}

// Percent prints a share between 0 and 1 with at most two decimals.
func Percent(share float64) string {
	if math.IsNaN(share) || math.IsInf(share, 0) {
		return Missing
	}
	return trimZeros(strconv.FormatFloat(share*100, 'f', 2, 64)) + " %"
}

// PercentileName prints a percentile given as a fraction: p50, p99.9.
func PercentileName(p float64) string {
	return "p" + strconv.FormatFloat(math.Round(p*1e8)/1e6, 'f', -1, 64)
}

func scaled(v, base float64, units []string) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Missing
	}
	sign := ""
	if v < 0 {
		sign, v = "−", -v
	}
	i := 0
	// 999.5 would be rounded to four digits, so it moves to the next unit.
	for i < len(units)-1 && v >= base-0.5 {
		v /= base
		i++
	}
	if i == 0 && v < 99.95 {
		return sign + trimZeros(strconv.FormatFloat(v, 'f', 1, 64)) + units[0]
	}
	return sign + digits(v) + units[i]
}

// digits prints v with three significant digits and no exponent.
func digits(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 0.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
}

func trimZeros(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// Between prints an interval, or one number where both ends print alike. A
// unit that both ends share is printed once.
func Between(lo, hi float64, f func(float64) string) string {
	a, b := f(lo), f(hi)
	if a == b {
		return a
	}
	num, unit, _ := strings.Cut(a, " ")
	if _, other, _ := strings.Cut(b, " "); unit == other {
		a = num
	}
	return a + " to " + b
}

// Times prints a factor with as many digits as it is worth: 1.3 times, 229 times.
func Times(v float64) string {
	if v >= 10 {
		return Count(int64(math.Round(v))) + " times"
	}
	return fmt.Sprintf("%.1f times", v)
}
