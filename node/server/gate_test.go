package server

import (
	"testing"
	"time"

	"headroom/node/txn"
	"headroom/node/wire"
)

func TestAReadThatWaitedBeyondItsDeadlineLeavesTheDeviceAlone(t *testing.T) {
	n := &Node{start: time.Now().Add(-time.Minute)}
	q := &get{Request: txn.Request{Kind: wire.KindGet, Deadline: 1}}
	n.readNow(nil, q) // a namespace that was asked would panic
	if got := n.overdue.Load(); got != 1 {
		t.Errorf("%d overdue, want 1", got)
	}
}

func TestAReadThatCannotEndInTimeIsNotBegun(t *testing.T) {
	r := newReaders()
	if !r.inTime(time.Millisecond) {
		t.Error("refused although no read was timed yet")
	}
	for range 100 {
		r.took(100 * time.Millisecond)
	}
	if r.inTime(50*time.Millisecond) || !r.inTime(200*time.Millisecond) {
		t.Error("want a read with 50 ms left refused, one with 200 ms begun, where reads take 100 ms")
	}
	tries := 0
	for ; !r.inTime(time.Millisecond); tries++ {
		if tries == 1000 {
			t.Fatal("a device that was slow once is never tried again")
		}
	}
}
