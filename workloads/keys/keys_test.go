package keys

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
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
	pmf := map[string][]float64{}
	for _, name := range []string{Uniform, Zipfian, Latest, Hotspot, Exponential, Zoned, HotPartition, HotNode} {
		pmf[name] = make([]float64, n)
	}
	mix := NewScramble(n, 5)
	gamma := -math.Log(0.05) / (n * 0.5)
	zones := []Zone{{60, 10}, {30, 20}, {10, 70}}
	var hot []uint64
	for i, p := range zipfPMF(n, 0.99) {
		pmf[Uniform][i] = 1.0 / n
		pmf[Zipfian][mix.Map(uint64(i))] = p
		pmf[Latest][n-1-i] = p
		pmf[Hotspot][mix.Map(uint64(i))] = 0.2 / 160
		if i < 40 {
			pmf[Hotspot][mix.Map(uint64(i))] = 0.8 / 40
		}
		back := float64(n - 1 - i)
		pmf[Exponential][i] = (math.Exp(-gamma*back) - math.Exp(-gamma*(back+1))) / (1 - math.Exp(-gamma*n))
		switch {
		case i < 20:
			pmf[Zoned][i] = 0.6 / 20
		case i < 60:
			pmf[Zoned][i] = 0.3 / 40
		default:
			pmf[Zoned][i] = 0.1 / 140
		}
		pmf[HotPartition][i] = 0.2 / n
		if i%8 == 3 {
			hot = append(hot, uint64(i))
			pmf[HotPartition][i] += 0.8 / 25
		}
		pmf[HotNode][i] = pmf[HotPartition][i]
	}
	for name, want := range pmf {
		c, err := New(Spec{Distribution: name, Exponent: 0.99, HotFraction: 0.2, HotShare: 0.8, Percentile: 95, Fraction: 0.5,
			Zones: zones, Hot: hot, Records: n, Seed: 5})
		if err != nil {
			t.Fatal(err)
		}
		fits(t, name, want, func(r *rand.Rand) uint64 { return c.Next(r, n) })
	}
}

func TestLatestZipfianOfSteepExponentsMatches(t *testing.T) {
	const n = 150
	for _, s := range []float64{1, 1.5, 3} {
		want := make([]float64, n)
		for i, p := range zipfPMF(n, s) {
			want[n-1-i] = p
		}
		c, err := New(Spec{Distribution: Latest, Exponent: s, Records: n})
		if err != nil {
			t.Fatal(err)
		}
		fits(t, fmt.Sprintf("latest %v", s), want, func(r *rand.Rand) uint64 { return c.Next(r, n) })
	}
}

func TestSequentialLanesVisitEveryKeyOnceARound(t *testing.T) {
	const n, lanes = 12, 3
	seen := make([]int, n)
	for lane := range lanes {
		c, err := New(Spec{Distribution: Sequential, Records: n, Lane: lane, Lanes: lanes})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 * n / lanes {
			seen[c.Next(nil, n)]++
		}
	}
	for k, times := range seen {
		if times != 2 {
			t.Errorf("key %d was visited %d times in two rounds", k, times)
		}
	}
}

func TestChoosersStayBelowThePopulation(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range Distributions {
		c, err := New(Spec{Distribution: name, Exponent: 0.99, HotFraction: 0.2, HotShare: 0.8, Percentile: 95, Fraction: 0.5,
			Zones: []Zone{{50, 50}, {50, 50}}, Hot: []uint64{5, 90, 99}, Records: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []uint64{1, 7, 100, 1000} { // less while the load runs, more after inserts
			for range 500 {
				if k := c.Next(r, n); k >= n {
					t.Fatalf("%s: key %d of %d", name, k, n)
				}
			}
		}
	}
}

func TestHotKeysAreThoseOfThePlace(t *testing.T) {
	hot := HotKeys(1000, func(k uint64) bool { return k%10 == 4 })
	if len(hot) != 100 || hot[0] != 4 || hot[99] != 994 {
		t.Errorf("HotKeys = %v", hot)
	}
	if n := len(HotKeys(1<<30, func(uint64) bool { return true })); n != hotKeysMax {
		t.Errorf("%d hot keys, want the limit of %d", n, hotKeysMax)
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
	for in, want := range map[uint64]uint64{0: 6284781860667377211, 1: 8517097267634966620, 2: 1820151046732198393,
		3: 4052466453699787802, 10: 2408371864701034737, 100: 879817313296471393, 999: 2071219101098386137,
		1000: 5952875239596136740, 123456789: 2350796791908741607, 1 << 31: 5860980763039959109, 1 << 40: 6908947124047430886,
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

// The shares are measured on YCSB's own generator (loadgen reference): its
// hottest of 1000 keys gets 3.89 %, the top 1 % 13.1 %, the top 20 % 39.1 %.
func TestYCSBZipfianIsAsMildAsYCSB(t *testing.T) {
	const n, draws = 1000, 2_000_000
	c, err := New(Spec{Distribution: YCSBZipfian, Records: n})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	count := make([]float64, n)
	for range draws {
		count[c.Next(r, n)] += 100.0 / draws
	}
	slices.SortFunc(count, func(a, b float64) int { return cmp.Compare(b, a) })
	for top, want := range map[int]float64{1: 3.89, n / 100: 13.1, n / 5: 39.1} {
		got := 0.0
		for _, share := range count[:top] {
			got += share
		}
		if math.Abs(got-want) > 0.1 {
			t.Errorf("the top %d keys get %.2f %%, want %.2f %%", top, got, want)
		}
	}
}

func TestBadSpecsAreRefused(t *testing.T) {
	for _, s := range []Spec{{}, {Distribution: "gauss", Records: 1}, {Distribution: "zipfian", Records: 1},
		{Distribution: "hotspot", Records: 10, HotFraction: 2, HotShare: .5},
		{Distribution: Uniform}, {Distribution: Zipfian, Records: 9, Exponent: math.NaN()}, {Distribution: Exponential, Records: 9, Percentile: 100, Fraction: 1},
		{Distribution: Zoned, Records: 9}, {Distribution: Zoned, Records: 9, Zones: []Zone{{50, 50}, {40, 50}}},
		{Distribution: Zoned, Records: 9, Zones: []Zone{{50, 1}, {50, 99}}}, {Distribution: HotNode, Records: 9, HotShare: .5}} {
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
