package server

import (
	"sync"
	"sync/atomic"

	"headroom/node/cluster"
	"headroom/node/migrate"
	"headroom/node/partition"
	"headroom/node/record"
	"headroom/node/storage"
	"headroom/node/txn"
	"headroom/node/wire"
)

// shardCount splits a namespace's partitions over independent transaction
// cores, each with its lock. 32: with two to sixteen cores, two requests
// rarely meet, and a View change visits each once.
const shardCount = 32

// shard is one transaction core and its lock. Lock order: migrator.mu, then
// shard.mu, then the locks of connections.
type shard struct {
	mu   sync.Mutex
	core *txn.Core
	_    [48]byte // keep neighbours off one cache line
}

// namespace is everything a node holds of one namespace.
type namespace struct {
	id     uint8
	cfg    NamespaceConfig
	store  *storage.Engine
	shards [shardCount]shard
	mig    migrator

	// routes lets a get skip the shard's lock: generation << 1 | served. A
	// reader takes it before and after reading the store; if both are equal
	// and odd, nothing moved in between.
	routes [cluster.Partitions]atomic.Uint64

	// masters is the working master of each partition as a member index, for
	// maps and status. The control goroutine and the migrator write it.
	masters [cluster.Partitions]atomic.Uint32
	plan    atomic.Pointer[committed]

	fastReads atomic.Uint64
	mortal    atomic.Bool // some record had a TTL or was deleted: the reaper has work
}

// committed is what a View means for one namespace.
type committed struct {
	view  *cluster.View
	table *partition.Table
	plan  *partition.Plan
}

// migrator owns the migration core: mu is held by whoever runs it, the
// migration loop, the bulk connections' readers or the control goroutine.
type migrator struct {
	mu      sync.Mutex
	core    *migrate.Core
	wake    chan struct{} // capacity 1
	drainMu sync.Mutex
	drained []int // partitions whose drain has ended, told by the shards
}

func (ns *namespace) shardOf(pid int) *shard { return &ns.shards[pid%shardCount] }

// publish makes a shard's decisions visible to readers without the lock. The
// shard's lock is held.
func (ns *namespace) publishLocked(index int) {
	core := ns.shards[index].core
	for pid := index; pid < cluster.Partitions; pid += shardCount {
		old := ns.routes[pid].Load()
		next := (old>>1 + 1) << 1
		if core.Serves(pid) {
			next |= 1
		}
		ns.routes[pid].Store(next)
	}
}

func (ns *namespace) publishOneLocked(pid int) {
	next := (ns.routes[pid].Load()>>1 + 1) << 1
	if ns.shards[pid%shardCount].core.Serves(pid) {
		next |= 1
	}
	ns.routes[pid].Store(next)
}

// assignments are this node's parts in a plan, for one shard; mig has
// committed the plan already.
func assignments(index int, self uint16, v *cluster.View, plan *partition.Plan, mig *migrate.Core) []txn.Assignment {
	list := make([]txn.Assignment, 0, cluster.Partitions/shardCount)
	for pid := index; pid < cluster.Partitions; pid += shardCount {
		p := &plan.Parts[pid]
		a := txn.Assignment{Partition: pid}
		if p.Available {
			a.Master = v.Members[p.Master].Node
			for _, m := range p.WriteSet {
				if m == self {
					a.Replica = true
				} else if p.Master == self {
					a.WriteSet = append(a.WriteSet, v.Members[m].Node)
				}
			}
			if p.Master == self {
				a.Duplicates = duplicates(v, pid, p, mig)
			}
		}
		list = append(list, a)
	}
	return list
}

func duplicates(v *cluster.View, pid int, p *partition.Part, mig *migrate.Core) []txn.Duplicate {
	var list []txn.Duplicate
	for _, m := range p.Duplicates {
		d := txn.Duplicate{Node: v.Members[m].Node}
		d.Parted, d.Began = mig.ConflictWindow(pid, d.Node)
		list = append(list, d)
	}
	return list
}

// writeSetWithout lists the nodes of a partition's write set but one. It holds
// for the whole View: a holder outside the replica set leaves by saying that
// it has dropped its copy.
func writeSetWithout(c *committed, pid int, self cluster.NodeID) []cluster.NodeID {
	var list []cluster.NodeID
	for _, m := range c.plan.Parts[pid].WriteSet {
		if n := c.view.Members[m].Node; n != self {
			list = append(list, n)
		}
	}
	return list
}

// run calls f on a partition's transaction core under its lock, and carries
// out the effects.
func (n *Node) run(ns *namespace, pid int, f func(core *txn.Core)) {
	sh := ns.shardOf(pid)
	sh.mu.Lock()
	f(sh.core)
	n.carryOutLocked(ns, pid%shardCount)
	sh.mu.Unlock()
}

// carryOutLocked does what the shard's core asked for. Appending to a
// connection's buffer takes only that buffer's lock and never waits.
func (n *Node) carryOutLocked(ns *namespace, index int) {
	core := ns.shards[index].core
	out := core.Take()
	for i := range out.Replies {
		n.reply(out.Replies[i].To, &out.Replies[i].Reply)
	}
	for i := range out.Sends {
		n.sendTxn(ns, index, &out.Sends[i])
	}
	for i := range out.Answers {
		answerTxn(&out.Answers[i])
	}
	for i := range out.Forwards {
		n.forward(out.Forwards[i].To, out.Forwards[i].Req)
	}
	if len(out.Drained) > 0 {
		ns.mig.drainMu.Lock()
		ns.mig.drained = append(ns.mig.drained, out.Drained...)
		ns.mig.drainMu.Unlock()
		ns.mig.kick()
	}
	core.Reset()
}

func (m *migrator) kick() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// master is the member index of a partition's working master, false for none.
func (ns *namespace) master(pid int) (uint16, bool) {
	m := ns.masters[pid].Load()
	return uint16(m), m < wire.NoMaster
}

// records is the storage engine as the transaction cores see it. It notes
// when a record that may die is stored.
type records struct {
	*storage.Engine
	mortal *atomic.Bool
}

func (s records) note(m *record.Meta) {
	if (m.Expiry != 0 || m.Tombstone) && !s.mortal.Load() {
		s.mortal.Store(true)
	}
}

// Put implements txn.Store.
func (s records) Put(d *record.Digest, m record.Meta, body []byte) error {
	s.note(&m)
	return s.Engine.Put(d, m, body)
}

// PutNewer implements txn.Store and migrate.Store.
func (s records) PutNewer(d *record.Digest, m record.Meta, body []byte) (bool, record.Meta, bool, error) {
	s.note(&m)
	return s.Engine.PutNewer(d, m, body)
}

// copies is the storage engine as the migration core wants to see it.
type copies struct{ records }

// Partition implements migrate.Store.
func (s copies) Partition(p int) migrate.Size {
	st := s.Engine.Partition(p)
	return migrate.Size{Records: int(st.Records + st.Tombstones), Bytes: st.Bytes}
}

// Scan implements migrate.Store.
func (s copies) Scan(p int, cursor uint64, max int, fn func(d *record.Digest, m *record.Meta, body []byte)) (uint64, bool) {
	next, done := s.Engine.Scan(p, storage.Cursor(cursor), max, fn)
	return uint64(next), done
}
