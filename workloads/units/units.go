// Package units owns how sizes, rates, counts and durations are written in
// flags, workload files and output: "1KiB", "20k/s", "1M", "30s". It parses
// and prints; it knows nothing of what is measured.
//
// The invariant to know: every error says which forms are accepted, so a
// caller only adds which flag or key it was.
//
// Start reading at ParseBytes.
package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size in bytes.
type Bytes int64

// Rate is operations per second.
type Rate float64

// Bits is a speed in bits per second.
type Bits float64

type unit struct {
	suffix string
	factor float64
}

// Longer suffixes first: "KiB" before "B".
var byteUnits = []unit{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

var bitUnits = []unit{
	{"kbit/s", 1e3}, {"Mbit/s", 1e6}, {"Gbit/s", 1e9}, {"bit/s", 1},
	{"kb/s", 1e3}, {"Mb/s", 1e6}, {"Gb/s", 1e9}, {"b/s", 1},
}

var countUnits = []unit{{"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}}

// ParseBytes reads "100B", "1KiB", "1.5MiB", "2GB" or a bare number of bytes.
func ParseBytes(s string) (Bytes, error) {
	v, err := scaled(s, byteUnits)
	if err != nil || v < 0 || v != math.Trunc(v) {
		return 0, fmt.Errorf("size %q: want whole bytes such as 100B, 1KiB, 64MiB or 2GB", s)
	}
	return Bytes(v), nil
}

// String gives the largest binary unit that divides b: "1KiB", "1000B".
func (b Bytes) String() string {
	for i := 3; i >= 0; i-- {
		if f := int64(byteUnits[i].factor); int64(b) >= f && int64(b)%f == 0 {
			return strconv.FormatInt(int64(b)/f, 10) + byteUnits[i].suffix
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// Human gives b with about three digits: "1.4 GiB".
func (b Bytes) Human() string {
	for i := 3; i >= 0; i-- {
		if f := byteUnits[i].factor; math.Abs(float64(b)) >= f {
			return fmt.Sprintf("%.3g %s", float64(b)/f, byteUnits[i].suffix)
		}
	}
	return strconv.FormatInt(int64(b), 10) + " B"
}

// ParseRate reads "200/s", "20k/s", "1.5M/s", or the same without "/s".
func ParseRate(s string) (Rate, error) {
	v, err := scaled(strings.TrimSuffix(s, "/s"), countUnits)
	if err != nil || v <= 0 {
		return 0, fmt.Errorf("rate %q: want operations per second above zero, such as 500/s, 20k/s or 1.5M/s", s)
	}
	return Rate(v), nil
}

// String gives "20k/s", "1.5M/s", "200/s".
func (r Rate) String() string {
	v := float64(r)
	switch {
	case v >= 1e6:
		return trim(v/1e6) + "M/s"
	case v >= 10e3:
		return trim(v/1e3) + "k/s"
	}
	return trim(v) + "/s"
}

// ParseBits reads "10Gb/s", "100Mbit/s" or a bare number of bits per second.
func ParseBits(s string) (Bits, error) {
	v, err := scaled(s, bitUnits)
	if err != nil || v <= 0 {
		return 0, fmt.Errorf("speed %q: want bits per second above zero, such as 100Mb/s, 10Gb/s or 25Gbit/s", s)
	}
	return Bits(v), nil
}

// ParseCount reads a whole number with an optional k, M or G: "100k".
func ParseCount(s string) (int64, error) {
	v, err := scaled(s, countUnits)
	if err != nil || v < 0 || v != math.Trunc(v) {
		return 0, fmt.Errorf("count %q: want a whole number such as 1000, 100k or 5M", s)
	}
	return int64(v), nil
}

// ParseDuration reads Go's form ("300ms", "1m30s") and days ("2d"). Zero is
// written "0s" or "0"; another bare number is refused.
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if v, err := strconv.ParseFloat(days, 64); err == nil && v >= 0 && v < 36500 {
			return time.Duration(v * 24 * float64(time.Hour)), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("duration %q: want a number with a unit, such as 500ms, 30s, 10m or 2d", s)
	}
	return d, nil
}

// scaled reads a number with one of the suffixes. Values beyond 2^53 are
// refused: they are not exact, and nothing here is that large.
func scaled(s string, table []unit) (float64, error) {
	s = strings.TrimSpace(s)
	factor := 1.0
	for _, u := range table {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			s, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if err != nil {
		return 0, err
	}
	v *= factor
	if math.IsNaN(v) || math.Abs(v) > 1<<53 {
		return 0, strconv.ErrRange
	}
	// 1.1 * 1000 is not whole in binary: round what is within a rounding error.
	if r := math.Round(v); math.Abs(v-r) < 1e-6 {
		v = r
	}
	return v, nil
}

func trim(v float64) string { return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) }
