package txn

import (
	"errors"
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/hlc"
	"headroom/node/planted"
	"headroom/node/record"
	"headroom/node/wire"
)

// Core executes the requests of one shard. See the package comment.
type Core struct {
	cfg                    Config
	clock                  hlc.Clock
	view                   *cluster.View
	tag                    uint64 // of view's key
	frozen                 bool
	parts                  [cluster.Partitions]*part // nil: not of this shard, or before the first Commit
	busy                   map[record.Digest]*op     // the write in flight per key
	ops                    map[uint64]*op            // by id
	order                  []*op                     // ops, oldest first; ended ones are dropped at Tick
	nextID                 uint64
	readers                int                                // reads that wait for a write in flight
	stopped                []cluster.NodeID                   // see SetStopped
	noRoom                 map[cluster.NodeID]cluster.Instant // until when a replica that refused a write for want of room counts as stopped
	parked                 []*Request
	parkedBytes, heldBytes int // of bodies
	held                   []held
	asked                  map[uint64]asker // questions that wait for a device, by load
	asking                 map[Origin]bool  // who asks them
	free                   []*op
	out                    Effects
	body                   []byte // scratch: a stored body
	bins                   []byte // scratch: bins of replies
	stats                  Stats
}

// held is a message of a View that is not committed here yet.
type held struct {
	from Origin
	kind wire.Kind
	rep  wire.Replicate
	res  wire.Resolve
}

// New returns a Core that parks everything until the first Commit.
func New(cfg Config) *Core {
	if cfg.Deadline == 0 {
		cfg.Deadline = 2 * time.Second
	}
	return &Core{cfg: cfg, frozen: true, busy: map[record.Digest]*op{}, ops: map[uint64]*op{},
		asked: map[uint64]asker{}, asking: map[Origin]bool{}, noRoom: map[cluster.NodeID]cluster.Instant{}}
}

// Take returns the effects of the calls since the last Take. They, and what
// they alias, are valid until the next call of any other method.
func (c *Core) Take() *Effects { return &c.out }

// Reset forgets the effects returned by Take, keeping their memory.
func (c *Core) Reset() {
	o := &c.out
	clear(o.Replies)
	clear(o.Sends)
	clear(o.Answers)
	clear(o.Forwards)
	clear(o.Executed)
	o.Replies, o.Sends, o.Answers, o.Forwards, o.Drained = o.Replies[:0], o.Sends[:0], o.Answers[:0], o.Forwards[:0], o.Drained[:0]
	o.Executed, o.Loads, o.Lacking = o.Executed[:0], o.Loads[:0], o.Lacking[:0]
	c.bins = c.bins[:0]
}

// SetStopped tells which nodes take no writes but deletes at the moment: what
// they are to have a copy of is refused before it is stored anywhere. The room
// they keep is for what is under way. The slice becomes the Core's.
func (c *Core) SetStopped(nodes []cluster.NodeID) { c.stopped = nodes }

// stops reports whether a member of a partition's write set takes no writes: it
// has said so, or it has just refused one, which is repeated until it does not.
func (c *Core) stops(now Now, p *part) bool {
	if len(c.stopped) == 0 && len(c.noRoom) == 0 || planted.Is(planted.StoppedReplicaIgnored) {
		return false
	}
	return slices.ContainsFunc(p.WriteSet, func(n cluster.NodeID) bool { return slices.Contains(c.stopped, n) || now.Mono < c.noRoom[n] })
}

// Stats returns the counters so far.
func (c *Core) Stats() Stats { return c.stats }

// Serves reports whether reads of the partition may be answered straight from
// the store, while now < Lease: this node is its working master, nothing is
// frozen, handed over or left to resolve. It changes only in Freeze, Commit,
// Drain, Become, SetMaster and Resolved.
func (c *Core) Serves(pid int) bool {
	p := c.parts[pid]
	return !c.frozen && p != nil && p.Master == c.cfg.Self && !p.draining && !p.asks()
}

// Request executes one client request, or parks, queues or forwards it.
func (c *Core) Request(now Now, q *Request) {
	if q.Deadline == 0 {
		d := c.cfg.Deadline
		if q.DeadlineMS > 0 {
			d = min(d*30, time.Duration(q.DeadlineMS)*time.Millisecond)
		}
		q.Deadline = now.Mono.Add(d)
	}
	p := c.parts[q.Digest.Partition()]
	switch {
	case c.frozen || p == nil || p.draining:
		c.park(q)
	case p.Master == 0:
		c.reply(q.From, wire.StatusUnavailable)
	case p.Master != c.cfg.Self && q.Forwarded:
		c.reply(q.From, wire.StatusNotMaster)
	case p.Master != c.cfg.Self:
		c.stats.Forwarded++
		c.out.Forwards = append(c.out.Forwards, Forward{To: p.Master, Req: q})
	case now.Mono >= now.Lease:
		c.park(q)
	case !q.isRead() && q.View != 0 && q.View != c.tag && !planted.Is(planted.OldMapNotFenced):
		c.fenced(q)
	case q.isRead() && (!p.asks() || planted.Is(planted.DuplicatesNotResolved)):
		if !c.readLater(q) {
			c.read(now, p, q)
		}
	default:
		c.start(now, p, q)
	}
}

// fenced handles a write that was sent by the map of another View. One of an
// older View may be a ghost: it lay in the buffers of a paused node while its
// client sent it again elsewhere and went on, so it must not be applied now.
// One of a newer View waits for this node to commit it.
func (c *Core) fenced(q *Request) {
	if q.View>>32 > c.tag>>32 {
		c.park(q)
		return
	}
	c.stats.Fenced++
	c.reply(q.From, wire.StatusNotMaster)
}

// start makes an op of a write, or of a read that must resolve duplicates,
// and runs it unless another write of the record is in flight.
func (c *Core) start(now Now, p *part, q *Request) {
	if q.isRead() {
		c.run(now, p, c.newOp(q))
		return
	}
	if first := c.busy[q.Digest]; first != nil {
		c.enqueue(first, q)
		return
	}
	o := c.newOp(q)
	c.busy[q.Digest] = o
	c.run(now, p, o)
}

func (c *Core) enqueue(first *op, q *Request) {
	if len(first.queue) >= MaxQueue {
		c.stats.Busy++
		c.reply(q.From, wire.StatusBusy)
		return
	}
	if !q.kept {
		q = q.clone()
	}
	first.queue = append(first.queue, q)
}

// readLater lets a read wait for the write of its record that is in flight.
// What that has stored here is not on every member yet: if this node was lost
// now, a member without it could serve, and the answer would be taken back.
func (c *Core) readLater(q *Request) bool {
	first := c.busy[q.Digest]
	if first == nil || !first.unsettled {
		return false
	}
	if c.readers >= MaxReaders {
		c.stats.Busy++
		c.reply(q.From, wire.StatusBusy)
		return true
	}
	if !q.kept {
		c.stats.Delayed++
		q = q.clone()
	}
	first.readers = append(first.readers, q)
	c.readers++
	return true
}

// park keeps a request until the next Commit, SetMaster or Tick.
func (c *Core) park(q *Request) {
	if len(c.parked) >= MaxParked || c.parkedBytes+len(q.Body) > MaxWaiting {
		c.stats.Refused++
		c.reply(q.From, wire.StatusUnavailable)
		return
	}
	if !q.kept { // else it was parked or queued before: no copy each Tick
		c.stats.Parked++
		q = q.clone()
	}
	c.parkedBytes += len(q.Body)
	c.parked = append(c.parked, q)
}

// unpark runs everything that was parked; what still cannot run parks again.
func (c *Core) unpark(now Now) {
	todo := c.parked
	c.parked, c.parkedBytes = nil, 0
	c.requestAll(now, todo)
}

func (q *Request) clone() *Request {
	r := *q
	r.Body, r.kept = slices.Clone(q.Body), true
	return &r
}

func (c *Core) reply(to Origin, s wire.Status) {
	c.out.Replies = append(c.out.Replies, Reply{To: to, Reply: wire.Reply{Status: s}})
}

// read answers a get from the store, at once if the record is in memory.
func (c *Core) read(now Now, p *part, q *Request) {
	m, body, ok, ready := c.cfg.Store.GetNow(&q.Digest, c.body[:0])
	c.body = body[:0]
	if !ready {
		c.execute(now, p, c.newOp(q))
		return
	}
	c.found(now, q, Record{m, body, ok})
}

// found answers a get of r.
func (c *Core) found(now Now, q *Request, r Record) {
	c.stats.Reads++
	c.executed(now, q)
	m := &r.Meta
	if r.Found && m.Unreadable {
		c.reply(q.From, wire.StatusUnavailable)
		return
	}
	if !r.Found || !m.Live(now.sec()) {
		c.out.Replies = append(c.out.Replies, Reply{To: q.From, Reply: wire.Reply{Status: wire.StatusNotFound}, Read: true})
		return
	}
	reply := wire.Reply{Generation: m.Generation, Expiry: m.Expiry}
	if q.Kind == wire.KindGet {
		reply.Bins = c.keep(record.Body(r.Body).RawBins())
	}
	c.out.Replies = append(c.out.Replies, Reply{To: q.From, Reply: reply, Read: true})
}

// keep copies bins where they stay valid until Reset.
func (c *Core) keep(b []byte) []byte {
	if len(c.bins)+len(b) > cap(c.bins) {
		c.bins = make([]byte, 0, max(2*cap(c.bins), len(b), 4096)) // earlier replies keep the old array
	}
	at := len(c.bins)
	c.bins = append(c.bins, b...)
	return c.bins[at:len(c.bins):len(c.bins)]
}

// before returns the record that a write replaces: its body only if the write
// builds on it. Not ready means that it has to be loaded first.
func (c *Core) before(now Now, o *op) (r Record, ready bool) {
	if o.req.Kind == wire.KindPut || o.req.Kind == wire.KindDelete {
		r.Meta, r.Found = c.cfg.Store.Meta(&o.req.Digest)
		return r, true
	}
	return c.get(now, o)
}

// change computes the record that a write leaves behind in place of r. It
// reports the status to answer at once, or StatusOK with changed true when the
// record must be stored.
func (c *Core) change(now Now, q *Request, r Record) (m record.Meta, body []byte, bins []byte, changed bool, s wire.Status) {
	old, oldBody := r.Meta, r.Body
	if r.Found && old.Unreadable && q.Kind != wire.KindPut && q.Kind != wire.KindDelete {
		return old, nil, nil, false, wire.StatusUnavailable
	}
	live := r.Found && old.Live(now.sec())
	m = record.Meta{Generation: 1, Expiry: c.expiry(now, q.TTL, 0)}
	if live {
		m.Generation = old.Generation + 1
		m.Expiry = c.expiry(now, q.TTL, old.Expiry)
		if m.Generation == 0 {
			m.Generation = 1
		}
	} else {
		oldBody = nil
	}
	if q.CheckGen && (live && old.Generation != q.Generation || !live && q.Generation != 0) {
		return old, nil, nil, false, wire.StatusGeneration
	}
	switch q.Kind {
	case wire.KindPut:
		body = q.Body
		if err := record.Body(body).Validate(); err != nil {
			return m, nil, nil, false, refusal(err)
		}
	case wire.KindDelete:
		m.Tombstone, m.Expiry = true, 0
		if !live {
			return m, nil, nil, false, wire.StatusNotFound
		}
	case wire.KindTouch:
		if body = oldBody; !live {
			return m, nil, nil, false, wire.StatusNotFound
		}
	case wire.KindOperate:
		body, bins, changed, s = operate(oldBody, q.Body, live)
		if !changed || s != wire.StatusOK {
			return old, nil, bins, false, s
		}
	default:
		return m, nil, nil, false, wire.StatusBadRequest
	}
	m.Version = c.stamp(now, old.Version)
	if r.Found {
		follow(&m, old)
	}
	return m, body, bins, true, wire.StatusOK
}

// follow is m.Follow.
func follow(m *record.Meta, old record.Meta) {
	if planted.Is(planted.ShorteningNotInherited) {
		old.Shortens = false
	}
	m.Follow(&old)
}

// stamp makes a version newer than old and than all this Core has seen. Its
// Stamp, too, is later than old's, whatever the clocks say: merges order the
// writes of different Views by it.
func (c *Core) stamp(now Now, old record.Version) record.Version {
	v := record.Version{Regime: uint32(c.view.Key.Counter), Node: c.cfg.Self}
	if old.Regime > v.Regime {
		v.Regime = old.Regime // cannot be: a View's counter exceeds all its members saw
	}
	_ = c.clock.Receive(old.Stamp, now.WallMS) // a stamp too far ahead does not move the clock ...
	v.Stamp = c.clock.Now(now.WallMS)
	if !planted.Is(planted.StampNotLater) {
		v.Stamp = max(v.Stamp, old.Stamp+1) // ... so step over it by hand
	}
	if planted.Is(planted.EqualVersionsOnBothSides) {
		v = record.Version{Regime: old.Regime, Stamp: old.Stamp + 1}
	}
	return v
}

func (c *Core) expiry(now Now, ttl, old uint32) uint32 {
	switch ttl {
	case wire.TTLNever:
		return 0
	case wire.TTLKeep:
		return old
	case wire.TTLDefault:
		if c.cfg.DefaultTTL == 0 {
			return 0
		}
		return now.sec() + c.cfg.DefaultTTL
	}
	return now.sec() + ttl
}

// operate applies the encoded ops of an operate request to a stored body.
func operate(old, ops []byte, live bool) (body, bins []byte, changed bool, s wire.Status) {
	list, set, key, err := wire.ParseOps(ops)
	if err != nil {
		return nil, nil, false, wire.StatusBadRequest
	}
	if !live {
		if old, err = record.AppendBody(nil, set, key, nil); err != nil {
			return nil, nil, false, wire.StatusBadRequest
		}
	}
	body, results, changed, err := record.Apply(record.Body(old), list, nil)
	switch {
	case err != nil:
		return nil, nil, false, refusal(err)
	case !changed && !live:
		return nil, nil, false, wire.StatusNotFound
	}
	if bins, err = wire.AppendResults(nil, results); err != nil {
		return nil, nil, false, wire.StatusBadRequest
	}
	return body, bins, changed, wire.StatusOK
}

// refusal is the status for a record that breaks a rule of its own.
func refusal(err error) wire.Status {
	switch {
	case errors.Is(err, record.ErrBinType):
		return wire.StatusBinType
	case errors.Is(err, record.ErrTooBig):
		return wire.StatusTooBig
	}
	return wire.StatusBadRequest
}
