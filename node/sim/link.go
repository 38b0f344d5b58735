package sim

import (
	"math"
	"time"

	"headroom/node/cluster"
	"headroom/node/plane"
	"headroom/node/txn"
	"headroom/node/wire"
)

// link is the connection of a client to one process: frames arrive in order
// each way, late while the network is cut, never once either end has given
// it up.
type link struct {
	c    *Client
	to   *Node
	inc  cluster.Incarnation
	dead bool // the client has given it up or was told that it is lost
	up   pipe
	down pipe

	pace plane.QueueClock // of the node at the other end

	nextID uint64
	calls  map[uint64]*call
	order  []uint64 // ids of calls, ascending; answered ones are left out when walked
}

// pipe is one direction of a link.
type pipe struct {
	queue []parcel
	last  cluster.Instant
}

type parcel struct {
	at cluster.Instant
	fn func()
}

// dial starts a link to the process that runs on node n now.
func dial(c *Client, n *Node) *link {
	l := &link{c: c, to: n, inc: n.Inc, calls: map[uint64]*call{}}
	l.send(&l.up, func() {
		if a, ok := l.app(); ok {
			a.hello(l)
		}
	})
	return l
}

// app is the process at the other end, unless it has ended.
func (l *link) app() (*app, bool) {
	a, ok := l.to.App.(*app)
	return a, ok && a.alive() && a.inc == l.inc && !l.dead
}

// ends returns which way a pipe leads.
func (l *link) ends(p *pipe) (from, to cluster.NodeID) {
	if p == &l.up {
		return l.c.ID, l.to.ID
	}
	return l.to.ID, l.c.ID
}

// send puts fn at the end of the pipe.
func (l *link) send(p *pipe, fn func()) {
	w := l.c.d.W
	cfg := &w.Net.cfg
	d := cfg.Latency + time.Duration(-math.Log(1-l.c.rand.Float64())*float64(cfg.Jitter))
	if cfg.Spike > 0 && l.c.rand.Float64() < cfg.Spike {
		d += time.Duration(l.c.rand.Int64N(int64(cfg.SpikeMax)))
	}
	p.last = max(p.last, w.now.Add(d))
	p.queue = append(p.queue, parcel{p.last, fn})
	w.at(p.last, func() { l.flush(p) })
}

// flush delivers what has arrived.
func (l *link) flush(p *pipe) {
	w := l.c.d.W
	if len(p.queue) == 0 || p.queue[0].at > w.now {
		return
	}
	if w.Net.IsCut(l.ends(p)) {
		w.After(retransmit, func() { l.flush(p) })
		return
	}
	for len(p.queue) > 0 && p.queue[0].at <= w.now {
		fn := p.queue[0].fn
		p.queue = p.queue[1:]
		switch {
		case p == &l.down:
			if !l.dead {
				fn()
			}
		case l.to.Up && l.to.Inc == l.inc:
			l.to.deliver(l, func() {
				if l.to.Inc == l.inc {
					fn()
					l.to.plan()
				}
			})
		case l.to.Up && !l.dead: // the new process on that port knows no such connection
			w.After(time.Millisecond, func() { l.lose() })
		}
	}
}

// request sends a call's frame.
func (l *link) request(x *call, q *wire.Request) {
	if x.write != nil {
		x.write.sent++
	}
	l.carry(x, q.Append(nil), func(a *app, from txn.Origin, kind wire.Kind, payload []byte) {
		a.request(from, kind, 0, &l.pace, payload)
	})
}

// carry sends the frame of a call, which handle takes at the other end.
func (l *link) carry(x *call, payload []byte, handle func(a *app, from txn.Origin, kind wire.Kind, payload []byte)) {
	l.nextID++
	id := l.nextID
	l.calls[id] = x
	l.order = append(l.order, id)
	x.link, x.id = l, id
	l.send(&l.up, func() {
		if a, ok := l.to.App.(*app); ok && a.alive() { // also of a link that the client gave up since: it is on its way
			handle(a, txn.Origin{Conn: l, ID: id}, x.kind, payload)
		}
	})
}

// reply is called by the node.
func (l *link) reply(id uint64, r *wire.Reply, view cluster.ViewKey) {
	if !l.dead {
		out := wire.Reply{Status: r.Status, Generation: r.Generation, Expiry: r.Expiry, Bins: append([]byte(nil), r.Bins...)}
		l.send(&l.down, func() { l.c.replied(l, id, &out, view) })
	}
}

func (l *link) push(m *clientMap) {
	l.send(&l.down, func() { l.c.offer(l.to.ID, m) })
}

// lose ends the link at the client's side and settles its calls.
func (l *link) lose() {
	if l.dead {
		return
	}
	l.dead = true
	for _, x := range l.takeIf(func(*call) bool { return true }) {
		l.c.lost(x)
	}
}

// takeIf takes the calls in flight that match, in the order they were sent.
func (l *link) takeIf(match func(*call) bool) []*call {
	var out []*call
	kept := l.order[:0]
	for _, id := range l.order {
		switch x := l.calls[id]; {
		case x == nil:
		case match(x):
			delete(l.calls, id)
			out = append(out, x)
		default:
			kept = append(kept, id)
		}
	}
	l.order = kept
	return out
}

func (l *link) take(id uint64) *call {
	x := l.calls[id]
	delete(l.calls, id)
	if len(l.calls) == 0 {
		l.order = l.order[:0]
	}
	return x
}
