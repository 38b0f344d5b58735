package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"headroom/node/migrate"
)

// dataWorld draws a cluster of three to five nodes with clients under load.
func dataWorld(seed uint64, log func(string)) (*Data, *rand.Rand) {
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
	dc := DataConfig{Spaces: []SpaceConfig{{RF: 2 + r.IntN(2)}}, Torn: 0.05, Mortal: 40, Shards: 1 + r.IntN(4)}
	dc.Skew = []time.Duration{0, 200 * time.Millisecond, 3 * time.Second, 20 * time.Second}[r.IntN(4)]
	if r.IntN(4) == 0 { // more than a batch of migration
		dc.Parts, dc.Keys = 2, 700
	}
	if r.IntN(2) == 0 {
		dc.Rate = migrate.Rate{RecordsPerSecond: 50 + 400*r.Float64()}
		dc.Active = 1 + r.IntN(4)
	}
	return NewData(Config{Nodes: 3 + r.IntN(3), Seed: seed, Net: net, Log: log}, dc), r
}

// begin starts the cluster, writes all keys, and starts the load.
func beginLoad(d *Data, r *rand.Rand) error {
	if err := d.Start(); err != nil {
		return err
	}
	for range 2 {
		d.NewClient(8)
	}
	if err := d.Await("clients have a map", 3*time.Second, func() bool { return d.Clients[0].cur != nil && d.Clients[1].cur != nil }); err != nil {
		return err
	}
	if err := d.Fill(d.Clients[0]); err != nil {
		return err
	}
	for _, c := range d.Clients {
		c.Load = Load{Writes: 0.2 + 0.5*r.Float64(), Deletes: 0.05, Pause: time.Duration(2+r.IntN(30)) * time.Millisecond}
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
	for end := d.W.now.Add(15 * time.Second); d.W.now < end; {
		_ = d.W.Run(time.Duration(r.Int64N(int64(500 * time.Millisecond))))
		if err := d.Await("redundancy after the fault", 20*time.Second, d.Settled); err != nil {
			return d, faults, err
		}
		d.singleFault(r)
		faults++
	}
	if err := d.Await("redundancy in the end", 20*time.Second, d.Settled); err != nil {
		return d, faults, err
	}
	return d, faults, d.conclude()
}

// singleFault does one fault to one node and undoes it.
func (d *Data) singleFault(r *rand.Rand) {
	w := d.W
	n := w.Nodes[r.IntN(len(w.Nodes))]
	last := time.Duration(float64(5*time.Millisecond) * pow10(r.Float64()*3))
	switch x := r.IntN(10); {
	case x < 4:
		n.Crash(r.IntN(3) == 0)
		_ = w.Run(last)
		n.Start()
	case x < 8:
		n.Pause()
		_ = w.Run(min(100*time.Millisecond+2*last, 8*time.Second))
		n.Resume()
	default:
		failed := d.failed()
		d.Leave(n, 10*time.Second)
		if d.Await("the node has left", 11*time.Second, func() bool { return !n.Up }) != nil {
			return
		}
		_ = w.Run(last / 4)
		n.Start()
		if d.Await("redundancy after a node left and came back", 20*time.Second, d.Settled) == nil && d.failed() != failed {
			w.fail("%d operations failed because node%d left", d.failed()-failed, n.ID)
		}
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
	return d.ReadAll(d.Clients[0])
}

func TestSingleFaultsLoseNothing(t *testing.T) {
	dataSeeds(t, "TestSingleFaultsLoseNothing", singleFaults)
}

func dataSeeds(t *testing.T, name string, run func(seed uint64, log func(string)) (*Data, int, error)) {
	if *seedFlag != 0 {
		d, faults, err := run(*seedFlag, func(l string) { fmt.Println(l) })
		t.Logf("%d faults, %+v, %d conflicts", faults, d.Stats, d.Conflicts())
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var virtual time.Duration
	began := time.Now()
	events := 0
	var discarded, counted uint64
	for s := *seedFirst; s < *seedFirst+uint64(*dataCount); s++ {
		d, faults, err := run(s, nil)
		if err == nil && (faults == 0 || d.Stats.Acked < len(d.keys)+20 || d.Stats.Reads < 20) {
			err = fmt.Errorf("proves nothing: %d faults, %+v", faults, d.Stats)
		}
		if err != nil {
			t.Errorf("seed %d: %v\nreplay: go test ./node/sim -run %s -seed %d", s, err, name, s)
		}
		virtual += d.W.now.Sub(0)
		events += d.W.Events
		discarded, counted = discarded+d.Stats.Discarded, counted+d.Stats.Counted
		d.Close()
	}
	if discarded > 0 {
		t.Logf("%d versions discarded by merges, %d counted", discarded, counted)
	}
	t.Logf("%d seeds, %d events, %.0f virtual seconds, %.0f a second", *dataCount, events, virtual.Seconds(), virtual.Seconds()/time.Since(began).Seconds())
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
	every := time.Duration(100+r.IntN(2000)) * time.Millisecond
	for end := d.W.now.Add(12 * time.Second); d.W.now < end; faults++ {
		n := d.W.Nodes[r.IntN(len(d.W.Nodes))]
		last := time.Duration(float64(20*time.Millisecond) * pow10(r.Float64()*2.5))
		if d.paused() < (len(d.W.Nodes)-1)/2 {
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
	return d, faults, d.conclude()
}

func TestPausesLoseNothing(t *testing.T) { dataSeeds(t, "TestPausesLoseNothing", pauses) }

func (d *Data) paused() (count int) {
	for _, n := range d.W.Nodes {
		if n.Paused {
			count++
		}
	}
	return count
}
