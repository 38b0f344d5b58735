package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/migrate"
	"headroom/node/record"
	"headroom/node/wire"
)

// deed is one write of a record whose life is at stake.
type deed struct {
	verb verb
	ttl  uint32
	wait time.Duration // before it
}

// ended are lives of a record that end within a few seconds, though a copy that
// misses all but the first write holds what lives on.
var ended = []struct {
	name  string
	first uint32 // time to live of what that copy holds
	deeds []deed
}{
	{"put", wire.TTLNever, []deed{{verbPut, 1, 0}}},
	{"put over what lives an hour", 3600, []deed{{verbPut, 1, 0}}},
	{"touch", wire.TTLNever, []deed{{verbTouch, 1, 0}}},
	{"operate", 3600, []deed{{verbAdd, 1, 0}}},
	{"put and kept", wire.TTLNever, []deed{{verbPut, 2, 0}, {verbAdd, wire.TTLKeep, 0}}},
	{"longer again", wire.TTLNever, []deed{{verbPut, 1, 0}, {verbPut, 3, 0}}},
	{"longer, twice", 3600, []deed{{verbPut, 1, 0}, {verbTouch, 2, 0}, {verbPut, 3, 0}}},
	{"put after a delete", wire.TTLNever, []deed{{verbDelete, 0, 0}, {verbPut, 2, 0}}},
	{"put after it expired", wire.TTLNever, []deed{{verbPut, 1, 0}, {verbPut, 2, 4 * time.Second}}},
	{"for ever in between", 3600, []deed{{verbPut, wire.TTLNever, 0}, {verbPut, 2, 0}}},
}

// do does one act and waits until it is done.
func (d *Data) do(k *key, v verb, ttl uint32) { d.doBy(d.Clients[0], k, v, ttl) }

func (d *Data) doBy(c *Client, k *key, v verb, ttl uint32) {
	a, over := d.newAct(k, v), false
	a.ttl, a.delta = ttl, 1
	c.Act(k, a, func() { over = true })
	d.W.step("an act ends", func() bool { return over })
	if a.fate != fateDone && d.W.Err == nil {
		d.W.fail("it was to be done: %v", a)
	}
}

// expiring is a cluster in which the first key has a copy on node away, beside
// its master.
func expiring(seed uint64, first uint32, dev DeviceConfig) (d *Data, k *key, away *Node) {
	d = NewData(Config{Nodes: 3, Seed: seed}, DataConfig{Keys: 8, Parts: 2, ReapEvery: time.Second,
		MaxAbsence: 30 * time.Second, Horizon: 32 * time.Second, Spaces: []SpaceConfig{{RF: 2, DeviceConfig: dev}}})
	_ = d.Start() // errors show in W.Err
	d.NewClient(0)
	_ = d.W.Run(200 * time.Millisecond)
	k = d.keys[0]
	d.do(k, verbPut, first)
	_ = d.W.Run(2 * time.Second) // it is on devices, too
	m := d.master(k)
	for _, n := range d.W.Nodes {
		if s := n.App.(*app).spaces[0]; n != m && contains(s.part(k.pid()).Replicas, s.self()) {
			return d, k, n
		}
	}
	d.W.fail("key %d has no second copy", k.index)
	return d, k, m
}

// buried asserts that nobody holds k alive, that the copies are equal, and that
// nothing is left of it when no copy can come back any more.
func (d *Data) buried(k *key) error {
	_ = d.Await("redundancy in the end", 20*time.Second, d.Settled) // errors show in W.Err
	_ = d.W.Run(3 * time.Second)
	if d.W.Err == nil && d.CheckCopies() == nil && d.CheckStores() == nil {
		d.nowhere(k, func(m *record.Meta, sec uint32) bool { return !m.Live(sec) })
		_ = d.ReadActs(d.Clients[0])
		if a := k.acts[len(k.acts)-1]; a.fate != fateAbsent && d.W.Err == nil {
			d.W.fail("it had expired: %v", a)
		}
	}
	if d.cfg.Spaces[0].Devices == 0 { // else an entry stays until a raid
		_ = d.W.Run(d.cfg.Horizon)
		d.nowhere(k, func(*record.Meta, uint32) bool { return false })
	}
	return d.W.Err
}

// nowhere asserts that what nodes hold of k, if anything, is as ok says.
func (d *Data) nowhere(k *key, ok func(m *record.Meta, sec uint32) bool) {
	for _, n := range d.W.Nodes {
		s := n.App.(*app).spaces[0]
		if m, found := s.store.Meta(&k.digest); found && !ok(&m, uint32(s.Now().WallMS/1000)) && d.W.Err == nil {
			d.W.fail("node%d holds %+v of a record that has expired", n.ID, m)
		}
	}
}

// leftBehind lets a copy miss how a record ends: its node stands still, is cut
// off and goes on by itself, or crashes and comes back with its device.
func leftBehind(seed uint64, how string, first uint32, deeds []deed) error {
	var dev DeviceConfig
	if how == "crashed" || how == "stopped" {
		dev = DeviceConfig{Devices: 1, Blocks: 64, WriteBlock: 8 << 10, Latency: time.Millisecond, InMemory: seed%2 == 0}
	}
	d, k, away := expiring(seed, first, dev)
	defer d.Close()
	others := d.W.allBut(away)
	switch how {
	case "paused":
		away.Pause()
	case "cut off":
		d.apart(away, d.W.Net.Cut) // which clients might take for the cluster
		d.W.cutFor(time.Hour, []*Node{away}, others, true)
	case "crashed":
		away.Crash(true)
	case "stopped":
		d.Leave(away, 10*time.Second)
		_ = d.Await("the node has left", 11*time.Second, func() bool { return !away.Up }) // errors show in W.Err
	}
	d.W.step("a View without it", func() bool {
		return !slices.ContainsFunc(others, func(n *Node) bool { return n.View() == nil || n.View().Index(away.ID) >= 0 })
	})
	_ = d.W.Run(500 * time.Millisecond)
	for _, x := range deeds {
		_ = d.W.Run(x.wait)
		d.do(k, x.verb, x.ttl)
	}
	_ = d.W.Run(6 * time.Second) // it has expired
	switch how {
	case "paused":
		away.Resume()
	case "cut off":
		d.W.Net.HealAll()
	default:
		away.Start()
	}
	_ = d.W.Run(time.Second)
	return d.buried(k)
}

func TestWhatExpiredDoesNotComeBack(t *testing.T) {
	for _, how := range []string{"paused", "cut off", "crashed", "stopped"} {
		for i, c := range ended {
			t.Run(how+"/"+c.name, func(t *testing.T) {
				if err := leftBehind(uint64(i+1), how, c.first, c.deeds); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// A fill that was read before a record was given a shorter life, and arrives
// after it has ended, brings nothing back.
func TestAFillReadBeforeDoesNotBringBackWhatExpired(t *testing.T) {
	d, k, back := expiring(1, wire.TTLNever, DeviceConfig{})
	defer d.Close()
	sent, hold := false, true
	d.W.Net.Drop = func(_, to cluster.NodeID, kind wire.Kind, payload []byte) bool {
		var m wire.Migrate
		sent = sent || to == back.ID && kind == wire.KindMigrate && m.Parse(payload) == nil && m.Step == wire.StepRecords && int(m.Partition) == k.pid()
		return false
	}
	d.W.Net.Hold = func(_, to cluster.NodeID, kind wire.Kind) bool {
		return hold && sent && to == back.ID && kind == wire.KindMigrate
	}
	back.Crash(false)
	_ = d.W.Run(50 * time.Millisecond) // errors show in W.Err
	back.Start()
	d.W.step("the fill is on its way", func() bool { return sent })
	d.do(k, verbPut, 1)
	_ = d.W.Run(5 * time.Second)
	hold = false
	if err := d.buried(k); err != nil {
		t.Fatal(err)
	}
	if d.Stats.Buried < 2 {
		t.Errorf("%d tombstones of expired records: proves nothing", d.Stats.Buried)
	}
}

// outlived lets the later of two versions of two sides win because it is of the
// later View, too, and expire, while a copy of the other, which lives for ever, is
// away. Either the side that goes on has the winner, or it takes it in; by a
// migration, or as a client reads.
func outlived(seed uint64, taken, read bool) error {
	d := NewData(Config{Nodes: 4, Seed: seed}, DataConfig{Keys: 8, Parts: 2, ReapEvery: time.Second, MaxAbsence: 30 * time.Second,
		Horizon: 32 * time.Second, Spaces: []SpaceConfig{{RF: 4}}})
	defer d.Close()
	_ = d.Start() // errors show in W.Err
	d.NewClient(0)
	d.NewClient(0)
	_ = d.W.Run(200 * time.Millisecond)
	k, n := d.keys[0], d.W.Nodes
	d.together(n[:2], n[2:])
	again := func(x, y *Node, times int) { // Views of y with and without x
		for range times {
			x.Crash(false)
			d.W.step("a View without it", func() bool { return y.Serves() && y.View().Index(x.ID) < 0 })
			x.Start()
			d.W.step("a View with it", func() bool { return y.Serves() && y.View().Index(x.ID) >= 0 && x.Serves() })
		}
	}
	winner, loser, goes := d.Clients[1], d.Clients[0], n[:2]
	if !taken {
		winner, loser, goes = loser, winner, n[2:]
	}
	d.doBy(loser, k, verbPut, wire.TTLNever)
	_ = d.W.Run(10 * time.Millisecond)
	if taken {
		again(n[3], n[2], 1)
	} else {
		again(n[1], n[0], 2)
	}
	d.doBy(winner, k, verbPut, 4)
	if taken {
		again(n[1], n[0], 3)
	}
	_ = d.Await("redundancy on both sides", 3*time.Second, func() bool { return n[0].Serves() && n[2].Serves() })
	goes[1].Pause()
	if read {
		d.setRate(migrate.Rate{RecordsPerSecond: 1})
	}
	d.W.Net.HealAll()
	d.W.step("a View of three", func() bool { v := n[0].View(); return n[0].Serves() && v.Index(n[2].ID) >= 0 && len(v.Members) == 3 })
	if read {
		d.doBy(loser, k, verbGet, 0)
		d.hurry()
	}
	d.W.step("the conflict is settled", func() bool { return d.Conflicts() == 1 })
	_ = d.W.Run(8 * time.Second) // the winner has expired
	goes[1].Resume()
	_ = d.W.Run(time.Second)
	return d.buried(k)
}

func TestTheWinnerOfASplitBuriesTheLoser(t *testing.T) {
	for _, taken := range []bool{false, true} {
		for _, read := range []bool{false, true} {
			for seed := range uint64(4) {
				t.Run(fmt.Sprintf("taken %v, read %v, seed %d", taken, read, seed+1), func(t *testing.T) {
					if err := outlived(seed+1, taken, read); err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	}
}

// A record that is written again and again with the same time to live, or a
// longer one, leaves nothing behind when it expires.
func TestWhatIsNotShortenedLeavesNoTombstone(t *testing.T) {
	d, k, _ := expiring(1, 2, DeviceConfig{})
	defer d.Close()
	_ = d.W.Run(4 * time.Second) // errors show in W.Err
	for i := range 20 {
		d.do(k, []verb{verbPut, verbTouch, verbAdd}[i%3], 2+uint32(i/7))
		_ = d.W.Run(300 * time.Millisecond)
	}
	_ = d.W.Run(8 * time.Second)
	d.nowhere(k, func(*record.Meta, uint32) bool { return false })
	if d.W.Err != nil {
		t.Fatal(d.W.Err)
	}
	if d.Stats.Buried > 0 || d.Stats.Reaped < 2 {
		t.Errorf("%d tombstones of expired records and %d removed, want none and both copies", d.Stats.Buried, d.Stats.Reaped)
	}
	// The same record, given up early.
	d.do(k, verbPut, 3600)
	d.do(k, verbTouch, 1)
	_ = d.W.Run(5 * time.Second)
	if d.Stats.Buried != 2 {
		t.Errorf("%d tombstones of a record whose life was shortened, want one on each copy", d.Stats.Buried)
	}
}
