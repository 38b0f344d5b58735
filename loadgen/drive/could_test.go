package drive

import (
	"testing"
	"time"

	"headroom/loadgen/target"
)

func TestCouldTellsMoreThanAnyRunNeeds(t *testing.T) {
	rate, err := Could(Config{Workload: mixOf(t, "get:90,put:10"), Target: target.NewFake(), Rate: 10, Lanes: 2}, 100*time.Millisecond)
	if err != nil || rate < 1000 { // a starved machine under the race detector; a quiet one does millions
		t.Errorf("Could = %v, %v", rate, err)
	}
}

func TestCouldNeedsNoPlacesAndTakesBatches(t *testing.T) {
	w := mixOf(t, "get:50,batch-get:25,batch-put:25")
	w.Keys.Distribution, w.Keys.HotShare, w.Keys.HotNode = "hot-node", 0.8, 2
	if rate, err := Could(Config{Workload: w, Target: placed{target.NewFake()}, Rate: 10, Lanes: 1}, 20*time.Millisecond); err != nil || rate < 100 {
		t.Errorf("Could = %v, %v", rate, err)
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
		rate, err := Could(Config{Workload: w, Target: target.Null{}, Rate: 1}, 300*time.Millisecond)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(rate), "ops/s")
	}
}
