package server

import (
	"slices"
	"sync"
	"time"

	"headroom/node/record"
	"headroom/node/storage"
	"headroom/node/transport"
	"headroom/node/txn"
	"headroom/node/wire"
)

// join collects the replies of a batch's items that could not be answered at
// once, and sends the batch reply when the last is there.
type join struct {
	n       *Node
	conn    *transport.Conn
	id      uint64
	mu      sync.Mutex // guards all below
	replies [][]byte   // encoded wire.Reply per item
	bytes   int        // of replies
	left    int
}

// set records one item's reply; m are the item's marks, nil unless the batch is
// sampled. The item that is known last tells where the batch's time went. It
// may be called from any goroutine.
func (j *join) set(item int, r *wire.Reply, m *txn.Marks) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.replies[item] != nil {
		return
	}
	if j.bytes += len(r.Bins); j.bytes > batchReplyRoom {
		r = &wire.Reply{Status: wire.StatusTooBig} // for this reply: the client reads it alone
	}
	j.replies[item] = r.Append(nil)
	if j.left--; j.left == 0 {
		j.conn.Reply(func(b []byte) []byte {
			at := len(b)
			b = j.n.appendHead(b, wire.Header{Kind: wire.KindBatchReply, ID: j.id}, m)
			for _, p := range j.replies {
				b = wire.AppendBytes(b, p)
			}
			wire.PutLength(b, at)
			return b
		})
	}
}

// batchReplyRoom is what a batch reply may hold; items beyond it are told to
// come back alone, so that one frame never exceeds wire.MaxPayload.
const batchReplyRoom = wire.MaxPayload - wire.MaxBatch*16

// batch handles a batch of gets or puts. Gets that this node serves are
// answered in one pass without allocation.
func (n *Node) batch(c *transport.Conn, st *connState, h wire.Header, payload []byte) {
	q := &st.batch
	if err := q.Parse(payload, h.Kind == wire.KindBatchPut); err != nil {
		c.Close(err)
		return
	}
	if int(q.Namespace) >= len(n.namespaces) || len(q.Items) == 0 {
		n.refuseBatch(c, h.ID, len(q.Items), wire.StatusNamespace)
		return
	}
	ns, m := n.namespaces[q.Namespace], n.asked(c, h)
	if h.Kind == wire.KindBatchGet && ns.readers == nil && n.fastBatch(c, st, ns, h.ID, m) {
		return
	}
	deadline, ok := st.due(n, n.mono(), q.SentMS, q.DeadlineMS)
	if !ok {
		n.overdue.Add(1)
		n.refuseBatch(c, h.ID, len(q.Items), wire.StatusTimeout)
		return
	}
	j := &join{n: n, conn: c, id: h.ID, replies: make([][]byte, len(q.Items)), left: len(q.Items)}
	kind := wire.KindGet
	if h.Kind == wire.KindBatchPut {
		kind = wire.KindPut
	}
	for i := range q.Items {
		it := &q.Items[i]
		st.req = txn.Request{Kind: kind, From: txn.Origin{Conn: j, ID: uint64(i), Marks: n.itemMarks(m)}, Deadline: deadline,
			Request: wire.Request{Namespace: q.Namespace, Digest: it.Digest, View: q.View, DeadlineMS: q.DeadlineMS, TTL: q.TTL, Body: it.Body}}
		if kind == wire.KindGet && ns.readers != nil && ns.mustRead(st, &it.Digest) {
			n.readOn(ns, &st.req) // all of them at once, as far as their devices go
			continue
		}
		ns.Request(&st.req)
	}
}

func (n *Node) refuseBatch(c *transport.Conn, id uint64, items int, s wire.Status) {
	j := &join{n: n, conn: c, id: id, replies: make([][]byte, items), left: items}
	for i := range items {
		j.set(i, &wire.Reply{Status: s}, nil)
	}
}

// fastBatch answers a batch get if this node serves every partition in it; m
// are the marks of a sampled one.
func (n *Node) fastBatch(c *transport.Conn, st *connState, ns *namespace, id uint64, m *txn.Marks) bool {
	routes := make([]uint64, 0, 128)
	out := st.out[:0]
	sec := uint32(n.now().WallMS / 1000)
	for i := range st.batch.Items {
		d := &st.batch.Items[i].Digest
		route := ns.Route(d.Partition())
		if route&1 == 0 || len(out) > batchReplyRoom {
			return false
		}
		routes = append(routes, route)
		meta, body, ok := ns.store.Get(d, st.body[:0])
		st.body = body[:0]
		r := wire.Reply{Status: wire.StatusNotFound}
		if ok && meta.Unreadable {
			r.Status = wire.StatusUnavailable
		} else if ok && meta.Live(sec) {
			r = wire.Reply{Generation: meta.Generation, Expiry: meta.Expiry, Bins: record.Body(body).RawBins()}
		}
		out = wire.AppendUvarint(out, uint64(7+len(r.Bins)))
		out = r.Append(out)
	}
	st.out = out
	now := n.now()
	for i := range st.batch.Items {
		if d := &st.batch.Items[i].Digest; ns.Route(d.Partition()) != routes[i] || !ns.Settled(d) {
			return false
		}
	}
	if now.Mono >= now.Lease || len(out)+wire.StagesSize > wire.MaxPayload {
		return false
	}
	if m != nil {
		m.Executed, m.Stored = m.Started, now.Mono
	}
	ns.fastReads.Add(uint64(len(routes)))
	c.Reply(func(b []byte) []byte {
		at := len(b)
		b = n.appendHead(b, wire.Header{Kind: wire.KindBatchReply, ID: id}, m)
		b = append(b, out...)
		wire.PutLength(b, at)
		return b
	})
	return true
}

// scanBytes is how much one scan reply carries at most, but for one record
// that is larger alone.
const scanBytes = 512 << 10

// scanTime is how long a scan reply takes at most, but for the reads under way:
// the records of a page are read one after the other.
const scanTime = 250 * time.Millisecond

// scanBatch is how many records are visited under the engine's lock at once.
const scanBatch = 64

// scan answers one page of a partition's records; m are the marks of a sampled
// scan, nil of others.
func (n *Node) scan(c *transport.Conn, st *connState, h wire.Header, payload []byte, m *txn.Marks) {
	q := &st.scan
	if err := q.Parse(payload); err != nil {
		c.Close(err)
		return
	}
	r := wire.ScanReply{Next: q.Cursor}
	switch {
	case int(q.Namespace) >= len(n.namespaces):
		r.Status = wire.StatusNamespace
	default:
		r.Items, st.bodies = st.items[:0], st.bodies[:0]
		n.scanPage(n.namespaces[q.Namespace], st, &r)
		st.items = r.Items
	}
	if m != nil {
		m.Executed, m.Stored = m.Started, n.mono()
	}
	c.Reply(func(b []byte) []byte {
		at := len(b)
		b = n.appendHead(b, wire.Header{Kind: wire.KindScanReply, ID: h.ID}, m)
		b = r.Append(b)
		wire.PutLength(b, at)
		return b
	})
}

// scanPage fills r; bodies are copied into the connection's memory, because the
// engine's are valid under its lock only.
func (n *Node) scanPage(ns *namespace, st *connState, r *wire.ScanReply) {
	q := &st.scan
	before := ns.Route(int(q.Partition))
	if before&1 == 0 {
		r.Status = wire.StatusNotMaster
		return
	}
	sec := uint32(n.now().WallMS / 1000)
	limit := min(max(int(q.Max), 1), wire.MaxScan)
	bytes := 0
	cursor := storage.Cursor(q.Cursor)
	began := n.mono()
	for !r.Done && len(r.Items) < limit && bytes < scanBytes && n.mono().Sub(began) < scanTime {
		from, had, done := cursor, len(r.Items), false
		st.visited = st.visited[:0]
		cursor, done = ns.store.Scan(int(q.Partition), cursor, min(scanBatch, limit-len(r.Items)), func(d *record.Digest, m *record.Meta, body []byte) {
			st.visited = append(st.visited, *d)
			if m.Unreadable && m.Live(sec) {
				r.Status = wire.StatusUnavailable // until another holder has sent it: a scan must not leave it out
			}
			if m.Unreadable || !m.Live(sec) || q.Set != "" && record.Body(body).Set() != q.Set {
				return
			}
			bytes += len(body)
			at := len(st.bodies)
			st.bodies = append(st.bodies, body...) // earlier bodies stay where they are when it moves
			r.Items = append(r.Items, wire.ScanItem{Digest: *d, Generation: m.Generation, Expiry: m.Expiry, Body: st.bodies[at:len(st.bodies):len(st.bodies)]})
		})
		if slices.ContainsFunc(st.visited, func(d digest) bool { return !ns.Settled(&d) }) {
			// A write of one is in flight, and what it leaves may not last: the
			// page ends before it.
			if cursor, r.Items = from, r.Items[:had]; had == 0 {
				r.Status = wire.StatusBusy
			}
			break
		}
		r.Done = done
	}
	r.Next = uint64(cursor)
	if r.Status != wire.StatusOK {
		*r = wire.ScanReply{Status: r.Status, Next: q.Cursor}
	}
	now := n.now()
	if now.Mono >= now.Lease || ns.Route(int(q.Partition)) != before {
		*r = wire.ScanReply{Status: wire.StatusNotMaster, Next: q.Cursor}
	}
}
