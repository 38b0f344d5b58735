package sim

import (
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
)

// splits lets links fail and processes pause in any way at any time, then
// ends that: nothing may answer not found meanwhile, and in the end all
// copies are equal and every write that was acknowledged is there, unless
// another side of a split wrote the record, too: then it is counted.
func splits(seed uint64, log func(string)) (*Data, int, error) {
	d, r := dataWorld(seed, log)
	d.ledger = newLedger(d)
	if err := beginLoad(d, r); err != nil {
		return d, 0, err
	}
	d.OneSided = true
	plan := Plan{Pause: 2, OneWay: 2, Isolate: 2, Flap: 1, Split: 2, Bridge: 1, Ring: 1, Clog: 2, Slow: 1, Jump: 1,
		Every: time.Duration(800+r.IntN(4000)) * time.Millisecond}
	d.W.Schedule(plan, atLeast)
	faults := 0
	for end := d.W.now.Add(atLeast); d.W.now < end; faults++ {
		a, b := d.W.halves()
		last := time.Duration(float64(20*time.Millisecond) * pow10(r.Float64()*2.5))
		d.W.noteSplit(a, b)
		d.split(a, b, last)
		if err := d.W.Run(last + time.Duration(r.Int64N(int64(2*time.Second)))); err != nil {
			return d, faults, err
		}
	}
	d.W.Recover()
	if err := d.Await("redundancy after the faults", 20*time.Second, d.Settled); err != nil {
		return d, faults, err
	}
	if err := d.accounted(); err != nil {
		return d, faults, err
	}
	if err := d.conclude(); err != nil {
		return d, faults, err
	}
	d.ledger.check()
	return d, faults, d.W.Err
}

// split cuts all links between a and b for a while, and each client from one
// of them.
func (d *Data) split(a, b []*Node, last time.Duration) {
	d.W.cutFor(last, a, b, true)
	for i, c := range d.Clients {
		other := a
		if (i+len(a))%2 == 0 {
			other = b
		}
		for _, n := range other {
			d.W.cutOne(c.ID, n.ID, last)
			d.W.cutOne(n.ID, c.ID, last)
		}
	}
}

// oneSplit splits a cluster once, both sides write, and then merges it: every
// version that the merge discards is counted, and the right one survives.
func oneSplit(seed uint64, log func(string)) (*Data, int, error) {
	d, r := dataWorld(seed, log)
	d.ledger = newLedger(d)
	if err := beginLoad(d, r); err != nil {
		return d, 0, err
	}
	_ = d.W.Run(time.Duration(r.Int64N(int64(15 * time.Second)))) // an error shows below
	if err := d.Await("redundancy before the split", 10*time.Second, d.Settled); err != nil {
		return d, 0, err
	}
	d.OneSided = true
	d.W.note(FaultSplit)
	parted := d.W.Nodes[0].View().Key.Counter
	cut := 1 + r.IntN(len(d.W.Nodes)-1)
	d.split(d.W.Nodes[:cut], d.W.Nodes[cut:], time.Hour)
	_ = d.W.Run(time.Second + time.Duration(r.Int64N(int64(4*time.Second))))
	load := d.Clients[0].Load
	if err := d.Stop(); err != nil {
		return d, 1, err
	}
	want := d.rivals(parted)
	d.W.Net.HealAll()
	if err := d.Await("one View after the split", 5*time.Second, d.W.OneView); err != nil {
		return d, 1, err
	}
	d.elect(parted)
	for _, c := range d.Clients {
		c.Load = load
	}
	if err := d.Await("redundancy after the split", 20*time.Second, d.Settled); err != nil {
		return d, 1, err
	}
	if err := d.accounted(); err != nil {
		return d, 1, err
	}
	// Migration and writes meet the same losers; see plane's losses.
	got := d.Conflicts()
	if got != want {
		d.W.fail("%d discarded versions are counted, want %d", got, want)
	}
	_ = d.W.Run(max(0, atLeast-d.W.now.Sub(0))) // an error shows below
	if err := d.conclude(); err != nil {
		return d, int(1 + want), err
	}
	d.ledger.check()
	return d, int(1 + want), d.W.Err
}

// elect makes what must survive the merge of a split the write of each key
// that was acknowledged last: of versions written after the View with counter
// parted the one with the latest stamp, else the newest. From now on all nodes
// share a View, and every read must return it or something later.
func (d *Data) elect(parted uint64) {
	d.OneSided = false
	for _, k := range d.keys {
		var best record.Meta
		var winner *write
		for _, n := range d.W.Nodes {
			m, b, ok := n.App.(*app).spaces[k.space].store.Get(&k.digest, nil)
			if !ok || !wins(m.Version, best.Version, parted) {
				continue
			}
			best, winner = m, nil
			if !m.Tombstone {
				winner = k.find(writeOf(b))
			}
		}
		if winner == nil { // a delete; which of them does not matter
			winner = &write{absent: true, id: 1 << 60}
			k.writes = append(k.writes, winner)
		}
		winner.start, winner.end, winner.acked, winner.none = d.W.now, d.W.now, true, false
	}
	_ = d.W.Run(time.Microsecond) // what is read from now on begins after that
}

func wins(a, b record.Version, parted uint64) bool {
	if uint64(min(a.Regime, b.Regime)) > parted && a.Stamp != b.Stamp {
		return a.Stamp > b.Stamp
	}
	return a.Newer(b)
}

// rivals counts the versions that a merge has to discard: for each key the
// different ones that masters of different Views wrote after the View with
// counter parted, but one.
func (d *Data) rivals(parted uint64) (sum uint64) {
	for _, k := range d.keys {
		versions := map[record.Version]bool{}
		seen := map[cluster.ViewKey]bool{}
		for _, n := range d.W.Nodes {
			s := n.App.(*app).spaces[k.space]
			if !s.Serves(k.pid()) || seen[s.a.view.Key] {
				continue
			}
			seen[s.a.view.Key] = true
			if m, ok := s.store.Meta(&k.digest); ok && uint64(m.Version.Regime) > parted {
				versions[m.Version] = true
			}
		}
		if len(versions) > 1 {
			sum += uint64(len(versions) - 1)
		}
	}
	return sum
}
