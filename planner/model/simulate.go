package model

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Dist is a distribution of times, as measured: a table of quantiles. Between
// two of them it is linear in the logarithm of time, so that a tail stays a
// tail. The zero Dist is zero always.
type Dist struct {
	q, v []float64 // ascending; q in [0, 1]
	step *steps    // what draws use; nil: Quantile
}

// maxQuantiles bounds a table read from a file.
const maxQuantiles = 10_000

// NewDist makes a Dist of quantiles: v[i] is the time that a share q[i] does
// not exceed. It needs at least two, from below 1/2 to 0.99 or above, and
// both lists ascending.
func NewDist(q, v []float64) (Dist, error) {
	if len(q) != len(v) || len(q) < 2 || len(q) > maxQuantiles {
		return Dist{}, fmt.Errorf("model: %d quantiles and %d times, want the same number, 2 to %d", len(q), len(v), maxQuantiles)
	}
	for i := range q {
		if !(q[i] >= 0 && q[i] <= 1) || !(v[i] > 0) || math.IsInf(v[i], 0) {
			return Dist{}, fmt.Errorf("model: quantile %g of %g, want quantiles of 0 to 1 and times above 0", q[i], v[i])
		}
		if i > 0 && (q[i] <= q[i-1] || v[i] < v[i-1]) {
			return Dist{}, fmt.Errorf("model: quantile %g of %g after %g of %g, want both ascending", q[i], v[i], q[i-1], v[i-1])
		}
	}
	if q[0] >= 0.5 || q[len(q)-1] < 0.99 {
		return Dist{}, fmt.Errorf("model: quantiles from %g to %g, want from below 0.5 to 0.99 at least", q[0], q[len(q)-1])
	}
	d := Dist{q: slices.Clone(q), v: slices.Clone(v)}
	d.makeSteps()
	return d, nil
}

// IsZero reports whether the Dist is the zero Dist.
func (d Dist) IsZero() bool { return len(d.q) == 0 }

// Quantile returns the time that a share p does not exceed.
func (d Dist) Quantile(p float64) float64 {
	if len(d.q) == 0 {
		return 0
	}
	i, _ := slices.BinarySearch(d.q, p)
	switch {
	case i == 0:
		return d.v[0]
	case i == len(d.q):
		return d.v[len(d.v)-1]
	}
	share := (p - d.q[i-1]) / (d.q[i] - d.q[i-1])
	return d.v[i-1] * math.Pow(d.v[i]/d.v[i-1], share)
}

// Mean returns the mean time: the integral of the quantiles.
func (d Dist) Mean() float64 {
	const steps = 2000
	sum := 0.0
	for i := range steps {
		sum += d.Quantile((float64(i) + 0.5) / steps)
	}
	return sum / steps
}

// Scale returns the distribution of k times the time, k > 0.
func (d Dist) Scale(k float64) Dist {
	v := slices.Clone(d.v)
	for i := range v {
		v[i] *= k
	}
	scaled := Dist{q: d.q, v: v}
	if d.step != nil {
		scaled.step = new(steps)
		for i, t := range d.step {
			scaled.step[i] = t * k
		}
	}
	return scaled
}

// Shape returns the distribution scaled to a mean of 1; the zero Dist stays.
func (d Dist) Shape() Dist {
	if d.IsZero() {
		return d
	}
	return d.Scale(1 / d.Mean())
}

// Exponential is the exponential distribution of that mean, in 0.1 % steps.
func Exponential(mean float64) Dist {
	return tabulate(func(p float64) float64 { return -mean * math.Log1p(-p) })
}

// Lognormal is the log-normal distribution of that mean and squared
// coefficient of variation.
func Lognormal(mean, cs2 float64) Dist {
	s := math.Sqrt(math.Log1p(cs2))
	mu := math.Log(mean) - s*s/2
	return tabulate(func(p float64) float64 { return math.Exp(mu + s*math.Sqrt2*math.Erfinv(2*p-1)) })
}

// tabulate samples a quantile function, finely at both ends.
func tabulate(f func(p float64) float64) Dist {
	var d Dist
	add := func(p float64) {
		d.q, d.v = append(d.q, p), append(d.v, f(p))
	}
	for _, p := range []float64{1e-5, 1e-4} {
		add(p)
	}
	for i := 1; i < 1000; i++ {
		add(float64(i) / 1000)
	}
	for _, p := range []float64{0.9995, 0.9998, 0.9999, 0.99995, 0.99998, 0.99999, 0.999995, 0.999998, 0.999999, 0.9999999} {
		add(p)
	}
	d.makeSteps()
	return d
}

// MarshalJSON gives [[quantile, time], …].
func (d Dist) MarshalJSON() ([]byte, error) {
	pairs := make([][2]float64, len(d.q))
	for i := range d.q {
		pairs[i] = [2]float64{d.q[i], d.v[i]}
	}
	return json.Marshal(pairs)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Dist) UnmarshalJSON(b []byte) error {
	var pairs [][2]float64
	if err := json.Unmarshal(b, &pairs); err != nil {
		return err
	}
	*d = Dist{}
	if len(pairs) == 0 {
		return nil
	}
	var q, v []float64
	for _, p := range pairs {
		q, v = append(q, p[0]), append(v, p[1])
	}
	got, err := NewDist(q, v)
	*d = got
	return err
}

// Station is a number of servers with one queue, first come first served, and
// Poisson arrivals.
type Station struct {
	Servers int
	Service Dist
	// Mean, if above 0, is the mean service time: Service is then only the
	// shape, of mean 1 (Dist.Shape), or exponential if it is zero.
	Mean float64
	// Rate is arrivals per unit of time of Service.
	Rate float64
}

// Utilisation is the share of time that a server is busy.
func (s Station) Utilisation() float64 {
	mean := s.Mean
	if mean <= 0 {
		mean = s.Service.Mean()
	}
	return s.Rate * mean / float64(s.Servers)
}

// Waits simulates n arrivals and returns how long each waited for a server,
// in order of arrival. It is an error if the station cannot carry its load.
// The first tenth of the arrivals is run beforehand and left out: the station
// starts empty.
func (s Station) Waits(n int, rng *rand.Rand) ([]float64, error) {
	if err := checkLoad(s.Servers, s.Utilisation()); err != nil {
		return nil, err
	}
	free := make(freeHeap, s.Servers)
	waits := make([]float64, 0, n)
	now := 0.0
	for i := -n / 10; i < n; i++ {
		now += rng.ExpFloat64() / s.Rate
		start := max(now, free[0])
		if i >= 0 {
			waits = append(waits, start-now)
		}
		switch {
		case s.Mean <= 0:
			free.replaceFirst(start + s.Service.draw(rng.Float64()))
		case s.Service.IsZero():
			free.replaceFirst(start + s.Mean*rng.ExpFloat64())
		default:
			free.replaceFirst(start + s.Mean*s.Service.draw(rng.Float64()))
		}
	}
	return waits, nil
}

// steps is a Dist at equal steps of probability, for draws: some 5 ns each
// where the search and the power of Quantile take 100. The highest steps,
// which bend most, are left to Quantile.
type steps [stepCount + 1]float64

const (
	stepCount = 4096
	stepExact = stepCount - 8
)

func (d *Dist) makeSteps() {
	d.step = new(steps)
	for i := range d.step {
		d.step[i] = d.Quantile(float64(i) / stepCount)
	}
}

// draw returns the quantile of p in [0, 1).
func (d *Dist) draw(p float64) float64 {
	x := p * stepCount
	i := int(x)
	if i >= stepExact || d.step == nil {
		return d.Quantile(p)
	}
	return d.step[i] + (d.step[i+1]-d.step[i])*(x-float64(i))
}

// Draw returns n independent draws from d.
func (d Dist) Draw(n int, rng *rand.Rand) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = d.draw(rng.Float64())
	}
	return out
}

// freeHeap holds when each server is free, soonest first.
type freeHeap []float64

// replaceFirst gives the first server a new time and restores the order. By
// hand: container/heap costs three times as much through its interface.
func (h freeHeap) replaceFirst(t float64) {
	i := 0
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if h[child] >= t {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = t
}

// Percentiles are quantiles of simulated times, in the unit of the times.
type Percentiles struct{ Mean, P50, P99, P999 float64 }

// Summarise returns the percentiles of times, which it reorders.
func Summarise(times []float64) Percentiles {
	if len(times) == 0 {
		return Percentiles{}
	}
	sum := 0.0
	for _, t := range times {
		sum += t
	}
	rest := times // from the top down: what is above a quantile is not looked at again
	at := func(p float64) float64 {
		k := min(int(p*float64(len(times))), len(times)-1)
		v := nth(rest, k)
		rest = rest[:k+1]
		return v
	}
	out := Percentiles{Mean: sum / float64(len(times)), P999: at(0.999)}
	out.P99 = at(0.99)
	out.P50 = at(0.5)
	return out
}

// nth reorders a list so that its k-th smallest is in its place, and returns it:
// quickselect, a quarter of the time of sorting 10,000 times.
func nth(list []float64, k int) float64 {
	low, high := 0, len(list)-1
	for low < high {
		a, b, c := list[low], list[low+(high-low)/2], list[high]
		pivot := max(min(a, b), min(max(a, b), c))
		i, j := low, high
		for i <= j {
			for list[i] < pivot {
				i++
			}
			for list[j] > pivot {
				j--
			}
			if i <= j {
				list[i], list[j] = list[j], list[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case k <= j:
			high = j
		case k >= i:
			low = i
		default:
			return list[k]
		}
	}
	return list[k]
}
