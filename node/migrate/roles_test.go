package migrate

import (
	"slices"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/record"
	"headroom/node/wire"
)

// TestMessagesOutOfRoleChangeNothing forges each step from each member for
// each partition at a node that nothing is due to.
func TestMessagesOutOfRoleChangeNothing(t *testing.T) {
	w := newWorld(t, 20, 4)
	all := []int{1, 2, 3, 4}
	w.commit(1, 2, 3, 4)
	w.load(all, 64, 5, 10)
	w.commit(1, 2)
	w.commit(3, 4)
	w.settle(time.Minute)
	for pid := 0; pid < cluster.Partitions; pid += 64 {
		w.write([]int{1, 2}, pid, 7, 10, false) // one side may lack the partition
		w.write([]int{3, 4}, pid, 8, 10, false)
	}
	w.commit(all...) // merging, but no message delivered yet
	for _, n := range w.nodes {
		n.core.Take()
	}
	c := w.nodes[0].core
	for pid := 0; pid < cluster.Partitions; pid += 64 {
		part := &c.plan.Parts[pid]
		for i, m := range c.view.Members {
			for step := wire.StepFilled; step <= wire.StepDone; step++ {
				if step == wire.StepAbsorbed && uint16(i) == part.Master {
					continue // due, if early: the hub is trusted
				}
				before, master := c.report.Copies[pid], c.master[pid]
				if step == wire.StepMastered && uint16(i) == part.Final && part.Master != c.self {
					continue
				}
				if step == wire.StepFilled && uint16(i) == part.Master {
					continue // due, if it is number 1
				}
				msg := wire.Migrate{View: c.view.Key, Partition: uint16(pid), Step: step, Seq: 1, Answers: wire.StepHandoff}
				c.Receive(w.now, m.Node, &msg)
				if c.report.Copies[pid] != before || c.master[pid] != master {
					t.Fatalf("step %d from %v changed partition %d from %+v to %+v", step, m.Node, pid, before, c.report.Copies[pid])
				}
			}
		}
	}
	if out := c.Take(); len(out.Dropped)+len(out.Master) != 0 || c.Progress().Refused == 0 {
		t.Errorf("effects of forged messages: %+v", out)
	}
}

func TestHubThatStillServesDoesNotDrop(t *testing.T) {
	w := newWorld(t, 21, 3)
	w.rf = 1
	w.commit(1, 2)
	w.load([]int{1, 2}, 64, 5, 10)
	w.commit(1, 2, 3)
	tried := 0
	for _, n := range w.nodes[:2] {
		c := n.core
		for pid := range c.plan.Parts {
			part := &c.plan.Parts[pid]
			if part.Fresh || part.Master != c.self || slices.Contains(part.Replicas, c.self) {
				continue
			}
			tried++
			c.Receive(w.now, c.view.Members[part.Final].Node, &wire.Migrate{View: c.view.Key, Partition: uint16(pid), Step: wire.StepAllDone, Seq: 1})
			if c.report.Copies[pid].State != partition.Full {
				t.Fatalf("partition %d dropped by its working master", pid)
			}
		}
	}
	if tried == 0 {
		t.Error("no partition moves to the joiner; the test tests nothing")
	}
}

func TestMostEndangeredPartitionsGoFirst(t *testing.T) {
	w := newWorld(t, 22, 4)
	w.rf = 3
	w.commit(1, 2, 3)
	w.load([]int{1, 2, 3}, 16, 5, 10)
	w.commit(1, 4)
	c := w.nodes[0].core
	last := [3]int{}
	for i := range c.peers {
		for _, j := range c.peers[i].waiting {
			at := [3]int{fullCopies(j.part), b2i(j.part.Final == c.self), int(j.pid)}
			if slices.Compare(at[:], last[:]) < 0 {
				t.Fatalf("partition %d (%v) waits behind %v", j.pid, at, last)
			}
			last = at
		}
		last = [3]int{}
	}
	w.settle(time.Minute)
}

// TestOneCallDoesBoundedWork counts what each Tick sends.
func TestOneCallDoesBoundedWork(t *testing.T) {
	w := newWorld(t, 23, 3)
	w.commit(1, 2)
	w.load([]int{1, 2}, 512, 3000, 20)
	w.commit(1, 2, 3)
	c := w.nodes[0].core
	for range 2000 {
		c.Tick(w.now)
		e := c.Take()
		records := 0
		for _, s := range e.Sends {
			records += len(s.Msg.Records)
		}
		if records > 2*sliceRecords {
			t.Fatalf("one Tick sent %d records", records)
		}
		for _, s := range e.Sends {
			w.send(w.nodes[0], s)
		}
		w.run(200 * time.Microsecond)
	}
	w.settle(time.Minute)
	w.check(1, 2, 3)
}

func TestLimiterAllowsItsRateAndOneBurst(t *testing.T) {
	f := func(r Rate, wantBytes int) {
		t.Helper()
		var l limiter
		l.set(r)
		bytes, now := 0, cluster.Instant(0)
		for end := cluster.Instant(10 * time.Second); now < end; {
			if l.open(now) {
				l.take(1000, 10)
				bytes += 1000
			}
			now = max(now+1, l.opens(now))
			if r == (Rate{}) && bytes >= wantBytes {
				return
			}
		}
		if bytes < wantBytes*95/100 || bytes > wantBytes*105/100 {
			t.Errorf("%+v let %d bytes through in 10 s, want %d", r, bytes, wantBytes)
		}
	}
	f(Rate{BytesPerSecond: 50_000}, 500_000)
	f(Rate{RecordsPerSecond: 100}, 100_000)
	f(Rate{BytesPerSecond: 50_000, RecordsPerSecond: 100}, 100_000)
	f(Rate{}, 1_000_000)
}

func BenchmarkFill(b *testing.B) {
	const records = 64 * 1000
	for b.Loop() {
		b.StopTimer()
		t := &testing.T{}
		w := newWorld(t, 30, 2)
		w.commit(1)
		for pid := 0; pid < cluster.Partitions; pid += 64 {
			for i := range records / 64 {
				d := digest(pid, i)
				m := record.Meta{Version: record.Version{Regime: 1, Stamp: 1}, Generation: 1}
				if err := w.nodes[0].engine.Put(&d, m, make([]byte, 100)); err != nil {
					b.Fatal(err)
				}
			}
		}
		w.commit(1, 2)
		b.StartTimer()
		w.settle(time.Minute)
		b.StopTimer()
		for _, n := range w.nodes {
			n.engine.Close()
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
}
