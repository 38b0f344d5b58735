package sim

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"headroom/node/cluster"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run only this seed, and print what happens")
	seedCount = flag.Int("seeds", 60, "how many seeds TestSeeds runs")
	dataCount = flag.Int("data-seeds", 15, "how many seeds each test of the data plane runs")
	seedFirst = flag.Uint64("first", 1, "the first seed of TestSeeds")
)

// runSeed lets random faults happen to a random cluster, then ends them and
// demands one View of all nodes within the bound.
func runSeed(seed uint64, log func(string)) (*World, error) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := NewWorld(Config{Nodes: 2 + r.IntN(5), Seed: seed, Net: RandomNet(r), Seeds: 1 + r.IntN(3), Log: log})
	for _, n := range w.Nodes {
		w.After(time.Duration(r.Int64N(int64(300*time.Millisecond))), n.Start)
	}
	w.Schedule(DefaultPlan, 12*time.Second)
	if err := w.Run(13 * time.Second); err != nil {
		return w, err
	}
	w.Recover()
	const bound = 3 * time.Second
	if err := w.Run(bound); err != nil {
		return w, err
	}
	if !w.OneView() {
		w.fail("no View of all %v after the faults ended: %s", bound, w.describe())
		return w, w.Err
	}
	// It stays.
	commits := w.commits()
	if err := w.Run(2 * time.Second); err != nil {
		return w, err
	}
	if !w.OneView() || w.commits() != commits {
		w.fail("the View does not last: %d commits, then %d; %s", commits, w.commits(), w.describe())
	}
	return w, w.Err
}

func (w *World) commits() (n int) {
	for _, m := range w.Nodes {
		n += len(m.Commits)
	}
	return n
}

func TestSeeds(t *testing.T) {
	if *seedFlag != 0 {
		if _, err := runSeed(*seedFlag, func(l string) { fmt.Println(l) }); err != nil {
			t.Fatal(err)
		}
		return
	}
	events := 0
	for s := *seedFirst; s < *seedFirst+uint64(*seedCount); s++ {
		w, err := runSeed(s, nil)
		if err != nil {
			t.Errorf("seed %d: %v\nreplay: go test ./node/sim -run TestSeeds -seed %d", s, err, s)
			if t.Failed() && s > *seedFirst+1000 {
				break
			}
		}
		events += w.Events
	}
	t.Logf("%d seeds, %d events", *seedCount, events)
}

func TestSameSeedGivesSameTrace(t *testing.T) {
	for s := uint64(1); s <= 5; s++ {
		a, _ := runSeed(s, nil)
		b, _ := runSeed(s, nil)
		if a.Trace() != b.Trace() || a.Events != b.Events {
			t.Errorf("seed %d: trace %x after %d events, then %x after %d", s, a.Trace(), a.Events, b.Trace(), b.Events)
		}
	}
}

// form starts n nodes and waits for their View.
func form(t *testing.T, cfg Config) *World {
	t.Helper()
	w := NewWorld(cfg)
	for _, n := range w.Nodes {
		n.Start()
	}
	if !w.RunUntil(w.Now().Add(5*time.Second), w.OneView) {
		t.Fatalf("seed %d: no View: %v %s", cfg.Seed, w.Err, w.describe())
	}
	return w
}

// withoutMember reports whether all nodes that are up serve under one View.
func (w *World) commitTime(dead cluster.NodeID) (last cluster.Instant) {
	for _, n := range w.Nodes {
		if n.Up && n.ID != dead {
			last = max(last, n.Commits[len(n.Commits)-1].At)
		}
	}
	return last
}
