package pace

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// dispersion is variance/mean of the counts per window of all arrivals up to
// windows*width: 1 for a Poisson process, 0 for a constant one.
func dispersion(lanes []Schedule, windows int, width time.Duration) (ratio, mean float64) {
	counts := make([]float64, windows)
	for _, l := range lanes {
		for {
			w := int(l.Next() / width)
			if w >= windows {
				break
			}
			counts[w]++
		}
	}
	for _, c := range counts {
		mean += c / float64(windows)
	}
	for _, c := range counts {
		ratio += (c - mean) * (c - mean) / float64(windows-1) / mean
	}
	return ratio, mean
}

func TestPoissonLanesAddUpToOnePoissonProcess(t *testing.T) {
	var lanes []Schedule
	for i := range uint64(4) {
		lanes = append(lanes, NewPoisson(50_000, rand.New(rand.NewPCG(1, i))))
	}
	const windows = 10_000
	ratio, mean := dispersion(lanes, windows, time.Millisecond)
	// (windows-1) ratio is chi-squared: standard deviation sqrt(2/windows).
	if math.Abs(ratio-1) > 4*math.Sqrt(2.0/windows) {
		t.Errorf("index of dispersion %.4f, want 1", ratio)
	}
	if math.Abs(mean-200) > 4*math.Sqrt(200.0/windows) {
		t.Errorf("mean %.2f arrivals per ms, want 200", mean)
	}
}

func TestConstantLanesInterleave(t *testing.T) {
	var lanes []Schedule
	for i := range 3 {
		lanes = append(lanes, NewConstant(1000, i, 3))
	}
	if got := lanes[1].Next(); got != time.Millisecond {
		t.Errorf("first arrival of lane 1 at %v, want 1ms", got)
	}
	if got := lanes[1].Next(); got != 4*time.Millisecond {
		t.Errorf("second arrival of lane 1 at %v, want 4ms", got)
	}
	ratio, mean := dispersion([]Schedule{NewConstant(9000, 0, 2), NewConstant(9000, 1, 2)}, 1000, 100*time.Millisecond)
	if ratio > 0.01 || math.Abs(mean-900) > 1 {
		t.Errorf("constant schedule: dispersion %v, mean %v, want 0 and 900", ratio, mean)
	}
}

func TestTimerWaitsAndCanBeWokenEarly(t *testing.T) {
	timer, err := NewTimer()
	if err != nil {
		t.Fatal(err)
	}
	defer timer.Close()
	c := NewClock()
	if err := timer.Arm(3 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := timer.Wait(); err != nil {
		t.Fatal(err)
	}
	if d := c.Now(); d < 3*time.Millisecond {
		t.Errorf("woke after %v, armed for 3ms", d)
	}
	if err := timer.Arm(time.Hour); err != nil {
		t.Fatal(err)
	}
	go timer.Arm(0)
	if err := timer.Wait(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkPoisson(b *testing.B) {
	p := NewPoisson(1e6, rand.New(rand.NewPCG(1, 2)))
	b.ReportAllocs()
	for b.Loop() {
		p.Next()
	}
}
