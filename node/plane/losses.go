package plane

import (
	"sync"

	"headroom/node/cluster"
	"headroom/node/planted"
	"headroom/node/record"
	"headroom/node/wire"
)

// Cause is what found that a version lost against another side of a split.
type Cause uint8

// The causes.
const (
	Merge  Cause = iota // migration
	Access              // a read or write of the record
	causes
)

// Conflicts is how many versions this node has counted as discarded, by cause,
// and how many of those it took back since. Both only grow.
type Conflicts [causes]struct{ Counted, Back uint64 }

// Of is what stands of a cause.
func (c *Conflicts) Of(x Cause) uint64 { return c[x].Counted - c[x].Back }

// Sum is what stands in all.
func (c *Conflicts) Sum() uint64 { return c.Of(Merge) + c.Of(Access) }

// losses remembers which versions were counted as discarded, and whether by
// this node. Migration and the transaction cores meet the same conflict
// independently, and again after a View change: it counts once. So does the hub
// that follows this node in a merge which was interrupted, on another node;
// therefore each tells the others what it has counted. What another has counted
// is not counted here. Of two that had before they heard of each other, the one
// with the higher id takes it back. A version that a master wrote upon is not
// lost, though lines may not show that it was known (partition.Doubt), and nor is
// one that its master never acknowledged: whoever counted it takes it back when
// that master tells.
type losses struct {
	self cluster.NodeID
	told func(d record.Digest, v record.Version, cause Cause, back bool) // nil: nobody
	mu   sync.Mutex                                                      // taken last: nothing is called under it but told
	seen map[record.DigestVersion]counted
	// log is a ring of what is seen, in the order it came: entry n is at n modulo
	// maxLosses. end is the number of the next one.
	log   []record.DigestVersion
	end   uint64
	sums  Conflicts
	peers map[cluster.NodeID]informed
}

// counted says who counted a version.
type counted uint8

const (
	elsewhere counted = iota // or told not to count
	none                     // it is no loss: this node, its master, knows
	here                     // by the cause counted - here
)

// informed is how far a member knows our log.
type informed struct {
	inc  cluster.Incarnation
	upto uint64
}

// maxLosses bounds what is remembered of a namespace, whoever counted it: about
// 10 MiB. Beyond it the oldest goes, and its repeats count twice.
const maxLosses = 1 << 16

// of returns what a core asks whether a version is to be counted.
func (l *losses) of(c Cause) func(d record.Digest, v record.Version) bool {
	return func(d record.Digest, v record.Version) bool { return l.first(d, v, c) }
}

// first reports whether v has not been counted yet, and remembers that it is
// now.
func (l *losses) first(d record.Digest, v record.Version, c Cause) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := lossOf(d, v)
	if l.hasLocked(k) {
		return false
	}
	l.rememberLocked(k, here+counted(c))
	l.sums[c].Counted++
	if l.told != nil {
		l.told(d, v, c, false)
	}
	return true
}

// lossOf names a version: a merge may give it another regime.
func lossOf(d record.Digest, v record.Version) record.DigestVersion {
	v.Regime, v.Lifted = 0, 0
	return record.DigestVersion{Digest: d, Version: v}
}

func (l *losses) rememberLocked(k record.DigestVersion, c counted) {
	if l.seen == nil {
		l.seen = map[record.DigestVersion]counted{}
	}
	l.seen[k] = c
	if len(l.log) < maxLosses {
		l.log = append(l.log, k)
	} else {
		at := &l.log[l.end%maxLosses]
		delete(l.seen, *at)
		*at = k
	}
	l.end++
}

// noLoss remembers that v is none: this node, a master, has written upon it, or
// never acknowledged it.
func (l *losses) noLoss(d record.Digest, v record.Version) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := lossOf(d, v); !l.hasLocked(k) || l.seen[k] == elsewhere { // who counted it is told
		l.rememberLocked(k, none)
	}
}

func (l *losses) hasLocked(k record.DigestVersion) bool {
	_, ok := l.seen[k]
	return ok
}

// heard takes in what another member has counted, or knows to be none.
func (l *losses) heard(from cluster.NodeID, list []wire.Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range list {
		x := &list[i]
		k := record.DigestVersion{Digest: x.Digest, Version: record.Version{Stamp: x.Stamp, Node: x.Node}}
		c := l.seen[k]
		switch {
		case !l.hasLocked(k):
			l.rememberLocked(k, elsewhere)
		case c >= here && (x.NoLoss || from < l.self && !planted.Is(planted.LossCountedTwice)):
			l.seen[k] = elsewhere
			l.sums[c-here].Back++
			if l.told != nil {
				l.told(k.Digest, k.Version, Cause(c-here), true)
			}
		}
	}
}

// news is what a member does not know that this node has counted or knows to be
// none, as much as one message takes, and where the log goes on behind that.
func (l *losses) news(m *cluster.Member) (list []wire.Loss, upto uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.end - uint64(len(l.log))
	if p := l.peers[m.Node]; p.inc == m.Inc {
		at = max(at, p.upto)
	}
	for ; at < l.end && len(list) < wire.MaxLosses; at++ {
		k := &l.log[at%maxLosses]
		if c := l.seen[*k]; c != elsewhere {
			list = append(list, wire.Loss{Digest: k.Digest, Stamp: k.Version.Stamp, Node: k.Version.Node, NoLoss: c == none})
		}
	}
	if len(list) == 0 {
		l.informedLocked(m.Node, informed{m.Inc, at})
	}
	return list, at
}

// known notes how far a member knows our log.
func (l *losses) known(m *cluster.Member, upto uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.peers[m.Node]; upto <= l.end && (p.inc != m.Inc || p.upto < upto) {
		l.informedLocked(m.Node, informed{m.Inc, upto})
	}
}

// informedLocked forgets all peers when they are more than a cluster has: they
// are told again.
func (l *losses) informedLocked(n cluster.NodeID, p informed) {
	if _, ok := l.peers[n]; l.peers == nil || !ok && len(l.peers) >= 2*cluster.MaxMembers {
		l.peers = map[cluster.NodeID]informed{}
	}
	l.peers[n] = p
}

// Conflicts returns them as of now.
func (p *Plane) Conflicts() Conflicts {
	p.losses.mu.Lock()
	defer p.losses.mu.Unlock()
	return p.losses.sums
}

// News is what member m of the current View is to be told of the versions that
// this node has counted as discarded; nil: nothing. Ask again until LossesKnown
// has come, about as often as every 100 ms.
func (p *Plane) News(m *cluster.Member) *wire.Losses {
	self := p.member(p.self)
	if self == nil {
		return nil
	}
	list, upto := p.losses.news(m)
	if len(list) == 0 {
		return nil
	}
	return &wire.Losses{Namespace: p.id, Inc: self.Inc, Upto: upto, Versions: list}
}

// HeardLosses takes in what a node has counted, and returns the answer that
// goes back to it; false: none yet.
func (p *Plane) HeardLosses(from cluster.NodeID, m *wire.Losses) (wire.LossesKnown, bool) {
	self := p.member(p.self)
	if self == nil {
		return wire.LossesKnown{}, false
	}
	p.losses.heard(from, m.Versions)
	return wire.LossesKnown{Namespace: p.id, Inc: m.Inc, Upto: m.Upto, By: self.Inc}, true
}

// HeardLossesKnown takes in the answer to News; one of or to an earlier process
// says nothing.
func (p *Plane) HeardLossesKnown(from cluster.NodeID, m *wire.LossesKnown) {
	self, peer := p.member(p.self), p.member(from)
	if self != nil && peer != nil && self.Inc == m.Inc && peer.Inc == m.By {
		p.losses.known(peer, m.Upto)
	}
}

// member finds a node in the current View; nil: it is not there.
func (p *Plane) member(n cluster.NodeID) *cluster.Member {
	if c := p.plan.Load(); c != nil {
		if i := c.View.Index(n); i >= 0 {
			return &c.View.Members[i]
		}
	}
	return nil
}
