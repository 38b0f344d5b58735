package partition

import (
	"slices"

	"headroom/node/record"
)

// Doubt tells which versions a copy may have taken in without its Line saying
// so: those of a merge that did not end. Whoever writes upon such a version knew
// it, and no Line will ever show that.
type Doubt struct{ line []pass }

// Doubt returns nil if there can be no such version on a copy with this Line.
func (l Line) Doubt() *Doubt {
	list := l.passes()
	if !slices.ContainsFunc(list, isFew) {
		return nil
	}
	return &Doubt{list}
}

// Covers reports whether v may be one of them. A nil Doubt covers nothing.
func (d *Doubt) Covers(v record.Version) bool {
	return d != nil && slices.ContainsFunc(writtenIn(d.line, v), isFew)
}

func isFew(p pass) bool { return p.part == few }
