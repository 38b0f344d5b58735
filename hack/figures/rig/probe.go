package rig

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"headroom/loadgen/target"
)

const (
	probeInFlight = 4096            // two seconds and more at the rates of the figures
	probeBudget   = 2 * time.Second // deadline of an operation, as the load generator's default
	probeLongest  = 30 * time.Minute
)

// Probe is a foreground load of half reads, half writes at a constant rate that
// keeps the response time of every operation with its intended start: a window
// of a second shows what began in it, not what had waited before.
type Probe struct {
	began    time.Time
	interval time.Duration
	response []atomic.Int64 // nanoseconds, by number; zero: no answer yet, or none
	failed   atomic.Int64
	cancel   context.CancelFunc
	done     chan struct{}
}

// Probe starts a probe over the loaded records; size is of the values written.
func (r *Rig) Probe(ctx context.Context, perSecond, size int) (*Probe, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &Probe{began: time.Now(), interval: time.Second / time.Duration(perSecond), cancel: cancel, done: make(chan struct{})}
	p.response = make([]atomic.Int64, int(probeLongest/p.interval))
	lane, err := r.target.NewLane(probeInFlight, p.ended)
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(p.done)
		defer lane.Close() // what it could not complete counts as failed
		p.drive(ctx, lane, uint64(r.Driver.Config().Workload.Records), make([]byte, size))
	}()
	return p, nil
}

func (p *Probe) drive(ctx context.Context, lane target.Lane, records uint64, value []byte) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := 0; n < len(p.response); n++ {
		if d := time.Until(p.began.Add(time.Duration(n) * p.interval)); d > 0 {
			lane.Flush()
			if Sleep(ctx, d) != nil {
				return
			}
		} else if ctx.Err() != nil {
			return
		}
		op := target.Op{Kind: target.Read, Key: rng.Uint64N(records), Token: uint64(n), Budget: probeBudget}
		if n%2 == 1 {
			op.Kind, op.Value = target.Write, value
		}
		if lane.Submit(&op) != nil {
			p.end(n, false)
		}
	}
}

func (p *Probe) ended(r *target.Result) { p.end(int(r.Token), r.Outcome == target.OK) }

// end notes the end of operation n; a failed one is as slow as its deadline.
func (p *Probe) end(n int, ok bool) {
	took := time.Since(p.began.Add(time.Duration(n) * p.interval))
	if !ok {
		p.failed.Add(1)
		took = max(took, probeBudget)
	}
	p.response[n].Store(int64(max(took, 1)))
}

// Stop ends the probe.
func (p *Probe) Stop() {
	p.cancel()
	<-p.done
}

// Failed counts the operations that failed or are in doubt.
func (p *Probe) Failed() int64 { return p.failed.Load() }

// P99 is the 99th percentile of the operations intended between two instants,
// and how many there were.
func (p *Probe) P99(from, to time.Time) (time.Duration, int) {
	first, last := max(0, int(from.Sub(p.began)/p.interval)), min(len(p.response), int(to.Sub(p.began)/p.interval))
	var all []int64
	for n := first; n < last; n++ {
		if v := p.response[n].Load(); v > 0 {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return time.Duration(all[(len(all)*99-1)/100]), len(all)
}
