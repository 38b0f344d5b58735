package model

import (
	"fmt"
	"math"
)

// USL is the universal scalability law: X(N) = Gamma*N / (1 + Alpha*(N-1) +
// Beta*N*(N-1)). Alpha is the share of work that is serial, Beta the cost of
// agreement between pairs. The zero USL scales linearly with Gamma 0.
type USL struct {
	Gamma float64 `json:"gamma"` // throughput of one node
	Alpha float64 `json:"alpha"`
	Beta  float64 `json:"beta"`
}

// At returns the throughput of n nodes.
func (u USL) At(n float64) float64 { return u.Gamma * n * u.Efficiency(n) }

// Efficiency is the throughput per node at n nodes, relative to one.
func (u USL) Efficiency(n float64) float64 {
	return 1 / (1 + u.Alpha*(n-1) + u.Beta*n*(n-1))
}

// Peak is the number of nodes of the greatest throughput, +Inf if there is
// none.
func (u USL) Peak() float64 {
	if u.Beta <= 0 {
		return math.Inf(1)
	}
	return math.Sqrt(max(1-u.Alpha, 0) / u.Beta)
}

// FitUSL fits the law to throughputs x at n nodes by non-linear least squares
// (Levenberg and Marquardt), Alpha and Beta at least 0. It wants three
// different n at least.
func FitUSL(n, x []float64) (USL, error) {
	if err := checkUSL(n, x); err != nil {
		return USL{}, err
	}
	best := [3]float64{x[0] / n[0], 0.01, 0.0001}
	for i := range n {
		best[0] = max(best[0], x[i]/n[i])
	}
	sum, damp := residual(best, n, x), 1e-3
	for range 500 {
		next, ok := stepUSL(best, n, x, damp)
		if ok {
			if s := residual(next, n, x); s < sum {
				gain := (sum - s) / (sum + 1e-300)
				best, sum, damp = next, s, max(damp/5, 1e-12)
				if gain < 1e-14 {
					break
				}
				continue
			}
		}
		if damp *= 4; damp > 1e12 {
			break
		}
	}
	return USL{best[0], best[1], best[2]}, nil
}

func checkUSL(n, x []float64) error {
	if len(n) != len(x) {
		return fmt.Errorf("model: %d node counts and %d throughputs", len(n), len(x))
	}
	distinct := map[float64]bool{}
	for i := range n {
		if !(n[i] >= 1) || !(x[i] > 0) || math.IsInf(n[i]+x[i], 0) {
			return fmt.Errorf("model: throughput %g at %g nodes: want both positive", x[i], n[i])
		}
		distinct[n[i]] = true
	}
	if len(distinct) < 3 {
		return fmt.Errorf("model: %d different node counts, a scalability law has three coefficients: measure at least three", len(distinct))
	}
	return nil
}

func residual(p [3]float64, n, x []float64) float64 {
	sum := 0.0
	for i := range n {
		d := x[i] - USL{p[0], p[1], p[2]}.At(n[i])
		sum += d * d
	}
	return sum
}

// stepUSL solves (JᵀJ + damp*diag) d = Jᵀr and returns p+d, cut to the
// allowed range.
func stepUSL(p [3]float64, n, x []float64, damp float64) ([3]float64, bool) {
	var a [3][4]float64
	for i := range n {
		den := 1 + p[1]*(n[i]-1) + p[2]*n[i]*(n[i]-1)
		f := p[0] * n[i] / den
		j := [3]float64{n[i] / den, -f * (n[i] - 1) / den, -f * n[i] * (n[i] - 1) / den}
		for r := range 3 {
			for c := range 3 {
				a[r][c] += j[r] * j[c]
			}
			a[r][3] += j[r] * (x[i] - f)
		}
	}
	for r := range 3 {
		a[r][r] *= 1 + damp
	}
	d, ok := solve3(a)
	if !ok {
		return p, false
	}
	next := [3]float64{p[0] + d[0], max(p[1]+d[1], 0), max(p[2]+d[2], 0)}
	return next, next[0] > 0
}

// solve3 solves three linear equations by elimination with pivoting.
func solve3(a [3][4]float64) (x [3]float64, ok bool) {
	for c := range 3 {
		p := c
		for r := c + 1; r < 3; r++ {
			if math.Abs(a[r][c]) > math.Abs(a[p][c]) {
				p = r
			}
		}
		if a[p][c] == 0 {
			return x, false
		}
		a[c], a[p] = a[p], a[c]
		for r := range 3 {
			if r == c {
				continue
			}
			k := a[r][c] / a[c][c]
			for i := c; i < 4; i++ {
				a[r][i] -= k * a[c][i]
			}
		}
	}
	for r := range 3 {
		x[r] = a[r][3] / a[r][r]
	}
	return x, true
}
