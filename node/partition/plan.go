package partition

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/planted"
)

// Plan says for one namespace and one View who serves each partition and what
// must move. It is immutable; share it freely.
type Plan struct {
	Key   cluster.ViewKey // the View it is for
	Parts [cluster.Partitions]Part
	// Revive says that the heirs of unavailable partitions declare their copies
	// full: missing data is given up, by an operator or by configuration. The
	// partitions are served from the next View on, which finds those copies.
	Revive bool

	members  []cluster.Member // of the View
	descents map[descent]Line // what LineAfter has answered
}

// descent is what the descent of a copy at a commit follows from. Thousands of
// copies have the same few: working each out anew took 15 ms of a commit.
type descent struct {
	line, filledFrom Line
	absorbs          Line // of all duplicates, one after the other
	has              part
}

// Part is the plan of one partition. The slices are read-only and hold member
// indexes. Migration is done when Duplicates, Fill and Spares are empty and
// Master is Final.
type Part struct {
	// Available is false when some View had the data and no member of this one
	// holds it whole: nobody serves, copies keep their states, and only
	// Final, Replicas, Established and Heir are set (Master is Nobody).
	Available bool
	// Heir is the member whose copy an unavailable partition starts from if
	// the missing data is given up: the fullest and newest there is, that of
	// Final if nobody holds a record.
	Heir uint16
	// Fresh means that nobody holds a single record: the replicas start Full
	// and empty, nothing migrates.
	Fresh  bool
	Master uint16 // working master: serves from the commit until it hands over to Final
	Final  uint16 // Replicas[0]
	// Replicas is where the partition belongs, final master first. It aliases
	// the Table.
	Replicas []uint16
	// WriteSet is every member a write goes to until migration is done: Master
	// first, then the other Replicas in their order, then as many members in
	// sync outside Replicas as it takes for RF Full copies (they are Spares
	// too: they drop when redundancy is complete). Equal to Replicas when all
	// of those are in sync.
	WriteSet []uint16
	// Duplicates are members whose copies may hold records that the working
	// master lacks: it absorbs them one by one, and asks them about each record
	// until then. In row order. A record absorbed goes to every Full member of
	// the write set, not to the master alone: the next View takes any of them
	// for as complete as the others.
	Duplicates []uint16
	// Represented are holders of the same Full version as one of Duplicates:
	// absorbed with it, never asked. There are none of a version of which a holder
	// says that its copies may differ.
	Represented []uint16
	// Forget are members that were apart from the working master for longer
	// than MaxAbsence and hold something else than it: they drop their copy at
	// once and count as having had none.
	Forget []uint16
	// Fill are the Replicas that are not Full yet.
	Fill []uint16
	// Spares are the holders outside Replicas and other than Master, whatever
	// their state: they drop their copy when redundancy is complete (a Master
	// outside Replicas does too, after its handoff). A fresh partition has none:
	// see Left.
	Spares []uint16
	// Established is what a member keeps as Report.Established once it knows
	// that the working master has committed the View, so that writes may have
	// been acknowledged in it: the Plan's key. For an unavailable partition it
	// is the newest that any member knew.
	Established cluster.ViewKey
	// Proven is the newest that any member knew before the View, and what a
	// member keeps until then. Were it the Plan's key at once, a View of which
	// only some members heard could demand copies that nobody has.
	Proven cluster.ViewKey

	// Lines are the descents, as reported, of the copies of the working master and
	// then of the Duplicates; nil if nothing is to be merged nor filled.
	Lines []Line

	// Unequal says that the copies in sync with the working master may hold other
	// records than it all the same: it compares them before anything else.
	Unequal bool

	best Copy // what the working master reported; copies equal to it are in sync with it
}

// InSync reports whether a member that reported c is in sync with the working
// master at the commit.
func (p *Part) InSync(c Copy) bool { return p.Available && c.State == Full && c == p.best }

// NewPlan computes the plan of View v with placement t, which must be of the
// same View, from the reports by member index; a missing or nil report means
// that the member holds and knows nothing.
func NewPlan(v *cluster.View, t *Table, reports []*Report) *Plan {
	return NewPlanAfter(nil, v, t, reports)
}

// NewPlanAfter is NewPlan where members may have been apart for too long.
func NewPlanAfter(absence *Absence, v *cluster.View, t *Table, reports []*Report) *Plan {
	b := planner{key: v.Key, table: t, reports: reports, absence: absence, copies: make([]Copy, len(v.Members))}
	for m, r := range reports[:min(len(reports), len(b.copies))] {
		if r != nil && r.unequal() {
			b.unequal = append(b.unequal, uint16(m))
		}
	}
	p := &Plan{Key: v.Key, members: v.Members}
	for pid := range p.Parts {
		b.plan(pid, &p.Parts[pid])
	}
	return p
}

// planner carries what the plans of all partitions share. Short lists are cut
// from one growing arena instead of being allocated one by one.
type planner struct {
	key     cluster.ViewKey
	table   *Table
	reports []*Report
	absence *Absence
	unequal []uint16 // who reports unequal copies of any partition
	copies  []Copy   // of the partition at hand, by member
	arena   []uint16
}

// cut returns what was appended to the arena since mark, nil for nothing.
func (b *planner) cut(mark int) []uint16 {
	if mark == len(b.arena) {
		return nil
	}
	return b.arena[mark:len(b.arena):len(b.arena)]
}

// load fetches what the members reported about pid and returns the newest
// View in which it was established.
func (b *planner) load(pid int) cluster.ViewKey {
	var newest cluster.ViewKey
	for m, r := range b.reports[:min(len(b.reports), len(b.copies))] {
		if r == nil {
			continue
		}
		b.copies[m] = r.Copies[pid]
		if e := r.Established[pid]; e != newest && newest.Less(e) {
			newest = e
		}
	}
	return newest
}

func (b *planner) plan(pid int, part *Part) {
	row := b.table.Row(pid)
	part.Master, part.Replicas = Nobody, b.table.Replicas(pid)
	if len(row) == 0 {
		return
	}
	part.Final = row[0]
	s := b.survey(pid, row)
	part.Proven = s.established
	switch {
	case s.master == Nobody && (!s.established.IsZero() && !planted.Is(planted.MissingStartsFresh) || s.records):
		part.Established, part.Heir = s.established, b.heir(row)
		return
	case !s.records:
		part.Available, part.Fresh = true, true
		part.Master, part.WriteSet, part.Established = part.Final, part.Replicas, b.key
		return
	}
	part.Available, part.Master, part.Established, part.best = true, s.master, b.key, s.best
	if b.absence != nil && !planted.Is(planted.AbsenceForgotten) {
		b.forget(row, part, &s)
	}
	part.Unequal = b.differ(pid, part, part.best)
	b.writeSet(row, part)
	b.fill(part)
	if s.inSync == s.copies {
		b.spares(row, part) // nothing to merge: the common case
		if len(part.Fill) > 0 {
			part.Lines = b.lines(pid, part)
		}
		return
	}
	b.duplicates(pid, row, part)
	b.represented(row, part)
	b.spares(row, part)
	part.Lines = b.lines(pid, part)
}

// lines collects the descents that merging and filling need.
func (b *planner) lines(pid int, part *Part) []Line {
	list := make([]Line, 0, 1+len(part.Duplicates))
	for _, m := range append([]uint16{part.Master}, part.Duplicates...) {
		list = append(list, b.reports[m].Lines[pid])
	}
	return list
}

// forget leaves out the copies of those who were away for too long.
func (b *planner) forget(row []uint16, part *Part, s *survey) {
	mark := len(b.arena)
	for _, m := range row {
		c := b.copies[m]
		if c.State == None || part.InSync(c) || !b.absence.of(part.Master, m) {
			continue
		}
		if c.State == Full || c.State == Subset {
			s.copies--
		}
		b.copies[m] = Copy{}
		b.arena = append(b.arena, m)
	}
	part.Forget = b.cut(mark)
}

// survey is what the reports say about one partition.
type survey struct {
	established cluster.ViewKey
	master      uint16 // first in row order whose copy is best; Nobody without a candidate
	best        Copy
	records     bool // somebody holds records, if only as a Spare
	copies      int  // Full and Subset copies
	inSync      int  // copies equal to best
}

func (b *planner) survey(pid int, row []uint16) survey {
	s := survey{master: Nobody, established: b.load(pid)}
	for _, m := range row {
		c := b.copies[m]
		s.records = s.records || c.holdsRecords()
		if c.State == Full || c.State == Subset {
			s.copies++
		}
		if c.State != Full || c.Key.Less(s.established) && !planted.Is(planted.OlderCopyServes) {
			continue
		}
		switch {
		case s.master == Nobody || better(c, s.best):
			s.master, s.best, s.inSync = m, c, 1
		case c == s.best:
			s.inSync++
		}
	}
	return s
}

// heir is the first of the row whose copy no other's is fuller than.
func (b *planner) heir(row []uint16) uint16 {
	heir := row[0]
	for _, m := range row {
		if fuller(b.copies[m], b.copies[heir]) {
			heir = m
		}
	}
	return heir
}

// fuller orders copies that are not complete: records before none, Full (of an
// older View) before Subset before Spare, then the newer View.
func fuller(c, than Copy) bool {
	switch {
	case c.holdsRecords() != than.holdsRecords():
		return c.holdsRecords()
	case !c.holdsRecords():
		return false
	case c.State != than.State:
		return c.State < than.State
	}
	return than.Key.Less(c.Key)
}

// better orders candidates: records before none, then the newer View.
func better(c, best Copy) bool {
	if c.Empty != best.Empty {
		return best.Empty
	}
	if a, b := isApart(c.Key), isApart(best.Key); a != b && c.Key.Counter == best.Key.Counter {
		return b
	}
	return best.Key.Less(c.Key)
}

// apartBit marks the proposer of a key that Apart made. No node has such an id.
const apartBit = 1 << 63

func isApart(k cluster.ViewKey) bool { return k.Proposer&apartBit != 0 }

// Apart is the key of a copy of View k that the node self finds in its life inc
// after a crash, which may have taken what was not durable. No other copy
// equals it, so whichever serves takes in the others; copies of k that did not
// crash, and of any later View, are better, because counters grow strictly; and
// it passes for k, so that it serves if nobody went on. It stays so however
// often the node crashes.
func Apart(k cluster.ViewKey, self cluster.NodeID, inc cluster.Incarnation) cluster.ViewKey {
	return cluster.ViewKey{Counter: k.Counter, Proposer: self | apartBit, Inc: inc}
}

// writeSet aliases the row when it is just the replicas. Members in sync
// outside the replica set stay in it until the fills are done, as far as it
// takes to have RF Full copies: a second failure meanwhile must not find the
// working master's copy the only one.
func (b *planner) writeSet(row []uint16, part *Part) {
	fulls := 0
	for _, m := range part.Replicas {
		if part.InSync(b.copies[m]) {
			fulls++
		}
	}
	if fulls == len(part.Replicas) {
		part.WriteSet = part.Replicas
		return
	}
	mark := len(b.arena)
	b.arena = append(b.arena, part.Master)
	for _, m := range part.Replicas {
		if m != part.Master {
			b.arena = append(b.arena, m)
		}
	}
	for _, m := range row[len(part.Replicas):] {
		if fulls < len(part.Replicas) && part.InSync(b.copies[m]) {
			fulls++
			if m != part.Master {
				b.arena = append(b.arena, m)
			}
		}
	}
	part.WriteSet = b.cut(mark)
}

func (b *planner) fill(part *Part) {
	mark := len(b.arena)
	for _, m := range part.Replicas {
		if !part.InSync(b.copies[m]) {
			b.arena = append(b.arena, m)
		}
	}
	part.Fill = b.cut(mark)
}

// duplicates takes each non-empty Subset and the first holder of each other
// non-empty Full version. A Subset stands for itself only: two Subsets of one
// View can lack different records, and so does each copy of a Full version that
// may not be the same everywhere: one that is only filled keeps a write that a lost
// master left on it alone.
func (b *planner) duplicates(pid int, row []uint16, part *Part) {
	mark := len(b.arena)
	for _, m := range row {
		c := b.copies[m]
		represented := c.State == Full && b.holds(b.arena[mark:], c) &&
			(!b.differ(pid, part, c) || planted.Is(planted.RepresentedNotCompared))
		if b.mergeable(part, c) && !represented {
			b.arena = append(b.arena, m)
		}
	}
	part.Duplicates = b.cut(mark)
}

func (b *planner) represented(row []uint16, part *Part) {
	mark := len(b.arena)
	for _, m := range row {
		if c := b.copies[m]; c.State == Full && b.mergeable(part, c) && !slices.Contains(part.Duplicates, m) {
			b.arena = append(b.arena, m)
		}
	}
	part.Represented = b.cut(mark)
}

// mergeable reports whether c may hold records that the working master lacks.
func (b *planner) mergeable(part *Part, c Copy) bool {
	return (c.State == Full || c.State == Subset) && !c.Empty && !part.InSync(c)
}

// differ reports whether one of those that have exactly the copy c says that
// these may differ. The working master runs what it has in flight again itself.
func (b *planner) differ(pid int, part *Part, c Copy) bool {
	for _, m := range b.unequal {
		u := b.reports[m].Unequal[pid]
		if m == part.Master {
			u &^= Writing
		}
		if u != 0 && b.copies[m] == c {
			return true
		}
	}
	return false
}

// holds reports whether one of members has exactly the copy c.
func (b *planner) holds(members []uint16, c Copy) bool {
	return slices.ContainsFunc(members, func(m uint16) bool { return b.copies[m] == c })
}

func (b *planner) spares(row []uint16, part *Part) {
	mark := len(b.arena)
	for _, m := range row[len(part.Replicas):] {
		if m != part.Master && b.copies[m].State != None {
			b.arena = append(b.arena, m)
		}
	}
	part.Spares = b.cut(mark)
}

// CopyAfter returns the state that the member's copy takes when the View is
// committed; before must be what the member reported. A Full copy outside the
// replicas of a fresh partition stays until the working master has committed, too
// (Left): if the View is replaced before, that copy may be the last complete one.
func (p *Plan) CopyAfter(pid int, member uint16, before Copy) Copy {
	part := &p.Parts[pid]
	replica := slices.Contains(part.Replicas, member)
	if slices.Contains(part.Forget, member) {
		before = Copy{}
	}
	switch {
	case !part.Available:
		return before
	case part.Fresh && replica:
		return Copy{State: Full, Empty: true, Key: p.Key}
	case part.Fresh && before.State == Full:
		return before
	case part.Fresh:
		return Copy{}
	case part.InSync(before) && slices.Contains(part.WriteSet, member):
		return Copy{State: Full, Empty: before.Empty, Key: p.Key}
	case replica && planted.Is(planted.LackingCopyIsFull):
		return Copy{State: Full, Key: p.Key}
	case replica:
		return Copy{State: Subset, Empty: before.Empty || before.State == None, Key: p.Key}
	case before.State == None || before.State == Spare:
		return before
	case part.InSync(before) || before.Empty:
		return Copy{State: Spare, Empty: before.Empty, Key: p.Key}
	}
	return before // a duplicate or represented: kept until absorbed
}

// Left reports whether the copy c, which the member has had since the commit, is
// of no use any more when the working master has committed: that of a fresh
// partition which is elsewhere now.
func (p *Plan) Left(pid int, member uint16, c Copy) bool {
	part := &p.Parts[pid]
	return part.Fresh && c.State != None && !slices.Contains(part.Replicas, member)
}

// CopyAbsorbed returns the state of the copy c, which the member has had since
// the commit, once the working master has absorbed it or its representative: a
// Spare outside the replica set, unchanged inside (Fill makes it Full).
func (p *Plan) CopyAbsorbed(pid int, member uint16, c Copy) Copy {
	part := &p.Parts[pid]
	if c.State == None || member == part.Master || slices.Contains(part.Replicas, member) {
		return c
	}
	return Copy{State: Spare, Empty: c.Empty, Key: p.Key}
}

// LineAfter returns the descent of the member's copy when the View is
// committed; before and line are what it reported, after is CopyAfter's. It
// remembers its answers in the Plan, so one goroutine at a time may call it.
func (p *Plan) LineAfter(pid int, line Line, before, after Copy) Line {
	part := &p.Parts[pid]
	switch {
	case !part.Available:
		return line
	case after.State == None || after.State == Spare:
		return ""
	}
	d := descent{line: line, has: all}
	switch {
	case after.Key != p.Key:
		d.has = met // a duplicate that gets no writes
	default:
		for i := range part.Duplicates {
			if planted.Is(planted.MergeBegunNotTold) {
				break
			}
			d.absorbs += part.Lines[1+i]
		}
		if after.State == Full {
			break
		}
		if before.State == None || before.State == Spare {
			d.line = ""
		}
		if len(part.Lines) > 0 {
			d.filledFrom = part.Lines[0]
		}
	}
	l, ok := p.descents[d]
	if !ok {
		l = lineOf(slices.Concat(d.line.passes(), d.filledFrom.taken(p.Key, some), d.absorbs.glimpsed(p.Key), []pass{p.pass(d.has)}))
		if p.descents == nil {
			p.descents = make(map[descent]Line)
		}
		p.descents[d] = l
	}
	return l
}

func (p *Plan) pass(has part) pass { return passIn(p.Key, p.members, has) }

// Sides are the descents of the working master's copy, as it is now, and of
// that of a duplicate, by its place in Duplicates.
func (p *Plan) Sides(pid, duplicate int, ours Line) *Sides {
	return NewSides(ours, p.Parts[pid].Lines[1+duplicate].with(p.pass(met)))
}
