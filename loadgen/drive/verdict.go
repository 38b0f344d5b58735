package drive

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"headroom/loadgen/result"
)

// Shares at which a verdict is spoken.
const (
	latenessShare  = 0.10 // of response p99 (loadgen methodology, self-check)
	achievedShare  = 0.99
	ownCPUShare    = 0.80 // of GOMAXPROCS
	stealPctMax    = 1.0
	latenessFloor  = 50.0   // us: below it the timer's own error is no finding
	nullLateness   = 1000.0 // us: of p99, into a target that takes no time; ten times it fails the run
	littleMax      = 0.05   // of the greater (the self-check's)
	littleSamples  = 1000
	littleShare    = 0.9 // of the samples that a process that gets its CPU takes
	failuresListed = 3
)

// CouldShare is how many times the offered rate a generator must be able to send
// to a null target to be believed (the methodology's self-check).
const CouldShare = 1.5

// Summarize fills the measured part of s: rates, operations, audit, generator.
func (d *Driver) Summarize(r *Report, s *result.Summary) {
	s.Format, s.MeasuredFrom = result.Format, r.Wall
	s.Workload = result.Workload{Name: d.cfg.Workload.Name, SHA256: d.cfg.Workload.SHA256()}
	s.Loop, s.Schedule = "open", d.words()
	if !d.cfg.open() {
		s.Loop = "closed"
	}
	s.DurationSec, s.Interrupted, s.Operations, s.Audit = r.Duration.Seconds(), r.Interrupted, r.Operations, d.Audit()
	s.All, s.Stages = r.All, r.Stages
	s.Audit.Linear = d.judge(r)
	d.costs(r, s)
	g := &s.Generator
	if s.DurationSec > 0 {
		s.OfferedOpsPerSec = float64(r.Offered) / s.DurationSec
		s.AchievedOpsPerSec = float64(r.Achieved) / s.DurationSec
		g.CPUPct = 100 * r.CPU.Seconds() / s.DurationSec
	}
	s.GoodputOpsPerSec, s.NothingFromSec = s.AchievedOpsPerSec, r.nothingFrom()
	for i, limit := range d.cfg.SLO {
		s.SLO = append(s.SLO, testOf(limit, r.SLO[i]))
		if good := r.SLO[i].Samples - r.SLO[i].Beyond; limit.Op == AllOps && s.DurationSec > 0 {
			s.GoodputOpsPerSec = min(s.GoodputOpsPerSec, float64(good)/s.DurationSec)
		}
	}
	g.Lanes, g.Seed, g.Arrivals, g.Precise = d.cfg.Lanes, d.stream, string(d.cfg.Arrivals), d.cfg.Precise
	g.CoresAwake = r.CoresAwake
	g.InFlightMax, g.InFlightPeak, g.Queued, g.Shed = d.cfg.InFlight, r.InFlightPeak, r.Queued, r.Shed
	g.WarmupSec, g.LoadedRecs = d.cfg.Warmup.Seconds(), d.cfg.Workload.Records
	g.DeadlineMS, g.ThinkMS = millis(d.cfg.Deadline), millis(d.cfg.Think)
	g.Lateness, g.InFlightMean, g.InFlightSamples, g.LittleResidual = r.All.Lateness, r.InFlightMean, r.InFlightSamples, r.little()
	for _, l := range r.LaneLateness {
		if l.P99 != nil && (g.WorstLaneLatenessUS == nil || *l.P99 > *g.WorstLaneLatenessUS) {
			g.WorstLaneLatenessUS = l.P99
		}
	}
	if s.Loop == "open" && s.OfferedOpsPerSec > 0 && g.CouldOpsPerSec > 0 {
		share := g.CouldOpsPerSec / s.OfferedOpsPerSec
		g.CouldOverOffered = &share
	}
}

// goneSeconds at the end without any success are a target that went away.
const goneSeconds = 3

// nothingFrom is the second from which on to the end nothing succeeded, nil
// unless that lasted.
func (r *Report) nothingFrom() *float64 {
	first := 0
	for _, row := range r.Series {
		if row.OK > 0 {
			first = max(first, row.TSec+1)
		}
	}
	if r.Offered == 0 || int(r.Duration.Seconds()) < first+goneSeconds {
		return nil
	}
	v := float64(first)
	return &v
}

// testOf says what became of a limit, by the share of operations beyond it.
func testOf(limit result.Limit, n SLOCount) result.LimitTest {
	t := result.LimitTest{Limit: limit, Samples: n.Samples, Beyond: n.Beyond, Outcome: result.Holds}
	switch {
	case n.Samples == 0:
		t.Outcome = result.Undecided
	case float64(n.Beyond) > (1-limit.P)*float64(n.Samples):
		t.Outcome = result.Fails
	}
	return t
}

// words says what load was offered.
func (d *Driver) words() string {
	switch {
	case d.cfg.Trace != nil:
		return fmt.Sprintf("trace of %d arrivals", len(d.cfg.Trace))
	case d.cfg.Profile != nil:
		return fmt.Sprintf("%s, %s arrivals", d.cfg.Profile, d.cfg.Arrivals)
	case d.cfg.Think > 0:
		return fmt.Sprintf("closed: %d clients, each resting %v", d.cfg.Closed, d.cfg.Think)
	}
	return fmt.Sprintf("closed: %d clients", d.cfg.Closed)
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// little compares what was counted in flight with rate times mean service time,
// as a share of the greater; nil where the counting is too coarse, or was
// starved and therefore not at random instants.
func (r *Report) little() *float64 {
	least := max(littleSamples, littleShare*r.Duration.Seconds()/inFlightEvery.Seconds())
	if r.InFlightMean < 1 || float64(r.InFlightSamples) < least || r.Duration <= 0 {
		return nil
	}
	law := r.Busy.Seconds() / r.Duration.Seconds()
	residual := (r.InFlightMean - law) / max(r.InFlightMean, law)
	return &residual
}

// Verdicts judges a finished summary by the methodology's rules. errors are
// the driver's error texts.
func Verdicts(s *result.Summary, errors map[string]int64) []result.Verdict {
	v := &verdicts{s: s, list: []result.Verdict{}}
	v.audit()
	v.slo()
	v.generator(max(1, s.Generator.GOMAXPROCS))
	v.self()
	if s.Loop == "closed" {
		v.add("R1", result.Warn, "closed loop: latencies are those of %d clients that wait for each other's answers, not of independent arrivals",
			s.Generator.InFlightMax)
	}
	v.gone()
	v.failures(errors)
	v.samples()
	v.steady()
	if n := s.Generator.LocalNodes; n > 0 {
		v.add("R10", result.Warn, "the generator shares this host with %s: the figures are lower bounds of what separate machines do", Nodes(n))
	} else if s.Generator.SharedHost {
		v.add("R10", result.Warn, "the generator shares this host with the target: the figures are lower bounds of what separate machines do")
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

// slo says which limits were held.
func (v *verdicts) slo() {
	for _, t := range v.s.SLO {
		name := t.Limit.Percentile
		if t.Limit.Op != "" {
			name = t.Limit.Op + "." + name
		}
		level, word := result.Info, "held"
		switch t.Outcome {
		case result.Fails:
			level, word = result.Fail, "missed"
		case result.Undecided:
			level, word = result.Fail, "not tested"
		}
		v.add("SLO", level, "%s <= %.4g ms %s: %d of %d operations were slower, %.4g allowed", name, t.Limit.LatencyUS/1000, word, t.Beyond,
			t.Samples, (1-t.Limit.P)*float64(t.Samples))
	}
}

// steady says what part of the run was steady (rule R5). Faults and schedules
// make a run unsteady on purpose.
func (v *verdicts) steady() {
	s := &v.s.Steady
	meant := len(v.s.Faults) > 0 || v.s.Loop == "open" && s.Why != "" && s.FromSec == 0 && !s.Reached && strings.Contains(s.Why, "schedule")
	switch {
	case s.Rule == "":
		v.add("R5", result.Info, "the first %g s were driven and not measured; no steady-state test was made", v.s.Generator.WarmupSec)
	case s.Reached && s.FromSec > 0:
		v.add("R5", result.Warn, "steady from %.0f s to %.0f s only: quote that part (%s)", s.FromSec, s.ToSec, s.Rule)
	case s.Reached:
		v.add("R5", result.Info, "steady from %.0f s to %.0f s, after %g s of warm-up", s.FromSec, s.ToSec, v.s.Generator.WarmupSec)
	case meant:
		v.add("R5", result.Info, "no steady state was judged: %s", s.Why)
	default:
		v.add("R5", result.Warn, "no steady state, so no headline figure: %s", s.Why)
	}
}

// self says what disturbed the generator's own figures.
func (v *verdicts) self() {
	g := &v.s.Generator
	if l := g.LittleResidual; l != nil && len(v.s.Faults) == 0 && !v.s.Interrupted && !v.failing() && (*l > littleMax || *l < -littleMax) {
		v.add("LITTLE", result.Warn, "in flight %.1f on average, %+.0f %% from rate times service time: the two disagree, one is measured wrongly "+
			"or the sampling was starved", g.InFlightMean, 100**l)
	}
	if g.WallStepMS > 0 {
		v.add("CLOCK", result.Warn, "the wall clock was set by %.0f ms during the run: latencies and t_s are on the monotonic clock and unharmed, "+
			"absolute times are not", g.WallStepMS)
	}
	if c := g.CouldOverOffered; c != nil && *c < CouldShare && v.s.Target != "null" {
		v.add("GENERATOR-LIMITED", v.level(), "this generator sends %.0f operations/s to a null target, %.2f times what was offered; "+
			"want %.1f: lower the rate or shard the load (--shard)", g.CouldOpsPerSec, *c, CouldShare)
	}
}

// failing reports that more than a hundredth of the operations failed: what is
// in flight at the end of the measured phase is then not what it was before.
func (v *verdicts) failing() bool {
	a := &v.s.All
	return 100*(a.Failed+a.InDoubt) > a.Count
}

// level of what the generator limited: on a host that it shares with the nodes
// both compete for the same CPU, so that it warns only.
func (v *verdicts) level() result.Level {
	if v.s.Generator.LocalNodes > 0 {
		return result.Warn
	}
	return result.Fail
}

func (v *verdicts) audit() {
	a := v.s.Audit
	if !a.Enabled {
		v.add("AUDIT", result.Info, "no audit: %s", a.Why)
		return
	}
	part := ""
	if a.ReadBack == 0 && a.ReadBackFailed > 0 {
		part = "; at the final read-back nothing could be read, so lost writes were not looked for"
	} else if a.ReadBack == 0 {
		part = "; there was no final read-back, so lost writes were not looked for"
	} else if a.ReadBack < a.KeysWritten {
		part = fmt.Sprintf(" (%d of %d written keys were read back)", a.ReadBack, a.KeysWritten)
	}
	v.linear(a.Linear)
	if a.CostCPUPct > 0 {
		part += fmt.Sprintf("; auditing took %.0f ns a read and %.0f ns a write, %.2g %% of a core", a.CostReadNS, a.CostWriteNS, a.CostCPUPct)
	}
	if a.Lost+a.StaleReads+a.Corrupt+a.FalseNotFound == 0 {
		v.add("AUDIT", result.Info, "%d acknowledged writes, none lost; no stale read, no corrupt value, no false not-found%s",
			a.AcknowledgedWrites, part)
		return
	}
	v.add("AUDIT", result.Fail, "INVALID: of %d acknowledged writes %d were lost; %d stale reads, %d corrupt values, %d false not-founds%s",
		a.AcknowledgedWrites, a.Lost, a.StaleReads, a.Corrupt, a.FalseNotFound, part)
}

// linear says whether the sampled histories have an order. It fails the run
// only where the target promises that they have.
func (v *verdicts) linear(l *result.Linearity) {
	switch {
	case l == nil || l.Windows == 0:
	case l.Violations > 0 && l.Promised:
		v.add("LINEARIZABLE", result.Fail, "INVALID: %d of %d sampled histories of single keys fit no order of their operations", l.Violations, l.Windows)
	case l.Violations > 0:
		v.add("LINEARIZABLE", result.Warn, "%d of %d sampled histories of single keys fit no order of their operations; this target does not promise that they do",
			l.Violations, l.Windows)
	default:
		undecided := ""
		if l.Undecided > 0 {
			undecided = fmt.Sprintf(", but for %d that were not judged in time", l.Undecided)
		}
		v.add("LINEARIZABLE", result.Info, "%d operations on %d sampled keys fit an order (%d histories%s)", l.Operations, l.Keys, l.Windows, undecided)
	}
}

// generator says whether the generator was the limit. On a host shared with
// the nodes both compete for the same CPU, so that it warns only.
func (v *verdicts) generator(procs int) {
	null := v.s.Target == "null"
	deadline := 1000 * v.s.Generator.DeadlineMS
	for _, name := range v.operations() {
		op := v.s.Operations[name]
		late, resp := op.Lateness.P99, op.Response.P99
		if resp == nil && slices.Contains(op.Response.Infinite, "p99") {
			resp = &deadline // the least that an infinite one waited
		}
		switch {
		case late == nil || resp == nil || v.s.Loop == "closed":
		case null && *late > nullLateness:
			level := result.Warn
			if *late > 10*nullLateness {
				level = result.Fail
			}
			v.add("GENERATOR-LIMITED", level, "%s: lateness p99 %s into a target that takes no time", name, span(*late))
		case !null && *late > latenessFloor && *late > latenessShare**resp:
			v.add("GENERATOR-LIMITED", v.level(), "%s: the generator's own lateness p99 is %s, %.0f %% of the response p99 of %s", name,
				span(*late), 100**late / *resp, span(*resp))
		}
	}
	worst, p99 := v.s.Generator.WorstLaneLatenessUS, v.s.All.Response.P99
	all := v.s.Generator.Lateness.P99
	if worst != nil && p99 != nil && all != nil && v.s.Loop == "open" && *worst > latenessFloor && *worst > 2**all && *worst > latenessShare**p99 && !null {
		v.add("GENERATOR-LIMITED", v.level(), "one of %d lanes was starved: its lateness p99 is %s, that of all is %s", v.s.Generator.Lanes,
			span(*worst), span(*all))
	}
	if cpu := v.s.Generator.CPUPct; cpu > 100*ownCPUShare*float64(procs) && !null {
		v.add("GENERATOR-LIMITED", v.level(), "the generator used %.0f %% of a core, of %d it may use", cpu, procs)
	}
	offered, achieved := v.s.OfferedOpsPerSec, v.s.AchievedOpsPerSec
	if v.s.Loop == "open" && null && achieved < achievedShare*offered {
		v.add("GENERATOR-LIMITED", result.Fail, "sent %.0f of %.0f operations/s to a null target", achieved, offered)
	} else if v.s.Loop == "open" && achieved < achievedShare*offered {
		v.add("R4", result.Warn, "achieved %.0f of %.0f offered operations/s (%.1f %%)", achieved, offered, 100*achieved/offered)
	}
	if g := &v.s.Generator; g.Shed > 0 && g.Queued == 0 && v.s.Loop == "open" {
		v.add("GENERATOR-LIMITED", v.level(), "%d arrivals were never sent although nothing held them back: the lanes did not get the CPU", g.Shed)
	}
	if q := v.s.Generator.Queued; q > 0 && v.s.Loop == "open" {
		v.add("IN-FLIGHT", result.Info, "the limit of %d operations in flight, or a key with a write in flight, delayed arrivals %d times; "+
			"their response times include the wait", v.s.Generator.InFlightMax, q)
	}
}

// Nodes counts nodes in words.
func Nodes(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}

// dotted lists percentiles as a reader knows them: p99.9 for p99_9.
func dotted(names []string) string { return strings.ReplaceAll(strings.Join(names, ", "), "_", ".") }

// span prints a time given in microseconds with three digits.
func span(us float64) string {
	switch {
	case us < 1000:
		return fmt.Sprintf("%.0f us", us)
	case us < 1e6:
		return fmt.Sprintf("%.3g ms", us/1e3)
	}
	return fmt.Sprintf("%.3g s", us/1e6)
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

// gone says that the target went away. Where faults were injected that may be
// what was wanted.
func (v *verdicts) gone() {
	level, a := result.Fail, &v.s.Audit
	if len(v.s.Faults) > 0 {
		level = result.Warn
	}
	switch from := v.s.NothingFromSec; {
	case from != nil:
		v.add("TARGET", level, "nothing succeeded from second %.0f to the end: the target went away, or could not be reached", *from)
	case a.Enabled && a.ReadBack == 0 && a.ReadBackFailed > 0:
		v.add("TARGET", level, "not one record could be read back after the measured phase: the target went away, or could not be reached")
	}
}

func (v *verdicts) samples() {
	for _, name := range v.operations() {
		p := v.s.Operations[name].Response
		if len(p.Unsupported) > 0 {
			v.add("R3", result.Info, "%s: %d samples do not bound %s", name, p.Samples, dotted(p.Unsupported))
		}
		if len(p.Wide) > 0 {
			v.add("R3", result.Info, "%s: %d samples give %s a 99 %% interval wider than a twentieth of what lies beyond it; quote it with its interval",
				name, p.Samples, dotted(p.Wide))
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
