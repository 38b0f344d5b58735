package verify

import (
	"fmt"
	"math"
	"strings"

	"headroom/planner/model"
	"headroom/planner/plan"
)

// crowded is the share of the machine's CPU beyond which a trial is void: the
// nodes would be late because of each other.
const crowded = 0.9

// cannotRunFewer says why the claim about fewer nodes is not run; empty: it
// is.
func (m *miniature) cannotRunFewer() string {
	switch {
	case m.kind == arithmetic:
		return m.best.WhyNotFewer.Text
	case m.kind == shared:
		return m.card.Emulates
	case m.best.WhyNotFewer.Nodes < 1:
		return "there is no smaller cluster"
	}
	return ""
}

// void reports that the machine, not what was emulated, may have failed.
// Devices say themselves whether they were on time.
func (m *miniature) void(s *seen) bool {
	if m.device != nil {
		return s.offSchedule
	}
	return s.hostUse > crowded
}

func (s *seen) lateWord() string {
	if s.offSchedule {
		return " and its emulated devices were late"
	}
	return ""
}

// judge writes the verdict into the card. fewer is nil when it was not run.
func (m *miniature) judge(card *plan.Verification, enough, fewer *seen) {
	why := m.best.WhyNotFewer
	switch {
	case !enough.Holds && m.void(enough):
		card.Verdict = plan.NotDistinguishable
		card.Text = fmt.Sprintf("%d nodes failed while the machine itself was %.0f %% busy%s: lower the load (--rate) or use a larger machine", enough.Nodes, enough.hostUse*100, enough.lateWord())
	case !enough.Holds && *m.bind.Utilisation > 1-bytesError && enough.ok > nearlyAll*enough.offered:
		card.Verdict = plan.NotDistinguishable
		card.Text = fmt.Sprintf("%d nodes were late, but the plan has them at %.0f %% of the limit, inside the model's interval: %s", enough.Nodes, *m.bind.Utilisation*100, enough.Why)
	case !enough.Holds:
		card.Verdict = plan.Refuted
		card.Text = fmt.Sprintf("%d nodes, which the plan says are enough, failed: %s", enough.Nodes, enough.Why)
	case m.kind == arithmetic:
		card.Verdict, card.ByArithmetic = plan.Confirmed, true
		card.Text = fmt.Sprintf("%d nodes held. By arithmetic, not run: %s", enough.Nodes, why.Text)
	case fewer == nil:
		card.Verdict = plan.NotDistinguishable
		card.Text = fmt.Sprintf("%d nodes held. Whether %d fail by %s cannot be told here: all nodes of one machine share it", enough.Nodes, why.Nodes, why.Resource)
	case !fewer.Holds && m.void(fewer) && (m.device != nil || fewer.hostUse > enough.hostUse+busier):
		card.Verdict = plan.NotDistinguishable
		card.Text = fmt.Sprintf("%d nodes held and %d failed, but while the machine itself was %.0f %% busy%s: lower the load (--rate) or use a larger machine", enough.Nodes, fewer.Nodes, fewer.hostUse*100, fewer.lateWord())
	case !fewer.Holds:
		card.Verdict = plan.Confirmed
		card.Text = fmt.Sprintf("%d nodes held and %d failed in the state that binds (%s, %s): %s", enough.Nodes, fewer.Nodes, why.State, why.Resource, fewer.Why)
	case m.byDraws():
		card.Verdict = plan.NotDistinguishable
		card.Text = fmt.Sprintf("%d nodes held, and so did %d: the plan has them fail in %.0f %% of its draws only, and the miniature runs at the medians of its inputs", enough.Nodes, fewer.Nodes, why.Failing*100)
	case m.unseen():
		card.Verdict = plan.NotDistinguishable
		card.Text = fmt.Sprintf("%d nodes held, and so did %d: slowed down %.0f times, a queue before devices at %.0f %% of what they carry does not grow past the limit in the %v that were watched; raise --rate or --phase",
			enough.Nodes, fewer.Nodes, m.device.dilation, m.over*100, m.after())
	case m.insideInterval():
		card.Verdict = plan.NotDistinguishable
		card.Text = fmt.Sprintf("%d nodes held, and so did %d; the plan has them at %.0f %% of the limit, inside the model's interval", enough.Nodes, fewer.Nodes, m.over*100)
	default:
		card.Verdict = plan.Refuted
		card.Text = fmt.Sprintf("%d nodes held although the plan has them at %.0f %% of the limit: %d are more than are needed", fewer.Nodes, m.over*100, enough.Nodes)
	}
}

// busier is how much busier a machine must have been with fewer nodes to be the
// reason of their failure, if more held on it.
const busier = 0.05

// nearlyAll of the operations succeed where nodes are late and no more.
const nearlyAll = 0.98

// unseen reports that overloaded devices could hold all the same: their queue
// grows by the excess of every second, and was not watched for long enough to
// be half as long again as what counts as late.
func (m *miniature) unseen() bool {
	if m.kind != devices || m.fail == 0 || latencyBound(m.bind.Resource) {
		return false
	}
	limit, _ := m.limits(m.lostState())
	return (m.over-1)*m.after().Seconds() < 1.5*limit
}

// insideInterval reports that the predicted excess of fewer nodes is less than
// the model is uncertain by.
func (m *miniature) insideInterval() bool {
	return m.over-1 < bytesError
}

// bytesError is how far a node's pages may exceed the bytes in them, which the
// plan counts: partly filled pages of some twenty size classes.
const bytesError = 0.05

// compare sets what was predicted for the miniature beside what was measured.
func (m *miniature) compare(s *seen) []plan.Compared {
	healthy, lost := m.bytes(m.best.Nodes, "healthy"), m.bytes(m.best.Nodes, "re_replicated")
	after := "re-replicated"
	if m.leave {
		lost, after = m.bytes(m.best.Nodes, "rolling_restart"), "rolling restart"
	}
	list := []plan.Compared{compared("bytes of the fullest node, healthy", "bytes", healthy, s.used)}
	if m.device != nil {
		list = append(list, m.compareTimes(s)...)
	}
	if m.fail > 0 {
		if !math.IsNaN(s.rebuild) {
			list = append(list, compared("bytes of the fullest node, "+after, "bytes", lost, s.usedAfter))
		}
		list = append(list, compared("partitions unavailable", "", float64(m.spread(m.best.Nodes, "nodes_lost").Unavailable), float64(s.unavailable)))
		if v := m.rebuild(m.best.Nodes); v > 0 && v < m.after().Seconds() { // else it is not watched to its end
			list = append(list, compared("full redundancy after the loss", "s", v, s.rebuild))
		}
	}
	return list
}

func compared(name, unit string, predicted, measured float64) plan.Compared {
	c := plan.Compared{Name: name, Unit: unit, Predicted: finite(predicted), Measured: finite(measured)}
	switch {
	case c.Predicted == nil || c.Measured == nil:
	case measured != 0:
		c.Error = finite(predicted/measured - 1)
	case predicted == 0:
		c.Error = finite(0)
	}
	return c
}

func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// Widen raises a model's errors to what a verification found, so that later
// plans have wider intervals.
func Widen(m *model.Model, c *plan.Verification) {
	for _, row := range c.Compared {
		if row.Error == nil {
			continue
		}
		e := min(math.Abs(*row.Error), 1)
		switch row.Unit {
		case "s":
			m.Errors.Rebuild = max(m.Errors.Rebuild, e)
		case "bytes":
			m.Errors.Bytes = max(m.Errors.Bytes, e)
		case "ms":
			if strings.HasPrefix(row.Name, meanRead) {
				m.Errors.Mean = max(m.Errors.Mean, e)
			}
			if strings.HasPrefix(row.Name, tailRead) {
				m.Errors.P99 = max(m.Errors.P99, e)
			}
		}
	}
}
