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
	switch op.Kind {
	case Scan:
		if r.Err = l.scan(ctx, op); r.Err != nil {
			r.Outcome = Failed
		}
	case BatchRead:
		l.batchRead(ctx, op, r)
	case BatchWrite:
		l.batchWrite(ctx, op, r)
	}
}

// scan reads op.ScanLen records from the partition of the key on, in the
// cluster's order, which is by partition.
func (l *headroomLane) scan(ctx context.Context, op *Op) error {
	digest, err := record.NewDigest(l.h.set, record.Int(int64(op.Key)))
	if err != nil {
		return err
	}
	first, left := digest.Partition(), op.ScanLen
	for look := scanPartitionsMax; look > 0 && left > 0; {
		n := min(look, cluster.Partitions-first)
		err := l.h.client.Scan(ctx, l.h.set, func(client.Record) error { left--; return nil },
			client.WithPartitions(first, n), client.WithNamespace(l.h.name), client.WithLimit(left))
		if err != nil {
			return err
		}
		look, first = look-n, 0
	}
	return nil
}

func (l *headroomLane) batchRead(ctx context.Context, op *Op, r *Result) {
	keys := make([]client.Key, len(op.Keys))
	for i, k := range op.Keys {
		keys[i] = client.Key{Set: l.h.set, Value: record.Int(int64(k))}
	}
	list, err := l.h.client.BatchGet(ctx, keys, client.WithNamespace(l.h.name))
	l.items(list, err, r, func(i int, item *Result) {
		if item.Outcome == OK {
			item.Value, item.Outcome = valueOf(list[i].Record.Bins)
		}
	})
}

func (l *headroomLane) batchWrite(ctx context.Context, op *Op, r *Result) {
	records := make([]client.KeyBins, len(op.Keys))
	for i, k := range op.Keys {
		records[i] = client.KeyBins{Key: client.Key{Set: l.h.set, Value: record.Int(int64(k))},
			Bins: []record.Bin{{Name: valueBin, Value: record.Bytes(op.Values[i])}}}
	}
	opts := []client.Option{client.WithNamespace(l.h.name)}
	if op.TTL > 0 {
		opts = append(opts, client.WithTTL(op.TTL))
	}
	list, err := l.h.client.BatchPut(ctx, records, opts...)
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
