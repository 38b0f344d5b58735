package drive

import (
	"runtime"
	"testing"
	"time"

	"headroom/loadgen/target"
)

func TestCouldTellsMoreThanAnyRunNeeds(t *testing.T) {
	could, err := Could(Config{Workload: mixOf(t, "get:90,put:10"), Target: target.NewFake(), Rate: 10, Lanes: 2}, 100*time.Millisecond)
	if err != nil || could.Rate < 1000 { // a starved machine under the race detector; a quiet one does millions
		t.Errorf("Could = %+v, %v", could, err)
	}
	if could.PerOp <= 0 || could.PerOp > time.Duration(runtime.NumCPU()+1)*time.Second/time.Duration(could.Rate) {
		t.Errorf("%v of CPU an operation at %v: more than there are cores", could.PerOp, could.Rate)
	}
}

func TestCouldNeedsNoPlacesAndTakesBatches(t *testing.T) {
	w := mixOf(t, "get:50,batch-get:25,batch-put:25")
	w.Keys.Distribution, w.Keys.HotShare, w.Keys.HotNode = "hot-node", 0.8, 2
	if could, err := Could(Config{Workload: w, Target: placed{target.NewFake()}, Rate: 10, Lanes: 1}, 20*time.Millisecond); err != nil || could.Rate < 100 {
		t.Errorf("Could = %+v, %v", could, err)
	}
	if w.Keys.Distribution != "hot-node" {
		t.Error("the run's own workload was changed")
	}
}

// BenchmarkNullSink is the figure of `make bench`: scheduled operations per
// second into a target that takes no time, one lane per core.
func BenchmarkNullSink(b *testing.B) {
	w := mixOf(b, "get:95,update:5")
	for b.Loop() {
		could, err := Could(Config{Workload: w, Target: target.Null{}, Rate: 1}, 300*time.Millisecond)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(could.Rate), "ops/s")
		b.ReportMetric(float64(could.PerOp), "CPU-ns/op")
	}
}
