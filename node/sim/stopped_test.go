package sim

import (
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/txn"
	"headroom/node/wire"
)

// putAll puts every key once, a few at a time, and returns how many were
// refused for want of room.
func putAll(t *testing.T, d *Data, kind wire.Kind, keys []*key) (refused int) {
	t.Helper()
	before := d.Stats.Stopped
	next, running := 0, 0
	var more func()
	more = func() {
		for running < 4 && next < len(keys) {
			k := keys[next]
			next, running = next+1, running+1
			d.Clients[0].Do(kind, k, func() {
				running--
				d.W.After(time.Millisecond, more)
			})
		}
	}
	more()
	if err := d.Await("every key is written or refused", time.Minute, func() bool { return running == 0 && next == len(keys) }); err != nil {
		t.Fatal(err)
	}
	return d.Stats.Stopped - before
}

// One node has half of the room that its load needs. It says so, and from then
// on masters refuse what it would have to take: no write ends in doubt, no copy
// lacks one. When records are deleted, writes go on.
func TestWritesStopWhereAReplicaHasNoRoom(t *testing.T) {
	const small = cluster.NodeID(1)
	d := NewData(Config{Nodes: 3, Seed: 5}, DataConfig{Keys: 4500, Mortal: 4500, Pad: 4000, Limits: map[cluster.NodeID]int64{small: 8 << 20}})
	defer d.Close()
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	d.NewClient(8)
	if err := d.Await("the client has a map", 3*time.Second, func() bool { return d.Clients[0].cur != nil }); err != nil {
		t.Fatal(err)
	}
	refused := putAll(t, d, wire.KindPut, d.keys)
	var elsewhere uint64
	for _, n := range d.W.Nodes {
		n.App.(*app).spaces[0].EachShard(func(s txn.Stats) { elsewhere += s.Stopped })
	}
	if refused < 300 || elsewhere < 100 || d.Stats.InDoubt > 0 || d.Stats.Acked < 1500 {
		t.Errorf("%d refused, %d of them by masters with room, %d in doubt, %d acknowledged", refused, elsewhere, d.Stats.InDoubt, d.Stats.Acked)
	}
	t.Logf("%d refused, %d of them by masters with room, %d acknowledged", refused, elsewhere, d.Stats.Acked)
	_ = d.W.Run(time.Second)
	if err := d.CheckCopies(); err != nil {
		t.Fatal(err)
	}
	if n := putAll(t, d, wire.KindDelete, d.keys[:1500]); n > 0 || d.Stats.InDoubt > 0 {
		t.Errorf("%d deletes refused, %d in doubt", n, d.Stats.InDoubt)
	}
	_ = d.W.Run(time.Second)
	if n := putAll(t, d, wire.KindPut, d.keys[:200]); n > 0 || d.Stats.InDoubt > 0 {
		t.Errorf("after the deletes %d writes are refused, %d in doubt", n, d.Stats.InDoubt)
	}
}
