package sim

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/plane"
)

// lines tells which earlier writes a write must have known: not those of every
// View that a member of its own was in, but those that the copies of its
// partition which came to its View hold. A node may meet another in a View in
// which neither may serve a partition of both, and go on with a third: the two
// have then not heard of each other's records, and what they wrote since they
// parted was written on two sides.
//
// It goes by what members reported and by the plan made of it, so it tells what
// a master ought to know, not what it does.
type lines struct {
	views map[cluster.ViewKey]*meeting
	next  map[cluster.ViewKey][]arrived // who came from a View to which other
	memo  map[lineOf]viewSet
}

// meeting is what came together in a View.
type meeting struct {
	view   *cluster.View
	spaces []*plane.Committed
	copies [][][]partition.Copy // by namespace, place in Data.pids, member
}

// arrived is a member of a View as it came there.
type arrived struct {
	at     *meeting
	member int
}

type lineOf struct {
	space, slot int
	key         cluster.ViewKey
}

type viewSet map[cluster.ViewKey]bool

func (s viewSet) add(o viewSet) {
	for k := range o {
		s[k] = true
	}
}

func newLines() *lines {
	return &lines{views: map[cluster.ViewKey]*meeting{}, next: map[cluster.ViewKey][]arrived{}, memo: map[lineOf]viewSet{}}
}

// met notes a View and what its members reported.
func (l *lines) met(d *Data, all []*plane.Committed, reports []*partition.MemberReport) {
	m := &meeting{view: all[0].View, spaces: all, copies: make([][][]partition.Copy, len(all))}
	for space := range all {
		for _, pid := range d.pids {
			var list []partition.Copy
			for _, r := range reports {
				list = append(list, r.Namespaces[space].Report.Copies[pid])
			}
			m.copies[space] = append(m.copies[space], list)
		}
	}
	l.views[m.view.Key] = m
	for i, r := range reports {
		if len(r.History) > 0 {
			last := slices.MaxFunc(r.History, cluster.ViewKey.Compare)
			l.next[last] = append(l.next[last], arrived{m, i})
		}
	}
}

// known are the Views whose acknowledged writes a write in View key had to
// know: its master had them, or asked the holders of the copies that it had
// yet to absorb.
func (l *lines) known(d *Data, space, slot int, key cluster.ViewKey) viewSet {
	m := l.views[key]
	if m == nil {
		return nil
	}
	set := viewSet{}
	part := &m.spaces[space].Plan.Parts[d.pids[slot]]
	for i, c := range m.copies[space][slot] {
		if part.InSync(c) || m.absorbs(part, i) {
			set.add(l.held(d, space, slot, c))
		}
	}
	return set
}

// absorbs reports whether the plan takes in what member i holds.
func (m *meeting) absorbs(part *partition.Part, i int) bool {
	return contains(part.Duplicates, uint16(i)) || contains(part.Represented, uint16(i))
}

// held are the Views whose acknowledged writes, as far as they were not
// replaced, a copy holds: of a Subset that its own alone, because older records
// may be missing; of one that a crash may have taken records from, none.
func (l *lines) held(d *Data, space, slot int, c partition.Copy) viewSet {
	m := l.views[c.Key]
	switch {
	case m == nil || c.State != partition.Full && c.State != partition.Subset:
		return nil
	case c.State == partition.Subset:
		return viewSet{c.Key: true}
	}
	at := lineOf{space, slot, c.Key}
	if set, ok := l.memo[at]; ok {
		return set
	}
	set := viewSet{c.Key: true}
	part := &m.spaces[space].Plan.Parts[d.pids[slot]]
	absorbed := l.absorbed(part, m, space, slot)
	for i, c := range m.copies[space][slot] {
		if part.InSync(c) || absorbed && m.absorbs(part, i) {
			set.add(l.held(d, space, slot, c))
		}
	}
	l.memo[at] = set
	return set
}

// absorbed reports whether every Full copy of a View has what its duplicates
// held: one of them has then been told so, which its next report shows, because
// they come last.
func (l *lines) absorbed(part *partition.Part, m *meeting, space, slot int) bool {
	for _, a := range l.next[m.view.Key] {
		who := a.at.view.Members[a.member]
		i := m.view.Index(who.Node)
		if i < 0 || m.view.Members[i].Inc != who.Inc || !m.absorbs(part, i) {
			continue
		}
		c := a.at.copies[space][slot][a.member]
		if c.State == partition.None || c.Key == m.view.Key && c.State != partition.Subset {
			return true
		}
	}
	return false
}
