package server

import (
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/transport"
	"headroom/node/txn"
	"headroom/node/wire"
)

// connState is what the node keeps per connection; only the connection's
// reader uses it.
type connState struct {
	req     txn.Request
	rep     wire.Replicate
	res     wire.Resolve
	body    []byte // scratch for a record read
	batch   wire.Batch
	scan    wire.Scan
	out     []byte
	migrate wire.Migrate
	pace    queueClock
}

// queueClock tells how long a request has queued on its way here, without the
// sender's clock being right: the shortest passage seen on the connection
// stands for none. Requests that lay in the buffers of an overloaded or paused
// node beyond their deadline are refused unexecuted: their clients have given
// up, and working for them would keep everybody else waiting.
type queueClock struct {
	base  int32 // of receivedMS - sentMS; valid once known
	known bool
	since int64 // when base was last made anew
}

// rebase is how often the shortest passage is measured anew, in milliseconds:
// two clocks that drift 100 ppm apart move 6 ms meanwhile.
const rebase = 60_000

// queued returns the milliseconds that a request sent at sentMS has queued;
// nowMS is this node's clock.
func (c *queueClock) queued(sentMS uint32, nowMS int64) uint32 {
	passage := int32(uint32(nowMS) - sentMS)
	if !c.known || passage < c.base {
		c.base, c.known, c.since = passage, true, nowMS
	}
	d := uint32(passage - c.base)
	if nowMS-c.since > rebase {
		c.base, c.since = c.base+min(passage-c.base, 10), nowMS // follow drift, never a queue
	}
	return d
}

// due sets the request's deadline from what is left of the caller's patience,
// and reports whether anything is.
func (st *connState) due(n *Node, now cluster.Instant, sentMS, patienceMS uint32) (cluster.Instant, bool) {
	patience := min(time.Duration(patienceMS)*time.Millisecond, maxPatience)
	if patienceMS == 0 {
		patience = n.cfg.Deadline
	}
	queued := time.Duration(st.pace.queued(sentMS, time.Duration(now).Milliseconds())) * time.Millisecond
	return now.Add(patience - queued), queued < patience
}

// maxPatience bounds the deadline a client may ask for, and so how long a
// request can be parked.
const maxPatience = time.Minute

// request handles a single-record request of a client, or one that another
// node forwards.
func (n *Node) request(c *transport.Conn, st *connState, h wire.Header, payload []byte) {
	q := &st.req
	*q = txn.Request{Kind: h.Kind, From: txn.Origin{Conn: c, ID: h.ID}, Forwarded: h.Flags&wire.FlagForwarded != 0}
	if err := q.Parse(payload); err != nil {
		c.Close(err)
		return
	}
	if n.leaving.Load() && !n.inView() {
		n.reply(q.From, &wire.Reply{Status: wire.StatusShuttingDown})
		return
	}
	if int(q.Namespace) >= len(n.namespaces) {
		n.reply(q.From, &wire.Reply{Status: wire.StatusNamespace})
		return
	}
	ns := n.namespaces[q.Namespace]
	if (h.Kind == wire.KindGet || h.Kind == wire.KindGetHeader) && n.fastGet(c, st, ns, q) {
		return
	}
	deadline, ok := st.due(n, n.mono(), q.SentMS, q.DeadlineMS)
	if !ok {
		n.overdue.Add(1)
		n.reply(q.From, &wire.Reply{Status: wire.StatusTimeout})
		return
	}
	q.Deadline = deadline
	n.run(ns, q.Digest.Partition(), func(core *txn.Core) { core.Request(n.now(), q) })
}

// fastGet answers a get without the shard's lock if this node serves the
// partition. The lease and the route are checked after the record is read, so
// that a node that was paused in between does not answer with what it held
// before.
func (n *Node) fastGet(c *transport.Conn, st *connState, ns *namespace, q *txn.Request) bool {
	route := &ns.routes[q.Digest.Partition()]
	before := route.Load()
	if before&1 == 0 {
		return false
	}
	m, body, ok := ns.store.Get(&q.Digest, st.body[:0])
	st.body = body[:0]
	now := n.now()
	if now.Mono >= now.Lease || route.Load() != before {
		return false
	}
	r := wire.Reply{Status: wire.StatusNotFound}
	if _, ok := st.due(n, now.Mono, q.SentMS, q.DeadlineMS); !ok {
		n.overdue.Add(1)
		putReply(c, q.From.ID, &wire.Reply{Status: wire.StatusTimeout})
		return true
	}
	ns.fastReads.Add(1)
	if ok && m.Live(uint32(now.WallMS/1000)) {
		r = wire.Reply{Generation: m.Generation, Expiry: m.Expiry}
		if q.Kind == wire.KindGet {
			r.Bins = record.Body(body).RawBins()
		}
	}
	putReply(c, q.From.ID, &r)
	return true
}

// putReply appends a reply frame without waking the flusher: the reader
// flushes when its input is drained.
func putReply(c *transport.Conn, id uint64, r *wire.Reply) {
	_ = c.Put(func(b []byte) []byte { return appendReply(b, id, r) }) // refused: the connection is lost, the client retries
}

func appendReply(b []byte, id uint64, r *wire.Reply) []byte {
	at := len(b)
	b = wire.AppendHeader(b, wire.Header{Kind: wire.KindReply, ID: id})
	b = r.Append(b)
	wire.PutLength(b, at)
	return b
}

// reply sends a reply to where its request came from: a connection, or an
// item of a batch.
func (n *Node) reply(to txn.Origin, r *wire.Reply) {
	switch o := to.Conn.(type) {
	case *transport.Conn:
		_ = o.Append(func(b []byte) []byte { return appendReply(b, to.ID, r) }) // as in putReply
	case *join:
		o.set(int(to.ID), r)
	}
}

// frameID packs a transaction id with its namespace and shard, so that the
// answer finds its core.
func frameID(ns uint8, shard int, id uint64) uint64 {
	return id<<16 | uint64(ns)<<8 | uint64(shard)
}

func (n *Node) sendTxn(ns *namespace, index int, s *txn.Send) {
	id := frameID(ns.id, index, s.ID)
	_ = n.sendReplication(s.To, func(b []byte) []byte { // refused: the core repeats it
		at := len(b)
		b = wire.AppendHeader(b, wire.Header{Kind: s.Kind, ID: id})
		if s.Kind == wire.KindResolve {
			b = s.Resolve.Append(b)
		} else {
			b = s.Replicate.Append(b)
		}
		wire.PutLength(b, at)
		return b
	})
}

func answerTxn(a *txn.Answer) {
	c, ok := a.To.Conn.(*transport.Conn)
	if !ok {
		return
	}
	_ = c.Append(func(b []byte) []byte { // refused: the asker repeats its question
		at := len(b)
		b = wire.AppendHeader(b, wire.Header{Kind: a.Kind, ID: a.To.ID})
		if a.Kind == wire.KindResolved {
			b = a.Resolved.Append(b)
		} else {
			b = append(b, byte(a.Status))
		}
		wire.PutLength(b, at)
		return b
	})
}

// replicate handles a replica write, an adoption or a question about a
// duplicate from another node.
func (n *Node) replicate(c *transport.Conn, st *connState, h wire.Header, payload []byte) {
	var err error
	var space uint8
	var d *record.Digest
	if h.Kind == wire.KindResolve {
		err = st.res.Parse(payload)
		space, d = st.res.Namespace, &st.res.Digest
	} else {
		err = st.rep.Parse(payload)
		space, d = st.rep.Namespace, &st.rep.Digest
	}
	if err != nil || int(space) >= len(n.namespaces) {
		c.Close(badFrame(err))
		return
	}
	from := txn.Origin{Conn: c, ID: h.ID}
	n.run(n.namespaces[space], d.Partition(), func(core *txn.Core) {
		core.Receive(n.now(), from, h.Kind, &st.rep, &st.res)
	})
}

// replicated routes an answer to the core that asked.
func (n *Node) replicated(c *transport.Conn, h wire.Header, payload []byte) {
	space, index := int(h.ID>>8&0xFF), int(h.ID&0xFF)
	if space >= len(n.namespaces) || index >= shardCount || len(payload) < 1 {
		c.Close(badFrame(nil))
		return
	}
	ns, id, from := n.namespaces[space], h.ID>>16, c.Peer().Node
	var res wire.Resolved
	if h.Kind == wire.KindResolved {
		if err := res.Parse(payload); err != nil {
			c.Close(err)
			return
		}
	}
	n.run(ns, index, func(core *txn.Core) {
		if h.Kind == wire.KindResolved {
			core.ResolvedBy(n.now(), from, id, &res)
		} else {
			core.Replicated(n.now(), from, id, wire.Status(payload[0]))
		}
	})
}

// inView reports whether this node, in this incarnation, is a member.
func (n *Node) inView() bool {
	v := n.view.Load()
	return v != nil && v.Has(n.id, n.inc)
}

// now reads the node's clocks once.
func (n *Node) now() txn.Now {
	mono, wall := n.wall.read()
	return txn.Now{Mono: mono, WallMS: wall, Lease: cluster.Instant(n.lease.Load())}
}
