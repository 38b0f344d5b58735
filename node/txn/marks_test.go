package txn

import (
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

func TestStagesFollowEachOtherAndAddUp(t *testing.T) {
	f := func(m Marks, now int, want wire.Stages) {
		t.Helper()
		got := m.Stages(ms(now))
		if got != want {
			t.Errorf("%+v at %d ms: %+v, want %+v", m, now, got, want)
		}
		if m.Relayed == nil && got.Sum() != ms(now).Sub(m.Arrived) {
			t.Errorf("%+v at %d ms: the stages are %v together", m, now, got.Sum())
		}
	}
	const d = time.Millisecond
	f(Marks{Arrived: ms(1), Started: ms(3), Executed: ms(6), Stored: ms(10), Finished: ms(15), Durable: ms(21)}, 28,
		wire.Stages{Queue: 2 * d, Admission: 3 * d, Storage: 4 * d, Replication: 5 * d, Durable: 6 * d, Reply: 7 * d})
	// One copy only: the outcome was known when the record was stored.
	f(Marks{Arrived: ms(1), Started: ms(3), Executed: ms(6), Stored: ms(10), Finished: ms(6)}, 11,
		wire.Stages{Queue: 2 * d, Admission: 3 * d, Storage: 4 * d, Reply: d})
	// Refused before the record was touched.
	f(Marks{Arrived: ms(1), Started: ms(3)}, 4, wire.Stages{Queue: 2 * d, Reply: d})
	// Passed on: what the master did not take, this node and the way did.
	f(Marks{Arrived: ms(1), Started: ms(2), Relayed: &wire.Stages{Queue: d, Storage: d}}, 10, wire.Stages{Queue: d, Storage: d, Forward: 7 * d})
	f(Marks{Arrived: ms(1), Relayed: &wire.Stages{Queue: time.Second}}, 10, wire.Stages{Queue: time.Second})
}

func TestASampledWriteIsMarkedOnItsWay(t *testing.T) {
	w := newWorld(t, 2)
	w.commit(1, 1, 1, 2)
	m := &Marks{Arrived: 1, Started: 1}
	w.now.Mono = ms(5)
	core := w.nodes[1].core
	core.Request(w.now, &Request{Kind: wire.KindPut, From: Origin{ID: 77, Marks: m}, Request: wire.Request{Digest: digest(1), Body: body(1)}})
	if got := core.Take().Executed; len(got) != 1 || got[0] != m || m.Executed != ms(5) || m.Finished != 0 {
		t.Fatalf("after the store: %d marks, %+v", len(got), m)
	}
	w.collect(w.nodes[1])
	w.now.Mono = ms(9)
	w.deliver()
	if m.Finished != ms(9) || w.status(77) != wire.StatusOK {
		t.Errorf("after the answer of the copy: %+v, %v", m, w.status(77))
	}
	if left := core.Take().Executed; len(left) != 0 {
		t.Errorf("%d marks are left", len(left))
	}
}

func ms(n int) cluster.Instant { return cluster.Instant(n) * cluster.Instant(time.Millisecond) }
