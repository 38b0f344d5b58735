package proof

import (
	"math"
	"math/rand/v2"
	"testing"

	"headroom/loadgen/result"
)

// second fills a histogram with n exponential latencies of the given mean.
func second(b *Blocks, sec, n int, meanUS float64, r *rand.Rand) {
	h := result.NewHistogram()
	for range n {
		_ = h.RecordValue(int64(r.ExpFloat64() * meanUS * 1000)) // in range
	}
	b.Add(sec, h, 0)
}

func TestBlocksAreTheirHistogramsExactly(t *testing.T) {
	var b Blocks
	all := result.NewHistogram()
	r := rand.New(rand.NewPCG(1, 1))
	for sec := range 600 { // folds twice
		h := result.NewHistogram()
		for range 50 {
			v := int64(r.ExpFloat64() * 1e6)
			_ = h.RecordValue(v)
			_ = all.RecordValue(v)
		}
		b.Add(sec, h, int64(sec%2))
	}
	got, want := b.Percentiles(0, 600), result.Summarize(all, 300)
	if got.Samples != want.Samples || *got.P50 != *want.P50 || *got.P90 != *want.P90 || b.Length() != 4 {
		t.Errorf("blocks of %d s: %+v, want %+v", b.Length(), got, want)
	}
	n, beyond := b.Beyond(0, 600, 1e6)
	if n != 30_300 || math.Abs(float64(beyond-300)-float64(Above(all, 1e6))) > 0 {
		t.Errorf("%d samples, %d beyond 1 ms, want 30300 and %d", n, beyond, 300+Above(all, 1e6))
	}
}

// TestBootstrapIntervalsCoverTheTruth: of many runs of the same kind, about 95 %
// have the true median in their interval; where the seconds differ from each
// other the interval must be wider than that of independent samples.
func TestBootstrapIntervalsCoverTheTruth(t *testing.T) {
	truth := 1000 * math.Ln2
	hit := 0
	const runs = 60
	for run := range uint64(runs) {
		var b Blocks
		r := rand.New(rand.NewPCG(run, 7))
		for sec := range 20 {
			second(&b, sec, 100, 1000, r)
		}
		ci := b.Percentiles(0, 20).Boot95["p50"]
		if *ci[0] <= truth && truth <= *ci[1] {
			hit++
		}
	}
	if hit < 50 || hit == runs && runs > 200 { // 95 % of 60 is 57, three sigma below is 52
		t.Errorf("%d of %d intervals hold the true median", hit, runs)
	}
	var even, waves Blocks
	r := rand.New(rand.NewPCG(9, 9))
	for sec := range 40 {
		second(&even, sec, 500, 1000, r)
		second(&waves, sec, 500, 1000*(1+0.8*float64(sec%2*2-1)), r)
	}
	width := func(b *Blocks) float64 { ci := b.Percentiles(0, 40).Boot95["p90"]; return *ci[1] - *ci[0] }
	if width(&waves) < 2*width(&even) {
		t.Errorf("p90 interval %.0f us wide with waves, %.0f us without: correlation is not counted", width(&waves), width(&even))
	}
}

func seconds(n int, rate, p99 func(i int) float64) []Second {
	var out []Second
	for i := range n {
		out = append(out, Second{Rate: rate(i), P99US: p99(i)})
	}
	return out
}

func TestSteadyCutsWarmUpAndRefusesDrift(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	noise := func(m float64) func(int) float64 { return func(int) float64 { return m * (1 + 0.03*r.NormFloat64()) } }
	if s := Steady(seconds(60, noise(1000), noise(2000)), 60); !s.Reached || s.FromSec > 12 {
		t.Errorf("a steady run: %+v", s)
	}
	warm := func(i int) float64 { return 1000 * (1 + 9*math.Exp(-float64(i)/3)) * (1 + 0.03*r.NormFloat64()) }
	if s := Steady(seconds(60, noise(1000), warm), 60); !s.Reached || s.FromSec < 5 || s.FromSec > 25 {
		t.Errorf("a warm-up of some seconds: %+v, want a cut of 5 to 25 s", s)
	}
	climb := func(i int) float64 { return 1000 * (1 + float64(i)/30) * (1 + 0.03*r.NormFloat64()) }
	if s := Steady(seconds(60, noise(1000), climb), 60); s.Reached || s.Why == "" {
		t.Errorf("p99 that climbs throughout: %+v, want no steady state", s)
	}
	if s := Steady(seconds(60, climb, noise(1)), 60); s.Reached {
		t.Errorf("a rate that climbs throughout: %+v", s)
	}
	if s := Steady(seconds(60, noise(1000), noise(2000)), 5); s.Reached || s.ToSec != 5 {
		t.Errorf("a fault at 5 s: %+v, want no judgement", s)
	}
	broken := func(i int) float64 {
		if i > 20 && i < 24 {
			return math.Inf(1)
		}
		return 1000
	}
	if s := Steady(seconds(60, noise(1000), broken), 60); s.Reached && s.FromSec < 24 || s.FromSec > 30 {
		t.Errorf("three bad seconds: %+v, want them cut or no steady state", s)
	}
	gone := seconds(10, noise(500), noise(400))
	gone[8], gone[9] = Second{350, math.Inf(1)}, Second{0, math.NaN()}
	if s := Steady(gone, 10); s.Reached {
		t.Errorf("a target that goes away in the ninth second: %+v", s)
	}
	failing := func(int) float64 { return math.Inf(1) }
	if s := Steady(seconds(60, noise(1000), failing), 60); !s.Reached {
		t.Errorf("a target that fails as much all the time: %+v", s)
	}
	rare := seconds(60, func(i int) float64 { return float64(i % 2) }, noise(300))
	for i := range rare {
		if rare[i].Rate == 0 {
			rare[i].P99US = math.NaN()
		}
	}
	if s := Steady(rare, 60); !s.Reached {
		t.Errorf("an operation every other second: %+v", s)
	}
}

// probe draws seconds of n operations with the given share beyond the limit;
// with bursts, all of a second's are drawn together.
func probe(share float64, burst bool, seed uint64) *Test {
	t := &Test{Allowed: 0.01}
	r := rand.New(rand.NewPCG(seed, 3))
	for range 10 {
		p := share
		if burst {
			p *= 2 * r.Float64() * 1.5
		}
		k := int64(0)
		for range 2000 {
			if r.Float64() < p {
				k++
			}
		}
		t.Add(2000, k)
		if t.Decide() != result.Undecided {
			break
		}
	}
	return t
}

func TestTheSequentialTestIsRarelyWrong(t *testing.T) {
	count := func(share float64, burst bool) (holds, fails, looks int) {
		for seed := range uint64(200) {
			p := probe(share, burst, seed)
			looks += len(p.n)
			switch p.Decide() {
			case result.Holds:
				holds++
			case result.Fails:
				fails++
			}
		}
		return holds, fails, looks
	}
	if holds, fails, _ := count(0.01, false); holds+fails > 10 {
		t.Errorf("at the limit %d held and %d failed of 200: about 1 %% may be decided", holds, fails)
	}
	if holds, fails, looks := count(0.003, false); fails > 0 || holds < 198 || looks > 200*5 {
		t.Errorf("at a third of the limit %d held, %d failed, %.1f seconds each", holds, fails, float64(looks)/200)
	}
	if holds, fails, looks := count(0.03, false); holds > 0 || fails < 198 || looks > 200*4 {
		t.Errorf("at three times the limit %d held, %d failed, %.1f seconds each", holds, fails, float64(looks)/200)
	}
	// Seconds that differ must not be taken for independent operations.
	if holds, fails, _ := count(0.0067, true); holds+fails > 30 {
		t.Errorf("bursts at the limit on average: %d held and %d failed of 200", holds, fails)
	}
	few := &Test{Allowed: 0.01}
	few.Add(100, 0)
	few.Add(100, 0)
	few.Add(100, 0)
	few.Add(100, 0)
	if few.Decide() != result.Undecided {
		t.Error("400 operations decide about p99")
	}
}
