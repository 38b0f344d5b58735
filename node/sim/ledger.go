package sim

import (
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/hlc"
	"headroom/node/plane"
	"headroom/node/record"
	"headroom/node/txn"
	"headroom/node/wire"
)

// ledger knows of each version of each record which one its master replaced by
// it, and so which versions were discarded: a copy that held one has now another
// that does not descend from it, or is gone while the master's does not; or a
// master to whose View it came kept another. It sees every change of every
// store, and shares nothing with the nodes' own accounting, which it judges:
// each version that was discarded is counted by one node once, and nothing else
// is.
type ledger struct {
	d       *Data
	records map[recordOf]*pedigree
	sums    map[counter]uint64
	asked   map[asker]errand
}

// asker is where a node's answer to a request goes.
type asker struct {
	conn any
	id   uint64
}

// errand is a request on a node: to write a put, or zero, another write.
type errand struct {
	node  cluster.NodeID
	write uint64
	of    recordOf
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

// pedigree are the versions of one record, in the order they were stored first.
type pedigree struct {
	list []*descent
	of   map[ident]*descent
}

// descent is one version, and what became of it.
type descent struct {
	id      ident
	write   uint64     // the id in its body; zero: a tombstone
	again   bool       // the write was stored under another version, too: its client sent it again, or its master ran it again
	parents []*descent // what masters replaced by it
	lost    bool       // some copy went on without it
	surely  bool       // and without the write under any version
	decided bool       // a master that had it at hand kept another
	counted int        // by how many nodes

	writer       cluster.Incarnation // the process of id.node that wrote it; zero: not seen
	acknowledged bool                // by that, or it may have been
}

// ident is what stays of a version when a merge lifts it.
type ident struct {
	stamp hlc.Stamp
	node  cluster.NodeID
}

func newLedger(d *Data) *ledger {
	return &ledger{d: d, records: map[recordOf]*pedigree{}, sums: map[counter]uint64{}, asked: map[asker]errand{}}
}

func (l *ledger) of(space int, d *record.Digest) *pedigree {
	at := recordOf{space, *d}
	p := l.records[at]
	if p == nil {
		p = &pedigree{of: map[ident]*descent{}}
		l.records[at] = p
	}
	return p
}

// known finds a version that was stored before; nil: it was not.
func (p *pedigree) known(v record.Version) *descent { return p.of[ident{v.Stamp, v.Node}] }

// enter finds a version, which may be new.
func (p *pedigree) enter(m *record.Meta, body []byte) *descent {
	if x := p.known(m.Version); x != nil {
		return x
	}
	x := &descent{id: ident{m.Version.Stamp, m.Version.Node}}
	if !m.Tombstone {
		x.write = writeOf(body)
	}
	for _, o := range p.list {
		if x.same(o) {
			x.again, o.again = true, true
			x.acknowledged = x.acknowledged || o.acknowledged // one that a master goes on with
		}
	}
	p.of[x.id] = x
	p.list = append(p.list, x)
	return x
}

// same reports whether two versions are one write, or one.
func (x *descent) same(o *descent) bool { return x == o || x.write != 0 && x.write == o.write }

// asks notes that a node has been asked to write.
func (l *ledger) asks(s *space, q *txn.Request) {
	e := errand{node: s.a.n.ID, of: recordOf{s.id, q.Digest}}
	if q.Kind == wire.KindPut {
		e.write = writeOf(q.Body)
	}
	l.asked[asker{q.From.Conn, q.From.ID}] = e
}

// answers notes that a node acknowledges a write: under the first version that it
// stored it under, or a later one.
func (l *ledger) answers(s *space, to txn.Origin) {
	at := asker{to.Conn, to.ID}
	e, ok := l.asked[at]
	delete(l.asked, at)
	if !ok {
		return
	}
	p, here := l.of(e.of.space, &e.of.digest), false
	for _, x := range p.list {
		if e.write == 0 || x.write == e.write {
			here = here || x.id.node == s.a.n.ID
			x.acknowledged = x.acknowledged || here
		}
	}
}

// wrote notes that a master replaced old by x.
func (x *descent) wrote(old *descent) {
	x.parents = append(x.parents, old)
}

// adopted reports whether a version that its master has just stored for the first
// time is a write that the former master of the partition gave it: what it
// answers to that is not seen here.
func (l *ledger) adopted(x *descent) bool {
	if !x.again {
		return false
	}
	for _, e := range l.asked {
		if e.node == x.id.node && (e.write == 0 || e.write == x.write) {
			return false
		}
	}
	return true
}

// replaced notes that a copy of old is now one of x, or gone while the master
// has x, which may be nil: nothing. With one that was never acknowledged it has
// lost what that was written upon.
func (p *pedigree) replaced(x, old *descent) {
	if !p.descends(x, old, false) {
		old.lost = true
		for _, o := range old.parents {
			if !old.acknowledged {
				p.replaced(x, o)
			}
		}
	}
	old.surely = old.surely || !p.descends(x, old, true)
}

// upon reports whether a master replaced x by another write, which was
// acknowledged or has survived: what became of that is what counts.
func (p *pedigree) upon(x *descent) bool {
	return slices.ContainsFunc(p.list, func(y *descent) bool {
		return slices.Contains(y.parents, x) && !y.same(x) && (y.acknowledged || !y.surely)
	})
}

// descends reports whether x was written upon old, directly or not; writes says
// that versions of one write count as one.
func (p *pedigree) descends(x, old *descent, writes bool) bool {
	seen := map[*descent]bool{}
	var up func(x *descent) bool
	up = func(x *descent) bool {
		if x == old || writes && x.same(old) {
			return true
		}
		seen[x] = true
		further := func(o *descent) bool { return !seen[o] && up(o) }
		return slices.ContainsFunc(x.parents, further) ||
			writes && x.again && slices.ContainsFunc(p.list, func(o *descent) bool { return x.same(o) && further(o) })
	}
	return x != nil && up(x)
}

// counts notes that a node has counted a version as discarded, or has taken that
// back. Of a master that decided for what it holds the ledger sees for itself
// that there was something to decide.
func (l *ledger) counts(s *space, d *record.Digest, v record.Version, c plane.Cause, back bool) {
	p := l.of(s.id, d)
	x := p.known(v)
	if x == nil {
		l.d.W.fail("node%d counts a version that nobody stored: %+v", s.a.n.ID, v)
		return
	}
	if back {
		x.counted--
		l.sums[counter{s.id, c}]--
		return
	}
	x.counted++
	l.sums[counter{s.id, c}]++
	if own, ok := s.store.Meta(d); ok && !p.descends(p.known(own.Version), x, false) && l.held(s, d, x) {
		x.decided = true
	}
}

// held reports whether a member of a node's View holds a version.
func (l *ledger) held(s *space, d *record.Digest, x *descent) bool {
	return slices.ContainsFunc(s.a.view.Members, func(m cluster.Member) bool {
		o := l.d.W.Node(m.Node)
		if !o.Up {
			return false
		}
		v, ok := o.App.(*app).spaces[s.id].store.Meta(d)
		return ok && l.of(s.id, d).known(v.Version) == x
	})
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
		old, ok := s.store.Meta(&k.digest)
		if !ok {
			continue
		}
		p, left := l.of(s.id, &k.digest), (*descent)(nil)
		if m, ok := final.App.(*app).spaces[s.id].store.Meta(&k.digest); ok {
			left = p.known(m.Version)
		}
		p.replaced(left, p.known(old.Version))
	}
}

// accounted waits until the nodes have told each other what they counted.
func (d *Data) accounted() error {
	return d.Await("all know of all losses", 5*time.Second, func() bool {
		return !slices.ContainsFunc(d.W.Nodes, func(n *Node) bool { return n.Up && n.App.(*app).hasNews() })
	})
}

// hasNews reports whether a member has yet to hear of a loss that this node
// counted.
func (a *app) hasNews() bool {
	for i := range a.view.Members {
		for _, s := range a.spaces {
			if m := &a.view.Members[i]; m.Node != a.n.ID && s.News(m) != nil {
				return true
			}
		}
	}
	return false
}

// check asserts of each version that its count is what became of it.
func (l *ledger) check() {
	l.checkCounters()
	for _, k := range l.d.keys {
		p := l.records[recordOf{k.space, k.digest}]
		if p == nil {
			continue
		}
		for _, x := range p.list {
			w := k.find(x.write)
			acked := w != nil && w.acked
			must := p.mustCount(x, acked)
			if what := l.judge(x, must); what != "" {
				l.d.W.fail("key %d of partition %d: %s: write %v under stamp %d of node%d was lost: %v, surely %v, decided against %v, written upon %v; it is counted %d times",
					k.index, k.pid(), what, w, x.id.stamp, x.id.node, x.lost, x.surely, x.decided, p.upon(x), x.counted)
			}
			if must || x.counted > 0 && (x.lost || x.decided) {
				l.d.Stats.Discarded++
			}
			l.d.Stats.Counted += uint64(x.counted)
		}
	}
}

// unacknowledged reports whether a version was surely never acknowledged, and the
// process that wrote it can tell.
func (l *ledger) unacknowledged(x *descent) bool {
	n := l.d.W.Node(x.id.node)
	return x.write != 0 && !x.acknowledged && n.Up && n.Inc == x.writer
}

// judge tells what is wrong with the count of a version: one that was discarded
// counts once, and others do not.
func (l *ledger) judge(x *descent, must bool) string {
	switch {
	case x.counted > 0 && l.unacknowledged(x):
		return "counted, and its master, which is still there, never acknowledged it"
	case x.counted > 1:
		return "counted again"
	case x.counted > 0 && !x.lost && !x.decided:
		return "counted and not discarded"
	case x.counted == 0 && must:
		return "discarded and not counted"
	}
	return ""
}

// mustCount reports whether a version was discarded and has to be counted. Of
// those that were discarded three kinds may be, but need not:
//   - one that was acknowledged to nobody who heard it, or whose master is lost:
//     nodes count it if they meet it; it may be gone before that with a copy that
//     alone had it;
//   - one that its master had replaced by a later write of which some copy had not
//     heard: what became of that write is what counts, unless it was never
//     acknowledged and is lost itself;
//   - one of several versions of one write, of which another may be left.
//
// Who acknowledged a delete is not known: a tombstone need not be counted.
func (p *pedigree) mustCount(x *descent, acked bool) bool {
	return x.surely && acked && !x.again && !p.upon(x)
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
			c := s.Conflicts()
			for _, cause := range []plane.Cause{plane.Merge, plane.Access} {
				said[counter{i, cause}] += c.Of(cause)
			}
		}
	}
	for i := range l.d.cfg.Spaces {
		for _, c := range []plane.Cause{plane.Merge, plane.Access} {
			if at := (counter{i, c}); said[at] != l.sums[at] {
				l.d.W.fail("namespace %d: %d versions counted as discarded by cause %d, want %d", i, said[at], c, l.sums[at])
			}
		}
	}
}
