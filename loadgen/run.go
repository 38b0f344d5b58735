package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"time"

	"headroom/loadgen/drive"
	"headroom/loadgen/local"
	"headroom/loadgen/result"
	"headroom/loadgen/target"
	"headroom/workloads/units"
)

const (
	// The calibration of --rate auto: long enough for a rate within a tenth,
	// short enough for a demo; as many clients as keep two cores busy.
	calibrateFor     = 3 * time.Second
	calibrateClients = 64
	calibrateShare   = 0.25 // room for a lost node and for a migration beside the load
	dialTimeout      = 10 * time.Second
	// settleFor is how long a run with faults waits after its measured phase
	// for redundancy to be restored.
	settleFor = 60 * time.Second
)

// session is one run from the first node to the last line.
type session struct {
	o      *options
	stdout io.Writer
	out    *progress

	cluster *local.Cluster // nil for a remote target
	watcher *local.Watcher
	target  target.Target
	driver  *drive.Driver
	rec     *recorder
	summary result.Summary
	faults  []injected

	notInjected []result.Verdict // faults of the schedule that could not be carried out
}

// run does everything; the folder is written however it ends, once it exists.
func (s *session) run(ctx context.Context) (err error) {
	w, err := result.Create(s.o.out)
	if err != nil {
		return err
	}
	s.rec = newRecorder(w)
	s.begin()
	defer s.stop()
	report, runErr := s.phases(ctx)
	s.finish(report)
	if report == nil && ctx.Err() != nil {
		runErr = errors.New("stopped before anything was measured")
	}
	if err := w.Close(); err != nil {
		runErr = errors.Join(runErr, err)
	}
	if report == nil {
		return runErr
	}
	if err := s.print(); err != nil {
		return errors.Join(runErr, err)
	}
	if runErr != nil {
		return runErr
	}
	for _, v := range s.summary.Verdicts {
		if v.Level == result.Fail {
			return fmt.Errorf("%w: %s: %s", errMissed, v.Rule, v.Text)
		}
	}
	return nil
}

// begin writes what is known before anything runs.
func (s *session) begin() {
	o := s.o
	now := time.Now()
	s.summary = result.Summary{Format: result.Format, ID: fmt.Sprintf("%s-%s-%d", o.workload.Name, now.UTC().Format("20060102T150405Z"), os.Getpid()),
		Command: o.args, Started: now, Target: o.target, Workload: result.Workload{Name: o.workload.Name, SHA256: o.workload.SHA256()},
		Operations: map[string]result.Operation{}, Faults: []result.Fault{}, Verdicts: []result.Verdict{}}
	s.summary.Generator.LocalNodes = o.nodes
	env := local.Machine()
	env.Flags = o.nodeFlags
	s.rec.w.Workload(o.workload.YAML())
	s.rec.w.Environment(&env)
	s.out.say("workload %s, %d records of %v; run folder %s", o.workload.Name, o.workload.Records, o.workload.ValueSize, o.out)
}

// stop ends everything that run started.
func (s *session) stop() {
	if s.target != nil {
		s.target.Close() // what was in flight is counted
	}
	if s.watcher != nil {
		s.watcher.Close()
	}
	if s.cluster != nil {
		s.cluster.Close() // a directory that cannot be removed is only litter
	}
}

// phases runs the phases in order. A nil report means nothing was measured.
func (s *session) phases(ctx context.Context) (*drive.Report, error) {
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	if err := s.choose(ctx); err != nil {
		return nil, err
	}
	report, err := s.measure(ctx)
	if err != nil {
		return nil, err
	}
	s.settle(ctx)
	if err := s.readBack(ctx); err != nil {
		return report, err
	}
	return report, nil
}

// connect starts or reaches the target and makes the driver.
func (s *session) connect(ctx context.Context) error {
	o := s.o
	cfg := target.HeadroomConfig{Credentials: o.credentials, Insecure: o.insecure, Namespace: o.namespace}
	if o.nodes > 0 {
		began := time.Now()
		s.phase("starting %d nodes", o.nodes)
		s.out.show("starting %d nodes", o.nodes)
		var err error
		if s.cluster, err = local.Start(ctx, local.Config{Nodes: o.nodes, Binary: o.binary, Namespace: o.namespace,
			Flags: o.nodeFlags}); err != nil {
			return fmt.Errorf("start local nodes: %w", err)
		}
		s.out.say("%d nodes agree on one view after %v", o.nodes, time.Since(began).Round(10*time.Millisecond))
		s.watcher = s.cluster.Watch(s.rec)
		cfg.Seeds, cfg.Credentials = s.cluster.Addrs(), s.cluster.Credentials()
	}
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var err error
	if s.target, err = o.spec.Open(dial, cfg); err != nil {
		return fmt.Errorf("connect to %s: %w", o.target, err)
	}
	var planned []time.Duration
	for _, f := range o.faults {
		planned = append(planned, f.At)
	}
	closed := o.closed
	if o.auto {
		closed = calibrateClients
	}
	s.driver, err = drive.New(drive.Config{Workload: o.workload, Target: s.target, Rate: o.rate, Closed: closed, Arrivals: o.arrivals,
		Lanes: o.lanes, InFlight: o.inFlight, Deadline: o.deadline, Warmup: o.warmup, Duration: o.duration, Seed: o.seed,
		NoAudit: !o.audit || o.null, Faults: planned})
	return err
}

func (s *session) load(ctx context.Context) error {
	began := time.Now()
	s.phase("load: %d records", s.o.workload.Records)
	if err := s.driver.Load(ctx, s.out.bulk("load")); err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	s.summary.Generator.LoadSec = took
	s.out.say("loaded %d records in %.1f s (%v)", s.o.workload.Records, took, twoDigits(float64(s.o.workload.Records)/took))
	return nil
}

// choose finds the rate of --rate auto.
func (s *session) choose(ctx context.Context) error {
	if !s.o.auto {
		return nil
	}
	s.phase("calibration")
	s.out.show("calibrating, %v", calibrateFor)
	rate, err := s.driver.Calibrate(ctx, calibrateClients, calibrateFor)
	if err != nil {
		return fmt.Errorf("calibration: %w", err)
	}
	s.summary.Generator.CalibratedOpsPerSec = float64(rate)
	share := twoDigits(calibrateShare * float64(rate))
	s.driver.SetRate(share)
	s.out.say("calibration: %v with %d clients; the load is %v", units.Rate(twoDigits(float64(rate))), calibrateClients, share)
	return nil
}

// twoDigits rounds down to two significant digits, at least 1.
func twoDigits(v float64) units.Rate {
	unit := math.Pow(10, math.Floor(math.Log10(max(v, 1)))-1)
	return units.Rate(max(1, math.Floor(v/unit)*unit))
}

// measure runs warm-up, measured phase and faults.
func (s *session) measure(ctx context.Context) (*drive.Report, error) {
	ticks := local.ReadCPUTicks()
	s.phase("warm-up")
	plan, cancel := context.WithCancel(ctx)
	defer cancel()
	start := s.driver.Clock().Now() + s.o.warmup
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.inject(plan, start)
	}()
	measured := false
	report, err := s.driver.Run(ctx, s.rec, func(p drive.Progress) {
		if p.Second >= 0 && !measured {
			measured = true
			s.rec.event(s.driver.Clock().Wall(start), result.EventPhase, "", "measured phase")
		}
		s.findings(p.Findings)
		s.out.second(p)
	})
	cancel()
	<-done
	s.summary.Generator.StealPct = local.ReadCPUTicks().StealPct(ticks)
	s.phase("measured phase ended")
	return report, err
}

// settle waits for redundancy after the last fault.
func (s *session) settle(ctx context.Context) {
	if s.watcher == nil || s.watcher.Open() == 0 {
		return
	}
	began := time.Now()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var last time.Time
	for s.watcher.Open() > 0 && time.Since(began) < settleFor {
		if time.Since(last) >= time.Second {
			last = time.Now()
			s.out.show("waiting for full redundancy, %v", round(time.Since(began)))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *session) readBack(ctx context.Context) error {
	if s.o.readBack == 0 || !s.driver.Audit().Enabled || ctx.Err() != nil {
		return nil
	}
	s.phase("read-back")
	err := s.driver.ReadBack(ctx, s.o.readBack, s.out.bulk("read back"))
	s.findings(s.driver.Findings())
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("final read-back: %w", err)
	}
	return nil
}

// phase writes an event of the run's course.
func (s *session) phase(format string, args ...any) {
	s.rec.event(time.Now(), result.EventPhase, "", fmt.Sprintf(format, args...))
}

func (s *session) findings(list []drive.Finding) {
	for _, f := range list {
		s.rec.event(s.driver.Clock().Wall(f.At), result.EventAudit, "", f.Text)
	}
}

// finish completes run.json; report may be nil.
func (s *session) finish(report *drive.Report) {
	zero := time.Now()
	if report != nil {
		s.driver.Summarize(report, &s.summary)
		zero = report.Wall
		for _, row := range report.Series {
			s.rec.w.Series(row)
		}
		s.summary.Faults = s.faultResults(report)
		s.summary.Verdicts = append(s.notInjected, drive.Verdicts(&s.summary, s.driver.Errors(), runtime.GOMAXPROCS(0))...)
	} else {
		s.summary.MeasuredFrom, s.summary.Interrupted = zero, true
		s.summary.Verdicts = append(s.summary.Verdicts, result.Verdict{Rule: "INTERRUPTED", Level: result.Fail, Text: "nothing was measured"})
	}
	if s.watcher != nil {
		s.watcher.Close()
	}
	s.rec.flush(zero)
	s.rec.w.Summary(&s.summary)
}
