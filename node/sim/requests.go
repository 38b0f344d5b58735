package sim

import (
	"maps"
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/txn"
	"headroom/node/wire"
)

// peer is where a message of another node came from: its process, because an
// answer to an earlier life finds no connection.
type peer struct {
	node cluster.NodeID
	inc  cluster.Incarnation
}

// header goes before the payload of frames that have one on the wire.
func header(flags uint8, id uint64) []byte { return wire.AppendU64([]byte{flags}, id) }

// Receive implements App.
func (a *app) Receive(now cluster.Instant, from cluster.NodeID, class Class, kind wire.Kind, payload []byte) {
	switch class {
	case Bulk:
		a.migrateFrame(now, from, payload)
		return
	case Control:
		var p wire.Progress
		if err := p.Parse(payload); err != nil {
			a.bad(kind, err)
		}
		a.progress[from] = p
		return
	}
	r := wire.NewReader(payload)
	flags, id := r.U8(), r.U64()
	payload = r.Rest()
	to := txn.Origin{Conn: peer{from, a.n.sender}, ID: id}
	switch kind {
	case wire.KindReplicate, wire.KindAdopt, wire.KindResolve:
		a.replicate(to, kind, payload)
	case wire.KindReplicated, wire.KindResolved:
		a.replicated(from, kind, id, payload)
	case wire.KindReply:
		a.forwardReply(id, payload)
	default:
		a.request(to, kind, flags|wire.FlagForwarded, payload)
	}
}

func (a *app) bad(kind wire.Kind, err error) {
	a.d.W.fail("node%d: frame of kind %d: %v", a.n.ID, kind, err)
}

func (a *app) migrateFrame(now cluster.Instant, from cluster.NodeID, payload []byte) {
	var m wire.Migrate
	if err := m.Parse(payload); err != nil {
		a.bad(wire.KindMigrate, err)
		return
	}
	a.mig.Receive(now, from, &m)
	a.carryOutMigration()
	if pid := int(m.Partition); m.Step == wire.StepDone && m.Answers == wire.StepAllDone && a.com != nil && m.View == a.com.view.Key {
		a.run(pid, false, func(core *txn.Core) { core.Left(pid, from) })
	}
	a.kick()
}

// request handles a client's request, or one that a node forwards.
func (a *app) request(from txn.Origin, kind wire.Kind, flags uint8, payload []byte) {
	q := &txn.Request{Kind: kind, From: from, Forwarded: flags&wire.FlagForwarded != 0}
	if err := q.Parse(payload); err != nil {
		a.bad(kind, err)
		return
	}
	if a.leaving && (a.com == nil || !a.com.view.Has(a.n.ID, a.inc)) {
		a.reply(from, &wire.Reply{Status: wire.StatusShuttingDown})
		return
	}
	if kind == wire.KindGet && a.fastGet(q) {
		return
	}
	a.toCore(q)
}

func (a *app) toCore(q *txn.Request) {
	a.run(q.Digest.Partition(), false, func(core *txn.Core) { core.Request(a.now(), q) })
}

// fastGet reads as server does without the shard's lock: route, record, then
// lease and route again; sometimes with a while in between.
func (a *app) fastGet(q *txn.Request) bool {
	pid := q.Digest.Partition()
	before := a.routes[pid]
	if before&1 == 0 {
		return false
	}
	m, b, ok := a.store.Get(&q.Digest, nil)
	look := func() bool {
		now := a.now()
		if now.Mono >= now.Lease || a.routes[pid] != before {
			return false
		}
		r := wire.Reply{Status: wire.StatusNotFound}
		if ok && m.Live(uint32(now.WallMS/1000)) {
			r = wire.Reply{Generation: m.Generation, Expiry: m.Expiry, Bins: record.Body(b).RawBins()}
		}
		a.reply(q.From, &r)
		return true
	}
	if a.d.rand.Float64() >= a.d.cfg.Torn {
		return look()
	}
	r := *q
	r.Body = slices.Clone(q.Body)
	a.d.W.After(time.Duration(a.d.rand.Int64N(int64(2*time.Millisecond))), func() {
		if a.alive() {
			a.n.deliver(q.From, func() {
				if !look() {
					a.toCore(&r)
				}
				a.n.plan()
			})
		}
	})
	return true
}

func (a *app) alive() bool { return a.n.Up && a.n.Inc == a.inc }

// reply sends a reply to where its request came from.
func (a *app) reply(to txn.Origin, r *wire.Reply) {
	switch o := to.Conn.(type) {
	case *link:
		o.reply(to.ID, r, a.viewKey())
	case peer:
		if a.d.W.Node(o.node).Inc == o.inc {
			b := wire.AppendViewKey(header(0, to.ID), a.viewKey()) // for the observer
			a.n.Send(o.node, Repl, wire.KindReply, r.Append(b))
		}
	}
}

func (a *app) viewKey() (k cluster.ViewKey) {
	if a.com != nil {
		k = a.com.view.Key
	}
	return k
}

func (a *app) sendTxn(index int, s *txn.Send) {
	b := header(0, s.ID<<16|uint64(index))
	if s.Kind == wire.KindResolve {
		b = s.Resolve.Append(b)
	} else {
		b = s.Replicate.Append(b)
	}
	a.n.Send(s.To, Repl, s.Kind, b)
}

func (a *app) answerTxn(x *txn.Answer) {
	o := x.To.Conn.(peer)
	if a.d.W.Node(o.node).Inc != o.inc {
		return
	}
	b := header(0, x.To.ID)
	if x.Kind == wire.KindResolved {
		b = x.Resolved.Append(b)
	} else {
		b = append(b, byte(x.Status))
	}
	a.n.Send(o.node, Repl, x.Kind, b)
}

func (a *app) replicate(from txn.Origin, kind wire.Kind, payload []byte) {
	var rep wire.Replicate
	var res wire.Resolve
	d, err := &rep.Digest, error(nil)
	if kind == wire.KindResolve {
		d, err = &res.Digest, res.Parse(payload)
	} else {
		err = rep.Parse(payload)
	}
	if err != nil {
		a.bad(kind, err)
		return
	}
	a.run(d.Partition(), false, func(core *txn.Core) { core.Receive(a.now(), from, kind, &rep, &res) })
}

func (a *app) replicated(from cluster.NodeID, kind wire.Kind, id uint64, payload []byte) {
	index := int(id & 0xFFFF)
	id >>= 16
	if kind == wire.KindResolved {
		var res wire.Resolved
		if err := res.Parse(payload); err != nil {
			a.bad(kind, err)
			return
		}
		a.run(index, false, func(core *txn.Core) { core.ResolvedBy(a.now(), from, id, &res) })
		return
	}
	a.run(index, false, func(core *txn.Core) { core.Replicated(a.now(), from, id, wire.Status(payload[0])) })
}

// forwarded is a request on its way to the node that masters its partition.
type forwarded struct {
	origin   txn.Origin
	node     cluster.NodeID
	read     bool
	deadline cluster.Instant
}

func (f *forwarded) lost() wire.Status {
	if f.read {
		return wire.StatusUnavailable
	}
	return wire.StatusInDoubt
}

func (a *app) forward(to cluster.NodeID, q *txn.Request) {
	a.nextID++
	a.forwards[a.nextID] = &forwarded{origin: q.From, node: to, read: q.Kind == wire.KindGet, deadline: q.Deadline}
	q.DeadlineMS = uint32(max(1, q.Deadline.Sub(a.n.Now()).Milliseconds()))
	if !a.n.Send(to, Repl, q.Kind, q.Append(header(wire.FlagForwarded, a.nextID))) {
		delete(a.forwards, a.nextID)
		a.reply(q.From, &wire.Reply{Status: wire.StatusNotMaster})
	}
}

func (a *app) forwardReply(id uint64, payload []byte) {
	f := a.forwards[id]
	if f == nil {
		return
	}
	delete(a.forwards, id)
	in := wire.NewReader(payload)
	view := in.ViewKey()
	var r wire.Reply
	if err := r.Parse(in.Rest()); err != nil {
		a.bad(wire.KindReply, err)
		return
	}
	if o, ok := f.origin.Conn.(*link); ok {
		o.reply(f.origin.ID, &r, view)
	}
}

func (a *app) sweepForwards(gone cluster.NodeID) {
	now := a.n.Now()
	for _, id := range slices.Sorted(maps.Keys(a.forwards)) {
		f := a.forwards[id]
		if f.node == gone || f.deadline != 0 && now >= f.deadline {
			delete(a.forwards, id)
			a.reply(f.origin, &wire.Reply{Status: f.lost()})
		}
	}
}

// clientMap is wire.Map for the partitions in play, immutable.
type clientMap struct {
	view       cluster.ViewKey
	generation uint64
	members    []cluster.NodeID
	masters    map[int]uint16 // by partition; wire.NoMaster for none
}

func (a *app) mapChanged(urgent bool) {
	d := mapDelay
	if urgent {
		d = 0
	}
	a.pushAt = min(a.pushAt, a.n.Now().Add(d))
}

func (a *app) pushMap() {
	a.pushAt = cluster.Never
	if a.com == nil {
		return
	}
	a.pushes++
	m := &clientMap{view: a.com.view.Key, generation: a.pushes, masters: map[int]uint16{}}
	for _, x := range a.com.view.Members {
		m.members = append(m.members, x.Node)
	}
	for _, pid := range a.d.pids {
		m.masters[pid] = a.masters[pid]
	}
	a.pushed = m
	for _, l := range a.links {
		l.push(m)
	}
}

// hello registers a client's connection.
func (a *app) hello(l *link) {
	a.links = slices.DeleteFunc(a.links, func(x *link) bool { return x.dead })
	a.links = append(a.links, l)
	if a.pushed != nil {
		l.push(a.pushed)
	}
}
