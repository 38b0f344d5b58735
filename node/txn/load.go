package txn

import (
	"slices"

	"headroom/node/planted"
	"headroom/node/record"
	"headroom/node/wire"
)

// Load asks for a record that lies on a device. The caller reads it outside
// the Core's lock and gives it to Loaded, or tells Overloaded that it will not.
// One that never comes back costs its op the deadline, nothing else.
type Load struct {
	ID     uint64
	Digest record.Digest
}

// Record is a record as it was when it was read.
type Record struct {
	Meta  record.Meta
	Body  []byte
	Found bool
}

// asker is another node's question about a duplicate that waits for a device.
type asker struct {
	from   Origin
	digest record.Digest
}

// get returns an op's record if it is at hand: in memory, or loaded and still
// the version that is there. Else it is loaded, and Loaded goes on with the op.
func (c *Core) get(now Now, o *op) (r Record, ready bool) {
	m, body, ok, ready := c.cfg.Store.GetNow(&o.req.Digest, c.body[:0])
	c.body = body[:0]
	switch {
	case ready:
		return Record{m, body, ok}, true
	case o.loaded != nil && (o.loaded.Meta.Version == m.Version || planted.Is(planted.LoadedNotLookedAtAgain)):
		m.Unreadable = o.loaded.Meta.Unreadable
		return Record{m, o.loaded.Body, true}, true
	case o.loads == maxLoads:
		m.Unreadable = true
		return Record{m, nil, true}, true
	}
	c.executed(now, &o.req)
	c.load(o)
	return Record{}, false
}

func (c *Core) load(o *op) {
	if o.loading {
		return
	}
	o.loading = true
	o.loads++
	c.stats.Loads++
	c.out.Loads = append(c.out.Loads, Load{ID: o.id, Digest: o.req.Digest})
}

// loadFor has a record read for another node's question. Beyond MaxAsked, and
// when it is being read for the same question already, nothing happens: the
// question is repeated until it is answered.
func (c *Core) loadFor(from Origin, m *wire.Resolve) {
	if c.asking[from] || len(c.asked) >= MaxAsked {
		return
	}
	c.nextID++
	c.asked[c.nextID], c.asking[from] = asker{from, m.Digest}, true
	c.stats.Loads++
	c.out.Loads = append(c.out.Loads, Load{ID: c.nextID, Digest: m.Digest})
}

// Loaded takes the record that a Load asked for. Whether it is still the one
// that is there is looked at again; r.Body is copied if it is kept. What was
// asked before a freeze is void: Commit begins such ops again.
func (c *Core) Loaded(now Now, id uint64, r *Record) {
	if q, ok := c.asked[id]; ok {
		c.answerLoaded(id, q, r)
		return
	}
	o := c.loadingOp(id)
	if o == nil {
		return
	}
	o.loading, o.loaded = false, &Record{r.Meta, slices.Clone(r.Body), r.Found}
	if len(o.await) > 0 { // a merge waits for it: what the duplicates hold was not kept
		o.sent = now.Mono
		c.ask(o)
		return
	}
	c.execute(now, c.parts[o.req.Digest.Partition()], o)
}

// loadingOp is the op that waits for a load, nil if none does any more.
func (c *Core) loadingOp(id uint64) *op {
	o := c.ops[id]
	if o == nil || c.frozen || !o.loading || o.phase != resolving || c.parts[o.req.Digest.Partition()] == nil {
		return nil
	}
	return o
}

func (c *Core) answerLoaded(id uint64, q asker, r *Record) {
	delete(c.asked, id)
	delete(c.asking, q.from)
	if c.frozen {
		return
	}
	m, body, ok, ready := c.cfg.Store.GetNow(&q.digest, c.body[:0])
	c.body = body[:0]
	switch {
	case ready:
		c.tell(q.from, Record{m, body, ok})
	case r.Found && r.Meta.Version == m.Version:
		c.tell(q.from, *r)
	}
}

// Overloaded tells that too many reads wait for the device of a Load.
func (c *Core) Overloaded(now Now, id uint64) {
	if q, ok := c.asked[id]; ok {
		delete(c.asked, id)
		delete(c.asking, q.from)
		return
	}
	o := c.loadingOp(id)
	if o == nil {
		return
	}
	o.loading = false
	o.loads--
	if len(o.await) > 0 || o.applied {
		return // asked again by Tick
	}
	c.stats.Busy++
	if o.req.isRead() {
		c.reply(o.req.From, wire.StatusBusy)
		c.end(now, o)
		return
	}
	o.reply = wire.Reply{Status: wire.StatusBusy}
	c.finish(now, o)
}
