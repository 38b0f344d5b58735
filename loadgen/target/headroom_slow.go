package target

import (
	"context"

	"headroom/node/client"
	"headroom/node/cluster"
	"headroom/node/record"
)

// scanPartitionsMax bounds how far a scan looks for its records: beyond that
// many nearly empty partitions it ends with what it has.
const scanPartitionsMax = 64

// doSlow serves a scan or a batch.
func (l *headroomLane) doSlow(op *Op, r *Result) {
	ctx, cancel := context.WithTimeout(context.Background(), op.Budget)
	defer cancel()
	s := slowStages{wanted: op.Sample}
	switch op.Kind {
	case Scan:
		if r.Err = l.scan(ctx, op, &s); r.Err != nil {
			r.Outcome = Failed
		}
	case BatchRead:
		l.batchRead(ctx, op, r, &s)
	case BatchWrite:
		l.batchWrite(ctx, op, r, &s)
	}
	if s.known > 0 && !s.silent {
		r.Stages = &s.sum
	}
}

// slowStages adds up the stages of the client calls of one sampled operation.
type slowStages struct {
	wanted bool
	one    client.Stages // of the call under way
	sum    Stages
	known  int  // calls in sum
	silent bool // a call did not tell
}

// options adds to the options of the next call what asks for its stages.
func (s *slowStages) options(list ...client.Option) []client.Option {
	if s.wanted {
		list = append(list, client.WithStages(&s.one))
	}
	return list
}

// ended takes in what the call has told.
func (s *slowStages) ended() {
	if !s.wanted {
		return
	}
	one := told(&s.one)
	s.known++
	s.silent = s.silent || !s.one.Known
	s.sum.Node = one.Node
	for i, d := range one.D {
		s.sum.D[i] += d
	}
}

// scan reads op.ScanLen records from the partition of the key on, in the
// cluster's order, which is by partition.
func (l *headroomLane) scan(ctx context.Context, op *Op, s *slowStages) error {
	digest, err := record.NewDigest(l.h.set, record.Int(int64(op.Key)))
	if err != nil {
		return err
	}
	first, left := digest.Partition(), op.ScanLen
	for look := scanPartitionsMax; look > 0 && left > 0; {
		n := min(look, cluster.Partitions-first)
		err := l.h.client.Scan(ctx, l.h.set, func(client.Record) error { left--; return nil },
			s.options(client.WithPartitions(first, n), client.WithNamespace(l.h.name), client.WithLimit(left))...)
		s.ended()
		if err != nil {
			return err
		}
		look, first = look-n, 0
	}
	return nil
}

func (l *headroomLane) batchRead(ctx context.Context, op *Op, r *Result, s *slowStages) {
	keys := make([]client.Key, len(op.Keys))
	for i, k := range op.Keys {
		keys[i] = client.Key{Set: l.h.set, Value: record.Int(int64(k))}
	}
	list, err := l.h.client.BatchGet(ctx, keys, s.options(client.WithNamespace(l.h.name))...)
	s.ended()
	l.items(list, err, r, func(i int, item *Result) {
		if item.Outcome == OK {
			item.Value, item.Outcome = valueOf(list[i].Record.Bins)
		}
	})
}

func (l *headroomLane) batchWrite(ctx context.Context, op *Op, r *Result, s *slowStages) {
	records := make([]client.KeyBins, len(op.Keys))
	for i, k := range op.Keys {
		records[i] = client.KeyBins{Key: client.Key{Set: l.h.set, Value: record.Int(int64(k))},
			Bins: []record.Bin{{Name: valueBin, Value: record.Bytes(op.Values[i])}}}
	}
	opts := s.options(client.WithNamespace(l.h.name))
	if op.TTL > 0 {
		opts = append(opts, client.WithTTL(op.TTL))
	}
	list, err := l.h.client.BatchPut(ctx, records, opts...)
	s.ended()
	l.items(list, err, r, func(int, *Result) {})
}

// items reports each record of a batch and leaves the worst outcome in r. err
// says that nothing was tried.
func (l *headroomLane) items(list []client.Result, err error, r *Result, refine func(int, *Result)) {
	if err != nil {
		r.Outcome, r.Err = Failed, err
		return
	}
	for i := range list {
		item := Result{Token: r.Token, More: true, Item: i, Outcome: outcome(list[i].Err), Err: list[i].Err}
		refine(i, &item)
		if item.Outcome > NotFound && item.Outcome > r.Outcome {
			r.Outcome, r.Err = item.Outcome, item.Err
		}
		l.complete(&item)
	}
}
