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
			c.outlive(j, lift{digest: t.Digest, by: j.leg.judgement, ours: v, theirs: t.Version, conflict: verdict == partition.Conflict})
		}
	}
}

// outlive lets our version of a record win.
func (c *Core) outlive(j *job, l lift) {
	l.regime = l.theirs.Regime
	if m, ok := c.store.Meta(&l.digest); ok && m.Version == l.ours {
		l.regime = m.LiftFor(l.theirs, l.conflict, c.view.Key.Counter)
	}
	switch {
	case l.regime <= l.ours.Regime:
		c.settled(l)
	case c.store.Waits():
		j.leg.lifts = append(j.leg.lifts, l)
	default:
		m, body, ok := c.store.Get(&l.digest, nil)
		c.lift(l, wire.MigrateRecord{Meta: m, Body: body}, ok)
	}
}

// lift is a conflict that our version of a record wins only, or surely, when it
// is given a higher regime; see record.Meta.LiftFor.
type lift struct {
	digest       record.Digest
	by           *judgement
	ours, theirs record.Version
	regime       uint32
	conflict     bool // theirs is discarded
}

// lift gives our version the regime, if it has not changed since, and counts the
// other as discarded if ours has won.
func (c *Core) lift(l lift, r wire.MigrateRecord, found bool) {
	won := l.ours.Newer(l.theirs)
	if found && !r.Meta.Unreadable && r.Meta.Version == l.ours {
		r.Meta.Lift(l.regime)
		_, _, _, err := c.store.PutNewer(&l.digest, r.Meta, r.Body)
		won = won || err == nil
	}
	if won {
		c.settled(l)
	}
}

// settled counts what lost.
func (c *Core) settled(l lift) {
	if l.conflict {
		c.discard(&l.digest, l.theirs, func(w record.Version) bool { return l.by.judge(l.ours, w) == partition.Conflict })
	}
}

// Sides returns what tells of a version of ours and one of a duplicate, by its
// place in Part.Duplicates, whether they conflict. It is valid after Commit;
// txn goes by it too.
func (c *Core) Sides(pid, duplicate int) *partition.Sides {
	return c.plan.Sides(pid, duplicate, c.report.Lines[pid])
}

// discard counts a version that lost a conflict; so tells whether one that it was
// written upon did, too.
func (c *Core) discard(d *record.Digest, loser record.Version, so func(record.Version) bool) {
	if planted.Is(planted.ConflictNotCounted) {
		return
	}
	if c.cfg.Lost == nil || c.cfg.Lost(*d, loser, so) {
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
			c.outlive(j, lift{digest: r.Digest, by: j.leg.judgement, ours: old.Version, theirs: r.Meta.Version, conflict: verdict == partition.Conflict})
			return nil
		}
		r.Meta.Lift(r.Meta.LiftFor(old.Version, verdict == partition.Conflict, c.view.Key.Counter))
	}
	applied, _, _, err := c.store.PutNewer(&r.Digest, r.Meta, r.Body)
	if err == nil && applied && verdict == partition.Conflict {
		won, by := r.Meta.Version, j.leg.judgement
		c.discard(&r.Digest, old.Version, func(w record.Version) bool { return by.judge(w, won) == partition.Conflict })
	}
	return err
}
