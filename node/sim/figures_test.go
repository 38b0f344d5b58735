package sim

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/heartbeat"
)

const figureSeeds = 40

// sample runs measure for each seed and returns the sorted durations.
func sample(t *testing.T, what string, measure func(seed uint64) time.Duration) (p50, p99 time.Duration) {
	t.Helper()
	var ds []time.Duration
	for s := uint64(1); s <= figureSeeds; s++ {
		ds = append(ds, measure(s))
	}
	slices.Sort(ds)
	p50, p99 = ds[len(ds)/2], ds[len(ds)*99/100]
	t.Logf("%-40s p50 %7.1f ms, p99 of %d %7.1f ms", what, ms(p50), len(ds), ms(p99))
	return p50, p99
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func TestFourNodesFormOneViewWithinASecond(t *testing.T) {
	_, p99 := sample(t, "formation, 4 nodes within 50 ms", func(seed uint64) time.Duration {
		w := NewWorld(Config{Nodes: 4, Seed: seed})
		for i, n := range w.Nodes {
			w.After(time.Duration(i)*50*time.Millisecond/3, n.Start)
		}
		if !w.RunUntil(w.Now().Add(5*time.Second), func() bool { return w.Nodes[3].Up && w.OneView() && len(w.Nodes[0].View().Members) == 4 }) {
			t.Fatalf("seed %d: %v %s", seed, w.Err, w.describe())
		}
		return w.Now().Sub(0)
	})
	if p99 > time.Second {
		t.Errorf("formation p99 %v, want ≤ 1 s", p99)
	}
}

// crashFigure is the time from the loss of a random node of a quiet cluster
// to the last survivor's commit.
func crashFigure(t *testing.T, seed uint64, refuse bool) time.Duration {
	w := form(t, Config{Nodes: 4, Seed: seed, Net: NetConfig{Refuse: refuse}})
	r := rand.New(rand.NewPCG(seed, 2))
	if err := w.Run(time.Second + time.Duration(r.Int64N(int64(time.Second)))); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	at := w.Now()
	dead := w.Nodes[r.IntN(4)]
	dead.Crash(!refuse)
	if !w.RunUntil(at.Add(5*time.Second), w.OneView) {
		t.Fatalf("seed %d: %v %s", seed, w.Err, w.describe())
	}
	return w.commitTime(dead.ID).Sub(at)
}

func TestKilledProcessIsOutWithin150ms(t *testing.T) {
	p50, p99 := sample(t, "kill -9 (port refuses) to one View", func(s uint64) time.Duration { return crashFigure(t, s, true) })
	if p50 > 150*time.Millisecond || p99 > 300*time.Millisecond {
		t.Errorf("p50 %v, p99 %v, want ≤ 150 ms and ≤ 300 ms", p50, p99)
	}
}

func TestSilentNodeIsOutWithinASecond(t *testing.T) {
	p50, p99 := sample(t, "lost host (silence) to one View", func(s uint64) time.Duration { return crashFigure(t, s, false) })
	if p50 > 650*time.Millisecond || p99 > time.Second {
		t.Errorf("p50 %v, p99 %v, want ≤ 650 ms and ≤ 1 s", p50, p99)
	}
}

func TestRejoinIsFast(t *testing.T) {
	_, p99 := sample(t, "start of a returning node to one View", func(seed uint64) time.Duration {
		w := form(t, Config{Nodes: 4, Seed: seed, Net: NetConfig{Refuse: true}})
		w.Nodes[2].Crash(false)
		_ = w.Run(2 * time.Second)
		at := w.Now()
		w.Nodes[2].Start()
		if !w.RunUntil(at.Add(5*time.Second), w.OneView) {
			t.Fatalf("seed %d: %v %s", seed, w.Err, w.describe())
		}
		return w.Now().Sub(at)
	})
	if p99 > 300*time.Millisecond {
		t.Errorf("p99 %v, want ≤ 300 ms", p99)
	}
}

func TestMergeIsFast(t *testing.T) {
	_, p99 := sample(t, "heal of a 10 s split to one View", func(seed uint64) time.Duration {
		w := form(t, Config{Nodes: 4, Seed: seed})
		for _, a := range []cluster.NodeID{1, 2} {
			for _, b := range []cluster.NodeID{3, 4} {
				w.Net.Cut(a, b)
				w.Net.Cut(b, a)
			}
		}
		_ = w.Run(10 * time.Second)
		w.Net.HealAll()
		at := w.Now()
		if !w.RunUntil(at.Add(5*time.Second), w.OneView) {
			t.Fatalf("seed %d: %v %s", seed, w.Err, w.describe())
		}
		return w.Now().Sub(at)
	})
	if p99 > time.Second {
		t.Errorf("p99 %v, want ≤ 1 s", p99)
	}
}

// One minute of each of four nodes per seed: 10 % loss, up to 20 ms jitter, and
// a pause of 300 ms of each node.
func TestLossJitterAndShortPausesMakeNoVerdict(t *testing.T) {
	verdicts, leaseless := 0, 0
	const seeds, minute = 8, time.Minute
	for seed := uint64(1); seed <= seeds; seed++ {
		w := form(t, Config{Nodes: 4, Seed: seed, Net: NetConfig{Loss: 0.1, Spike: 1, SpikeMax: 20 * time.Millisecond}})
		for i, n := range w.Nodes {
			at := time.Duration(i)*minute/4 + time.Duration(w.rand.Int64N(int64(minute/5)))
			w.After(at, n.Pause)
			w.After(at+300*time.Millisecond, n.Resume)
		}
		if err := w.Run(minute); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, n := range w.Nodes {
			verdicts += n.Lost[heartbeat.Silent] + n.Lost[heartbeat.LinkBroken] + n.Lost[heartbeat.Refused]
			if !n.Serves() {
				leaseless++
			}
		}
	}
	t.Logf("%d verdicts in %d node-minutes, %d nodes without a lease at the end", verdicts, 4*seeds, leaseless)
	if verdicts > 0 {
		t.Errorf("%d false verdicts", verdicts)
	}
}

func TestSteadyClusterSendsOnePulsePerIntervalAndPeer(t *testing.T) {
	w := form(t, Config{Nodes: 4, Seed: 1, Seeds: 2})
	before, bytes := w.Net.Pulses, w.Net.Bytes
	if err := w.Run(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	perSecond := (w.Net.Pulses - before) / 10
	t.Logf("4 nodes: %d pulses/s of %d bytes", perSecond, (w.Net.Bytes-bytes)/(w.Net.Pulses-before))
	if perSecond > 130 { // 4 nodes · 3 peers · 10/s, ±10 %
		t.Errorf("%d pulses/s, want about 120", perSecond)
	}
}
