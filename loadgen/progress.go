package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"headroom/loadgen/drive"
	"headroom/workloads/units"
)

// progress writes what is going on to stderr: one line that is rewritten on a
// terminal, plain lines once a second otherwise. Safe for concurrent use.
type progress struct {
	mu   sync.Mutex // guards all below
	w    io.Writer
	tty  bool
	live bool      // the cursor stands behind a line that may be rewritten
	last time.Time // of the last plain bulk line
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.tty = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// say writes a line that stays.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.breakLocked()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// show writes a line that the next one replaces on a terminal.
func (p *progress) show(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.tty {
		fmt.Fprintf(p.w, format+"\n", args...)
		return
	}
	fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
	p.live = true
}

func (p *progress) breakLocked() {
	if p.live {
		fmt.Fprintln(p.w)
		p.live = false
	}
}

// bulk shows Load or ReadBack; between lines of a log a second passes.
func (p *progress) bulk(verb string) func(drive.BulkProgress) {
	return func(b drive.BulkProgress) {
		p.mu.Lock()
		quiet := !p.tty && time.Since(p.last) < time.Second && b.Done < b.Total
		if !quiet {
			p.last = time.Now()
		}
		p.mu.Unlock()
		if !quiet {
			p.show("%s %d of %d records (%.0f %%), %s left", verb, b.Done, b.Total, 100*float64(b.Done)/float64(max(b.Total, 1)),
				round(b.Left))
		}
	}
}

// second shows a second of the run.
func (p *progress) second(r drive.Progress) {
	switch {
	case r.Second < 0:
		p.show("warm-up, %s to go", round(max(0, -r.Elapsed)))
		return
	case r.Left == 0 && r.OK+r.Failed+r.InDoubt == 0:
		return
	}
	extra := ""
	if r.Failed+r.InDoubt > 0 {
		extra = fmt.Sprintf(", %d failed, %d in doubt", r.Failed, r.InDoubt)
	}
	if a := r.Audit; a.StaleReads+a.Corrupt+a.FalseNotFound > 0 {
		extra += fmt.Sprintf(", AUDIT: %d stale, %d corrupt, %d falsely not found", a.StaleReads, a.Corrupt, a.FalseNotFound)
	}
	p.show("%4ds %9v  p50 %s  p99 %s%s  in flight %d, %s left", r.Second+1, units.Rate(r.OK), micros(r.P50US),
		micros(r.P99US), extra, r.InFlight, round(r.Left))
}

func round(d time.Duration) time.Duration { return d.Round(time.Second) }

// micros prints microseconds with three digits: "850 us", "2.1 ms", "1.2 s".
func micros(us float64) string {
	switch {
	case math.IsNaN(us):
		return "-"
	case math.IsInf(us, 1):
		return "inf"
	case us < 999.5:
		return fmt.Sprintf("%.0f us", us)
	case us < 999_500:
		return trimZero(fmt.Sprintf("%.3g", us/1e3)) + " ms"
	}
	return trimZero(fmt.Sprintf("%.3g", us/1e6)) + " s"
}

func trimZero(s string) string { return strings.TrimSuffix(s, ".0") }
