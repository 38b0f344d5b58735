package migrate

import (
	"slices"

	"headroom/node/partition"
	"headroom/node/planted"
	"headroom/node/record"
	"headroom/node/wire"
)

// queueWanted queues what the duplicate has newer or we lack, and settles the
// conflicts that ours win. Two versions of which neither side knew the other's
// are ordered by their stamps: their regimes only tell which side counted more
// Views.
func (c *Core) queueWanted(j *job, mine, theirs []wire.DigestVersion) {
	other := versions(mine)
	for i := range theirs {
		t := &theirs[i]
		v, ok := other[t.Digest]
		verdict := partition.Newer
		if ok {
			verdict = j.leg.judge(v, t.Version)
		}
		switch {
		case verdict == partition.Newer:
			if !ok || t.Version.Newer(v) {
				j.leg.queue = append(j.leg.queue, t.Digest)
			}
		case t.Version.Later(v):
			j.leg.queue = append(j.leg.queue, t.Digest) // counted when it is here
		default:
			c.outlive(j, lift{t.Digest, v, t.Version, verdict == partition.Conflict})
		}
	}
}

// outlive lets our version of a record win.
func (c *Core) outlive(j *job, l lift) {
	switch {
	case l.ours.Newer(l.theirs):
		c.settled(l)
	case c.store.Waits():
		j.leg.lifts = append(j.leg.lifts, l)
	default:
		m, body, ok := c.store.Get(&l.digest, nil)
		c.lift(l, wire.MigrateRecord{Meta: m, Body: body}, ok)
	}
}

// lift is a conflict that our version of a record wins only when it is given
// the regime of the other one, which was written before it.
type lift struct {
	digest       record.Digest
	ours, theirs record.Version
	conflict     bool // theirs is discarded
}

// lift gives our version the regime, so that it wins everywhere, and counts
// the other as discarded; not if the record has changed since.
func (c *Core) lift(l lift, r wire.MigrateRecord, found bool) {
	if !found || r.Meta.Unreadable || r.Meta.Version != l.ours {
		return
	}
	r.Meta.Lift(l.theirs.Regime)
	if _, _, _, err := c.store.PutNewer(&l.digest, r.Meta, r.Body); err == nil {
		c.settled(l)
	}
}

// settled counts what lost.
func (c *Core) settled(l lift) {
	if l.conflict {
		c.discard(&l.digest, l.theirs)
	}
}

// Sides returns what tells of a version of ours and one of a duplicate, by its
// place in Part.Duplicates, whether they conflict. It is valid after Commit;
// txn goes by it too.
func (c *Core) Sides(pid, duplicate int) *partition.Sides {
	return c.plan.Sides(pid, duplicate, c.report.Lines[pid])
}

// discard counts a version that lost a conflict.
func (c *Core) discard(d *record.Digest, loser record.Version) {
	if planted.Is(planted.ConflictNotCounted) {
		return
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
		if err := c.absorb(j, r); err != nil {
			c.progress.StoreErrors++
			return false
		}
		bytes += recordOverhead + len(r.Body)
	}
	j.leg.queue = j.leg.queue[n:]
	c.progress.RecordsReceived += uint64(len(m.Records))
	c.moved(j, len(m.Records), bytes)
	return true
}

// absorb takes in one record of a duplicate.
func (c *Core) absorb(j *job, r *wire.MigrateRecord) error {
	old, existed := c.store.Meta(&r.Digest)
	verdict := partition.Newer
	if existed {
		verdict = j.leg.judge(old.Version, r.Meta.Version)
	}
	if verdict != partition.Newer {
		if old.Version.Later(r.Meta.Version) { // ours is another than when we asked
			c.outlive(j, lift{r.Digest, old.Version, r.Meta.Version, verdict == partition.Conflict})
			return nil
		}
		r.Meta.Lift(old.Version.Regime) // as in lift
	}
	applied, _, _, err := c.store.PutNewer(&r.Digest, r.Meta, r.Body)
	if err == nil && applied && verdict == partition.Conflict {
		c.discard(&r.Digest, old.Version)
	}
	return err
}
