package migrate

import (
	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

// sendScan sends the next slice of the whole partition.
func (c *Core) sendScan(j *job) int {
	l := &j.leg
	if c.store.Waits() {
		return c.listScan(l, int(j.pid))
	}
	most := c.scanMost(j)
	b := newBatch(most)
	next, done := c.store.Scan(int(j.pid), l.cursor, most, b.add)
	l.cursor, l.scan = next, !done
	c.sendRecords(j, b.records)
	return len(b.records)
}

// scanMost is how many records one slice reads: fewer if they are large, so
// that a slice is about one message.
func (c *Core) scanMost(j *job) int {
	size := c.store.Partition(int(j.pid))
	if size.Bytes <= 0 {
		return sliceRecords
	}
	mean := size.Bytes/int64(max(size.Records, 1)) + recordOverhead
	return int(min(max(wire.MaxRecordBytes/mean, 1), int64(sliceRecords)))
}

// batch collects records; their bodies share growing arrays that are never
// written again.
type batch struct {
	records []wire.MigrateRecord
	bodies  []byte
	bytes   int
}

// newBatch returns a batch with room for some records. Arrays that grow to it
// cost 260 bytes of garbage a record more (BenchmarkFill), and a node of one
// processor answers late while it collects them.
func newBatch(records int) batch {
	return batch{records: make([]wire.MigrateRecord, 0, records), bodies: make([]byte, 0, min(records*usualBody, wire.MaxRecordBytes))}
}

// usualBody is what a record's body is expected to take, in bytes.
const usualBody = 128

// add copies one record.
func (b *batch) add(d *record.Digest, m *record.Meta, body []byte) {
	at := len(b.bodies)
	b.bodies = append(b.bodies, body...)
	b.note(d, m, at)
}

// note enters the record whose body is what bodies holds from at on.
func (b *batch) note(d *record.Digest, m *record.Meta, at int) {
	body := b.bodies[at:len(b.bodies):len(b.bodies)]
	b.records = append(b.records, wire.MigrateRecord{Digest: *d, Meta: *m, Body: body})
	b.bytes += recordOverhead + len(body)
}

// read fills b with the records of digests until it is full, and returns how
// many digests that took. Records that are gone are left out.
func (c *Core) read(b *batch, digests []record.Digest) int {
	for i := range digests {
		if i == sliceRecords || b.bytes >= wire.MaxRecordBytes {
			return i
		}
		at := len(b.bodies)
		meta, bodies, ok := c.store.Get(&digests[i], b.bodies)
		if !ok || meta.Unreadable {
			continue
		}
		if len(b.records) > 0 && b.bytes+recordOverhead+len(bodies)-at > wire.MaxRecordBytes {
			return i
		}
		b.bodies = bodies
		b.note(&digests[i], &meta, at)
	}
	return len(digests)
}

// sendQueue sends the next records that the receiver lacks.
func (c *Core) sendQueue(j *job) int {
	if c.store.Waits() {
		return c.readQueue(j)
	}
	b := newBatch(min(len(j.leg.queue), sliceRecords))
	n := c.read(&b, j.leg.queue)
	j.leg.queue = j.leg.queue[n:]
	c.sendRecords(j, b.records)
	return n
}

// sendRecords sends records in messages of at most wire.MaxRecordBytes.
func (c *Core) sendRecords(j *job, records []wire.MigrateRecord) {
	first, size := 0, 0
	for i := range records {
		n := recordOverhead + len(records[i].Body)
		if i-first == batchRecords || i > first && size+n > wire.MaxRecordBytes {
			c.sendBatch(j, records[first:i], size)
			first, size = i, 0
		}
		size += n
	}
	if first < len(records) {
		c.sendBatch(j, records[first:], size)
	}
}

func (c *Core) sendBatch(j *job, records []wire.MigrateRecord, size int) {
	l := &j.leg
	l.seq++
	m := &wire.Migrate{Step: wire.StepRecords, Seq: l.seq, Records: records}
	c.send(l.to, j.pid, m)
	if len(l.unacked) == 0 {
		c.arm(j)
	}
	l.unacked = append(l.unacked, sent{m, size})
	l.bytes += size
	c.peers[l.to].unacked += size
	c.progress.RecordsSent += uint64(len(records))
	c.moved(j, len(records), size)
}

// applied frees what the receiver has acknowledged: all up to seq.
func (c *Core) applied(j *job, from uint16, seq uint32) {
	l := &j.leg
	if j.stage != filling || from != l.to {
		return
	}
	n := 0
	for n < len(l.unacked) && l.unacked[n].m.Seq <= seq {
		l.bytes -= l.unacked[n].bytes
		c.peers[from].unacked -= l.unacked[n].bytes
		n++
	}
	if n == 0 {
		return
	}
	l.unacked = l.unacked[n:]
	c.busy = true
	if len(l.unacked) > 0 || j.asking != nil || l.blocked {
		c.arm(j)
	} else {
		j.timer = cluster.Never
	}
}
