package sim

import (
	"math/rand/v2"
	"testing"
	"time"

	"headroom/node/cluster"
)

// runViews lets random faults happen to a random cluster without data, then
// ends them and demands one View of all nodes within the bound.
func runViews(seed uint64, log func(string)) (result, error) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := NewWorld(Config{Nodes: 3 + r.IntN(7), Seed: seed, Net: RandomNet(r), Seeds: 1 + r.IntN(3), Log: log})
	for _, n := range w.Nodes {
		w.After(time.Duration(r.Int64N(int64(300*time.Millisecond))), n.Start)
		n.Drift = r.Int64N(2*maxDrift+1) - maxDrift
	}
	w.Schedule(DefaultPlan, 25*time.Second)
	err := w.Run(26 * time.Second)
	if err == nil {
		err = w.agree()
	}
	return result{w: w, faults: w.fired()}, err
}

// agree ends all faults and demands one View of all nodes that lasts.
func (w *World) agree() error {
	w.Recover()
	const bound = 3 * time.Second
	if err := w.Run(bound); err != nil {
		return err
	}
	if !w.OneView() {
		w.fail("no View of all %v after the faults ended: %s", bound, w.describe())
		return w.Err
	}
	// It stays.
	commits := w.commits()
	if err := w.Run(2 * time.Second); err != nil {
		return err
	}
	if !w.OneView() || w.commits() != commits {
		w.fail("the View does not last: %d commits, then %d; %s", commits, w.commits(), w.describe())
	}
	return w.Err
}

func (w *World) commits() (n int) {
	for _, m := range w.Nodes {
		n += len(m.Commits)
	}
	return n
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
