package drive

import (
	"fmt"
	"math/rand/v2"
	"time"

	"headroom/loadgen/target"
	"headroom/workloads"
	"headroom/workloads/keys"
)

// item is one record of a batch in flight.
type item struct {
	key      uint64
	before   entry // see slot
	beforeMS uint32
	seq      uint32 // of a write
	ended    bool
}

// batchScratch is the issuing goroutine's memory for the next batch.
type batchScratch struct {
	keys   []uint64
	values [][]byte
	bufs   []byte
}

// chooseBatch picks the records of a batch, for writes different ones that
// have no write in flight. False: there are not enough of them now.
func (l *lane) chooseBatch(s *slot) bool {
	t, n := l.d.table, l.d.cfg.Workload.BatchSize
	write := s.kind == workloads.BatchPut
	for tries := redraws * n; len(s.batch) < n; tries-- {
		it := item{key: l.chooser.Next(l.pick, t.population.Load())}
		if !write {
			s.batch = append(s.batch, it)
			continue
		}
		var ok bool
		if it.seq, ok = t.begin(it.key, false); ok {
			s.batch = append(s.batch, it)
		} else if tries <= 0 {
			l.unwrite(s)
			return false
		}
	}
	s.key = s.batch[0].key
	return true
}

// prepareBatch makes l.op the request of the slot's batch.
func (l *lane) prepareBatch(s *slot) {
	b, w := &l.batch, l.d.cfg.Workload
	b.keys, b.values = b.keys[:0], b.values[:0]
	l.op.Kind = target.BatchRead
	if s.kind == workloads.BatchPut {
		l.op.Kind, l.op.TTL = target.BatchWrite, w.TTL
		if b.bufs == nil {
			b.bufs = make([]byte, w.BatchSize*int(w.ValueSize.Max))
		}
	}
	for i := range s.batch {
		it := &s.batch[i]
		b.keys = append(b.keys, it.key)
		if it.seq == 0 {
			l.look(it.key)
			it.before, it.beforeMS = l.d.table.load(it.key), l.d.table.ackedAt(it.key)
			continue
		}
		b.values = append(b.values, l.d.filler.put(b.bufs[i*int(w.ValueSize.Max):], header{writer: l.d.audit.writer, seq: it.seq,
			key: it.key, intended: l.d.clock.Wall(s.intended).UnixNano()}))
	}
	l.op.Keys, l.op.Values = b.keys, b.values
}

// item ends one record of a batch that was submitted at sent.
func (a *audit) item(it *item, r *target.Result, sent, now time.Duration) {
	if it.ended {
		return
	}
	it.ended = true
	if it.seq > 0 {
		a.wrote(it.key, it.seq, r.Outcome, now)
		a.sawWrite(it.key, sent, now, it.seq, false, r.Outcome)
		return
	}
	a.sawRead(it.key, sent, now, r)
	if f := a.check(it.key, it.before, it.beforeMS, r); f != fine {
		a.count(f, it.key, it.before, it.beforeMS, r, now)
	}
}

// endBatch ends the writes of a batch that the target did not report one by one.
func (a *audit) endBatch(batch []item, out target.Outcome, sent, now time.Duration) {
	for i := range batch {
		if it := &batch[i]; it.seq > 0 && !it.ended {
			it.ended = true
			a.wrote(it.key, it.seq, out, now)
			a.sawWrite(it.key, sent, now, it.seq, false, out)
		}
	}
}

// kindsOf lists what a workload's operation asks of the target.
var kindsOf = [workloads.Ops][]target.Kind{workloads.Get: {target.Read}, workloads.Put: {target.Write}, workloads.Update: {target.Write},
	workloads.ReadModifyWrite: {target.Read, target.Write}, workloads.Insert: {target.Write}, workloads.Scan: {target.Scan},
	workloads.Delete: {target.Delete}, workloads.Operate: {target.Operate}, workloads.Touch: {target.Touch},
	workloads.BatchGet: {target.BatchRead}, workloads.BatchPut: {target.BatchWrite}}

// suits reports the first operation of w that t cannot do.
func suits(w *workloads.Workload, t target.Target) error {
	if 2*int64(w.BatchSize) > w.Records && w.Issues(workloads.BatchPut) {
		return fmt.Errorf("batch-put writes %d different records at once: give the workload at least %d records, not %d", w.BatchSize,
			2*w.BatchSize, w.Records)
	}
	r, limited := t.(target.Refuser)
	if !limited {
		return nil
	}
	for op := range workloads.Ops {
		if !w.Issues(op) {
			continue
		}
		for _, kind := range kindsOf[op] {
			if err := r.Refuse(kind); err != nil {
				return fmt.Errorf("the workload has %v, which this target cannot do: %w; leave it out with --set mix=…", op, err)
			}
		}
	}
	return nil
}

// hotKeys finds the keys of the places that a placed distribution heats.
func hotKeys(w *workloads.Workload, t target.Target, seed uint64) ([]uint64, error) {
	if !w.Keys.Placed() {
		return nil, nil
	}
	p, ok := t.(target.Placer)
	if !ok {
		return nil, fmt.Errorf("keys.distribution %s needs a target that tells where its records are: a Headroom cluster", w.Keys.Distribution)
	}
	pick := func(key uint64) bool { return p.Node(key) == w.Keys.HotNode-1 }
	if n := p.Nodes(); w.Keys.Distribution == keys.HotNode && w.Keys.HotNode > n {
		return nil, fmt.Errorf("keys.hot-node %d: the cluster has %d", w.Keys.HotNode, n)
	}
	if w.Keys.Distribution == keys.HotPartition {
		if w.Keys.HotPartitions > p.Partitions() {
			return nil, fmt.Errorf("keys.hot-partitions %d: the target has %d", w.Keys.HotPartitions, p.Partitions())
		}
		hot := make([]bool, p.Partitions())
		for _, i := range rand.New(rand.NewPCG(seed, 0xbb67ae8584caa73b)).Perm(len(hot))[:w.Keys.HotPartitions] {
			hot[i] = true
		}
		pick = func(key uint64) bool { return hot[p.Partition(key)] }
	}
	list := keys.HotKeys(uint64(w.Records), pick)
	if len(list) == 0 {
		return nil, fmt.Errorf("keys.distribution %s: none of the %d records lies there; take more records or more partitions",
			w.Keys.Distribution, w.Records)
	}
	return list, nil
}
