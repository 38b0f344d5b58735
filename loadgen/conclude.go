package main

import (
	"fmt"
	"slices"

	"headroom/loadgen/drive"
	"headroom/loadgen/result"
	"headroom/workloads/units"
)

// conclude writes into the document what the probes so far say.
func (n *knee) conclude() {
	d := &n.doc
	d.Verdicts = []result.Verdict{}
	d.AnswerOpsPerSec, d.LowOpsPerSec, d.HighOpsPerSec = nil, nil, nil
	d.Response, d.AchievedOverOffered, d.CouldOverOffered = result.Percentiles{}, nil, nil // an earlier answer's
	if n.search == nil {
		return
	}
	d.Confirmed = n.search.Confirmed
	n.at = n.probeAt(n.search.Answer())
	if n.k.during != "" {
		d.ConfirmSec = 0
		if n.at != nil && d.Confirmed {
			d.ConfirmSec = n.at.DurationSec
		}
	}
	if a := n.search.Answer(); a > 0 {
		d.AnswerOpsPerSec = number(a)
	}
	low, high := n.search.Interval()
	if low > 0 {
		d.LowOpsPerSec = number(low)
	}
	if high > 0 {
		d.HighOpsPerSec = number(high)
	}
	if n.at != nil {
		d.Response = n.at.Response
		if n.at.OfferedOpsPerSec > 0 {
			d.AchievedOverOffered = number(n.at.AchievedOpsPerSec / n.at.OfferedOpsPerSec)
			d.CouldOverOffered = number(float64(n.could) / n.at.OfferedOpsPerSec)
		}
	}
	d.Limiting = n.limiting()
	n.judge()
}

// heldOnce reports whether some probe held.
func heldOnce(list []result.Probe) bool {
	return slices.ContainsFunc(list, func(p result.Probe) bool { return p.Outcome == result.Holds })
}

// probeAt is the last probe at the answer that held.
func (n *knee) probeAt(rate float64) *result.Probe {
	for i := len(n.doc.Probes) - 1; i >= 0; i-- {
		if p := &n.doc.Probes[i]; p.RateOpsPerSec-rate < 1 && rate-p.RateOpsPerSec < 1 && p.Phase != result.PhaseDown {
			return p
		}
	}
	return nil
}

// limiting names the busiest resource of the lowest rate that failed.
func (n *knee) limiting() result.Limiting {
	last := result.GeneratorLimited
	if len(n.doc.Probes) > 0 && n.search.Ceiling() && n.over == nil {
		for _, p := range n.doc.Probes {
			if p.Outcome == last {
				return result.Limiting{Resource: "generator", Text: "the generator ended the search, not the target: " + p.Why}
			}
		}
		return result.Limiting{Resource: "unknown", Text: "nothing limited it up to --max"}
	}
	p := n.over
	if p == nil {
		p = n.at
	}
	if p == nil || len(p.Use) == 0 {
		return result.Limiting{Resource: "unknown", Text: "no resource of the target was seen"}
	}
	limit := limitOf(p.Use)
	at := fmt.Sprintf("at %v ", units.Rate(p.RateOpsPerSec))
	if limit.Utilisation != nil {
		limit.Text = at + limit.Text
		return limit
	}
	text := at + limit.Text
	if n.k.during != "" {
		text = fmt.Sprintf("the fault, not a resource: %s", text)
	}
	return result.Limiting{Resource: "unknown", Text: text}
}

// judge adds the verdicts of the whole search.
func (n *knee) judge() {
	d := &n.doc
	add := func(rule string, level result.Level, format string, args ...any) {
		d.Verdicts = append(d.Verdicts, result.Verdict{Rule: rule, Level: level, Text: fmt.Sprintf(format, args...)})
	}
	a := d.Audit
	if bad := a.Lost + a.StaleReads + a.Corrupt + a.FalseNotFound; bad > 0 {
		add("AUDIT", result.Fail, "INVALID: %d lost writes, %d stale reads, %d corrupt values, %d false not-founds", a.Lost, a.StaleReads, a.Corrupt, a.FalseNotFound)
	} else if a.Enabled && a.KeysWritten > 0 {
		add("AUDIT", result.Info, "%d acknowledged writes, none lost; no stale read, no corrupt value, no false not-found (%d of %d written keys were read back)",
			a.AcknowledgedWrites, a.ReadBack, a.KeysWritten)
	}
	switch {
	case len(d.Probes) == 0:
		add("BUDGET", result.Fail, "the budget of %v left no time for a probe", n.k.budget)
	case d.AnswerOpsPerSec == nil:
		text := "no rate held the SLO"
		if heldOnce(d.Probes) {
			text = "no rate was confirmed to hold the SLO: one that held in a probe did not when it was run again"
		}
		add("SLO", result.Fail, "%s", text)
	case n.search.Ceiling() && d.Limiting.Resource == "generator":
		add("GENERATOR-LIMITED", result.Fail, "the knee is above %v: shard the load (--shard)", units.Rate(*d.AnswerOpsPerSec))
	case n.search.Ceiling():
		add("MAX", result.Info, "the SLO held up to --max")
	}
	if d.AnswerOpsPerSec != nil && !d.Confirmed && n.k.confirm > 0 {
		add("R8", result.Warn, "not confirmed by a further run")
	}
	if n.search.Short {
		add("BUDGET", result.Warn, "the budget of %v did not allow all that was left to do", n.k.budget)
	}
	if h := d.Hysteresis; h != nil && h.DownOpsPerSec > 0 && !h.Recovered {
		add("METASTABLE", result.Warn, "after an overload of %v the SLO does not hold at %v, where it held before", units.Rate(h.UpOpsPerSec), units.Rate(h.DownOpsPerSec))
	}
	if n.o.nodes > 0 {
		add("R10", result.Warn, "the generator shares this host with %s: separate machines do more", drive.Nodes(n.o.nodes))
	}
	if d.AnswerOpsPerSec != nil {
		add("R13", result.Info, "the answer and its latencies are of one and the same run")
	}
	if c := d.CouldOverOffered; c != nil && *c < drive.CouldShare {
		add("GENERATOR-LIMITED", result.Warn, "this generator sends only %.2g times the answer to a null target", *c)
	}
}
