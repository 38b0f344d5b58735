package model

import (
	"encoding/json"
	"math"
	"testing"
)

func TestFitRecoversKnownCoefficients(t *testing.T) {
	want := USL{Gamma: 995, Alpha: .02671, Beta: .000769} // near those published for the specsdm91 data set
	var n, x []float64
	for _, k := range []float64{1, 18, 36, 72, 108, 144, 216} {
		n, x = append(n, k), append(x, want.At(k))
	}
	got, err := FitUSL(n, x)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "gamma", got.Gamma, want.Gamma, 1e-6)
	near(t, "alpha", got.Alpha, want.Alpha, 1e-5)
	near(t, "beta", got.Beta, want.Beta, 1e-5)
	near(t, "peak", got.Peak(), math.Sqrt((1-want.Alpha)/want.Beta), 1e-5)
}

func TestFitOfNoisyPointsStaysNear(t *testing.T) {
	want := USL{Gamma: 1000, Alpha: .05, Beta: .0005}
	var n, x []float64
	for k := 1.0; k <= 32; k++ {
		noise := 1 + .02*math.Sin(k*12.9898)
		n, x = append(n, k), append(x, want.At(k)*noise)
	}
	got, err := FitUSL(n, x)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []float64{1, 8, 32} {
		near(t, "throughput", got.At(k), want.At(k), .03)
	}
}

func TestFitKeepsLinearScalingLinear(t *testing.T) {
	got, err := FitUSL([]float64{1, 2, 4, 8}, []float64{10, 20, 40, 80})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "X(8)", got.At(8), 80, 1e-6)
	if got.Alpha < 0 || got.Beta < 0 {
		t.Errorf("negative coefficients: %+v", got)
	}
}

func TestFitRefusesTooFewPoints(t *testing.T) {
	if _, err := FitUSL([]float64{1, 2, 2}, []float64{1, 2, 2}); err == nil {
		t.Error("two node counts: no error")
	}
	if _, err := FitUSL([]float64{1, 2, 3}, []float64{1, -2, 3}); err == nil {
		t.Error("negative throughput: no error")
	}
}

func TestDefragmentationMeetsTheTable(t *testing.T) {
	for _, c := range [][3]float64{{.2, 1.25, .497}, {.3, 1.429, .581}, {.4, 1.667, .655}, {.5, 2, .721}, {.6, 2.5, .783}, {.7, 3.333, .841}, {.75, 4, .869}} {
		near(t, "WA", WriteAmplification(c[0]), c[1], 1e-3)
		near(t, "u", MaxFill(c[0]), c[2], 1e-3)
	}
	mark, ok := LowWaterMark(.9 * .721)
	near(t, "mark", mark, .5, .01)
	if _, full := LowWaterMark(.9 * .85); !ok || full {
		t.Error("a fill beyond the greatest mark must be refused, one below it not")
	}
}

func TestReplicaChainMeetsClosedForms(t *testing.T) {
	years := func(r int, mttf, mttr float64, how Repairs) float64 {
		return ReplicaMTTDL(r, mttf, mttr, how) / HoursPerYear
	}
	ten, four := 10.0*HoursPerYear, 4.0*HoursPerYear
	near(t, "RF1", years(1, ten, 1, Parallel), 10, 1e-9)
	near(t, "RF3", years(3, ten, 1, Parallel), 2.56153e10, 1e-4)
	near(t, "RF3 serial", years(3, ten, 1, Serial), 1.28077e10, 1e-4)
	near(t, "RF4", years(4, ten, 1, Parallel), 1.68409e15, 1e-4)
	near(t, "RF4 serial", years(4, ten, 1, Serial), 2.80684e14, 1e-4)
	near(t, "RF2", years(2, four, 24, Parallel), 2928, 1e-3)
	near(t, "RF3", years(3, four, 24, Parallel), 2.85285e6, 1e-4)
	near(t, "RF2, closed form", ReplicaMTTDL(2, 100, 10, Parallel), (3./100+1./10)/(2./100/100), 1e-9)
	near(t, "RF3, fast failures", years(3, 100, 10, Parallel), .534261, 1e-4)
}

func TestClusterChainMeetsTheTable(t *testing.T) {
	f := func(n, r int, mttfYears, mttr, want float64) {
		t.Helper()
		c := Cluster{Nodes: n, Copies: r, MTTF: mttfYears * HoursPerYear, MTTR: mttr, Survives: RandomSurvival(n, r, 4096)}
		near(t, "MTTDL", c.MTTDL()/HoursPerYear, want, 1e-3)
	}
	f(6, 3, 25, .5, 8.00460e10)
	f(12, 2, 25, .5, 83016)
	f(12, 3, 25, .5, 7.27706e9)
	f(30, 3, 25, 1, 1.55162e8)
	f(6, 2, 4, 24, 196.27)
}

func TestLossAtOnceMeetsTheTable(t *testing.T) {
	near(t, "6,2", LossAtOnce(6, 2, 4096, .001), 1.4960e-5, 1e-3)
	near(t, "12,3", LossAtOnce(12, 3, 4096, .001), 2.1852e-7, 1e-3)
	near(t, "30,3", LossAtOnce(30, 3, 4096, .001), 2.5374e-6, 1e-3)
	near(t, "100,3", LossAtOnce(100, 3, 4096, .001), 4.0295e-6, 1e-3)
	near(t, "8000,3", LossAtOnce(8000, 3, 256*8000, .001), 2.043e-3, 2e-3)
}

func TestSurvivalCountsRealSets(t *testing.T) {
	// A ring of four nodes, two copies: of the six pairs four are replica sets.
	sets := [][]uint16{{0, 1}, {1, 2}, {2, 3}, {3, 0}}
	got := Survival(4, sets, 3, 1)
	want := []float64{1, 1, 2. / 6, 0}
	for i := range want {
		near(t, "survival", got[i]+1, want[i]+1, 1e-12)
	}
}

func TestTriplesInterpolateAndRoundTrip(t *testing.T) {
	tr := Triple{50, 100, 400}
	near(t, "p50", tr.At(0), 100, 1e-12)
	near(t, "p90", tr.At(z90), 400, 1e-12)
	near(t, "p10", tr.At(-z90), 50, 1e-12)
	if v := (Triple{0, 1, 2}).At(-9); v < 0 {
		t.Errorf("below zero: %g", v)
	}
	for _, want := range []Triple{tr, Point(3)} {
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Triple
		if err := json.Unmarshal(b, &got); err != nil || got != want {
			t.Errorf("%s reads back as %v, %v", b, got, err)
		}
	}
	for _, bad := range []Triple{{2, 1, 3}, {1, 3, 2}, {-1, 0, 1}, Point(math.NaN()), Point(math.Inf(1))} {
		if bad.Check() == nil {
			t.Errorf("%v passes", bad)
		}
	}
}
