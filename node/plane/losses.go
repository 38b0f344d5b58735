package plane

import (
	"sync"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/record"
)

// losses remembers which versions this node has counted as discarded by merges
// that are not over. Migration and the transaction cores meet the same
// conflict independently, and again after a View change; it counts once.
type losses struct {
	mu   sync.Mutex // taken last: nothing is called under it
	seen [cluster.Partitions]map[record.DigestVersion]struct{}
}

// maxLosses bounds what is remembered of one partition, at 48 bytes each;
// beyond it repeats may count twice.
const maxLosses = 1 << 12

// first reports whether v has not been counted yet, and remembers it.
func (l *losses) first(d record.Digest, v record.Version) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := &l.seen[d.Partition()]
	k := record.DigestVersion{Digest: d, Version: v}
	if _, ok := (*seen)[k]; ok {
		return false
	}
	if *seen == nil {
		*seen = map[record.DigestVersion]struct{}{}
	}
	if len(*seen) < maxLosses {
		(*seen)[k] = struct{}{}
	}
	return true
}

// forget drops what is known of partitions that have nothing left to merge.
func (l *losses) forget(parts *[cluster.Partitions]partition.Part) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for pid := range parts {
		if len(parts[pid].Duplicates) == 0 {
			l.seen[pid] = nil
		}
	}
}
