package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"headroom/loadgen/drive"
	"headroom/loadgen/live"
	"headroom/loadgen/local"
	"headroom/loadgen/result"
	"headroom/workloads/units"
)

// progress writes what is going on to stderr: a panel (package live) or one
// line that is rewritten on a terminal, plain lines once a second otherwise.
// Safe for concurrent use.
type progress struct {
	mu     sync.Mutex // guards all below
	w      io.Writer
	tty    bool
	live   bool      // the cursor stands behind a line that may be rewritten
	last   time.Time // of the last plain bulk line
	screen *live.Screen
	nodes  nodeTable
}

func newProgress(w io.Writer) *progress { return &progress{w: w, tty: live.IsTerminal(w)} }

// panel shows the panel where there is a terminal, until stop.
func (p *progress) panel() *progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tty && p.screen == nil {
		p.screen = live.Start(p.w)
	}
	return p
}

// stop takes the panel away; what is said afterwards are lines.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.screen != nil {
		p.screen.Stop()
		p.screen = nil
	}
	p.breakLocked()
}

// send gives msg to the panel and reports whether there is one.
func (p *progress) send(msg any) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.screen == nil {
		return false
	}
	p.screen.Send(msg)
	return true
}

// say writes a line that stays.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.screen != nil {
		p.screen.Say(fmt.Sprintf(format, args...))
		return
	}
	p.breakLocked()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// show writes a line that the next one replaces on a terminal.
func (p *progress) show(format string, args ...any) {
	if p.send(live.Note(fmt.Sprintf(format, args...))) {
		return
	}
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
		if p.send(live.Step{What: verb, Done: b.Done, Total: b.Total, Left: b.Left}) {
			return
		}
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
	findings := ""
	if a := r.Audit; a.StaleReads+a.Corrupt+a.FalseNotFound > 0 {
		findings = fmt.Sprintf("%d stale, %d corrupt, %d falsely not found", a.StaleReads, a.Corrupt, a.FalseNotFound)
	}
	if p.send(live.Second{Warmup: r.Second < 0, Elapsed: r.Elapsed, Left: r.Left, OK: r.OK, Failed: r.Failed, InDoubt: r.InDoubt,
		P50US: r.P50US, P99US: r.P99US, InFlight: r.InFlight, Findings: findings}) {
		p.send(p.nodes.second(time.Now()))
		return
	}
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
	if findings != "" {
		extra += ", AUDIT: " + findings
	}
	p.show("%4ds %9v  p50 %s  p99 %s%s  in flight %d, %s left", r.Second+1, units.Rate(r.OK), micros(r.P50US),
		micros(r.P99US), extra, r.InFlight, round(r.Left))
}

// event shows what the watcher saw.
func (p *progress) event(e local.Event) {
	switch e.Kind {
	case result.EventPhase:
	case result.EventMigration:
		p.send(live.Event(e.Node + " migration " + e.What))
	default:
		p.send(live.Event(strings.TrimSpace(e.Node + " " + e.What)))
	}
}

// micros prints microseconds with three digits: "850 us", "2.1 ms", "1.2 s".
func micros(us float64) string { return live.Micros(us) }

func round(d time.Duration) time.Duration { return d.Round(time.Second) }
