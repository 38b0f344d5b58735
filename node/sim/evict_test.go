package sim

import (
	"slices"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/plane"
	"headroom/node/record"
	"headroom/node/txn"
	"headroom/node/wire"
)

// aged is one record of the eviction tests: number n lives n minutes, 0 for
// ever.
func aged(d *Data, n int) (k record.Digest) {
	pid := d.pids[n%len(d.pids)]
	k[0], k[1], k[2], k[3] = byte(pid), byte(pid>>8), byte(n), byte(n>>8)
	return k
}

// masterOf returns the space in which a partition is served.
func masterOf(d *Data, pid int) *space {
	for _, n := range d.W.Nodes {
		if n.Up && n.App.(*app).spaces[0].Serves(pid) {
			return n.App.(*app).spaces[0]
		}
	}
	return nil
}

const agedRecords = 600

// agedWorld has records whose lives differ, a third of them without an end.
func agedWorld(t *testing.T, seed uint64) *Data {
	t.Helper()
	d := NewData(Config{Nodes: 3, Seed: seed}, DataConfig{})
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	value := body(1, 64)
	for n := range agedRecords {
		k := aged(d, n)
		ttl := uint32(60 * n)
		if n%3 == 0 {
			ttl = wire.TTLNever
		}
		s := masterOf(d, k.Partition())
		s.Request(&txn.Request{Request: wire.Request{Digest: k, TTL: ttl, Body: value}, Kind: wire.KindPut, Deadline: s.Now().Mono.Add(time.Second)})
	}
	if err := d.W.Run(time.Second); err != nil {
		t.Fatal(err)
	}
	return d
}

// live lists the records that node holds alive.
func live(d *Data, node cluster.NodeID) (list []int) {
	s := d.W.Node(node).App.(*app).spaces[0]
	for n := range agedRecords {
		k := aged(d, n)
		if m, ok := s.store.Meta(&k); ok && m.Live(uint32(s.Now().WallMS/1000)) {
			list = append(list, n)
		}
	}
	return list
}

// everywhere lists the records that any node holds alive, and checks that no
// two nodes that hold one disagree whether it lives.
func everywhere(t *testing.T, d *Data) (list []int) {
	t.Helper()
	holders := map[int]int{}
	for _, n := range d.W.Nodes {
		for _, r := range live(d, n.ID) {
			holders[r]++
		}
	}
	for n, h := range holders {
		if list = append(list, n); h != 2 {
			t.Errorf("record %d lives on %d nodes, want on 2", n, h)
		}
	}
	slices.Sort(list)
	return list
}

// lap runs a whole lap of eviction on every node, in turns, and calls between
// once in the middle.
func lap(d *Data, share float64, between func()) (evicted uint64) {
	var laps []*plane.Eviction
	for _, n := range d.W.Nodes {
		laps = append(laps, plane.NewEviction(n.App.(*app).spaces[0].Plane))
		laps[len(laps)-1].Begin(share)
	}
	for turn, busy := 0, true; busy; turn++ {
		if busy = false; turn == 6 && between != nil {
			between()
		}
		for i, e := range laps {
			if d.W.Nodes[i].Up {
				more, _ := e.Step()
				busy = busy || more
			}
		}
		_ = d.W.Run(5 * time.Millisecond) // an error shows at the end
	}
	_ = d.W.Run(3 * time.Second)
	for _, e := range laps {
		evicted += e.Evicted()
	}
	return evicted
}

func TestEvictionRemovesTheNearestToExpiryOnAllCopies(t *testing.T) {
	d := agedWorld(t, 1)
	defer d.Close()
	if n := len(everywhere(t, d)); n != agedRecords {
		t.Fatalf("%d records are there, want %d", n, agedRecords)
	}
	evicted := lap(d, 0.2, nil)
	if d.W.Err != nil {
		t.Fatal(d.W.Err)
	}
	left := everywhere(t, d)
	if gone := agedRecords - len(left); int(evicted) != gone || gone < agedRecords/10 || gone > agedRecords/4 {
		t.Errorf("%d records are gone, %d counted as evicted, of %d; want about a fifth", gone, evicted, agedRecords)
	}
	// Each master decides for its own third, to 6 %: what goes and what stays
	// overlap a little.
	latest, earliest := 0, agedRecords
	for n := range agedRecords {
		_, stays := slices.BinarySearch(left, n)
		switch {
		case n%3 == 0 && !stays:
			t.Errorf("record %d has no TTL and was evicted", n)
		case n%3 != 0 && stays:
			earliest = min(earliest, n)
		case n%3 != 0:
			latest = max(latest, n)
		}
	}
	if latest > earliest*5/4+16 {
		t.Errorf("a record of %d minutes was evicted and one of %d kept", latest, earliest)
	}
	t.Logf("%d evicted: up to %d minutes; the first kept has %d", evicted, latest, earliest)
}

func TestEvictionStopsAtWhatHasNoTTL(t *testing.T) {
	d := agedWorld(t, 2)
	defer d.Close()
	lap(d, 1, nil)
	left := everywhere(t, d)
	if len(left) != agedRecords/3 || slices.ContainsFunc(left, func(n int) bool { return n%3 != 0 }) {
		t.Errorf("%d records are left, want the %d without a TTL", len(left), agedRecords/3)
	}
}

// A crash in the middle of a lap leaves copies that agree, and everything
// without a TTL.
func TestEvictionSurvivesACrash(t *testing.T) {
	d := agedWorld(t, 4)
	defer d.Close()
	lap(d, 0.5, func() { d.W.Node(2).Crash(false) })
	d.W.Node(2).Start()
	_ = d.W.Run(time.Second)
	if err := d.Await("redundancy", 20*time.Second, d.Settled); err != nil {
		t.Fatal(err)
	}
	left := everywhere(t, d)
	for n := 0; n < agedRecords; n += 3 {
		if _, there := slices.BinarySearch(left, n); !there {
			t.Errorf("record %d, which has no TTL, is gone", n)
		}
	}
	if len(left) == agedRecords {
		t.Error("nothing was evicted")
	}
	if err := d.CheckCopies(); err != nil {
		t.Error(err)
	}
}
