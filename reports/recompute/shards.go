package recompute

import (
	"fmt"
	"strconv"

	"headroom/loadgen/result"
)

// shards adds up what a merged run takes from the summaries of its shards.
func (c *checker) shards() {
	if !c.merged() {
		return
	}
	s := &c.run.Summary
	var sum result.Summary
	for i, m := range s.Merged {
		t, err := c.run.Shard(m.Index)
		if err != nil {
			if c.newer() {
				c.add(fmt.Sprintf("merged[%d].index", i), strconv.Itoa(m.Index), err.Error(), fmt.Sprintf("shards/%d.json", m.Index), Differs)
			}
			return
		}
		c.shard(i, m, t)
		sum.OfferedOpsPerSec += t.OfferedOpsPerSec
		sum.AchievedOpsPerSec += t.AchievedOpsPerSec
		sum.GoodputOpsPerSec += t.GoodputOpsPerSec
		sum.DurationSec = max(sum.DurationSec, t.DurationSec)
		addAudit(&sum.Audit, &t.Audit)
		addGenerator(&sum.Generator, &t.Generator)
		if i == 0 {
			sum.Faults, sum.Conflicts = t.Faults, t.Conflicts
		}
	}
	const from = "shards/*.json"
	c.number("offered_ops_per_s", s.OfferedOpsPerSec, sum.OfferedOpsPerSec, from)
	c.number("achieved_ops_per_s", s.AchievedOpsPerSec, sum.AchievedOpsPerSec, from)
	c.number("goodput_ops_per_s", s.GoodputOpsPerSec, sum.GoodputOpsPerSec, from)
	c.number("duration_s", s.DurationSec, sum.DurationSec, from)
	c.auditIs(s.Audit, sum.Audit, from)
	for field, v := range map[string]float64{"cost_read_ns": s.Audit.CostReadNS, "cost_write_ns": s.Audit.CostWriteNS, "cost_cpu_pct": s.Audit.CostCPUPct} {
		c.number("audit."+field, v, 0, "each shard's own")
	}
	c.generatorIs(&s.Generator, &sum.Generator, from)
	for i := range min(len(s.Conflicts), len(sum.Conflicts)) {
		c.whole(fmt.Sprintf("conflicts_discarded[%d].discarded", i), s.Conflicts[i].Discarded, sum.Conflicts[i].Discarded, from)
	}
	for i := range min(len(s.Faults), len(sum.Faults)) {
		c.shardFault(fmt.Sprintf("faults[%d].", i), s.Faults[i], sum.Faults[i], from)
	}
}

// shard compares what run.json says of a shard with the shard's own.
func (c *checker) shard(i int, m result.Shard, t *result.Summary) {
	name, from := fmt.Sprintf("merged[%d].", i), fmt.Sprintf("shards/%d.json", m.Index)
	own := result.Shard{}
	if t.Shard != nil {
		own = *t.Shard
	}
	c.whole(name+"index", int64(m.Index), int64(own.Index), from)
	c.whole(name+"of", int64(m.Of), int64(own.Of), from)
	c.pointer(name+"clock_offset_ms", m.ClockOffsetMS, own.ClockOffsetMS, from)
	c.pointer(name+"clock_error_ms", m.ClockErrorMS, own.ClockErrorMS, from)
}

// addGenerator adds shard t to g as a merge does.
func addGenerator(g, t *result.Generator) {
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
	g.StealPct = max(g.StealPct, t.StealPct)
	g.GCCPUPct += t.GCCPUPct
	g.GCPauseMaxUS = max(g.GCPauseMaxUS, t.GCPauseMaxUS)
	g.SchedP99US = max(g.SchedP99US, t.SchedP99US)
	g.WallStepMS = max(g.WallStepMS, t.WallStepMS)
	if x := t.WorstLaneLatenessUS; x != nil && (g.WorstLaneLatenessUS == nil || *x > *g.WorstLaneLatenessUS) {
		g.WorstLaneLatenessUS = x
	}
}

func (c *checker) generatorIs(want, got *result.Generator, from string) {
	numbers := func(g *result.Generator) map[string]float64 {
		return map[string]float64{"lanes": float64(g.Lanes), "gomaxprocs": float64(g.GOMAXPROCS), "in_flight_max": float64(g.InFlightMax),
			"in_flight_peak": float64(g.InFlightPeak), "in_flight_mean": g.InFlightMean, "queued": float64(g.Queued), "shed": float64(g.Shed),
			"loaded_records": float64(g.LoadedRecs), "load_s": g.LoadSec, "could_ops_per_s": g.CouldOpsPerSec, "cpu_pct": g.CPUPct,
			"steal_pct": g.StealPct, "gc_cpu_pct": g.GCCPUPct, "gc_pause_max_us": g.GCPauseMaxUS, "sched_p99_us": g.SchedP99US, "wall_step_ms": g.WallStepMS,
			"in_flight_samples": float64(g.InFlightSamples), "calibrated_ops_per_s": g.CalibratedOpsPerSec}
	}
	b := numbers(got)
	for field, v := range numbers(want) {
		c.number("generator."+field, v, b[field], from)
	}
	c.pointer("generator.worst_lane_lateness_p99_us", want.WorstLaneLatenessUS, got.WorstLaneLatenessUS, from)
	if want.CouldOverOffered != nil {
		c.number("generator.could_over_offered", *want.CouldOverOffered, got.CouldOpsPerSec/max(c.run.Summary.OfferedOpsPerSec, 1e-9), from)
	}
}

func (c *checker) shardFault(name string, want, got result.Fault, from string) {
	c.number(name+"at_s", want.AtSec, got.AtSec, from)
	c.whole(name+"failed", want.Failed, got.Failed, from)
	c.whole(name+"in_doubt", want.InDoubt, got.InDoubt, from)
	c.pointer(name+"gap_ms", want.GapMS, got.GapMS, from)
	c.pointer(name+"one_view_ms", want.OneViewMS, got.OneViewMS, from)
	c.pointer(name+"redundancy_restored_s", want.RedundancyRestoredSec, got.RedundancyRestoredSec, from)
}
