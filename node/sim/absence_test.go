package sim

import (
	"testing"
	"time"

	"headroom/node/cluster"
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
