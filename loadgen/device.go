package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"headroom/loadgen/device"
	"headroom/loadgen/local"
	"headroom/loadgen/result"
	"headroom/node/disk"
	"headroom/node/disk/class"
	"headroom/node/disk/emulate"
	"headroom/node/disk/profile"
	"headroom/workloads/units"
)

const (
	// searchTop bounds the search for a rate: 2^12 times ACT's unit is 12M/s.
	searchTop = 12
	// searchFine ends the bisection; confirmations is how often a found rate
	// that does not hold for the whole duration is lowered by a tenth.
	searchFine    = 1.10
	confirmations = 3
	fillChunk     = 4 << 20
	// schedulers is GOMAXPROCS of a qualification. A read that blocks keeps
	// its scheduler until the runtime takes it away, 20 us to 10 ms later, and
	// with one a core the dispatcher may have to wait for that.
	schedulers  = 32
	profileFile = "profile.yaml"
	deviceFile  = "device.json"
)

// qualification is a `device` command under way.
type qualification struct {
	o      *deviceOptions
	stdout io.Writer
	out    *progress
	dev    disk.Device
	slow   float64 // dilation of an emulated device, else 1: rates are divided by it, limits multiplied
	doc    deviceDocument
	w      *result.Writer
}

// deviceDocument is device.json.
type deviceDocument struct {
	Format    string           `json:"format"` // headroom-device/1
	ID        string           `json:"id"`
	Command   []string         `json:"command"`
	Started   time.Time        `json:"started"`
	Path      string           `json:"path"`
	Class     class.Class      `json:"class"`
	ClassWhy  string           `json:"class_why"`
	Facts     class.Facts      `json:"facts"`
	SizeBytes int64            `json:"size_bytes"`
	Rate      float64          `json:"rate_ops_per_s"`
	ACTX      *float64         `json:"act_x"` // null for another mix than ACT's
	Load      deviceLoad       `json:"load"`
	Limits    []string         `json:"limits"`
	Passed    bool             `json:"passed"`
	Why       string           `json:"why,omitempty"`
	Slices    []device.Slice   `json:"slices"`
	Worst     int              `json:"worst_slice"`
	Searched  []deviceStep     `json:"searched"`
	Profile   string           `json:"profile,omitempty"` // file in this folder
	Emulation *emulate.Report  `json:"emulation,omitempty"`
	Verdicts  []result.Verdict `json:"verdicts"`
}

type deviceLoad struct {
	ReadShare   float64 `json:"read_share"`
	RecordBytes int     `json:"record_bytes"`
	BlockBytes  int     `json:"block_bytes"`
	LowWater    float64 `json:"low_water"`
	ReadsPerS   float64 `json:"reads_per_s"`
	BlocksPerS  float64 `json:"blocks_per_s"` // written, and as many read
}

type deviceStep struct {
	Rate   float64 `json:"rate_ops_per_s"`
	Passed bool    `json:"passed"`
	Why    string  `json:"why,omitempty"`
}

// deviceMain carries out `device`.
func deviceMain(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseDevice(args, stdout)
	if err != nil {
		return err
	}
	if os.Getenv("GOMAXPROCS") == "" {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(schedulers, runtime.NumCPU())))
	}
	q := &qualification{o: o, stdout: stdout, out: newProgress(stderr)}
	switch {
	case o.importFio != "":
		return q.importFio()
	case o.importACT != "":
		return q.importACT()
	}
	return q.run(ctx)
}

func (q *qualification) run(ctx context.Context) (err error) {
	o := q.o
	q.doc = deviceDocument{Format: "headroom-device/1", Command: o.args, Started: time.Now(), Path: o.path, Limits: []string{},
		Searched: []deviceStep{}, Slices: []device.Slice{}, Verdicts: []result.Verdict{}}
	q.doc.ID = fmt.Sprintf("device-%s-%d", q.doc.Started.UTC().Format("20060102T150405Z"), os.Getpid())
	for _, l := range o.limits {
		q.doc.Limits = append(q.doc.Limits, l.String())
	}
	remove, err := q.open()
	if err != nil {
		return err
	}
	defer remove()
	defer func() { err = errors.Join(err, q.dev.Close()) }()
	o.load.Align = q.dev.BlockSize()
	if err := q.check(); err != nil {
		return usageError{err}
	}
	if q.w, err = result.Create(o.out); err != nil {
		return err
	}
	if err := q.prepare(ctx); err != nil {
		return errors.Join(err, q.w.Close())
	}
	report, err := q.qualify(ctx)
	if report != nil {
		err = errors.Join(err, q.finish(report))
	}
	if err = errors.Join(err, q.w.Close()); err != nil {
		return err
	}
	if err := q.print(report); err != nil {
		return err
	}
	if !q.doc.Passed {
		return fmt.Errorf("%w: %s", errLimits, q.doc.Why)
	}
	return nil
}

// check finds out before anything is written whether the load fits the device.
func (q *qualification) check() error {
	load := q.o.load
	if load.Rate == 0 {
		load.Rate = 1 // it is searched
	}
	if err := load.Validate(); err != nil {
		return err
	}
	if least := 4 * int64(load.Block); q.dev.Size() < least {
		return fmt.Errorf("a device of %v for blocks of %v: want at least four of them (--size, --write-block)", units.Bytes(q.dev.Size()), units.Bytes(load.Block))
	}
	return nil
}

// open opens the device, looks at what it is, and returns what removes a file
// that was made for it.
func (q *qualification) open() (remove func(), err error) {
	o := q.o
	remove = func() {}
	backing, opts := o.path, disk.Options{Size: int64(o.size)}
	spec, isEmulated := emulate.Spec{}, strings.HasPrefix(o.path, emulate.Prefix)
	if isEmulated {
		if spec, err = emulate.ParseSpec(o.path); err != nil {
			return nil, usageError{err}
		}
		backing = spec.Backing
	}
	inMemory := isEmulated && strings.HasPrefix(backing, "memory:")
	if inMemory {
		opts.Size = 0
		q.doc.Facts.Path = backing
	} else {
		create, err := device.Guard(backing, o.overwrite)
		if err != nil {
			return nil, err
		}
		if create && !o.keep {
			remove = func() { _ = os.Remove(backing) } // ours, and named by the user
		}
		if q.doc.Facts, err = class.Collect(backing); err != nil {
			return nil, err
		}
	}
	if isEmulated {
		q.dev, err = emulate.Open(o.path, opts, o.seed)
	} else {
		q.dev, err = disk.Open(o.path, opts)
	}
	if err != nil {
		remove()
		return nil, err
	}
	q.doc.Path, q.doc.SizeBytes, q.slow = q.dev.Info().Path, q.dev.Size(), 1
	if e, ok := q.dev.(*emulate.Device); ok {
		rep := e.Report()
		q.slow = rep.Dilation
		q.doc.Class, q.doc.ClassWhy = class.Class(rep.Class), "as profile "+rep.Profile+" says; emulated"
	}
	return remove, nil
}

// prepare fills the device, finds its class and fits its profile.
func (q *qualification) prepare(ctx context.Context) error {
	if _, emulated := q.dev.(*emulate.Device); !q.o.filled && !emulated {
		if err := q.fill(ctx); err != nil {
			return fmt.Errorf("fill the device: %w", err)
		}
	}
	if q.doc.ClassWhy == "" {
		q.classify(ctx)
	}
	q.out.say("%s is %s (%s), %v", q.doc.Path, q.doc.Class, q.doc.ClassWhy, units.Bytes(q.dev.Size()).Human())
	if !q.o.fit {
		return nil
	}
	if q.o.fit = q.slow == 1; !q.o.fit {
		return nil // the profile of a dilated device is the one it was given
	}
	p, err := device.Measure(ctx, q.dev, q.o.load, func(s string) { q.out.show("%s", s) })
	if err != nil {
		return fmt.Errorf("measure the device: %w", err)
	}
	p.Name, p.Class = "measured", string(q.doc.Class)
	if q.doc.Facts.Model != "" {
		p.Name = strings.ReplaceAll(strings.ToLower(q.doc.Facts.Model), " ", "-")
	}
	p.About = fmt.Sprintf("%s of %v, measured by headroom-loadgen device", q.doc.Path, units.Bytes(q.dev.Size()).Human())
	p.Source = "measured " + q.doc.Started.UTC().Format(time.RFC3339) + ", service times at queue depth 1"
	switch q.dev.Info().Kind {
	case "emulated":
		p.Source += "; AN EMULATION"
	case "block":
		p.Capacity = units.Bytes(q.dev.Size())
	}
	if err := p.Validate(); err != nil {
		return fmt.Errorf("the measured profile: %w", err)
	}
	q.doc.Profile = profileFile
	return q.writeProfile(p)
}

// classify times reads of the device itself, now that it is filled.
func (q *qualification) classify(ctx context.Context) {
	f := &q.doc.Facts
	if !class.Decided(f) {
		if p, err := class.RunProbe(ctx, f.Path, class.ProbeTime); err == nil {
			f.Probe = &p
		}
	}
	q.doc.Class, q.doc.ClassWhy = class.Classify(f)
}

func (q *qualification) writeProfile(p *profile.Profile) error {
	files := []string{}
	if q.w != nil {
		files = append(files, filepath.Join(q.w.Dir(), profileFile))
	}
	if q.o.profile != "" {
		files = append(files, q.o.profile)
	}
	for _, f := range files {
		if err := os.WriteFile(f, p.YAML(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// fill writes the whole device with random bytes: what was never written is
// read without touching the medium.
func (q *qualification) fill(ctx context.Context) error {
	rng, buf := rand.NewChaCha8([32]byte{byte(q.o.seed)}), disk.Aligned(fillChunk)
	began, total := time.Now(), q.dev.Size()
	for off := int64(0); off < total && ctx.Err() == nil; off += fillChunk {
		n := min(fillChunk, total-off)
		rng.Read(buf[:n])
		if err := q.dev.WriteAt(buf[:n], off); err != nil {
			return err
		}
		if off/fillChunk%64 == 63 {
			q.out.show("filling: %v of %v, %v/s", units.Bytes(off+n).Human(), units.Bytes(total).Human(),
				units.Bytes(float64(off+n)/time.Since(began).Seconds()).Human())
		}
	}
	return errors.Join(ctx.Err(), q.dev.Sync())
}

// qualify drives the load, or searches the highest rate first.
func (q *qualification) qualify(ctx context.Context) (*device.Report, error) {
	if q.o.load.Rate > 0 {
		return q.drive(ctx, q.o.load.Rate, q.o.duration, true)
	}
	rate, err := q.search(ctx)
	if err != nil {
		return nil, err
	}
	for range confirmations {
		report, err := q.drive(ctx, rate, q.o.duration, true)
		if err != nil || report.Passed || ctx.Err() != nil {
			return report, err
		}
		q.step(rate, report)
		rate *= 0.9
	}
	return q.drive(ctx, rate, q.o.duration, true)
}

// search doubles the rate until the limits fail, then bisects.
func (q *qualification) search(ctx context.Context) (float64, error) {
	lateSelf := false // at the last rate tried
	holds := func(rate float64) (bool, error) {
		report, err := q.drive(ctx, rate, q.o.step, false)
		if err != nil {
			return false, err
		}
		q.step(rate, report)
		lateSelf = report.LateSelf
		return report.Passed, ctx.Err()
	}
	lo, hi := 0.0, 0.0
	for i, rate := 0, device.ACTRate/8; hi == 0; i, rate = i+1, rate*2 {
		ok, err := holds(rate)
		switch {
		case err != nil:
			return 0, err
		case !ok && lo == 0 && lateSelf:
			return 0, fmt.Errorf("this machine is too busy to measure the device: at %v its own generator is late; try again when it is quieter, "+
				"or give a --rate to see what happens", units.Rate(rate))
		case !ok && lo == 0:
			return rate, nil // the lowest rate tried; the run will say that it fails
		case !ok || i == searchTop:
			hi = rate
		default:
			lo = rate
		}
	}
	for hi/lo > searchFine {
		mid := (lo + hi) / 2
		ok, err := holds(mid)
		if err != nil {
			return 0, err
		}
		if ok {
			lo = mid
		} else {
			hi = mid
		}
	}
	return float64(twoDigits(lo)), nil
}

func (q *qualification) step(rate float64, r *device.Report) {
	q.doc.Searched = append(q.doc.Searched, deviceStep{rate, r.Passed, r.Why})
	word := "holds"
	if !r.Passed {
		word = "fails: " + r.Why
		if r.LateSelf {
			word += "; the generator itself was late"
		}
	}
	q.out.say("%9v  %s", units.Rate(rate), word)
}

// drive runs the load once; a final run goes to the folder.
func (q *qualification) drive(ctx context.Context, rate float64, length time.Duration, final bool) (*device.Report, error) {
	load := q.o.load
	load.Rate = rate / q.slow
	cfg := device.Config{Device: q.dev, Load: load, Warmup: q.o.warmup, Duration: length, Slice: min(q.o.slice, length), Seed: q.o.seed}
	for _, l := range q.o.limits {
		cfg.Limits = append(cfg.Limits, device.Limit{Over: time.Duration(float64(l.Over) * q.slow), Share: l.Share})
	}
	if !final {
		cfg.Warmup = min(q.o.warmup, time.Second)
	} else {
		// Anew: an earlier final run may be there.
		err := q.w.Close()
		if err == nil {
			q.w, err = result.Create(q.o.out)
		}
		if err != nil {
			return nil, err
		}
		q.doc.Rate = rate
		cfg.Second = q.second
	}
	q.out.show("driving %v for %v", units.Rate(rate), length)
	return device.Run(ctx, cfg)
}

// second files a second of the final run.
func (q *qualification) second(s device.Second) {
	for k, name := range device.Kinds() {
		c := &s.Kinds[k]
		if c.Offered == 0 {
			continue
		}
		row := result.SeriesRow{TSec: s.T, Op: name, Offered: c.Offered, OK: c.OK, Failed: c.Failed}
		for _, p := range []struct {
			to *float64
			q  float64
		}{{&row.ResponseP50US, 0.5}, {&row.ResponseP90US, 0.9}, {&row.ResponseP99US, 0.99}, {&row.ResponseMaxUS, 1}} {
			ns, _ := result.Quantile(c.Response, c.Failed, p.q)
			*p.to = ns / 1e3
		}
		service, _ := result.Quantile(c.Service, c.Failed, 0.99)
		late, _ := result.Quantile(c.Lateness, 0, 0.99)
		row.ServiceP99US, row.LatenessP99US = service/1e3, late/1e3
		q.w.Series(row)
		q.w.Interval(name, result.Response, c.Response, s.From, s.To)
		q.w.Interval(name, result.Service, c.Service, s.From, s.To)
		q.w.Interval(name, result.Lateness, c.Lateness, s.From, s.To)
		if k == 0 {
			q.out.show("%4ds  reads p50 %s  p99 %s  max %s", s.T+1, micros(row.ResponseP50US), micros(row.ResponseP99US), micros(row.ResponseMaxUS))
		}
	}
}

// finish completes the document and the folder.
func (q *qualification) finish(r *device.Report) error {
	o, d := q.o, &q.doc
	load := o.load
	load.Rate = d.Rate
	rates := load.Rates()
	d.Load = deviceLoad{load.ReadShare, load.Record, load.Block, load.LowWater, rates[0], rates[1]}
	if load.Record == device.ACTRecord && load.Block == device.ACTBlock && load.LowWater == device.ACTLowWater && load.ReadShare == device.ACTReadShare {
		x := load.X()
		d.ACTX = &x
	}
	d.Slices, d.Worst, d.Passed, d.Why = append(d.Slices, r.Slices...), r.Worst, r.Passed, r.Why
	if e, ok := q.dev.(*emulate.Device); ok {
		rep := e.Report()
		d.Emulation = &rep
	}
	q.verdicts(r)
	s := result.Summary{Format: result.Format, ID: d.ID, Command: d.Command, Started: d.Started, Target: "device:" + d.Path,
		Workload: result.Workload{Name: "device"}, Loop: "open", DurationSec: float64(r.Seconds), Operations: r.Operations,
		Faults: []result.Fault{}, Verdicts: d.Verdicts, MeasuredFrom: r.Clock.Wall(r.From), Interrupted: r.Stopped}
	s.Audit.Why = "a device is loaded with blocks, not with records"
	for k, name := range device.Kinds() {
		s.OfferedOpsPerSec += float64(r.Offered[k]) / float64(max(r.Seconds, 1))
		s.AchievedOpsPerSec += float64(r.Operations[name].OK) / float64(max(r.Seconds, 1))
	}
	s.All, s.GoodputOpsPerSec = r.All, s.AchievedOpsPerSec
	s.Generator = result.Generator{Lanes: 3, Seed: o.seed, Arrivals: "poisson", WarmupSec: o.warmup.Seconds(), Lateness: r.All.Lateness}
	q.w.Meter(result.Meter{Name: result.MeterMeasured, To: int64(time.Duration(r.Seconds) * time.Second)})
	env := local.Machine()
	q.w.Environment(&env)
	q.w.Summary(&s)
	return result.WriteStudy(q.w.Dir(), deviceFile, d)
}

func (q *qualification) verdicts(r *device.Report) {
	add := func(rule string, level result.Level, format string, args ...any) {
		q.doc.Verdicts = append(q.doc.Verdicts, result.Verdict{Rule: rule, Level: level, Text: fmt.Sprintf(format, args...)})
	}
	if q.slow > 1 {
		add("DILATED", result.Warn, "time-dilated %g times: driven at 1/%g of the rate, limits and latencies here are %g times the device's; "+
			"compare with nothing of another dilation", q.slow, q.slow, q.slow)
	}
	if r.Passed {
		add("LIMITS", result.Info, "every slice of %v is within %s", min(q.o.slice, q.o.duration), strings.Join(q.doc.Limits, ", "))
	} else {
		add("LIMITS", result.Fail, "%s (limits %s)", r.Why, strings.Join(q.doc.Limits, ", "))
	}
	reads := r.Operations[device.Reads]
	if l, p := reads.Lateness.P99, reads.Response.P99; r.LateSelf && l != nil && p != nil {
		add("GENERATOR-LIMITED", result.Warn, "the generator's own lateness p99 is %s, %.0f %% of the reads' p99 of %s: run again on a quieter machine "+
			"before you blame the device", micros(*l), 100**l / *p, micros(*p))
	}
	if e := q.doc.Emulation; e != nil {
		level := result.Info
		if !e.Faithful() {
			level = result.Warn
		}
		add("EMULATED", level, "%s", e)
	}
	if p := q.doc.Facts.Probe; p != nil && !p.Direct {
		add("R6", result.Warn, "the file system has no direct I/O: these are figures of the page cache")
	}
	if r.Stopped && r.FirstError == nil {
		add("INTERRUPTED", result.Warn, "ended after %d s", r.Seconds)
	}
}

// print writes the outcome to stdout.
func (q *qualification) print(r *device.Report) error {
	if q.o.json {
		text, err := json.MarshalIndent(&q.doc, "", "  ")
		if err == nil {
			_, err = fmt.Fprintln(q.stdout, string(text))
		}
		return err
	}
	return printDevice(q.stdout, &q.doc, r, q.o)
}
