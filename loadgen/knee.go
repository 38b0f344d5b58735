package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"headroom/loadgen/drive"
	"headroom/loadgen/local"
	"headroom/loadgen/pace"
	"headroom/loadgen/proof"
	"headroom/loadgen/result"
	"headroom/loadgen/seek"
	"headroom/workloads/units"
)

const (
	// kneeWarmup precedes every probe: queues of the one before are empty by
	// then, caches and congestion windows at the new rate.
	kneeWarmup = 2 * time.Second
	// kneeStart is the first rate, of what a closed loop reaches.
	kneeStart = 0.1
	// overloadSeconds in a row with less than overloadShare achieved end a probe:
	// the backlog only grows.
	overloadSeconds = 3
	overloadShare   = 0.8
)

// kneeOptions is what the knee command adds to the options.
type kneeOptions struct {
	budget, probe, confirm, down time.Duration
	start, max                   units.Rate
	resolution                   float64
	hysteresis                   bool
	during                       string
}

// kneeRaw is its command line.
type kneeRaw struct {
	budget, probe, confirm, down, start, max, resolution string
}

func kneeCommand(k *kneeOptions) *loadCommand {
	var kr kneeRaw
	return &loadCommand{name: "knee", form: "knee WORKLOAD --slo p99=2ms (--local-nodes N | --target quic://HOST:PORT,…)",
		add: func(f *pflag.FlagSet, o *options, r *raw) {
			f.StringArrayVar(&r.slo, "slo", nil, "`p99=2ms` or get.p99_9=10ms: the limit to hold; repeatable")
			addKnee(f, k, &kr)
		},
		finish: func(o *options, _ *raw) error {
			if len(o.slo) == 0 {
				return errors.New("knee needs a limit, such as --slo p99=2ms")
			}
			return k.parse(o, &kr)
		}}
}

func addKnee(f *pflag.FlagSet, k *kneeOptions, r *kneeRaw) {
	f.StringVar(&k.during, "during", "", "`FAULT` under which the SLO must hold, in every probe: "+strings.Join(drills, ", ")+"; local nodes")
	f.StringVar(&r.budget, "budget", "8m", "wall-clock time for everything")
	f.StringVar(&r.confirm, "confirm", "60s", "length of the confirming run at the answer; 0s leaves it out")
	f.StringVar(&r.probe, "probe", "12s", "longest length of a probe; a sequential test ends most earlier")
	f.StringVar(&r.start, "start", "", "first rate (default a tenth of what a 3 s closed loop reaches)")
	f.StringVar(&r.max, "max", "", "no rate above this")
	f.StringVar(&r.resolution, "resolution", "5%", "stop when the rates that hold and fail are this close")
	f.BoolVar(&k.hysteresis, "hysteresis", true, "at the end overload the target and look whether it recovers")
	f.StringVar(&r.down, "down", "5s", "how long a node is away with --during")
}

func (k *kneeOptions) parse(o *options, r *kneeRaw) (err error) {
	for _, d := range []struct {
		name, text string
		to         *time.Duration
		least      time.Duration
	}{{"budget", r.budget, &k.budget, time.Second}, {"confirm", r.confirm, &k.confirm, 0}, {"probe", r.probe, &k.probe, 5 * time.Second},
		{"down", r.down, &k.down, 0}} {
		if *d.to, err = units.ParseDuration(d.text); err != nil {
			return fmt.Errorf("--%s: %w", d.name, err)
		}
		if *d.to < d.least {
			return fmt.Errorf("--%s %v: want at least %v", d.name, *d.to, d.least)
		}
	}
	for _, x := range []struct {
		name, text string
		to         *units.Rate
	}{{"start", r.start, &k.start}, {"max", r.max, &k.max}} {
		if x.text == "" {
			continue
		}
		if *x.to, err = units.ParseRate(x.text); err != nil {
			return fmt.Errorf("--%s: %w", x.name, err)
		}
	}
	pct, err := strconv.ParseFloat(strings.TrimSuffix(r.resolution, "%"), 64)
	if err != nil || !(pct >= 1 && pct <= 100) {
		return fmt.Errorf("--resolution %s: want 1%% to 100%%", r.resolution)
	}
	k.resolution = pct / 100
	if k.during != "" {
		if !slices.Contains(drills, k.during) {
			return fmt.Errorf("--during %s: want one of %s", k.during, strings.Join(drills, ", "))
		}
		if o.nodes < 2 {
			return fmt.Errorf("--during works on two or more --local-nodes")
		}
	}
	if k.confirm >= k.budget {
		return fmt.Errorf("--confirm %v does not fit into --budget %v", k.confirm, k.budget)
	}
	return nil
}

// knee is the knee command under way.
type knee struct {
	*bed
	k      *kneeOptions
	dir    string
	began  time.Time
	doc    result.Knee
	search *seek.Search
	n      int
	// over and at are what was busy at the lowest rate that failed and at the
	// answer.
	over, at *result.Probe
}

// kneeCommandLine carries out `knee`.
func kneeCommandLine(ctx context.Context, o *options, k *kneeOptions, stdout io.Writer, out *progress) error {
	b := &bed{o: o, out: out}
	defer b.close()
	n := &knee{bed: b, k: k, dir: o.out, began: time.Now()}
	err := n.run(ctx)
	if werr := n.save(); werr != nil {
		return errors.Join(err, werr)
	}
	if err != nil {
		return err
	}
	if err := n.print(stdout); err != nil {
		return err
	}
	return missed(n.doc.Verdicts)
}

// newStudy is what every study's document begins with.
func newStudy(o *options, format, name string) result.Study {
	now := time.Now()
	env := local.Machine()
	env.Flags = o.nodeFlags
	s := result.Study{Format: format, ID: runID(name, now), Command: o.args, Started: now, Target: o.target, Machine: env, Verdicts: []result.Verdict{}}
	if o.workload != nil {
		s.Workload = result.Workload{Name: o.workload.Name, SHA256: o.workload.SHA256()}
	}
	return s
}

// run searches. What it found is in the document however it ends.
func (n *knee) run(ctx context.Context) error {
	o := n.o
	n.doc = result.Knee{Study: newStudy(o, result.KneeFormat, "knee-"+o.workload.Name), SLO: o.slo, During: n.k.during,
		Probes: []result.Probe{}, BudgetSec: n.k.budget.Seconds(), ConfirmSec: n.k.confirm.Seconds()}
	if err := n.save(); err != nil { // a folder that cannot be written is told of before anything is started
		return err
	}
	n.out.say("workload %s, %d records of %v; study folder %s", o.workload.Name, o.workload.Records, o.workload.ValueSize, n.dir)
	o.auto = true // until the first probe sets a rate
	if err := n.open(ctx); err != nil {
		return err
	}
	start := float64(n.k.start)
	if start == 0 {
		if err := n.calibrate(ctx); err != nil {
			return err
		}
		start = kneeStart * float64(n.calibrated)
		n.out.say("a closed loop of %d clients reaches %v; the search starts at %v", calibrateClients, twoDigits(float64(n.calibrated)), twoDigits(start))
	}
	if err := n.sends(units.Rate(start)); err != nil {
		return err
	}
	cfg := seek.Config{Start: float64(twoDigits(start)), Max: float64(n.k.max), Resolution: n.k.resolution, Budget: n.k.budget - n.tail(),
		Probe: n.k.probe, Confirm: n.k.confirm, Overhead: kneeWarmup + time.Second, Hysteresis: n.k.hysteresis && n.k.during == ""}
	if n.k.during != "" {
		cfg.Probe = max(cfg.Probe, n.drillLength())
		cfg.Elastic, cfg.Confirm = true, cfg.Probe // a second fault at the answer confirms
		cfg.Guess = drillLead + time.Duration(len(n.victims()))*(n.k.down+drillGuess) + drillTail
	}
	n.search = seek.New(cfg)
	for {
		step, ok := n.search.Next(time.Since(n.began))
		if !ok {
			break
		}
		outcome, lean, err := n.probe(ctx, step)
		if err != nil {
			n.doc.Interrupted = ctx.Err() != nil
			n.conclude()
			if n.doc.Interrupted && n.n > 0 {
				return nil
			}
			return err
		}
		n.search.Done(outcome, lean)
		n.search.Took(time.Duration(n.doc.Probes[len(n.doc.Probes)-1].DurationSec * float64(time.Second)))
		n.conclude()
		if err := n.save(); err != nil {
			return err
		}
	}
	// A target that reads more slowly than it was loaded must not cost the budget.
	if left := max(n.tail(), n.k.budget-time.Since(n.began)); o.readBack > left {
		o.readBack = left
	}
	err := n.readBack(ctx)
	n.doc.Audit = n.driver.Audit()
	n.conclude()
	return err
}

// tail is what the final read-back takes of the budget.
func (n *knee) tail() time.Duration {
	if !n.driver.Audit().Enabled {
		return 0
	}
	return min(n.o.readBack, time.Duration(3*n.loadSec*float64(time.Second))+time.Second)
}

func (n *knee) save() error {
	n.doc.SpentSec = time.Since(n.began).Seconds()
	return result.WriteStudy(n.dir, result.KneeFile, &n.doc)
}

// probe runs one step into a folder of its own.
func (n *knee) probe(ctx context.Context, step seek.Step) (outcome, lean result.Outcome, err error) {
	n.n++
	rate := units.Rate(math.Round(step.Rate))
	rel := filepath.Join("runs", fmt.Sprintf("%03d-%s-%.0f", n.n, step.Phase, float64(rate)))
	n.out.say("%s %v, at most %v (%v of %v)", step.Phase, rate, step.Length, round(time.Since(n.began)), n.k.budget)
	n.driver.SetProfile(pace.Steady(rate))
	n.driver.SetSeed(n.o.seed + uint64(n.n)) // other arrivals, else every probe has the same luck
	var drill faulting
	state := &drillState{}
	var planned []time.Duration
	if n.k.during != "" {
		drill = n.drill(state)
		for t := time.Duration(0); t < step.Length; t += time.Second {
			planned = append(planned, t) // when it happens is decided under way
		}
	}
	n.driver.SetPhases(kneeWarmup, step.Length, planned)
	t, err := newTrial(n.bed, filepath.Join(n.dir, rel))
	if err != nil {
		return "", "", err
	}
	p := result.Probe{N: n.n, Phase: step.Phase, Dir: rel, AtSec: time.Since(n.began).Seconds(), RateOpsPerSec: float64(rate)}
	j := newJudge(n.o.slo, step.Phase, drill != nil, float64(rate), state)
	report, err := t.measure(ctx, drill, j.second)
	if err != nil {
		return "", "", errors.Join(err, t.finish(nil))
	}
	if report.Interrupted && ctx.Err() == nil {
		t.ended = "decided early"
	}
	if err := t.finish(report); err != nil {
		return "", "", err
	}
	if ctx.Err() != nil {
		return "", "", ctx.Err()
	}
	outcome, lean = j.finish(report, &p)
	n.fill(&p, t, report)
	if outcome == result.Fails && n.generatorAtFault(report, j) {
		p.Outcome, outcome = result.GeneratorLimited, result.GeneratorLimited
		p.Why += "; by service time alone it would have held"
	}
	if state.err != nil {
		return "", "", state.err
	}
	n.settle(ctx, settleFor)
	n.doc.Probes = append(n.doc.Probes, p)
	n.note(&n.doc.Probes[len(n.doc.Probes)-1])
	n.out.say("%s %v: %s, %s", step.Phase, rate, p.Outcome, p.Why)
	return outcome, lean, nil
}

// generatorAtFault reports that a limit failed only because of what the
// generator added. On a host shared with the nodes nobody can tell who took
// the CPU from whom, so that the machine is at fault, not the generator.
func (n *knee) generatorAtFault(r *drive.Report, j *judge) bool {
	if n.o.nodes > 0 || r.Queued > 0 {
		return false
	}
	for i, limit := range n.o.slo {
		if float64(r.SLO[i].ByService) > (1-limit.P)*float64(r.SLO[i].Samples) {
			return false
		}
	}
	return true
}

// fill completes a probe from its run.
func (n *knee) fill(p *result.Probe, t *trial, r *drive.Report) {
	m := &t.summary
	p.DurationSec, p.OfferedOpsPerSec, p.AchievedOpsPerSec = m.DurationSec, m.OfferedOpsPerSec, m.AchievedOpsPerSec
	p.Response, p.LatenessP99US, p.Use, p.Faults = r.All.Response, m.Generator.Lateness.P99, m.Use, m.Faults
	for _, f := range m.Faults {
		if f.GapMS != nil && (p.Gap == nil || *f.GapMS > *p.Gap) {
			p.Gap = f.GapMS
		}
	}
}

// note keeps the probes on both sides of the knee, whose busy resources tell
// what limits it.
func (n *knee) note(p *result.Probe) {
	if p.Phase == result.PhaseUp || p.Phase == result.PhaseDown {
		n.hysteresis(p)
		return
	}
	if p.Outcome == result.Fails && (n.over == nil || p.RateOpsPerSec < n.over.RateOpsPerSec) {
		c := *p
		n.over = &c
	}
}

// hysteresis compares the way down with the way up.
func (n *knee) hysteresis(p *result.Probe) {
	if n.doc.Hysteresis == nil {
		n.doc.Hysteresis = &result.Hysteresis{}
	}
	h := n.doc.Hysteresis
	if p.Phase == result.PhaseUp {
		h.UpOpsPerSec = p.RateOpsPerSec
		return
	}
	h.DownOpsPerSec, h.Recovered = p.RateOpsPerSec, p.Outcome == result.Holds
	if p.Response.P99 != nil {
		h.P99AfterUS = *p.Response.P99
	}
	nearest := math.Inf(1)
	for _, q := range n.doc.Probes {
		if d := math.Abs(q.RateOpsPerSec - p.RateOpsPerSec); q.N < p.N && q.Outcome == result.Holds && d < nearest && q.Response.P99 != nil {
			nearest, h.P99BeforeUS = d, *q.Response.P99
		}
	}
}

// judge decides a probe while it runs.
type judge struct {
	slo    []result.Limit
	tests  []proof.Test
	before []drive.SLOCount
	rate   float64
	early  bool // a decision ends the probe
	long   bool // it runs to its end whatever the tests say, unless they fail
	drill  *drillState
	behind int
	ended  string
}

func newJudge(slo []result.Limit, phase string, drill bool, rate float64, state *drillState) *judge {
	j := &judge{slo: slo, tests: make([]proof.Test, len(slo)), before: make([]drive.SLOCount, len(slo)), rate: rate, drill: state}
	for i, l := range slo {
		j.tests[i].Allowed = 1 - l.P
	}
	if drill {
		phase = result.PhaseProbe
	}
	j.early = !drill && (phase == result.PhaseProbe || phase == result.PhaseBisect)
	j.long = phase == result.PhaseConfirm || phase == result.PhaseDown
	if !drill {
		j.drill = nil
	}
	return j
}

// second takes a second in and says whether the probe goes on.
func (j *judge) second(p *drive.Progress) bool {
	for i := range j.slo {
		now := p.SLO[i]
		j.tests[i].Add(now.Samples-j.before[i].Samples, now.Beyond-j.before[i].Beyond)
		j.before[i] = now
	}
	if float64(p.OK) < overloadShare*j.rate {
		j.behind++
	} else {
		j.behind = 0
	}
	if j.drill != nil {
		return !j.drill.over()
	}
	if j.early && j.behind >= overloadSeconds {
		j.ended = fmt.Sprintf("less than %.0f %% of the rate achieved for %d s", 100*overloadShare, overloadSeconds)
		return false
	}
	switch j.decide() {
	case result.Fails:
		return !j.early && !j.long
	case result.Holds:
		return !j.early
	}
	return true
}

// decide joins the tests: all must hold, one may fail.
func (j *judge) decide() result.Outcome {
	out := result.Holds
	for i := range j.tests {
		switch j.tests[i].Decide() {
		case result.Fails:
			return result.Fails
		case result.Undecided:
			out = result.Undecided
		}
	}
	return out
}

// finish judges the whole probe and fills in its tests.
func (j *judge) finish(r *drive.Report, p *result.Probe) (outcome, lean result.Outcome) {
	outcome, lean = j.decide(), result.Holds
	var words []string
	for i, l := range j.slo {
		t := result.LimitTest{Limit: l, Samples: r.SLO[i].Samples, Beyond: r.SLO[i].Beyond, Outcome: j.tests[i].Decide()}
		if j.drill != nil {
			from, to := j.drill.window(r)
			t.Samples, t.Beyond = r.Blocks[l.Op].Beyond(from, to, 1000*l.LatencyUS)
			t.Outcome = result.Holds
			migrating := r.Blocks[drive.AllOps].Percentiles(from, to)
			p.Migrating = &migrating
		}
		if t.Samples == 0 || float64(t.Beyond) > (1-l.P)*float64(t.Samples) {
			lean = result.Fails
			if j.drill != nil {
				t.Outcome = result.Fails
			}
		}
		p.Tests = append(p.Tests, t)
		words = append(words, fmt.Sprintf("%.3g %% slower than %s of %s, %.3g %% allowed", 100*float64(t.Beyond)/math.Max(1, float64(t.Samples)),
			micros(l.LatencyUS), nameOf(l), 100*(1-l.P)))
	}
	p.Why = strings.Join(words, "; ")
	switch {
	case j.drill != nil:
		outcome = lean
		if !j.drill.restored {
			outcome, lean = result.Fails, result.Fails
			p.Why += "; redundancy was not restored in time"
		}
	case j.ended != "":
		outcome, lean = result.Fails, result.Fails
		p.Why = j.ended
	case j.long && outcome == result.Undecided:
		outcome = lean // as long as was asked for: its share is the answer
	}
	p.Outcome, p.Early = outcome, r.Interrupted
	return outcome, lean
}

func nameOf(l result.Limit) string {
	op := l.Op
	if op == "" {
		op = "all operations"
	}
	return op
}
