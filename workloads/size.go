package workloads

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"headroom/workloads/units"
)

// Size is the distribution of value sizes. It is written as text:
//
//	1KiB                                              fixed
//	uniform(100B..1KiB)                               every size from … to … alike
//	log-normal(median=1KiB,sigma=0.8,min=64B,max=64KiB)   min and max may be left out
//	histogram(100B:60,1KiB:30,10KiB:10)               size:weight
//
// A size is a pure function of a number (At), so that whoever knows key and
// sequence of a value knows its size.
type Size struct {
	Kind     string // fixed, uniform, log-normal or histogram
	Min, Max units.Bytes
	Median   units.Bytes // log-normal
	Sigma    float64     // log-normal, of the natural logarithm
	Bars     []Bar       // histogram, ascending by size
}

// Bar is one size of a histogram; weights are relative.
type Bar struct {
	Size   units.Bytes
	Weight float64
}

// The kinds of Size.
const (
	sizeFixed     = "fixed"
	sizeUniform   = "uniform"
	sizeLogNormal = "log-normal"
	sizeHistogram = "histogram"
)

const (
	barsMax  = 256
	sigmaMax = 5
	// A log-normal without bounds is cut at four sigma: one value in 30,000.
	logNormalCut = 4
)

// FixedSize is the distribution in which every value has size b.
func FixedSize(b units.Bytes) Size { return Size{Kind: sizeFixed, Min: b, Max: b} }

// ParseSize reads the text form.
func ParseSize(s string) (Size, error) {
	name, args, call := strings.Cut(strings.TrimSpace(s), "(")
	if !call {
		b, err := units.ParseBytes(s)
		if err != nil {
			return Size{}, fmt.Errorf("%w, or uniform(…), log-normal(…) or histogram(…)", err)
		}
		return FixedSize(b), nil
	}
	args, ok := strings.CutSuffix(args, ")")
	if !ok {
		return Size{}, fmt.Errorf("%q: no closing bracket", s)
	}
	switch name {
	case sizeUniform:
		return parseUniform(args)
	case sizeLogNormal:
		return parseLogNormal(args)
	case sizeHistogram:
		return parseHistogram(args)
	}
	known := []string{sizeUniform, sizeLogNormal, sizeHistogram}
	return Size{}, fmt.Errorf("unknown size distribution %q: want a size such as 1KiB, or one of %s%s", name,
		strings.Join(known, ", "), didYouMean(name, known))
}

func parseUniform(args string) (v Size, err error) {
	v.Kind = sizeUniform
	from, to, ok := strings.Cut(args, "..")
	if !ok {
		return v, fmt.Errorf("uniform(%s): want uniform(100B..1KiB)", args)
	}
	if v.Min, err = units.ParseBytes(from); err == nil {
		v.Max, err = units.ParseBytes(to)
	}
	return v, err
}

func parseLogNormal(args string) (v Size, err error) {
	v = Size{Kind: sizeLogNormal, Sigma: 1, Min: 1}
	for part := range strings.SplitSeq(args, ",") {
		name, text, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "median":
			v.Median, err = units.ParseBytes(text)
		case "min":
			v.Min, err = units.ParseBytes(text)
		case "max":
			v.Max, err = units.ParseBytes(text)
		case "sigma":
			if v.Sigma, err = strconv.ParseFloat(text, 64); err != nil {
				err = fmt.Errorf("sigma %q is not a number", text)
			}
		default:
			err = fmt.Errorf("%q: want log-normal(median=1KiB,sigma=0.8), min= and max= if wanted", part)
		}
		if err != nil {
			return v, err
		}
	}
	if v.Max == 0 {
		v.Max = units.Bytes(min(math.Ceil(float64(v.Median)*math.Exp(logNormalCut*v.Sigma)), MaxValueSize))
	}
	return v, nil
}

func parseHistogram(args string) (v Size, err error) {
	v.Kind = sizeHistogram
	for part := range strings.SplitSeq(args, ",") {
		size, weight, ok := strings.Cut(strings.TrimSpace(part), ":")
		var b Bar
		if b.Weight, err = strconv.ParseFloat(weight, 64); err != nil || !ok {
			return v, fmt.Errorf("%q: want histogram(SIZE:WEIGHT,…)", part)
		}
		if b.Size, err = units.ParseBytes(size); err != nil {
			return v, err
		}
		v.Bars = append(v.Bars, b)
	}
	slices.SortStableFunc(v.Bars, func(a, b Bar) int { return int(a.Size - b.Size) })
	v.Min, v.Max = v.Bars[0].Size, v.Bars[len(v.Bars)-1].Size
	return v, nil
}

// Validate reports what makes the distribution unusable.
func (v *Size) Validate() error {
	if v.Min < 1 || v.Max > MaxValueSize || v.Min > v.Max {
		return fmt.Errorf("%v: sizes from %v to %v, want 1B to %v, ascending", v, v.Min, v.Max, units.Bytes(MaxValueSize))
	}
	switch v.Kind {
	case sizeLogNormal:
		if v.Median < 1 || v.Median > MaxValueSize || !(v.Sigma > 0 && v.Sigma <= sigmaMax) {
			return fmt.Errorf("%v: want a median of 1B to %v and a sigma above 0 and at most %d", v, units.Bytes(MaxValueSize), sigmaMax)
		}
	case sizeHistogram:
		if len(v.Bars) > barsMax {
			return fmt.Errorf("histogram of %d sizes, want at most %d", len(v.Bars), barsMax)
		}
		for _, b := range v.Bars {
			if !(b.Weight > 0) || math.IsInf(b.Weight, 0) {
				return fmt.Errorf("%v: weight %v of %v, want above zero", v, b.Weight, b.Size)
			}
		}
	}
	return nil
}

// String is the text form; ParseSize reads it back.
func (v Size) String() string {
	switch v.Kind {
	case sizeUniform:
		return fmt.Sprintf("uniform(%v..%v)", v.Min, v.Max)
	case sizeLogNormal:
		return fmt.Sprintf("log-normal(median=%v,sigma=%s,min=%v,max=%v)", v.Median, number(v.Sigma), v.Min, v.Max)
	case sizeHistogram:
		var parts []string
		for _, b := range v.Bars {
			parts = append(parts, b.Size.String()+":"+number(b.Weight))
		}
		return "histogram(" + strings.Join(parts, ",") + ")"
	}
	return v.Min.String()
}

// At returns a size; u must be uniform over all 64-bit numbers. It costs 1 ns
// when fixed, up to 60 ns for a log-normal.
func (v *Size) At(u uint64) int {
	switch v.Kind {
	case sizeUniform:
		return int(v.Min) + int(u%uint64(v.Max-v.Min+1)) // off by 2^-44 at most: Max is below 2^20
	case sizeLogNormal:
		z := math.Sqrt2 * math.Erfinv(2*unit(u)-1)
		size := math.Round(float64(v.Median) * math.Exp(v.Sigma*z))
		return int(min(max(size, float64(v.Min)), float64(v.Max)))
	case sizeHistogram:
		left := unit(u) * v.weights()
		for _, b := range v.Bars {
			if left -= b.Weight; left < 0 {
				return int(b.Size)
			}
		}
	}
	return int(v.Max)
}

// unit maps u to the open interval (0, 1).
func unit(u uint64) float64 { return (float64(u>>11) + 0.5) / (1 << 53) }

func (v *Size) weights() (sum float64) {
	for _, b := range v.Bars {
		sum += b.Weight
	}
	return sum
}

// Mean is the average size in bytes, of a log-normal to within 0.1 %.
func (v *Size) Mean() float64 {
	switch v.Kind {
	case sizeUniform:
		return float64(v.Min+v.Max) / 2
	case sizeHistogram:
		sum := 0.0
		for _, b := range v.Bars {
			sum += b.Weight * float64(b.Size)
		}
		return sum / v.weights()
	case sizeLogNormal:
		const steps = 1 << 14
		sum := 0.0
		for i := range steps {
			sum += float64(v.At(uint64((float64(i)+0.5)/steps*(1<<53)) << 11))
		}
		return sum / steps
	}
	return float64(v.Max)
}
