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

// An empty partition that moves is not copied: its former copies go. But not
// before the new master has committed: if that never hears of the View, they are
// the only complete ones.
func TestAnEmptyCopyStaysUntilTheNewMasterHasCommitted(t *testing.T) {
	key := func(c uint64) cluster.ViewKey { return cluster.ViewKey{Counter: c, Proposer: 2, Inc: 1} }
	members := []cluster.Member{{Node: 2, Inc: 1}, {Node: 1, Inc: 1}}
	store, err := storage.Open(storage.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c := New(Config{Self: 2, Store: engineStore{store, func() bool { return false }, new(bool)}, Rand: rand.New(rand.NewPCG(1, 2))})
	alone := &cluster.View{Key: key(1), Members: members[:1]}
	c.Freeze(members[:1])
	c.Commit(1, alone, partition.NewPlan(alone, partition.NewTable(alone, 1), []*partition.Report{new(partition.Report)}))

	other := new(partition.Report)
	reports := []*partition.Report{c.Freeze(members), other}
	v := &cluster.View{Key: key(2), Members: members}
	plan := partition.NewPlan(v, partition.NewTable(v, 1), reports)
	c.Commit(2, v, plan) // node 1 has yet to hear of View 2
	reports[0] = c.Freeze(members)
	next := &cluster.View{Key: key(3), Members: members}
	after := partition.NewPlan(next, partition.NewTable(next, 1), reports)
	moved := 0
	for pid := range after.Parts {
		if !after.Parts[pid].Available {
			t.Fatalf("partition %d is not available though node 2 had it", pid)
		}
		if after.Parts[pid].Master == 1 {
			moved++
		}
	}
	if moved == 0 {
		t.Fatal("no partition moves: nothing is proven")
	}

	c.Commit(3, next, after)
	c.Confirm(1)
	for pid, k := range c.Freeze(members).Copies {
		if (k.State != partition.None) != (after.Parts[pid].Master == 0) {
			t.Fatalf("partition %d, master %d: node 2's copy is %v after that has committed", pid, after.Parts[pid].Master, k)
		}
	}
}
