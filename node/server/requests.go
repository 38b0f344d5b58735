package server

import (
	"time"

	"headroom/node/cluster"
	"headroom/node/plane"
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
	items   []wire.ScanItem // of the last scan reply, and their bodies: memory for the next
	bodies  []byte
	visited []digest // by the last step of a scan
	out     []byte
	migrate wire.Migrate
	pace    plane.QueueClock
	conn    *transport.Conn
	seen    uint32 // single-record requests
}

// due sets the request's deadline from what is left of the caller's patience,
// and reports whether anything is.
func (st *connState) due(n *Node, now cluster.Instant, sentMS, patienceMS uint32) (cluster.Instant, bool) {
	return st.pace.Due(now, plane.Patience{SentMS: sentMS, DeadlineMS: patienceMS, Default: n.cfg.Deadline})
}

// request handles a single-record request of a client, or one that another
// node forwards.
func (n *Node) request(c *transport.Conn, st *connState, h wire.Header, payload []byte) {
	q := &st.req
	*q = txn.Request{Kind: h.Kind, From: txn.Origin{Conn: c, ID: h.ID}, Forwarded: h.Flags&wire.FlagForwarded != 0}
	if err := q.Parse(payload); err != nil {
		c.Close(err)
		return
	}
	st.conn = c
	n.sample(st, q, h)
	if n.leaving.Load() && !n.inView() {
		n.reply(q.From, &wire.Reply{Status: wire.StatusShuttingDown})
		return
	}
	if int(q.Namespace) >= len(n.namespaces) {
		n.reply(q.From, &wire.Reply{Status: wire.StatusNamespace})
		return
	}
	ns := n.namespaces[q.Namespace]
	if n.readLater(st, ns, q) {
		return
	}
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
	ns.Request(q)
}

// fastGet answers a get without the shard's lock if this node serves the
// partition.
func (n *Node) fastGet(c *transport.Conn, st *connState, ns *namespace, q *txn.Request) bool {
	m := q.From.Marks
	if m != nil {
		m.Executed = n.mono()
	}
	read, ok := ns.Begin(&q.Digest, st.body[:0])
	if !ok {
		return false
	}
	st.body = read.Body[:0]
	now := n.now()
	if !ns.Valid(&read, &q.Digest, now) {
		return false
	}
	if m != nil {
		m.Stored = now.Mono
	}
	if _, ok := st.due(n, now.Mono, q.SentMS, q.DeadlineMS); !ok {
		n.overdue.Add(1)
		n.putReply(c, q.From, &wire.Reply{Status: wire.StatusTimeout})
		return true
	}
	ns.fastReads.Add(1)
	r := read.Reply(now, q.Kind == wire.KindGet)
	n.putReply(c, q.From, &r)
	return true
}

// putReply appends a reply frame without waking the flusher: the reader
// flushes when its input is drained.
func (n *Node) putReply(c *transport.Conn, to txn.Origin, r *wire.Reply) {
	c.PutReply(func(b []byte) []byte { return n.appendReply(b, to, r) })
}

func (n *Node) appendReply(b []byte, to txn.Origin, r *wire.Reply) []byte {
	m := to.Marks
	if m != nil {
		n.timed(m, r)
	}
	if m != nil && m.Private {
		m = nil
	}
	at := len(b)
	b = n.appendHead(b, wire.Header{Kind: wire.KindReply, ID: to.ID}, m)
	b = r.Append(b)
	wire.PutLength(b, at)
	return b
}

// reply sends a reply to where its request came from: a connection, or an
// item of a batch.
func (n *Node) reply(to txn.Origin, r *wire.Reply) {
	switch o := to.Conn.(type) {
	case *transport.Conn:
		o.Reply(func(b []byte) []byte { return n.appendReply(b, to, r) })
	case *join:
		o.set(int(to.ID), r, to.Marks)
	case *plane.Eviction:
		o.Replied(r.Status)
	}
}

// replicate handles a replica write, an adoption or a question about a
// duplicate from another node.
func (n *Node) replicate(c *transport.Conn, st *connState, h wire.Header, payload []byte) {
	var err error
	var space uint8
	if h.Kind == wire.KindResolve {
		err = st.res.Parse(payload)
		space = st.res.Namespace
	} else {
		err = st.rep.Parse(payload)
		space = st.rep.Namespace
	}
	if err != nil || int(space) >= len(n.namespaces) {
		c.Close(badFrame(err))
		return
	}
	n.namespaces[space].Receive(txn.Origin{Conn: c, ID: h.ID}, h.Kind, &st.rep, &st.res)
}

// replicated routes an answer to the core that asked.
func (n *Node) replicated(c *transport.Conn, h wire.Header, payload []byte) {
	space := int(plane.FrameNamespace(h.ID))
	if space >= len(n.namespaces) || len(payload) < 1 {
		c.Close(badFrame(nil))
		return
	}
	ns, known := n.namespaces[space], false
	if h.Kind == wire.KindResolved {
		var res wire.Resolved
		if err := res.Parse(payload); err != nil {
			c.Close(err)
			return
		}
		known = ns.ResolvedBy(c.Peer().Node, h.ID, &res)
	} else {
		known = ns.Replicated(c.Peer().Node, h.ID, wire.Status(payload[0]))
	}
	if !known {
		c.Close(badFrame(nil))
	}
}

// inView reports whether this node, in this incarnation, is a member.
func (n *Node) inView() bool {
	v := n.view.Load()
	return v != nil && v.Has(n.id, n.inc)
}

// now reads the node's clocks once.
func (n *Node) now() txn.Now {
	t := time.Now()
	elapsed := t.Sub(n.start)
	return txn.Now{Mono: cluster.Instant(elapsed), WallMS: n.wall.At(elapsed), Lease: n.leaseAt(t, elapsed)}
}
