package migrate

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/record"
	"headroom/node/wire"
)

// loss names one version that lost against another when copies were merged.
type loss struct {
	digest  record.Digest
	version record.Version
}

// queueWanted queues what the duplicate has newer or we lack, and counts
// those of its versions that lose against ours.
func (c *Core) queueWanted(j *job, mine, theirs []wire.DigestVersion) {
	j.leg.queue = appendNewer(j.leg.queue, theirs, mine)
	other := versions(mine)
	for i := range theirs {
		t := &theirs[i]
		if v, ok := other[t.Digest]; ok && v.Newer(t.Version) {
			c.conflict(j, &t.Digest, t.Version, v)
		}
	}
}

// merger is one duplicate of one partition.
type merger struct {
	pid  uint16
	node cluster.NodeID
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
	before := func(history []cluster.ViewKey) []cluster.ViewKey {
		return slices.DeleteFunc(slices.Clone(history), func(k cluster.ViewKey) bool { return k.Counter >= began })
	}
	return partition.CommonAncestor(before(c.histories[c.self]), before(c.histories[other])).Counter, began
}

// conflict counts loser as a discarded acknowledged version if both versions
// are of the window. A loser is counted once, though other duplicates or the
// same one after a View change show it again.
func (c *Core) conflict(j *job, d *record.Digest, loser, winner record.Version) {
	first, last := min(loser.Regime, winner.Regime), max(loser.Regime, winner.Regime)
	if uint64(first) <= j.leg.parted || uint64(last) >= j.leg.began {
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
	c.progress.ConflictsDiscarded++
	if len(seen) < maxCounted {
		seen[key] = struct{}{}
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
		applied, old, existed, err := c.store.PutNewer(&r.Digest, r.Meta, r.Body)
		if err != nil {
			c.progress.StoreErrors++
			return false
		}
		if applied && existed {
			c.conflict(j, &r.Digest, old.Version, r.Meta.Version)
		}
		bytes += recordOverhead + len(r.Body)
	}
	j.leg.queue = j.leg.queue[n:]
	c.progress.RecordsReceived += uint64(len(m.Records))
	c.moved(j, len(m.Records), bytes)
	return true
}
