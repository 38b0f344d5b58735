package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"headroom/loadgen/result"
	"headroom/node/disk/profile"
	"headroom/planner/plan"
	"headroom/planner/verify"
)

// device serves 200 reads per second: eight at a time, 40 ms each on average,
// far above what timers of a busy host are late by. Eight nodes on two cores
// carry no more.
const device = `version: 1
name: bench
about: eight channels of 40 ms, log-normal with a squared coefficient of variation of a quarter
source: invented, so that two cores carry eight of them
channels: 8
service:
  - {op: read, size: 4KiB, p0: 6ms, p1: 12ms, p10: 19.5ms, p25: 26ms, p50: 35.8ms, p75: 49.2ms, p90: 65.6ms, p99: 107.4ms, p99.9: 153.8ms, p100: 300ms}
  - {op: write, size: 4KiB, p0: 1ms, p50: 2ms, p99: 4ms, p100: 8ms}
  - {op: sync, p0: 100us, p50: 200us, p99: 1ms, p100: 2ms}
bandwidth: {read: 50MB/s, write: 20MB/s}
`

const (
	records    = 64_000
	valueBytes = 1000
	copies     = 2
	deviceSize = 96 << 20
	writeBlock = 128 << 10
	step       = 12 * time.Second // of each level
	settle     = 1                // seconds of a level that are left out
	busy       = 0.70             // of the host: beyond, a run is void

	// In a run with a kill the survivor that sends most sends as many records
	// whatever their number, so that all rebuilds take about as long, and each
	// is as loaded afterwards.
	killAt      = 8 * time.Second
	afterKill   = 60 * time.Second
	rebuilt     = 1600 // records
	loadAfter   = 0.4  // of the survivors' devices
	recordsMost = 60_000
)

// levels are shares of the capacity of all devices; p99 is held against its
// gate up to gated. The last is above 1, as some reads are answered from memory.
var levels = []float64{0.3, 0.5, 0.7, 0.8, 0.9, 0.96, 1.02}

const gated = 0.8

const workload = `version: 1
name: benchplanner
records: %d
value-size: %dB
mix:
  get: 98
  update: 2
`

const readShare = 0.98

// level is what a cluster did at one load.
type level struct {
	rate, ok  float64 // per second, offered and served
	mean, p99 float64 // of reads, seconds
	host      float64 // share of the machine's CPU
}

// kill is what the loss of a node showed, in seconds after it.
type kill struct {
	view    float64 // the survivors' View without it
	rebuilt float64 // all copies exist again, NaN: not seen
	host    float64 // share of the machine's CPU
}

// cluster is what runs of n nodes showed.
type cluster struct {
	nodes  int
	levels []level
	bytes  float64 // of the fullest node
	kept   int     // records of the runs with a kill
	kills  []kill
	late   []string
}

// rebuild is the kill whose rebuild took the median time; one that did not end
// took longest.
func (c *cluster) rebuild() kill {
	list := slices.SortedFunc(slices.Values(c.kills), func(a, b kill) int { return cmp.Compare(a.last(), b.last()) })
	return list[(len(list)-1)/2]
}

func (k kill) last() float64 {
	if math.IsNaN(k.rebuilt) {
		return math.Inf(1)
	}
	return k.rebuilt
}

// bench runs every cluster, then predicts each from the others.
func bench(ctx context.Context, o *options) error {
	p, err := profile.Parse("device.yaml", []byte(device))
	if err != nil {
		return err
	}
	work, dev := filepath.Join(o.dir, "workload.yaml"), filepath.Join(o.dir, "device.yaml")
	for file, text := range map[string]string{work: fmt.Sprintf(workload, records, valueBytes), dev: device} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	began := time.Now()
	var seen []*cluster
	for _, n := range o.nodes {
		c, err := measure(ctx, o, p, n, verify.Load{Workload: work, Device: "emulated:" + dev + "@1"})
		if err != nil {
			return fmt.Errorf("%d nodes: %w", n, err)
		}
		seen = append(seen, c)
	}
	fmt.Printf("%.0f minutes\n", time.Since(began).Minutes())
	return report(os.Stdout, p, seen)
}

// capacity is what the devices of n nodes serve, in operations per second.
func capacity(p *profile.Profile, n int) float64 {
	return float64(n) * p.MaxRate(profile.Read, 4096) / readShare
}

// measure runs n nodes: all levels, then a kill.
func measure(ctx context.Context, o *options, p *profile.Profile, n int, l verify.Load) (*cluster, error) {
	c := &cluster{nodes: n}
	l.Nodes, l.Warmup, l.ReadBack = n, 5*time.Second, 5*time.Second
	l.Program = filepath.Join(o.bin, "headroom-loadgen")
	l.Set = []string{fmt.Sprintf("replication-factor=%d", copies), fmt.Sprintf("device-size=%d", deviceSize), fmt.Sprintf("write-block-size=%d", writeBlock)}
	var rates []string
	for _, x := range levels {
		rates = append(rates, fmt.Sprintf("%.0f/s", x*capacity(p, n)))
	}
	l.Dir, l.Shape = filepath.Join(o.dir, fmt.Sprintf("levels-%d", n)), fmt.Sprintf("steps %s %v", strings.Join(rates, ","), step)
	l.Duration = step * time.Duration(len(levels))
	if !o.killsOnly {
		fmt.Printf("%d nodes: %s, %v each\n", n, strings.Join(rates, ", "), step)
		r, err := start(ctx, l)
		if err != nil {
			return nil, err
		}
		for i, x := range levels {
			v, err := levelOf(r, i, x*capacity(p, n))
			if err != nil {
				return nil, err
			}
			c.levels = append(c.levels, v)
		}
		c.bytes, c.late = fullest(r), lateDevices(r)
	}
	c.kept = min(int(rebuilt/sends(n)), recordsMost)
	l.Set = append(l.Set, fmt.Sprintf("records=%d", c.kept))
	l.Duration, l.Faults = killAt+afterKill, []string{fmt.Sprintf("kill node1 @%v", killAt)}
	for i := range o.kills {
		l.Dir, l.Shape, l.Rate = filepath.Join(o.dir, fmt.Sprintf("kill-%d-%d", n, i+1)), "", loadAfter*capacity(p, n-1)
		if err := c.kill(ctx, l); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// kill runs the nodes again and kills one.
func (c *cluster) kill(ctx context.Context, l verify.Load) error {
	r, err := start(ctx, l)
	if err != nil {
		return err
	}
	k := kill{rebuilt: math.NaN(), host: hostUse(r, 0, r.Summary.DurationSec)}
	for _, f := range r.Summary.Faults {
		if f.RedundancyRestoredSec != nil {
			k.rebuilt = *f.RedundancyRestoredSec
		}
		if f.OneViewMS != nil {
			k.view = *f.OneViewMS / 1e3
		}
	}
	fmt.Printf("%d nodes: %.0f/s, %d records, one killed: one View after %.2f s, rebuilt after %.1f s\n", c.nodes, l.Rate, c.kept, k.view, k.rebuilt)
	c.kills = append(c.kills, k)
	return nil
}

// sends is the share of the records that the survivor which sends most sends
// after a kill.
func sends(n int) float64 {
	return plan.NewShapes().Of(layout(n)).States[plan.NodesLostMigrating].Send
}

// layout of a cluster, as the planner names it.
func layout(n int) plan.Layout { return plan.Layout{Nodes: n, Copies: copies, Racks: 1, FailNodes: 1} }

// start runs a load and reads its folder. A run whose operations failed is
// read too: that is a finding.
func start(ctx context.Context, l verify.Load) (*result.Run, error) {
	began := verify.Loadgen(ctx, l)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r, err := result.Open(l.Dir)
	if err != nil && began != nil {
		return nil, began
	}
	return r, err
}

func levelOf(r *result.Run, i int, rate float64) (level, error) {
	from, to := float64(i)*step.Seconds()+settle, float64(i+1)*step.Seconds()
	v := level{rate: rate, host: hostUse(r, from, to)}
	for _, row := range r.Series {
		if at := float64(row.TSec); at >= from && at+1 <= to {
			v.ok += float64(row.OK) / (to - from)
		}
	}
	list, err := r.Intervals("get", result.Response)
	if err != nil {
		return v, err
	}
	sum := result.NewHistogram()
	for _, h := range list {
		if at := h.From.Sub(r.Summary.MeasuredFrom).Seconds(); at >= from-0.5 && at+1 <= to+0.5 {
			sum.Merge(h.Hist)
		}
	}
	v.mean, v.p99 = sum.Mean()/1e9, float64(sum.ValueAtQuantile(99))/1e9
	return v, nil
}

// hostUse is the mean use of the machine's CPU between two seconds.
func hostUse(r *result.Run, from, to float64) float64 {
	sum, n := 0.0, 0.0
	for _, g := range r.Generator {
		if g.HostCPUPct >= 0 && g.TSec > from && g.TSec <= to {
			sum, n = sum+g.HostCPUPct/100, n+1
		}
	}
	return sum / n
}

// fullest is the most bytes that a node held.
func fullest(r *result.Run) float64 {
	most := 0.0
	for _, list := range r.Nodes {
		for _, n := range list {
			most = max(most, float64(n.UsedBytes))
		}
	}
	return most
}

func lateDevices(r *result.Run) []string {
	var list []string
	for _, v := range r.Summary.Verdicts {
		if v.Rule == "EMULATED" && v.Level == result.Warn {
			list = append(list, v.Text)
		}
	}
	return list
}
