package keys

import (
	"math"
	"math/rand/v2"
)

// YCSB's ScrambledZipfianGenerator: Gray's approximation over ten billion and
// one items, whose rank is hashed into [0, n). It is far milder than a zipfian
// of the same exponent (hottest of 1000 keys: 3.9 % instead of 12.9 %).
const (
	ycsbItems = 10_000_000_001
	ycsbTheta = 0.99
	ycsbZeta  = 26.46902820178302 // YCSB's own constant, for 10^10 items
)

type ycsb struct{ gray gray }

func (y *ycsb) Next(r *rand.Rand, n uint64) uint64 { return FNV64(y.gray.rank(r.Float64())) % n }

// gray is the generator of Gray et al., "Quickly generating billion-record
// synthetic databases", SIGMOD 1994, as YCSB has it.
type gray struct {
	items, theta, zeta, alpha, eta float64
}

func newGray(items uint64, theta, zeta float64) gray {
	n := float64(items)
	zeta2 := 1 + math.Pow(0.5, theta)
	return gray{items: n, theta: theta, zeta: zeta, alpha: 1 / (1 - theta),
		eta: (1 - math.Pow(2/n, 1-theta)) / (1 - zeta2/zeta)}
}

// rank maps u in [0, 1) to a rank, 0 being the hottest.
func (g *gray) rank(u float64) uint64 {
	uz := u * g.zeta
	if uz < 1 {
		return 0
	}
	if uz < 1+math.Pow(0.5, g.theta) {
		return 1
	}
	return uint64(g.items * math.Pow(g.eta*u-g.eta+1, g.alpha))
}

// FNV64 is YCSB's hash of a number: FNV-1 over its eight bytes, lowest first,
// xor before multiply, made non-negative as a Java long.
func FNV64(v uint64) uint64 {
	h := uint64(0xcbf29ce484222325)
	for range 8 {
		h = (h ^ v&0xff) * 1099511628211
		v >>= 8
	}
	if int64(h) < 0 {
		h = -h
	}
	return h
}
