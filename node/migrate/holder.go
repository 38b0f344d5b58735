package migrate

import (
	"math/bits"
	"slices"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/planted"
	"headroom/node/wire"
)

// question answers one of the hub's or the final master's steps, or returns
// false if roles or states do not allow it.
func (c *Core) question(from uint16, m *wire.Migrate) bool {
	part := &c.plan.Parts[m.Partition]
	fromHub := part.Available && from == part.Master && from != c.self
	written := slices.Contains(part.WriteSet, c.self)
	switch m.Step {
	case wire.StepSummaryAsk, wire.StepListAsk, wire.StepFetch:
		if fromHub && (written || slices.Contains(part.Duplicates, c.self)) {
			c.tell(from, m)
			return true
		}
	case wire.StepRecords:
		return fromHub && written && c.apply(from, m)
	case wire.StepFilled:
		return fromHub && written && c.filled(from, m)
	case wire.StepAbsorbed:
		return fromHub && c.absorbed(from, m)
	case wire.StepHandoff:
		return fromHub && part.Final == c.self && c.takeOver(from, m)
	case wire.StepMastered:
		return part.Available && from == part.Final && from != c.self && c.mastered(from, m)
	case wire.StepKeep:
		return part.Available && from == part.Final && slices.Contains(part.Replicas, c.self) && c.keep(from, m)
	case wire.StepAllDone:
		return part.Available && from == part.Final && !slices.Contains(part.Replicas, c.self) && c.allDone(from, m)
	}
	return false
}

// done answers a step that changes state; the caller has made the change.
func (c *Core) done(to uint16, m *wire.Migrate) {
	c.send(to, m.Partition, &wire.Migrate{Step: wire.StepDone, Answers: m.Step, Seq: m.Seq})
}

// tell answers a question about what our copy holds.
func (c *Core) tell(to uint16, m *wire.Migrate) {
	switch m.Step {
	case wire.StepSummaryAsk:
		a := &wire.Migrate{Step: wire.StepSummary, Seq: m.Seq}
		c.store.Summary(int(m.Partition), &a.Sums)
		c.send(to, m.Partition, a)
	case wire.StepListAsk:
		c.list(to, m)
	case wire.StepFetch:
		if c.store.Waits() {
			c.readAnswer(to, m)
			return
		}
		b := newBatch(min(len(m.Digests), sliceRecords))
		n := c.read(&b, m.Digests)
		c.send(to, m.Partition, &wire.Migrate{Step: wire.StepRecords, Seq: m.Seq, Records: b.records, More: n < len(m.Digests)})
	}
}

// list answers with as many of the sub-buckets asked for as fit, at least one;
// the hub asks for the rest. A sub-bucket beyond wire.MaxList stays
// unanswered: that is 4 billion records in the namespace.
func (c *Core) list(to uint16, m *wire.Migrate) {
	a := &wire.Migrate{Step: wire.StepList, Seq: m.Seq}
	for rest := m.Buckets; rest != 0 && len(a.Versions) < listTarget; {
		b := bits.TrailingZeros64(rest)
		rest &^= 1 << b
		before := len(a.Versions)
		a.Versions = c.store.ListBucket(int(m.Partition), b, a.Versions)
		if len(a.Versions) > wire.MaxList {
			if before == 0 {
				c.progress.Refused++
				return
			}
			a.Versions = a.Versions[:before]
			break
		}
		a.Buckets |= 1 << b
	}
	a.More = a.Buckets != m.Buckets
	c.send(to, m.Partition, a)
}

// apply stores the records of a fill in the order they were sent: after a
// lost message nothing is applied until it has come again.
func (c *Core) apply(from uint16, m *wire.Migrate) bool {
	got := &c.got[m.Partition]
	anyOrder := planted.Is(planted.FillOutOfOrder) && m.Seq > *got
	if m.Seq > *got+1 && !anyOrder {
		return false
	}
	if m.Seq == *got+1 || anyOrder {
		for i := range m.Records {
			r := &m.Records[i]
			if r.Digest.Partition() != int(m.Partition) {
				return false
			}
			if _, _, _, err := c.store.PutNewer(&r.Digest, r.Meta, r.Body); err != nil {
				c.progress.StoreErrors++
				return false
			}
		}
		*got = m.Seq
		c.progress.RecordsReceived += uint64(len(m.Records))
	}
	c.send(from, m.Partition, &wire.Migrate{Step: wire.StepApplied, Seq: *got})
	return true
}

// filled makes our copy Full if every Records before it has been applied.
func (c *Core) filled(from uint16, m *wire.Migrate) bool {
	pid := int(m.Partition)
	k := c.report.Copies[pid]
	missing := c.got[pid]+1 != m.Seq && !planted.Is(planted.FullTooSoon)
	if missing || k.Key != c.view.Key || k.State == partition.None || k.State == partition.Spare || !partition.Line(m.Line).Valid() {
		return false
	}
	k.State = partition.Full
	c.report.Lines[pid] = partition.Line(m.Line)
	c.changes++
	c.setCopy(pid, k)
	c.done(from, m)
	return true
}

// takeOver makes this node the master of the partition.
func (c *Core) takeOver(from uint16, m *wire.Migrate) bool {
	k := c.report.Copies[m.Partition]
	if k.State != partition.Full || k.Key != c.view.Key {
		return false
	}
	if c.master[m.Partition] != c.self {
		c.setMaster(m.Partition, c.self)
		j := &job{pid: m.Partition, part: &c.plan.Parts[m.Partition], timer: cluster.Never, stage: handing}
		c.start(j)
		c.next(j)
	}
	c.done(from, m)
	return true
}

// mastered notes the new master; to the old one it is as good as the answer
// to its Handoff.
func (c *Core) mastered(from uint16, m *wire.Migrate) bool {
	if c.plan.Parts[m.Partition].Master == c.self {
		j := c.jobs[m.Partition]
		if j != nil && j.stage != handing {
			return false
		}
		if j != nil {
			c.setMaster(m.Partition, from)
			c.next(j)
		}
	}
	c.setMaster(m.Partition, from)
	c.done(from, m)
	return true
}

// allDone removes our copy, which redundancy no longer needs.
func (c *Core) allDone(from uint16, m *wire.Migrate) bool {
	pid := int(m.Partition)
	k := c.report.Copies[pid]
	if hub := c.plan.Parts[pid].Master == c.self; hub && c.master[pid] != from {
		return false // we still serve it
	}
	inSync := k.State == partition.Full && k.Key == c.view.Key
	if k.State != partition.None && k.State != partition.Spare && !inSync {
		return false
	}
	switch {
	case k.State == partition.None:
	case c.cfg.Keeps:
		c.dropLater(from, m)
		return true
	default:
		c.drop(pid)
	}
	c.done(from, m)
	return true
}
