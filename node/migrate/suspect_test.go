package migrate

import (
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
)

// inFlight gives one of the survivors of a lost node 3, in turn, a write of each
// partition that 3 served and did not bring to the other.
func (w *world) inFlight() (pids []int) {
	c := w.nodes[2].core
	for pid := 0; pid < cluster.Partitions; pid += 64 {
		if c.plan.Parts[pid].Master != c.self {
			continue
		}
		pids = append(pids, pid)
		w.stamp++
		m := record.Meta{Version: record.Version{Regime: uint32(c.view.Key.Counter), Stamp: w.stamp, Node: 3}, Generation: 2}
		d := digest(pid, len(pids)%3) // two of three replace a record
		if len(pids)%3 == 2 {
			d = digest(pid, 100)
		}
		if err := w.nodes[len(pids)%2].engine.Put(&d, m, []byte("in flight")); err != nil {
			w.t.Fatal(err)
		}
	}
	return pids
}

func (w *world) demandEqual(pids []int, a, b *node) {
	w.t.Helper()
	for _, pid := range pids {
		if x, y := a.engine.Partition(pid).Digest64, b.engine.Partition(pid).Digest64; x != y {
			w.t.Errorf("partition %d: %v and %v hold different records", pid, a.id, b.id)
		}
	}
}

func TestWhatALostMasterHadInFlightIsOnAllCopiesOrNone(t *testing.T) {
	w := newWorld(t, 31, 4)
	w.rf = 3
	w.commit(1, 2, 3)
	w.load([]int{1, 2, 3}, 64, 5, 10)
	pids := w.inFlight()
	w.commit(1, 2)
	w.settle(time.Minute)
	if len(pids) < 5 {
		t.Fatalf("%d partitions: tests nothing", len(pids))
	}
	w.demandEqual(pids, w.nodes[0], w.nodes[1])
	for pid := range cluster.Partitions {
		if w.nodes[0].core.unsure[pid] || w.nodes[1].core.unsure[pid] {
			t.Fatalf("partition %d: still unsure after all copies were compared", pid)
		}
	}
}

func TestACompareThatAViewInterruptsIsDoneInTheNext(t *testing.T) {
	w := newWorld(t, 32, 4)
	w.rf = 3
	w.commit(1, 2, 3)
	w.load([]int{1, 2, 3}, 64, 5, 10)
	pids := w.inFlight()
	w.commit(1, 2)
	w.commit(1, 2, 4) // before a single message was delivered
	w.settle(time.Minute)
	w.demandEqual(pids, w.nodes[0], w.nodes[1])
	w.demandEqual(pids, w.nodes[0], w.nodes[3])
}

func TestCopiesAreComparedBeforeAnyIsFilled(t *testing.T) {
	w := newWorld(t, 33, 4)
	w.rf = 3
	w.commit(1, 2, 3)
	w.load([]int{1, 2, 3}, 16, 20, 100)
	for _, n := range w.nodes {
		n.core.SetRate(Rate{RecordsPerSecond: 100})
	}
	w.commit(1, 2, 4)
	w.run(time.Second)
	compared, left := 0, 0
	for _, n := range w.nodes[:2] {
		for _, j := range n.core.jobs {
			switch {
			case j == nil:
			case j.stage <= absorbing:
				t.Fatalf("partition %d waits to be compared while others are filled", j.pid)
			case j.compares():
				compared++
			}
		}
		left += n.core.progress.Partitions
	}
	if compared == 0 || left < 100 {
		t.Errorf("%d partitions left, %d of them compared: tests nothing", left, compared)
	}
}
