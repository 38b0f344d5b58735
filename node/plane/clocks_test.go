package plane

import (
	"testing"
	"time"
)

func TestWallClockFollowsDriftAndIgnoresAJumpUntilItLasts(t *testing.T) {
	c := WallClock{StartMS: 1_000_000}
	at := func(elapsed time.Duration, machine int64, wantJump time.Duration, want int64) {
		t.Helper()
		if got := c.Look(elapsed, machine); got != wantJump {
			t.Errorf("after %v: jump %v, want %v", elapsed, got, wantJump)
		}
		if got := c.At(elapsed); got != want {
			t.Errorf("after %v: %d, want %d", elapsed, got, want)
		}
	}
	at(time.Second, 1_001_100, 0, 1_001_100)                          // drift
	at(2*time.Second, 4_602_000, 3599900*time.Millisecond, 1_002_100) // an hour ahead
	at(3*time.Second, 4_603_000, 0, 1_003_100)                        // reported once
	at(4*time.Second, 1_004_100, 0, 1_004_100)                        // set back: forgotten
	at(5*time.Second, 4_605_000, 3599900*time.Millisecond, 1_005_100)
	at(5*time.Second+JumpTrust, 4_605_000+JumpTrust.Milliseconds(), 0, 4_605_000+JumpTrust.Milliseconds())
}

func TestQueueClockSeesQueuesAndNotTheOtherClock(t *testing.T) {
	var c QueueClock
	f := func(sent uint32, now int64, want uint32) {
		t.Helper()
		if got := c.queued(sent, now); got != want {
			t.Errorf("sent %d, now %d: queued %d ms, want %d", sent, now, got, want)
		}
	}
	const other = 4_000_000_000 // the sender's clock is far away and about to wrap
	f(other, 1000, 0)
	f(other+100, 1105, 5)
	f(other+200, 4200, 3000) // lay in a paused node's buffer
	f(other+3200, 4199, 0)   // a shorter passage stands for none from now on
	wraps := uint32(1<<32 - 1 - other + 500)
	f(uint32(other+uint64(wraps)), 1000+int64(wraps)-1, 0) // wrapped
}
