package plane

import (
	"headroom/node/cluster"
	"headroom/node/planted"
	"headroom/node/record"
	"headroom/node/txn"
	"headroom/node/wire"
)

// Request runs a single-record request whose deadline is set.
func (p *Plane) Request(q *txn.Request) {
	p.run(q.Digest.Partition(), func(core *txn.Core) { core.Request(p.host.Now(), q) })
}

// Read is a read that skips the shard's lock: the record is taken first, and
// only then does Valid look whether this node served it all the while, so that
// one that was paused in between does not answer with what it held before, and
// whether a write of it is in flight.
type Read struct {
	route uint64
	Meta  record.Meta
	Body  []byte
	Found bool
}

// Begin reads the record if this node serves its partition; body is appended
// to dst.
func (p *Plane) Begin(d *record.Digest, dst []byte) (r Read, serves bool) {
	if r, serves = p.Open(d); serves {
		r.Meta, r.Body, r.Found = p.store.Get(d, dst)
	}
	return r, serves
}

// Open is Begin for a caller that reads the record itself, later, and fills in
// what it found.
func (p *Plane) Open(d *record.Digest) (r Read, serves bool) {
	if r.route = p.routes[d.Partition()].Load(); r.route&1 == 0 {
		return r, false
	}
	if planted.Is(planted.LeaseBeforeRead) && p.leaseOver() {
		return r, false
	}
	return r, true
}

// Valid reports whether what Begin read may be answered at now.
func (p *Plane) Valid(r *Read, d *record.Digest, now txn.Now) bool {
	return (now.Mono < now.Lease || planted.Is(planted.LeaseBeforeRead)) && p.routes[d.Partition()].Load() == r.route && p.Settled(d)
}

// Reply is the answer to a get of what was read.
func (r *Read) Reply(now txn.Now, withBins bool) wire.Reply {
	if r.Found && r.Meta.Unreadable {
		return wire.Reply{Status: wire.StatusUnavailable}
	}
	if !r.Found || !r.Meta.Live(uint32(now.WallMS/1000)) {
		return wire.Reply{Status: wire.StatusNotFound}
	}
	out := wire.Reply{Generation: r.Meta.Generation, Expiry: r.Meta.Expiry}
	if withBins {
		out.Bins = record.Body(r.Body).RawBins()
	}
	return out
}

// Route is for reads of many records of a partition: equal and odd before and
// after them means that this node served it all the while its lease lasted.
func (p *Plane) Route(pid int) uint64 { return p.routes[pid].Load() }

// Receive takes in a replica write, an adoption or a question about a
// duplicate from another node.
func (p *Plane) Receive(from txn.Origin, kind wire.Kind, rep *wire.Replicate, res *wire.Resolve) {
	d := &rep.Digest
	if kind == wire.KindResolve {
		d = &res.Digest
	}
	p.run(d.Partition(), func(core *txn.Core) { core.Receive(p.host.Now(), from, kind, rep, res) })
}

// Replicated routes an answer to KindReplicate or KindAdopt to the core that
// asked; false means that there is no such core.
func (p *Plane) Replicated(from cluster.NodeID, frame uint64, s wire.Status) bool {
	index, ok := p.asker(frame)
	if ok {
		p.runShard(index, func(core *txn.Core) { core.Replicated(p.host.Now(), from, frame>>16, s) })
	}
	return ok
}

// ResolvedBy routes an answer to KindResolve likewise.
func (p *Plane) ResolvedBy(from cluster.NodeID, frame uint64, m *wire.Resolved) bool {
	index, ok := p.asker(frame)
	if ok {
		p.runShard(index, func(core *txn.Core) { core.ResolvedBy(p.host.Now(), from, frame>>16, m) })
	}
	return ok
}

func (p *Plane) asker(frame uint64) (index int, ok bool) {
	index = int(frame & 0xFF)
	return index, index < len(p.shards)
}

// Tick ticks the transaction cores that have anything in flight, and reports
// whether any has: on a beat, and when the lease comes back, so that what was
// parked meanwhile runs at once.
func (p *Plane) Tick() (busy bool) {
	for i := range p.shards {
		sh := &p.shards[i]
		sh.mu.Lock()
		if now := p.host.Now(); sh.core.Deadline(now.Mono) != cluster.Never {
			sh.core.Tick(now)
			p.carryOutLocked(i)
			busy = true
		}
		sh.mu.Unlock()
	}
	return busy
}

// Busy reports whether a transaction core has anything in flight or parked.
func (p *Plane) Busy() bool {
	for i := range p.shards {
		sh := &p.shards[i]
		sh.mu.Lock()
		busy := sh.core.Deadline(0) != cluster.Never
		sh.mu.Unlock()
		if busy {
			return true
		}
	}
	return false
}
