package partition

import (
	"slices"
	"time"

	"headroom/node/cluster"
)

// MaxAbsence is how long two nodes may be apart and still merge what they hold:
// tombstones are kept a little longer than that. Beyond it a record that one
// side has and the other lacks may have been deleted there, so the copy that is
// not served is given up instead of merged.
const MaxAbsence = 24 * time.Hour

// historyFull is membership's HistoryLen: a history of as many Views may have
// forgotten older ones.
const historyFull = 32

// Absence says which members have been apart for too long. Nil: none.
type Absence struct {
	n     int
	apart []bool
}

// AbsenceOf compares the histories of all pairs of members: they have been
// apart since one of them left the newest View that both were in. If that is
// forgotten, they parted before the oldest View that a full history still has.
// Else members without a common View have nothing to do with each other; one
// whose report is missing has nothing to lose.
func AbsenceOf(members []*MemberReport, limit time.Duration) *Absence {
	seconds := uint32(limit / time.Second)
	long := func(m *MemberReport) bool {
		return m != nil && slices.ContainsFunc(m.Ages, func(age uint32) bool { return age > seconds })
	}
	if !slices.ContainsFunc(members, long) {
		return nil // the common case
	}
	a := &Absence{n: len(members), apart: make([]bool, len(members)*len(members))}
	for i, m := range members {
		for j := range i {
			if o := members[j]; m != nil && o != nil {
				p := CommonAncestor(m.History, o.History)
				apart := max(m.age(p), o.age(p))
				if p.IsZero() {
					apart = max(m.remembers(), o.remembers())
				}
				far := apart > seconds
				a.apart[i*a.n+j], a.apart[j*a.n+i] = far, far
			}
		}
	}
	return a
}

// age is how many seconds ago the member left a View of its history.
func (r *MemberReport) age(k cluster.ViewKey) uint32 {
	if i := slices.Index(r.History, k); i >= 0 && i < len(r.Ages) {
		return r.Ages[i]
	}
	return 0
}

// remembers is how many seconds a full history reaches back, zero for one that
// has forgotten nothing.
func (r *MemberReport) remembers() uint32 {
	if len(r.History) < historyFull || len(r.Ages) == 0 {
		return 0
	}
	return slices.Max(r.Ages)
}

// of reports whether two members, by index, have been apart for too long.
func (a *Absence) of(i, j uint16) bool { return a != nil && a.apart[int(i)*a.n+int(j)] }
