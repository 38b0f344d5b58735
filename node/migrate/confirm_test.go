package migrate

import (
	"math/rand/v2"
	"testing"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/storage"
)

// A View that only some members heard of must not make the copies of the
// others worthless: what was never served cannot be missing.
func TestAViewThatItsMasterNeverCommittedEstablishesNothing(t *testing.T) {
	key := func(c uint64) cluster.ViewKey { return cluster.ViewKey{Counter: c, Proposer: 2, Inc: 1} }
	members := []cluster.Member{{Node: 2, Inc: 1}, {Node: 1, Inc: 1}}
	reports := []*partition.Report{new(partition.Report), new(partition.Report)}
	for pid := range reports[1].Copies { // node 1 alone holds everything, under View 1
		reports[1].Copies[pid] = partition.Copy{State: partition.Full, Key: key(1)}
		reports[1].Established[pid] = key(1)
	}
	store, err := storage.Open(storage.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c := New(Config{Self: 2, Store: engineStore{store, func() bool { return false }, new(bool)}, Rand: rand.New(rand.NewPCG(1, 2))})
	v := &cluster.View{Key: key(2), Members: members}
	plan := partition.NewPlan(v, partition.NewTable(v, 2), reports)
	c.Freeze(members)
	c.Commit(1, v, plan) // node 1 never hears of View 2
	reports[0] = c.Freeze(members)
	next := &cluster.View{Key: key(3), Members: members}
	after := partition.NewPlan(next, partition.NewTable(next, 2), reports)
	for pid := range after.Parts {
		if p := &after.Parts[pid]; !p.Available || p.Master != 1 {
			t.Fatalf("partition %d: available %v, master %d; want node 1's copy to serve", pid, p.Available, p.Master)
		}
	}

	c.Commit(2, next, after)
	c.Confirm(1) // node 1's pulse shows View 3: it may have acknowledged writes now
	if got := c.Freeze(members).Established[7]; got != key(3) {
		t.Errorf("established %v after the master's pulse, want %v", got, key(3))
	}
}
