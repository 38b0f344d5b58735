package sim

import (
	"math/rand/v2"
	"time"

	"headroom/node/migrate"
)

// dataWorld draws a cluster of three to nine nodes.
func dataWorld(seed uint64, log func(string)) (*Data, *rand.Rand) {
	return dataWorldOn(seed, log, func(*rand.Rand, *SpaceConfig) {})
}

// dataWorldOn is dataWorld with something more drawn for each namespace.
func dataWorldOn(seed uint64, log func(string), more func(r *rand.Rand, s *SpaceConfig)) (*Data, *rand.Rand) {
	r := rand.New(rand.NewPCG(seed, 3))
	net := NetConfig{Refuse: r.IntN(2) == 0}
	if r.IntN(2) == 0 {
		net.Loss, net.Duplicate = r.Float64()*0.03, r.Float64()*0.1
		net.Spike, net.SpikeMax = r.Float64()*0.05, time.Duration(1+r.IntN(20))*time.Millisecond
		net.Jitter = time.Duration(100+r.IntN(1000)) * time.Microsecond
	}
	if r.IntN(2) == 0 {
		net.Batch = 0.5
	}
	if r.IntN(2) == 0 {
		net.Refused = r.Float64() * 0.05
	}
	if r.IntN(3) == 0 {
		net.SlowFrame = r.Float64() * 0.05
	}
	dc := DataConfig{Spaces: []SpaceConfig{{RF: 2 + r.IntN(2)}}, Torn: 0.05, Keys: 64, Parts: 8, Mortal: 20, Shards: 1 + r.IntN(4)}
	if r.IntN(4) == 0 {
		dc.Spaces = append(dc.Spaces, SpaceConfig{RF: 2})
	}
	if r.IntN(4) == 0 {
		dc.Window = 1 << (8 + r.IntN(10))
	}
	dc.Skew = []time.Duration{0, 200 * time.Millisecond, 3 * time.Second, 20 * time.Second}[r.IntN(4)]
	if r.IntN(4) == 0 { // more than a batch of migration
		dc.Parts, dc.Keys = 2, 700
	}
	if r.IntN(2) == 0 {
		dc.Rate = migrate.Rate{RecordsPerSecond: 50 + 400*r.Float64()}
		dc.Active = 1 + r.IntN(4)
	}
	for i := range dc.Spaces {
		more(r, &dc.Spaces[i])
	}
	d := NewData(Config{Nodes: 3 + r.IntN(r.IntN(7)+1), Seed: seed, Net: net, Log: log}, dc)
	d.Watch(*keyFlag)
	for _, n := range d.W.Nodes {
		n.Drift = r.Int64N(2*maxDrift+1) - maxDrift
	}
	return d, r
}

// startTwoClients starts the cluster and two clients, which get the map.
func (d *Data) startTwoClients() error {
	if err := d.Start(); err != nil {
		return err
	}
	for range 2 {
		d.NewClient(8)
	}
	return d.Await("clients have a map", 3*time.Second, func() bool { return d.Clients[0].cur != nil && d.Clients[1].cur != nil })
}

// beginLoad starts the cluster, writes all keys, and starts the load.
func beginLoad(d *Data, r *rand.Rand) error {
	if err := d.startTwoClients(); err != nil {
		return err
	}
	if err := d.Fill(d.Clients[0]); err != nil {
		return err
	}
	for _, c := range d.Clients {
		pause := time.Duration(60+r.IntN(200)) * time.Millisecond
		if r.IntN(8) == 0 {
			pause /= 20 // a tenth of the seeds is busy: queues and batches fill
		}
		c.Load = Load{Writes: 0.2 + 0.5*r.Float64(), Deletes: 0.05, Pause: pause}
	}
	return nil
}

// singleFaults lets one node at a time crash, pause or leave, each time after
// the cluster has its full redundancy again: then no acknowledged write may be
// lost and no read be stale.
func singleFaults(seed uint64, log func(string)) (*Data, int, error) {
	d, r := dataWorld(seed, log)
	if err := beginLoad(d, r); err != nil {
		return d, 0, err
	}
	faults := 0
	for end := d.W.now.Add(atLeast); d.W.now < end; {
		_ = d.W.Run(time.Duration(r.Int64N(int64(2 * time.Second))))
		if err := d.Await("redundancy after the fault", 20*time.Second, d.Settled); err != nil {
			return d, faults, err
		}
		d.singleFault(r)
		faults++
	}
	if err := d.Await("redundancy in the end", 20*time.Second, d.Settled); err != nil {
		return d, faults, err
	}
	if err := d.conclude(); err != nil {
		return d, faults, err
	}
	return d, faults, d.checkLinear()
}

// singleFault does one fault to one node and undoes it.
func (d *Data) singleFault(r *rand.Rand) {
	w := d.W
	n := w.Nodes[r.IntN(len(w.Nodes))]
	last := time.Duration(float64(5*time.Millisecond) * pow10(r.Float64()*3))
	x := r.IntN(16)
	if d.cfg.ReapEvery > 0 && x/2 == 6 {
		x = 0 // a process that starts with a wrong clock lets records expire by it: what is promised of them rests on clocks
	}
	switch {
	case x < 4:
		w.note(FaultCrash)
		n.Crash(r.IntN(3) == 0)
		_ = w.Run(last)
		n.Start()
	case x < 6:
		w.note(FaultRestart)
		n.Crash(false)
		_ = w.Run(last / 50)
		n.Start()
	case x < 10:
		w.note(FaultPause)
		n.Pause()
		pause := min(100*time.Millisecond+2*last, 8*time.Second)
		if r.IntN(30) == 0 {
			pause = time.Duration(10+r.IntN(110)) * time.Second
		}
		_ = w.Run(pause)
		n.Resume()
	case x < 12:
		w.slow(n, time.Duration(1+r.IntN(30))*time.Millisecond, last)
		_ = w.Run(last)
	case x < 14:
		w.jumpClock(n, r.IntN(2) == 0)
		_ = w.Run(last)
	default:
		d.leaveAndReturn(n, last)
	}
}

// leaveAndReturn lets a node leave and come back some time later: no operation
// may fail because of that.
func (d *Data) leaveAndReturn(n *Node, last time.Duration) {
	d.W.note(FaultLeave)
	d.prompt = true
	defer func() { d.prompt = false }()
	if d.Clients[0].Load.Mix != nil || d.cfg.Spaces[0].Devices > 0 {
		_ = d.W.Run(opTimeout) // what an earlier fault has left in doubt, or a read that is late, ends as such
	}
	failed := d.failed()
	d.Leave(n, 10*time.Second)
	if d.Await("the node has left", 11*time.Second, func() bool { return !n.Up }) != nil {
		return
	}
	_ = d.W.Run(last / 4)
	n.Start()
	if d.Await("redundancy after a node left and came back", 20*time.Second, d.Settled) == nil && d.failed() != failed {
		d.W.fail("%d operations failed because node%d left", d.failed()-failed, n.ID)
	}
}

// failed is how many operations ended neither OK nor not found.
func (d *Data) failed() (sum int) {
	for _, c := range d.Clients {
		sum += c.Failed
	}
	return sum
}

// conclude ends the load and looks at everything that must hold then.
func (d *Data) conclude() error {
	if err := d.Stop(); err != nil {
		return err
	}
	if err := d.Await("redundancy in the end", 20*time.Second, d.Settled); err != nil {
		return err
	}
	if err := d.CheckCopies(); err != nil {
		return err
	}
	if err := d.CheckLineage(); err != nil {
		return err
	}
	if err := d.CheckStores(); err != nil {
		return err
	}
	return d.ReadAll(d.Clients[0])
}

// pauses lets processes stand still at any time, a minority of them at once:
// the others go on in one View, so nothing may be lost and no read be stale,
// whatever is unavailable meanwhile.
func pauses(seed uint64, log func(string)) (*Data, int, error) {
	d, r := dataWorld(seed, log)
	if err := beginLoad(d, r); err != nil {
		return d, 0, err
	}
	faults := 0
	every := time.Duration(200+r.IntN(3000)) * time.Millisecond
	for end := d.W.now.Add(atLeast); d.W.now < end; faults++ {
		n := d.W.Nodes[r.IntN(len(d.W.Nodes))]
		last := time.Duration(float64(20*time.Millisecond) * pow10(r.Float64()*2.5))
		if d.paused() < (len(d.W.Nodes)-1)/2 {
			d.W.note(FaultPause)
			n.Pause()
			d.W.After(last, n.Resume)
		}
		if err := d.W.Run(time.Duration(r.Int64N(int64(2 * every)))); err != nil {
			return d, faults, err
		}
	}
	d.W.Recover()
	if err := d.Await("redundancy after the pauses", 20*time.Second, d.Settled); err != nil {
		return d, faults, err
	}
	if err := d.conclude(); err != nil {
		return d, faults, err
	}
	return d, faults, d.checkLinear()
}

func (d *Data) paused() (count int) {
	for _, n := range d.W.Nodes {
		if n.Paused {
			count++
		}
	}
	return count
}
