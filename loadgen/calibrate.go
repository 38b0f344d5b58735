package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/pflag"

	"headroom/loadgen/drive"
	"headroom/loadgen/pace"
	"headroom/loadgen/result"
	"headroom/loadgen/target"
	"headroom/workloads"
	"headroom/workloads/units"
)

// calibrateRates are the rates of which the lateness is measured, up to what
// the generator could send.
var calibrateRates = []units.Rate{1_000, 10_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000}

const (
	// A row has a few tenths of a second of warm-up: page faults and the
	// frequency of the CPU.
	calibrateWarmup = 300 * time.Millisecond
	// couldProof is how long what could be sent is measured.
	couldProof = time.Second
	// ownTimer is the lateness p99 that a timer is expected to keep at 200k/s.
	ownTimer = 200.0
)

// calibrateOptions is a parsed `calibrate` command line.
type calibrateOptions struct {
	workload *workloads.Workload
	length   time.Duration
	lanes    int
	out      string
	json     bool
	args     []string
	precise  bool
}

func parseCalibrate(args []string, stdout io.Writer) (*calibrateOptions, error) {
	o := &calibrateOptions{args: args}
	var length string
	var sets []string
	f := pflag.NewFlagSet("calibrate", pflag.ContinueOnError)
	f.SortFlags = false
	f.StringVar(&length, "duration", "2s", "length of each row")
	f.IntVar(&o.lanes, "lanes", 0, "goroutines that issue load (default one per core)")
	f.BoolVar(&o.precise, "precise", true, "measure lanes that spin, too")
	f.StringArrayVar(&sets, "set", nil, "override `KEY=VALUE` of the workload; repeatable")
	f.StringVar(&o.out, "out", "", "folder for calibrate.json (default: none is written)")
	f.BoolVar(&o.json, "json", false, "print calibrate.json on stdout instead of the table")
	f.SetOutput(stdout)
	if err := f.Parse(args[2:]); err != nil {
		if err == pflag.ErrHelp {
			return nil, err
		}
		return nil, usageError{err}
	}
	name := "ycsb-b"
	if f.NArg() == 1 {
		name = f.Arg(0)
	} else if f.NArg() > 1 {
		return nil, usagef("calibrate wants at most one workload, got %d", f.NArg())
	}
	var err error
	if o.workload, err = workloads.Load(name); err != nil {
		return nil, usageError{err}
	}
	for _, s := range sets {
		if err := (&options{workload: o.workload}).set1(s); err != nil {
			return nil, usageError{err}
		}
	}
	if o.length, err = units.ParseDuration(length); err != nil || o.length < 100*time.Millisecond {
		return nil, usagef("--duration %s: want at least 100ms", length)
	}
	if o.lanes < 0 || o.lanes > drive.MaxLanes {
		return nil, usagef("--lanes %d: want 1 to %d", o.lanes, drive.MaxLanes)
	}
	if err := o.workload.Validate(); err != nil {
		return nil, usageError{err}
	}
	return o, nil
}

// calibrateCommandLine carries out `calibrate`: what this generator can do on
// this machine, into a target that takes no time.
func calibrateCommandLine(ctx context.Context, o *calibrateOptions, stdout io.Writer, out *progress) error {
	began := time.Now()
	doc := result.Calibration{Study: newStudy(&options{args: o.args, workload: o.workload, target: "null"}, result.CalibrateFormat, "calibrate")}
	cfg := drive.Config{Workload: o.workload, Target: target.Null(struct{}{}), Lanes: o.lanes, NoAudit: true, Awake: true}
	if err := costs(cfg, &doc); err != nil {
		return err
	}
	waiters := []bool{false}
	if o.precise {
		waiters = append(waiters, true)
	}
	for _, precise := range waiters {
		for _, rate := range calibrateRates {
			if float64(rate) > doc.NullOpsPerSec && rate > calibrateRates[0] {
				continue
			}
			row, awake, err := paceAt(ctx, cfg, rate, precise, o.length)
			if err != nil {
				doc.Interrupted = ctx.Err() != nil
				return errors.Join(err, writeCalibration(o, &doc))
			}
			doc.Rows, doc.CoresAwake = append(doc.Rows, *row), awake
			out.say("%-7s %9v  lateness p50 %s  p99 %s  %3.0f %% of a core", row.Waiter, rate, microsOf(row.Lateness.P50), microsOf(row.Lateness.P99), row.CPUPct)
		}
	}
	doc.SpentSec = time.Since(began).Seconds()
	doc.Verdicts = calibrationVerdicts(&doc)
	if err := writeCalibration(o, &doc); err != nil {
		return err
	}
	if o.json {
		return printJSON(stdout, &doc)
	}
	return printCalibration(stdout, &doc)
}

func writeCalibration(o *calibrateOptions, doc *result.Calibration) error {
	if o.out == "" {
		return nil
	}
	return result.WriteStudy(o.out, result.CalibrateFile, doc)
}

// costs measures one operation without any I/O, and the clock.
func costs(cfg drive.Config, doc *result.Calibration) error {
	const readings = 100_000
	clock := pace.NewClock()
	for range readings {
		clock.Now()
	}
	doc.ClockNS = float64(clock.Now().Nanoseconds()) / readings
	one := cfg
	one.Lanes = 1
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	alone, err := drive.Could(one, couldProof)
	if err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	doc.NSPerOp = float64(alone.PerOp)
	// What the lane itself needs is allocated once and vanishes in the millions.
	doc.AllocsPerOp = math.Round(1000*float64(after.Mallocs-before.Mallocs)/(float64(alone.Rate)*couldProof.Seconds())) / 1000
	all, err := drive.Could(cfg, couldProof)
	doc.NullOpsPerSec = math.Round(float64(all.Rate))
	doc.Lanes = cfg.Lanes
	if cfg.Lanes == 0 {
		doc.Lanes = runtime.GOMAXPROCS(0)
	}
	return err
}

// paceAt measures the lateness at one rate, and says whether the cores were
// kept awake.
func paceAt(ctx context.Context, cfg drive.Config, rate units.Rate, precise bool, length time.Duration) (row *result.Pace, awake bool, err error) {
	cfg.Profile, cfg.Precise, cfg.Warmup, cfg.Duration = pace.Steady(rate), precise, calibrateWarmup, length
	d, err := drive.New(cfg)
	if err != nil {
		return nil, false, err
	}
	d.Assume()
	r, err := d.Run(ctx, nil, nil)
	if err != nil {
		return nil, false, err
	}
	if r.Interrupted {
		return nil, false, errNothing
	}
	row = &result.Pace{Waiter: "timer", RateOpsPerSec: float64(rate), AchievedOpsPerSec: float64(r.Achieved) / r.Duration.Seconds(),
		Lateness: r.All.Lateness, CPUPct: 100 * r.CPU.Seconds() / r.Duration.Seconds()}
	if precise {
		row.Waiter = "precise"
	}
	return row, r.CoresAwake, nil
}

func calibrationVerdicts(doc *result.Calibration) []result.Verdict {
	list := []result.Verdict{}
	why := "something else runs here"
	if !doc.CoresAwake {
		why = "they could not be kept awake, which needs root"
	}
	for _, r := range doc.Rows {
		if p := r.Lateness.P99; r.Waiter == "timer" && r.RateOpsPerSec == 200_000 && p != nil && *p > ownTimer {
			list = append(list, result.Verdict{Rule: "R10", Level: result.Warn, Text: fmt.Sprintf("lateness p99 %s at 200k/s by timer, a quiet machine "+
				"whose cores are kept awake keeps %.0f us: %s", micros(*p), ownTimer, why)})
		}
	}
	return list
}

func microsOf(v *float64) string {
	if v == nil {
		return "-"
	}
	return micros(*v)
}

func printCalibration(w io.Writer, doc *result.Calibration) error {
	fmt.Fprintf(w, "\n%v scheduled operations/s into a null target, %d lanes; %.0f ns of CPU and %.3g allocations each on one lane; a clock reading takes %.0f ns\n",
		units.Rate(math.Round(doc.NullOpsPerSec)), doc.Lanes, doc.NSPerOp, doc.AllocsPerOp, doc.ClockNS)
	t := plainTable()
	t.AppendHeader(table.Row{"waiter", "rate", "achieved", "lateness p50", "p90", "p99", "p99.9", "max", "CPU of a core"})
	for _, r := range doc.Rows {
		l := &r.Lateness
		t.AppendRow(table.Row{r.Waiter, units.Rate(r.RateOpsPerSec), units.Rate(math.Round(r.AchievedOpsPerSec)), cell(l, "p50", l.P50), cell(l, "p90", l.P90),
			cell(l, "p99", l.P99), cell(l, "p99_9", l.P999), cell(l, "max", l.Max), fmt.Sprintf("%.0f %%", r.CPUPct)})
	}
	fmt.Fprintln(w, t.Render())
	if doc.CoresAwake {
		fmt.Fprintln(w, "the cores were kept awake, as in a run whose target is on other machines")
	}
	for _, v := range doc.Verdicts {
		fmt.Fprintf(w, "%-4s  %s: %s\n", v.Level, v.Rule, v.Text)
	}
	return nil
}
