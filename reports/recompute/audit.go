package recompute

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"

	"headroom/loadgen/result"
)

// audit adds up what the audit counted, second by second.
func (c *checker) audit() {
	if c.merged() {
		return // of its shards
	}
	a := c.run.Summary.Audit
	list, err := c.run.Audits()
	c.damaged(err)
	if err != nil && (!errors.Is(err, os.ErrNotExist) || a.Enabled || !c.newer()) {
		return
	}
	var sum result.Audit
	for _, x := range list {
		addAudit(&sum, &x.Audit)
	}
	c.auditIs(a, sum, "audit.csv")
	if l := a.Linear; l != nil {
		c.histories(l)
	}
}

// addAudit adds what x counted to a.
func addAudit(a, x *result.Audit) {
	a.AcknowledgedWrites += x.AcknowledgedWrites
	a.InDoubtWrites += x.InDoubtWrites
	a.StaleReads += x.StaleReads
	a.Corrupt += x.Corrupt
	a.FalseNotFound += x.FalseNotFound
	a.Lost += x.Lost
	a.KeysWritten += x.KeysWritten
	a.ReadBack += x.ReadBack
	a.ReadBackFailed += x.ReadBackFailed
	a.StaleAgeMaxMS = max(a.StaleAgeMaxMS, x.StaleAgeMaxMS)
}

func (c *checker) auditIs(want, got result.Audit, from string) {
	for _, x := range []struct {
		field     string
		want, got int64
	}{{"acknowledged_writes", want.AcknowledgedWrites, got.AcknowledgedWrites}, {"in_doubt_writes", want.InDoubtWrites, got.InDoubtWrites},
		{"stale_reads", want.StaleReads, got.StaleReads}, {"corrupt", want.Corrupt, got.Corrupt}, {"false_not_found", want.FalseNotFound, got.FalseNotFound},
		{"lost", want.Lost, got.Lost}, {"keys_written", want.KeysWritten, got.KeysWritten}, {"read_back", want.ReadBack, got.ReadBack},
		{"read_back_failed", want.ReadBackFailed, got.ReadBackFailed}} {
		c.whole("audit."+x.field, x.want, x.got, from)
	}
	c.close("audit.stale_age_max_ms", want.StaleAgeMaxMS, got.StaleAgeMaxMS, 0.00051, from)
}

// histories counts the judged histories.
func (c *checker) histories(l *result.Linearity) {
	list, err := c.run.Histories()
	if c.damaged(err); err != nil && !(c.newer() && errors.Is(err, os.ErrNotExist)) {
		return
	}
	keys, n := map[uint64]bool{}, map[string]int64{}
	operations := int64(0)
	for _, h := range list {
		keys[h.Key] = true
		n[h.Verdict]++
		operations += int64(h.Operations)
	}
	const name, from = "audit.linearizability.", "histories.csv"
	c.whole(name+"keys", int64(l.Keys), int64(len(keys)), from)
	c.whole(name+"windows", int64(l.Windows), int64(len(list)), from)
	c.whole(name+"operations", int64(l.Operations), operations, from)
	c.whole(name+"violations", int64(l.Violations), n[result.HistoryViolates], from)
	c.whole(name+"undecided", int64(l.Undecided), n[result.HistoryUndecided], from)
}

// discardedWords is how events.csv says that versions were discarded.
var discardedWords = regexp.MustCompile(`(\d+) acknowledged versions of namespace (\S+) discarded after a split \((\w+)\)`)

// conflicts adds up the versions that the nodes said they had discarded.
func (c *checker) conflicts() {
	if c.merged() || !c.newer() {
		return // an older version also counted those of earlier runs on the same nodes
	}
	sums := map[[2]string]int64{}
	for _, e := range c.run.Events {
		if e.Kind != result.EventAudit {
			continue
		}
		for _, m := range discardedWords.FindAllStringSubmatch(e.What, -1) {
			n, _ := strconv.ParseInt(m[1], 10, 64) // digits; beyond int64 it is the greatest, and differs
			sums[[2]string{m[2], m[3]}] += n
		}
	}
	for i, x := range c.run.Summary.Conflicts {
		k := [2]string{x.Namespace, x.Cause}
		c.whole(fmt.Sprintf("conflicts_discarded[%d].discarded", i), x.Discarded, sums[k], "events.csv")
		delete(sums, k)
	}
	for k, n := range sums {
		c.add("conflicts_discarded", "nothing", fmt.Sprintf("%d of %s (%s)", n, k[0], k[1]), "events.csv", Differs)
	}
}
