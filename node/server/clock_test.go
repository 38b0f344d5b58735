package server

import (
	"path/filepath"
	"testing"
	"time"

	"headroom/node/cluster"
)

func TestWallClockFollowsDriftAndIgnoresAJumpUntilItLasts(t *testing.T) {
	c := wallClock{start: time.UnixMilli(1_000_000)}
	at := func(elapsed time.Duration, machine int64, wantJump time.Duration, want int64) {
		t.Helper()
		if got := c.look(elapsed, machine); got != wantJump {
			t.Errorf("after %v: jump %v, want %v", elapsed, got, wantJump)
		}
		if got := c.at(elapsed); got != want {
			t.Errorf("after %v: %d, want %d", elapsed, got, want)
		}
	}
	at(time.Second, 1_001_100, 0, 1_001_100)                          // drift
	at(2*time.Second, 4_602_000, 3599900*time.Millisecond, 1_002_100) // an hour ahead
	at(3*time.Second, 4_603_000, 0, 1_003_100)                        // reported once
	at(4*time.Second, 1_004_100, 0, 1_004_100)                        // set back: forgotten
	at(5*time.Second, 4_605_000, 3599900*time.Millisecond, 1_005_100)
	at(5*time.Second+jumpTrust, 4_605_000+jumpTrust.Milliseconds(), 0, 4_605_000+jumpTrust.Milliseconds())
}

func TestMetadataSurvivesAndDamageIsNamed(t *testing.T) {
	dir := t.TempDir()
	want := meta{Node: 7, Inc: 3, Promised: cluster.ViewKey{Counter: 9, Proposer: 7, Inc: 3},
		View:    cluster.View{Key: cluster.ViewKey{Counter: 8, Proposer: 7, Inc: 2}, Members: []cluster.Member{{Node: 7, Inc: 2, Addr: "127.0.0.1:1"}}},
		History: []cluster.ViewKey{{Counter: 8, Proposer: 7, Inc: 2}}}
	if err := storeMeta(dir, &want); err != nil {
		t.Fatal(err)
	}
	got, err := loadMeta(dir)
	if err != nil || got.Node != 7 || got.Inc != 3 || got.Promised != want.Promised || got.View.String() != want.View.String() || len(got.History) != 1 {
		t.Fatalf("loaded %+v, %v; want %+v", got, err, want)
	}
	b := want.encode()
	for i := range b {
		bad := append([]byte(nil), b...)
		bad[i] ^= 1
		if _, err := decodeMeta(bad); err == nil {
			t.Errorf("flipping byte %d goes unnoticed", i)
		}
		if _, err := decodeMeta(b[:i]); err == nil {
			t.Errorf("truncation to %d bytes goes unnoticed", i)
		}
	}
	if m, err := loadMeta(filepath.Join(dir, "absent")); m != nil || err != nil {
		t.Errorf("an absent directory gives %v, %v", m, err)
	}
}

func FuzzDecodeMeta(f *testing.F) {
	f.Add((&meta{Node: 1, Inc: 1}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err == nil && string(m.encode()) != string(b) {
			t.Error("decoded metadata encodes to something else")
		}
	})
}

func TestQueueClockSeesQueuesAndNotTheOtherClock(t *testing.T) {
	var c queueClock
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
