package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"headroom/loadgen/result"
	"headroom/node/disk"
	"headroom/node/disk/profile"
	"headroom/workloads/units"
)

// Steps of a fit: long enough for a p99 of a turning disk's flushes at queue
// depth 1 (a hundred a second), 11 s in all.
const (
	fitAlone = time.Second
	fitDepth = 1500 * time.Millisecond
)

// depths of the sweep that finds how many small reads a device serves at once.
var depths = []int{4, 16, 64}

// Measure fits a profile to a device: service times at queue depth 1, the
// highest rates and bandwidths at depth, and channels = rate x service time.
// Name and capacity are the caller's to fill in. It writes all over the device
// and blocks for about 11 s.
func Measure(ctx context.Context, d disk.Device, l Load, say func(string)) (*profile.Profile, error) {
	m := &meter{ctx: ctx, d: d, say: say}
	p := &profile.Profile{Channels: 1}
	small := l.ReadSize()
	alone := func(op profile.Op, size int) *hdr.Histogram {
		h, _ := m.closed(op, size, 1, fitAlone)
		p.Service = append(p.Service, profile.Service{Op: op, Size: units.Bytes(size), Points: points(h)})
		return h
	}
	reads := alone(profile.Read, small)
	if small < l.Block {
		alone(profile.Read, l.Block)
	}
	alone(profile.Write, small)
	if small < l.Block {
		alone(profile.Write, l.Block)
	}
	alone(profile.Sync, 0)
	highest := float64(reads.TotalCount()) / fitAlone.Seconds()
	for _, depth := range depths {
		_, rate := m.closed(profile.Read, small, depth, fitDepth)
		highest = max(highest, rate)
	}
	_, in := m.closed(profile.Write, l.Block, 8, fitDepth)
	_, out := m.closed(profile.Read, l.Block, 8, fitDepth)
	if m.err != nil {
		return nil, m.err
	}
	p.IOPS.Read = math.Round(highest)
	p.Bandwidth = profile.Caps{Read: math.Round(out * float64(l.Block)), Write: math.Round(in * float64(l.Block))}
	p.Channels = channels(highest, reads.Mean()/1e9)
	return p, nil
}

// channels is Little's law: what is in service at the highest rate.
func channels(rate, seconds float64) int {
	return min(max(int(math.Round(rate*seconds)), 1), profile.MaxChannels)
}

// meter drives closed loops; the first error sticks and ends the rest.
type meter struct {
	ctx context.Context
	d   disk.Device
	say func(string)
	err error
}

// closed keeps depth requests in flight for so long and returns their service
// times and their rate per second.
func (m *meter) closed(op profile.Op, size, depth int, length time.Duration) (*hdr.Histogram, float64) {
	all := result.NewHistogram()
	if m.err != nil || m.ctx.Err() != nil {
		m.err = errors.Join(m.err, m.ctx.Err())
		return all, 0
	}
	of := ""
	if size > 0 {
		of = " of " + units.Bytes(size).String()
	}
	m.say(fmt.Sprintf("measuring: %v%s, %d at a time", op, of, depth))
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	began := time.Now()
	for w := range depth {
		wg.Go(func() {
			h := result.NewHistogram()
			if err := m.loop(op, size, uint64(w), began.Add(length), h); err != nil {
				failed.Store(&err)
			}
			mu.Lock()
			all.Merge(h)
			mu.Unlock()
		})
	}
	wg.Wait()
	took := time.Since(began)
	if e := failed.Load(); e != nil {
		m.err = *e
	}
	return all, float64(all.TotalCount()) / took.Seconds()
}

func (m *meter) loop(op profile.Op, size int, id uint64, until time.Time, h *hdr.Histogram) error {
	rng := rand.New(rand.NewPCG(id, uint64(size)))
	buf := disk.Aligned(max(size, m.d.BlockSize()))
	for i := range buf {
		buf[i] = byte(rng.Uint32())
	}
	for time.Now().Before(until) && m.ctx.Err() == nil {
		if op == profile.Sync { // of something that was written
			if err := m.d.WriteAt(buf[:m.d.BlockSize()], 0); err != nil {
				return err
			}
		}
		at, err := time.Now(), error(nil)
		off := int64(0)
		if size > 0 {
			off = int64(size) * rng.Int64N(m.d.Size()/int64(size))
		}
		switch op {
		case profile.Read:
			err = m.d.ReadAt(buf, off)
		case profile.Write:
			err = m.d.WriteAt(buf, off)
		default:
			err = m.d.Sync()
		}
		if err != nil {
			return err
		}
		keep(h, time.Since(at))
	}
	return nil
}

// points turns measured times into the quantiles that so many support.
func points(h *hdr.Histogram) []profile.Point {
	n := h.TotalCount()
	var list []profile.Point
	add := func(q float64, ns int64) {
		t := time.Duration(min(max(ns, 1), int64(profile.MaxTime))).Round(100 * time.Nanosecond)
		if k := len(list); k > 0 && t < list[k-1].Time {
			t = list[k-1].Time
		}
		list = append(list, profile.Point{Q: q, Time: t})
	}
	if n == 0 {
		return list
	}
	add(0, h.Min())
	for _, q := range []float64{0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999} {
		if float64(n)*(1-q) >= 1 {
			add(q, h.ValueAtPercentile(100*q))
		}
	}
	add(1, h.Max())
	return list
}
