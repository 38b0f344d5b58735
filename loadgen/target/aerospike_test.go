package target

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	as "github.com/aerospike/aerospike-client-go/v8"
	"github.com/aerospike/aerospike-client-go/v8/types"
)

// fakeAerospike stands for the official client. No Aerospike server can be
// installed where these tests run: what is tested is this driver, not the wire.
type fakeAerospike struct {
	mu   sync.Mutex // guards all below
	data map[int64]as.BinMap
	fail as.Error // of the next operations
	seen *as.WritePolicy
}

func keyOf(k *as.Key) int64 { return int64(k.Value().GetObject().(int64)) }

func (f *fakeAerospike) Get(_ *as.BasePolicy, k *as.Key, _ ...string) (*as.Record, as.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	bins, ok := f.data[keyOf(k)]
	if !ok {
		return nil, as.ErrKeyNotFound
	}
	return &as.Record{Bins: bins}, nil
}

func (f *fakeAerospike) PutBins(p *as.WritePolicy, k *as.Key, bins ...*as.Bin) as.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = p
	if f.fail != nil {
		return f.fail
	}
	f.putLocked(keyOf(k), bins[0].Value.GetObject().([]byte))
	return nil
}

func (f *fakeAerospike) putLocked(k int64, v []byte) {
	if f.data[k] == nil {
		f.data[k] = as.BinMap{}
	}
	f.data[k][valueBin] = append([]byte{}, v...)
}

func (f *fakeAerospike) Delete(_ *as.WritePolicy, k *as.Key) (bool, as.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.data[keyOf(k)]
	delete(f.data, keyOf(k))
	return ok, nil
}

func (f *fakeAerospike) Touch(_ *as.WritePolicy, k *as.Key) as.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data[keyOf(k)] == nil {
		return as.ErrKeyNotFound
	}
	return nil
}

func (f *fakeAerospike) Operate(*as.WritePolicy, *as.Key, ...*as.Operation) (*as.Record, as.Error) {
	return &as.Record{}, nil
}

func (f *fakeAerospike) BatchOperate(_ *as.BatchPolicy, list []as.BatchRecordIfc) as.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range list {
		rec := b.BatchRec()
		rec.ResultCode = types.OK
		if _, write := b.(*as.BatchWrite); write {
			f.putLocked(keyOf(rec.Key), []byte{byte('a' + keyOf(rec.Key))})
			continue
		}
		if rec.ResultCode = types.KEY_NOT_FOUND_ERROR; f.data[keyOf(rec.Key)] != nil {
			rec.ResultCode, rec.Record = types.OK, &as.Record{Bins: f.data[keyOf(rec.Key)]}
		}
	}
	return nil
}

func (f *fakeAerospike) ScanPartitions(*as.ScanPolicy, *as.PartitionFilter, string, string, ...string) (*as.Recordset, as.Error) {
	return nil, as.ErrClusterIsEmpty
}

func (f *fakeAerospike) Close() {}

func TestAerospikeOutcomesAreThoseOfItsClient(t *testing.T) {
	store := &fakeAerospike{data: map[int64]as.BinMap{}}
	d := newDoor(t, &Aerospike{store: store, namespace: "test"}, 8)
	token := uint64(0)
	f := func(op Op, outcome Outcome, value string) {
		t.Helper()
		token++
		op.Token = token
		if r := d.do(t, op); r.Outcome != outcome || string(r.Value) != value || (r.Err == nil) != (outcome == OK || outcome == NotFound) {
			t.Errorf("kind %d: outcome %d, value %q, %v; want %d and %q", op.Kind, r.Outcome, r.Value, r.Err, outcome, value)
		}
	}
	f(Op{Kind: Read, Key: 1}, NotFound, "")
	f(Op{Kind: Delete, Key: 1}, NotFound, "")
	f(Op{Kind: Touch, Key: 1}, NotFound, "")
	f(Op{Kind: Write, Key: 1, Value: []byte("x"), TTL: 1500 * time.Millisecond, Budget: time.Second}, OK, "")
	if p := store.seen; p.Expiration != 2 || p.MaxRetries != 0 || p.TotalTimeout != time.Second {
		t.Errorf("write policy: expiration %d, retries %d, timeout %v; want 2 s, none, the budget", p.Expiration, p.MaxRetries, p.TotalTimeout)
	}
	f(Op{Kind: Read, Key: 1}, OK, "x")
	f(Op{Kind: Touch, Key: 1, TTL: time.Hour}, OK, "")
	f(Op{Kind: Operate, Key: 1}, OK, "")
	f(Op{Kind: BatchWrite, Keys: []uint64{2, 3}, Values: [][]byte{{'c'}, {'d'}}}, OK, "")
	f(Op{Kind: BatchRead, Keys: []uint64{3, 9}}, OK, "")
	if m := d.more[token]; len(m) != 2 || string(m[0].Value) != "d" || m[1].Outcome != NotFound {
		t.Errorf("batch read gave %+v", m)
	}
	f(Op{Kind: Scan, Key: 1, ScanLen: 5}, Failed, "")
	f(Op{Kind: Delete, Key: 1}, OK, "")
	store.fail = as.ErrTimeout
	f(Op{Kind: Read, Key: 2}, Failed, "")
	f(Op{Kind: Write, Key: 2, Value: []byte("y")}, Failed, "")
	d.mu.Lock()
	err := d.ends[token].Err
	d.mu.Unlock()
	if !strings.Contains(err.Error(), "aerospike: ") {
		t.Errorf("error %v", err)
	}
}

func TestAnAerospikeThatIsNotThereIsAnErrorInTime(t *testing.T) {
	s := newFakeServer(t, "redis") // takes connections, speaks something else
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	spec, err := ParseSpec("aerospike://" + s.l.Addr().String() + "/test")
	if err != nil {
		t.Fatal(err)
	}
	s.l.Close()
	if _, err = spec.Open(ctx, HeadroomConfig{}); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("Open after %v: %v", time.Since(began), err)
	}
}
