package pace

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"headroom/workloads/units"
)

// dispersion is variance/mean of the counts per window of all arrivals up to
// windows*width: 1 for a Poisson process, 0 for a constant one.
func dispersion(lanes []Schedule, windows int, width time.Duration) (ratio, mean float64) {
	counts := make([]float64, windows)
	for _, l := range lanes {
		for {
			at := l.Next()
			w := int(at / width)
			if at == Never || w >= windows {
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

func poissons(p *Profile, lanes int) []Schedule {
	var out []Schedule
	for i := range lanes {
		out = append(out, NewPoisson(p, lanes, rand.New(rand.NewPCG(1, uint64(i)))))
	}
	return out
}

func profile(t testing.TB, s string) *Profile {
	t.Helper()
	p, err := ParseProfile(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPoissonLanesAddUpToOnePoissonProcess(t *testing.T) {
	const windows = 10_000
	ratio, mean := dispersion(poissons(Steady(200_000), 4), windows, time.Millisecond)
	// (windows-1) ratio is chi-squared: standard deviation sqrt(2/windows).
	if math.Abs(ratio-1) > 4*math.Sqrt(2.0/windows) {
		t.Errorf("index of dispersion %.4f, want 1", ratio)
	}
	if math.Abs(mean-200) > 4*math.Sqrt(200.0/windows) {
		t.Errorf("mean %.2f arrivals per ms, want 200", mean)
	}
}

func TestPoissonGapsAreExponential(t *testing.T) {
	s := NewPoisson(Steady(1000), 1, rand.New(rand.NewPCG(3, 4)))
	const n = 100_000
	gaps, last := make([]float64, 0, n), time.Duration(0)
	for range n {
		at := s.Next()
		gaps = append(gaps, (at-last).Seconds()*1000)
		last = at
	}
	// Kolmogorov-Smirnov against 1-exp(-x), by 200 points; critical value at
	// 0.1 %: 1.95/sqrt(n).
	for i := 1; i <= 200; i++ {
		x, below := float64(i)*0.025, 0.0
		for _, g := range gaps {
			if g <= x {
				below++
			}
		}
		if d := math.Abs(below/n - (1 - math.Exp(-x))); d > 1.95/math.Sqrt(n) {
			t.Fatalf("share of gaps up to %.3f ms is %.4f off", x, d)
		}
	}
}

func TestConstantLanesInterleave(t *testing.T) {
	var lanes []Schedule
	for i := range 3 {
		lanes = append(lanes, NewConstant(Steady(1000), i, 3))
	}
	if got := lanes[1].Next(); got != time.Millisecond {
		t.Errorf("first arrival of lane 1 at %v, want 1ms", got)
	}
	if got := lanes[1].Next(); got != 4*time.Millisecond {
		t.Errorf("second arrival of lane 1 at %v, want 4ms", got)
	}
	p := Steady(9000)
	ratio, mean := dispersion([]Schedule{NewConstant(p, 0, 2), NewConstant(p, 1, 2)}, 1000, 100*time.Millisecond)
	if ratio > 0.01 || math.Abs(mean-900) > 1 {
		t.Errorf("constant schedule: dispersion %v, mean %v, want 0 and 900", ratio, mean)
	}
}

// TestEveryProfileOffersItsIntegral: arrivals up to t are the integral of the
// rate up to t, exactly for constant arrivals and within noise for Poisson.
func TestEveryProfileOffersItsIntegral(t *testing.T) {
	f := func(text string, at time.Duration, want float64) {
		t.Helper()
		p := profile(t, text)
		if got := float64(p.Mean(at)) * at.Seconds(); math.Abs(got-want) > 0.001*want+0.5 {
			t.Errorf("%s: Mean says %.1f arrivals in %v, want %.1f", text, got, at, want)
		}
		count := func(s Schedule) (n float64) {
			for last := time.Duration(0); ; n++ {
				next := s.Next()
				if next < last {
					t.Fatalf("%s: %v after %v", text, next, last)
				}
				if last = next; next >= at {
					return n
				}
			}
		}
		if got := count(NewConstant(p, 0, 1)); math.Abs(got-want) > 0.001*want+1 {
			t.Errorf("%s: %.0f constant arrivals in %v, want %.0f", text, got, at, want)
		}
		got := 0.0
		for _, s := range poissons(p, 3) {
			got += count(s)
		}
		if math.Abs(got-want) > 4*math.Sqrt(want) {
			t.Errorf("%s: %.0f Poisson arrivals in %v, want %.0f", text, got, at, want)
		}
	}
	f("20k/s", 2*time.Second, 40_000)
	f("ramp 1k/s 20k/s 10s", 10*time.Second, 105_000)
	f("ramp 1k/s 20k/s 10s", 5*time.Second, 1000*5+9500*5/2)
	f("ramp 20k/s 0/s 10s", 5*time.Second, 75_000)
	f("ramp 1k/s 2k/s 1s", 3*time.Second, 1500+4000) // holds the last rate
	f("steps 1k/s,5k/s,2k/s 2s", 6*time.Second, 16_000)
	f("steps 1k/s,0/s,2k/s 2s", 6*time.Second, 6_000)
	f("steps 1k/s,5k/s,2k/s 2s", 3*time.Second, 7_000)
	f("sine 10k/s 5k/s 4s", 8*time.Second, 80_000)
	f("sine 10k/s 5k/s 4s", 2*time.Second, 10_000*2+2*5000*4/(2*math.Pi))
}

func TestAChangingRateIsPoissonAtEachInstant(t *testing.T) {
	// Over a cycle the counts of windows at the same phase are Poisson counts.
	const cycles, per = 400, 10
	counts := make([][]float64, per)
	for i := range counts {
		counts[i] = make([]float64, cycles)
	}
	for _, s := range poissons(profile(t, "sine 1k/s 800/s 1s"), 2) {
		for {
			w := int(s.Next() / (100 * time.Millisecond))
			if w >= cycles*per {
				break
			}
			counts[w%per][w/per]++
		}
	}
	for i, list := range counts {
		mean, ratio := 0.0, 0.0
		for _, c := range list {
			mean += c / cycles
		}
		for _, c := range list {
			ratio += (c - mean) * (c - mean) / (cycles - 1) / mean
		}
		if math.Abs(ratio-1) > 4.5*math.Sqrt(2.0/cycles) {
			t.Errorf("phase %d: index of dispersion %.3f, want 1", i, ratio)
		}
	}
}

func TestAWarmUpHoldsTheFirstRate(t *testing.T) {
	s := NewConstant(profile(t, "ramp 10/s 30/s 2s").After(time.Second), 0, 1)
	var early, later int
	for at := s.Next(); at < 3*time.Second; at = s.Next() {
		if at < time.Second {
			early++
		} else {
			later++
		}
	}
	if early != 10 || later != 40 {
		t.Errorf("%d arrivals in the warm-up and %d in the ramp, want 10 and 40", early, later)
	}
}

func TestARateThatEndsAtZeroNeverComesBack(t *testing.T) {
	s := NewConstant(profile(t, "ramp 100/s 0/s 1s"), 0, 1)
	n := 0
	for s.Next() != Never {
		if n++; n > 60 {
			t.Fatal("more than 60 arrivals of a falling ramp of 50")
		}
	}
	if n < 49 || n > 51 {
		t.Errorf("%d arrivals, want 50", n)
	}
}

func TestPartsOfAProfileAddUp(t *testing.T) {
	p := profile(t, "sine 1k/s 500/s 1s")
	if got := float64(p.Part(4).Peak()); math.Abs(got-375) > 0.1 {
		t.Errorf("a quarter of a peak of 1500 is %v", got)
	}
	if got := p.Part(4).Mean(3 * time.Second); math.Abs(float64(got)-250) > 0.1 {
		t.Errorf("a quarter of a mean of 1000 is %v", got)
	}
	if p.Flat() || !Steady(5).Flat() {
		t.Error("a sine is flat, or a constant rate is not")
	}
}

func TestBadSchedulesSayWhatIsRight(t *testing.T) {
	for _, s := range []string{"", "0/s", "0", "-5/s", "ramp 1k/s 2k/s", "ramp 0/s 0/s 5s", "ramp 1k/s 2k/s 0s", "steps 0/s,0/s 1s", "sine 1k/s 2k/s 1s",
		"sine 1k/s 1k/s 1ms", "cubic 1/s 2/s 3s", "steps 1k/s,x 10s", "ramp 1k/s 2k/s 5"} {
		if p, err := ParseProfile(s); err == nil || !strings.Contains(err.Error(), "20k/s") {
			t.Errorf("ParseProfile(%q) = %v, %v, want an error with the forms", s, p, err)
		}
	}
	if r := profile(t, "steps 1k/s,5k/s 2s").Peak(); r != units.Rate(5000) {
		t.Errorf("peak %v, want 5k/s", r)
	}
}

func TestATraceIsReplayedAsRecorded(t *testing.T) {
	times, err := ReadTrace("t", strings.NewReader("# comment\n0\n0.5,get,7\n\n0.5\n2.000000001 put\n"))
	if err != nil {
		t.Fatal(err)
	}
	a, b := NewTrace(times, 0, 2), NewTrace(times, 1, 2)
	for _, want := range []time.Duration{0, 500 * time.Millisecond, Never, Never} {
		if got := a.Next(); got != want {
			t.Errorf("lane 0: %v, want %v", got, want)
		}
	}
	for _, want := range []time.Duration{500 * time.Millisecond, 2*time.Second + 1, Never} {
		if got := b.Next(); got != want {
			t.Errorf("lane 1: %v, want %v", got, want)
		}
	}
	for text, want := range map[string]string{"1\n0.5\n": "t:2", "x\n": "t:1", "": "no arrival", "-1\n": "t:1", "1e300\n": "t:1"} {
		if _, err := ReadTrace("t", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadTrace(%q): %v, want %q", text, err, want)
		}
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

func TestCoresAreKeptAwakeOrTheErrorNamesTheFile(t *testing.T) {
	a, err := KeepAwake()
	if err != nil {
		if !strings.Contains(err.Error(), awakePath) || a.Close() != nil {
			t.Errorf("%v, want %s in it, and nothing to close", err, awakePath)
		}
		return
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func TestAPreciseWaitIsNeverEarly(t *testing.T) {
	c := NewClock()
	p := NewPrecise(c)
	defer p.Close()
	for range 20 {
		at := c.Now() + 100*time.Microsecond
		p.Until(at)
		if now := c.Now(); now < at {
			t.Fatalf("back %v early", at-now)
		}
	}
	began := c.Now()
	p.Until(began + time.Hour)
	if d := c.Now() - began; d > time.Second {
		t.Errorf("a far instant kept the lane for %v", d)
	}
}

func BenchmarkPoisson(b *testing.B) {
	p := NewPoisson(Steady(1e6), 1, rand.New(rand.NewPCG(1, 2)))
	b.ReportAllocs()
	for b.Loop() {
		p.Next()
	}
}

func BenchmarkPoissonSine(b *testing.B) {
	p := NewPoisson(profile(b, "sine 1M/s 500k/s 1s"), 1, rand.New(rand.NewPCG(1, 2)))
	b.ReportAllocs()
	for b.Loop() {
		p.Next()
	}
}
