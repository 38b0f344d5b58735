package recompute

import (
	"errors"
	"io"
	"math"
	"sort"
	"strconv"
	"strings"

	"headroom/loadgen/result"
	"headroom/reports/hlog"
)

// generator recomputes what the generator says of itself.
func (c *checker) generator() {
	if c.merged() {
		return // of its shards
	}
	c.metered()
	c.lanes()
	g := c.run.Summary.Generator
	list := c.run.Generator
	if len(list) == 0 || list[0].Looks < 0 {
		c.sampledCPU()
		if c.newer() && len(list) == 0 {
			c.idle()
		}
		return
	}
	const from = "generator.csv"
	var sum result.GeneratorSample
	for _, x := range list {
		sum.InFlightPeak = max(sum.InFlightPeak, x.InFlightPeak)
		sum.Queued += x.Queued
		sum.Shed += x.Shed
		sum.InFlightSec += x.InFlightSec
		sum.LookedSec += x.LookedSec
		sum.Looks += x.Looks
		sum.TargetSec += x.TargetSec
		sum.GCPauseMaxUS = max(sum.GCPauseMaxUS, x.GCPauseMaxUS)
		sum.WallStepMS = max(sum.WallStepMS, x.WallStepMS)
	}
	c.whole("generator.in_flight_peak", int64(g.InFlightPeak), int64(sum.InFlightPeak), from)
	c.whole("generator.queued", g.Queued, sum.Queued, from)
	c.whole("generator.shed", g.Shed, sum.Shed, from)
	c.whole("generator.in_flight_samples", g.InFlightSamples, sum.Looks, from)
	c.close("generator.gc_pause_max_us", g.GCPauseMaxUS, sum.GCPauseMaxUS, 0.00051, from)
	c.close("generator.wall_step_ms", g.WallStepMS, sum.WallStepMS, 0.00051, from)
	mean := 0.0
	if sum.LookedSec > 0 {
		mean = sum.InFlightSec / sum.LookedSec
	}
	c.close("generator.in_flight_mean", g.InFlightMean, mean, 1e-6*max(mean, 1), from)
	if g.LittleResidual != nil && c.run.Summary.DurationSec > 0 {
		law := sum.TargetSec / c.run.Summary.DurationSec
		c.close("generator.little_residual", *g.LittleResidual, (mean-law)/max(mean, law), 1e-6, from)
	}
}

// idle is a generator without seconds of its own: that of a device, or a run in
// which nothing was measured.
func (c *checker) idle() {
	g := c.run.Summary.Generator
	for field, v := range map[string]float64{"in_flight_peak": float64(g.InFlightPeak), "queued": float64(g.Queued), "shed": float64(g.Shed),
		"in_flight_samples": float64(g.InFlightSamples), "gc_pause_max_us": g.GCPauseMaxUS, "wall_step_ms": g.WallStepMS, "in_flight_mean": g.InFlightMean} {
		c.number("generator."+field, v, 0, "no generator.csv")
	}
}

// sampledCPU checks the CPU of an older version's generator against the mean of
// its samples, which is near.
func (c *checker) sampledCPU() {
	g, sum, n := c.run.Summary.Generator, 0.0, 0
	for _, x := range c.run.Generator {
		if x.TSec > 0 && x.TSec < c.run.Summary.DurationSec+0.5 { // not of the read-back
			sum += max(x.CPUPct, 0)
			n++
		}
	}
	if n < 5 {
		return
	}
	state, mean := Differs, sum/float64(n)
	if math.Abs(mean-g.CPUPct) <= 0.25*max(mean, g.CPUPct)+5 {
		state = Within
	}
	c.add("generator.cpu_pct", text(g.CPUPct), "about "+text(math.Round(mean*10)/10), "generator.csv", state)
}

// metered recomputes what was read from counters at both ends of a phase.
func (c *checker) metered() {
	if c.meters == nil {
		return
	}
	const from = "meters.csv"
	s := c.run.Summary
	g := s.Generator
	over := func(what, by string, scale float64) float64 {
		if n := c.meters[by].Diff(); n > 0 {
			return scale * c.meters[what].Diff() / n
		}
		return 0
	}
	c.number("generator.cpu_pct", g.CPUPct, over(result.MeterCPU, result.MeterMeasured, 100), from)
	c.number("generator.gc_cpu_pct", g.GCCPUPct, over(result.MeterGCCPU, result.MeterMeasured, 100), from)
	c.number("generator.steal_pct", g.StealPct, over(result.MeterSteal, result.MeterTicks, 100), from)
	c.number("generator.load_s", g.LoadSec, c.meters[result.MeterLoad].Diff()/1e9, from)
	c.whole("generator.loaded_records", g.LoadedRecs, int64(c.meters[result.MeterLoaded].Diff()), from)
	c.number("generator.calibrated_ops_per_s", g.CalibratedOpsPerSec, over(result.MeterCalibratedOK, result.MeterCalibrated, 1e9), from)
	could := over(result.MeterCouldSent, result.MeterCould, 1e9)
	c.number("generator.could_ops_per_s", g.CouldOpsPerSec, could, from)
	if g.CouldOverOffered != nil && s.OfferedOpsPerSec > 0 {
		c.number("generator.could_over_offered", *g.CouldOverOffered, could/s.OfferedOpsPerSec, from)
	}
	c.close("generator.sched_p99_us", g.SchedP99US, c.schedP99(), 1e-6*g.SchedP99US, from)
	if a := s.Audit; c.newer() {
		read, write := over(result.MeterAuditRead, result.MeterAuditReads, 1), over(result.MeterAuditWrite, result.MeterAuditWrites, 1)
		c.number("audit.cost_read_ns", a.CostReadNS, read, from)
		c.number("audit.cost_write_ns", a.CostWriteNS, write, from)
		cost := 0.0
		if s.DurationSec > 0 {
			cost = 100 * (c.meters[result.MeterReads].Diff()*read + c.meters[result.MeterWrites].Diff()*write) / 1e9 / s.DurationSec
		}
		c.number("audit.cost_cpu_pct", a.CostCPUPct, cost, from)
	}
	if h := s.Shard; h != nil && h.ClockOffsetMS != nil && h.ClockErrorMS != nil {
		c.number("shard.clock_offset_ms", *h.ClockOffsetMS, c.meters[result.MeterClockOffset].Diff()/1e6, from)
		c.number("shard.clock_error_ms", *h.ClockErrorMS, c.meters[result.MeterClockError].Diff()/1e6, from)
	}
}

// schedP99 is the p99 of the scheduling delays, the upper edge of its bucket.
func (c *checker) schedP99() float64 {
	type bucket struct{ us, n float64 }
	var list []bucket
	total := 0.0
	for name, m := range c.meters {
		edge, ok := strings.CutPrefix(name, result.MeterSched)
		us, err := strconv.ParseFloat(edge, 64)
		if !ok || err != nil {
			continue
		}
		list = append(list, bucket{us, m.Diff()})
		total += m.Diff()
	}
	sort.Slice(list, func(i, k int) bool { return list[i].us < list[k].us })
	rank, seen := math.Ceil(0.99*total), 0.0
	for _, b := range list {
		if seen += b.n; seen >= rank {
			return b.us
		}
	}
	return 0
}

// lanes counts the lanes and finds the latest of them.
func (c *checker) lanes() {
	log, err := hlog.Open(result.LanesLog(c.dir))
	if err != nil {
		c.damaged(err)
		return
	}
	defer log.Close()
	n, worst := int64(0), (*float64)(nil)
	for {
		iv, err := log.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.out.Problems = append(c.out.Problems, "lanes.hlog: "+err.Error()+".")
			return
		}
		one := hlog.NewCounts()
		one.Add(iv.Bins)
		if p99 := result.Summarize(one.Histogram(), 0).P99; p99 != nil && (worst == nil || *p99 > *worst) {
			worst = p99
		}
		n++
	}
	c.whole("generator.lanes", int64(c.run.Summary.Generator.Lanes), n, "lanes.hlog")
	c.pointer("generator.worst_lane_lateness_p99_us", c.run.Summary.Generator.WorstLaneLatenessUS, worst, "lanes.hlog")
}
