package server

import (
	"testing"
	"time"
)

func TestNoReadIsAnsweredBetweenASuspensionAndTheNextLook(t *testing.T) {
	inBubble(t, 2, func(b *bubble) {
		n := b.nodes[1]
		if now := n.now(); now.Mono >= now.Lease {
			t.Fatalf("no lease to begin with: %+v", now)
		}
		// A suspension moves the wall clock on and leaves the other behind.
		n.ahead.Add(-int64(100 * time.Millisecond))
		if now := n.now(); now.Lease != 0 {
			t.Errorf("lease %v right after a suspension, want none", now.Lease)
		}
		if s := n.state(); s != "waiting" {
			t.Errorf("state %q, want waiting", s)
		}
		b.await("lease", func() bool { now := n.now(); return now.Mono < now.Lease }) // it was none
		n.ahead.Add(int64(100 * time.Millisecond))                                    // a clock set back is not believed either
		if now := n.now(); now.Lease != 0 {
			t.Errorf("lease %v right after the wall clock was set, want none", now.Lease)
		}
	})
}
