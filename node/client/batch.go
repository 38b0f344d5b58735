package client

import (
	"bytes"
	"context"
	"errors"
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

const (
	// batchItems is the most records of one frame: beyond some hundred the
	// fixed cost of a frame is spread thin, and the reply has to fit a frame.
	batchItems = 512
	// batchBytes is how full a frame of puts gets, half of wire.MaxPayload;
	// only a single record may be larger.
	batchBytes = 512 << 10
)

// ErrOption refuses an option that a call cannot honour.
var ErrOption = errors.New("client: option does not fit this call")

// Result is the outcome of one record of a batch.
type Result struct {
	Record Record // of a BatchGet
	Err    error  // nil, or one of the package's Err variables
}

// KeyBins is one record to put.
type KeyBins struct {
	Key  Key
	Bins []record.Bin
}

// BatchGet reads many records, grouped into one request per node. Results
// are in the order of keys, each with an error of its own; the second result
// is an error only if nothing was tried at all.
func (c *Client) BatchGet(ctx context.Context, keys []Key, opts ...Option) ([]Result, error) {
	b, err := c.newBatch(ctx, wire.KindBatchGet, len(keys), opts)
	if err != nil {
		return nil, &OpError{Op: "batch get", Status: wire.StatusBadRequest, Err: err}
	}
	for i := range keys {
		d, err := keys[i].Digest()
		b.add(i, d, nil, err)
	}
	b.run(ctx)
	for i := range b.results {
		r := &b.results[i]
		if errors.Is(r.Err, ErrTooBig) { // too big for a batch's reply: read it by itself
			r.Record, r.Err = c.Get(ctx, keys[i], opts...)
		}
		r.Record.Digest, r.Record.Set, r.Record.Key = b.items[i].Digest, keys[i].Set, keys[i].Value
	}
	return b.results, nil
}

// BatchPut writes many records, grouped into one request per node, as Put
// would; the batch as a whole is not atomic. Results are as for BatchGet.
// WithGeneration does not fit a batch.
func (c *Client) BatchPut(ctx context.Context, records []KeyBins, opts ...Option) ([]Result, error) {
	b, err := c.newBatch(ctx, wire.KindBatchPut, len(records), opts)
	if err != nil {
		return nil, &OpError{Op: "batch put", Status: wire.StatusBadRequest, Err: err}
	}
	var all []byte // the bodies, one behind the other
	for i := range records {
		k := &records[i].Key
		d, err := k.Digest()
		at := len(all)
		if err == nil {
			all, err = record.AppendBody(all, k.Set, storedKey(k, &b.options), records[i].Bins)
		}
		b.add(i, d, all[at:len(all):len(all)], limitError(err))
	}
	b.run(ctx)
	return b.results, nil
}

// batch is a batch call: items that are still to be answered are sent in
// rounds, each split by the master of the moment.
type batch struct {
	c        *Client
	kind     wire.Kind
	options  callOptions
	ns       uint8
	deadline cluster.Instant
	items    []wire.BatchItem
	results  []Result
	last     []wire.Status // last retryable answer of each item
	unsure   []bool        // an attempt of the item may have been applied
	pending  []int         // items without a result
	limit    int           // items of a frame
	tally    tally
}

// chunk is the part of a batch that one frame carries.
type chunk struct {
	to    *node
	call  Call
	items []int
	bytes int // of bodies
	reply []byte
	taken bool
}

func (c *Client) newBatch(ctx context.Context, kind wire.Kind, n int, opts []Option) (*batch, error) {
	b := &batch{c: c, kind: kind, options: c.options(opts)}
	var err error
	if b.ns, err = c.NamespaceIndex(b.options.namespace); err != nil {
		return nil, err
	}
	if b.options.checkGen {
		return nil, ErrOption
	}
	patience, err := c.patience(ctx)
	if err != nil {
		return nil, err
	}
	now := c.Now()
	b.deadline = now.Add(patience)
	b.tally.begin(b.options.stages, now)
	b.items = make([]wire.BatchItem, n)
	b.results = make([]Result, n)
	b.last = make([]wire.Status, n)
	b.unsure = make([]bool, n)
	b.pending = make([]int, 0, n)
	b.limit = batchItems
	return b, nil
}

// add takes item i, or its error.
func (b *batch) add(i int, d record.Digest, body []byte, err error) {
	b.items[i] = wire.BatchItem{Digest: d, Body: body}
	if err != nil {
		b.results[i].Err = err
		return
	}
	b.pending = append(b.pending, i)
}

// run sends rounds until every item has a result.
func (b *batch) run(ctx context.Context) {
	pause := backoff{}
	defer b.tally.tell(b.options.stages)
	for len(b.pending) > 0 {
		if b.c.closing.Load() || ctx.Err() != nil || b.c.Now() >= b.deadline {
			b.giveUp(causeOf(ctx))
			return
		}
		r := b.c.routes.Load()
		b.send(ctx, b.split(r))
		if len(b.pending) > 0 {
			pause.wait(ctx, b.c, r, b.deadline)
		}
	}
}

// split groups the pending items by master into chunks, in order, and leaves
// those without a reachable master pending.
func (b *batch) split(r *routes) []*chunk {
	open := make(map[*node]*chunk)
	var all []*chunk
	stay := b.pending[:0]
	for _, i := range b.pending {
		it := &b.items[i]
		n := r.master(b.ns, it.Digest.Partition())
		if n == nil || n.conn.Load() == nil {
			b.last[i] = wire.StatusUnavailable
			stay = append(stay, i)
			continue
		}
		ch := open[n]
		if ch == nil || len(ch.items) >= b.limit || ch.bytes > 0 && ch.bytes+len(it.Body) > batchBytes {
			ch = &chunk{to: n}
			open[n] = ch
			all = append(all, ch)
		}
		ch.items = append(ch.items, i)
		ch.bytes += len(it.Body)
	}
	b.pending = stay
	return all
}

// send sends the chunks and takes in their replies.
func (b *batch) send(ctx context.Context, chunks []*chunk) {
	done := make(chan *chunk, len(chunks)) // one each: Done never blocks
	waiting := 0
	for _, ch := range chunks {
		ch.call.Kind, ch.call.raw = b.kind, b.encode(ch)
		b.tally.ask(&ch.call)
		ch.call.Done = func(call *Call) {
			ch.reply = bytes.Clone(call.Bins)
			done <- ch
		}
		if err := b.c.submitTo(ch.to, &ch.call, b.deadline); err != nil {
			b.again(ch, statusOf(err))
			continue
		}
		waiting++
	}
	var last *chunk
	for ; waiting > 0; waiting-- {
		select {
		case last = <-done:
			last.taken = true
			b.absorb(last)
		case <-ctx.Done():
			if ctx.Err() == context.DeadlineExceeded {
				last = <-done // the calls have the same deadline
				b.absorb(last)
				continue
			}
			b.forsake(chunks)
			return
		}
	}
	if last != nil && last.call.Err == nil {
		b.tally.add(&last.call)
	}
}

// encode builds the payload of a chunk.
func (b *batch) encode(ch *chunk) []byte {
	now := b.c.Now()
	q := wire.Batch{Namespace: b.ns, View: b.c.routes.Load().m.View.Tag(), SentMS: uint32(time.Duration(now).Milliseconds()),
		DeadlineMS: leftMS(b.deadline, now), TTL: b.options.ttl,
		Items: make([]wire.BatchItem, len(ch.items))}
	for j, i := range ch.items {
		q.Items[j] = b.items[i]
	}
	perItem := len(record.Digest{}) + 4 // a uvarint of a record's size takes up to 3
	return q.Append(make([]byte, 0, 32+ch.bytes+perItem*len(ch.items)), b.kind == wire.KindBatchPut)
}

// absorb takes in a chunk that is completed.
func (b *batch) absorb(ch *chunk) {
	st := ch.call.Status
	switch {
	case ch.call.Err != nil && st.Retryable():
		// If the reply was more than a frame holds, the connection is gone, and
		// smaller frames help.
		b.limit = max(1, b.limit/4)
		b.again(ch, st)
		return
	case ch.call.Err != nil:
		for _, i := range ch.items {
			b.settle(i, &wire.Reply{Status: st})
		}
		return
	}
	rd := wire.NewReader(ch.reply)
	for _, i := range ch.items {
		var r wire.Reply
		if err := r.Parse(rd.Bytes(record.MaxSize + wire.HeaderSize)); err != nil || rd.Err() != nil {
			r = wire.Reply{Status: wire.StatusBadRequest}
			b.unsure[i] = b.kind == wire.KindBatchPut
		}
		if r.Status.Retryable() {
			b.last[i] = r.Status
			b.pending = append(b.pending, i)
			continue
		}
		b.settle(i, &r)
	}
}

// again leaves the items of a chunk for the next round.
func (b *batch) again(ch *chunk, st wire.Status) {
	for _, i := range ch.items {
		b.last[i] = st
		b.unsure[i] = b.unsure[i] || ch.call.unsure
	}
	b.pending = append(b.pending, ch.items...)
}

// forsake leaves chunks that are still in flight because the caller's context
// was cancelled.
func (b *batch) forsake(chunks []*chunk) {
	for _, ch := range chunks {
		if ch.taken {
			continue
		}
		for _, i := range ch.items {
			b.unsure[i] = b.kind == wire.KindBatchPut
		}
		b.pending = append(b.pending, ch.items...)
	}
}

// settle gives item i its result.
func (b *batch) settle(i int, r *wire.Reply) {
	b.results[i].Err = errOf(settle(b.kind, b.unsure[i], r.Status))
	if r.Status == wire.StatusOK {
		rec := &b.results[i].Record
		rec.Generation, rec.Expiry, rec.Bins = r.Generation, r.Expiry, r.Bins
	}
}

// giveUp gives the items that are left the reason why they have no answer.
func (b *batch) giveUp(cause error) {
	for _, i := range b.pending {
		switch {
		case b.unsure[i]:
			b.results[i].Err = ErrInDoubt
		case b.c.closing.Load():
			b.results[i].Err = ErrClosed
		default:
			err := ErrTimeout
			if cause != nil {
				err = &contextError{cause, err}
			}
			b.results[i].Err = &OpError{Op: "batch", Status: wire.StatusTimeout, Last: b.last[i], Err: err}
		}
	}
	b.pending = nil
}

// submitTo sends a raw call to one node. On an error it was not sent.
func (c *Client) submitTo(n *node, call *Call, deadline cluster.Instant) error {
	cn := n.conn.Load()
	if cn == nil {
		return errDown
	}
	now := c.Now()
	call.Deadline = max(deadline.Sub(now), time.Millisecond)
	c.begin(call)
	r := c.routes.Load()
	err := cn.send(call, now)
	if err == nil && (c.routes.Load() != r || n.left.Load() != 0) {
		c.changed.Store(true)
		c.nudge()
	}
	return err
}

// backoff is the pause between the rounds of a batch or scan.
type backoff struct{ n uint8 }

// wait waits longer each time, but no longer than until other routes replace
// r.
func (p *backoff) wait(ctx context.Context, c *Client, r *routes, deadline cluster.Instant) {
	d := min(backoffMin<<min(p.n, 16), backoffMax)
	p.n++
	t := time.NewTimer(min(d, max(0, deadline.Sub(c.Now()))))
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.next:
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
}
