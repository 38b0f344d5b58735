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
// with the higher id takes it back.
//
// A master tells of versions that are no loss. One that it wrote upon, though
// lines may not show that it was known (partition.Doubt): whoever counted it takes
// it back. And one that it never acknowledged: then what that was written upon
// counts in its place, if the winner's writer did not know that either.
type losses struct {
	self cluster.NodeID
	told func(d record.Digest, v record.Version, cause Cause, back bool) // nil: nobody
	mu   sync.Mutex                                                      // taken last: nothing is called under it but told and a fate's so
	seen map[record.DigestVersion]fate
	// log is a ring of what is seen, in the order it came: entry n is at n modulo
	// maxLosses. end is the number of the next one.
	log   []record.DigestVersion
	end   uint64
	sums  Conflicts
	peers map[cluster.NodeID]informed
}

// fate is what is known of a version.
type fate struct {
	counted
	at   uint64                    // its entry in the log: the last, if it came again
	upon record.Version            // of one that was never acknowledged: what it was written upon
	so   func(record.Version) bool // of one counted here: whether it lost with it
}

// counted says who counted a version.
type counted uint8

const (
	elsewhere counted = iota // or told not to count
	none                     // it is no loss: this node knows, as a master
	here                     // by the cause counted - here
)

// informed is how far a member knows our log.
type informed struct {
	inc  cluster.Incarnation
	upto uint64
}

// maxLosses bounds what is remembered of a namespace, whoever counted it: about
// 16 MiB, and as much again at most for what tells of those counted here whether
// another lost with them. Beyond it the oldest goes, and its repeats count twice.
const maxLosses = 1 << 16

// maxUpon bounds the versions, each written upon the next, that were never
// acknowledged: a client has a few seconds for them.
const maxUpon = 64

// of returns what a core asks whether a version is to be counted.
func (l *losses) of(c Cause) func(d record.Digest, v record.Version, so func(record.Version) bool) bool {
	return func(d record.Digest, v record.Version, so func(record.Version) bool) bool {
		return l.first(d, v, c, so)
	}
}

// first reports whether v, or what is lost in its place, has not been counted
// yet, and remembers that it is now. So tells of versions that v was written upon
// whether they lost with it.
func (l *losses) first(d record.Digest, v record.Version, c Cause, so func(record.Version) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.countLocked(d, v, c, so)
}

func (l *losses) countLocked(d record.Digest, v record.Version, c Cause, so func(record.Version) bool) bool {
	for range maxUpon {
		k := lossOf(d, v)
		x, seen := l.seen[k]
		switch {
		case !seen:
			l.rememberLocked(k, fate{counted: here + counted(c), so: so})
			l.sums[c].Counted++
			l.tellLocked(k, c, false)
			return true
		case x.upon == record.Version{} || !so(x.upon):
			return false
		}
		v = x.upon
	}
	return false
}

func (l *losses) tellLocked(k record.DigestVersion, c Cause, back bool) {
	if l.told != nil {
		l.told(k.Digest, k.Version, c, back)
	}
}

// lossOf names a version: a merge may give it another regime.
func lossOf(d record.Digest, v record.Version) record.DigestVersion {
	v.Regime, v.Lifted = 0, 0
	return record.DigestVersion{Digest: d, Version: v}
}

func (l *losses) rememberLocked(k record.DigestVersion, x fate) {
	if l.seen == nil {
		l.seen = map[record.DigestVersion]fate{}
	}
	x.at = l.end
	l.seen[k] = x
	if len(l.log) < maxLosses {
		l.log = append(l.log, k)
	} else {
		oldest := &l.log[l.end%maxLosses]
		if l.seen[*oldest].at+maxLosses == l.end { // and did not come again
			delete(l.seen, *oldest)
		}
		*oldest = k
	}
	l.end++
}

// noLoss remembers that v is none: this node, a master, has written upon it, or
// never acknowledged it. Then upon is what it was written upon itself.
func (l *losses) noLoss(d record.Digest, v, upon record.Version) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := lossOf(d, v)
	x, seen := l.seen[k]
	if seen && x.counted == none {
		return
	}
	l.rememberLocked(k, fate{counted: none, upon: upon}) // who counted it is told
	l.backLocked(k, x, upon)
}

// backLocked takes back what was counted here, and counts what was lost in its
// place.
func (l *losses) backLocked(k record.DigestVersion, x fate, upon record.Version) {
	if x.counted < here {
		return
	}
	c := Cause(x.counted - here)
	l.sums[c].Back++
	l.tellLocked(k, c, true)
	if upon != (record.Version{}) && x.so(upon) {
		l.countLocked(k.Digest, upon, c, x.so)
	}
}

// heard takes in what another member has counted, or knows to be none.
func (l *losses) heard(from cluster.NodeID, list []wire.Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range list {
		m := &list[i]
		k := record.DigestVersion{Digest: m.Digest, Version: record.Version{Stamp: m.Stamp, Node: m.Node}}
		x, seen := l.seen[k]
		told := fate{counted: elsewhere, at: x.at, upon: m.Upon}
		switch {
		case !seen:
			l.rememberLocked(k, told)
		case x.counted == elsewhere && m.NoLoss:
			l.seen[k] = told
		case x.counted >= here && (m.NoLoss || from < l.self && !planted.Is(planted.LossCountedTwice)):
			l.seen[k] = told
			l.backLocked(k, x, m.Upon)
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
		if x := l.seen[*k]; x.counted != elsewhere && x.at == at {
			list = append(list, wire.Loss{Digest: k.Digest, Stamp: k.Version.Stamp, Node: k.Version.Node, NoLoss: x.counted == none, Upon: x.upon})
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
