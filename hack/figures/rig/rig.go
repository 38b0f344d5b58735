// Package rig owns what the end-to-end tests and the figures have in common: a
// cluster of real node processes under an audited load that goes on until it
// is told to stop, with faults injected when the caller wants them and not at
// planned times. It judges nothing and prints nothing.
//
// The invariant to know: a rig ends everything that it started (Close), and
// keeps the nodes' logs and data when Keep was called.
//
// Start reading at Rig.
package rig

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"headroom/loadgen/drive"
	"headroom/loadgen/local"
	"headroom/loadgen/target"
	"headroom/workloads"
	"headroom/workloads/units"
)

const (
	dialTimeout = 10 * time.Second
	// warmup is driven and not measured.
	warmup = time.Second
	// DefaultLongest bounds a load that nobody stops.
	DefaultLongest = 20 * time.Minute
)

// Config says what to start and how to load it. Zero values mean defaults.
type Config struct {
	Binary  string            // of headroom-node, default beside this program or on PATH
	Nodes   int               // at least 1
	Flags   map[string]string // of every node
	Device  *string           // before the path of each node's device files; nil: in memory
	Devices int               // files of each node, default 1
	Odd     map[string]string // other prefixes of single files, see local.Config.DeviceAt
	Set     []string          // workload keys, KEY VALUE pairs over ycsb-a: "records", "20k"
	Rate    units.Rate        // open loop
	Closed  int               // or a closed loop
	NoAudit bool
	Seed    uint64
	Longest time.Duration // of one load, default DefaultLongest
	// Schedulers of each node, see local.Config.
	Schedulers int
}

// Rig is a cluster under load. Its methods are called by one goroutine.
type Rig struct {
	Cluster *local.Cluster
	Watcher *local.Watcher
	Driver  *drive.Driver
	Formed  time.Duration // from the first process to one View seen from outside
	Looks   *Looks

	cfg    Config
	dir    string
	began  time.Time // before the first process
	kept   bool
	target *target.Headroom
	random *rand.Rand
	load   *load // nil when none runs
	faults []Fault
}

// Fault is one injected fault.
type Fault struct {
	Action local.Action
	Node   string
	Wall   time.Time
	at     time.Duration // on the driver's clock
}

type load struct {
	cancel context.CancelFunc
	done   chan struct{}
	report *drive.Report
	err    error
}

// Start starts the nodes and connects to them. It returns when all are in one
// View.
func Start(ctx context.Context, cfg Config) (*Rig, error) {
	if cfg.Longest == 0 {
		cfg.Longest = DefaultLongest
	}
	dir, err := os.MkdirTemp("", "headroom-rig-")
	if err != nil {
		return nil, err
	}
	r := &Rig{cfg: cfg, dir: dir, random: rand.New(rand.NewPCG(cfg.Seed, 0xfa17)), Looks: newLooks()}
	if err := r.start(ctx); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Rig) start(ctx context.Context) error {
	cfg := &r.cfg
	r.began = time.Now()
	var err error
	if r.Cluster, err = local.Start(ctx, local.Config{Nodes: cfg.Nodes, Binary: cfg.Binary, Flags: cfg.Flags, Dir: r.dir,
		Device: cfg.Device, Devices: cfg.Devices, DeviceAt: cfg.Odd, Schedulers: cfg.Schedulers}); err != nil {
		return fmt.Errorf("start nodes: %w", err)
	}
	r.Formed = time.Since(r.began)
	r.Watcher = r.Cluster.Watch(r.Looks)
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if r.target, err = target.DialHeadroom(dial, target.HeadroomConfig{Seeds: r.Cluster.Addrs(), Credentials: r.Cluster.Credentials()}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if cfg.Rate == 0 && cfg.Closed == 0 {
		return nil // nodes without a load
	}
	w, err := workload(cfg.Set)
	if err != nil {
		return err
	}
	// Gaps are recorded around planned instants: a plan for each second makes
	// every instant one, for 12 bytes per millisecond and lane.
	var planned []time.Duration
	for t := time.Duration(0); t < cfg.Longest; t += time.Second {
		planned = append(planned, t)
	}
	r.Driver, err = drive.New(drive.Config{Workload: w, Target: r.target, Rate: cfg.Rate, Closed: cfg.Closed, NoAudit: cfg.NoAudit,
		Seed: cfg.Seed, Warmup: warmup, Duration: cfg.Longest, Faults: planned})
	return err
}

func workload(set []string) (*workloads.Workload, error) {
	w, err := workloads.Load("ycsb-a")
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(set); i += 2 {
		if err := w.Set(set[i], set[i+1]); err != nil {
			return nil, err
		}
	}
	return w, w.Validate()
}

// Dir holds the nodes' logs and data.
func (r *Rig) Dir() string { return r.dir }

// Keep leaves Dir behind when the rig is closed, as evidence.
func (r *Rig) Keep() { r.kept = true }

// Close ends everything.
func (r *Rig) Close() {
	if r.load != nil {
		r.load.cancel()
		<-r.load.done
	}
	if r.target != nil {
		r.target.Close() // what was in flight is counted
	}
	if r.Watcher != nil {
		r.Watcher.Close()
	}
	if r.Cluster != nil {
		r.Cluster.Close() // a directory that cannot be removed is only litter
	}
	if !r.kept {
		os.RemoveAll(r.dir)
	}
}

// Load writes all records once.
func (r *Rig) Load(ctx context.Context) error { return r.Driver.Load(ctx, nil) }

// Go begins the load; Stop ends it. It returns when the measured phase has begun.
func (r *Rig) Go(ctx context.Context) error {
	if r.load != nil {
		return errors.New("the load runs already")
	}
	runCtx, cancel := context.WithCancel(ctx)
	l := &load{cancel: cancel, done: make(chan struct{})}
	measured := make(chan struct{})
	go func() {
		defer close(l.done)
		first := true
		l.report, l.err = r.Driver.Run(runCtx, nil, func(p drive.Progress) {
			if p.Second >= -1 && first {
				first = false
				close(measured)
			}
		})
	}()
	r.load = l
	select {
	case <-measured:
	case <-l.done:
	}
	return nil
}

// Stop ends the load and returns what it measured.
func (r *Rig) Stop() (*drive.Report, error) {
	if r.load == nil {
		return nil, errors.New("no load runs")
	}
	l := r.load
	r.load = nil
	l.cancel()
	<-l.done
	return l.report, l.err
}

// Do injects a fault now: node is node1, …, all or random.
func (r *Rig) Do(ctx context.Context, a local.Action, node string) (Fault, error) {
	var at time.Duration
	if r.Driver != nil {
		at = r.Driver.Clock().Now()
	}
	wall := time.Now()
	names, err := r.Cluster.Inject(ctx, local.Fault{Action: a, Node: node}, r.random)
	if err != nil {
		return Fault{}, err
	}
	r.Watcher.Faulted(a, names, wall)
	f := Fault{Action: a, Node: names[0], Wall: wall, at: at}
	r.faults = append(r.faults, f)
	return f, nil
}

// Gap is what the operations around f went through.
func (r *Rig) Gap(report *drive.Report, f Fault) drive.Gap {
	return report.GapAround(f.at - report.MeasuredFrom)
}

// Observed is what the watcher saw of f; zero when it knows nothing.
func (r *Rig) Observed(f Fault) local.Observed {
	for _, o := range r.Watcher.Faults() {
		if o.At.Equal(f.Wall) && o.Action == f.Action && slices.Contains(o.Nodes, f.Node) {
			return o
		}
	}
	return local.Observed{}
}

// ErrNoRedundancy is returned by AwaitRedundancy when its time is up.
var ErrNoRedundancy = errors.New("redundancy was not restored")

// AwaitRedundancy waits until redundancy is back after every fault so far.
func (r *Rig) AwaitRedundancy(ctx context.Context, limit time.Duration) error {
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for r.Watcher.Open() > 0 {
		if time.Since(began) > limit {
			return fmt.Errorf("%w within %v", ErrNoRedundancy, limit)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// Sleep waits, unless ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
