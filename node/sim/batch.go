package sim

import (
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/plane"
	"headroom/node/record"
	"headroom/node/txn"
	"headroom/node/wire"
)

// chunk is what one frame of a batch or scan carries; done is told the answer,
// or nil if none will come.
type chunk struct{ done func(r *wire.Reply) }

// submitTo sends a raw payload to one node, once; false: it is not connected.
func (c *Client) submitTo(r *remote, kind wire.Kind, payload []byte, deadline cluster.Instant, done func(r *wire.Reply)) bool {
	l := r.link
	if l == nil || l.dead {
		return false
	}
	x := &call{kind: kind, chunk: &chunk{done}, start: c.d.W.now, deadline: deadline}
	c.d.W.at(deadline, func() { c.expire(x) })
	handle := (*app).batch
	if kind == wire.KindScan {
		handle = (*app).scan
	}
	l.carry(x, payload, func(a *app, from txn.Origin, kind wire.Kind, payload []byte) { handle(a, from, kind, &l.pace, payload) })
	return true
}

// batch is a batch call as package client makes it: items that are still to be
// answered are sent in rounds, each split by the master of the moment.
type batch struct {
	c        *Client
	kind     wire.Kind
	keys     []*key
	acts     []*act
	bodies   [][]byte
	unsure   []bool // an attempt of the item may have been applied
	pending  []int
	out      int // chunks under way
	pauses   int
	deadline cluster.Instant
	done     func()
}

// Batch reads or writes many records of one namespace; done is called when the
// fate of each is known.
func (c *Client) Batch(kind wire.Kind, keys []*key, done func()) {
	b := &batch{c: c, kind: kind, keys: keys, deadline: c.d.W.now.Add(opTimeout), done: done}
	verb := verbGet
	if kind == wire.KindBatchPut {
		verb = verbPut
	}
	for i, k := range keys {
		a := c.d.newAct(k, verb)
		b.acts, b.bodies, b.unsure = append(b.acts, a), append(b.bodies, a.body(c.pad())), append(b.unsure, false)
		b.pending = append(b.pending, i)
	}
	c.running++
	b.run()
}

// run sends a round, or ends.
func (b *batch) run() {
	w := b.c.d.W
	if len(b.pending) == 0 || w.now >= b.deadline {
		for _, i := range b.pending {
			b.settle(i, &wire.Reply{Status: wire.StatusTimeout})
		}
		if len(b.pending) == 0 {
			b.c.d.Stats.Batches++
		}
		b.c.running--
		b.done()
		return
	}
	todo := map[cluster.NodeID][]int{}
	var to []cluster.NodeID
	for _, i := range b.pending {
		m := b.c.master(b.keys[i])
		if !slices.Contains(to, m) {
			to = append(to, m)
		}
		todo[m] = append(todo[m], i)
	}
	b.pending = nil
	b.out = len(to)
	for _, m := range to {
		b.send(m, todo[m])
	}
}

// send sends the items that node m masters; zero: nobody does.
func (b *batch) send(m cluster.NodeID, items []int) {
	if m == 0 || !b.c.submitTo(b.c.nodes[m], b.kind, b.encode(items), b.deadline, func(r *wire.Reply) { b.absorb(items, r) }) {
		b.again(items)
	}
}

func (b *batch) encode(items []int) []byte {
	now := b.c.d.W.now
	q := wire.Batch{Namespace: uint8(b.keys[0].space), View: b.c.cur.view.Tag(), SentMS: uint32(time.Duration(now).Milliseconds()),
		DeadlineMS: leftMS(b.deadline, now), TTL: wire.TTLNever}
	for _, i := range items {
		q.Items = append(q.Items, wire.BatchItem{Digest: b.keys[i].digest, Body: b.bodies[i]})
	}
	return q.Append(nil, b.kind == wire.KindBatchPut)
}

// absorb takes in the answer to a chunk.
func (b *batch) absorb(items []int, r *wire.Reply) {
	if r == nil {
		for _, i := range items {
			b.unsure[i] = b.kind == wire.KindBatchPut
			b.acts[i].unsure++
		}
		b.again(items)
		return
	}
	rd := wire.NewReader(r.Bins)
	var left []int
	for _, i := range items {
		var one wire.Reply
		if err := one.Parse(rd.Bytes(record.MaxSize)); err != nil || rd.Err() != nil {
			b.c.d.W.fail("a batch's reply does not parse: %v, %v", err, rd.Err())
			return
		}
		if one.Status == wire.StatusNotMaster {
			b.acts[i].unsure++
		}
		if one.Status.Retryable() {
			left = append(left, i)
		} else {
			b.settle(i, &one)
		}
	}
	b.again(left)
}

// again leaves items for the next round, which begins when all chunks of this
// one are back.
func (b *batch) again(items []int) {
	b.pending = append(b.pending, items...)
	if b.out--; b.out > 0 {
		return
	}
	if len(b.pending) == 0 {
		b.run()
		return
	}
	b.c.d.W.After(min(backoffMin<<min(b.pauses, 16), backoffMax), b.run)
	b.pauses++
}

// settle gives an item its fate.
func (b *batch) settle(i int, r *wire.Reply) {
	st := settle(b.kind, b.unsure[i], r.Status)
	if b.c.d.acted(b.acts[i], st, r) {
		b.c.Failed++
	}
}

// join collects the replies of a batch's items; see package server.
type join struct {
	to      *link
	id      uint64
	replies [][]byte
	left    int
}

func (j *join) set(item uint64, r *wire.Reply, view cluster.ViewKey) {
	if j.replies[item] != nil {
		return
	}
	j.replies[item] = r.Append(nil)
	if j.left--; j.left > 0 {
		return
	}
	var b []byte
	for _, p := range j.replies {
		b = wire.AppendBytes(b, p)
	}
	j.to.reply(j.id, &wire.Reply{Bins: b}, view)
}

// batch is server's.
func (a *app) batch(from txn.Origin, kind wire.Kind, pace *plane.QueueClock, payload []byte) {
	var q wire.Batch
	if err := q.Parse(payload, kind == wire.KindBatchPut); err != nil {
		a.bad(kind, err)
		return
	}
	s, l := a.spaces[q.Namespace], from.Conn.(*link)
	if kind == wire.KindBatchGet && a.fastBatch(s, &q, from) {
		return
	}
	deadline, ok := pace.Due(a.n.Now(), plane.Patience{SentMS: q.SentMS, DeadlineMS: q.DeadlineMS, Default: opTimeout})
	j := &join{to: l, id: from.ID, replies: make([][]byte, len(q.Items)), left: len(q.Items)}
	one := wire.KindGet
	if kind == wire.KindBatchPut {
		one = wire.KindPut
	}
	for i := range q.Items {
		if !ok {
			j.set(uint64(i), &wire.Reply{Status: wire.StatusTimeout}, a.viewKey())
			continue
		}
		s.Request(&txn.Request{Kind: one, From: txn.Origin{Conn: j, ID: uint64(i)}, Deadline: deadline,
			Request: wire.Request{Namespace: q.Namespace, Digest: q.Items[i].Digest, View: q.View, DeadlineMS: q.DeadlineMS, TTL: q.TTL, Body: q.Items[i].Body}})
	}
	a.beat(true)
}

// fastBatch is server's: it answers a batch get if this node serves every
// partition in it.
func (a *app) fastBatch(s *space, q *wire.Batch, from txn.Origin) bool {
	reads := make([]plane.Read, len(q.Items))
	var out []byte
	for i := range q.Items {
		d := &q.Items[i].Digest
		var serves bool
		if reads[i], serves = s.Begin(d, nil); !serves {
			return false
		}
		r := reads[i].Reply(a.now(), true)
		out = wire.AppendBytes(out, r.Append(nil))
	}
	now := a.now()
	for i := range q.Items {
		if !s.Valid(&reads[i], &q.Items[i].Digest, now) {
			return false
		}
	}
	from.Conn.(*link).reply(from.ID, &wire.Reply{Bins: out}, a.viewKey())
	return true
}
