package keys

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// fits draws and compares with the exact probabilities by chi-squared; the
// bound is df + 4 sqrt(2 df), about 1 in 30,000 for one fixed seed.
func fits(t *testing.T, name string, pmf []float64, draw func(*rand.Rand) uint64) {
	t.Helper()
	const draws = 400_000
	r := rand.New(rand.NewPCG(7, 11))
	got := make([]int, len(pmf))
	for range draws {
		got[draw(r)]++
	}
	chi, df := 0.0, -1.0
	for i, p := range pmf {
		want := p * draws
		chi += (float64(got[i]) - want) * (float64(got[i]) - want) / want
		df++
	}
	if limit := df + 4*math.Sqrt(2*df); chi > limit {
		t.Errorf("%s: chi-squared %.0f with %.0f degrees of freedom, limit %.0f", name, chi, df, limit)
	}
}

func zipfPMF(n int, s float64) []float64 {
	p := make([]float64, n)
	sum := 0.0
	for i := range p {
		p[i] = math.Pow(float64(i+1), -s)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

func TestZipfMatchesTheExactDistribution(t *testing.T) {
	for _, s := range []float64{0.3, 0.5, 0.99, 1, 1.0000001, 1.2, 2} {
		z := NewZipf(300, s)
		fits(t, fmt.Sprintf("zipf %v", s), zipfPMF(300, s), func(r *rand.Rand) uint64 { return z.Rank(r) - 1 })
	}
}

func TestEachChooserMatchesItsDistribution(t *testing.T) {
	const n = 200
	flat := make([]float64, n)
	hot := make([]float64, n)
	for i := range flat {
		flat[i] = 1.0 / n
		hot[i] = 0.2 / 160
	}
	mix := NewScramble(n, 5)
	zipf := make([]float64, n)
	recent := make([]float64, n)
	for i, p := range zipfPMF(n, 0.99) {
		zipf[mix.Map(uint64(i))] = p
		recent[n-1-i] = p
		if i < 40 {
			hot[mix.Map(uint64(i))] = 0.8 / 40
		}
	}
	for name, pmf := range map[string][]float64{"uniform": flat, "zipfian": zipf, "latest": recent, "hotspot": hot} {
		c, err := New(Spec{Distribution: name, Exponent: 0.99, HotFraction: 0.2, HotShare: 0.8, Records: n, Seed: 5})
		if err != nil {
			t.Fatal(err)
		}
		fits(t, name, pmf, func(r *rand.Rand) uint64 { return c.Next(r, n) })
	}
}

func TestScrambleIsABijection(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 5, 16, 17, 1000, 4097} {
		s := NewScramble(n, n)
		seen := make([]bool, n)
		for k := range n {
			m := s.Map(k)
			if m >= n || seen[m] {
				t.Fatalf("n=%d: %d maps to %d, out of range or taken", n, k, m)
			}
			seen[m] = true
		}
	}
	big := NewScramble(1<<40+1, 3)
	if big.Map(1) == big.Map(2) {
		t.Error("two keys of a large domain collide")
	}
}

func TestLatestFollowsInserts(t *testing.T) {
	c, err := New(Spec{Distribution: "latest", Exponent: 0.99, Records: 10})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	newest := 0
	for range 1000 {
		k := c.Next(r, 1000)
		if k >= 1000 {
			t.Fatalf("key %d of 1000", k)
		}
		if k == 999 {
			newest++
		}
	}
	if newest < 90 { // 12.9 % expected
		t.Errorf("the newest of 1000 was drawn %d times in 1000, want about 129", newest)
	}
}

func TestYCSBVectors(t *testing.T) {
	for in, want := range map[uint64]uint64{0: 6284781860667377211, 1: 8517097267634966620, 10: 2408371864701034737,
		999: 2071219101098386137, 123456789: 2350796791908741607, 1 << 40: 6908947124047430886,
		1<<63 - 1: 8289549613075766851} {
		if got := FNV64(in); got != want {
			t.Errorf("FNV64(%d) = %d, want %d", in, got, want)
		}
	}
	zeta := 0.0
	for i := 1; i <= 1000; i++ {
		zeta += math.Pow(float64(i), -0.99)
	}
	g := newGray(1000, 0.99, zeta)
	if math.Abs(g.eta-0.074806086706898) > 1e-13 {
		t.Errorf("eta = %.15f", g.eta)
	}
	for u, want := range map[float64]uint64{.129: 0, .13: 1, .19: 1, .2: 2, .25: 3, .3: 4, .5: 22, .75: 151, .9: 471,
		.99: 927, .999: 992, .999999: 999} {
		if got := g.rank(u); got != want {
			t.Errorf("rank(%v) = %d, want %d", u, got, want)
		}
	}
}

func TestBadSpecsAreRefused(t *testing.T) {
	for _, s := range []Spec{{}, {Distribution: "gauss", Records: 1}, {Distribution: "zipfian", Records: 1},
		{Distribution: "hotspot", Records: 10, HotFraction: 2, HotShare: .5}} {
		if _, err := New(s); err == nil {
			t.Errorf("New(%+v) succeeded", s)
		}
	}
}

func BenchmarkZipfian(b *testing.B) {
	c, _ := New(Spec{Distribution: "zipfian", Exponent: 0.99, Records: 1 << 20})
	r := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		c.Next(r, 1<<20)
	}
}
