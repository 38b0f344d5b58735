package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/membership"
)

// cutOff lets node 1 be away for some time, in which half of the keys are
// deleted elsewhere and their tombstones forgotten, and returns how many keys
// are held anywhere after it has returned.
func cutOff(t *testing.T, away time.Duration) (held, forgotten int) {
	d := NewData(Config{Nodes: 3, Seed: 1}, DataConfig{MaxAbsence: 5 * time.Second})
	defer d.Close()
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	c := d.NewClient(1)
	_ = d.W.Run(200 * time.Millisecond) // an error shows at the next call
	if err := d.Fill(c); err != nil {
		t.Fatal(err)
	}
	for _, id := range []cluster.NodeID{2, 3} {
		d.W.Net.Cut(1, id)
		d.W.Net.Cut(id, 1)
	}
	if err := d.W.Run(away); err != nil {
		t.Fatal(err)
	}
	if v := d.W.Node(2).View(); len(v.Members) != 2 {
		t.Fatalf("node2 holds %v", v)
	}
	for i, k := range d.keys {
		for _, id := range []cluster.NodeID{2, 3} {
			store := d.W.Node(id).App.(*app).spaces[k.space].store
			if m, _, ok := store.Get(&k.digest, nil); ok && i%2 == 0 {
				store.Remove(&k.digest, m.Version)
			}
		}
	}
	d.W.Net.HealAll()
	_ = d.W.Run(time.Second)
	if err := d.Await("redundancy", 10*time.Second, d.Settled); err != nil {
		t.Fatal(err)
	}
	for _, k := range d.keys {
		for _, n := range d.W.Nodes {
			if _, _, ok := n.App.(*app).spaces[k.space].store.Get(&k.digest, nil); ok {
				held++
				break
			}
		}
	}
	return held, int(d.W.Node(1).App.(*app).spaces[0].Progress().Forgotten)
}

func TestAFullHistoryIsKnownAsSuch(t *testing.T) {
	if membership.HistoryLen != 32 {
		t.Errorf("histories have %d Views: partition.historyFull must follow", membership.HistoryLen)
	}
}

func TestANodeThatWasAwayForTooLongBringsNothingBack(t *testing.T) {
	held, forgotten := cutOff(t, 10*time.Second)
	t.Logf("%d keys held, %d copies forgotten", held, forgotten)
	if held != 80 || forgotten < 5 {
		t.Errorf("%d keys are held and %d copies forgotten, want the 80 that were not deleted, and those of node 1 that have records", held, forgotten)
	}
	// In time it brings what it has: that is what tombstones are kept for.
	held, forgotten = cutOff(t, 3*time.Second)
	t.Logf("after a short absence %d keys held", held)
	if held <= 80 || forgotten != 0 {
		t.Errorf("after a short absence %d keys are held and %d copies forgotten, want more than 80 and none", held, forgotten)
	}
}

// absences lets one node at a time stand still, for less or for more than nodes
// may be apart and still merge, while records are deleted and tombstones
// removed for good when they are old enough: nothing deleted may come back.
func absences(seed uint64, log func(string)) (*Data, int, error) {
	const most = 6 * time.Second
	r := rand.New(rand.NewPCG(seed, 11))
	d := NewData(Config{Nodes: 3 + r.IntN(3), Seed: seed, Log: log, Net: NetConfig{Refuse: true}}, DataConfig{Spaces: []SpaceConfig{{RF: 2 + r.IntN(2)}},
		Keys: 400, Parts: 8, Mortal: 400, Skew: 200 * time.Millisecond, MaxAbsence: most, Horizon: most + 2*time.Second, ReapEvery: 300 * time.Millisecond})
	if err := beginLoad(d, r); err != nil {
		return d, 0, err
	}
	for _, c := range d.Clients {
		c.Load = Load{Writes: 0.1, Deletes: 0.1, Pause: 100 * time.Millisecond}
	}
	faults := 0
	for end := d.W.now.Add(2 * atLeast); d.W.now < end; faults++ {
		n := d.W.Nodes[r.IntN(len(d.W.Nodes))]
		d.W.note(FaultPause)
		n.Pause()
		_ = d.W.Run(time.Duration(float64(most) / 8 * pow10(r.Float64()*1.3))) // to two and a half times as long
		n.Resume()
		_ = d.W.Run(time.Second)
		if err := d.Await("redundancy after the absence", 20*time.Second, d.Settled); err != nil {
			return d, faults, err
		}
	}
	if err := d.Stop(); err != nil {
		return d, faults, err
	}
	_ = d.W.Run(most + 4*time.Second) // replicas do not reap at the same moment
	if err := d.conclude(); err != nil {
		return d, faults, err
	}
	return d, faults, d.checkLinear()
}

func TestNothingDeletedComesBack(t *testing.T) {
	reaped, forgotten := 0, uint64(0)
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			d, _, err := absences(seed, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			reaped += d.Stats.Reaped
			for _, n := range d.W.Nodes {
				forgotten += n.App.(*app).spaces[0].Progress().Forgotten
			}
		})
	}
	if reaped < 200 || forgotten < 20 {
		t.Errorf("%d records reaped and %d copies forgotten: this proves nothing", reaped, forgotten)
	}
	t.Logf("%d records reaped, %d copies forgotten", reaped, forgotten)
}
