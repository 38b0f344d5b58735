package migrate

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

func TestEmptyJoinerIsFilledAndBecomesMaster(t *testing.T) {
	w := newWorld(t, 1, 4)
	w.commit(1, 2, 3)
	w.load([]int{1, 2, 3}, 8, 40, 100)
	w.commit(1, 2, 3, 4)
	w.settle(10 * time.Second)
	w.check(1, 2, 3, 4)
	masters := 0
	for pid := range cluster.Partitions {
		if c := w.nodes[3].core; c.master[pid] == c.self {
			masters++
		}
	}
	if masters != cluster.Partitions/4 {
		t.Errorf("the joiner masters %d partitions, want %d", masters, cluster.Partitions/4)
	}
}

func TestLostNodeIsReplaced(t *testing.T) {
	w := newWorld(t, 2, 4)
	w.commit(1, 2, 3, 4)
	w.load([]int{1, 2, 3, 4}, 8, 40, 100)
	w.commit(1, 2, 4)
	w.settle(10 * time.Second)
	w.check(1, 2, 4)
}

func TestReturningNodeGetsOnlyTheDifference(t *testing.T) {
	w := newWorld(t, 3, 4)
	w.commit(1, 2, 3, 4)
	w.load([]int{1, 2, 3, 4}, 8, 200, 100)
	w.commit(1, 2, 4)
	w.run(20 * time.Millisecond) // the others have hardly begun to replace it
	for pid := 0; pid < cluster.Partitions; pid += 64 {
		w.write([]int{1, 2, 4}, pid, 3, 50, true)
		w.write([]int{1, 2, 4}, pid, 1000, 50, false)
	}
	before := w.sent()
	w.commit(1, 2, 3, 4)
	w.settle(10 * time.Second)
	w.check(1, 2, 3, 4)
	if n := w.conflicts(); n != 0 {
		t.Errorf("%d conflicts counted with a node that was only away", n)
	}
	if moved := w.sent() - before; moved > 2000 {
		t.Errorf("%d records moved for 128 changed ones and a few copies that had been dropped, want far below 51,200", moved)
	}
}

func (w *world) sent() (n uint64) {
	for _, x := range w.nodes {
		n += x.core.Progress().RecordsSent
	}
	return n
}

func (w *world) conflicts() (n uint64) {
	for _, x := range w.nodes {
		n += x.core.Progress().ConflictsDiscarded
	}
	return n
}

func TestSplitMergesNewestAndCountsConflictsExactly(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, 10+seed, 4)
		w.onDevices(seed)
		w.breaks = 0.002 * float64(seed/2)
		want := w.split()
		w.commit(1, 2, 3, 4)
		w.settle(10 * time.Second)
		w.check(1, 2, 3, 4)
		if got := w.conflicts(); got != want || want == 0 {
			t.Errorf("seed %d: %d conflicts counted, want %d", seed, got, want)
		}
	}
}

// split makes two sides that write the same and other records, and returns
// how many records were written on both.
func (w *world) split() (both uint64) {
	w.commit(1, 2, 3, 4)
	w.load([]int{1, 2, 3, 4}, 16, 20, 100)
	w.commit(1, 2)
	w.commit(3, 4)
	w.settle(10 * time.Second)
	written := map[record.Digest]int{}
	for side, group := range [][]int{{1, 2}, {3, 4}, {1, 2}} {
		for pid := 0; pid < cluster.Partitions; pid += 16 {
			for range 3 {
				i := w.rng.IntN(30)
				if w.write(group, pid, i, 80, w.rng.IntN(5) == 0) {
					written[digest(pid, i)] |= 1 << (side % 2)
				}
			}
		}
	}
	for _, sides := range written {
		if sides == 3 {
			both++
		}
	}
	return both
}

// TestInterruptedMergeLosesNothing changes the View while two sides merge, so
// that members which count as equal have absorbed more or less.
func TestInterruptedMergeLosesNothing(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			w := newWorld(t, 700+seed, 4)
			w.onDevices(seed / 4)
			w.rf = 2 + int(seed%2)
			want := w.split()
			w.commit(1, 2, 3, 4)
			w.run(time.Duration(w.rng.Int64N(int64(150 * time.Millisecond))))
			if seed%4 > 1 {
				rest := []int{1, 2, 3, 4}
				lost := w.rng.IntN(4)
				rest = slices.Delete(rest, lost, lost+1)
				w.commit(rest...)
				if seed%4 == 3 {
					w.settleGroup(10*time.Second, rest...) // each side was whole on both of its nodes
					w.check(rest...)
				}
				w.run(time.Duration(w.rng.Int64N(int64(150 * time.Millisecond))))
			}
			w.commit(1, 2, 3, 4)
			w.settle(10 * time.Second)
			w.check(1, 2, 3, 4)
			// A hub that follows another does not know what that one counted.
			if got := w.conflicts(); got < want || got > want*3/2 {
				t.Errorf("%d conflicts counted, want %d or somewhat more", got, want)
			} else {
				t.Logf("%d conflicts counted for %d", got, want)
			}
		})
	}
}

// TestEverythingConverges splits, merges and interrupts at random, with
// writes all the time and connections that break, and checks that the newest
// version of every record survives on exactly the replicas.
func TestEverythingConverges(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 10
	}
	loads := 0
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { loads += converge(t, seed) })
	}
	if loads < int(seeds)*20 {
		t.Errorf("%d reads of devices done: these seeds prove little about them", loads)
	}
}

func converge(t *testing.T, seed uint64) (loads int) {
	w := newWorld(t, 100+seed, 4)
	w.onDevices(seed)
	w.rf = 1 + w.rng.IntN(3)
	w.breaks = []float64{0, 0.001, 0.02}[w.rng.IntN(3)]
	w.full = []float64{0, 0.005}[w.rng.IntN(2)]
	w.commit(1, 2, 3, 4)
	groups := [][]int{{1, 2, 3, 4}}
	for range 4 + w.rng.IntN(4) {
		w.disturb(groups, 64)
		groups = w.regroup()
	}
	w.commit(1, 2, 3, 4)
	w.disturb([][]int{{1, 2, 3, 4}}, 64)
	w.settle(time.Minute)
	w.check(1, 2, 3, 4)
	return w.loads
}

// TestCrashAtFullRedundancyLosesNothing lets a node come back empty, at once
// or after the others have begun to replace it, and interrupts the repair.
func TestCrashAtFullRedundancyLosesNothing(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			w := newWorld(t, 500+seed, 4)
			w.onDevices(seed)
			w.rf = 2 + w.rng.IntN(2)
			w.breaks = 0.001
			all := []int{1, 2, 3, 4}
			w.commit(all...)
			for range 3 {
				w.disturb([][]int{all}, 64)
				w.settle(time.Minute)
				w.check(all...)
				lost := w.rng.IntN(4)
				w.erase(w.nodes[lost])
				if w.rng.IntN(2) == 0 {
					rest := slices.Delete(slices.Clone(all), lost, lost+1)
					w.commit(rest...)
					w.disturb([][]int{rest}, 64)
				}
				w.commit(all...)
				w.disturb([][]int{all}, 64)
				w.commit(all...)
			}
			w.settle(time.Minute)
			w.check(all...)
		})
	}
}

func TestLargeRecordsFitTheirFrames(t *testing.T) {
	w := newWorld(t, 9, 3)
	w.commit(1, 2)
	for i, size := range []int{record.MaxSize, 1, record.MaxSize, 200 << 10, 200 << 10, 100, 200 << 10} {
		w.write([]int{1, 2}, 5, i, size, false)
		w.write([]int{1, 2}, 6, i, size, false)
	}
	w.commit(1, 3)
	w.run(3 * time.Millisecond)
	w.commit(1, 2, 3)
	w.settle(10 * time.Second)
	w.check(1, 2, 3)
	w.commit(2, 3)
	w.settle(10 * time.Second)
	w.check(2, 3)
}

// disturb writes to each group at random while migrations go on.
func (w *world) disturb(groups [][]int, stride int) {
	for range 1 + w.rng.IntN(6) {
		for _, g := range groups {
			for range 40 {
				w.write(g, w.rng.IntN(64)*stride, w.rng.IntN(30), w.rng.IntN(200), w.rng.IntN(6) == 0)
			}
		}
		w.run(time.Duration(w.rng.Int64N(int64(15 * time.Millisecond))))
	}
}

// regroup forms new Views: all nodes in one or two groups, or one node left
// in its old View.
func (w *world) regroup() [][]int {
	order := w.rng.Perm(4)
	cut := w.rng.IntN(5)
	var a, b []int
	for i, id := range order {
		if i < cut {
			a = append(a, id+1)
		} else {
			b = append(b, id+1)
		}
	}
	var groups [][]int
	for _, g := range [][]int{a, b} {
		if len(g) == 0 || len(g) == 1 && w.rng.IntN(2) == 0 {
			continue // nobody, or a node that is paused
		}
		w.commit(g...)
		groups = append(groups, g)
	}
	return groups
}

func TestRateIsHonoured(t *testing.T) {
	w := newWorld(t, 4, 3)
	w.commit(1, 2)
	w.load([]int{1, 2}, 16, 50, 100)
	for _, n := range w.nodes {
		n.core.SetRate(Rate{BytesPerSecond: 200_000})
	}
	start, moved := w.now, uint64(0)
	w.commit(1, 2, 3)
	w.run(time.Second)
	p := w.nodes[0].core.Progress()
	if p.ETA < time.Second || p.ETA > 20*time.Second {
		t.Errorf("ETA %v after one second with %d bytes left at %.0f B/s", p.ETA, p.BytesLeft, p.Rate)
	}
	w.settle(time.Minute)
	w.check(1, 2, 3)
	for _, n := range w.nodes {
		moved = max(moved, n.core.Progress().BytesMoved)
	}
	took := w.now.Sub(start).Seconds()
	if rate := float64(moved) / took; rate > 215_000 || rate < 150_000 {
		t.Errorf("%d bytes in %.1f s: %.0f B/s, want 200,000", moved, took, rate)
	}
}

func TestFilledBeforeItsRecordsIsRefused(t *testing.T) {
	w := newWorld(t, 5, 3)
	w.commit(1, 2)
	w.load([]int{1, 2}, 64, 20, 100)
	w.breaks = 0.3 // most fills lose something
	w.commit(1, 2, 3)
	w.settle(2 * time.Minute)
	w.check(1, 2, 3)
	if n := w.nodes[2].core.Progress().Refused; n == 0 {
		t.Error("no message was refused; the test tests nothing")
	}
}

func TestNothingMovesWhileFrozen(t *testing.T) {
	w := newWorld(t, 6, 3)
	w.commit(1, 2)
	w.load([]int{1, 2}, 64, 20, 100)
	w.commit(1, 2, 3)
	w.run(5 * time.Millisecond)
	c := w.nodes[2].core
	before := c.Freeze(c.view.Members)
	w.run(100 * time.Millisecond)
	if got := c.Freeze(c.view.Members); *got != *before {
		t.Error("copy states changed while frozen")
	}
	if c.Deadline() != cluster.Never || c.Busy() {
		t.Error("a frozen Core wants to work")
	}
	w.commit(1, 2, 3)
	w.settle(10 * time.Second)
	w.check(1, 2, 3)
}

func TestHeldMessagesAreBounded(t *testing.T) {
	w := newWorld(t, 7, 2)
	c := w.nodes[0].core
	m := &wire.Migrate{View: cluster.ViewKey{Counter: 9, Proposer: 2, Inc: 1}, Step: wire.StepSummaryAsk}
	for range maxHeld + 10 {
		c.Receive(0, 2, m)
	}
	if got := c.Progress().HeldDropped; got != 10 {
		t.Errorf("%d messages dropped, want 10", got)
	}
	w.commit(1, 2)
	w.settle(time.Second)
	w.check(1, 2)
}

func TestManyPartitionsMoveFast(t *testing.T) {
	w := newWorld(t, 8, 4)
	w.commit(1, 2, 3, 4)
	w.load([]int{1, 2, 3, 4}, 1, 12, 100)
	start, messages := w.now, w.messages
	w.commit(1, 2, 4)
	w.settle(10 * time.Second)
	w.check(1, 2, 4)
	took := w.now.Sub(start)
	t.Logf("%d records, %d messages, %v at round trips of 2 to 4 ms", w.sent(), w.messages-messages, took)
	if took > 2*time.Second {
		t.Errorf("replacing a node took %v", took)
	}
}
