package sim

import (
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/heartbeat"
	"headroom/node/migrate"
	"headroom/node/partition"
	"headroom/node/record"
	"headroom/node/storage"
	"headroom/node/txn"
	"headroom/node/wire"
)

// app is the data plane of one node in one life, glued together as package
// server does it, effect by effect in the same order; the names are those of
// its counterparts there. What runs on goroutines of its own in production
// runs here at instants of its own.
type app struct {
	d      *Data
	n      *Node
	inc    cluster.Incarnation
	store  *storage.Engine
	mig    *migrate.Core
	shards []*txn.Core

	com     *committed
	masters [cluster.Partitions]uint16 // member index or wire.NoMaster
	routes  [cluster.Partitions]uint64 // generation << 1 | served
	lease   cluster.Instant
	skew    int64

	drained  []int
	migAt    cluster.Instant // the next turn of the migration loop
	sweepAt  cluster.Instant // of the shards' beat; Never while nothing is in flight
	pushAt   cluster.Instant // the map goes to the clients
	lookAt   cluster.Instant // of tellProgress
	told     wire.Progress
	toldAt   cluster.Instant
	progress map[cluster.NodeID]wire.Progress

	forwards map[uint64]*forwarded
	nextID   uint64
	links    []*link // clients that said hello
	pushed   *clientMap
	pushes   uint64
	leaving  bool
	revive   bool // an operator gave up missing data
}

const (
	sweepEvery    = 10 * time.Millisecond
	mapDelay      = 20 * time.Millisecond
	progressLook  = 100 * time.Millisecond
	progressEvery = time.Second
	wallStart     = int64(1_800_000_000_000) // ms since the epoch
)

func newApp(d *Data, n *Node) *app {
	store, err := storage.Open(storage.Config{})
	if err != nil {
		panic("sim: invariant: an engine without limit opens: " + err.Error())
	}
	if old, ok := n.App.(*app); ok {
		d.retired += old.conflicts()
		old.store.Close()
	}
	a := &app{d: d, n: n, inc: n.Inc, store: store, migAt: cluster.Never, sweepAt: cluster.Never, pushAt: cluster.Never,
		forwards: map[uint64]*forwarded{}, progress: map[cluster.NodeID]wire.Progress{}}
	if d.cfg.Skew > 0 {
		a.skew = d.rand.Int64N(2*d.cfg.Skew.Milliseconds()+1) - d.cfg.Skew.Milliseconds()
	}
	a.mig = migrate.New(migrate.Config{Self: n.ID, Store: copies{store}, Rand: n.newRand(), Rate: d.cfg.Rate, MaxActive: d.cfg.Active})
	for range d.cfg.Shards {
		a.shards = append(a.shards, txn.New(txn.Config{Self: n.ID, Store: store}))
	}
	for pid := range a.masters {
		a.masters[pid] = wire.NoMaster
	}
	d.met(n)
	return a
}

func (a *app) conflicts() uint64 {
	sum := a.mig.Progress().ConflictsDiscarded
	for _, s := range a.shards {
		sum += s.Stats().ConflictsDiscarded
	}
	return sum
}

func (a *app) now() txn.Now {
	return txn.Now{Mono: a.n.Now(), WallMS: wallStart + int64(a.d.W.now)/1e6 + a.skew, Lease: a.lease}
}

func (a *app) shardOf(pid int) int { return pid % len(a.shards) }

// Freeze implements App.
func (a *app) Freeze(_ cluster.Instant, _ cluster.ViewKey, _ []cluster.Member) []byte {
	a.lease = 0
	for i := range a.shards {
		a.shards[i].Freeze()
	}
	for _, pid := range a.d.pids {
		a.publishOne(pid)
	}
	r := partition.MemberReport{History: a.n.Membership.History()}
	r.Namespaces = []partition.NamespaceReport{{Name: "sim", RF: a.d.cfg.RF, Fresh: a.d.cfg.Fresh, Revive: a.revive, Report: a.mig.Freeze()}}
	return r.Append(nil)
}

func (a *app) publishOne(pid int) {
	next := (a.routes[pid]>>1 + 1) << 1
	if a.shards[a.shardOf(pid)].Serves(pid) {
		next |= 1
	}
	a.routes[pid] = next
}

// Commit implements App.
func (a *app) Commit(_ cluster.Instant, m *wire.Commit) {
	c := a.d.committed(m)
	if c == nil {
		return
	}
	var before *cluster.View
	if a.com != nil {
		before = a.com.view
	}
	a.d.descend(before, m.View.Key)
	self := uint16(c.view.Index(a.n.ID))
	a.com = c
	for pid := range c.plan.Parts {
		a.masters[pid] = wire.NoMaster
		if c.plan.Parts[pid].Available {
			a.masters[pid] = c.plan.Parts[pid].Master
		}
	}
	a.mig.Commit(a.n.Now(), c.view, c.plan, c.histories)
	for i, core := range a.shards {
		core.Commit(a.now(), c.view, a.assignments(i, self))
		for _, pid := range a.d.pids {
			if a.shardOf(pid) == i {
				a.publishOne(pid)
			}
		}
		a.carryOut(i)
	}
	a.carryOutMigration()
	a.kick()
	a.revived()
	a.Heard()
	a.mapChanged(true)
	for _, pid := range a.d.pids {
		a.d.checkMaster(pid)
	}
}

// assignments lists the partitions in play only: the others get no request.
func (a *app) assignments(index int, self uint16) []txn.Assignment {
	var list []txn.Assignment
	v := a.com.view
	for _, pid := range a.d.pids {
		if a.shardOf(pid) != index {
			continue
		}
		p := &a.com.plan.Parts[pid]
		x := txn.Assignment{Partition: pid}
		if p.Available {
			x.Master = v.Members[p.Master].Node
			for _, m := range p.WriteSet {
				if m == self {
					x.Replica = true
				} else if p.Master == self {
					x.WriteSet = append(x.WriteSet, v.Members[m].Node)
				}
			}
			if p.Master == self {
				for _, m := range p.Duplicates {
					dup := txn.Duplicate{Node: v.Members[m].Node}
					dup.Parted, dup.Began = a.mig.ConflictWindow(pid, dup.Node)
					x.Duplicates = append(x.Duplicates, dup)
				}
			}
		}
		list = append(list, x)
	}
	return list
}

// Settled implements App: renewLease.
func (a *app) Settled(now cluster.Instant) {
	until := a.n.Heartbeat.LeaseUntil(a.n.Membership.View())
	if a.n.Membership.Frozen() {
		until = 0
	}
	had := a.lease
	a.lease = until
	if had > now || until <= now {
		return
	}
	for i, core := range a.shards {
		if core.Deadline(now) != cluster.Never {
			core.Tick(a.now())
			a.carryOut(i)
		}
	}
}

// Heard implements App: the members that have committed the View.
func (a *app) Heard() {
	v := a.n.Membership.View()
	if v == nil || a.n.Membership.Frozen() {
		return
	}
	for _, p := range a.n.Heartbeat.Peers() {
		if p.View == v.Key {
			a.mig.Confirm(p.Member.Node)
		}
	}
}

// Event implements App.
func (a *app) Event(_ cluster.Instant, e heartbeat.Event) {
	if e.Kind != heartbeat.Appeared && e.Kind != heartbeat.LinkBroken {
		a.sweepForwards(e.Node)
	}
}

// Broken implements App.
func (a *app) Broken(_ cluster.Instant, to cluster.NodeID, class Class) {
	if class == Repl {
		a.sweepForwards(to)
	}
}

// Deadline implements App.
func (a *app) Deadline() cluster.Instant {
	return min(a.migAt, a.sweepAt, a.pushAt, a.lookAt)
}

// Tick implements App: whatever production's loops would do now.
func (a *app) Tick(now cluster.Instant) {
	if now >= a.migAt {
		a.turn()
	}
	if now >= a.sweepAt {
		a.sweepAt = cluster.Never
		for i, core := range a.shards {
			if core.Deadline(now) != cluster.Never {
				core.Tick(a.now())
				a.carryOut(i)
			}
		}
		a.sweepForwards(0)
		a.beat()
	}
	if now >= a.pushAt {
		a.pushMap()
	}
	if now >= a.lookAt {
		a.tellProgress()
	}
}

// beat keeps the sweep going while anything is in flight.
func (a *app) beat() {
	if a.sweepAt != cluster.Never {
		return
	}
	busy := len(a.forwards) > 0
	for _, core := range a.shards {
		busy = busy || core.Deadline(a.n.Now()) != cluster.Never
	}
	if busy {
		a.sweepAt = a.n.Now().Add(sweepEvery)
	}
}

// turn is one turn of the migration loop.
func (a *app) turn() {
	now := a.n.Now()
	list := a.drained
	a.drained = nil
	for _, pid := range list {
		a.mig.Drained(now, pid)
	}
	a.mig.Tick(now)
	a.carryOutMigration()
	a.migAt = a.mig.Deadline()
	if a.mig.Busy() {
		a.migAt = now.Add(a.slice())
	} else if a.migAt != cluster.Never {
		a.migAt = max(a.migAt, now.Add(time.Millisecond))
	}
}

// slice is how long other work goes first between two turns.
func (a *app) slice() time.Duration { return time.Duration(10+a.d.rand.IntN(200)) * time.Microsecond }

func (a *app) kick() { a.migAt = min(a.migAt, a.n.Now().Add(a.slice())) }

func (a *app) carryOutMigration() {
	out := a.mig.Take()
	for _, pid := range out.Resolved {
		a.route(int(pid), func(core *txn.Core) { core.Resolved(int(pid)) })
	}
	for _, m := range out.Master {
		a.newMaster(m)
	}
	for _, pid := range out.Dropped {
		a.dropped(int(pid))
	}
	for i := range out.Sends {
		a.n.Send(out.Sends[i].To, Bulk, wire.KindMigrate, out.Sends[i].Msg.Append(nil))
	}
	for _, pid := range out.Drain {
		a.route(int(pid), func(core *txn.Core) { core.Drain(int(pid)) })
	}
}

func (a *app) dropped(pid int) {
	a.route(pid, func(core *txn.Core) {
		core.Dropped(pid)
		if a.mig.Copies().Copies[pid].State == partition.None {
			a.store.Drop(pid)
		}
	})
}

func (a *app) newMaster(m migrate.Mastership) {
	i := a.com.view.Index(m.Node)
	if i < 0 {
		return
	}
	pid := int(m.Partition)
	a.masters[pid] = uint16(i)
	a.route(pid, func(core *txn.Core) {
		if m.Node != a.n.ID {
			core.SetMaster(a.now(), pid, m.Node)
			return
		}
		var list []cluster.NodeID
		for _, x := range a.com.plan.Parts[pid].WriteSet {
			if n := a.com.view.Members[x].Node; n != a.n.ID {
				list = append(list, n)
			}
		}
		core.Become(a.now(), pid, list)
	})
	a.mapChanged(false)
	a.d.checkMaster(pid)
}

// run and route are one here: no reader runs beside them.
func (a *app) route(pid int, f func(core *txn.Core)) { a.run(pid, true, f) }

func (a *app) run(pid int, publish bool, f func(core *txn.Core)) {
	i := a.shardOf(pid)
	f(a.shards[i])
	if publish {
		a.publishOne(pid)
	}
	a.carryOut(i)
}

func (a *app) carryOut(index int) {
	core := a.shards[index]
	out := core.Take()
	for i := range out.Replies {
		a.reply(out.Replies[i].To, &out.Replies[i].Reply)
	}
	for i := range out.Sends {
		a.sendTxn(index, &out.Sends[i])
	}
	for i := range out.Answers {
		a.answerTxn(&out.Answers[i])
	}
	for i := range out.Forwards {
		a.forward(out.Forwards[i].To, out.Forwards[i].Req)
	}
	if len(out.Drained) > 0 {
		a.drained = append(a.drained, out.Drained...)
		a.kick()
	}
	core.Reset()
	a.beat()
}

func (a *app) ownProgress() wire.Progress {
	var p wire.Progress
	if a.com != nil {
		p.View = a.com.view.Key
	}
	m := a.mig.Progress()
	p.Partitions, p.Unavailable, p.Bytes = uint32(m.Partitions), uint32(m.Unavailable), uint64(m.BytesLeft)
	return p
}

func (a *app) tellProgress() {
	now := a.n.Now()
	a.lookAt = now.Add(progressLook)
	p := a.ownProgress()
	news := p.View != a.told.View || (p.Partitions == 0) != (a.told.Partitions == 0)
	if a.com == nil || !news && now.Sub(a.toldAt) < progressEvery {
		return
	}
	a.told, a.toldAt = p, now
	for _, m := range a.com.view.Members {
		if m.Node != a.n.ID {
			a.n.Send(m.Node, Control, wire.KindProgress, p.Append(nil))
		}
	}
}

// handedOver is server's: this node may leave.
func (a *app) handedOver() bool {
	if a.com == nil || len(a.com.view.Members) <= 1 {
		return true
	}
	v := a.com.view
	i := v.Index(a.n.ID)
	if !v.Members[i].Quiesced || a.n.Membership.Frozen() {
		return false
	}
	sum := a.ownProgress()
	for _, m := range v.Members {
		if m.Node == a.n.ID {
			continue
		}
		if p := a.progress[m.Node]; p.View != v.Key || p.Partitions > 0 {
			return false
		}
	}
	return sum.Partitions == 0 && !slices.Contains(a.masters[:], uint16(i))
}

// copies is the storage engine as migration sees it.
type copies struct{ *storage.Engine }

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
