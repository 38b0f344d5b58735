package sim

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"headroom/node/cluster"
	"headroom/node/migrate"
	"headroom/node/partition"
	"headroom/node/plane"
	"headroom/node/record"
	"headroom/node/wire"
)

// SpaceConfig describes a namespace.
type SpaceConfig struct {
	RF           int
	CommitMaster bool
	MemoryLimit  int64 // bytes; zero: none
	DeviceConfig
}

// DataConfig describes the data plane of a World: namespaces in memory on
// every node. Zero fields mean the default in brackets.
type DataConfig struct {
	Spaces []SpaceConfig // [one of RF 2]
	Shards int           // transaction cores of a node and namespace [4]
	Parts  int           // partitions that have keys; the others stay empty [16]
	Keys   int           // spread over Parts [160]
	Mortal int           // how many of the keys are deleted, too [0]
	Rate   migrate.Rate
	Active int           // migrate.Config.MaxActive
	Window int           // migrate.Config.Window
	Skew   time.Duration // wall clocks of the nodes differ by up to this [0]
	// Torn is the probability that a read is torn apart: the record is read,
	// and some time passes before lease and route are looked at.
	Torn  float64
	Fresh bool // missing copies start from what is left
	// Breaks: devices fail and records are damaged.
	Breaks bool
	// ReapEvery is how often a node removes what has expired [never].
	ReapEvery time.Duration
	// Pad is how many bytes a value has beside its number; zero: drawn, below 64.
	Pad int
	// Limits are the memory limits of single nodes.
	Limits map[cluster.NodeID]int64
	// MaxAbsence is how long nodes may be apart and still merge [partition.MaxAbsence].
	MaxAbsence time.Duration
	// Horizon is how long tombstones are kept [plane.TombstoneHorizon].
	Horizon time.Duration
}

func (c DataConfig) withDefaults() DataConfig {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	c.Horizon = cmp.Or(c.Horizon, plane.TombstoneHorizon)
	if c.MaxAbsence == 0 {
		c.MaxAbsence = partition.MaxAbsence
	}
	if len(c.Spaces) == 0 {
		c.Spaces = []SpaceConfig{{RF: 2}}
	}
	set(&c.Shards, 4)
	set(&c.Parts, 16)
	set(&c.Keys, 160)
	return c
}

// Data is the data plane of a World and its clients: what they do and what
// they were told. Everything in it is shared by all nodes and so must not
// influence any: it is the observer's.
type Data struct {
	W       *World
	cfg     DataConfig
	rand    *rand.Rand
	keys    []*key
	pids    []int // partitions in play, ascending
	plans   map[cluster.ViewKey][]*plane.Committed
	tables  []placed
	Clients []*Client
	writes  uint64
	// OneSided is set when the View of the two sides of a split may both
	// acknowledge writes: then a read may be stale.
	OneSided bool
	prompt   bool // devices answer in time: the last reads must come
	lines    *lines
	media    []*media // by node and namespace, see mediaOf
	retired  uint64   // conflicts counted by nodes that are gone
	watch    watch
	ledger   *ledger // nil: nobody splits
	Stats    DataStats
}

// DataStats counts what clients were told.
type DataStats struct {
	Acked, Reads, NotFound, InDoubt, Refused int
	Overdue                                  int           // requests that nodes refused as overdue
	Reaped                                   int           // records removed for good
	Buried                                   int           // records that expired, of which a tombstone stays
	Worst                                    time.Duration // of one operation
	Discarded, Counted                       uint64        // versions that a merge had to discard, and that were counted
	Mismatches                               int           // writes refused because of the record's generation
	Stopped                                  int           // writes refused for want of room
	Verbs                                    [verbLose]int // acts that ended, by verb
	Batches, Scans                           int           // that ended with every record answered
}

// placed is the table for a list of members.
type placed struct {
	rf      int
	members []cluster.Member
	table   *partition.Table
}

// NewData returns a World whose nodes run the data plane.
func NewData(cfg Config, dc DataConfig) *Data {
	d := &Data{cfg: dc.withDefaults(), rand: rand.New(rand.NewPCG(cfg.Seed, 0xda7a)), plans: map[cluster.ViewKey][]*plane.Committed{}, lines: newLines()}
	cfg.NewApp = func(n *Node) App { return newApp(d, n) }
	d.W = NewWorld(cfg)
	for _, n := range d.W.Nodes {
		if s := d.cfg.Skew.Milliseconds(); s > 0 {
			n.Wall = time.Duration(d.rand.Int64N(2*s+1)-s) * time.Millisecond
		}
	}
	used := map[int]bool{}
	for len(d.pids) < d.cfg.Parts {
		if p := d.rand.IntN(cluster.Partitions); !used[p] {
			used[p] = true
			d.pids = append(d.pids, p)
		}
	}
	for i := range d.cfg.Keys {
		k := &key{index: i, mortal: i < d.cfg.Mortal}
		for j := 0; j < len(k.digest); j += 4 {
			binary.LittleEndian.PutUint32(k.digest[j:], d.rand.Uint32())
		}
		k.slot, k.space = i%len(d.pids), i/len(d.pids)%len(d.cfg.Spaces)
		pid := d.pids[k.slot]
		k.digest[0], k.digest[1] = byte(pid), k.digest[1]&0xf0|byte(pid>>8)
		k.writes = []*write{{absent: true}}
		d.keys = append(d.keys, k)
	}
	return d
}

// Start starts all nodes and waits until they serve.
func (d *Data) Start() error {
	for _, n := range d.W.Nodes {
		n.Start()
	}
	return d.Await("all nodes serve", 10*time.Second, d.Settled)
}

// Await runs until ok, or fails the world after limit.
func (d *Data) Await(what string, limit time.Duration, ok func() bool) error {
	w := d.W
	end := w.now.Add(limit)
	for w.Err == nil && !ok() {
		if w.now >= end {
			w.fail("not within %v: %s; %s", limit, what, d.describe())
			break
		}
		_ = w.Run(10 * time.Millisecond) // an error is in w.Err
	}
	return w.Err
}

// Settled reports whether all nodes that are up share a View in which every
// partition is served and nothing is left to migrate.
func (d *Data) Settled() bool {
	if !d.W.OneView() {
		return false
	}
	for _, n := range d.W.Nodes {
		if !n.Up {
			continue
		}
		a := n.App.(*app)
		if a.view == nil || a.view.Key != n.View().Key {
			return false
		}
		if p := a.ownProgress(); p.Partitions > 0 || p.Unavailable > 0 {
			return false
		}
	}
	return true
}

// committed computes or finds what a View means, for each namespace: a pure
// function of its commit, computed once for all nodes.
func (d *Data) committed(m *wire.Commit) []*plane.Committed {
	if all := d.plans[m.View.Key]; all != nil {
		return all
	}
	v := m.View
	members := make([]*partition.MemberReport, len(v.Members))
	for i, p := range m.Payloads {
		r, err := partition.ParseMemberReport(p)
		if err != nil {
			d.W.fail("report of %v does not parse: %v", v.Members[i].Node, err)
			return nil
		}
		members[i] = r
	}
	var all []*plane.Committed
	for i := range d.cfg.Spaces {
		reports := make([]*partition.Report, len(v.Members))
		for j, r := range members {
			reports[j] = r.Namespaces[i].Report
		}
		table := d.table(&v, d.cfg.Spaces[i].RF)
		plan := partition.NewPlanAfter(partition.AbsenceOf(members, d.cfg.MaxAbsence), &v, table, reports)
		plan.Revive = partition.PolicyOf(members, spaceName(i)).Revive
		all = append(all, &plane.Committed{View: &v, Table: table, Plan: plan})
	}
	d.plans[v.Key] = all
	d.lines.met(d, all, members)
	return all
}

// table places the partitions of a View, or finds the table of an earlier one
// with the same members: placement depends on them alone.
func (d *Data) table(v *cluster.View, rf int) *partition.Table {
	for _, t := range d.tables {
		if t.rf == rf && cluster.SameMembers(t.members, v.Members) {
			return t.table
		}
	}
	t := partition.NewTable(v, rf)
	d.tables = append(d.tables, placed{rf, v.Members, t})
	return t
}

// Conflicts is how many discarded versions all nodes have counted.
func (d *Data) Conflicts() uint64 {
	sum := d.retired
	for _, n := range d.W.Nodes {
		if n.Up {
			for _, s := range n.App.(*app).spaces {
				c := s.Conflicts()
				sum += c.Sum()
			}
		}
	}
	return sum
}

func body(id uint64, pad int) []byte {
	b, err := record.AppendBody(nil, "", record.Value{}, []record.Bin{
		{Name: "v", Value: record.Int(int64(id))}, {Name: "pad", Value: record.Bytes(make([]byte, pad))}})
	if err != nil {
		panic("sim: invariant: a body of two bins is valid: " + err.Error())
	}
	return b
}

// writeOf is the id that body put into a record.
func writeOf(b []byte) uint64 {
	v, _ := record.Body(b).RawBins().Get("v")
	id, _ := v.Int()
	return uint64(id)
}

// retire takes what is left of a process that has ended.
func (d *Data) retire(a *app) {
	for _, s := range a.spaces {
		c := s.Conflicts()
		d.retired += c.Sum()
		s.die()
	}
	a.close()
}

// Close gives back the memory of all nodes.
func (d *Data) Close() {
	for _, n := range d.W.Nodes {
		if a, ok := n.App.(*app); ok {
			a.close()
		}
	}
}
