// Package keys owns the choice of the next record of a workload: uniform, true
// zipfian, YCSB's zipfian, latest and hotspot. It owns no clock, no state of
// the run and no randomness of its own.
//
// The invariant to know: a Chooser draws from [0, n) only, n being the number
// of records that are acknowledged at that moment, so a workload never asks
// for a record that was not written. True zipfian and hotspot keys are spread
// by a bijection (Scramble), so each rank is exactly one key: nothing merges,
// and the hot keys can be named.
//
// Start reading at Chooser.
package keys

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Chooser draws the next key number from [0, n), n > 0. Not safe for
// concurrent use: each lane has its own Chooser and its own rand.
type Chooser interface {
	Next(r *rand.Rand, n uint64) uint64
}

// Spec says which Chooser to make.
type Spec struct {
	// Distribution is one of Distributions.
	Distribution string
	// Exponent of zipfian and latest, above 0; ycsb-zipfian has 0.99 only.
	Exponent float64
	// HotFraction of the keys get HotShare of the draws (hotspot), both in (0, 1).
	HotFraction, HotShare float64
	// Records is the population when the load ends: zipfian and hotspot draw
	// from these and not from later inserts, so that the hot keys stay the same.
	Records uint64
	// Seed picks which keys are hot.
	Seed uint64
}

// Distributions lists the names New knows.
var Distributions = []string{"uniform", "zipfian", "ycsb-zipfian", "latest", "hotspot"}

// New returns the Chooser for s, or an error that names the accepted values.
func New(s Spec) (Chooser, error) {
	if s.Records == 0 {
		return nil, fmt.Errorf("keys: no records to choose from")
	}
	if zipf := s.Distribution == "zipfian" || s.Distribution == "latest"; zipf && !(s.Exponent > 0 && s.Exponent <= 10) {
		return nil, fmt.Errorf("keys: exponent %v: want above 0 and at most 10", s.Exponent)
	}
	switch s.Distribution {
	case "uniform":
		return uniform{}, nil
	case "zipfian":
		return &zipfian{zipf: NewZipf(s.Records, s.Exponent), mix: NewScramble(s.Records, s.Seed)}, nil
	case "ycsb-zipfian":
		return &ycsb{gray: newGray(ycsbItems, ycsbTheta, ycsbZeta)}, nil
	case "latest":
		return &latest{zipf: NewZipf(s.Records, s.Exponent)}, nil
	case "hotspot":
		if !(s.HotFraction > 0 && s.HotFraction < 1 && s.HotShare > 0 && s.HotShare < 1) {
			return nil, fmt.Errorf("keys: hotspot wants hot-fraction and hot-share between 0 and 1, got %v and %v",
				s.HotFraction, s.HotShare)
		}
		hot := max(1, uint64(s.HotFraction*float64(s.Records)))
		return &hotspot{hot: hot, n: s.Records, share: s.HotShare, mix: NewScramble(s.Records, s.Seed)}, nil
	}
	return nil, fmt.Errorf("keys: unknown distribution %q: want one of %v", s.Distribution, Distributions)
}

type uniform struct{}

func (uniform) Next(r *rand.Rand, n uint64) uint64 { return r.Uint64N(n) }

type zipfian struct {
	zipf Zipf
	mix  Scramble
}

func (z *zipfian) Next(r *rand.Rand, n uint64) uint64 {
	return z.mix.Map(z.zipf.Rank(r)-1) % n // n < records only before the load ends
}

type latest struct{ zipf Zipf }

func (l *latest) Next(r *rand.Rand, n uint64) uint64 {
	if n != l.zipf.n {
		l.zipf = NewZipf(n, l.zipf.s) // O(1): a few powers
	}
	return n - l.zipf.Rank(r)
}

type hotspot struct {
	hot, n uint64
	share  float64
	mix    Scramble
}

func (h *hotspot) Next(r *rand.Rand, n uint64) uint64 {
	k := r.Uint64N(h.hot)
	if h.n > h.hot && r.Float64() >= h.share {
		k = h.hot + r.Uint64N(h.n-h.hot)
	}
	return h.mix.Map(k) % n
}

// Scramble is a bijection on [0, n) that looks random: a four-round Feistel
// network over the next even number of bits, walked until it lands in range
// (at most 4 expected steps).
type Scramble struct {
	n    uint64
	half uint
	mask uint64
	key  [4]uint64
}

// NewScramble returns the bijection on [0, n) chosen by seed; n > 0.
func NewScramble(n, seed uint64) Scramble {
	s := Scramble{n: n, half: 1}
	for s.half < 32 && n > 1<<(2*s.half) {
		s.half++
	}
	s.mask = 1<<s.half - 1
	pcg := rand.NewPCG(seed, 0x9e3779b97f4a7c15)
	for i := range s.key {
		s.key[i] = pcg.Uint64()
	}
	return s
}

// Map returns the image of k, which must be below n.
func (s *Scramble) Map(k uint64) uint64 {
	for {
		l, r := k>>s.half, k&s.mask
		for _, key := range s.key {
			l, r = r, l^(mix64(r+key)&s.mask)
		}
		if k = l<<s.half | r; k < s.n {
			return k
		}
	}
}

// mix64 is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
func mix64(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Zipf draws ranks 1..n with probability proportional to rank^-s, exactly, for
// any s > 0, by rejection-inversion (Hörmann and Derflinger 1996): constant
// set-up, about 1.1 uniform numbers per draw.
type Zipf struct {
	n                   uint64
	s                   float64
	areaFirst, areaLast float64 // H(1.5)-1 and H(n+0.5)
	squeeze             float64
}

// NewZipf returns the distribution over 1..n with exponent s; n > 0, s > 0.
func NewZipf(n uint64, s float64) Zipf {
	z := Zipf{n: n, s: s}
	z.areaFirst = z.integral(1.5) - 1
	z.areaLast = z.integral(float64(n) + 0.5)
	z.squeeze = 2 - z.inverse(z.integral(2.5)-z.density(2))
	return z
}

// Rank draws a rank, 1 being the hottest.
func (z *Zipf) Rank(r *rand.Rand) uint64 {
	for {
		u := z.areaLast + r.Float64()*(z.areaFirst-z.areaLast)
		x := z.inverse(u)
		k := min(max(math.Floor(x+0.5), 1), float64(z.n))
		if k-x <= z.squeeze || u >= z.integral(k+0.5)-z.density(k) {
			return uint64(k)
		}
	}
}

// density is x^-s; integral its antiderivative, zero at 1; inverse the inverse
// of that. Written with expm1 and log1p they stay exact around s = 1.
func (z *Zipf) density(x float64) float64 { return math.Exp(-z.s * math.Log(x)) }

func (z *Zipf) integral(x float64) float64 {
	l := math.Log(x)
	t := (1 - z.s) * l
	if math.Abs(t) < 1e-8 {
		return l * (1 + t/2)
	}
	return l * math.Expm1(t) / t
}

func (z *Zipf) inverse(x float64) float64 {
	t := max(x*(1-z.s), -1)
	if math.Abs(t) < 1e-8 {
		return math.Exp(x * (1 - t/2))
	}
	return math.Exp(x * math.Log1p(t) / t)
}
