package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/disk"
	"headroom/node/membership"
	"headroom/node/record"
	"headroom/node/wire"
)

// brokenDisks lets devices of one node at a time fail for good, records on them
// be damaged, and data directories be lost, between crashes and pauses: each
// time the others still have everything, so nothing may be lost, stale or wrong,
// and a node with one device left goes on.
func brokenDisks(seed uint64, log func(string)) (*Data, int, error) {
	d, r := dataWorldOn(seed, log, func(r *rand.Rand, s *SpaceConfig) {
		s.DeviceConfig = DeviceConfig{Devices: 2, Blocks: 32 + r.IntN(32), WriteBlock: 4096 << r.IntN(2), CommitToDevice: r.IntN(2) == 0,
			InMemory: r.IntN(3) == 0, Latency: time.Duration(float64(20*time.Microsecond) * pow10(r.Float64()*3))}
	})
	d.cfg.Breaks, d.cfg.Skew = true, max(d.cfg.Skew, 2*time.Second) // without records that expire
	if err := beginActs(d, r); err != nil {
		return d, 0, err
	}
	faults := 0
	for end := d.W.now.Add(atLeast); d.W.now < end || d.W.fired() == 0 && faults < 100; faults++ { // a device may fail in a way that shows in nothing
		_ = d.W.Run(time.Duration(r.Int64N(int64(3 * time.Second))))
		if err := d.Await("redundancy after the fault", 20*time.Second, d.Settled); err != nil {
			return d, faults, err
		}
		n := d.W.Nodes[r.IntN(len(d.W.Nodes))]
		switch x := r.IntN(8); {
		case x < 3:
			d.failDevice(n, r)
		case x < 5:
			d.damage(n, r)
		case x < 6:
			d.loseDataDir(n, r)
		default:
			d.singleFault(r)
		}
	}
	return d, faults, d.judgeActs()
}

// failDevice makes a device fail until it is given up, and some time after its
// copies were made again replaces it by an empty one.
func (d *Data) failDevice(n *Node, r *rand.Rand) {
	w, slot := d.W, r.IntN(2)
	n.Break(slot, []disk.OpKind{disk.OpRead, disk.OpWrite, disk.OpSync}[r.IntN(3)])
	gone := func() (spaces int) {
		for _, s := range n.App.(*app).spaces {
			if s.store.Devices()[slot].Err != nil {
				spaces++
			}
		}
		return spaces
	}
	noticed := w.RunUntil(w.now.Add(5*time.Second), func() bool { return gone() == len(d.cfg.Spaces) })
	if noticed {
		w.note(FaultDevice)
	}
	_ = w.Run(time.Millisecond) // the node is told
	if d.Await("redundancy after a device failed", 20*time.Second, d.repaired) != nil {
		return
	}
	if noticed && r.IntN(2) == 0 { // it has those copies again, or they are elsewhere: another may go
		o := w.other(n)
		w.note(FaultCrash)
		o.Crash(r.IntN(2) == 0)
		_ = w.Run(time.Duration(r.Int64N(int64(time.Second))))
		o.Start()
		if d.Await("redundancy after a crash beside a failed device", 20*time.Second, d.Settled) != nil {
			return
		}
	}
	_ = w.Run(time.Duration(r.Int64N(int64(2 * time.Second))))
	if !noticed && gone() > 0 { // late, by a namespace that keeps next to nothing there
		w.note(FaultDevice)
	}
	n.Crash(false)
	_ = w.Run(time.Duration(r.Int64N(int64(2 * time.Second))))
	d.unplug(n)
	for i := range d.cfg.Spaces {
		d.mediaOf(n.ID, i).devices[slot] = newDevice(&d.cfg.Spaces[i].DeviceConfig, slot)
	}
	n.Start()
}

// repaired reports whether the View has been told of all that was lost, and
// redundancy is complete.
func (d *Data) repaired() bool {
	for _, n := range d.W.Nodes {
		if a, ok := n.App.(*app); ok && n.Up {
			for _, s := range a.spaces {
				if len(s.lostSlots)+len(s.doubtful) > 0 {
					return false
				}
			}
		}
	}
	return d.Settled()
}

// damage flips bits of what a node's devices hold, and has every record read.
func (d *Data) damage(n *Node, r *rand.Rand) {
	hit := 0
	for i, s := range n.App.(*app).spaces {
		c := &d.cfg.Spaces[i].DeviceConfig
		for range 4 + r.IntN(60) {
			m := s.vol.devices[r.IntN(len(s.vol.devices))]
			if m.Damage(256<<10 + r.Int64N(int64(c.Blocks*c.WriteBlock))) {
				hit++
			}
		}
	}
	if hit == 0 {
		return
	}
	d.W.note(FaultDamage)
	d.W.logf("node%d: %d bits of its devices are flipped", n.ID, hit)
	if r.IntN(2) == 0 { // found at the restart
		n.Crash(r.IntN(2) == 0)
		_ = d.W.Run(time.Duration(r.Int64N(int64(time.Second))))
		n.Start()
	}
	d.scrub(n)
	_ = d.W.Run(10 * time.Millisecond)
	_ = d.Await("every damaged record is repaired", 20*time.Second, func() bool { return d.repaired() && d.scrub(n) == 0 }) // an error is in W.Err
}

// scrub reads all records of a node and returns how many cannot be read.
func (d *Data) scrub(n *Node) (bad int) {
	a, ok := n.App.(*app)
	if !ok || !n.Up {
		return 0
	}
	for _, k := range d.keys {
		if m, _, ok := a.spaces[k.space].store.Get(&k.digest, nil); ok && m.Unreadable {
			bad++
		}
	}
	return bad
}

// loseDataDir lets a node come back without anything that it ever kept, devices
// and node file: its incarnations begin anew, by the clock.
func (d *Data) loseDataDir(n *Node, r *rand.Rand) {
	w := d.W
	w.note(FaultWipedDir)
	n.Crash(r.IntN(2) == 0)
	_ = w.Run(time.Duration(r.Int64N(int64(3 * time.Second))))
	d.unplug(n)
	for i := range d.cfg.Spaces {
		d.setMedia(n.ID, i, newMedia(&d.cfg.Spaces[i].DeviceConfig))
	}
	n.Disk = membership.State{}
	n.Inc += 1 << 10
	n.Start()
}

// fullNodes lets the records of a cluster grow until nodes have no room for
// more, once for longer than a write in doubt goes on, and shrink again: a write
// is refused before it does anything, or in doubt; reads and deletes go on, and
// afterwards writes do, and the copies are equal.
func fullNodes(seed uint64, log func(string)) (*Data, int, error) {
	d, r, pad := fullWorld(seed, log)
	if err := beginActs(d, r); err != nil {
		return d, 0, err
	}
	w, faults := d.W, 0
	d.staysFull(r, pad)
	for end := w.now.Add(atLeast); w.now < end; faults++ {
		for _, c := range d.Clients {
			c.Load.Pad, c.Load.Mix.Put, c.Load.Mix.Delete = pad, 0.6, 0.02
		}
		before := d.Stats.Stopped
		if w.RunUntil(w.now.Add(30*time.Second), func() bool { return d.Stats.Stopped > before+5 }) {
			w.note(FaultFull)
		}
		_ = w.Run(time.Duration(r.Int64N(int64(3 * time.Second))))
		for _, c := range d.Clients {
			c.Load.Pad, c.Load.Mix.Put, c.Load.Mix.Delete = padDefault, 0.3, 0.3
		}
		if err := d.FillActs(d.Clients[0]); err != nil { // there is room for each again
			return d, faults, err
		}
	}
	if w.Fired[FaultFull] == 0 {
		w.fail("no node was ever full: proves nothing; %+v", d.Stats)
	}
	return d, faults, d.judgeActs()
}

// staysFull lets a node that nobody hears of its want of room have none for more
// than a minute. When there is room again, and before all records are written
// again, the copies must be equal.
func (d *Data) staysFull(r *rand.Rand, pad int) {
	w, mute := d.W, d.W.Nodes[r.IntN(len(d.W.Nodes))].ID
	w.Net.Drop = func(from, _ cluster.NodeID, k wire.Kind, _ []byte) bool {
		return from == mute && k == wire.KindProgress
	}
	loads := []Load{}
	for _, c := range d.Clients {
		loads = append(loads, c.Load)
		mix := *c.Load.Mix
		mix.Put, mix.Delete = 0.6, 0.02
		c.Load.Pad, c.Load.Mix = pad, &mix
	}
	_ = w.Run(65*time.Second + time.Duration(r.Int64N(int64(30*time.Second)))) // an error is in W.Err
	w.Net.Drop = nil
	for _, c := range d.Clients {
		c.Load = Load{}
	}
	_ = w.Run(2 * opTimeout)
	equal := slices.DeleteFunc(slices.Clone(d.keys), d.differs)
	if len(equal) < len(d.keys) {
		w.note(FaultGivenUp)
	}
	_ = d.doAll(d.Clients[0], verbDelete, equal)
	_ = w.Run(time.Second)
	_ = d.Await("the copies are compared when there is room", 20*time.Second, func() bool { return d.Settled() && !d.wantsComparison() })
	if d.Stop() == nil {
		_ = d.CheckCopies()
	}
	for i, c := range d.Clients {
		c.Load = loads[i]
	}
}

// differs reports whether two replicas hold k in different versions.
func (d *Data) differs(k *key) (yes bool) {
	var first *record.Version
	d.eachSpace(func(s *space) {
		if s.id == k.space && contains(s.part(k.pid()).Replicas, s.self()) {
			m, _ := s.store.Meta(&k.digest)
			yes = yes || first != nil && *first != m.Version
			first = &m.Version
		}
	})
	return yes
}

// wantsComparison reports whether a node knows of copies that may differ.
func (d *Data) wantsComparison() (wants bool) {
	d.eachSpace(func(s *space) { wants = wants || s.WantsComparison(func() bool { return false }) })
	return wants
}

func (d *Data) eachSpace(f func(s *space)) {
	for _, n := range d.W.Nodes {
		if n.Up {
			for _, s := range n.App.(*app).spaces {
				f(s)
			}
		}
	}
}

// fullWorld has little room for records padded to so many bytes: two thirds of
// them fit. What replaces or follows them there is small.
func fullWorld(seed uint64, log func(string)) (d *Data, r *rand.Rand, pad int) {
	r = rand.New(rand.NewPCG(seed, 4))
	nodes := 3 + r.IntN(4)
	s := SpaceConfig{RF: 2}
	dc := DataConfig{Keys: 300, Parts: 32, Shards: 1 + r.IntN(4), Torn: 0.05, Skew: 2 * time.Second}
	pad = 24 << 10
	s.MemoryLimit = int64(dc.Keys * pad * s.RF / nodes * 2 / 3)
	dc.Spaces = []SpaceConfig{s}
	return NewData(Config{Nodes: nodes, Seed: seed, Log: log}, dc), r, pad
}
