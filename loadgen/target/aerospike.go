package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	as "github.com/aerospike/aerospike-client-go/v8"
	"github.com/aerospike/aerospike-client-go/v8/types"
)

const (
	// aerospikeSet holds all records that the generator writes.
	aerospikeSet = "headroom"
	// aerospikeRetries is how often the client repeats a read; writes it never
	// repeats, so that one that failed was not applied unless it says so.
	aerospikeRetries = 2
	// aerospikePartitions is fixed by the protocol.
	aerospikePartitions = 4096
)

// aerospikeStore is what this driver uses of *as.Client.
type aerospikeStore interface {
	Get(*as.BasePolicy, *as.Key, ...string) (*as.Record, as.Error)
	PutBins(*as.WritePolicy, *as.Key, ...*as.Bin) as.Error
	Delete(*as.WritePolicy, *as.Key) (bool, as.Error)
	Touch(*as.WritePolicy, *as.Key) as.Error
	Operate(*as.WritePolicy, *as.Key, ...*as.Operation) (*as.Record, as.Error)
	BatchOperate(*as.BatchPolicy, []as.BatchRecordIfc) as.Error
	ScanPartitions(*as.ScanPolicy, *as.PartitionFilter, string, string, ...string) (*as.Recordset, as.Error)
	Close()
}

// Aerospike is an Aerospike cluster behind its official Go client. That client
// has no asynchronous path: each operation in flight holds one of up to 256
// goroutines per lane, and allocates. The generator's own cost is therefore
// some microseconds per operation more than with the other drivers; lateness
// and service time show what of it matters.
type Aerospike struct {
	store     aerospikeStore
	namespace string
}

// DialAerospike connects to a cluster; it waits as long as ctx lets it.
func DialAerospike(ctx context.Context, cfg StreamConfig, namespace string) (*Aerospike, error) {
	host, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	policy := as.NewClientPolicy()
	policy.User, policy.Password = cfg.User, cfg.Password
	policy.ConnectionQueueSize = max(cfg.Connections, slowHelpers)
	if deadline, ok := ctx.Deadline(); ok {
		policy.Timeout = time.Until(deadline)
	}
	c, aerr := as.NewClientWithPolicyAndHost(policy, as.NewHost(host, n))
	if aerr != nil {
		return nil, errors.New(strings.Join(strings.Fields(aerr.Error()), " ")) // it has several lines
	}
	return &Aerospike{store: c, namespace: namespace}, nil
}

// Close implements Target.
func (a *Aerospike) Close() error { a.store.Close(); return nil }

// NewLane implements Target.
func (a *Aerospike) NewLane(inFlight int, complete func(*Result)) (Lane, error) {
	l := &aerospikeLane{a: a, complete: complete}
	l.slow = newSlowLane(inFlight, complete, l.do)
	return l, nil
}

type aerospikeLane struct {
	a        *Aerospike
	complete func(*Result)
	slow     *slowLane
}

// Submit implements Lane.
func (l *aerospikeLane) Submit(op *Op) error { return l.slow.submit(op) }

// Flush implements Lane.
func (l *aerospikeLane) Flush() {}

// Close implements Lane.
func (l *aerospikeLane) Close() error { l.slow.close(); return nil }

// do executes op on a helper's goroutine.
func (l *aerospikeLane) do(op *Op, r *Result) {
	key, err := l.a.key(op.Key)
	if err == nil {
		err = l.execute(op, key, r)
	}
	if err != nil {
		r.Outcome, r.Err = aerospikeOutcome(err)
	}
}

func (a *Aerospike) key(k uint64) (*as.Key, as.Error) {
	return as.NewKey(a.namespace, aerospikeSet, int64(k))
}

func (l *aerospikeLane) execute(op *Op, key *as.Key, r *Result) as.Error {
	s := l.a.store
	switch op.Kind {
	case Read:
		rec, err := s.Get(readPolicy(op), key, valueBin)
		if err == nil {
			r.Value, r.Outcome = aerospikeValue(rec)
		}
		return err
	case Write:
		return s.PutBins(writePolicy(op, op.TTL), key, as.NewBin(valueBin, op.Value))
	case Delete:
		found, err := s.Delete(writePolicy(op, 0), key)
		if !found {
			r.Outcome = NotFound
		}
		return err
	case Touch:
		return s.Touch(writePolicy(op, op.TTL), key)
	case Operate:
		p := writePolicy(op, 0)
		p.Expiration = as.TTLDontUpdate
		_, err := s.Operate(p, key, as.AddOp(as.NewBin(counterBin, 1)), as.GetBinOp(counterBin))
		return err
	case Scan:
		return l.scan(op, key)
	case BatchRead, BatchWrite:
		return l.batch(op, r)
	}
	return nil
}

// batch sends one BatchOperate and reports each of its records.
func (l *aerospikeLane) batch(op *Op, r *Result) as.Error {
	p := as.NewBatchPolicy()
	p.TotalTimeout, p.SocketTimeout, p.MaxRetries = op.Budget, op.Budget, 0
	list := make([]as.BatchRecordIfc, len(op.Keys))
	for i, k := range op.Keys {
		key, err := l.a.key(k)
		if err != nil {
			return err
		}
		if op.Kind == BatchRead {
			list[i] = as.NewBatchRead(nil, key, []string{valueBin})
			continue
		}
		wp := as.NewBatchWritePolicy()
		wp.Expiration = expiration(op.TTL)
		list[i] = as.NewBatchWrite(wp, key, as.PutOp(as.NewBin(valueBin, op.Values[i])))
	}
	err := l.a.store.BatchOperate(p, list)
	if err != nil && !someDone(list) {
		return err
	}
	for i, b := range list {
		rec := b.BatchRec()
		item := Result{Token: r.Token, More: true, Item: i, Outcome: OK}
		switch {
		case rec.ResultCode == types.KEY_NOT_FOUND_ERROR:
			item.Outcome = NotFound
		case rec.ResultCode != types.OK:
			item.Outcome, item.Err = Failed, fmt.Errorf("aerospike: %s", types.ResultCodeToString(rec.ResultCode))
			// The client says nothing of records that it had no answer for.
			if rec.InDoubt || op.Kind == BatchWrite && rec.ResultCode == types.NO_RESPONSE && err != nil && err.IsInDoubt() {
				item.Outcome = InDoubt
			}
		case op.Kind == BatchRead:
			item.Value, item.Outcome = aerospikeValue(rec.Record)
		}
		if item.Outcome > NotFound && item.Outcome > r.Outcome {
			r.Outcome, r.Err = item.Outcome, item.Err
		}
		l.complete(&item)
	}
	return nil
}

func someDone(list []as.BatchRecordIfc) bool {
	for _, b := range list {
		if b.BatchRec().ResultCode == types.OK {
			return true
		}
	}
	return false
}

// scan reads records from the partition of the key on.
func (l *aerospikeLane) scan(op *Op, key *as.Key) as.Error {
	p := as.NewScanPolicy()
	p.MaxRecords, p.TotalTimeout, p.SocketTimeout, p.MaxRetries = int64(op.ScanLen), op.Budget, op.Budget, 0
	first := key.PartitionId()
	set, err := l.a.store.ScanPartitions(p, as.NewPartitionFilterByRange(first, min(scanPartitionsMax, aerospikePartitions-first)),
		l.a.namespace, aerospikeSet, valueBin)
	if err != nil {
		return err
	}
	for res := range set.Results() {
		if res.Err != nil {
			return res.Err
		}
	}
	return nil
}

func readPolicy(op *Op) *as.BasePolicy {
	p := as.NewPolicy()
	p.TotalTimeout, p.SocketTimeout, p.MaxRetries = op.Budget, op.Budget, aerospikeRetries
	return p
}

func writePolicy(op *Op, ttl time.Duration) *as.WritePolicy {
	p := as.NewWritePolicy(0, expiration(ttl))
	p.TotalTimeout, p.SocketTimeout, p.MaxRetries = op.Budget, op.Budget, 0
	return p
}

// expiration is a time to live in seconds; zero is the namespace's.
func expiration(ttl time.Duration) uint32 { return uint32((ttl + time.Second - 1) / time.Second) }

// aerospikeValue returns the value of a record, as valueOf does.
func aerospikeValue(rec *as.Record) ([]byte, Outcome) {
	v, ok := rec.Bins[valueBin]
	if !ok {
		return nil, NotFound
	}
	b, _ := v.([]byte) // anything else gives no value, which no audit accepts
	return b, OK
}

// aerospikeOutcome maps the client's errors.
func aerospikeOutcome(err as.Error) (Outcome, error) {
	switch {
	case err.Matches(types.KEY_NOT_FOUND_ERROR):
		return NotFound, nil
	case err.IsInDoubt():
		return InDoubt, errors.New("aerospike: in doubt: " + aerospikeText(err))
	}
	return Failed, errors.New("aerospike: " + aerospikeText(err))
}

// aerospikeText is the class of an error without addresses and counts.
func aerospikeText(err as.Error) string {
	var e *as.AerospikeError
	if errors.As(err, &e) {
		return types.ResultCodeToString(e.ResultCode)
	}
	return err.Error()
}
