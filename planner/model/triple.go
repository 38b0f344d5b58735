package model

import (
	"encoding/json"
	"fmt"
	"math"
)

// Triple is a number that may be uncertain: its 10th, 50th and 90th
// percentile. All three are equal for a point. The zero Triple is the point 0.
type Triple struct{ P10, P50, P90 float64 }

// Point returns the Triple of a number known exactly.
func Point(v float64) Triple { return Triple{v, v, v} }

// Uncertain reports whether the three percentiles differ.
func (t Triple) Uncertain() bool { return t.P10 != t.P50 || t.P50 != t.P90 }

// Check returns an error unless the percentiles are finite, not below zero
// and in order.
func (t Triple) Check() error {
	switch {
	case math.IsNaN(t.P10+t.P50+t.P90) || math.IsInf(t.P10+t.P50+t.P90, 0):
		return fmt.Errorf("%v: want finite numbers", t)
	case t.P10 < 0:
		return fmt.Errorf("%v: want numbers of at least 0", t)
	case t.P10 > t.P50 || t.P50 > t.P90:
		return fmt.Errorf("%v: want p10 <= p50 <= p90", t)
	}
	return nil
}

// z90 is the standard normal 90th percentile: how far p10 and p90 lie from
// p50.
const z90 = 1.2815515655446004

// zMost bounds how far beyond its percentiles a draw may lie: 2.5 standard
// deviations. What lies further is an accident of the assumed shape.
const zMost = 2.5

// At returns the value at the standard normal deviate z: P50 at 0, P10 and
// P90 at -1.28 and 1.28, log-normal between and beyond on each side, linear
// where a percentile is zero. It is never below zero.
func (t Triple) At(z float64) float64 {
	if !t.Uncertain() {
		return t.P50
	}
	z = min(max(z, -zMost), zMost)
	edge, s := t.P90, z/z90
	if z < 0 {
		edge, s = t.P10, -z/z90
	}
	if t.P50 <= 0 || edge <= 0 {
		return max(t.P50+(edge-t.P50)*s, 0)
	}
	return t.P50 * math.Pow(edge/t.P50, s)
}

// Times returns the Triple with every percentile multiplied by k >= 0.
func (t Triple) Times(k float64) Triple { return Triple{t.P10 * k, t.P50 * k, t.P90 * k} }

// Widen returns the Triple with its distance from P50, as a factor, raised by
// the relative error e: an interval that allows for what the model was seen
// to be off by.
func (t Triple) Widen(e float64) Triple {
	if e <= 0 {
		return t
	}
	return Triple{t.P10 / (1 + e), t.P50, t.P90 * (1 + e)}
}

// String gives "5" or "[4, 5, 7]".
func (t Triple) String() string {
	if !t.Uncertain() {
		return fmt.Sprintf("%.4g", t.P50)
	}
	return fmt.Sprintf("[%.4g, %.4g, %.4g]", t.P10, t.P50, t.P90)
}

// MarshalJSON gives a number for a point, else an array of the percentiles.
func (t Triple) MarshalJSON() ([]byte, error) {
	if !t.Uncertain() {
		return json.Marshal(t.P50)
	}
	return json.Marshal([3]float64{t.P10, t.P50, t.P90})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Triple) UnmarshalJSON(b []byte) error {
	var v float64
	if json.Unmarshal(b, &v) == nil {
		*t = Point(v)
		return t.Check()
	}
	var list []float64
	if err := json.Unmarshal(b, &list); err != nil || len(list) != 3 {
		return fmt.Errorf("%s: want a number or [p10, p50, p90]", b)
	}
	*t = Triple{list[0], list[1], list[2]}
	return t.Check()
}
