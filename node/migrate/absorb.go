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

// conflict counts loser as a discarded acknowledged version if it and the
// winner were both written after the lineages of hub and duplicate parted. A
// version of this View has been through txn, which asked the duplicate and
// counted what lost then. A loser is counted once, though other duplicates or
// the same one after a View change show it again.
func (c *Core) conflict(j *job, d *record.Digest, loser, winner record.Version) {
	parted := c.ancestor(j.leg.to).Counter
	old := min(loser.Regime, winner.Regime)
	current := max(loser.Regime, winner.Regime)
	if uint64(old) <= parted || uint64(current) >= c.view.Key.Counter {
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

// ancestor is the newest View that this node and the member both were in.
func (c *Core) ancestor(member uint16) cluster.ViewKey {
	if int(max(member, c.self)) >= len(c.histories) {
		return cluster.ViewKey{}
	}
	return partition.CommonAncestor(c.histories[c.self], c.histories[member])
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
