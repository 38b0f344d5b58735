package sample

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"headroom/loadgen/proof"
	"headroom/loadgen/result"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// The run that Complete makes.
const (
	completeSeconds = 24
	completeRate    = 60 // gets a second, and half as many puts
	completeWarmup  = 2.0
)

// complete is a run of which everything is known, so that its summary and its
// raw files say the same.
type complete struct {
	w      *result.Writer
	rnd    *rand.Rand
	zero   time.Time
	s      result.Summary
	sums   map[string]map[result.Kind]*hdr.Histogram // "" is all operations
	blocks map[string]*proof.Blocks
	second []proof.Second
	busy   float64
}

// Complete writes a run into dir that has every number a run.json of one
// generator can have, each as its raw files have it. Write is for looks, this is
// for what is to be recomputed.
func Complete(dir string) error {
	c, err := begin(dir)
	if err != nil {
		return err
	}
	c.operations()
	c.limits()
	c.fault()
	c.audit()
	c.meters()
	c.use()
	return c.end()
}

// Merged writes a run that was merged from two shards, as Complete does.
func Merged(dir string) error {
	c, err := begin(dir)
	if err != nil {
		return err
	}
	c.operations()
	c.s.All.Response.Boot95 = nil
	merge(c)
	return c.end()
}

// begin makes the folder and writes its seconds.
func begin(dir string) (*complete, error) {
	w, err := result.Create(dir)
	if err != nil {
		return nil, err
	}
	c := &complete{w: w, rnd: rand.New(rand.NewPCG(4, 2)), zero: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		sums: map[string]map[result.Kind]*hdr.Histogram{}, blocks: map[string]*proof.Blocks{}}
	c.s = summary(c.zero)
	workload := []byte("name: ycsb-a\n")
	w.Workload(workload)
	w.Environment(&result.Environment{Kernel: "6.18.5", Cores: 4, GOOS: "linux", GOARCH: "amd64"})
	c.s.Workload = result.Workload{Name: "ycsb-a", SHA256: fmt.Sprintf("%x", sha256.Sum256(workload))}
	c.s.ID, c.s.DurationSec, c.s.Faults, c.s.Audit = "complete", completeSeconds, nil, result.Audit{Enabled: true}
	c.s.Generator = result.Generator{Seed: 7, InFlightMax: 1024, WarmupSec: completeWarmup, DeadlineMS: 2000, LocalNodes: 2, GOMAXPROCS: 2, ThinkMS: 3}
	c.s.Device = &result.Device{Spec: "emulated:nvme@20", Dilation: 20}
	for t := range completeSeconds {
		c.tick(t)
	}
	return c, nil
}

func (c *complete) end() error {
	c.s.Stages = stages(c.w, c.rnd)
	for op, x := range c.s.Stages.Operations { // as series.csv has them
		x.Asked, x.Answered = completeSeconds*stagesAsked(op), completeSeconds*stagesAnswered(op)
		c.s.Stages.Operations[op] = x
	}
	c.w.Summary(&c.s)
	return c.w.Close()
}

// merge makes the run one of two shards.
func merge(c *complete) {
	s, g, worst := &c.s, &c.s.Generator, 700.0
	s.GoodputOpsPerSec = s.AchievedOpsPerSec
	lateness := g.Lateness
	*g = result.Generator{Seed: 7, WarmupSec: completeWarmup, DeadlineMS: 2000}
	one := result.Generator{Lanes: 1, GOMAXPROCS: 1, InFlightMax: 512, InFlightPeak: 3, InFlightMean: 0.75, Queued: 4, Shed: 5, LoadedRecs: 500, LoadSec: 2,
		CouldOpsPerSec: 5e4, CPUPct: 20, GCCPUPct: 1, StealPct: 0.25, GCPauseMaxUS: 90, SchedP99US: 40.96, WallStepMS: 1.5, WorstLaneLatenessUS: &worst}
	for i := range 2 {
		offset, within := float64(i)-0.5, 0.125
		shard := result.Shard{ID: fmt.Sprint("shard", i), Index: i, Of: 2, ClockSource: "target", ClockOffsetMS: &offset, ClockErrorMS: &within}
		s.Merged = append(s.Merged, shard)
		t := result.Summary{Format: result.Format, OfferedOpsPerSec: s.OfferedOpsPerSec / 2, AchievedOpsPerSec: s.AchievedOpsPerSec / 2, GoodputOpsPerSec: s.GoodputOpsPerSec / 2,
			DurationSec: s.DurationSec, Generator: one, Shard: &shard, Audit: result.Audit{AcknowledgedWrites: 2000, InDoubtWrites: 1, StaleReads: 2, Corrupt: 3,
				FalseNotFound: 4, Lost: 5, KeysWritten: 400, ReadBack: 390, ReadBackFailed: 10, StaleAgeMaxMS: 17}}
		c.w.Shard(i, &t)
	}
	over := 1e5 / s.OfferedOpsPerSec
	*g = result.Generator{Seed: g.Seed, WarmupSec: g.WarmupSec, DeadlineMS: g.DeadlineMS, Lanes: 2, GOMAXPROCS: 2, InFlightMax: 1024, InFlightPeak: 6, InFlightMean: 1.5,
		Queued: 8, Shed: 10, LoadedRecs: 1000, LoadSec: 2, CouldOpsPerSec: 1e5, CouldOverOffered: &over, CPUPct: 40, GCCPUPct: 2, StealPct: 0.25, GCPauseMaxUS: 90,
		SchedP99US: 40.96, WallStepMS: 1.5, WorstLaneLatenessUS: &worst, Lateness: lateness}
	s.Audit = result.Audit{Enabled: true, AcknowledgedWrites: 4000, InDoubtWrites: 2, StaleReads: 4, Corrupt: 6, FalseNotFound: 8, Lost: 10, KeysWritten: 800, ReadBack: 780,
		ReadBackFailed: 20, StaleAgeMaxMS: 17}
}

func stagesAsked(op string) int64    { return 60 + int64(len(op)) }
func stagesAnswered(op string) int64 { return 58 + int64(len(op)) }

func (c *complete) hist(op string, kind result.Kind) *hdr.Histogram {
	if c.sums[op] == nil {
		c.sums[op], c.blocks[op] = map[result.Kind]*hdr.Histogram{}, &proof.Blocks{}
		for _, k := range result.Kinds {
			c.sums[op][k] = result.NewHistogram()
		}
	}
	return c.sums[op][kind]
}

// tick writes one second of both operations and of the generator.
func (c *complete) tick(t int) {
	all, ok, gone := result.NewHistogram(), int64(0), int64(0)
	from := c.zero.Add(time.Duration(t) * time.Second)
	for i, op := range []string{"get", "put"} {
		n, failed, doubt := int64(completeRate/(i+1)), int64(0), int64(0)
		if t == 18 {
			failed, doubt = int64(2-i), int64(i)
		}
		var h [len(result.Kinds)]*hdr.Histogram
		for k := range h {
			h[k] = result.NewHistogram()
		}
		for range n - failed - doubt {
			service := int64(300e3 * float64(i+1) * math.Exp(0.4*c.rnd.NormFloat64()))
			late := int64(9e3 * math.Exp(0.5*c.rnd.NormFloat64()))
			for k, v := range []int64{service + late, service, late} {
				_ = h[k].RecordValue(v) // far below MaxLatency
			}
			c.busy += float64(service) / 1e9
		}
		for k, kind := range result.Kinds {
			c.hist(op, kind).Merge(h[k])
			c.hist("", kind).Merge(h[k])
			c.w.Interval(op, kind, h[k], from, from.Add(time.Second))
		}
		all.Merge(h[0])
		c.blocks[op].Add(t, h[0], failed+doubt)
		o := c.s.Operations[op]
		o.Count, o.OK, o.Failed, o.InDoubt, o.NotFound = o.Count+n, o.OK+n-failed-doubt, o.Failed+failed, o.InDoubt+doubt, o.NotFound+int64(i)
		c.s.Operations[op] = o
		c.w.Series(result.SeriesRow{TSec: t, Op: op, Offered: n, OK: n - failed - doubt, Failed: failed, InDoubt: doubt, NotFound: int64(i), ResponseP50US: 300,
			StagesAsked: stagesAsked(op), StagesAnswered: stagesAnswered(op)})
		ok, gone = ok+n-failed-doubt, gone+failed+doubt
	}
	c.blocks[""].Add(t, all, gone)
	p99, _ := result.Quantile(all, gone, 0.99)
	c.second = append(c.second, proof.Second{Rate: float64(ok), P99US: p99 / 1000})
	g := &c.s.Generator
	x := result.GeneratorSample{TSec: float64(t + 1), CPUPct: 30, GCPauseMaxUS: float64(10 + t%7), SchedP99US: 5, HostCPUPct: 40, NetBusyPct: 12, NetDropped: int64(t % 2),
		InFlightPeak: 3 + t%5, Queued: int64(t % 3), Shed: int64(t / 23), InFlightSec: 0.2 + 0.01*float64(t%4), LookedSec: 0.1, Looks: 190, TargetSec: c.busy}
	c.busy = 0
	c.w.Generator(x)
	g.GCPauseMaxUS, g.InFlightPeak = max(g.GCPauseMaxUS, x.GCPauseMaxUS), max(g.InFlightPeak, x.InFlightPeak)
	g.Queued, g.Shed, g.InFlightSamples = g.Queued+x.Queued, g.Shed+x.Shed, g.InFlightSamples+x.Looks
	g.InFlightMean += x.InFlightSec / (0.1 * completeSeconds)
	c.s.GoodputOpsPerSec += x.TargetSec // for Little's law; limits sets it
	for n, at := range []float64{0.25, 0.75} {
		c.w.Node(fmt.Sprintf("node%d", n+1), result.NodeSample{TSec: float64(t) + at, Up: true, Members: 2, Masters: 2048, Copies: 4096, CPUPct: float64(40 + 10*n),
			NetBusyPct: 5, DevicePct: 60})
	}
}

func (c *complete) operations() {
	all := result.Operation{}
	describe := func(op string, o *result.Operation) {
		o.Response = result.Summarize(c.hist(op, result.Response), o.Failed+o.InDoubt)
		o.Response.Boot95 = c.blocks[op].Percentiles(0, completeSeconds+1).Boot95
		o.Service, o.Lateness = result.Summarize(c.hist(op, result.Service), o.Failed+o.InDoubt), result.Summarize(c.hist(op, result.Lateness), 0)
	}
	for op, o := range c.s.Operations {
		describe(op, &o)
		c.s.Operations[op] = o
		all.Count, all.OK, all.Failed, all.InDoubt, all.NotFound = all.Count+o.Count, all.OK+o.OK, all.Failed+o.Failed, all.InDoubt+o.InDoubt, all.NotFound+o.NotFound
	}
	describe("", &all)
	c.s.All, c.s.Generator.Lateness = all, all.Lateness
	law := c.s.GoodputOpsPerSec / completeSeconds
	residual := (c.s.Generator.InFlightMean - law) / max(c.s.Generator.InFlightMean, law)
	c.s.Generator.LittleResidual = &residual
	c.s.OfferedOpsPerSec, c.s.AchievedOpsPerSec = float64(all.Count)/completeSeconds, float64(all.OK)/completeSeconds
}

// limits writes an SLO and the steady part.
func (c *complete) limits() {
	l := result.Limit{Percentile: "p90", P: 0.9, LatencyUS: 700}
	beyond := proof.Above(c.hist("", result.Response), 1000*l.LatencyUS) + c.s.All.Failed + c.s.All.InDoubt
	c.s.SLO = []result.LimitTest{{Limit: l, Samples: c.s.All.Count, Beyond: beyond, Outcome: result.Fails}}
	c.s.GoodputOpsPerSec = min(c.s.AchievedOpsPerSec, float64(c.s.All.Count-beyond)/completeSeconds)
	c.s.Steady = proof.Steady(c.second, 16)
	c.s.Steady.Response = map[string]result.Percentiles{}
	for _, op := range []string{"get", "put"} {
		c.s.Steady.Response[op] = c.blocks[op].Percentiles(int(c.s.Steady.FromSec), 16)
	}
	v := float64(completeSeconds)
	c.s.NothingFromSec = &v
}

// fault writes a fault and what the operations around it went through.
func (c *complete) fault() {
	const at = 16.2503
	gap, view, back := 41.5, 130.25, 1.75
	for ms := -900; ms < 4900; ms += 100 {
		x := result.Wait{TSec: math.Floor(at*1000)/1000 + float64(ms)/1000, WorstUS: 900}
		switch ms {
		case 0:
			x.WorstUS = int64(gap * 1000)
		case 100:
			x.Failed, x.InDoubt = 3, 1
		}
		c.w.Wait(x)
	}
	c.w.Wait(result.Wait{TSec: at + 5.01, WorstUS: 1e6, Failed: 9}) // after the window
	c.w.Event(result.Event{TSec: 0, Kind: result.EventPhase, What: "measured phase"})
	c.w.Event(result.Event{TSec: at, Kind: result.EventFault, Node: "node1", What: "kill"})
	c.w.Event(result.Event{TSec: at + view/1000, Kind: result.EventSettled, What: "one view after fault 1, kill node1 node2"})
	c.w.Event(result.Event{TSec: at + back, Kind: result.EventSettled, What: "full redundancy after fault 1, kill node1 node2"})
	c.w.Event(result.Event{TSec: 19, Kind: result.EventAudit, Node: "node2", What: "7 acknowledged versions of namespace default discarded after a split (merge)"})
	c.s.Conflicts = []result.Conflict{{Namespace: "default", Cause: "merge", Discarded: 7}}
	c.s.Faults = []result.Fault{{AtSec: at, What: "kill", Node: "node1 node2", GapMS: &gap, Failed: 3, InDoubt: 1, OneViewMS: &view, RedundancyRestoredSec: &back}}
}

func (c *complete) audit() {
	a := &c.s.Audit
	for t := range completeSeconds {
		x := result.AuditSample{TSec: float64(t + 1), Audit: result.Audit{AcknowledgedWrites: 200, InDoubtWrites: int64(t / 23), StaleReads: int64(t / 22), Corrupt: int64(t / 21),
			FalseNotFound: int64(t / 20), StaleAgeMaxMS: float64(t)}}
		c.w.Audit(x)
		a.AcknowledgedWrites += 200
		a.InDoubtWrites += x.InDoubtWrites
		a.StaleReads += x.StaleReads
		a.Corrupt += x.Corrupt
		a.FalseNotFound += x.FalseNotFound
		a.StaleAgeMaxMS = x.StaleAgeMaxMS
	}
	c.w.Audit(result.AuditSample{TSec: completeSeconds + 2, Audit: result.Audit{Lost: 2, KeysWritten: 900, ReadBack: 890, ReadBackFailed: 10, StaleAgeMaxMS: a.StaleAgeMaxMS}})
	a.Lost, a.KeysWritten, a.ReadBack, a.ReadBackFailed = 2, 900, 890, 10
	for i, v := range []string{result.HistoryFits, result.HistoryFits, result.HistoryViolates, result.HistoryUndecided} {
		c.w.History(result.History{TSec: float64(i), Key: uint64(i / 2), Operations: 100 + i, Verdict: v})
	}
	a.Linear = &result.Linearity{Promised: true, Keys: 2, Windows: 4, Operations: 406, Violations: 1, Undecided: 1}
}

// meters writes the counters and the lanes.
func (c *complete) meters() {
	for name, n := range map[string]int64{result.MeterMeasured: completeSeconds * 1e9, result.MeterCPU: 9e9, result.MeterGCCPU: 6e8, result.MeterTicks: 5000,
		result.MeterSteal: 20, result.MeterLoad: 4e9, result.MeterLoaded: 1000, result.MeterCalibrated: 2e9, result.MeterCalibratedOK: 18000, result.MeterCould: 2e8,
		result.MeterCouldSent: 90_000, result.MeterAuditRead: 400_000, result.MeterAuditReads: 2000, result.MeterAuditWrite: 600_000, result.MeterAuditWrites: 2000,
		result.MeterReads: completeRate * completeSeconds, result.MeterWrites: completeRate * completeSeconds / 2, result.MeterClockOffset: -1_250_000, result.MeterClockError: 90_000,
		result.MeterSched + "1.5": 970, result.MeterSched + "40.96": 29, result.MeterSched + "81.92": 1} {
		c.w.Meter(result.Meter{Name: name, From: 11, To: 11 + n})
	}
	g, offset, within := &c.s.Generator, -1.25, 0.09
	g.CPUPct, g.GCCPUPct, g.StealPct, g.LoadSec, g.LoadedRecs = 100*9.0/completeSeconds, 100*0.6/completeSeconds, 0.4, 4, 1000
	g.CalibratedOpsPerSec, g.CouldOpsPerSec, g.SchedP99US = 9000, 450_000, 40.96
	over := g.CouldOpsPerSec / c.s.OfferedOpsPerSec
	g.CouldOverOffered = &over
	a := &c.s.Audit
	a.CostReadNS, a.CostWriteNS = 200, 300
	a.CostCPUPct = 100 * (completeRate*200 + completeRate/2*300) / 1e9
	c.s.Shard = &result.Shard{Index: 2, Of: 5, ClockSource: "target", ClockOffsetMS: &offset, ClockErrorMS: &within}
	slow := result.NewHistogram()
	slow.Merge(c.hist("", result.Lateness))
	_ = slow.RecordValues(5e6, 1000)
	c.w.Lanes([]*hdr.Histogram{c.hist("", result.Lateness), slow}, c.zero, c.zero.Add(completeSeconds*time.Second))
	g.Lanes, g.WorstLaneLatenessUS = 2, result.Summarize(slow, 0).P99
}

func (c *complete) use() {
	g := &c.s.Generator
	c.s.Use = []result.Use{{Resource: "device", Node: "node1", Utilisation: 0.6}, {Resource: "node-cpu", Node: "node2", Utilisation: 0.25}, {Resource: "network", Node: "node2", Utilisation: 0.05},
		{Resource: "host-buffers", Utilisation: 0.5}, {Resource: "host-cpu", Utilisation: 0.4}, {Resource: "host-network", Utilisation: 0.12},
		{Resource: "generator-cpu", Utilisation: g.CPUPct / 200}, {Resource: "in-flight", Utilisation: float64(g.InFlightPeak) / 1024}}
}
