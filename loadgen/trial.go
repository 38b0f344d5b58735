package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"headroom/loadgen/drive"
	"headroom/loadgen/local"
	"headroom/loadgen/proof"
	"headroom/loadgen/result"
	"headroom/loadgen/target"
)

// trial is one measured run on a bed, with a run folder of its own.
type trial struct {
	*bed
	dir     string
	rec     *recorder
	summary result.Summary
	faults  []injected
	before  result.Audit      // of the bed, when the trial began
	told    result.Audit      // of it, what audit.csv has
	lost    []result.Conflict // what the nodes had discarded before
	meters  []result.Meter    // of the run
	env     result.Environment

	from, to deviceLook // a device target at the ends of the measured phase

	ended string // why it was stopped on purpose before its end, or empty

	filler      *target.Filler   // of fill and empty; nil: there was none
	notInjected []result.Verdict // faults of the schedule that could not be carried out
}

// newTrial makes the folder and writes what is known before anything runs.
// Events of the bed go to it until it is finished.
func newTrial(b *bed, dir string) (*trial, error) {
	w, err := result.Create(dir)
	if err != nil {
		return nil, err
	}
	o, now := b.o, time.Now()
	t := &trial{bed: b, dir: dir, rec: newRecorder(w)}
	t.summary = result.Summary{Format: result.Format, ID: runID(o.workload.Name, now), Command: o.args, Started: now, Target: o.target,
		Workload:   result.Workload{Name: o.workload.Name, SHA256: o.workload.SHA256()},
		Operations: map[string]result.Operation{}, Faults: []result.Fault{}, Verdicts: []result.Verdict{}}
	t.summary.Generator.LocalNodes, t.summary.Generator.SharedHost = o.nodes, o.sharesHost()
	if b.driver != nil {
		t.before = b.driver.Audit()
	}
	if o.nodes > 0 {
		t.summary.Device = &o.storage.Device
	}
	env := local.Machine()
	env.Flags = o.nodeFlags
	w.Workload(o.workload.YAML())
	t.env = env
	w.Environment(&env)
	b.tap.turn(t.rec)
	if t.told = t.before; b.watcher != nil {
		t.lost = b.watcher.Conflicts()
	}
	return t, nil
}

// audited writes what the audit has counted since the last call, up to the t_s
// at.
func (t *trial) audited(at float64, now result.Audit) {
	t.rec.audit(result.AuditSample{TSec: at, Audit: result.Audit{AcknowledgedWrites: now.AcknowledgedWrites - t.told.AcknowledgedWrites,
		InDoubtWrites: now.InDoubtWrites - t.told.InDoubtWrites, StaleReads: now.StaleReads - t.told.StaleReads, Corrupt: now.Corrupt - t.told.Corrupt,
		FalseNotFound: now.FalseNotFound - t.told.FalseNotFound, Lost: now.Lost - t.told.Lost, KeysWritten: now.KeysWritten - t.told.KeysWritten,
		ReadBack: now.ReadBack - t.told.ReadBack, ReadBackFailed: now.ReadBackFailed - t.told.ReadBackFailed, StaleAgeMaxMS: now.StaleAgeMaxMS}})
	t.told = now
}

func runID(name string, at time.Time) string {
	return fmt.Sprintf("%s-%s-%d", name, at.UTC().Format("20060102T150405.000Z"), os.Getpid())
}

// faulting carries out faults while a trial runs; start is the start of the
// measured phase on the driver's clock. It returns when it is through or ctx
// ends.
type faulting func(ctx context.Context, t *trial, start time.Duration)

// measure runs warm-up, measured phase and faults. watch, if set, sees each
// second and ends the run by returning false.
func (t *trial) measure(ctx context.Context, faults faulting, watch func(*drive.Progress) bool) (*drive.Report, error) {
	ticks := local.ReadCPUTicks()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t.phase("warm-up")
	warmup := t.driver.Config().Warmup
	start := t.driver.Clock().Now() + warmup
	t.audited(-warmup.Seconds(), t.driver.Audit())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if faults != nil {
			faults(ctx, t, start)
		}
	}()
	sampler := local.NewSampler(t.o.linkSpeed)
	measured := false
	report, err := t.driver.Run(ctx, t.rec, func(p drive.Progress) {
		g := sampler.Sample()
		if p.Second < 0 && p.Second >= -1 {
			sampler = local.NewSampler(t.o.linkSpeed) // what the warm-up did is not the run's
		}
		if p.Second >= 0 {
			if !measured {
				measured, t.from = true, t.lookAtDevice()
				t.rec.event(t.driver.Clock().Wall(start), result.EventPhase, "", "measured phase")
			}
			g.TSec, g.InFlight = float64(p.Second+1), p.InFlight
			g.InFlightPeak, g.Queued, g.Shed, g.TargetSec = p.Lanes.InFlightPeak, p.Lanes.Queued, p.Lanes.Shed, p.Lanes.Target.Seconds()
			g.InFlightSec, g.LookedSec, g.Looks = p.Lanes.InFlightSec, p.Lanes.LookedSec, p.Lanes.Looks
			t.rec.Generator(g)
		}
		t.audited(float64(p.Second+1), p.Audit)
		t.findings(p.Findings)
		t.out.second(p)
		if p.Second >= 0 && watch != nil && !watch(&p) {
			stop()
		}
	})
	t.to = t.lookAtDevice()
	stop()
	<-done
	t.filler.Close()
	now := local.ReadCPUTicks()
	t.summary.Generator.StealPct = now.StealPct(ticks)
	t.meters = append(t.meters, result.Meter{Name: result.MeterTicks, From: int64(ticks.Total), To: int64(now.Total)},
		result.Meter{Name: result.MeterSteal, From: int64(ticks.Steal), To: int64(now.Steal)})
	if !measured {
		sampler = local.NewSampler(t.o.linkSpeed) // what the warm-up did is not the run's
	}
	t.self(sampler)
	t.phase("measured phase ended")
	return report, err
}

// self notes what the sampler saw of the whole run.
func (t *trial) self(sampler *local.Sampler) {
	g, whole := &t.summary.Generator, sampler.Whole()
	g.GCPauseMaxUS, g.SchedP99US, g.WallStepMS = whole.GCPauseMaxUS, whole.SchedP99US, whole.WallStepMS
	// A device target has more schedulers than there are cores to run on.
	g.GOMAXPROCS = min(runtime.GOMAXPROCS(0), runtime.NumCPU())
	t.meters = append(t.meters, sampler.Meters()...)
}

// finish completes the folder; report may be nil. It returns what went wrong
// while writing.
func (t *trial) finish(report *drive.Report) error {
	zero := time.Now()
	t.tap.turn(nil) // what is written is what is judged
	m := &t.summary
	g := &m.Generator
	g.LoadSec, g.CalibratedOpsPerSec, g.CouldOpsPerSec = t.loadSec, float64(t.calibrated), float64(t.could)
	if t.device != nil {
		m.Device = t.device
	}
	if report != nil {
		t.driver.Summarize(report, m)
		g.GCCPUPct = gcCPUPct(t.meters, report.Duration)
		t.audited((t.driver.Clock().Now() - report.MeasuredFrom).Seconds(), m.Audit)
		m.Audit = auditSince(m.Audit, t.before)
		zero = report.Wall
		m.Faults = t.faultResults(report)
		t.steady(report)
		m.Use = t.rec.use(zero, report.Duration, m, t.deviceUse(t.from, t.to))
		t.raw(report)
		m.Verdicts = append(t.notInjected, drive.Verdicts(m, t.driver.Errors())...)
		t.rules(&t.env)
		m.Verdicts = append(append(m.Verdicts, t.o.storage.verdict()...), t.deviceVerdicts()...)
		m.Verdicts = append(m.Verdicts, evictedVerdict(t.rec.evicted())...)
		t.noteShard()
		if t.ended != "" {
			m.Verdicts = append(m.Verdicts, result.Verdict{Rule: "EARLY", Level: result.Info, Text: t.ended})
		}
	} else {
		m.MeasuredFrom, m.Interrupted, m.Audit = zero, true, auditSince(t.told, t.before)
		t.writeMeters(nil)
		m.Verdicts = append(m.Verdicts, result.Verdict{Rule: "INTERRUPTED", Level: result.Fail, Text: "nothing was measured"})
	}
	if t.watcher != nil {
		m.Conflicts = conflictsSince(t.watcher.Conflicts(), t.lost)
		m.Verdicts = append(m.Verdicts, unfaithful(t.watcher.Raw())...)
		for name, text := range t.watcher.Raw() {
			t.rec.w.Status(name, text)
		}
	}
	t.keepLogs(report == nil)
	t.rec.flush(zero)
	t.rec.w.Summary(m)
	return t.rec.w.Close()
}

// raw writes what the driver measured, but for what the Sink had.
func (t *trial) raw(report *drive.Report) {
	w := t.rec.w
	for _, row := range report.Series {
		w.Series(row)
	}
	if report.Stages != nil {
		w.Stages(report.StageSamples)
	}
	for _, h := range report.Histories {
		w.History(h)
	}
	var at []time.Duration
	for _, f := range t.faults {
		at = append(at, f.at-report.MeasuredFrom)
	}
	for _, x := range report.WaitsAround(at) {
		w.Wait(x)
	}
	w.Lanes(report.LaneLogs(), report.Wall, report.Wall.Add(report.Duration))
	t.writeMeters(report.Meters)
}

// writeMeters writes what was read before the run, by it and by the driver.
func (t *trial) writeMeters(driver []result.Meter) {
	meters := append(append(slices.Clone(t.bed.meters), t.meters...), driver...)
	if s := t.o.shard; s != nil && s.ClockOffsetMS != nil {
		meters = append(meters, result.Meter{Name: result.MeterClockOffset, To: int64(math.Round(1e6 * *s.ClockOffsetMS))},
			result.Meter{Name: result.MeterClockError, To: int64(math.Round(1e6 * *s.ClockErrorMS))})
	}
	slices.SortFunc(meters, func(a, b result.Meter) int { return strings.Compare(a.Name, b.Name) })
	for _, m := range meters {
		t.rec.w.Meter(m)
	}
}

// gcCPUPct is what collecting took of one core over the measured phase.
func gcCPUPct(list []result.Meter, over time.Duration) float64 {
	for _, m := range list {
		if m.Name == result.MeterGCCPU && over > 0 {
			return 100 * m.Diff() / float64(over)
		}
	}
	return 0
}

// conflictsSince is what was discarded since an earlier look.
func conflictsSince(now, before []result.Conflict) (list []result.Conflict) {
	for _, c := range now {
		for _, old := range before {
			if old.Namespace == c.Namespace && old.Cause == c.Cause {
				c.Discarded -= old.Discarded
			}
		}
		list = append(list, c)
	}
	return list
}

// logMax bounds what is kept of each node's log: some ten thousand lines.
const logMax = 2 << 20

// keepLogs keeps the logs of local nodes, which else go with them, when
// something is to be looked into.
func (t *trial) keepLogs(failed bool) {
	a := &t.summary.Audit
	if t.cluster == nil || !failed && a.Lost+a.StaleReads+a.Corrupt+a.FalseNotFound == 0 && (a.Linear == nil || a.Linear.Violations == 0) {
		return
	}
	for node, text := range t.cluster.Logs(logMax) {
		t.rec.w.Log(node, text)
	}
	t.summary.Verdicts = append(t.summary.Verdicts, result.Verdict{Rule: "LOGS", Level: result.Info,
		Text: fmt.Sprintf("the end of each node's log is in %s", filepath.Join(t.dir, "nodes"))})
}

// steady judges the seconds before the first fault.
func (t *trial) steady(report *drive.Report) {
	m := &t.summary
	to := len(report.Seconds)
	for _, f := range m.Faults {
		to = min(to, max(0, int(f.AtSec)))
	}
	if p := t.driver.Config().Profile; t.driver.Config().Trace != nil || p != nil && !p.Flat() {
		m.Steady = result.Steady{Rule: proof.SteadyRule, ToSec: float64(to), Why: "the offered rate changes by the schedule"}
		return
	}
	m.Steady = proof.Steady(report.Seconds, to)
	if !m.Steady.Reached {
		return
	}
	m.Steady.Response = map[string]result.Percentiles{}
	for op, blocks := range report.Blocks {
		if op != drive.AllOps {
			m.Steady.Response[op] = blocks.Percentiles(int(m.Steady.FromSec), to)
		}
	}
}

// auditSince is what an audit counted since an earlier look at the same bed;
// the final read-back belongs to the whole.
func auditSince(now, before result.Audit) result.Audit {
	now.AcknowledgedWrites -= before.AcknowledgedWrites
	now.StaleReads -= before.StaleReads
	now.Corrupt -= before.Corrupt
	now.FalseNotFound -= before.FalseNotFound
	now.InDoubtWrites -= before.InDoubtWrites
	now.Lost -= before.Lost
	now.ReadBack -= before.ReadBack
	now.ReadBackFailed -= before.ReadBackFailed
	now.KeysWritten -= before.KeysWritten
	return now
}

// missed is errMissed with the first verdict of level fail, or nil.
func missed(list []result.Verdict) error {
	for _, v := range list {
		if v.Level == result.Fail {
			return fmt.Errorf("%w: %s: %s", errMissed, v.Rule, v.Text)
		}
	}
	return nil
}

// errNothing ends a command that was stopped too early.
var errNothing = errors.New("stopped before anything was measured")
