package partition

import (
	"math/rand/v2"
	"testing"

	"headroom/node/cluster"
)

// model is a cluster in which every partition is its own random history: what
// each node holds is a set of record numbers, Views come and go, migrations
// stop anywhere. It checks that no plan loses sight of an acknowledged record.
type model struct {
	t     *testing.T
	rng   *rand.Rand
	all   *cluster.View
	rf    int
	nodes []*modelNode // by index in all.Members
	acked [cluster.Partitions]uint64
	next  uint // record number
}

type modelNode struct {
	counter uint64
	report  Report
	records [cluster.Partitions]uint64
}

func newModel(t *testing.T, seed uint64, n, rf int) *model {
	m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 11)), all: newView(n, nil), rf: rf}
	for range n {
		m.nodes = append(m.nodes, &modelNode{})
	}
	return m
}

// modelView is one View of some of the nodes, while it lasts.
type modelView struct {
	*model
	view  *cluster.View
	table *Table
	nodes []*modelNode // by index in view.Members
	plan  *Plan
}

// commit forms a View of the nodes and commits its plan.
func (m *model) commit(members []int) *modelView {
	v := &modelView{model: m, view: &cluster.View{}}
	counter := uint64(0)
	var reports []*Report
	for _, i := range members {
		n := m.nodes[i]
		v.view.Members = append(v.view.Members, m.all.Members[i])
		v.nodes = append(v.nodes, n)
		counter = max(counter, n.counter)
		for pid := range n.records {
			n.report.Copies[pid].Empty = n.records[pid] == 0 && n.report.Copies[pid].State != None
		}
		reports = append(reports, &n.report)
	}
	v.view.Key = cluster.ViewKey{Counter: counter + 1, Proposer: v.view.Principal(), Inc: 1}
	v.table = NewTable(v.view, m.rf)
	v.plan = NewPlan(v.view, v.table, reports)
	for i, n := range v.nodes {
		n.counter = counter + 1
		for pid := range n.records {
			part := &v.plan.Parts[pid]
			n.report.Copies[pid] = v.plan.CopyAfter(pid, uint16(i), n.report.Copies[pid])
			n.report.Established[pid] = part.Established
			if n.report.Copies[pid].State == None && n.records[pid] != 0 {
				m.t.Fatalf("%v: partition %d: the plan drops records of member %d: %+v", v.view, pid, i, part)
			}
		}
	}
	return v
}

// check fails unless every available partition's master and duplicates hold
// every acknowledged record between them.
func (v *modelView) check(what string, mustServe bool) {
	v.t.Helper()
	for pid := range v.plan.Parts {
		part := &v.plan.Parts[pid]
		if !part.Available {
			if mustServe {
				v.t.Fatalf("%s, %v: partition %d is unavailable", what, v.view, pid)
			}
			continue
		}
		seen := v.nodes[part.Master].records[pid]
		for _, d := range part.Duplicates {
			seen |= v.nodes[d].records[pid]
		}
		if lost := v.acked[pid] &^ seen; lost != 0 {
			v.t.Fatalf("%s, %v: partition %d: master and duplicates lack acknowledged records %b: %+v", what, v.view, pid, lost, part)
		}
	}
}

// write acknowledges a record in each available partition with an even chance.
func (v *modelView) write() {
	bit := uint64(1) << v.next
	v.model.next++
	for pid := range v.plan.Parts {
		if part := &v.plan.Parts[pid]; part.Available && v.rng.IntN(2) == 0 {
			for _, m := range part.WriteSet {
				v.nodes[m].records[pid] |= bit
			}
			v.acked[pid] |= bit
		}
	}
}

// migrate carries each migration out up to a random point, or to its end.
func (v *modelView) migrate(whole bool) {
	for pid := range v.plan.Parts {
		if part := &v.plan.Parts[pid]; part.Available && !part.Fresh {
			steps := len(part.Duplicates) + len(part.Fill) + 1
			if !whole {
				steps = v.rng.IntN(steps + 1)
			}
			v.migratePart(pid, part, steps)
		}
	}
}

func (v *modelView) migratePart(pid int, part *Part, steps int) {
	for _, d := range part.Duplicates {
		if steps--; steps < 0 {
			return
		}
		v.absorb(pid, part, d)
	}
	if len(part.Duplicates) > 0 {
		v.absorbed(pid, part.Represented)
	}
	for _, r := range part.Fill {
		if steps--; steps < 0 {
			return
		}
		v.nodes[r].records[pid] |= v.nodes[part.Master].records[pid]
		v.nodes[r].report.Copies[pid] = Copy{State: Full, Key: v.plan.Key}
	}
	if steps--; steps < 0 {
		return
	}
	for m, n := range v.nodes { // all-done: everyone else drops
		if !contains(part.Replicas, m) {
			n.report.Copies[pid], n.records[pid] = Copy{}, 0
		}
	}
}

// absorb merges d into every Full member of the write set, not into the
// master alone: a Full copy must hold what the others hold.
func (v *modelView) absorb(pid int, part *Part, d uint16) {
	for _, m := range part.WriteSet {
		if v.nodes[m].report.Copies[pid].State == Full {
			v.nodes[m].records[pid] |= v.nodes[d].records[pid]
		}
	}
	v.absorbed(pid, []uint16{d})
}

func (v *modelView) absorbed(pid int, members []uint16) {
	for _, m := range members {
		c := &v.nodes[m].report.Copies[pid]
		*c = v.plan.CopyAbsorbed(pid, m, *c)
	}
}

func contains(set []uint16, m int) bool {
	for _, s := range set {
		if int(s) == m {
			return true
		}
	}
	return false
}

func (m *model) everyone() (all []int) {
	for i := range m.nodes {
		all = append(all, i)
	}
	return all
}

// overlapping draws some nodes, at least one of them from before.
func (m *model) overlapping(before []int) (some []int) {
	keep := before[m.rng.IntN(len(before))]
	for i := range m.nodes {
		if i == keep || m.rng.IntN(3) > 0 {
			some = append(some, i)
		}
	}
	return some
}

// split draws the members of two components; some nodes are in none.
func (m *model) split() (sides [2][]int) {
	for i := range m.nodes {
		if s := m.rng.IntN(5); s < 4 {
			sides[s%2] = append(sides[s%2], i)
		}
	}
	return sides
}

func TestNoAcknowledgedRecordIsLostWhileNodesComeAndGo(t *testing.T) {
	for seed := range uint64(4) {
		m := newModel(t, seed, 5, 1+int(seed)%3)
		members := m.everyone()
		m.commit(members).write()
		for range 20 {
			members = m.overlapping(members)
			v := m.commit(members)
			v.check("one component", false)
			v.write()
			v.migrate(false)
		}
		m.settle()
	}
}

func TestBothSidesOfEverySplitMergeWhole(t *testing.T) {
	for seed := range uint64(4) {
		m := newModel(t, 100+seed, 6, 2+int(seed)%2)
		m.commit(m.everyone()).write()
		for range 10 {
			for _, side := range m.split() {
				if len(side) > 0 {
					v := m.commit(side)
					v.write()
					v.migrate(false)
				}
			}
			if m.rng.IntN(3) == 0 {
				v := m.commit(m.everyone())
				v.check("all together", true)
				v.migrate(false)
			}
		}
		m.settle()
	}
}

// settle brings everyone together, ends all migrations, and checks that the
// next View then has nothing to move and survives the loss of any one node.
func (m *model) settle() {
	m.t.Helper()
	v := m.commit(m.everyone())
	v.check("after all faults", true)
	v.migrate(true)
	v = m.commit(m.everyone())
	for pid := range v.plan.Parts {
		part := &v.plan.Parts[pid]
		if part.Master != part.Final || len(part.Duplicates)+len(part.Represented)+len(part.Fill)+len(part.Spares) != 0 {
			m.t.Fatalf("settled cluster: partition %d still has %+v", pid, part)
		}
	}
	if m.rf > 1 {
		lost := m.rng.IntN(len(m.nodes))
		*m.nodes[lost] = modelNode{}
		v = m.commit(m.everyone())
		v.check("a node came back empty", true)
	}
}

func TestAJoinLeavesAsManyFullCopiesAsBefore(t *testing.T) {
	for n := 3; n <= 5; n++ {
		m := newModel(t, 1, n, 2)
		before := m.everyone()[1:]
		m.commit(before).write()
		m.commit(before).migrate(true)
		m.commit(m.everyone()) // node 0 joins; nothing is filled yet
		survivors := append([]int{0}, before[1:]...)
		m.commit(survivors).check("a join, then a crash before the fills", true)
	}
}
