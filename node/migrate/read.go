package migrate

import (
	"slices"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

// Read asks for records that lie on a device. It is the caller's from Take to
// Loaded, and read-only.
type Read struct {
	ID        uint64
	Partition uint16
	Digests   []record.Digest // at most 64, tried in this order
}

// Loaded is what a Read found.
type Loaded struct {
	Records []wire.MigrateRecord // those that are there; one that cannot be read has Meta.Unreadable
	Tried   int                  // how many digests that took; the rest is asked for again
}

// Load reads with get, which may wait for the device, until about one message
// is full or over says that it took long enough. Call it outside the lock of
// the Core's owner.
func (r *Read) Load(get func(d *record.Digest, dst []byte) (record.Meta, []byte, bool), over func() bool) Loaded {
	var b batch
	for i := range r.Digests {
		if b.bytes >= wire.MaxRecordBytes || i > 0 && over() {
			return Loaded{b.records, i}
		}
		at := len(b.bodies)
		meta, bodies, ok := get(&r.Digests[i], b.bodies)
		if ok {
			b.bodies = bodies
			b.note(&r.Digests[i], &meta, at)
		}
	}
	return Loaded{b.records, len(r.Digests)}
}

// errand is why a Read was asked for: a leg waits for it, or another node's
// Fetch does.
type errand struct {
	job *job          // of the leg; nil: none
	to  uint16        // who asked
	ask *wire.Migrate // and what

	bytes, records int // taken from the rate's limit in advance
}

// wantsRead reports whether the next step of a leg is a Read.
func (c *Core) wantsRead(j *job) bool {
	return c.store.Waits() && (len(j.leg.lifts) > 0 || j.stage == filling && len(j.leg.queue) > 0)
}

func (c *Core) request(e *errand, pid uint16, digests []record.Digest) uint64 {
	c.nextRead++
	c.reads[c.nextRead] = e
	c.out.Reads = append(c.out.Reads, &Read{ID: c.nextRead, Partition: pid, Digests: digests})
	return c.nextRead
}

// listScan queues the next records of the whole partition.
func (c *Core) listScan(l *leg, pid int) int {
	n := len(l.queue)
	next, done := c.store.Each(pid, l.cursor, listTarget, func(d *record.Digest, _ *record.Meta) { l.queue = append(l.queue, *d) })
	l.cursor, l.scan = next, !done
	return 1 + (len(l.queue)-n)/16 // 16 entries cost what one record does
}

// readQueue has the next records that the receiver lacks read.
func (c *Core) readQueue(j *job) int {
	n := min(len(j.leg.queue), sliceRecords)
	return c.readLeg(j, j.leg.queue[:n:n])
}

// readLifts has the next of our records that need a lift read.
func (c *Core) readLifts(j *job) int {
	var digests []record.Digest
	for _, l := range j.leg.lifts[:min(len(j.leg.lifts), sliceRecords)] {
		digests = append(digests, l.digest)
	}
	return c.readLeg(j, digests)
}

func (c *Core) readLeg(j *job, digests []record.Digest) int {
	e := &errand{job: j}
	if j.stage == filling { // counted now, else all reads would start while the limit is open
		size := c.store.Partition(int(j.pid))
		e.records = len(digests)
		e.bytes = e.records * (int(size.Bytes/int64(max(size.Records, 1))) + recordOverhead)
		c.limit.take(e.bytes, e.records)
	}
	j.leg.read = c.request(e, j.pid, digests)
	c.legReads++
	return 1
}

// forgetReads voids all that is under way.
func (c *Core) forgetReads() {
	bytes, records := 0, 0
	for _, e := range c.reads {
		bytes, records = bytes+e.bytes, records+e.records
	}
	c.limit.take(-bytes, -records)
	c.reads, c.legReads = map[uint64]*errand{}, 0
}

// readAnswer has the records of a Fetch read. A Fetch that is being answered,
// or is one too many, is repeated by who asks.
func (c *Core) readAnswer(to uint16, m *wire.Migrate) {
	n := 0
	for _, e := range c.reads {
		if e.job == nil {
			n++
			if e.to == to && e.ask.Partition == m.Partition && e.ask.Seq == m.Seq {
				return
			}
		}
	}
	if n >= maxAnswers || len(m.Digests) == 0 {
		return
	}
	ask := *m
	ask.Digests = slices.Clone(m.Digests[:min(len(m.Digests), sliceRecords)])
	ask.More = len(ask.Digests) < len(m.Digests)
	c.request(&errand{to: to, ask: &ask}, m.Partition, ask.Digests)
}

// Loaded takes what a Read found; nothing tried means that it was not done.
// Each record is used if it still is the one that is there: one that changed
// was sent to the whole write set by who changed it. Reads of an earlier View
// are void.
func (c *Core) Loaded(now cluster.Instant, id uint64, got Loaded) {
	e := c.reads[id]
	if e == nil || c.frozen {
		return
	}
	c.now = max(c.now, now)
	c.busy = true
	delete(c.reads, id)
	if e.job == nil {
		c.answerLoaded(e, got)
		return
	}
	j := e.job
	c.legReads--
	c.limit.take(-e.bytes, -e.records)
	j.leg.read = 0
	var well bool
	if j.stage == filling {
		well = c.sendLoaded(j, got)
	} else {
		well = c.liftLoaded(j, got)
	}
	if !well {
		j.leg.blocked = true
		c.arm(j)
	}
}

// fate of a record that was read.
type fate uint8

const (
	usable fate = iota
	gone        // removed, replaced, or known to be damaged
	failed      // the device did not answer well
)

func (c *Core) fate(r *wire.MigrateRecord) fate {
	m, ok := c.store.Meta(&r.Digest)
	switch {
	case !ok || m.Unreadable || m.Version != r.Meta.Version:
		return gone
	case r.Meta.Unreadable:
		return failed
	}
	return usable
}

// sendLoaded sends the records that were read for the queue, and queues again
// those that could not be read. False means that none could.
func (c *Core) sendLoaded(j *job, got Loaded) (well bool) {
	l := &j.leg
	l.queue = l.queue[got.Tried:]
	send := got.Records[:0]
	bad := 0
	for i := range got.Records {
		r := &got.Records[i]
		switch c.fate(r) {
		case usable:
			send = append(send, *r)
		case failed:
			bad++
			l.queue = append(l.queue, r.Digest)
		}
	}
	c.sendRecords(j, send)
	return got.Tried > 0 && (bad == 0 || len(send) > 0)
}

// liftLoaded lifts the records that were read. False means that none could be
// read.
func (c *Core) liftLoaded(j *job, got Loaded) (well bool) {
	l := &j.leg
	tried := l.lifts[:got.Tried]
	l.lifts = l.lifts[got.Tried:]
	bad := 0
	list := got.Records
	for _, t := range tried {
		r, f := wire.MigrateRecord{}, gone
		if len(list) > 0 && list[0].Digest == t.digest { // both in the order asked for
			r, f, list = list[0], c.fate(&list[0]), list[1:]
		}
		if f == failed {
			bad++
			l.lifts = append(l.lifts, t)
			continue
		}
		c.lift(t, r, f == usable)
	}
	return got.Tried > 0 && bad < max(len(got.Records), 1)
}

// answerLoaded answers a Fetch. What changed meanwhile the hub has itself: all
// that this copy gets comes from there. A record that cannot be read cuts the
// answer short.
func (c *Core) answerLoaded(e *errand, got Loaded) {
	more := e.ask.More || got.Tried < len(e.ask.Digests)
	send := got.Records[:0]
	for i := range got.Records {
		r := &got.Records[i]
		f := c.fate(r)
		if f == failed {
			more = true
			break
		}
		if f == usable {
			send = append(send, *r)
		}
	}
	if got.Tried == 0 || more && len(send) == 0 {
		return // asked again
	}
	c.send(e.to, e.ask.Partition, &wire.Migrate{Step: wire.StepRecords, Seq: e.ask.Seq, Records: send, More: more})
}
