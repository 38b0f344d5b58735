package sim

import (
	"cmp"
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/migrate"
	"headroom/node/wire"
)

// lossWorld is a World whose losses are followed, with a client for each of two
// sides, where nothing is copied that nobody asks for.
func lossWorld(seed uint64, nodes int) *Data {
	d := NewData(Config{Nodes: nodes, Seed: seed}, DataConfig{Spaces: []SpaceConfig{{RF: nodes}}, Rate: migrate.Rate{RecordsPerSecond: 1}})
	d.ledger = newLedger(d)
	d.twoSided()
	return d
}

// counted heals the cluster and looks how many losses are counted in the end.
func (d *Data) counted(want uint64) error {
	d.hurry()
	d.W.Net.HealAll()
	_ = d.judged() // errors show in W.Err
	_ = d.accounted()
	if got := d.Conflicts(); d.W.Err == nil && got != want {
		d.W.fail("%d losses counted, want %d", got, want)
	}
	d.ledger.check()
	return d.W.Err
}

// hurry lets migrations run as fast as they can.
func (d *Data) hurry() { d.setRate(migrate.Rate{}) }

func (d *Data) setRate(r migrate.Rate) {
	for _, n := range d.W.Nodes {
		for _, s := range n.App.(*app).spaces {
			s.SetRate(r)
		}
	}
}

// hubTakenOver lets the master of a merge settle a conflict and be cut off, and
// another with the same copy settle it again. Both count it before they hear of
// each other: once is what stays.
func hubTakenOver(seed uint64) error {
	d := lossWorld(seed, 3)
	defer d.Close()
	k := d.keys[0]
	d.together([]*Node{d.W.Node(3), d.W.Node(2)}, []*Node{d.W.Node(1)}) // of equal Views the one of node 3 goes on
	one, two := d.Clients[0], d.Clients[1]
	if seed%2 == 0 {
		one, two = two, one
	}
	d.putBy(one, k)
	_ = d.W.Run(10 * time.Millisecond)
	d.putBy(two, k)
	d.W.Net.HealAll()
	d.Clients[0].Do(wire.KindGet, k, nil)
	d.W.step("the hub counts a loss", func() bool { return d.Conflicts() == 1 })
	if d.W.Err != nil {
		return d.W.Err
	}
	hub := d.W.Nodes[slices.IndexFunc(d.W.Nodes, func(n *Node) bool {
		c := n.App.(*app).spaces[0].Conflicts()
		return c.Sum() > 0
	})]
	if hub.ID == 1 {
		d.W.fail("the side with one copy goes on: nothing is proven")
	}
	d.together([]*Node{hub}, d.W.allBut(hub))
	d.Clients[1].Do(wire.KindGet, k, nil)
	d.W.step("another counts it again", func() bool { return d.Conflicts() == 2 })
	return d.counted(1)
}

// writtenUpon lets the master of a merge take in a record and be cut off before
// its descent says so, and write upon it. Others go on with what was written
// upon: it is not lost when they meet.
func writtenUpon(seed uint64) error {
	d := lossWorld(seed, 3)
	defer d.Close()
	k := d.lastCopied()
	d.together([]*Node{d.W.Node(3), d.W.Node(2)}, []*Node{d.W.Node(1)})
	_ = d.Fill(d.Clients[1])
	v := k.writes[len(k.writes)-1]
	d.W.Net.HealAll()
	d.W.step("one View after the split", d.W.OneView)
	d.Clients[0].Do(wire.KindGet, k, nil)
	var hub *Node
	d.W.step("the hub has what the other side wrote", func() bool {
		for _, n := range d.W.Nodes[1:] {
			if _, b, ok := n.App.(*app).spaces[0].store.Get(&k.digest, nil); ok && writeOf(b) == v.id {
				hub = n
			}
		}
		return hub != nil
	})
	if d.W.Err != nil {
		return d.W.Err
	}
	d.together([]*Node{hub}, d.W.allBut(hub))
	d.putBy(d.Clients[0], k)
	d.hurry()
	_ = d.W.Run(2 * time.Second) // the others have merged; an error shows in W.Err
	return d.counted(0)
}

// threeSides merges three sides at once, of which one wrote upon what another
// has: that is not lost to it. If read, a client asks before anything is copied.
func threeSides(seed uint64, read bool) error {
	d := lossWorld(seed, 4)
	defer d.Close()
	k, n := d.lastCopied(), d.W.Nodes
	d.together([]*Node{n[2], n[0]}, []*Node{n[3], n[1]})
	_ = d.Fill(d.Clients[0])
	for i, x := range n {
		for _, y := range n[i+1:] {
			d.W.Net.Cut(x.ID, y.ID)
			d.W.Net.Cut(y.ID, x.ID)
		}
	}
	d.W.Net.Cut(d.Clients[0].ID, n[0].ID)
	d.W.step("each is alone", func() bool {
		return !slices.ContainsFunc(n, func(n *Node) bool { return !n.Serves() || len(n.View().Members) > 1 })
	})
	_ = d.W.Run(300 * time.Millisecond) // an error shows in W.Err
	d.putBy(d.Clients[0], k)
	if read {
		d.W.Net.HealAll()
		d.W.step("one View after the split", d.W.OneView)
		left := 1
		d.Clients[0].Do(wire.KindGet, k, func() { left-- })
		d.W.step("the read ends", func() bool { return left == 0 })
	}
	return d.counted(0)
}

// lateToTheMerge lets one of a side's two nodes join the other side before its
// peer, which masters keys whose writes are in flight then. Their client, told
// of the View without that node, sends them again and has them acknowledged
// there. What the late one has was never acknowledged, so none of it is a loss.
func lateToTheMerge(seed uint64) error {
	d := NewData(Config{Nodes: 4, Seed: seed}, DataConfig{})
	defer d.Close()
	d.ledger = newLedger(d)
	d.twoSided()
	n, c := d.W.Nodes, d.Clients[0]
	late, first := n[0], n[1]
	d.together(n[:2], n[2:])
	d.W.Net.Drop = func(from, to cluster.NodeID, kind wire.Kind, _ []byte) bool {
		return kind == wire.KindMigrate || from == late.ID && (kind == wire.KindReplicate || kind == wire.KindAdopt)
	}
	var keys []*key
	left := 0
	for _, k := range d.keys {
		if d.masters(late, k) {
			keys = append(keys, k)
			left++
			c.Do(wire.KindPut, k, func() { left-- })
		}
	}
	_ = d.W.Run(5 * time.Millisecond) // errors show in W.Err
	heal := func(x, y cluster.NodeID) {
		d.W.Net.Heal(x, y)
		d.W.Net.Heal(y, x)
	}
	heal(late.ID, n[2].ID)
	heal(first.ID, n[2].ID)
	heal(first.ID, n[3].ID)
	d.W.step("its peer joins the other side", func() bool { return len(first.View().Members) == 3 })
	heal(c.ID, n[2].ID)
	heal(c.ID, n[3].ID)
	d.W.step("the writes end elsewhere", func() bool { return left == 0 })
	for _, k := range keys {
		if w := k.writes[len(k.writes)-1]; d.W.Err == nil && (!w.acked || w.sent < 2) {
			d.W.fail("%v was sent %d times, want more and acknowledged: nothing is proven", w, w.sent)
		}
	}
	heal(late.ID, n[3].ID)
	d.W.step("one View after the split", d.W.OneView)
	for _, k := range keys {
		left++
		c.Do(wire.KindGet, k, func() { left-- })
	}
	d.W.step("the versions have been compared", func() bool { return left == 0 })
	d.W.Net.Drop = nil
	return d.counted(0)
}

// standsIn lets one side acknowledge a write, and have another upon it in flight
// when it meets the other side, which has acknowledged one that is later than
// both. The one in flight is met and no loss, but what it was written upon is. If
// half, only the master has the one in flight.
func standsIn(seed uint64, half bool) error {
	d := lossWorld(seed, 4)
	defer d.Close()
	n, c := d.W.Nodes, d.Clients[0]
	d.together(n[:2], n[2:])
	k := d.masteredBy(n[0])[0]
	d.putBy(c, k)
	_ = d.W.Run(10 * time.Millisecond) // errors show in W.Err
	d.W.Net.Drop = func(from, to cluster.NodeID, kind wire.Kind, _ []byte) bool {
		if half {
			return from == n[0].ID && (kind == wire.KindReplicate || kind == wire.KindAdopt)
		}
		return from == n[1].ID && kind == wire.KindReplicated
	}
	c.Do(wire.KindPut, k, nil)
	_ = d.W.Run(10 * time.Millisecond)
	for _, x := range n { // it is not sent again
		d.W.Net.Cut(c.ID, x.ID)
		d.W.Net.Cut(x.ID, c.ID)
	}
	return d.laterElsewhere(k, 1)
}

// acknowledgedByMaster lets one side acknowledge a write that its replica does not
// have yet when it meets the other side, which has acknowledged a later one:
// though the first goes on after that, it is lost.
func acknowledgedByMaster(seed uint64) error {
	d := NewData(Config{Nodes: 4, Seed: seed}, DataConfig{Spaces: []SpaceConfig{{RF: 4, CommitMaster: true}}, Rate: migrate.Rate{RecordsPerSecond: 1}})
	defer d.Close()
	d.ledger = newLedger(d)
	d.twoSided()
	n := d.W.Nodes
	d.together(n[:2], n[2:])
	k := d.masteredBy(n[0])[0]
	d.W.Net.Drop = func(from, to cluster.NodeID, kind wire.Kind, _ []byte) bool {
		return from == n[0].ID && kind == wire.KindReplicate
	}
	d.putBy(d.Clients[0], k)
	_ = d.W.Run(10 * time.Millisecond) // errors show in W.Err
	return d.laterElsewhere(k, 1)
}

// laterElsewhere lets the other side of a split write k, and both merge.
func (d *Data) laterElsewhere(k *key, want uint64) error {
	n := d.W.Nodes
	d.putBy(d.Clients[1], k)
	_ = d.W.Run(10 * time.Millisecond) // errors show in W.Err
	for _, a := range n[:2] {
		for _, b := range n[2:] {
			d.W.Net.Heal(a.ID, b.ID)
			d.W.Net.Heal(b.ID, a.ID)
		}
	}
	d.W.step("one View after the split", d.W.OneView)
	d.W.Net.Drop = nil
	_ = d.W.Run(3 * time.Second)
	return d.counted(want)
}

// lastCopied is a key of the partition that migrates last.
func (d *Data) lastCopied() *key {
	return slices.MaxFunc(d.keys, func(a, b *key) int { return cmp.Compare(a.pid(), b.pid()) })
}
