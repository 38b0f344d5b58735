package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"headroom/loadgen/drive"
	"headroom/loadgen/local"
	"headroom/loadgen/result"
	"headroom/loadgen/target"
	"headroom/workloads/units"
)

// bed is what load is put on: a target that is reached and loaded with records,
// and the driver that knows what it wrote. Several runs may use one bed, one
// after the other.
type bed struct {
	o   *options
	out *progress

	cluster *local.Cluster      // nil for a remote target
	watcher *local.Watcher      // nil for targets of other kinds
	asker   *target.StatusAsker // of a remote cluster
	tap     tap
	target  target.Target
	device  *result.Device // what a device as the target is; nil for others
	driver  *drive.Driver
	loadSec float64
	// calibrated is what a closed loop reached, could what the generator sends to
	// a null target; zero when not tried.
	calibrated, could units.Rate
	meters            []result.Meter // of what came before the runs
}

// tap hands what a watcher sees to the recorder of the run that is going on,
// and drops it between runs.
type tap struct {
	out *progress  // sees everything
	mu  sync.Mutex // guards to; held while it is called, so that a run's recorder is left alone after its end
	to  *recorder
}

// Sample implements local.Observer.
func (t *tap) Sample(s local.Sample) {
	if t.out != nil {
		t.out.nodes.sample(s)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.to != nil {
		t.to.Sample(s)
	}
}

// Event implements local.Observer.
func (t *tap) Event(e local.Event) {
	if t.out != nil {
		t.out.event(e)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.to != nil {
		t.to.Event(e)
	}
}

// turn leads what comes to r from now on; nil drops it.
func (t *tap) turn(r *recorder) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.to = r
}

// phase writes an event of the course of the run that is going on.
func (b *bed) phase(format string, args ...any) {
	b.tap.Event(local.Event{At: time.Now(), Kind: result.EventPhase, What: fmt.Sprintf(format, args...)})
}

// open starts or reaches the target, makes the driver and loads the records.
// Close must be called after it, whatever it returns.
func (b *bed) open(ctx context.Context) error {
	if err := b.connect(ctx); err != nil {
		return err
	}
	if err := b.prove(); err != nil {
		return err
	}
	began := time.Now()
	b.phase("load: %d records", b.o.workload.Records)
	if err := b.driver.Load(ctx, b.out.bulk("load")); err != nil {
		return err
	}
	took := time.Since(began)
	b.loadSec = took.Seconds()
	b.meter(result.MeterLoad, int64(took))
	b.meter(result.MeterLoaded, b.o.workload.Records)
	b.out.say("loaded %d records in %.1f s (%v)", b.o.workload.Records, b.loadSec, twoDigits(float64(b.o.workload.Records)/b.loadSec))
	b.describeDevice(ctx)
	return nil
}

// meter notes a counter that went up from zero; a later one of the name stands.
func (b *bed) meter(name string, to int64) {
	b.meters = append(slices.DeleteFunc(b.meters, func(m result.Meter) bool { return m.Name == name }), result.Meter{Name: name, To: to})
}

// close ends everything that open started.
func (b *bed) close() {
	if b.target != nil {
		b.target.Close() // what was in flight is counted
		if b.o.made != "" {
			_ = os.Remove(b.o.made) // ours: it was not there before
		}
	}
	if b.watcher != nil {
		b.watcher.Close()
	}
	if b.asker != nil {
		b.asker.Close()
	}
	if b.cluster != nil {
		b.cluster.Close() // a directory that cannot be removed is only litter
	}
}

func (b *bed) connect(ctx context.Context) error {
	b.tap.out = b.out // before a watcher starts
	o := b.o
	cfg := target.HeadroomConfig{Credentials: o.credentials, Insecure: o.insecure, Namespace: o.namespace,
		Set: o.recordSet()}
	if o.nodes > 0 {
		if err := b.start(ctx); err != nil {
			return err
		}
		cfg.Seeds, cfg.Credentials = b.cluster.Addrs(), b.cluster.Credentials()
	}
	b.openDevice()
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var err error
	if b.target, err = o.spec.Open(dial, cfg); err != nil {
		return fmt.Errorf("connect to %s: %w", o.target, err)
	}
	if err := b.fits(); err != nil {
		return err
	}
	b.out.nodes.follow(b.target)
	if err := b.watchRemote(cfg); err != nil {
		return err
	}
	b.driver, err = drive.New(b.config())
	return err
}

// watchRemote polls a remote Headroom cluster as local nodes are polled.
func (b *bed) watchRemote(cfg target.HeadroomConfig) error {
	if b.o.nodes > 0 || b.o.spec.Scheme != "quic" {
		return nil
	}
	var err error
	if b.asker, err = target.NewStatusAsker(cfg); err != nil {
		return fmt.Errorf("watch %s: %w", b.o.target, err)
	}
	b.watcher = local.WatchRemote(b.asker, b.o.spec.Addrs, b.o.linkSpeed, &b.tap)
	return nil
}

// start starts local nodes.
func (b *bed) start(ctx context.Context) error {
	o, began := b.o, time.Now()
	b.phase("starting %s", drive.Nodes(o.nodes))
	b.out.show("starting %s", drive.Nodes(o.nodes))
	var err error
	if b.cluster, err = local.Start(ctx, local.Config{Nodes: o.nodes, Binary: o.binary, Namespace: o.namespace, Flags: o.nodeFlags,
		Device: o.storage.prefix, DeviceDir: o.storage.dir}); err != nil {
		return fmt.Errorf("start local nodes: %w", err)
	}
	agree := "agree"
	if o.nodes == 1 {
		agree = "agrees"
	}
	b.out.say("%s %s on one view after %v", drive.Nodes(o.nodes), agree, time.Since(began).Round(10*time.Millisecond))
	b.watcher = b.cluster.Watch(&b.tap)
	return nil
}

// config is what the options say of the load.
func (b *bed) config() drive.Config {
	o := b.o
	var planned []time.Duration
	for _, f := range o.faults {
		planned = append(planned, f.At)
	}
	cfg := drive.Config{Workload: o.workload, Target: b.target, Profile: o.profile, Trace: o.trace, Closed: o.closed, Think: o.think,
		Arrivals: o.arrivals, Lanes: o.lanes, InFlight: o.inFlight, Deadline: o.deadline, Warmup: o.warmup, Duration: o.duration,
		Seed: o.seed, NoAudit: !o.audit || o.null, Faults: planned, SLO: o.slo, Precise: o.precise, Waterfall: o.waterfall,
		Awake: !o.sharesHost() && o.spec.Scheme != "device"}
	if o.auto {
		cfg.Closed = calibrateClients
	}
	return cfg
}

// sharesHost reports that the target, or a part of it, is on this machine.
func (o *options) sharesHost() bool { return o.nodes > 0 || local.OnThisMachine(o.spec.Addrs) }

// prove measures what the generator itself could send, and refuses a rate that
// is far beyond it: what arrives and is never sent has to be counted, too, one
// by one.
func (b *bed) prove() error {
	if err := b.measureCould(couldFor); err != nil || b.o.profile == nil {
		return err
	}
	peak := b.o.profile.Peak()
	if b.sends(peak) != nil { // the machine may have been busy for a moment
		if err := b.measureCould(couldAgain); err != nil {
			return err
		}
	}
	return b.sends(peak)
}

// measureCould measures what the generator sends to a null target; the most
// that was seen stands.
func (b *bed) measureCould(length time.Duration) error {
	cfg := b.driver.Config()
	could, err := drive.Could(drive.Config{Workload: cfg.Workload, Target: cfg.Target, Lanes: cfg.Lanes, Deadline: cfg.Deadline, Seed: cfg.Seed}, length)
	if could.Rate > b.could {
		b.could = could.Rate
		b.meter(result.MeterCould, int64(could.Took))
		b.meter(result.MeterCouldSent, could.Sent)
	}
	return err
}

// sends refuses a rate that this generator cannot send by far.
func (b *bed) sends(rate units.Rate) error {
	if rate <= beyondCould*b.could {
		return nil
	}
	return usagef("a rate of %v is beyond what this generator sends to a target that takes no time, %v: lower it, or shard the load (--shard)",
		rate, twoDigits(float64(b.could)))
}

// calibrate finds what a short closed loop reaches.
func (b *bed) calibrate(ctx context.Context) error {
	b.phase("calibration")
	b.out.show("calibrating, %v", calibrateFor)
	c, err := b.driver.Calibrate(ctx, calibrateClients, calibrateFor)
	if err != nil {
		return fmt.Errorf("calibration: %w", err)
	}
	b.calibrated = c.Rate
	b.meter(result.MeterCalibrated, int64(c.Took))
	b.meter(result.MeterCalibratedOK, c.Sent)
	return nil
}

// settle waits for redundancy after the last fault, at most limit, and reports
// whether it is there.
func (b *bed) settle(ctx context.Context, limit time.Duration) bool {
	if b.watcher == nil {
		return true
	}
	began := time.Now()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var last time.Time
	for b.watcher.Open() > 0 && time.Since(began) < limit {
		if time.Since(last) >= time.Second {
			last = time.Now()
			b.out.show("waiting for full redundancy, %v", round(time.Since(began)))
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return b.watcher.Open() == 0
}

// readBack reads all written keys at the end.
func (b *bed) readBack(ctx context.Context) error {
	if b.o.readBack == 0 || !b.driver.Audit().Enabled || ctx.Err() != nil {
		return nil
	}
	b.phase("read-back")
	err := b.driver.ReadBack(ctx, b.o.readBack, b.out.bulk("read back"))
	b.findings(b.driver.Findings())
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("final read-back: %w", err)
	}
	return nil
}

func (b *bed) findings(list []drive.Finding) {
	for _, f := range list {
		b.tap.Event(local.Event{At: b.driver.Clock().Wall(f.At), Kind: result.EventAudit, What: f.Text})
	}
}
