package sim

import (
	"math/rand/v2"
	"testing"
	"time"
)

const twinSeeds = 300

// secondProcess starts a second process of a node's id on a host of its own,
// which reaches at least one of the members, perhaps only after it has been on
// its own for a while. checkTwins judges when it may serve.
func secondProcess(seed uint64) error {
	_, err := twinRun(seed)
	return err
}

// twinRun says whether the second process was alone at first, and served.
func twinRun(seed uint64) (served bool, err error) {
	r := rand.New(rand.NewPCG(seed, 31))
	w := NewWorld(Config{Nodes: 2 + r.IntN(5), Seed: seed, Multicast: r.IntN(4) == 0, Net: NetConfig{Refuse: r.IntN(2) == 0,
		Duplicate: r.Float64() * 0.2, Jitter: time.Duration(1+r.IntN(5000)) * time.Microsecond}})
	nodes := w.Nodes
	w.startAll(nodes...)
	_ = w.Run(time.Duration(r.IntN(1000)) * time.Millisecond) // errors show in w.Err
	before := 0
	for _, n := range nodes {
		before += len(n.Commits)
	}
	t, open, alone := w.Twin(nodes[r.IntN(len(nodes))].ID), nodes[r.IntN(len(nodes))], r.IntN(3) == 0
	for _, n := range nodes {
		if alone || n != open && r.IntN(2) == 0 {
			w.Net.Cut(n.end(), t.end())
			w.Net.Cut(t.end(), n.end())
		}
	}
	t.Start()
	if alone {
		_ = w.Run(time.Duration(300+r.IntN(5000)) * time.Millisecond)
		served = t.Serves()
		w.Net.Heal(open.end(), t.end())
		w.Net.Heal(t.end(), open.end())
	}
	if o := nodes[r.IntN(len(nodes))]; r.IntN(2) == 0 { // shorter than what makes silence a verdict
		at := time.Duration(r.IntN(1000)) * time.Millisecond
		w.After(at, o.Pause)
		w.After(at+time.Duration(r.IntN(300))*time.Millisecond, o.Resume)
	}
	_ = w.Run(4 * time.Second)
	w.Net.HealAll()
	w.step("the second process stops", func() bool { return !t.Up })
	w.step("one View", w.OneView)
	after := 0
	for _, n := range nodes {
		after += len(n.Commits)
	}
	if before != after {
		w.fail("a second process of node%d, which was told of the first, costs %d commits", t.ID, after-before)
	}
	return served, w.Err
}

func TestASecondProcessOfOneIDServesNothingWhereAMemberCouldTellIt(t *testing.T) {
	alone := 0
	for seed := range uint64(twinSeeds) {
		served, err := twinRun(seed)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if served {
			alone++
		}
	}
	t.Logf("%d second processes, %d of which served alone before they reached anybody", twinSeeds, alone)
	if alone < twinSeeds/10 {
		t.Errorf("%d second processes served alone: that they stop is hardly tested", alone)
	}
}

// twinStorm is a second process among members that stand still and restart: it
// may take the place of the first when that is taken for lost, and in the end one
// of the two is left.
func twinStorm(seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 37))
	w := NewWorld(Config{Nodes: 2 + r.IntN(5), Seed: seed, Net: RandomNet(r)})
	w.Net.cfg.Loss = 0 // else a path that works may yet tell nothing
	nodes := w.Nodes
	w.startAll(nodes...)
	t, open := w.Twin(nodes[r.IntN(len(nodes))].ID), nodes[r.IntN(len(nodes))]
	for _, n := range nodes {
		if n != open && r.IntN(2) == 0 {
			w.Net.Cut(n.end(), t.end())
			w.Net.Cut(t.end(), n.end())
		}
	}
	w.After(time.Duration(r.IntN(2000))*time.Millisecond, t.Start)
	for range 2 + r.IntN(8) {
		n, at := nodes[r.IntN(len(nodes))], time.Duration(r.IntN(6000))*time.Millisecond
		last := time.Duration(float64(20*time.Millisecond) * pow10(r.Float64()*2))
		down, up := n.Pause, n.Resume
		if r.IntN(3) == 0 {
			down, up = func() { n.Crash(r.IntN(2) == 0) }, n.Start
		}
		w.After(at, down)
		w.After(at+last, up)
	}
	_ = w.Run(9 * time.Second) // errors show in w.Err
	w.Net.HealAll()
	w.Net.Quiet()
	first := w.Node(t.ID)
	w.step("one of two processes stops", func() bool { return first.Up != t.Up })
	w.step("one View", w.OneView)
	return w.Err
}

func TestOneOfTwoProcessesOfAnIDIsLeftAfterAnyStorm(t *testing.T) {
	for seed := range uint64(twinSeeds) {
		if err := twinStorm(seed); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
