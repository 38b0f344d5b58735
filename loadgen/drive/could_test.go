package drive

import (
	"testing"
	"time"

	"headroom/loadgen/target"
)

func TestCouldTellsMoreThanAnyRunNeeds(t *testing.T) {
	rate, err := Could(Config{Workload: mixOf(t, "get:90,put:10"), Target: target.NewFake(), Rate: 10, Lanes: 2}, 100*time.Millisecond)
	if err != nil || rate < 50_000 { // a starved machine; a quiet one does millions
		t.Errorf("Could = %v, %v", rate, err)
	}
}
