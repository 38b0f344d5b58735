package keys

import (
	"math"
	"math/rand/v2"
)

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
