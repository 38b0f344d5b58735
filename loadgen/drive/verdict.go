package drive

import (
	"fmt"
	"slices"
	"strings"

	"headroom/loadgen/result"
)

// Shares at which a verdict is spoken.
const (
	latenessShare  = 0.10 // of response p99 (loadgen methodology, self-check)
	achievedShare  = 0.99
	ownCPUShare    = 0.80 // of GOMAXPROCS
	stealPctMax    = 1.0
	latenessFloor  = 50.0 // us: below it the timer's own error is no finding
	failuresListed = 3
)

// Summarize fills the measured part of s: rates, operations, audit, generator.
func (d *Driver) Summarize(r *Report, s *result.Summary) {
	s.Format, s.MeasuredFrom = result.Format, r.Wall
	s.Workload = result.Workload{Name: d.cfg.Workload.Name, SHA256: d.cfg.Workload.SHA256()}
	s.Loop = "open"
	if d.cfg.Rate == 0 {
		s.Loop = "closed"
	}
	s.DurationSec, s.Interrupted, s.Operations, s.Audit = r.Duration.Seconds(), r.Interrupted, r.Operations, d.Audit()
	g := &s.Generator
	if s.DurationSec > 0 {
		s.OfferedOpsPerSec = float64(r.Offered) / s.DurationSec
		s.AchievedOpsPerSec = float64(r.Achieved) / s.DurationSec
		g.CPUPct = 100 * r.CPU.Seconds() / s.DurationSec
	}
	g.Lanes, g.Seed, g.Arrivals = d.cfg.Lanes, d.cfg.Seed, string(d.cfg.Arrivals)
	if d.cfg.Rate == 0 {
		g.Arrivals = "closed"
	}
	g.InFlightMax, g.InFlightPeak, g.Queued = d.cfg.InFlight, r.InFlightPeak, r.Queued
	g.WarmupSec, g.LoadedRecs = d.cfg.Warmup.Seconds(), d.cfg.Workload.Records
	g.DeadlineMS = float64(d.cfg.Deadline.Microseconds()) / 1000
}

// Verdicts judges a finished summary by the methodology's rules. errors are
// the driver's error texts; procs is GOMAXPROCS.
func Verdicts(s *result.Summary, errors map[string]int64, procs int) []result.Verdict {
	v := &verdicts{s: s, list: []result.Verdict{}}
	v.audit()
	v.generator(procs)
	if s.Loop == "closed" {
		v.add("R1", result.Warn, "closed loop: latencies are those of %d clients that wait for each other's answers, not of independent arrivals",
			s.Generator.InFlightMax)
	}
	v.failures(errors)
	v.samples()
	v.add("R5", result.Info, "the first %g s were driven and not measured; no steady-state test was made", s.Generator.WarmupSec)
	if n := s.Generator.LocalNodes; n > 0 {
		v.add("R10", result.Warn, "the generator shares this host with %d nodes: the figures are lower bounds of what separate machines do", n)
	}
	if s.Generator.StealPct > stealPctMax {
		v.add("R10", result.Warn, "the hypervisor stole %.1f %% of the CPU", s.Generator.StealPct)
	}
	if s.Interrupted {
		v.add("INTERRUPTED", result.Warn, "stopped after %.1f s", s.DurationSec)
	}
	return v.list
}

type verdicts struct {
	s    *result.Summary
	list []result.Verdict
}

func (v *verdicts) add(rule string, level result.Level, format string, args ...any) {
	v.list = append(v.list, result.Verdict{Rule: rule, Level: level, Text: fmt.Sprintf(format, args...)})
}

func (v *verdicts) audit() {
	a := v.s.Audit
	if !a.Enabled {
		v.add("AUDIT", result.Info, "no audit: %s", a.Why)
		return
	}
	part := ""
	if a.ReadBack == 0 {
		part = "; there was no final read-back, so lost writes were not looked for"
	} else if a.ReadBack < a.KeysWritten {
		part = fmt.Sprintf(" (%d of %d written keys were read back)", a.ReadBack, a.KeysWritten)
	}
	if a.Lost+a.StaleReads+a.Corrupt+a.FalseNotFound == 0 {
		v.add("AUDIT", result.Info, "%d acknowledged writes, none lost; no stale read, no corrupt value, no false not-found%s",
			a.AcknowledgedWrites, part)
		return
	}
	v.add("AUDIT", result.Fail, "INVALID: of %d acknowledged writes %d were lost; %d stale reads, %d corrupt values, %d false not-founds%s",
		a.AcknowledgedWrites, a.Lost, a.StaleReads, a.Corrupt, a.FalseNotFound, part)
}

// generator says whether the generator was the limit. On a host shared with
// the nodes both compete for the same CPU, so that it warns only.
func (v *verdicts) generator(procs int) {
	level := result.Fail
	if v.s.Generator.LocalNodes > 0 {
		level = result.Warn
	}
	if v.s.Target == "null" { // the generator alone is what was measured
		level = result.Info
	}
	for _, name := range v.operations() {
		op := v.s.Operations[name]
		late, resp := op.Lateness.P99, op.Response.P99
		if late != nil && resp != nil && *late > latenessFloor && *late > latenessShare**resp {
			v.add("GENERATOR-LIMITED", level, "%s: the generator's own lateness p99 is %.0f us, %.0f %% of the response p99 of %.0f us", name,
				*late, 100**late / *resp, *resp)
		}
	}
	if cpu := v.s.Generator.CPUPct; cpu > 100*ownCPUShare*float64(procs) {
		v.add("GENERATOR-LIMITED", level, "the generator used %.0f %% of a core, of %d it may use", cpu, procs)
	}
	offered, achieved := v.s.OfferedOpsPerSec, v.s.AchievedOpsPerSec
	if v.s.Loop == "open" && achieved < achievedShare*offered {
		v.add("R4", result.Warn, "achieved %.0f of %.0f offered operations/s (%.1f %%)", achieved, offered, 100*achieved/offered)
	}
	if q := v.s.Generator.Queued; q > 0 && v.s.Loop == "open" {
		v.add("IN-FLIGHT", result.Info, "the limit of %d operations in flight, or a key with a write in flight, delayed arrivals %d times; "+
			"their response times include the wait", v.s.Generator.InFlightMax, q)
	}
}

func (v *verdicts) failures(errors map[string]int64) {
	var failed, doubt int64
	for _, op := range v.s.Operations {
		failed += op.Failed
		doubt += op.InDoubt
	}
	if failed+doubt == 0 {
		return
	}
	var texts []string
	for text := range errors {
		texts = append(texts, text)
	}
	slices.SortFunc(texts, func(a, b string) int { return int(errors[b] - errors[a]) })
	for i, text := range texts {
		texts[i] = fmt.Sprintf("%d x %s", errors[text], text)
	}
	v.add("R4", result.Warn, "%d operations failed and %d are in doubt; they count as infinitely slow (whole run: %s)", failed, doubt,
		strings.Join(texts[:min(len(texts), failuresListed)], "; "))
}

func (v *verdicts) samples() {
	for _, name := range v.operations() {
		p := v.s.Operations[name].Response
		if len(p.Unsupported) > 0 {
			v.add("R3", result.Info, "%s: %d samples do not bound %s", name, p.Samples, strings.Join(p.Unsupported, ", "))
		}
		if len(p.Wide) > 0 {
			v.add("R3", result.Info, "%s: %d samples give %s a 99 %% interval wider than a twentieth of what lies beyond it; quote it with its interval",
				name, p.Samples, strings.Join(p.Wide, ", "))
		}
	}
}

func (v *verdicts) operations() []string {
	var names []string
	for name := range v.s.Operations {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
