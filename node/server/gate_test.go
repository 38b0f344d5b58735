package server

import (
	"testing"
	"time"

	"headroom/node/txn"
	"headroom/node/wire"
)

func TestAReadThatWaitedBeyondItsDeadlineLeavesTheDeviceAlone(t *testing.T) {
	n := &Node{start: time.Now().Add(-time.Minute)}
	q := &txn.Request{Kind: wire.KindGet, Deadline: 1}
	n.readNow(nil, q) // a namespace that was asked would panic
	if got := n.overdue.Load(); got != 1 {
		t.Errorf("%d overdue, want 1", got)
	}
}
