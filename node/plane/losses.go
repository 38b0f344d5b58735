package plane

import (
	"sync"

	"headroom/node/record"
)

// Cause is what found that a version lost against another side of a split.
type Cause uint8

// The causes.
const (
	Merge  Cause = iota // migration
	Access              // a read or write of the record
)

// losses remembers which versions this node has counted as discarded.
// Migration and the transaction cores meet the same conflict independently,
// and again after a View change; it counts once.
type losses struct {
	told  func(d record.Digest, v record.Version, cause Cause) // nil: nobody
	mu    sync.Mutex                                           // taken last: nothing is called under it
	seen  map[record.DigestVersion]struct{}
	order []record.DigestVersion // ring of seen
	next  int
}

// maxLosses bounds what is remembered of a namespace: about 10 MiB. Beyond it
// the oldest goes, and its repeats count twice.
const maxLosses = 1 << 16

// of returns what a core asks whether a version is to be counted.
func (l *losses) of(c Cause) func(d record.Digest, v record.Version) bool {
	return func(d record.Digest, v record.Version) bool {
		first := l.first(d, v)
		if first && l.told != nil {
			l.told(d, v, c)
		}
		return first
	}
}

// first reports whether v has not been counted yet, and remembers it.
func (l *losses) first(d record.Digest, v record.Version) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	v.Regime = 0 // a merge may give it another
	k := record.DigestVersion{Digest: d, Version: v}
	if _, ok := l.seen[k]; ok {
		return false
	}
	if l.seen == nil {
		l.seen = map[record.DigestVersion]struct{}{}
	}
	l.seen[k] = struct{}{}
	if len(l.order) < maxLosses {
		l.order = append(l.order, k)
		return true
	}
	delete(l.seen, l.order[l.next])
	l.order[l.next] = k
	l.next = (l.next + 1) % maxLosses
	return true
}
