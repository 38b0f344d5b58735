package sim

import (
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/plane"
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
		a.controlFrame(from, kind, payload)
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
		a.request(to, kind, flags|wire.FlagForwarded, a.paceOf(to.Conn.(peer)), payload)
	}
}

func (a *app) controlFrame(from cluster.NodeID, kind wire.Kind, payload []byte) {
	if kind != wire.KindProgress {
		a.heardLosses(from, kind, payload)
		return
	}
	var p wire.Progress
	if err := p.Parse(payload); err != nil {
		a.bad(kind, err)
	}
	a.heardProgress(from, p)
}

// heardLosses is server's.
func (a *app) heardLosses(from cluster.NodeID, kind wire.Kind, payload []byte) {
	var m wire.Losses
	var k wire.LossesKnown
	if kind == wire.KindLosses {
		if err := m.Parse(payload); err != nil {
			a.bad(kind, err)
		} else if k, ok := a.spaces[m.Namespace].HeardLosses(from, &m); ok {
			a.n.Send(from, Control, wire.KindLossesKnown, k.Append(nil))
		}
	} else if err := k.Parse(payload); err != nil {
		a.bad(kind, err)
	} else {
		a.spaces[k.Namespace].HeardLossesKnown(from, &k)
	}
}

// tellLosses is server's.
func (a *app) tellLosses() {
	for i := range a.view.Members {
		m := &a.view.Members[i]
		if m.Node == a.n.ID {
			continue
		}
		for _, s := range a.spaces {
			if l := s.News(m); l != nil {
				a.n.Send(m.Node, Control, wire.KindLosses, l.Append(nil))
			}
		}
	}
}

// heardProgress is server's.
func (a *app) heardProgress(from cluster.NodeID, p wire.Progress) {
	news := a.progress[from].Stopped != p.Stopped
	a.progress[from] = p
	if !news {
		return
	}
	for i, s := range a.spaces {
		var list []cluster.NodeID
		for _, n := range a.d.W.Nodes {
			if a.progress[n.ID].Stopped>>i&1 == 1 {
				list = append(list, n.ID)
			}
		}
		s.SetStopped(list)
	}
}

func (a *app) paceOf(p peer) *plane.QueueClock {
	if a.pace[p] == nil {
		a.pace[p] = &plane.QueueClock{}
	}
	return a.pace[p]
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
	a.spaces[m.Namespace].Migrate(now, from, &m)
}

// request handles a client's request, or one that a node forwards; pace is of
// the connection that it came on.
func (a *app) request(from txn.Origin, kind wire.Kind, flags uint8, pace *plane.QueueClock, payload []byte) {
	q := &txn.Request{Kind: kind, From: from, Forwarded: flags&wire.FlagForwarded != 0}
	if err := q.Parse(payload); err != nil {
		a.bad(kind, err)
		return
	}
	if a.leaving && (a.view == nil || !a.view.Has(a.n.ID, a.inc)) {
		a.reply(from, &wire.Reply{Status: wire.StatusShuttingDown})
		return
	}
	s := a.spaces[q.Namespace]
	if a.readLater(s, q, pace) {
		return
	}
	if (kind == wire.KindGet || kind == wire.KindGetHeader) && a.fastGet(s, q, pace) {
		return
	}
	a.slowly(s, q, pace)
}

func (a *app) due(q *txn.Request, pace *plane.QueueClock) bool {
	var ok bool
	q.Deadline, ok = pace.Due(a.n.Now(), plane.Patience{SentMS: q.SentMS, DeadlineMS: q.DeadlineMS, Default: opTimeout})
	if !ok {
		a.d.Stats.Overdue++
		a.reply(q.From, &wire.Reply{Status: wire.StatusTimeout})
	}
	return ok
}

func (a *app) slowly(s *space, q *txn.Request, pace *plane.QueueClock) {
	if a.due(q, pace) {
		s.Request(q)
		a.beat(true)
	}
}

// readLater is server's: a get whose record lies on a device is read later.
func (a *app) readLater(s *space, q *txn.Request, pace *plane.QueueClock) bool {
	if !s.store.Waits() || q.Kind != wire.KindGet && q.Kind != wire.KindGetHeader {
		return false
	}
	if _, _, _, ready := s.store.GetNow(&q.Digest, nil); ready {
		return false
	}
	if !a.due(q, pace) {
		return true
	}
	q.Body = slices.Clone(q.Body)
	if !s.Fetch(&get{s: s, q: q}) {
		a.reply(q.From, &wire.Reply{Status: wire.StatusBusy})
	}
	return true
}

// get is a get that waits for a device: server's readNow.
type get struct {
	s    *space
	q    *txn.Request
	read plane.Read
	ok   bool
}

// Partition implements plane.Fetch.
func (g *get) Partition() int { return g.q.Digest.Partition() }

// Bulk implements plane.Fetch.
func (g *get) Bulk() bool { return false }

// Read implements plane.Fetch.
func (g *get) Read() int {
	g.read, g.ok = g.s.Begin(&g.q.Digest, nil)
	return 1
}

// Done implements plane.Fetch.
func (g *get) Done() {
	a := g.s.a
	now := a.now()
	switch {
	case now.Mono >= g.q.Deadline:
		a.d.Stats.Overdue++
		a.reply(g.q.From, &wire.Reply{Status: wire.StatusTimeout})
	case g.ok && g.s.Valid(&g.read, &g.q.Digest, now):
		r := g.read.Reply(now, g.q.Kind == wire.KindGet)
		a.reply(g.q.From, &r)
	default:
		g.s.Request(g.q)
	}
}

// fastGet reads as server does without the shard's lock; sometimes some time
// passes between the record and the look at lease and route.
func (a *app) fastGet(s *space, q *txn.Request, pace *plane.QueueClock) bool {
	read, ok := s.Begin(&q.Digest, nil)
	if !ok {
		return false
	}
	look := func() bool {
		now := a.now()
		if !s.Valid(&read, &q.Digest, now) {
			return false
		}
		a.d.checkAnswer(s, q.Digest.Partition())
		if a.due(q, pace) {
			r := read.Reply(now, q.Kind == wire.KindGet)
			a.reply(q.From, &r)
		}
		return true
	}
	if a.d.rand.Float64() >= a.d.cfg.Torn {
		return look()
	}
	q.Body = slices.Clone(q.Body)
	a.d.W.After(time.Duration(a.d.rand.Int64N(int64(2*time.Millisecond))), func() {
		if a.alive() {
			a.n.deliver(q.From, func() {
				if !look() {
					a.slowly(s, q, pace)
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
	case *plane.Eviction:
		o.Replied(r.Status)
	case *link:
		o.reply(to.ID, r, a.viewKey())
	case *join:
		o.set(to.ID, r, a.viewKey())
	case peer:
		if a.d.W.Node(o.node).Inc == o.inc {
			b := wire.AppendViewKey(header(0, to.ID), a.viewKey()) // for the observer
			a.n.Send(o.node, Repl, wire.KindReply, r.Append(b))
		}
	}
}

func (a *app) viewKey() (k cluster.ViewKey) {
	if a.view != nil {
		k = a.view.Key
	}
	return k
}

func (a *app) replicate(from txn.Origin, kind wire.Kind, payload []byte) {
	var rep wire.Replicate
	var res wire.Resolve
	var space uint8
	var err error
	if kind == wire.KindResolve {
		err = res.Parse(payload)
		space = res.Namespace
	} else {
		err = rep.Parse(payload)
		space = rep.Namespace
	}
	if err != nil {
		a.bad(kind, err)
		return
	}
	a.spaces[space].Receive(from, kind, &rep, &res)
	a.beat(true)
}

func (a *app) replicated(from cluster.NodeID, kind wire.Kind, frame uint64, payload []byte) {
	s := a.spaces[plane.FrameNamespace(frame)]
	if kind == wire.KindReplicated {
		s.Replicated(from, frame, wire.Status(payload[0]))
		return
	}
	var res wire.Resolved
	if err := res.Parse(payload); err != nil {
		a.bad(kind, err)
		return
	}
	s.ResolvedBy(from, frame, &res)
}

func (a *app) forward(to cluster.NodeID, q *txn.Request) {
	id, ok := a.forwards.Add(to, q)
	if !ok {
		a.reply(q.From, &wire.Reply{Status: wire.StatusNotMaster})
		return
	}
	now := a.n.Now()
	q.SentMS = uint32(time.Duration(now).Milliseconds())
	q.DeadlineMS = uint32(max(1, q.Deadline.Sub(now).Milliseconds()))
	if !a.n.Send(to, Repl, q.Kind, q.Append(header(wire.FlagForwarded, id))) {
		a.forwards.Take(id)
		a.reply(q.From, &wire.Reply{Status: wire.StatusNotMaster})
	}
	a.beat(true)
}

func (a *app) forwardReply(id uint64, payload []byte) {
	f, ok := a.forwards.Take(id)
	if !ok {
		return
	}
	in := wire.NewReader(payload)
	view := in.ViewKey()
	var r wire.Reply
	if err := r.Parse(in.Rest()); err != nil {
		a.bad(wire.KindReply, err)
		return
	}
	switch o := f.Origin.Conn.(type) {
	case *link:
		o.reply(f.Origin.ID, &r, view)
	case *join:
		o.set(f.Origin.ID, &r, view)
	}
}

func (a *app) sweepForwards(gone cluster.NodeID) {
	for _, f := range a.forwards.Sweep(a.n.Now(), gone) {
		a.reply(f.Origin, &wire.Reply{Status: f.Lost()})
	}
}

// clientMap is wire.Map for the partitions in play, immutable.
type clientMap struct {
	view       cluster.ViewKey
	generation uint64
	members    []cluster.NodeID
	masters    [][]uint16 // by namespace and place in Data.pids; wire.NoMaster for none
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
	if a.view == nil {
		return
	}
	a.pushes++
	m := &clientMap{view: a.view.Key, generation: a.pushes, masters: make([][]uint16, len(a.spaces))}
	for _, x := range a.view.Members {
		m.members = append(m.members, x.Node)
	}
	for i, s := range a.spaces {
		m.masters[i] = make([]uint16, len(a.d.pids))
		for j, pid := range a.d.pids {
			m.masters[i][j], _ = s.Master(pid)
		}
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
