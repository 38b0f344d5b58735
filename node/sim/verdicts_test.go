package sim

import (
	"flag"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var nodeHours = flag.Int("node-hours", 4, "how many node-hours of bad weather must pass without a verdict")

// stormy is what the issue of a false verdict is measured in.
var stormy = Weather{Loss: 0.1, Jitter: 20 * time.Millisecond, Pause: 300 * time.Millisecond, Every: time.Minute}

const (
	stormNodes = 4
	stormLeg   = time.Hour // of one cluster; then another seed
)

func TestNoHealthyNodeIsGivenUpInBadWeather(t *testing.T) {
	legs := int64((*nodeHours + stormNodes - 1) / stormNodes)
	var next, verdicts atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := next.Add(1)
				if seed > legs {
					return
				}
				if v := Verdicts(stormNodes, uint64(seed), stormLeg, stormy); v > 0 {
					verdicts.Add(int64(v))
					t.Errorf("seed %d: %d nodes given up within %v; replay: Verdicts(%d, %d, %v, stormy)", seed, v, stormLeg, stormNodes, seed, stormLeg)
				}
			}
		})
	}
	wg.Wait()
	hours := float64(legs) * stormNodes
	t.Logf("%d false verdicts in %.0f node-hours (%d nodes, %.0f %% loss, up to %v jitter, a pause of %v each %v); %.0f node-hours per minute",
		verdicts.Load(), hours, stormNodes, stormy.Loss*100, stormy.Jitter, stormy.Pause, stormy.Every, hours/time.Since(began).Minutes())
}

func TestABadEnoughWeatherIsNoticed(t *testing.T) {
	worse := stormy
	worse.Pause = 1500 * time.Millisecond
	if v := Verdicts(stormNodes, 1, 5*time.Minute, worse); v == 0 {
		t.Error("nobody is given up although each node stands still for 1.5 s each minute: this test proves nothing")
	}
}
