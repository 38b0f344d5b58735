package sim

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

// Client is one process of an application with package client in it: it
// believes, routes, retries and gives up as that does. Workers on it do one
// operation after the other.
type Client struct {
	d    *Data
	ID   cluster.NodeID // names it in Network.Cut; above all nodes
	rand *rand.Rand
	// Load is what its workers do while it is not zero.
	Load Load

	cur     *clientMap
	sources map[cluster.NodeID]*clientMap
	nodes   map[cluster.NodeID]*remote
	parked  []*call
	running int // operations not ended
	// Failed counts operations that ended neither OK nor not found.
	Failed int
}

// Load is what each worker of a client does.
type Load struct {
	Writes, Deletes float64       // shares; the rest are gets
	Pause           time.Duration // mean between two operations
	From, To        int           // keys, To exclusive; zero: all
	Pad             int           // about the bytes of a put beside its id; zero: at most 64
	Mix             *Mix          // not nil: acts of all kinds instead of puts, deletes and gets
}

// remote is a node as the client sees it.
type remote struct {
	node     *Node
	link     *link // nil while not connected
	wasUp    bool
	failures int
	left     cluster.Instant // zero while it is a member
	gone     bool            // dropped for good
}

// call is one operation on its way.
type call struct {
	kind     wire.Kind
	key      *key
	write    *write // of a put or delete
	act      *act   // not nil: it is judged with the other acts on the key
	chunk    *chunk // not nil: it carries a batch or scan, sent to one node once
	body     []byte
	start    cluster.Instant
	deadline cluster.Instant
	done     func()

	link    *link
	id      uint64
	retryAt cluster.Instant
	master  cluster.NodeID
	pauses  int
	unsure  bool
	waiting bool
	ended   bool
}

const (
	opTimeout  = 2 * time.Second
	backoffMin = 2 * time.Millisecond
	backoffMax = 50 * time.Millisecond
	proxyAfter = 2
	linger     = 3 * time.Second
	redialMin  = 20 * time.Millisecond
	redialMax  = time.Second
)

// NewClient adds a client with some workers, which begin when Load is set.
func (d *Data) NewClient(workers int) *Client {
	c := &Client{d: d, ID: cluster.NodeID(1000 + len(d.Clients)), rand: rand.New(rand.NewPCG(d.rand.Uint64(), d.rand.Uint64())),
		sources: map[cluster.NodeID]*clientMap{}, nodes: map[cluster.NodeID]*remote{}}
	d.Clients = append(d.Clients, c)
	for _, n := range d.W.Nodes {
		c.join(n.ID)
	}
	for range workers {
		d.W.After(time.Duration(c.rand.Int64N(int64(10*time.Millisecond))), c.work)
	}
	return c
}

// work is one worker's next step.
func (c *Client) work() {
	again := func(d time.Duration) { c.d.W.After(d, c.work) }
	if c.Load.Pause == 0 || c.cur == nil {
		again(10 * time.Millisecond)
		return
	}
	rest := c.Load.Pause
	pause := func() { again(time.Duration(c.rand.Int64N(int64(2 * rest)))) }
	to := c.Load.To
	if to == 0 {
		to = len(c.d.keys)
	}
	k := c.d.keys[c.Load.From+c.rand.IntN(to-c.Load.From)]
	if c.Load.Mix != nil {
		c.mixed(k, pause)
		return
	}
	switch x := c.rand.Float64(); {
	case x < c.Load.Deletes && k.mortal:
		c.Do(wire.KindDelete, k, pause)
	case x < c.Load.Deletes+c.Load.Writes:
		c.Do(wire.KindPut, k, pause)
	default:
		c.Do(wire.KindGet, k, pause)
	}
}

// Do submits one operation; done is called when its outcome is in the history.
func (c *Client) Do(kind wire.Kind, k *key, done func()) {
	now := c.d.W.now
	x := &call{kind: kind, key: k, start: now, deadline: now.Add(opTimeout), done: done}
	if kind != wire.KindGet {
		x.write = c.d.begin(k, kind == wire.KindDelete)
		x.body = nil
		if kind == wire.KindPut {
			x.body = body(x.write.id, cmp.Or(c.d.cfg.Pad, c.rand.IntN(64)))
		}
	}
	c.running++
	c.d.W.at(x.deadline, func() { c.expire(x) })
	c.route(x)
}

func (x *call) reads() bool { return x.kind == wire.KindGet || x.kind == wire.KindGetHeader }

// repeatable reports whether sending a write twice has the effect of sending
// it once.
func (x *call) repeatable() bool {
	return x.act == nil || !x.act.check && x.act.verb != verbAdd
}

// doubted notes that a sending of the call may have had an effect.
func (x *call) doubted() {
	if x.act != nil {
		x.act.unsure++
	}
}

func (c *Client) master(k *key) cluster.NodeID {
	if c.cur == nil {
		return 0
	}
	if i := c.cur.masters[k.space][k.slot]; int(i) < len(c.cur.members) {
		return c.cur.members[i]
	}
	return 0
}

func (c *Client) route(x *call) {
	m := c.master(x.key)
	if m == 0 {
		x.master, x.waiting = 0, false
		c.park(x)
		return
	}
	x.master = m
	l := c.reach(c.nodes[m])
	if l == nil || l.dead {
		x.waiting = true
		c.park(x)
		return
	}
	now := c.d.W.now
	q := &wire.Request{Namespace: uint8(x.key.space), Digest: x.key.digest, TTL: wire.TTLNever, View: c.cur.view.Tag(), SentMS: uint32(time.Duration(now).Milliseconds()),
		DeadlineMS: leftMS(x.deadline, now), Body: x.body}
	if a := x.act; a != nil {
		q.TTL, q.CheckGen, q.Generation = a.ttl, a.check, a.gen
	}
	l.request(x, q)
}

// leftMS is how long the caller still waits, in milliseconds.
func leftMS(deadline, now cluster.Instant) uint32 {
	return uint32(max(1, (deadline.Sub(now)+time.Millisecond-1)/time.Millisecond))
}

func (c *Client) reach(r *remote) *link {
	if r.link != nil {
		return r.link
	}
	if r.wasUp && r.failures < proxyAfter {
		return nil
	}
	for _, id := range c.cur.members {
		if o := c.nodes[id]; o.link != nil {
			return o.link
		}
	}
	return nil
}

func (c *Client) park(x *call) {
	pause := min(backoffMin<<min(x.pauses, 16), backoffMax)
	x.pauses++
	x.link = nil
	wait := pause/2 + time.Duration(c.rand.Int64N(int64(pause/2)+1))
	x.retryAt = c.d.W.now.Add(wait)
	c.parked = append(c.parked, x)
	at := x.retryAt
	c.d.W.at(at, func() {
		if !x.ended && x.retryAt == at && c.unpark(x) {
			c.resend(x)
		}
	})
}

func (c *Client) unpark(x *call) bool {
	i := slices.Index(c.parked, x)
	if i >= 0 {
		c.parked = slices.Delete(c.parked, i, i+1)
	}
	return i >= 0
}

func (c *Client) resend(x *call) {
	if !x.ended {
		c.route(x)
	}
}

// replied handles an answer of a node.
func (c *Client) replied(l *link, id uint64, r *wire.Reply, view cluster.ViewKey) {
	x := l.take(id)
	if x == nil || x.ended {
		return
	}
	if x.chunk != nil {
		x.ended = true
		x.chunk.done(r)
		return
	}
	if r.Status == wire.StatusInDoubt || r.Status == wire.StatusNotMaster { // which also answers a write that was superseded
		x.doubted()
	}
	again := r.Status.Retryable()
	if r.Status == wire.StatusInDoubt && !x.reads() && x.repeatable() {
		again, x.unsure = true, true
	}
	if again {
		x.waiting = false
		if m := c.master(x.key); m != 0 && m != x.master {
			c.resend(x)
		} else {
			c.park(x)
		}
		return
	}
	c.finish(x, settle(x.kind, x.unsure, r.Status), r, view)
}

// settle is package client's.
func settle(kind wire.Kind, unsure bool, st wire.Status) wire.Status {
	switch {
	case !unsure || st == wire.StatusOK:
		return st
	case st == wire.StatusNotFound && kind == wire.KindDelete:
		return wire.StatusOK
	case st == wire.StatusNotFound:
		return st
	}
	return wire.StatusInDoubt
}

// lost handles a call whose node will not answer any more.
func (c *Client) lost(x *call) {
	x.doubted()
	switch {
	case x.chunk != nil:
		x.ended = true
		x.chunk.done(nil)
	case !x.reads() && !x.repeatable():
		c.finish(x, wire.StatusInDoubt, &wire.Reply{}, cluster.ViewKey{})
	default:
		x.unsure = x.unsure || !x.reads()
		c.resend(x)
	}
}

func (c *Client) expire(x *call) {
	if x.ended {
		return
	}
	if x.chunk != nil {
		x.link.take(x.id)
		x.ended = true
		x.chunk.done(nil)
		return
	}
	if !c.unpark(x) && x.link != nil {
		x.link.take(x.id)
		x.doubted()
		x.unsure = x.unsure || !x.reads()
	}
	st := wire.StatusTimeout
	if x.unsure {
		st = wire.StatusInDoubt
	}
	c.finish(x, st, &wire.Reply{}, cluster.ViewKey{})
}

func (c *Client) finish(x *call, st wire.Status, r *wire.Reply, view cluster.ViewKey) {
	x.ended = true
	c.running--
	if x.act != nil {
		if c.d.acted(x.act, st, r) {
			c.Failed++
		}
		x.done()
		return
	}
	if st != wire.StatusOK && st != wire.StatusNotFound {
		c.Failed++
	}
	c.d.ended(c, x, st, record.Bins(r.Bins), view)
	if x.done != nil {
		x.done()
	}
}

// offer takes a map that a node pushed; see package client's atlas.
func (c *Client) offer(from cluster.NodeID, m *clientMap) {
	order := 1
	if c.cur != nil && len(c.sources) > 0 {
		order = m.view.Compare(c.cur.view)
	}
	switch {
	case order < 0:
		delete(c.sources, from)
		return
	case order > 0:
		clear(c.sources)
		c.sources[from] = m
		c.install(m)
		return
	}
	last := c.sources[from]
	if last != nil && m.generation < last.generation {
		return
	}
	c.sources[from] = m
	next := *c.cur
	next.masters = nil
	for _, list := range c.cur.masters {
		next.masters = append(next.masters, slices.Clone(list))
	}
	self := slices.Index(m.members, from)
	changed := false
	for i := range m.masters {
		for j, said := range m.masters[i] {
			cur := next.masters[i][j]
			news := last != nil && last.masters[i][j] != said
			own := last == nil && self >= 0 && (int(said) == self || int(cur) == self)
			if said != cur && (news || own) {
				next.masters[i][j], changed = said, true
			}
		}
	}
	if changed {
		c.install(&next)
	}
}

// install makes m the routes of all calls from now on.
func (c *Client) install(m *clientMap) {
	c.cur = m
	for _, id := range c.ids() {
		if r := c.nodes[id]; slices.Contains(m.members, id) {
			r.left = 0
		} else if r.left == 0 {
			r.left = c.d.W.now
			c.d.W.After(linger, func() { c.drop(r) })
		}
	}
	for _, id := range m.members {
		if r := c.nodes[id]; r == nil || r.gone {
			c.join(id)
		}
	}
	c.tend()
}

func (c *Client) ids() []cluster.NodeID { return slices.Sorted(maps.Keys(c.nodes)) }

// tend moves calls that have a better place to go.
func (c *Client) tend() {
	for _, id := range c.ids() {
		r := c.nodes[id]
		if r.link == nil {
			continue
		}
		for _, x := range r.link.takeIf(func(x *call) bool {
			if x.chunk != nil || !x.reads() {
				return r.left != 0
			}
			m := c.master(x.key)
			return r.left != 0 || m != 0 && m != x.master
		}) {
			c.lost(x)
		}
	}
	for _, x := range slices.Clone(c.parked) {
		m := c.master(x.key)
		if m != 0 && (m != x.master || x.waiting && c.nodes[m].link != nil) && c.unpark(x) {
			c.resend(x)
		}
	}
}

func (c *Client) join(id cluster.NodeID) {
	r := &remote{node: c.d.W.Node(id)}
	c.nodes[id] = r
	c.keep(r, redialMin)
}

// drop ends the connection of a node that left the map long enough ago.
func (c *Client) drop(r *remote) {
	if r.left == 0 || c.d.W.now.Sub(r.left) < linger || r.gone {
		return
	}
	r.gone = true
	if r.link != nil {
		l := r.link
		c.unlink(r)
		l.lose()
	}
}

func (c *Client) unlink(r *remote) {
	r.link = nil
	delete(c.sources, r.node.ID)
}

// keep tries to connect until it succeeds, and again when the link is lost.
func (c *Client) keep(r *remote, pause time.Duration) {
	d := pause/2 + time.Duration(c.rand.Int64N(int64(pause/2)))
	c.d.W.After(d, func() {
		n := r.node
		switch {
		case r.gone:
		case n.Up && !n.Paused && !c.d.W.Net.IsCut(c.ID, n.ID) && !c.d.W.Net.IsCut(n.ID, c.ID):
			r.link, r.wasUp, r.failures = dial(c, n), true, 0
			c.watch(r)
			c.tend()
		default:
			r.failures++
			c.keep(r, min(2*pause, redialMax))
		}
	})
}

// watch notices that a link has ended, as the reader of a connection does.
func (c *Client) watch(r *remote) {
	l := r.link
	c.d.W.After(5*time.Millisecond, func() {
		switch {
		case r.gone || r.link != l:
		case l.dead:
			c.unlink(r)
			c.keep(r, redialMin)
		default:
			c.watch(r)
		}
	})
}
