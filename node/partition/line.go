package partition

import (
	"cmp"
	"slices"

	"headroom/node/cluster"
	"headroom/node/planted"
	"headroom/node/record"
	"headroom/node/wire"
)

// MaxLine bounds the Views of a Line; older ones are forgotten. Versions that
// are older than that on two sides which have a View in common count as known
// to each other, and without any as written apart.
const MaxLine = 32

// Line is the descent of a copy: the Views that it went through, which tells
// of two versions of a record on two copies whether the writer of one knew the
// other. It is an encoding, and so compares with ==; the empty Line is that of
// no copy.
type Line string

// part is what a copy has of a View.
type part uint8

const (
	// few: versions of it may have come while another copy was absorbed that went
	// through the View, and nothing else is known.
	few part = iota
	// some: it is being filled from a copy that holds the View, so that what it has
	// of other Views was written, or has won, in the knowledge of that one.
	some
	// met: its master asked this copy about each record before it wrote, and so
	// knew what the copy held until then.
	met
	// both of these.
	both
	// all that was acknowledged in it and not replaced since.
	all
)

// pass is one View of a Line.
type pass struct {
	key     cluster.ViewKey
	members uint64 // a bit for each, memberBit; 0: not known
	part    part
	since   uint64 // counter of the View in which the copy came to have part of key
}

// memberBit is one bit of 64 for a node. Views with one counter on two sides of
// a split have no member in common, so the bit of a version's writer tells in
// which of them it was written, but for clusters whose ids collide.
func memberBit(n cluster.NodeID) uint64 { return 1 << (n % 64) }

// passIn is the pass of a copy through View v while it commits.
func passIn(k cluster.ViewKey, members []cluster.Member, p part) pass {
	x := pass{key: k, part: p, since: k.Counter}
	for _, m := range members {
		x.members |= memberBit(m.Node)
	}
	return x
}

// passes decodes a Line, which Valid has checked or this package has made.
func (l Line) passes() []pass {
	list := make([]pass, 0, MaxLine+1)
	in := wire.NewReader([]byte(l))
	for in.Len() > 0 {
		list = append(list, readPass(&in))
	}
	return list
}

func readPass(in *wire.Reader) pass {
	x := in.Uvarint()
	p := pass{key: cluster.ViewKey{Counter: x >> 3, Proposer: cluster.NodeID(in.Uvarint()), Inc: cluster.Incarnation(in.Uvarint())}, part: part(x & 7)}
	p.members = in.Uvarint()
	p.since = p.key.Counter + in.Uvarint()
	return p
}

// lineOf encodes passes, which it sorts; of a View that comes twice, the most
// that the copy has of it counts, and since when.
func lineOf(list []pass) Line {
	slices.SortFunc(list, func(a, b pass) int {
		return cmp.Or(a.key.Compare(b.key), cmp.Compare(b.part, a.part), cmp.Compare(a.since, b.since))
	})
	out := list[:0]
	for _, p := range list {
		n := len(out) - 1
		switch {
		case n < 0 || out[n].key != p.key:
			out = append(out, p)
		case out[n].part == met && p.part == some: // sorted, the greater part first
			out[n].part, out[n].since = both, max(out[n].since, p.since)
		case out[n].part == few: // p's, too
			out[n].since = max(out[n].since, p.since)
		}
	}
	var b []byte
	for _, p := range out[max(len(out)-MaxLine, 0):] {
		b = wire.AppendUvarint(b, p.key.Counter<<3|uint64(p.part))
		b = wire.AppendUvarint(b, uint64(p.key.Proposer))
		b = wire.AppendUvarint(b, uint64(p.key.Inc))
		b = wire.AppendUvarint(b, p.members)
		b = wire.AppendUvarint(b, p.since-p.key.Counter)
	}
	return Line(b)
}

// LineOf is the descent of a copy that went through the given Views and holds
// all of them.
func LineOf(views ...*cluster.View) Line {
	var list []pass
	for _, v := range views {
		list = append(list, passIn(v.Key, v.Members, all))
	}
	return lineOf(list)
}

// with adds a View that the copy goes through.
func (l Line) with(p pass) Line { return lineOf(append(l.passes(), p)) }

// Absorb adds what another copy holds, which this one has taken in during the
// View now.
func (l Line) Absorb(o Line, now cluster.ViewKey) Line {
	return lineOf(append(l.passes(), o.taken(now, all)...))
}

// taken are the Views of which a copy holds all, as another sees them that takes
// in all of it in the View now, or has only begun to.
func (l Line) taken(now cluster.ViewKey, p part) []pass {
	list := slices.DeleteFunc(l.passes(), func(p pass) bool { return p.part != all })
	for i := range list {
		list[i].part, list[i].since = p, max(list[i].key.Counter, now.Counter)
	}
	return list
}

// glimpsed are the Views of which versions may be on a copy that has begun to
// absorb this one, or several one after the other, in the View now.
func (l Line) glimpsed(now cluster.ViewKey) []pass {
	list := l.passes()
	for i := range list {
		list[i].part, list[i].since = few, max(list[i].key.Counter, now.Counter)
	}
	return list
}

func appendLine(b []byte, l Line) []byte { return wire.AppendString(b, string(l)) }

// maxLineBytes is what MaxLine passes take at most.
const maxLineBytes = MaxLine * 5 * 10

// readLine reads what appendLine wrote, and nothing else.
func readLine(in *wire.Reader) Line {
	l := Line(in.String(maxLineBytes))
	if in.Err() == nil && !l.Valid() {
		in.Fail("descent of a copy is damaged")
	}
	return l
}

// Valid reports whether l is what this package encodes.
func (l Line) Valid() bool {
	in := wire.NewReader([]byte(l))
	var list []pass
	for in.Len() > 0 && in.Err() == nil && len(list) <= MaxLine {
		p := readPass(&in)
		if p.part > all {
			return false
		}
		list = append(list, p)
	}
	return in.Err() == nil && len(list) <= MaxLine && lineOf(list) == l
}

// Sides are the descents of the working master's copy and of a duplicate.
type Sides struct{ ours, theirs []pass }

// NewSides returns the Sides of two copies.
func NewSides(ours, theirs Line) *Sides { return &Sides{ours.passes(), theirs.passes()} }

// Between are the Sides of two duplicates of one working master.
func (s *Sides) Between(o *Sides) *Sides { return &Sides{s.theirs, o.theirs} }

// Knew reports whether our version is of a View that our copy surely went
// through, is newer than theirs, and its writer knew that.
func (s *Sides) Knew(ours, theirs record.Version) bool {
	at := writtenIn(s.ours, ours)
	return len(at) > 0 && !slices.ContainsFunc(at, isFew) && ours.Newer(theirs) && !ours.SameWrite(theirs) && s.Judge(ours, theirs) == Newer
}

// Verdict says which of two versions of a record wins.
type Verdict uint8

const (
	// Newer wins: version order decides, as one writer knew the other's.
	Newer Verdict = iota
	// Later wins, and its writer knew the other; but a merge gave that one a
	// regime that hides it.
	Later
	// Conflict: neither writer knew the other's; the later one wins, and the other
	// counts as discarded.
	Conflict
)

// Judge tells which of the two versions of one record, ours and the
// duplicate's, wins. Nil Sides go by version order.
func (s *Sides) Judge(ours, theirs record.Version) Verdict {
	if s == nil || ours.SameWrite(theirs) || planted.Is(planted.DescentIgnored) {
		return Newer
	}
	hi, lo := held{s.ours, writtenIn(s.ours, ours)}, held{s.theirs, writtenIn(s.theirs, theirs)}
	later := ours.Later(theirs)
	if theirs.Newer(ours) {
		hi, lo, later = lo, hi, !later
	}
	known := len(hi.at) > 0 && len(lo.at) > 0
	lifted := known && (hi.at[0].key.Counter < lo.at[0].key.Counter || hi.at[0].key == lo.at[0].key && !later)
	switch {
	case known && hi.holds(lo): // it was written in the knowledge of the other, or has won against it
		return Newer
	case lifted && knew(lo, hi):
		return Later
	case lifted || !knew(hi, lo):
		return Conflict
	}
	return Newer
}

// held is a version on a copy: the descent of that, and in which of its Views
// the version was written; none: not known.
type held struct{ line, at []pass }

// knew reports whether the writer of a knew b, an older version: either b's copy
// was in the View of a, and had b already, or a's copy holds all that was
// acknowledged in the View of b.
func knew(a, b held) bool {
	if len(a.at) == 0 || len(b.at) == 0 {
		return common(a.line, b.line) // older than what lines remember
	}
	asked := !slices.ContainsFunc(a.at, func(n pass) bool {
		took := slices.ContainsFunc(b.line, func(p pass) bool { return p.key == n.key && p.present() })
		return !took || slices.ContainsFunc(b.at, func(o pass) bool { return o.since > n.key.Counter })
	})
	return asked || a.holds(b)
}

// holds reports whether a's copy has all that was acknowledged in the View of
// b, and a came or was written in the knowledge of that.
func (a held) holds(b held) bool {
	return !slices.ContainsFunc(b.at, func(o pass) bool {
		return !slices.ContainsFunc(a.line, func(p pass) bool { return p.key == o.key && p.told(a.at) })
	})
}

// present reports whether a copy was in the pass's View, and not only took in
// what had been acknowledged there from another: a write of that View that was
// never acknowledged may be on a third.
func (p pass) present() bool {
	return p.part == met || p.part == both || p.part == all && p.since == p.key.Counter
}

// told reports whether a version of one of the Views at, on a copy with this
// pass, came or was written in the knowledge of what was acknowledged in the
// pass's View: a copy that is being filled may still have versions of its own.
func (p pass) told(at []pass) bool {
	own := func(n pass) bool { return n.part != some && n.key.Counter < p.since }
	switch p.part {
	case all:
		return true
	case some, both:
		return !slices.ContainsFunc(at, own)
	}
	return false
}

// writtenIn returns the Views in which a version can have been written, the
// last first: of those with its counter the one in which its writer was. If it
// was in none of them, or a merge has lifted the version far, that is the last one
// before that the writer was in, or one of which the copy may have a few.
func writtenIn(list []pass, v record.Version) []pass {
	counter := uint64(v.Own())
	var own, at []pass // the writer was in; was in none of these of its counter
	for i := len(list) - 1; i >= 0; i-- {
		p := list[i]
		was := p.members&memberBit(v.Node) != 0
		switch {
		case p.key.Counter > counter:
		case p.key.Counter < counter && len(own)+len(at) == 0:
			return nil // the line does not have it
		case p.key.Counter < counter && len(own) > 0 && own[0].key.Counter == counter && v.Lifted != record.LiftedFar:
			return own
		case was && p.part != few:
			return append(own, p)
		case was:
			own = append(own, p)
		case p.key.Counter == counter:
			at = append(at, p)
		}
	}
	if len(own) > 0 {
		return own
	}
	return at
}

// common reports whether two copies hold the same View.
func common(a, b []pass) bool {
	return slices.ContainsFunc(a, func(p pass) bool {
		return p.part == all && slices.ContainsFunc(b, func(o pass) bool { return o.part == all && o.key == p.key })
	})
}
