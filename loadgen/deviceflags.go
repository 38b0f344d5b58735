package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/pflag"

	"headroom/loadgen/device"
	"headroom/loadgen/result"
	"headroom/workloads/units"
)

// errLimits ends a qualification whose device did not hold its limits.
var errLimits = errors.New("the device does not hold the limits")

// defaultFile is the size of a file that is made for a qualification.
const defaultFile = 1 << 30

// importMax bounds what is read of another tool's output: ACT writes 20 MB in
// 48 hours.
const importMax = 1 << 28

// deviceOptions is a parsed and checked `device` command line.
type deviceOptions struct {
	args                          []string
	path                          string
	load                          device.Load
	limits                        []device.Limit
	duration, warmup, slice, step time.Duration
	size                          units.Bytes
	seed                          uint64
	out, profile                  string
	importFio, importACT          string
	overwrite, filled, keep       bool
	fit, json                     bool
}

const deviceUsage = `usage: headroom-loadgen device PATH [flags]
       headroom-loadgen device --import-fio FILE [--profile FILE]
       headroom-loadgen device --import-act FILE [--limit …]

Loads a file that it makes, a block device, or emulated:PROFILE:PATH with small random reads, large-block
writes and the reads of defragmentation, and says whether the reads stay within their limits in every slice.

`

// parseDevice reads the command line of `device`. Its errors are usage errors.
func parseDevice(args []string, stdout io.Writer) (*deviceOptions, error) {
	o := &deviceOptions{args: args}
	var rate, share, record, block, lwm, duration, warmup, slice, step, size string
	var limits []string
	f := pflag.NewFlagSet("device", pflag.ContinueOnError)
	f.SortFlags = false
	f.SetOutput(stdout)
	f.Usage = func() { fmt.Fprint(stdout, deviceUsage, f.FlagUsages()) }
	f.StringVar(&rate, "rate", "", "record reads and writes per second, such as 3k/s, or 1x, 2x … of ACT's 2,000 reads and 1,000 writes (default: search the highest that holds)")
	f.StringVar(&share, "read-share", "", "reads among them, in percent (default 66.7)")
	f.StringVar(&record, "record-size", "1536B", "of a record on the device")
	f.StringVar(&block, "write-block", "128KiB", "of the engine's large writes")
	f.StringVar(&lwm, "low-water", "50%", "fill below which a block is defragmented; 0% defragments nothing")
	f.StringArrayVar(&limits, "limit", nil, "`PERCENT%>TIME` of the reads in every slice; repeatable (default 5%>1ms, 1%>8ms, 0.1%>64ms)")
	f.StringVar(&duration, "duration", "60s", "length of the measured phase; drives are certified over 24h")
	f.StringVar(&warmup, "warmup", "5s", "driven and not measured")
	f.StringVar(&slice, "slice", "10s", "the worst slice decides")
	f.StringVar(&step, "step", "5s", "length of each step of the search")
	f.StringVar(&size, "size", "", "of the file to make (default 1GiB), or of the beginning of a block device to use (default all)")
	f.BoolVar(&o.overwrite, "overwrite", false, "PATH holds data: destroy it")
	f.BoolVar(&o.filled, "filled", false, "PATH was filled by an earlier qualification; needs --overwrite")
	f.BoolVar(&o.keep, "keep", false, "do not remove the file afterwards")
	f.BoolVar(&o.fit, "fit", true, "measure a device profile before the load (11 s)")
	f.StringVar(&o.profile, "profile", "", "write the profile to this `FILE` as well; emulated:FILE and the planner read it")
	f.StringVar(&o.importFio, "import-fio", "", "make a profile of fio's output `FILE` (--output-format=json+); touches no device")
	f.StringVar(&o.importACT, "import-act", "", "judge the slices of ACT's output `FILE`; touches no device")
	f.StringVar(&o.out, "out", "", "run folder to write (default runs/device-TIME)")
	f.Uint64Var(&o.seed, "seed", 1, "of arrivals and places")
	f.BoolVar(&o.json, "json", false, "print device.json on stdout instead of the table")
	if err := f.Parse(args[2:]); err != nil {
		if err == pflag.ErrHelp {
			return nil, err
		}
		return nil, usageError{fmt.Errorf("%w; 'headroom-loadgen device --help' lists the flags", err)}
	}
	err := errors.Join(o.parseWhat(f.Args()), o.parseLimits(limits), o.parseRate(rate), percent("read-share", share, device.ACTReadShare, &o.load.ReadShare),
		percent("low-water", lwm, device.ACTLowWater, &o.load.LowWater), sizeFlag("record-size", record, &o.load.Record), sizeFlag("write-block", block, &o.load.Block),
		o.parseTimes(map[string]string{"duration": duration, "warmup": warmup, "slice": slice, "step": step}), o.parseSize(size))
	if err != nil {
		return nil, usageError{err}
	}
	if o.out == "" {
		o.out = "runs/device-" + time.Now().UTC().Format("20060102-150405")
	}
	return o, nil
}

func (o *deviceOptions) parseWhat(args []string) error {
	imports := o.importFio != "" || o.importACT != ""
	switch {
	case o.importFio != "" && o.importACT != "":
		return errors.New("give --import-fio or --import-act, not both")
	case imports && len(args) > 0:
		return fmt.Errorf("an import touches no device: leave out %s", strings.Join(args, " "))
	case !imports && len(args) != 1:
		return fmt.Errorf("device wants one path, got %d: a file to make, a block device, or emulated:PROFILE:PATH", len(args))
	case o.filled && !o.overwrite:
		return errors.New("--filled says that PATH holds data: give --overwrite, too")
	}
	if !imports {
		o.path = args[0]
	}
	return nil
}

func (o *deviceOptions) parseLimits(texts []string) error {
	o.limits = device.ACTLimits()
	if len(texts) > 0 {
		o.limits = nil
	}
	for _, t := range texts {
		l, err := device.ParseLimit(t)
		if err != nil {
			return fmt.Errorf("--limit: %w", err)
		}
		o.limits = append(o.limits, l)
	}
	return nil
}

func (o *deviceOptions) parseRate(text string) error {
	if text == "" {
		return nil
	}
	if x, ok := strings.CutSuffix(text, "x"); ok {
		v, err := strconv.ParseFloat(x, 64)
		if err != nil || !(v > 0 && v <= 3000) {
			return fmt.Errorf("--rate %s: want a multiple of ACT's load above zero, such as 1x or 30x", text)
		}
		o.load.Rate = v * device.ACTRate
		return nil
	}
	r, err := units.ParseRate(text)
	if err != nil {
		return fmt.Errorf("--rate: %w, or 1x", err)
	}
	o.load.Rate = float64(r)
	return nil
}

func (o *deviceOptions) parseTimes(texts map[string]string) error {
	for _, t := range []struct {
		name  string
		to    *time.Duration
		least time.Duration
	}{{"duration", &o.duration, time.Second}, {"warmup", &o.warmup, 0}, {"slice", &o.slice, time.Second}, {"step", &o.step, time.Second}} {
		d, err := units.ParseDuration(texts[t.name])
		if err != nil {
			return fmt.Errorf("--%s: %w", t.name, err)
		}
		if d < t.least || d%time.Second != 0 {
			return fmt.Errorf("--%s %v: want whole seconds, at least %v", t.name, d, t.least)
		}
		*t.to = d
	}
	return nil
}

func (o *deviceOptions) parseSize(text string) (err error) {
	info, statErr := os.Stat(o.path)
	block := statErr == nil && info.Mode()&os.ModeDevice != 0
	if text == "" {
		if !block {
			o.size = defaultFile
		}
		return nil
	}
	if o.size, err = units.ParseBytes(text); err != nil {
		return fmt.Errorf("--size: %w", err)
	}
	if o.size < 1<<20 {
		return fmt.Errorf("--size %v: want at least 1MiB, and more than the drive's cache to say anything", o.size)
	}
	return nil
}

func percent(name, text string, byDefault float64, to *float64) error {
	if *to = byDefault; text == "" {
		return nil
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(v >= 0 && v <= 100) {
		return fmt.Errorf("--%s %q: want a percentage, 0 to 100", name, text)
	}
	*to = v / 100
	return nil
}

func sizeFlag(name, text string, to *int) error {
	b, err := units.ParseBytes(text)
	if err != nil {
		return fmt.Errorf("--%s: %w", name, err)
	}
	*to = int(min(b, 1<<30))
	return nil
}

// readImport reads another tool's output.
func readImport(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("there is no file %s: give what fio (--output-format=json+) or ACT printed", path)
	} else if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > importMax {
		return nil, fmt.Errorf("%s: want a file of at most %v", path, units.Bytes(importMax))
	}
	return os.ReadFile(path)
}

func (q *qualification) importFio() error {
	text, err := readImport(q.o.importFio)
	if err != nil {
		return err
	}
	p, err := device.ImportFio(text)
	if err != nil {
		return fmt.Errorf("%s: %w", q.o.importFio, err)
	}
	p.About = "imported from " + q.o.importFio
	if q.o.profile == "" {
		_, err = q.stdout.Write(p.YAML())
		return err
	}
	return q.writeProfile(p)
}

func (q *qualification) importACT() error {
	text, err := readImport(q.o.importACT)
	if err != nil {
		return err
	}
	a, err := device.ImportACT(text, q.o.limits)
	if err != nil {
		return fmt.Errorf("%s: %w", q.o.importACT, err)
	}
	t := plainTable()
	header := table.Row{"seconds", "reads"}
	for _, l := range q.o.limits {
		header = append(header, "> "+l.Over.String())
	}
	t.AppendHeader(append(header, ""))
	for i, s := range a.Slices {
		row := table.Row{fmt.Sprintf("%d to %d", s.FromSec, s.ToSec), s.Reads}
		for _, v := range s.Over {
			row = append(row, share(v))
		}
		t.AppendRow(append(row, mark(s.Passed, i == a.Worst(q.o.limits))))
	}
	fmt.Fprintln(q.stdout, t.Render())
	if w := a.Slices[a.Worst(q.o.limits)]; !w.Passed {
		return fmt.Errorf("%w: seconds %d to %d of %s", errLimits, w.FromSec, w.ToSec, q.o.importACT)
	}
	return nil
}

func share(v float64) string { return fmt.Sprintf("%.3g %%", 100*v) }

func mark(passed, worst bool) string {
	switch {
	case !passed && worst:
		return "fails, the worst"
	case !passed:
		return "fails"
	case worst:
		return "the worst"
	}
	return ""
}

// printDevice is the table of a qualification.
func printDevice(w io.Writer, d *deviceDocument, r *device.Report, o *deviceOptions) error {
	x := ""
	if d.ACTX != nil {
		x = fmt.Sprintf(", %.3gx of ACT", *d.ACTX)
	}
	fmt.Fprintf(w, "\n%s, class %s: %s\n", d.Path, d.Class, d.ClassWhy)
	fmt.Fprintf(w, "open loop, %v of records%s: %.4g reads of %v, %.4g block writes and as many block reads of %v a second\n", units.Rate(d.Rate), x,
		d.Load.ReadsPerS, units.Bytes(o.load.ReadSize()), d.Load.BlocksPerS, units.Bytes(d.Load.BlockBytes))
	t := plainTable()
	t.AppendHeader(table.Row{"request", "count", "failed", "p50", "p90", "p99", "p99.9", "max", "service p99", "lateness p99"})
	for _, name := range device.Kinds() {
		op, ok := r.Operations[name]
		if !ok {
			continue
		}
		p := &op.Response
		t.AppendRow(table.Row{name, op.Count, op.Failed, cell(p, "p50", p.P50), cell(p, "p90", p.P90), cell(p, "p99", p.P99), cell(p, "p99_9", p.P999),
			cell(p, "max", p.Max), cell(&op.Service, "p99", op.Service.P99), cell(&op.Lateness, "p99", op.Lateness.P99)})
	}
	fmt.Fprintln(w, t.Render())
	t = plainTable()
	header := table.Row{"slice", "reads", "p99"}
	for _, l := range o.limits {
		name := "> " + l.Over.String()
		if e := d.Emulation; e != nil && e.Dilation > 1 {
			name = fmt.Sprintf("%s (%v here)", name, time.Duration(float64(l.Over)*e.Dilation))
		}
		header = append(header, name)
	}
	t.AppendHeader(append(header, ""))
	for i := range d.Slices {
		s := &d.Slices[i]
		row := table.Row{fmt.Sprintf("%d to %d s", s.TSec, s.TSec+s.Seconds), s.Kinds[0].Count, cell(&s.Kinds[0].P, "p99", s.Kinds[0].P.P99)}
		for _, v := range s.Over {
			row = append(row, share(v))
		}
		t.AppendRow(append(row, mark(s.Passed, i == d.Worst)))
	}
	fmt.Fprintln(w, t.Render())
	for _, level := range []result.Level{result.Fail, result.Warn, result.Info} {
		for _, v := range d.Verdicts {
			if v.Level == level {
				fmt.Fprintf(w, "%-4s  %s: %s\n", v.Level, v.Rule, v.Text)
			}
		}
	}
	_, err := fmt.Fprintf(w, "run folder: %s\n", o.out)
	return err
}
