package drive

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"headroom/loadgen/target"
	"headroom/workloads"
)

func TestViolationsInBatchesAreFound(t *testing.T) {
	f := func(mix string, fate target.Fate, kind target.Kind, found func(*Driver) int64) {
		t.Helper()
		fake := target.NewFake()
		seen := 0
		fake.Judge = func(op *target.Op) target.Fate {
			if op.Kind == kind {
				seen++
			}
			if seen > 2500 { // the load takes 1000 of the writes
				return fate
			}
			return target.Good
		}
		var d *Driver
		run(t, Config{Workload: mixOf(t, mix), Target: fake, Rate: 2000, Duration: 500 * time.Millisecond, Seed: 1}, func(x *Driver) { d = x })
		if found(d) == 0 {
			t.Errorf("%s: nothing found: %+v", mix, d.Audit())
		}
	}
	f("batch-put:100", target.LoseWrite, target.Write, func(d *Driver) int64 { return d.Audit().Lost })
	f("batch-get:100", target.FlipByte, target.Read, func(d *Driver) int64 { return d.Audit().Corrupt })
	f("batch-get:100", target.HideRecord, target.Read, func(d *Driver) int64 { return d.Audit().FalseNotFound })
}

// limited is a store that cannot delete.
type limited struct{ *target.Fake }

func (limited) Refuse(k target.Kind) error {
	if k == target.Delete {
		return errAbandoned
	}
	return nil
}

// placed is a store of 16 partitions on two nodes.
type placed struct{ *target.Fake }

func (placed) Partitions() int          { return 16 }
func (placed) Partition(key uint64) int { return int(key % 16) }
func (placed) Nodes() int               { return 2 }
func (placed) Node(key uint64) int      { return int(key % 2) }

func TestWhatATargetCannotDoIsSaidBeforeTheRun(t *testing.T) {
	f := func(w *workloads.Workload, to target.Target, want string) {
		t.Helper()
		_, err := New(Config{Workload: w, Target: to, Rate: 1})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("New: %v, want %q", err, want)
		}
	}
	f(mixOf(t, "get:99,delete:1"), limited{target.NewFake()}, "the workload has delete, which this target cannot do")
	f(mixOf(t, "get:100"), limited{target.NewFake()}, "")
	hot := mixOf(t, "get:100")
	hot.Keys.Distribution = "hot-node"
	f(hot, target.NewFake(), "hot-node needs a target that tells where its records are")
	f(hot, placed{target.NewFake()}, "")
	hot.Keys.HotNode = 3
	f(hot, placed{target.NewFake()}, "the cluster has 2")
	hot.Keys.Distribution, hot.Keys.HotPartitions = "hot-partition", 17
	f(hot, placed{target.NewFake()}, "the target has 16")
	few := mixOf(t, "batch-put:100")
	few.Records = 15
	f(few, target.NewFake(), "at least 20 records")
}

func TestAHotNodeGetsItsShare(t *testing.T) {
	w := mixOf(t, "get:100")
	w.Keys.Distribution, w.Keys.HotShare, w.Keys.HotNode = "hot-node", 0.8, 2
	fake := placed{target.NewFake()}
	var hot, all int
	ctx, enough := context.WithCancel(t.Context())
	fake.Judge = func(op *target.Op) target.Fate {
		if all++; op.Kind == target.Read && op.Key%2 == 1 {
			hot++
		}
		if all == 5000 { // however long that takes here
			enough()
		}
		return target.Good
	}
	d := start(t, Config{Workload: w, Target: fake, Closed: 1, Duration: time.Minute, Seed: 1})
	all, hot = 0, 0
	if _, err := d.Run(ctx, nil, nil); err != nil {
		t.Fatal(err)
	}
	if share := float64(hot) / float64(all); math.Abs(share-0.9) > 4*math.Sqrt(0.9*0.1/float64(all)) || all < 5000 { // 0.8 + 0.2/2
		t.Errorf("%d of %d reads hit the hot node, want 90 %%", hot, all)
	}
}

func TestWhatAGeneratorCouldDoIsMeasuredForPlacedKeysToo(t *testing.T) {
	w := mixOf(t, "get:90,batch-get:5,batch-put:5")
	w.Keys.Distribution = "hot-node"
	could, err := Could(Config{Workload: w, Target: placed{target.NewFake()}, Rate: 1000}, 50*time.Millisecond)
	if err != nil || could.Rate < 1000 {
		t.Errorf("Could = %+v, %v", could, err)
	}
}
