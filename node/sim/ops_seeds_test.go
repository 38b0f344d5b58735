package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"headroom/node/cluster"
)

// operations lets clients do everything a client can (operate, writes that ask
// for a generation, touches, records that expire, batches, scans) while one
// node at a time crashes, and may find what its devices held, pauses, is left
// alone, is slow or leaves: what they are told of each key must fit one order.
func operations(seed uint64, log func(string)) (*Data, int, error) {
	d, r := dataWorldOn(seed, log, func(r *rand.Rand, s *SpaceConfig) {
		if r.IntN(2) == 0 {
			s.DeviceConfig = DeviceConfig{Devices: 1, Blocks: 48 + r.IntN(32), WriteBlock: 4096 << r.IntN(2), InMemory: r.IntN(3) == 0,
				Latency: time.Duration(float64(20*time.Microsecond) * pow10(r.Float64()*3))}
		}
	})
	if err := beginActs(d, r); err != nil {
		return d, 0, err
	}
	faults := 0
	for end := d.W.now.Add(atLeast); d.W.now < end; faults++ {
		_ = d.W.Run(time.Duration(r.Int64N(int64(3 * time.Second))))
		if err := d.Await("redundancy after the fault", 20*time.Second, d.Settled); err != nil {
			return d, faults, err
		}
		if n := d.W.Nodes[r.IntN(len(d.W.Nodes))]; r.IntN(8) == 0 {
			d.alone(n, time.Duration(float64(20*time.Millisecond)*pow10(r.Float64()*3)))
			continue
		}
		d.singleFault(r)
	}
	return d, faults, d.judgeActs()
}

// alone cuts a node off from all others for some time, after it has done what
// it had to do for clients, and gives it back to them when all have one View: it
// goes on by itself, with what it held.
func (d *Data) alone(n *Node, last time.Duration) {
	w := d.W
	w.note(FaultIsolate)
	d.OneSided = true
	defer func() { d.OneSided = false }()
	d.apart(n, w.Net.Cut)
	_ = w.Run(opTimeout) // an error is in W.Err
	w.cutFor(last, []*Node{n}, w.allBut(n), true)
	_ = w.Run(last + last/4 + time.Millisecond)
	_ = d.Await("one View after a node was alone", 20*time.Second, d.Settled)
	_ = w.Run(opTimeout)
	d.apart(n, w.Net.Heal)
}

// apart cuts or heals what goes between a node and the clients.
func (d *Data) apart(n *Node, do func(from, to cluster.NodeID)) {
	for _, c := range d.Clients {
		do(c.ID, n.ID)
		do(n.ID, c.ID)
	}
}

// beginActs is beginLoad for acts of all kinds.
func beginActs(d *Data, r *rand.Rand) error {
	if d.cfg.Skew <= time.Second {
		d.cfg.ReapEvery = time.Duration(1+r.IntN(12)) * time.Second // production: a minute
	}
	if err := d.startTwoClients(); err != nil {
		return err
	}
	if err := d.FillActs(d.Clients[0]); err != nil {
		return err
	}
	for _, c := range d.Clients {
		c.Load = Load{Pause: time.Duration(60+r.IntN(200)) * time.Millisecond, Mix: randomMix(r, d)}
	}
	return nil
}

// randomMix draws what clients do. Records expire only where the nodes' clocks
// tell about the same time.
func randomMix(r *rand.Rand, d *Data) *Mix {
	m := &Mix{Header: 0.1 * r.Float64(), Put: 0.1 + 0.2*r.Float64(), Delete: 0.1 * r.Float64(), Touch: 0.1 * r.Float64(), Add: 0.1 + 0.2*r.Float64(),
		Batch: 0.1 * r.Float64(), Scan: 0.05 * r.Float64(), Check: 0.5 * r.Float64()}
	if d.cfg.ReapEvery > 0 {
		m.Mortal, m.TTL = 0.3*r.Float64(), 1+r.Uint32N(8)
	}
	return m
}

// judgeActs ends the load and looks at everything that must hold then.
func (d *Data) judgeActs() error {
	ttl := uint32(0)
	for _, c := range d.Clients {
		if c.Load.Mix != nil {
			ttl = max(ttl, c.Load.Mix.TTL)
		}
	}
	if err := d.Stop(); err != nil {
		return err
	}
	if ttl > 0 { // what expires has expired, and was removed everywhere
		_ = d.W.Run(time.Duration(ttl)*time.Second + 2*d.cfg.Skew + d.cfg.ReapEvery + 2*time.Second)
	}
	if err := d.Await("redundancy in the end", 20*time.Second, d.Settled); err != nil {
		return err
	}
	if err := d.CheckCopies(); err != nil {
		return err
	}
	if err := d.CheckStores(); err != nil {
		return err
	}
	if err := d.ReadActs(d.Clients[0]); err != nil {
		return err
	}
	return d.checkActs()
}

// loseWindow is how long after its acknowledgement a write of a namespace that
// commits to the master may be on the master alone: as long as its frames to
// the replicas may take, lost and sent again, where no replica is missing.
const loseWindow = time.Second

// commitMaster is operations in namespaces that acknowledge what the master
// alone has. The promise is weaker there, but exact: if a node crashes, the
// writes that it acknowledged in the last moments may be lost, the newest first;
// nothing else is.
func commitMaster(seed uint64, log func(string)) (*Data, int, error) {
	d, r := dataWorldOn(seed, log, func(_ *rand.Rand, s *SpaceConfig) { s.CommitMaster = true })
	if err := beginActs(d, r); err != nil {
		return d, 0, err
	}
	faults := 0
	for end := d.W.now.Add(atLeast); d.W.now < end; faults++ {
		_ = d.W.Run(time.Duration(r.Int64N(int64(3 * time.Second))))
		if err := d.Await("redundancy after the fault", 20*time.Second, d.Settled); err != nil {
			return d, faults, err
		}
		n := d.W.Nodes[r.IntN(len(d.W.Nodes))]
		last := time.Duration(float64(5*time.Millisecond) * pow10(r.Float64()*3))
		if r.IntN(4) == 0 {
			d.leaveAndReturn(n, last)
			continue
		}
		lose := d.masteredBy(n)
		at := d.W.now
		d.W.note(FaultCrash)
		n.Crash(r.IntN(3) == 0)
		_ = d.W.Run(last)
		n.Start()
		if err := d.Await("redundancy after the crash", 20*time.Second, d.Settled); err != nil {
			return d, faults, err
		}
		for _, k := range lose {
			d.loses(k, at)
		}
	}
	return d, faults, d.judgeActs()
}

// masteredBy lists the keys that a node serves.
func (d *Data) masteredBy(n *Node) []*key {
	a := n.App.(*app)
	return slices.DeleteFunc(slices.Clone(d.keys), func(k *key) bool { return !a.spaces[k.space].Serves(k.pid()) })
}

// loses notes that the master of k crashed at that moment, and which writes may
// be lost by that.
func (d *Data) loses(k *key, at cluster.Instant) {
	for _, a := range k.acts {
		a.loose = a.loose || a.start <= at && a.end > at.Add(-loseWindow)
	}
	lost := d.newAct(k, verbLose)
	lost.start, lost.end, lost.fate = at, d.W.now, fateDone
}
