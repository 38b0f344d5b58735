package migrate

import (
	"math/bits"
	"slices"

	"headroom/node/partition"
	"headroom/node/planted"
	"headroom/node/record"
	"headroom/node/wire"
)

// leg is the exchange with one target of absorbing or filling: compare
// summaries, list the sub-buckets that differ piece by piece, and move what
// one side lacks before listing on.
type leg struct {
	to    uint16
	mask  uint64          // sub-buckets that differ and are not yet compared
	queue []record.Digest // filling: to send; absorbing: to fetch

	*judgement        // absorbing: which versions conflict; nil: none
	lifts      []lift // absorbing: our records to be lifted once they are read

	read    uint64 // the Read under way; zero: none
	blocked bool   // a device did not answer well: read again when the job's timer says so

	// Filling only.
	scan    bool   // the receiver is empty: send everything
	cursor  uint64 // of the scan
	seq     uint32 // of the last Records sent
	unacked []sent // in order of seq
	bytes   int    // of unacked
}

// sent is a Records message that the receiver has not acknowledged.
type sent struct {
	m     *wire.Migrate
	bytes int
}

// beginLeg starts with the target j.at.
func (c *Core) beginLeg(j *job) {
	j.leg = leg{to: j.targets[j.at]}
	if d := j.at - len(j.suspects); j.stage == absorbing && d >= 0 {
		c.takeSides(j, d)
	}
	c.peers[j.leg.to].active++
	c.ask(j, []uint16{j.leg.to}, &wire.Migrate{Step: wire.StepSummaryAsk})
}

// takeSides is how the versions of duplicate d are judged.
func (c *Core) takeSides(j *job, d int) {
	g := &judgement{sides: c.Sides(int(j.pid), d), doubt: c.report.Lines[j.pid].Doubt()}
	for i := range j.part.Duplicates {
		if i != d && g.doubt != nil {
			g.others = append(g.others, c.Sides(int(j.pid), i).Between(g.sides))
		}
	}
	j.leg.judgement = g
}

// judgement tells which versions of a duplicate conflict with ours. It does not
// change.
type judgement struct {
	sides *partition.Sides
	// doubt covers what a request may have brought here from another duplicate,
	// and others are the Sides of each of those and this one.
	doubt  *partition.Doubt
	others []*partition.Sides
}

// judge tells which of our version and the duplicate's wins. Ours may have come
// from a duplicate that has not been absorbed yet, whose descent then counts.
func (g *judgement) judge(ours, theirs record.Version) partition.Verdict {
	if g == nil {
		return partition.Newer
	}
	v := g.sides.Judge(ours, theirs)
	if v == partition.Conflict && g.doubt.Covers(ours) && slices.ContainsFunc(g.others, func(s *partition.Sides) bool { return s.Knew(ours, theirs) }) {
		return partition.Later
	}
	return v
}

// endLeg goes on to the next target or stage. What the next duplicate holds is
// judged by a descent that knows of this one.
func (c *Core) endLeg(j *job) {
	if d := j.at - len(j.suspects); j.stage == absorbing && d >= 0 && !planted.Is(planted.DuplicateNotRemembered) {
		c.report.Lines[j.pid] = c.report.Lines[j.pid].Absorb(j.part.Lines[1+d], c.view.Key)
		c.changes++
	}
	p := &c.peers[j.leg.to]
	p.active--
	p.unacked -= j.leg.bytes
	c.setLeft(j, j.size*int64(j.legsAfter()))
	j.leg = leg{}
	if j.at++; j.at < len(j.targets) {
		c.beginLeg(j)
		return
	}
	c.next(j)
}

// legsAfter counts the legs that follow the current one.
func (j *job) legsAfter() int {
	n := max(len(j.targets)-j.at-1, 0)
	switch j.stage {
	case absorbing:
		return n + max(len(j.part.Replicas)-1, 0)
	case filling:
		return n
	}
	return 0
}

// workOne advances the most urgent leg that can advance, and returns the cost
// in records, zero if none can.
func (c *Core) workOne() int {
	for _, j := range c.active {
		if j.asking != nil || j.stage != absorbing && j.stage != filling {
			continue
		}
		if j.leg.read != 0 || j.leg.blocked {
			continue
		}
		if moves := j.leg.scan || len(j.leg.queue) > 0; moves && !c.mayMove(j) {
			continue
		}
		if c.wantsRead(j) && c.legReads >= c.cfg.Reads {
			continue
		}
		return max(c.advance(j), 1)
	}
	return 0
}

// mayMove reports whether budget and window let j move records now.
func (c *Core) mayMove(j *job) bool {
	return c.limit.open(c.now) && (j.stage == absorbing || c.peers[j.leg.to].unacked < c.cfg.Window)
}

// advance does the next step of a leg that waits for no answer.
func (c *Core) advance(j *job) int {
	l := &j.leg
	to := []uint16{l.to}
	switch {
	case j.stage == filling && len(l.queue) > 0:
		return c.sendQueue(j)
	case j.stage == filling && l.scan:
		return c.sendScan(j)
	case len(l.queue) > 0:
		c.ask(j, to, &wire.Migrate{Step: wire.StepFetch, Digests: l.queue[:min(len(l.queue), sliceRecords)]})
	case len(l.lifts) > 0:
		return c.readLifts(j)
	case l.mask != 0:
		c.ask(j, to, &wire.Migrate{Step: wire.StepListAsk, Buckets: l.mask})
	case j.stage == filling:
		// Numbered as the Records after the last: the receiver takes it only if
		// it has applied all before, so it need not wait for Applied.
		c.ask(j, to, &wire.Migrate{Step: wire.StepFilled, Seq: l.seq + 1, Line: string(c.report.Lines[j.pid])})
	default:
		c.endLeg(j)
	}
	return 1
}

// compareSums notes which sub-buckets differ.
func (c *Core) compareSums(j *job, m *wire.Migrate) bool {
	var ours [wire.SubBuckets]uint64
	c.store.Summary(int(j.pid), &ours)
	empty := true
	for i, theirs := range m.Sums {
		empty = empty && theirs == 0
		if theirs != ours[i] {
			j.leg.mask |= 1 << i
		}
	}
	share := j.size * int64(bits.OnesCount64(j.leg.mask)) / wire.SubBuckets
	c.setLeft(j, j.size*int64(j.legsAfter())+share)
	if j.stage == filling && empty && j.leg.mask != 0 {
		j.leg.scan, j.leg.mask = true, 0
	}
	return true
}

// compareList queues what one side lacks in the sub-buckets of a list.
func (c *Core) compareList(j *job, m *wire.Migrate) bool {
	covered := m.Buckets & j.leg.mask
	if covered == 0 || covered != m.Buckets {
		return false
	}
	c.mine = c.mine[:0]
	for b := range wire.SubBuckets {
		if covered>>b&1 != 0 {
			c.mine = c.store.ListBucket(int(j.pid), b, c.mine)
		}
	}
	j.leg.mask &^= covered
	if j.stage == absorbing {
		c.queueWanted(j, c.mine, m.Versions)
	} else {
		j.leg.queue = appendNewer(j.leg.queue, c.mine, m.Versions)
	}
	return true
}

// appendNewer appends the digests of a that b lacks or has older.
func appendNewer(dst []record.Digest, a, b []wire.DigestVersion) []record.Digest {
	other := versions(b)
	for i := range a {
		if v, ok := other[a[i].Digest]; !ok || a[i].Version.Newer(v) {
			dst = append(dst, a[i].Digest)
		}
	}
	return dst
}

func versions(list []wire.DigestVersion) map[record.Digest]record.Version {
	m := make(map[record.Digest]record.Version, len(list))
	for i := range list {
		m[list[i].Digest] = list[i].Version
	}
	return m
}
