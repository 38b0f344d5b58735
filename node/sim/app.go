package sim

import (
	"time"

	"headroom/node/cluster"
	"headroom/node/heartbeat"
	"headroom/node/partition"
	"headroom/node/plane"
	"headroom/node/txn"
	"headroom/node/wire"
)

// app is the data plane of one node in one life: package plane, as production
// has it, and the parts of package server around it, each under the name it has
// there. What runs on goroutines of its own in production runs here at instants
// of its own.
type app struct {
	d      *Data
	n      *Node
	inc    cluster.Incarnation
	spaces []*space
	view   *cluster.View // committed; nil before the first
	wall   plane.WallClock
	lease  cluster.Instant

	migAt    cluster.Instant // the next turn of the migration loops
	sweepAt  cluster.Instant // of the shards' beat; Never while nothing is in flight
	pushAt   cluster.Instant // the map goes to the clients
	lookAt   cluster.Instant // of tellProgress
	wallAt   cluster.Instant // of the look at the wall clock
	reapAt   cluster.Instant // of the reaper's next lap; Never: there is none
	told     wire.Progress
	toldAt   cluster.Instant
	progress map[cluster.NodeID]wire.Progress

	forwards plane.Forwards
	pace     map[peer]*plane.QueueClock
	links    []*link // clients that said hello
	pushed   *clientMap
	pushes   uint64
	leaving  bool
	revive   bool                                // an operator gave up missing data
	moved    bool                                // a mastership changed since the last look at who masters what
	left     map[cluster.ViewKey]cluster.Instant // when it left its Views
}

const (
	sweepEvery    = 10 * time.Millisecond
	mapDelay      = 20 * time.Millisecond
	progressLook  = 100 * time.Millisecond
	progressEvery = time.Second
	wallStart     = int64(1_800_000_000_000) // ms since the epoch
)

func newApp(d *Data, n *Node) *app {
	if old, ok := n.App.(*app); ok {
		d.retire(old)
	}
	a := &app{d: d, n: n, inc: n.Inc, migAt: cluster.Never, sweepAt: cluster.Never, pushAt: cluster.Never, reapAt: cluster.Never,
		pace: map[peer]*plane.QueueClock{}, progress: map[cluster.NodeID]wire.Progress{},
		left: map[cluster.ViewKey]cluster.Instant{}}
	a.wall.StartMS = n.wallMS()
	if d.cfg.ReapEvery > 0 {
		a.reapAt = n.Now().Add(d.cfg.ReapEvery)
	}
	for i := range d.cfg.Spaces {
		a.spaces = append(a.spaces, newSpace(a, i))
	}
	d.met(n)
	return a
}

func (a *app) now() txn.Now {
	mono := a.n.Now()
	return txn.Now{Mono: mono, WallMS: a.wall.At(time.Duration(mono)), Lease: a.lease}
}

// Freeze implements App.
func (a *app) Freeze(_ cluster.Instant, _ cluster.ViewKey, members []cluster.Member) []byte {
	a.lease = 0
	r := partition.MemberReport{History: a.n.Membership.History()}
	for _, k := range r.History {
		age := uint32(0)
		if at, ok := a.left[k]; ok {
			age = uint32(a.n.Now().Sub(at) / time.Second)
		}
		r.Ages = append(r.Ages, age)
	}
	for i, s := range a.spaces {
		s.noteLost()
		r.Namespaces = append(r.Namespaces, partition.NamespaceReport{Name: spaceName(i), RF: a.d.cfg.Spaces[i].RF, Fresh: a.d.cfg.Fresh, Revive: a.revive, Report: s.Plane.Freeze(members)})
	}
	return r.Append(nil)
}

// Commit implements App.
func (a *app) Commit(_ cluster.Instant, m *wire.Commit) {
	all := a.d.committed(m)
	if all == nil {
		return
	}
	if a.view != nil {
		a.left[a.view.Key] = a.n.Now()
	}
	a.d.watch.committed(a.d, m)
	a.view = all[0].View
	for i, s := range a.spaces {
		s.Commit(a.n.Now(), all[i])
		s.keepView()
	}
	a.revived()
	a.wantRepairs()
	a.Heard()
	a.mapChanged(true)
	a.moved = true
}

// Settled implements App: renewLease.
func (a *app) Settled(now cluster.Instant) {
	if a.moved {
		a.moved = false
		a.d.checkMasters()
	}
	until := a.n.Heartbeat.LeaseUntil(a.n.Membership.View())
	if a.n.Membership.Frozen() {
		until = 0
	}
	had := a.lease
	a.lease = until
	for _, s := range a.spaces {
		s.workOn()
	}
	if had > now || until <= now {
		return
	}
	for _, s := range a.spaces {
		s.Tick()
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
			for _, s := range a.spaces {
				s.Confirm(p.Member.Node)
			}
		}
	}
}

// Event implements App.
func (a *app) Event(_ cluster.Instant, e heartbeat.Event) {
	switch e.Kind {
	case heartbeat.Silent, heartbeat.Refused, heartbeat.Left, heartbeat.Restarted:
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
	at := min(a.migAt, a.sweepAt, a.pushAt, a.lookAt, a.wallAt, a.reapAt)
	for _, s := range a.spaces {
		if s.vol != nil {
			at = min(at, s.vol.flushAt, s.vol.storeAt)
		}
	}
	return at
}

// Tick implements App: whatever production's loops would do now.
func (a *app) Tick(now cluster.Instant) {
	if now >= a.migAt {
		a.turn()
	}
	if now >= a.sweepAt {
		a.sweepAt = cluster.Never
		busy := false
		for _, s := range a.spaces {
			busy = s.Tick() || busy
		}
		a.sweepForwards(0)
		a.beat(busy)
	}
	for _, s := range a.spaces {
		if s.vol != nil {
			s.work(now)
		}
	}
	if now >= a.pushAt {
		a.pushMap()
	}
	if now >= a.lookAt {
		a.tellProgress()
	}
	if now >= a.wallAt {
		a.wallAt = now.Add(plane.LookEvery)
		a.wall.Look(time.Duration(now), a.n.wallMS())
	}
	if now >= a.reapAt {
		a.reapAt = now.Add(a.d.cfg.ReapEvery)
		a.reap()
	}
}

// reap is server's, a whole lap at once.
func (a *app) reap() {
	for _, s := range a.spaces {
		for _, pid := range a.d.pids {
			removed, buried := s.Reap(pid, a.now().WallMS, a.d.cfg.Horizon)
			a.d.Stats.Reaped += removed
			a.d.Stats.Buried += buried
		}
	}
}

// beat keeps the sweep going while anything is in flight.
func (a *app) beat(busy bool) {
	if a.sweepAt == cluster.Never && (busy || a.forwards.Len() > 0) {
		a.sweepAt = a.n.Now().Add(sweepEvery)
	}
}

// turn is one turn of the migration loops.
func (a *app) turn() {
	now := a.n.Now()
	a.migAt = cluster.Never
	for _, s := range a.spaces {
		busy, deadline := s.TickMigration(now)
		if busy {
			deadline = now.Add(a.slice())
		} else if deadline != cluster.Never {
			deadline = max(deadline, now.Add(time.Millisecond))
		}
		a.migAt = min(a.migAt, deadline)
	}
}

// slice is how long other work goes first between two turns.
func (a *app) slice() time.Duration { return time.Duration(10+a.d.rand.IntN(200)) * time.Microsecond }

func (a *app) ownProgress() wire.Progress {
	var p wire.Progress
	if a.view != nil {
		p.View = a.view.Key
	}
	for _, s := range a.spaces {
		m := s.Progress()
		p.Partitions += uint32(m.Partitions)
		p.Unavailable += uint32(m.Unavailable)
		p.Bytes += uint64(m.BytesLeft)
		if s.store.Stats().StopWrites {
			p.Stopped |= 1 << s.id
		}
	}
	return p
}

func (a *app) tellProgress() {
	now := a.n.Now()
	a.lookAt = now.Add(progressLook)
	a.wantComparisons(now)
	if a.view != nil {
		a.tellLosses()
	}
	p := a.ownProgress()
	news := p.View != a.told.View || (p.Partitions == 0) != (a.told.Partitions == 0) || p.Stopped != a.told.Stopped
	if a.view == nil || !news && now.Sub(a.toldAt) < progressEvery {
		return
	}
	a.told, a.toldAt = p, now
	for _, m := range a.view.Members {
		if m.Node != a.n.ID {
			a.n.Send(m.Node, Control, wire.KindProgress, p.Append(nil))
		}
	}
}

// handedOver is server's: this node may leave.
func (a *app) handedOver() bool {
	if a.view == nil || len(a.view.Members) <= 1 {
		return true
	}
	v := a.view
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
	for _, s := range a.spaces {
		for pid := range cluster.Partitions {
			if m, ok := s.Master(pid); ok && int(m) == i {
				return false
			}
		}
	}
	return sum.Partitions == 0
}

func (a *app) close() {
	for _, s := range a.spaces {
		s.store.Close()
	}
}
