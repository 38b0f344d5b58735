package drive

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"headroom/loadgen/pace"
	"headroom/loadgen/target"
	"headroom/workloads/keys"
	"headroom/workloads/units"
)

// couldRecords bounds the keys of a Could, whose audit table costs 12 bytes
// each.
const couldRecords = 1 << 20

// Capacity is what a generator can do.
type Capacity struct {
	Rate units.Rate
	// PerOp is the CPU time of one operation: unlike Rate it is the same on a
	// machine that others use, too.
	PerOp time.Duration
	// Rate is Sent operations in Took.
	Sent int64
	Took time.Duration
}

// Could measures what the generator of cfg would send to a target that takes no
// time, each of its lanes with arrivals always due: schedule, choice, value,
// histograms and audit table are paid, only the target's client is not. It
// takes length and leaves cfg's target alone.
func Could(cfg Config, length time.Duration) (Capacity, error) {
	w := *cfg.Workload
	w.Records = min(w.Records, couldRecords)
	if w.Keys.Placed() { // a null target has no places; the choice costs as much
		w.Keys.Distribution = keys.Hotspot
	}
	cfg.Workload, cfg.Target, cfg.NoAudit, cfg.Faults, cfg.SLO = &w, target.Null{}, true, nil, nil
	cfg.Profile, cfg.Trace, cfg.Closed, cfg.Think, cfg.Rate, cfg.Precise = pace.Steady(1e9), nil, 0, 0, 0, false
	d, err := New(cfg)
	if err != nil {
		return Capacity{}, err
	}
	d.table.assume(uint64(w.Records))
	start := d.clock.Now()
	var sent atomic.Int64
	var lanes []*lane
	defer func() { (&Report{lanes: lanes}).closeLanes() }()
	for i := range d.cfg.Lanes {
		l, err := d.newLane(i, d.cfg.Lanes, window{start: start, measured: start, end: start + length + time.Hour})
		if err != nil {
			return Capacity{}, fmt.Errorf("open lane %d: %w", i+1, err)
		}
		lanes = append(lanes, l)
	}
	start = d.clock.Now()
	cpu := cpuTime()
	var wg sync.WaitGroup
	for _, l := range lanes {
		wg.Go(func() {
			for now := d.clock.Now(); now < start+length; now = d.clock.Now() {
				l.issueDue(now)
			}
			sent.Add(int64(l.doneN))
		})
	}
	wg.Wait()
	n := max(1, sent.Load())
	took := d.clock.Now() - start
	return Capacity{Rate: units.Rate(float64(n) / took.Seconds()), PerOp: (cpuTime() - cpu) / time.Duration(n), Sent: n, Took: took}, nil
}

// Assume takes the workload's records as loaded, for a target that stores
// nothing.
func (d *Driver) Assume() { d.table.assume(uint64(d.cfg.Workload.Records)) }
