package sim

import (
	"math/rand/v2"
	"testing"
	"time"

	"headroom/node/cluster"
)

// disks lets nodes with devices crash, one at a time and each time after the
// cluster has its full redundancy again, find their disk wiped, or an old copy
// of it put back: nothing acknowledged may be lost and no read be stale. If
// writes are acknowledged when they are synced, the power of all fails, too.
func disks(seed uint64, log func(string)) (*Data, int, error) {
	d, r := diskWorld(seed, log)
	if err := beginLoad(d, r); err != nil {
		return d, 0, err
	}
	faults, cuts := 0, 0
	var backup saved
	for end := d.W.now.Add(atLeast); d.W.now < end; faults++ {
		_ = d.W.Run(time.Duration(r.Int64N(int64(4 * time.Second))))
		if err := d.Await("redundancy after the fault", 20*time.Second, d.Settled); err != nil {
			return d, faults, err
		}
		if d.durable() && r.IntN(4) == 0 {
			cuts++
			d.powerCut(r)
			continue
		}
		d.diskFault(r, &backup)
	}
	if err := d.Await("redundancy in the end", 20*time.Second, d.Settled); err != nil {
		return d, faults, err
	}
	if err := d.conclude(); err != nil {
		return d, faults, err
	}
	if d.durable() { // all there is in the end is on the devices
		d.powerCut(r)
		if err := d.conclude(); err != nil {
			return d, faults, err
		}
	}
	if cuts > 0 { // a read may have seen what was not acknowledged and did not last
		return d, faults, d.W.Err
	}
	return d, faults, d.checkLinear()
}

func diskWorld(seed uint64, log func(string)) (*Data, *rand.Rand) {
	return dataWorldOn(seed, log, func(r *rand.Rand, s *SpaceConfig) {
		s.DeviceConfig = DeviceConfig{Devices: 1 + r.IntN(2), Blocks: 32 + r.IntN(64), WriteBlock: 4096 << r.IntN(3), CommitToDevice: r.IntN(3) > 0,
			InMemory: r.IntN(3) == 0, Latency: time.Duration(float64(20*time.Microsecond) * pow10(r.Float64()*3))}
	})
}

// durable reports whether all namespaces acknowledge what is synced.
func (d *Data) durable() bool {
	for i := range d.cfg.Spaces {
		if !d.cfg.Spaces[i].CommitToDevice {
			return false
		}
	}
	return true
}

// saved is a copy of the disk of a node.
type saved struct {
	node  cluster.NodeID
	inc   cluster.Incarnation // that was writing to it
	media []*media
}

// save copies a node's disk as it is at this moment.
func (d *Data) save(n *Node) saved {
	s := saved{node: n.ID, inc: n.Inc}
	for i := range d.cfg.Spaces {
		s.media = append(s.media, d.mediaOf(n.ID, i).crashed(func() bool { return true }))
	}
	return s
}

// unplug takes the disk out of a node that is down, as it is then.
func (d *Data) unplug(n *Node) {
	for _, s := range n.App.(*app).spaces {
		s.die()
	}
}

// diskFault does one fault to one node and undoes it.
func (d *Data) diskFault(r *rand.Rand, backup *saved) {
	w := d.W
	n := w.Nodes[r.IntN(len(w.Nodes))]
	last := time.Duration(float64(5*time.Millisecond) * pow10(r.Float64()*3))
	if r.IntN(3) == 0 {
		*backup = d.save(n)
	}
	switch x := r.IntN(16); {
	case x < 3:
		w.note(FaultWiped)
		n.Crash(r.IntN(2) == 0)
		_ = w.Run(last)
		d.unplug(n)
		for i := range d.cfg.Spaces {
			d.setMedia(n.ID, i, newMedia(&d.cfg.Spaces[i].DeviceConfig))
		}
		n.Start()
	case x < 7 && backup.node != 0:
		w.note(FaultStale)
		n = w.Node(backup.node)
		n.Crash(r.IntN(2) == 0)
		_ = w.Run(last)
		d.unplug(n)
		d.putBack(n, backup, r.IntN(3) == 0)
		n.Start()
	case x < 9:
		d.singleFault(r)
	default:
		w.note(FaultCrash)
		n.Crash(r.IntN(3) == 0)
		_ = w.Run(last / time.Duration(1+r.IntN(50)))
		n.Start()
	}
}

// putBack puts an old copy of a node's disk back; with only, the devices but
// not the directory beside them. An engine tells devices of an earlier opening
// by their epoch and refuses them: then the operator does what it says, and
// empties them.
func (d *Data) putBack(n *Node, old *saved, only bool) {
	for i, m := range old.media {
		c := m.crashed(nil)
		if only {
			now := d.mediaOf(n.ID, i)
			if c.dir = now.dir; old.inc != n.Inc {
				c.devices = newMedia(&d.cfg.Spaces[i].DeviceConfig).devices
			}
		}
		d.setMedia(n.ID, i, c)
	}
}

// powerCut ends all processes at once, and starts them again.
func (d *Data) powerCut(r *rand.Rand) {
	w := d.W
	w.note(FaultPowerCut)
	for _, n := range w.Nodes {
		n.Crash(true)
	}
	_ = w.Run(time.Duration(r.Int64N(int64(3 * time.Second))))
	for _, n := range w.Nodes {
		w.After(time.Duration(r.Int64N(int64(400*time.Millisecond))), n.Start)
	}
	_ = w.Run(500 * time.Millisecond)
	_ = d.Await("redundancy after the power cut", 20*time.Second, d.Settled) // an error is in w.Err
}

func TestDiskSeedsThatFoundBugs(t *testing.T) {
	for seed, bug := range map[uint64]string{
		5: "a copy found after a crash was preferred to one of the same View that had not crashed",
		1: "after a crash of all nodes nobody served, as a node without a copy knew of an established View",
	} {
		r, err := onData(disks)(seed, nil)
		if err != nil {
			t.Errorf("seed %d: %s, again: %v", seed, bug, err)
		}
		r.d.Close()
	}
}
