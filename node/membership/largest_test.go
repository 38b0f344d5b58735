package membership

import (
	"math/bits"
	"math/rand/v2"
	"testing"
)

func TestSearchFindsWhatTryingAllSetsFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		n := 1 + r.IntN(12)
		var bad [exactBroken]uint32
		for range r.IntN(2 * n) {
			if i, j := r.IntN(n), r.IntN(n); i != j {
				bad[i] |= 1 << j
				bad[j] |= 1 << i
			}
		}
		want := uint32(0)
		for s := uint32(1)<<n - 1; s > 0; s-- {
			ok := bits.OnesCount32(s) > bits.OnesCount32(want)
			for i := range n {
				ok = ok && (s&(1<<i) == 0 || bad[i]&s == 0)
			}
			if ok {
				want = s
			}
		}
		got := largest{bad: &bad}
		got.search(uint32(1)<<n-1, 0)
		if got.found != want {
			t.Fatalf("%d nodes, %b: found %b, want %b", n, bad[:n], got.found, want)
		}
	}
}
