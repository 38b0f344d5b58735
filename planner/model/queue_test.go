package model

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance*math.Max(math.Abs(want), 1e-300) {
		t.Errorf("%s = %.6g, want %.6g within %g", what, got, want, tolerance)
	}
}

func TestMMCReproducesTheTable(t *testing.T) {
	f := func(c int, rho, wait, meanWait, w99, r50, r99, r999 float64) {
		t.Helper()
		q := MMC{c, rho}
		near(t, "C", q.Wait(), wait, 1e-3)
		near(t, "Wq", q.MeanWait(), meanWait, 1e-3)
		near(t, "W99", q.WaitQuantile(.99), w99, 1e-3)
		near(t, "R50", q.ResponseQuantile(.5), r50, 1e-3)
		near(t, "R99", q.ResponseQuantile(.99), r99, 1e-3)
		near(t, "R99.9", q.ResponseQuantile(.999), r999, 1e-3)
	}
	f(2, .5, .333333, .33333, 3.5066, .9744, 5.6660, 8.2275)
	f(4, .8, .596432, .74554, 5.1105, 1.3462, 6.8932, 9.8797)
	f(8, .8, .457645, .28603, 2.3897, .9863, 5.1522, 7.4697)
	f(16, .8, .304884, .09528, 1.0679, .8019, 4.7350, 7.0375)
	f(16, .9, .591343, .36959, 2.5499, 1.0780, 5.2698, 7.5884)
}

func TestGeneralServiceFollowsTheApproximations(t *testing.T) {
	near(t, "Allen-Cunneen, cs2 .25", MMC{8, .8}.AllenCunneen(1, .25), .17877, 1e-3)
	near(t, "Allen-Cunneen, cs2 4", MMC{8, .8}.AllenCunneen(1, 4), .71507, 1e-3)
	near(t, "Pollaczek-Khinchine, cs2 0", MMC{1, .7}.AllenCunneen(1, 0), 1.1667, 1e-3)
	near(t, "Pollaczek-Khinchine, cs2 4", MMC{1, .7}.AllenCunneen(1, 4), 5.8333, 1e-3)
	near(t, "Kingman tail, M/M/1", KingmanTail(.8, 1, 1, .99), math.Log(80)/.2, 1e-9)
}

func TestOverloadIsRefused(t *testing.T) {
	for _, s := range []Station{{Servers: 1, Service: Exponential(1), Rate: 1.01}, {Servers: 0, Service: Exponential(1), Rate: .1}} {
		if _, err := s.Waits(10, rand.New(rand.NewPCG(1, 1))); err == nil {
			t.Errorf("%d servers at rate %g: no error", s.Servers, s.Rate)
		}
	}
}

// responses simulates a station and returns its response times.
func responses(t *testing.T, s Station, n int) (waits []float64, r Percentiles) {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 9))
	waits, err := s.Waits(n, rng)
	if err != nil {
		t.Fatal(err)
	}
	all := s.Service.Draw(n, rng)
	for i, w := range waits {
		all[i] += w
	}
	return waits, Summarise(all)
}

func TestSimulatorMeetsTheory(t *testing.T) {
	const n = 300_000
	_, r := responses(t, Station{Servers: 1, Service: Exponential(1), Rate: .7}, n)
	near(t, "M/M/1 mean", r.Mean, 1/.3, .05)
	near(t, "M/M/1 p99", r.P99, math.Log(100)/.3, .05)
	_, r = responses(t, Station{Servers: 8, Mean: 1, Service: Exponential(1), Rate: 6.4}, n)
	near(t, "M/M/8 p99", r.P99, 5.1522, .05)
	waits, _ := responses(t, Station{Servers: 1, Service: Dist{q: []float64{0, 1}, v: []float64{1, 1}}, Rate: .7}, n)
	near(t, "M/D/1 mean wait", Summarise(waits).Mean, 1.1667, .05)
	waits, _ = responses(t, Station{Servers: 1, Service: Lognormal(1, 4), Rate: .5}, 6*n)
	near(t, "M/G/1 log-normal cs2 4 mean wait", Summarise(waits).Mean, 2.5, .05) // rho/(1-rho) * (1+cs2)/2
}

func TestPercentilesAreThoseOfTheSortedList(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 10, 999, 1000, 1001, 10_000} {
		for _, distinct := range []int{1, 2, 30, 1 << 40} {
			list := make([]float64, n)
			for i := range list {
				list[i] = float64(rng.IntN(distinct))
			}
			if n > 3 {
				list[0] = math.Inf(1)
			}
			sorted := slices.Sorted(slices.Values(list))
			at := func(p float64) float64 { return sorted[min(int(p*float64(n)), n-1)] }
			got := Summarise(list)
			if got.P50 != at(0.5) || got.P99 != at(0.99) || got.P999 != at(0.999) {
				t.Errorf("%d of %d distinct: %+v, want %g, %g, %g", n, distinct, got, at(0.5), at(0.99), at(0.999))
			}
		}
	}
}

func TestDistKeepsMeanAndTail(t *testing.T) {
	near(t, "mean", Exponential(3).Mean(), 3, .01)
	near(t, "p99", Exponential(3).Quantile(.99), 3*math.Log(100), 1e-6)
	near(t, "scaled p99.9", Lognormal(1, 4).Scale(2).Quantile(.999), 2*Lognormal(1, 4).Quantile(.999), 1e-9)
}

func TestBadQuantileTablesAreRefused(t *testing.T) {
	for _, c := range []struct{ q, v []float64 }{
		{nil, nil}, {[]float64{.1, .99}, []float64{1}}, {[]float64{.1, .99}, []float64{2, 1}}, {[]float64{.1, .99}, []float64{0, 1}},
		{[]float64{.6, .99}, []float64{1, 2}}, {[]float64{.1, .9}, []float64{1, 2}}, {[]float64{.1, 1.5}, []float64{1, 2}},
		{[]float64{.1, math.NaN()}, []float64{1, 2}},
	} {
		if _, err := NewDist(c.q, c.v); err == nil {
			t.Errorf("NewDist(%v, %v): no error", c.q, c.v)
		}
	}
}
