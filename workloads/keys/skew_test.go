package keys

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The expected shares are those of 50 million draws (loadgen reference).
func TestSkewIsThatOfTheDistribution(t *testing.T) {
	const n = 1000
	for name, want := range map[string][3]float64{Zipfian: {0.1294, 0.382, 0.779}, YCSBZipfian: {0.0389, 0.131, 0.391},
		Uniform: {0.001, 0.01, 0.2}} {
		c, err := New(Spec{Distribution: name, Exponent: 0.99, Records: n})
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(5, 6))
		var got [3]float64
		const rounds = 4
		for range rounds {
			a, b, c := Skew(c, n, r)
			got[0], got[1], got[2] = got[0]+a/rounds, got[1]+b/rounds, got[2]+c/rounds
		}
		for i, g := range got {
			if math.Abs(g-want[i]) > 0.03*want[i]+0.003 {
				t.Errorf("%s: shares %.4f, want %.4f", name, got, want)
				break
			}
		}
	}
}
