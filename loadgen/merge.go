package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/pflag"

	"headroom/loadgen/drive"
	"headroom/loadgen/proof"
	"headroom/loadgen/result"
)

// mergeOptions is a parsed `merge` command line.
type mergeOptions struct {
	dirs    []string
	out     string
	partial bool
	skew    bool
	json    bool
	args    []string
}

func parseMerge(args []string, stdout io.Writer) (*mergeOptions, error) {
	o := &mergeOptions{args: args}
	f := pflag.NewFlagSet("merge", pflag.ContinueOnError)
	f.SortFlags = false
	f.StringVar(&o.out, "out", "", "run folder to write (required)")
	f.BoolVar(&o.partial, "allow-partial", false, "merge although shards are missing; the result says so")
	f.BoolVar(&o.skew, "allow-skew", false, "merge although the shards' seconds do not fit each other; the result says so")
	f.BoolVar(&o.json, "json", false, "print run.json on stdout instead of the table")
	f.SetOutput(stdout)
	f.Usage = func() {
		fmt.Fprintf(stdout, "usage: headroom-loadgen merge RUN… --out DIR\n\n%s", f.FlagUsages())
	}
	if err := f.Parse(args[2:]); err != nil {
		if err == pflag.ErrHelp {
			return nil, err
		}
		return nil, usageError{err}
	}
	if o.dirs = f.Args(); len(o.dirs) == 0 || o.out == "" {
		return nil, usagef("merge wants the run folders of the shards and --out DIR")
	}
	if slices.Contains(o.dirs, o.out) {
		return nil, usagef("--out %s is one of the shards", o.out)
	}
	return o, nil
}

// merging is a merge under way.
type merging struct {
	runs  []*result.Run
	w     *result.Writer
	sum   result.Summary
	rows  map[rowKey]*result.SeriesRow
	all   map[string]*proof.Blocks // by operation, "" all together
	total [len(result.Kinds)]*hdr.Histogram
	infin int64
}

type rowKey struct {
	sec int
	op  string
}

// mergeCommandLine carries out `merge`: the shards' histograms are added second
// by second, which loses nothing.
func mergeCommandLine(o *mergeOptions, stdout io.Writer) error {
	m := &merging{rows: map[rowKey]*result.SeriesRow{}, all: map[string]*proof.Blocks{}}
	for i := range m.total {
		m.total[i] = result.NewHistogram()
	}
	for _, dir := range o.dirs {
		r, err := result.Open(dir)
		if errors.Is(err, result.ErrNoRun) {
			return usagef("%s is no run folder; headroom-loadgen run … --shard I/N --out %s makes one", dir, dir)
		} else if err != nil {
			return err
		}
		m.runs = append(m.runs, r)
	}
	missing, err := m.fit(o.partial)
	if err != nil {
		return err
	}
	aligned := align(m.runs)
	if err := aligned.check(o.skew); err != nil {
		return err
	}
	if m.w, err = result.Create(o.out); err != nil {
		return err
	}
	m.head(o)
	m.sum.Verdicts = append(m.sum.Verdicts, aligned.verdict())
	err = errors.Join(m.add(), m.stages())
	m.finish(missing)
	if err = errors.Join(err, m.w.Close()); err != nil {
		return err
	}
	s := &session{trial: &trial{bed: &bed{o: &options{json: o.json}}, dir: o.out, summary: m.sum}, stdout: stdout}
	if err := s.print(); err != nil {
		return err
	}
	return missed(m.sum.Verdicts)
}

// fit checks that the runs are shards of one load, sorts them and returns how
// many are missing.
func (m *merging) fit(partial bool) (missing int, err error) {
	for _, r := range m.runs {
		if r.Summary.Shard == nil {
			return 0, fmt.Errorf("%s is no shard (it was not run with --shard): only shards of one load are one run; to compare runs use headroom-reports compare", r.Dir)
		}
	}
	slices.SortFunc(m.runs, func(a, b *result.Run) int { return cmp.Compare(a.Summary.Shard.Index, b.Summary.Shard.Index) })
	first := &m.runs[0].Summary
	for i, r := range m.runs {
		s := &r.Summary
		switch {
		case i > 0 && s.Shard.Index == m.runs[i-1].Summary.Shard.Index:
			return 0, fmt.Errorf("%s and %s are both shard %d", m.runs[i-1].Dir, r.Dir, s.Shard.Index)
		case s.Shard.Of != first.Shard.Of || !s.Shard.StartAt.Equal(first.Shard.StartAt):
			return 0, fmt.Errorf("%s is shard %d/%d of %v, %s is of %d shards of %v: not one load", r.Dir, s.Shard.Index, s.Shard.Of, s.Shard.StartAt,
				m.runs[0].Dir, first.Shard.Of, first.Shard.StartAt)
		case s.Workload.SHA256 != first.Workload.SHA256 || s.Loop != first.Loop:
			return 0, fmt.Errorf("%s ran another workload or loop than %s (rule R11)", r.Dir, m.runs[0].Dir)
		case s.MeasuredFrom.IsZero() || len(s.Operations) == 0:
			return 0, fmt.Errorf("%s measured nothing", r.Dir)
		}
	}
	if missing = first.Shard.Of - len(m.runs); missing > 0 && !partial {
		return 0, fmt.Errorf("%d of %d shards are missing: find them, or add --allow-partial", missing, first.Shard.Of)
	}
	return missing, nil
}

// head sums what needs no histogram.
func (m *merging) head(o *mergeOptions) {
	first := &m.runs[0].Summary
	m.sum = *first
	s := &m.sum
	s.ID, s.Command, s.Shard, s.MeasuredFrom = runID("merged-"+first.Workload.Name, time.Now()), o.args, nil, first.Shard.StartAt
	s.Operations, s.Verdicts, s.Steady, s.SLO, s.Use = map[string]result.Operation{}, []result.Verdict{}, result.Steady{}, nil, nil
	s.Stages, s.NothingFromSec = nil, nil // no shard speaks for all
	s.OfferedOpsPerSec, s.AchievedOpsPerSec, s.GoodputOpsPerSec = 0, 0, 0
	s.Generator, s.Audit = result.Generator{Seed: first.Generator.Seed, Arrivals: first.Generator.Arrivals, WarmupSec: first.Generator.WarmupSec,
		DeadlineMS: first.Generator.DeadlineMS, ThinkMS: first.Generator.ThinkMS, Precise: first.Generator.Precise}, result.Audit{Enabled: true}
	for _, r := range m.runs {
		t := &r.Summary
		s.Merged = append(s.Merged, *t.Shard)
		s.OfferedOpsPerSec += t.OfferedOpsPerSec
		s.AchievedOpsPerSec += t.AchievedOpsPerSec
		s.GoodputOpsPerSec += t.GoodputOpsPerSec
		s.DurationSec = max(s.DurationSec, t.DurationSec)
		s.Interrupted = s.Interrupted || t.Interrupted
		m.generator(&t.Generator)
		m.audit(&t.Audit)
		m.w.Shard(t.Shard.Index, t)
	}
	s.Verdicts = m.verdicts()
	s.Schedule = fmt.Sprintf("%d shards of: %s", len(m.runs), first.Schedule)
	m.w.Workload([]byte(m.runs[0].Workload))
	m.w.Environment(&m.runs[0].Environment)
}

// verdicts are those of the shards that warn, each text once with the shards
// that it is of.
func (m *merging) verdicts() []result.Verdict {
	list, of := []result.Verdict{}, map[result.Verdict][]string{}
	for _, r := range m.runs {
		for _, v := range r.Summary.Verdicts {
			if v.Level == result.Info {
				continue
			}
			if of[v] == nil {
				list = append(list, v)
			}
			of[v] = append(of[v], strconv.Itoa(r.Summary.Shard.Index))
		}
	}
	for i, v := range list {
		switch shards := of[v]; {
		case len(shards) == len(m.runs) && len(shards) > 1:
			list[i].Text = "all shards: " + v.Text
		case len(shards) > 1:
			list[i].Text = "shards " + strings.Join(shards, ", ") + ": " + v.Text
		default:
			list[i].Text = "shard " + shards[0] + ": " + v.Text
		}
	}
	return list
}

func (m *merging) generator(t *result.Generator) {
	g := &m.sum.Generator
	g.Lanes += t.Lanes
	g.GOMAXPROCS += t.GOMAXPROCS
	g.InFlightMax += t.InFlightMax
	g.InFlightPeak += t.InFlightPeak
	g.InFlightMean += t.InFlightMean
	g.Queued += t.Queued
	g.Shed += t.Shed
	g.LoadedRecs += t.LoadedRecs
	g.LoadSec = max(g.LoadSec, t.LoadSec)
	g.CouldOpsPerSec += t.CouldOpsPerSec
	g.CPUPct += t.CPUPct
	g.GCCPUPct += t.GCCPUPct
	g.StealPct = max(g.StealPct, t.StealPct)
	g.GCPauseMaxUS = max(g.GCPauseMaxUS, t.GCPauseMaxUS)
	g.SchedP99US = max(g.SchedP99US, t.SchedP99US)
	g.WallStepMS = max(g.WallStepMS, t.WallStepMS)
	if t.WorstLaneLatenessUS != nil && (g.WorstLaneLatenessUS == nil || *t.WorstLaneLatenessUS > *g.WorstLaneLatenessUS) {
		g.WorstLaneLatenessUS = t.WorstLaneLatenessUS
	}
}

func (m *merging) audit(t *result.Audit) {
	a := &m.sum.Audit
	if a.Enabled = a.Enabled && t.Enabled; t.Why != "" {
		a.Why = t.Why
	}
	a.AcknowledgedWrites += t.AcknowledgedWrites
	a.Lost += t.Lost
	a.StaleReads += t.StaleReads
	a.Corrupt += t.Corrupt
	a.FalseNotFound += t.FalseNotFound
	a.InDoubtWrites += t.InDoubtWrites
	a.KeysWritten += t.KeysWritten
	a.ReadBack += t.ReadBack
	a.ReadBackFailed += t.ReadBackFailed
	a.StaleAgeMaxMS = max(a.StaleAgeMaxMS, t.StaleAgeMaxMS)
}

// add adds the shards' seconds, one operation after the other.
func (m *merging) add() error {
	for _, r := range m.runs {
		for _, x := range r.Series {
			k := rowKey{x.TSec, x.Op}
			if m.rows[k] == nil {
				m.rows[k] = &result.SeriesRow{TSec: x.TSec, Op: x.Op}
			}
			y := m.rows[k]
			y.Offered += x.Offered
			y.OK += x.OK
			y.Failed += x.Failed
			y.InDoubt += x.InDoubt
			y.NotFound += x.NotFound
			y.StagesAsked += max(x.StagesAsked, 0)
			y.StagesAnswered += max(x.StagesAnswered, 0)
		}
	}
	names := map[string]bool{}
	for _, r := range m.runs {
		for name := range r.Summary.Operations {
			names[name] = true
		}
	}
	for _, op := range slices.Sorted(maps.Keys(names)) {
		if err := m.operation(op); err != nil {
			return err
		}
	}
	return nil
}

// operation merges one operation's three logs, each second after the other, so
// that only one second of each shard is in memory.
func (m *merging) operation(op string) error {
	var sums [len(result.Kinds)]*hdr.Histogram
	out := result.Operation{}
	for _, r := range m.runs {
		t := r.Summary.Operations[op]
		out.Count += t.Count
		out.OK += t.OK
		out.Failed += t.Failed
		out.InDoubt += t.InDoubt
		out.NotFound += t.NotFound
	}
	infinite := out.Count
	for k, kind := range result.Kinds {
		sums[k] = result.NewHistogram()
		err := mergeLogs(m.runs, op, kind, func(sec int, h *hdr.Histogram) {
			sums[k].Merge(h)
			m.second(op, kind, sec, h)
		})
		if err != nil {
			return err
		}
		m.total[k].Merge(sums[k])
	}
	infinite -= sums[0].TotalCount()
	m.infin += infinite
	out.Response, out.Service, out.Lateness = result.Summarize(sums[0], infinite), result.Summarize(sums[1], out.Failed+out.InDoubt), result.Summarize(sums[2], 0)
	out.Response.Boot95 = m.all[op].Percentiles(0, int(math.Ceil(m.sum.DurationSec))+1).Boot95
	m.sum.Operations[op] = out
	return nil
}

// second writes one merged second and its percentiles.
func (m *merging) second(op string, kind result.Kind, sec int, h *hdr.Histogram) {
	from := m.sum.MeasuredFrom.Add(time.Duration(sec) * time.Second)
	m.w.Interval(op, kind, h, from, from.Add(time.Second))
	row := m.rows[rowKey{sec, op}]
	if row == nil {
		row = &result.SeriesRow{TSec: sec, Op: op}
		m.rows[rowKey{sec, op}] = row
	}
	at := func(infinite int64, p float64) float64 {
		ns, ok := result.Quantile(h, infinite, p)
		if !ok {
			return math.NaN()
		}
		return ns / 1000
	}
	infinite := row.Failed + row.InDoubt
	switch kind {
	case result.Response:
		row.ResponseP50US, row.ResponseP90US, row.ResponseP99US, row.ResponseMaxUS = at(infinite, .5), at(infinite, .9), at(infinite, .99), at(infinite, 1)
		for _, name := range []string{op, drive.AllOps} {
			if m.all[name] == nil {
				m.all[name] = &proof.Blocks{}
			}
			m.all[name].Add(sec, h, infinite)
		}
	case result.Service:
		row.ServiceP99US = at(infinite, .99)
	case result.Lateness:
		row.LatenessP99US = at(0, .99)
	}
}

// finish writes what depends on the sums.
func (m *merging) finish(missing int) {
	s := &m.sum
	keys := slices.SortedFunc(maps.Keys(m.rows), func(a, b rowKey) int { return cmp.Or(cmp.Compare(a.sec, b.sec), cmp.Compare(a.op, b.op)) })
	for _, k := range keys {
		m.w.Series(*m.rows[k])
	}
	s.All = result.Operation{}
	for _, op := range s.Operations {
		s.All.Count += op.Count
		s.All.OK += op.OK
		s.All.Failed += op.Failed
		s.All.InDoubt += op.InDoubt
		s.All.NotFound += op.NotFound
	}
	s.All.Response, s.All.Service, s.All.Lateness = result.Summarize(m.total[0], m.infin), result.Summarize(m.total[1], s.All.Failed+s.All.InDoubt),
		result.Summarize(m.total[2], 0)
	s.Generator.Lateness = s.All.Lateness
	if s.OfferedOpsPerSec > 0 && s.Loop == "open" {
		s.Generator.CouldOverOffered = number(s.Generator.CouldOpsPerSec / s.OfferedOpsPerSec)
	}
	if missing > 0 {
		s.Verdicts = append(s.Verdicts, result.Verdict{Rule: "SHARD", Level: result.Fail, Text: fmt.Sprintf("%d of %d shards are missing: rates are too low, percentiles those of a part",
			missing, m.runs[0].Summary.Shard.Of)})
	}
	m.events()
	m.w.Summary(s)
}

// events joins the shards' events and takes the nodes' samples of the first
// shard that has any: all saw the same nodes.
func (m *merging) events() {
	var list []result.Event
	nodes := false
	for _, r := range m.runs {
		shift := r.Summary.MeasuredFrom.Sub(m.sum.MeasuredFrom).Seconds()
		for _, e := range r.Events {
			if (e.Kind == result.EventView || e.Kind == result.EventMigration) && nodes {
				continue
			}
			if e.TSec += shift; e.Kind == result.EventPhase || e.Kind == result.EventAudit {
				e.What = fmt.Sprintf("shard %d: %s", r.Summary.Shard.Index, e.What)
			}
			list = append(list, e)
		}
		for name, samples := range r.Nodes {
			for _, x := range samples {
				if x.TSec += shift; !nodes {
					m.w.Node(name, x)
				}
			}
		}
		for name, list := range r.Devices {
			for _, x := range list {
				if x.TSec += shift; !nodes {
					m.w.Device(name, x)
				}
			}
		}
		nodes = nodes || len(r.Nodes) > 0
	}
	slices.SortStableFunc(list, func(a, b result.Event) int { return cmp.Compare(a.TSec, b.TSec) })
	for _, e := range list {
		m.w.Event(e)
	}
}
