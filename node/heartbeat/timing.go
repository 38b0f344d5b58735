package heartbeat

import (
	"math"
	"time"
)

// timing learns the rhythm of one peer's pulses: how far their gaps stray
// from the interval, and how many get lost.
type timing struct {
	dev  float64 // smoothed lateness in ns (gap − interval, not below 0), of gaps without loss
	loss float64 // smoothed share of lost pulses
	run  float64 // pulses in a row that get lost once in a million times, at that loss
}

// Smoothing weights: jitter over about 16 pulses, loss over about 50, so that
// one lost pulse (2 %) does not yet move the timeout.
const (
	devWeight  = 1.0 / 16
	lossWeight = 1.0 / 50
	// falseVerdicts is the probability of silence by loss alone that a
	// single timeout may have: with ten pulses a second it is one in 28 h per
	// peer, and a verdict needs a second member to agree.
	falseVerdicts = 1e-6
	// pauseAllowed is how many intervals a peer may stand still.
	pauseAllowed = 3
)

// observe learns from a pulse that came gap after the one before it, with
// lost sequence numbers missing between them.
func (t *timing) observe(gap, interval time.Duration, lost int) {
	for range min(lost, 8) { // a long outage is not loss; 8 bounds what it teaches
		t.loss += (1 - t.loss) * lossWeight
	}
	t.loss -= t.loss * lossWeight
	t.run = 0
	if t.loss > 1e-3 {
		t.run = math.Ceil(math.Log(falseVerdicts) / math.Log(min(t.loss, 0.5)))
	}
	if lost == 0 && gap < 3*interval {
		t.dev += (max(0, float64(gap-interval)) - t.dev) * devWeight // early pulses tell of changes, not of jitter
	}
}

// timeout is the silence after which the peer is doubted: base, or more when
// loss and jitter make that long a silence likely for a healthy peer.
//
//	clamp(interval·(1 + n) + pause + 4·dev, base, 3·base), n: lossⁿ ≤ 1e-6
//
// with n at least 2, so that a lossless peer gets the base of six intervals.
func (t *timing) timeout(interval, base time.Duration) time.Duration {
	n := max(2, t.run)
	dev := min(t.dev, float64(interval))
	want := time.Duration(float64(interval)*(1+n+pauseAllowed) + 4*dev)
	return min(max(want, base), maxStretch*base)
}
