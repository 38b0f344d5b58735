package sim

import (
	"headroom/node/cluster"
	"headroom/node/hlc"
	"headroom/node/plane"
	"headroom/node/record"
	"headroom/node/txn"
)

// ledger knows of each version of each record which one its master replaced by
// it, and so which versions were lost: a copy that held one has now another
// that does not descend from it, or is gone while the master's does not. It sees
// every change of every store, and shares nothing with the nodes' own
// accounting, which it judges: each acknowledged write that was lost is counted
// by one node once, and nothing else is.
//
// A write is known by the id in its body, so applying it again under another
// version is no loss; a tombstone, which has no body, by its version.
type ledger struct {
	d       *Data
	records map[recordOf]*pedigree
	seen    map[counter]uint64
}

// counter is what nodes count by.
type counter struct {
	space int
	cause plane.Cause
}

type recordOf struct {
	space  int
	digest record.Digest
}

// pedigree is what became of the versions of one record.
type pedigree struct {
	names      map[ident]name
	parents    map[name]map[name]bool
	replacedBy map[name]bool // a master knew it and wrote another
	lost       map[name]bool
	counted    map[name]int
	first      map[name]ident // the version under which it was stored first
	again      map[name]bool  // it was stored under another one, too: perhaps on two sides
}

// ident is what stays of a version when a merge lifts it.
type ident struct {
	stamp hlc.Stamp
	node  cluster.NodeID
}

// name is a write, or the version of a tombstone.
type name struct {
	write uint64
	tomb  ident
}

func newLedger(d *Data) *ledger {
	return &ledger{d: d, records: map[recordOf]*pedigree{}, seen: map[counter]uint64{}}
}

func identOf(v record.Version) ident { return ident{v.Stamp, v.Node} }

func (l *ledger) of(space int, d *record.Digest) *pedigree {
	at := recordOf{space, *d}
	p := l.records[at]
	if p == nil {
		p = &pedigree{names: map[ident]name{}, parents: map[name]map[name]bool{}, lost: map[name]bool{}, replacedBy: map[name]bool{}, counted: map[name]int{}, first: map[name]ident{}, again: map[name]bool{}}
		l.records[at] = p
	}
	return p
}

// name tells which write a stored version is.
func (p *pedigree) name(m *record.Meta, body []byte) name {
	n := name{tomb: identOf(m.Version)}
	if !m.Tombstone {
		n = name{write: writeOf(body)}
	}
	id := identOf(m.Version)
	p.names[id] = n
	if was, ok := p.first[n]; !ok {
		p.first[n] = id
	} else if was != id {
		p.again[n] = true
	}
	return n
}

// wrote notes that a master replaces old by its own write.
func (p *pedigree) wrote(n, old name) {
	if n == old {
		return
	}
	p.replacedBy[old] = true
	if p.parents[n] == nil {
		p.parents[n] = map[name]bool{}
	}
	p.parents[n][old] = true
}

// replaced notes that a copy of old is now one of n, or gone while the master
// has n.
func (p *pedigree) replaced(n, old name) {
	if !p.descends(n, old) {
		p.lost[old] = true
	}
}

func (p *pedigree) descends(n, from name) bool {
	seen := map[name]bool{}
	var up func(n name) bool
	up = func(n name) bool {
		if n == from {
			return true
		}
		if seen[n] {
			return false
		}
		seen[n] = true
		for o := range p.parents[n] {
			if up(o) {
				return true
			}
		}
		return false
	}
	return up(n)
}

// counts notes that a node has counted a version as discarded.
func (l *ledger) counts(space int, d record.Digest, v record.Version, c plane.Cause) {
	p := l.of(space, &d)
	p.counted[p.names[identOf(v)]]++
	l.seen[counter{space, c}]++
}

// dropping notes what is lost with a copy that a node drops: the final master
// of its View has what is left.
func (l *ledger) dropping(s *space, pid int) {
	v := s.a.view
	if v == nil || s.Committed() == nil {
		return
	}
	final := l.d.W.Node(v.Members[s.part(pid).Final].Node)
	if !final.Up || final.ID == s.a.n.ID {
		return
	}
	for _, k := range l.d.keys {
		if k.space != s.id || k.pid() != pid {
			continue
		}
		p := l.of(s.id, &k.digest)
		old, b, ok := s.store.Get(&k.digest, nil)
		if !ok {
			continue
		}
		n := name{}
		if m, b, ok := final.App.(*app).spaces[s.id].store.Get(&k.digest, nil); ok {
			n = p.name(&m, b)
		}
		p.replaced(n, p.name(&old, b))
	}
}

// check asserts that each acknowledged write that was lost was counted, and, if
// nothing interrupted a merge, that it was once and nothing else was. A write that
// its client sent more than once, or that ran again after a View change, may
// have been applied on two sides, and then be lost on one of them.
func (l *ledger) check(interrupted bool) {
	l.checkCounters()
	for _, k := range l.d.keys {
		p := l.records[recordOf{k.space, k.digest}]
		if p == nil {
			continue
		}
		for _, w := range k.writes {
			n := name{write: w.id}
			lost, counted := p.lost[n], p.counted[n]
			missed := lost && w.acked && !p.replacedBy[n] && counted == 0
			wrong := !interrupted && (counted > 1 || !lost && !p.again[n] && counted > 0)
			if w.sent <= 1 && !w.absent && (missed || wrong) {
				l.d.W.fail("key %d of partition %d: %v was discarded: %v, and counted %d times", k.index, k.pid(), w, lost, counted)
			}
		}
		for n, times := range p.counted {
			if p.lost[n] || p.again[n] {
				l.d.Stats.Discarded++
			}
			l.d.Stats.Counted += uint64(times)
		}
	}
}

// checkCounters asserts that the nodes' counters, by namespace and cause, say
// what the ledger was told.
func (l *ledger) checkCounters() {
	said := map[counter]uint64{}
	for _, n := range l.d.W.Nodes {
		if !n.Up {
			continue
		}
		for i, s := range n.App.(*app).spaces {
			said[counter{i, plane.Merge}] += s.Progress().ConflictsDiscarded
			s.EachShard(func(t txn.Stats) { said[counter{i, plane.Access}] += t.ConflictsDiscarded })
		}
	}
	for i := range l.d.cfg.Spaces {
		for _, c := range []plane.Cause{plane.Merge, plane.Access} {
			if at := (counter{i, c}); said[at] != l.seen[at] {
				l.d.W.fail("namespace %d: %d versions counted as discarded by cause %d, want %d", i, said[at], c, l.seen[at])
			}
		}
	}
}
