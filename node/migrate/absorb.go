package migrate

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/planted"
	"headroom/node/record"
	"headroom/node/wire"
)

// loss names one version that lost against another when copies were merged.
type loss struct {
	digest  record.Digest
	version record.Version
}

// queueWanted queues what the duplicate has newer or we lack, and settles the
// conflicts that ours win. Two versions of which neither side knew the other's
// are ordered by their stamps: their regimes only tell which side counted more
// Views.
func (c *Core) queueWanted(j *job, mine, theirs []wire.DigestVersion) {
	other := versions(mine)
	for i := range theirs {
		t := &theirs[i]
		v, ok := other[t.Digest]
		switch {
		case !ok || !j.leg.conflicts(v, t.Version):
			if !ok || t.Version.Newer(v) {
				j.leg.queue = append(j.leg.queue, t.Digest)
			}
		case t.Version.Later(v):
			j.leg.queue = append(j.leg.queue, t.Digest) // counted when it is here
		case v.Newer(t.Version):
			c.discard(j, &t.Digest, t.Version)
		case c.store.Waits():
			j.leg.lifts = append(j.leg.lifts, lift{t.Digest, v, t.Version})
		default:
			m, body, ok := c.store.Get(&t.Digest, nil)
			c.lift(j, lift{t.Digest, v, t.Version}, wire.MigrateRecord{Meta: m, Body: body}, ok)
		}
	}
}

// conflicts reports whether two versions were written on the two sides of a
// split, after they parted and before their merge began.
func (l *leg) conflicts(a, b record.Version) bool {
	first, last := min(a.Regime, b.Regime), max(a.Regime, b.Regime)
	same := a.Stamp == b.Stamp && a.Node == b.Node // one write, perhaps lifted on one side
	return !same && uint64(first) > l.parted && uint64(last) < l.began
}

// lift is a conflict that our version of a record wins only when it is given
// the regime of the other one, which was written before it.
type lift struct {
	digest       record.Digest
	ours, theirs record.Version
}

// lift gives our version the regime, so that it wins everywhere, and counts
// the other as discarded; not if the record has changed since.
func (c *Core) lift(j *job, l lift, r wire.MigrateRecord, found bool) {
	if !found || r.Meta.Unreadable || r.Meta.Version != l.ours {
		return
	}
	r.Meta.Version.Regime = l.theirs.Regime
	if _, _, _, err := c.store.PutNewer(&l.digest, r.Meta, r.Body); err == nil {
		c.discard(j, &l.digest, l.theirs)
	}
}

// merger is one duplicate of one partition.
type merger struct {
	pid  uint16
	node cluster.NodeID
}

// lineage is one side of a split, for one partition: the last View of its
// members before they came here. Members of one side may come one after the
// other; what the first brought was merged then.
type lineage struct {
	pid  uint16
	last cluster.ViewKey
}

// maxLineages bounds the remembered sides: a 2|2 split of all partitions needs
// 4096. Beyond it the oldest knowledge goes, and a latecomer's conflicts may
// count too high.
const maxLineages = 8 * cluster.Partitions

// newest is the greatest key of a history, in whatever order it is kept.
func newest(history []cluster.ViewKey) (last cluster.ViewKey) {
	for _, k := range history {
		if last.Less(k) {
			last = k
		}
	}
	return last
}

// noteLineage remembers in which View the side of member m was first merged.
func (c *Core) noteLineage(pid uint16, m uint16, began uint64) {
	if int(m) >= len(c.histories) {
		return
	}
	k := lineage{pid, newest(c.histories[m])}
	if _, ok := c.lineages[k]; ok || k.last.IsZero() {
		return
	}
	if len(c.lineages) >= maxLineages {
		clear(c.lineages)
	}
	c.lineages[k] = began
}

// noteMergers keeps, for each duplicate, the View in which its merge began. A
// View change interrupts merges, and from then on the histories say that both
// sides agree, though some of their records have not met yet. Nodes that are
// away keep their entry.
func (c *Core) noteMergers() {
	old := c.mergers
	c.mergers = map[merger]uint64{}
	for k, began := range old {
		if c.view.Index(k.node) < 0 {
			c.mergers[k] = began
		}
	}
	for pid := range c.plan.Parts {
		part := &c.plan.Parts[pid]
		for _, list := range [2][]uint16{part.Duplicates, part.Represented} {
			for _, m := range list {
				k := merger{uint16(pid), c.view.Members[m].Node}
				c.mergers[k] = c.view.Key.Counter
				if began, ok := old[k]; ok {
					c.mergers[k] = began
				}
				if part.Master == c.self {
					c.noteLineage(uint16(pid), m, c.mergers[k])
				}
			}
		}
	}
}

// ConflictWindow returns the counters between which (both exclusive) the
// regimes of two versions must lie for them to conflict when this node, as
// working master, merges the copy of a duplicate: after the last View that
// both were in, and before the View in which the merge began, because since
// then txn has asked the duplicate before each write and counted what lost.
// It is valid after Commit; txn counts by it too.
func (c *Core) ConflictWindow(pid int, duplicate cluster.NodeID) (parted, began uint64) {
	began = c.view.Key.Counter
	if v, ok := c.mergers[merger{uint16(pid), duplicate}]; ok {
		began = v
	}
	other := c.view.Index(duplicate)
	if other < 0 || max(other, int(c.self)) >= len(c.histories) {
		return 0, began
	}
	if v, ok := c.lineages[lineage{uint16(pid), newest(c.histories[other])}]; ok {
		began = min(began, v)
	}
	before := func(history []cluster.ViewKey) []cluster.ViewKey {
		return slices.DeleteFunc(slices.Clone(history), func(k cluster.ViewKey) bool { return k.Counter >= began })
	}
	return partition.CommonAncestor(before(c.histories[c.self]), before(c.histories[other])).Counter, began
}

// discard counts a version that lost a conflict, once, though other
// duplicates or the same one after a View change show it again.
func (c *Core) discard(j *job, d *record.Digest, loser record.Version) {
	if planted.Is(planted.ConflictNotCounted) {
		return
	}
	seen := c.counted[j.pid]
	if seen == nil {
		seen = map[loss]struct{}{}
		c.counted[j.pid] = seen
	}
	key := loss{*d, loser}
	if _, ok := seen[key]; ok {
		return
	}
	if len(seen) < maxCounted {
		seen[key] = struct{}{}
	}
	if c.cfg.Lost == nil || c.cfg.Lost(*d, loser) {
		c.progress.ConflictsDiscarded++
	}
}

// fetched stores the records that a duplicate sent, in answer to the digests
// of j.asking.
func (c *Core) fetched(j *job, m *wire.Migrate) bool {
	asked := j.asking.Digests
	n := len(asked)
	if m.More { // a full message, cut after its last record
		if len(m.Records) == 0 {
			return false
		}
		n = slices.Index(asked, m.Records[len(m.Records)-1].Digest) + 1
		if n == 0 {
			return false
		}
	}
	bytes := 0
	for i := range m.Records {
		r := &m.Records[i]
		if r.Digest.Partition() != int(j.pid) {
			return false
		}
		old, existed := c.store.Meta(&r.Digest)
		conflict := existed && j.leg.conflicts(old.Version, r.Meta.Version)
		if conflict && old.Version.Newer(r.Meta.Version) && r.Meta.Version.Later(old.Version) {
			r.Meta.Version.Regime = old.Version.Regime // as in lift
		}
		applied, _, _, err := c.store.PutNewer(&r.Digest, r.Meta, r.Body)
		if err != nil {
			c.progress.StoreErrors++
			return false
		}
		if applied && conflict {
			c.discard(j, &r.Digest, old.Version)
		}
		bytes += recordOverhead + len(r.Body)
	}
	j.leg.queue = j.leg.queue[n:]
	c.progress.RecordsReceived += uint64(len(m.Records))
	c.moved(j, len(m.Records), bytes)
	return true
}
