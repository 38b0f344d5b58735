package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"

	"headroom/node/cluster"
	"headroom/node/record"
)

func TestFingerprintNeverChanges(t *testing.T) {
	d := digestIn(1, 2)
	f := func(d record.Digest, v record.Version, want uint64) {
		t.Helper()
		if got := Fingerprint(&d, v); got != want {
			t.Errorf("Fingerprint(%x, %v) = %#x, want %#x", d, v, got, want)
		}
	}
	f(record.Digest{}, record.Version{}, 0x9413486f0ac0db5c)
	f(d, record.Version{}, 0x7fc82c37f12e6d2)
	f(d, record.Version{Regime: 1, Stamp: 2, Node: 3}, 0x48e4cfaba43aa614)
}

func TestEntryIs64Bytes(t *testing.T) {
	if n := unsafe.Sizeof(entry{}); n != 64 {
		t.Errorf("an entry is %d bytes, want 64", n)
	}
	if n := unsafe.Sizeof(shard{}); n != 64 {
		t.Errorf("a shard is %d bytes, want a cache line", n)
	}
	if n := unsafe.Sizeof(sizeClass{}); n != 64 {
		t.Errorf("a size class is %d bytes, want a cache line", n)
	}
}

func TestSlotSizesRoundUpByAnEighthAtMost(t *testing.T) {
	for c, last := 0, uint32(0); c < sizeClasses; c++ {
		slot := slotOf(c)
		if slot <= last || slot%slotStep != 0 || classOf(slot) != c || classOf(last+1) != c {
			t.Fatalf("class %d: slot %d after %d, found as %d and %d", c, slot, last, classOf(slot), classOf(last+1))
		}
		if slot > smallMax && float64(slot) > float64(last+1)*1.126 {
			t.Errorf("class %d: %d bytes take a slot of %d", c, last+1, slot)
		}
		span := uint32(spanPages(slot)) * pageSize
		if waste := float64(span%slot) / float64(span); waste > 1.0/maxSpanWaste+0.001 {
			t.Errorf("class %d: a span of %d for slots of %d wastes %.3f", c, span, slot, waste)
		}
		last = slot
	}
	if slotOf(sizeClasses-1) != maxSlot || record.MaxSize > maxSlot {
		t.Errorf("largest slot is %d, want %d", slotOf(sizeClasses-1), maxSlot)
	}
}

func body100(t testing.TB) []byte {
	b, err := record.AppendBody(nil, "", record.Value{}, []record.Bin{{Name: "f0", Value: record.Bytes(make([]byte, 100))}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digestOf(t testing.TB, n int64) record.Digest {
	d, err := record.NewDigest("", record.Int(n))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRecordOf100BytesTakesAtMost230(t *testing.T) {
	const n = 120_000
	e := open(t, Config{})
	body := body100(t)
	for i := range int64(n) {
		d := digestOf(t, i)
		if err := e.Put(&d, record.Meta{Version: version(1)}, body); err != nil {
			t.Fatal(err)
		}
	}
	s := e.Stats()
	if used, held := (s.IndexBytes+s.DataBytes)/n, s.HeldBytes/n; used > 190 || held > 200 {
		t.Errorf("a record takes %d bytes in use and %d held, want <= 190 and <= 200: %+v", used, held, s)
	}
	for p := range cluster.Partitions {
		e.Drop(p)
	}
	if s := e.Stats(); s.IndexBytes != 0 || s.DataBytes != 0 || s.HeldBytes != 0 {
		t.Errorf("dropped, but still %+v", s)
	}
	if idle := e.slab.pool.idle + e.entries.pool.idle; idle > 2*maxIdle {
		t.Errorf("dropped, but %d huge pages stay resident, want <= %d", idle, 2*maxIdle)
	}
}

func TestEmptyEngineMapsNothing(t *testing.T) {
	if s := open(t, Config{}).Stats(); s != (Stats{}) {
		t.Errorf("Stats = %+v, want zero", s)
	}
	if n := unsafe.Sizeof(Engine{}); n > 4<<20 {
		t.Errorf("an Engine is %d bytes, want <= 4 MiB", n)
	}
}

func TestFreedSpaceIsUsedForOtherSizes(t *testing.T) {
	e := open(t, Config{})
	body := make([]byte, record.MaxSize)
	for round, size := range []int{500, 5000, 70_000, 900, record.MaxSize} {
		const total = 40 << 20
		var ds []record.Digest
		for n := range uint64(total / size) {
			ds = append(ds, digestIn(round, n))
			if err := e.Put(&ds[n], record.Meta{Version: version(n)}, body[:size]); err != nil {
				t.Fatal(err)
			}
		}
		if s := e.Stats(); s.HeldBytes > (total+int64(len(ds))*100)*5/4 {
			t.Errorf("%d bytes at %d each hold %+v", total, size, s)
		}
		for n := range ds {
			if !e.Remove(&ds[n], version(uint64(n))) {
				t.Fatal("Remove found nothing")
			}
		}
	}
	if s := e.Stats(); s.HeldBytes != 0 || s.Mapped > 4*chunkSize {
		t.Errorf("emptied, but still %+v", s)
	}
}

func TestLimitStopsWritesButNotDeletes(t *testing.T) {
	const limit = 8 << 20
	e := open(t, Config{MemoryLimit: limit})
	body := make([]byte, 1000)
	n := int64(0)
	var err error
	for ; err == nil; n++ {
		d := digestOf(t, n)
		err = e.Put(&d, record.Meta{Version: version(1)}, body)
	}
	s := e.Stats()
	if !errors.Is(err, ErrStopWrites) || !s.StopWrites || s.HeldBytes > limit {
		t.Fatalf("after %d puts %v, %+v", n, err, s)
	}
	if used := s.IndexBytes + s.DataBytes; used < limit*89/100 || used > limit*91/100 {
		t.Errorf("stopped at %d bytes, want 90 %% of %d", used, limit)
	}
	d := digestOf(t, 0)
	if _, got, ok := e.Get(&d, nil); !ok || len(got) != len(body) {
		t.Errorf("Get = %d bytes, %v", len(got), ok)
	}
	if applied, _, _, err := e.PutNewer(&d, record.Meta{Version: version(2)}, body); !applied || err != nil {
		t.Errorf("PutNewer = %v, %v: what another node has accepted must find room", applied, err)
	}
	if applied, _, existed, err := e.PutNewer(&d, record.Meta{Version: version(2)}, body); applied || !existed || err != nil {
		t.Errorf("PutNewer of what is there = %v, %v, %v, want no error", applied, existed, err)
	}
	for i := range n / 10 {
		d := digestOf(t, i)
		if err := e.Put(&d, record.Meta{Version: version(3), Tombstone: true}, nil); err != nil {
			t.Fatalf("tombstone: %v", err)
		}
	}
	if err := e.Put(&d, record.Meta{Version: version(4)}, body); err != nil {
		t.Errorf("Put after deletes: %v", err)
	}
}

func TestFragmentationCannotPassTheLimit(t *testing.T) {
	const limit = 16 << 20
	e := open(t, Config{MemoryLimit: limit})
	rng := rand.New(rand.NewPCG(3, 3))
	bodies, lent := map[int64][]byte{}, int64(0)
	for i := range int64(20_000) {
		k := rng.Int64N(3000)
		d := digestOf(t, k)
		body := bytes.Repeat([]byte{byte(i)}, rng.IntN(1<<rng.IntN(21)))
		err := e.Put(&d, record.Meta{Version: version(uint64(i))}, body)
		switch {
		case err == nil:
			bodies[k] = body
		case !errors.Is(err, ErrStopWrites):
			t.Fatal(err)
		}
		lent = max(lent, e.slab.lent.Load())
		if m, ok := e.Meta(&d); ok && rng.IntN(2) == 0 {
			e.Remove(&d, m.Version)
			delete(bodies, k)
		}
	}
	if s := e.Stats(); s.HeldBytes > limit || lent == 0 {
		t.Errorf("limit %d, %d slots lent, %+v", limit, lent, s)
	}
	data := int64(0)
	for k, want := range bodies {
		d := digestOf(t, k)
		if _, got, ok := e.Get(&d, nil); !ok || !bytes.Equal(got, want) {
			t.Fatalf("key %d: %d bytes, %v, want %d", k, len(got), ok, len(want))
		}
		data += int64(slotSize(uint32(len(want))))
	}
	if s := e.Stats(); s.DataBytes != data {
		t.Errorf("%d bytes of data, want %d", s.DataBytes, data)
	}
	for k := range bodies {
		d := digestOf(t, k)
		m, _ := e.Meta(&d)
		e.Remove(&d, m.Version)
	}
	if s := e.Stats(); s.HeldBytes != 0 || e.slab.lent.Load() != 0 {
		t.Errorf("emptied, but %d slots lent, %+v", e.slab.lent.Load(), s)
	}
}

func TestRecordsOfOneSizeDoNotKeepOthersOut(t *testing.T) {
	e := open(t, Config{MemoryLimit: 8 << 20})
	large, small := make([]byte, 24<<10), make([]byte, 50)
	put := func(k int64, v uint64, body []byte) error {
		d := digestOf(t, k)
		_, _, _, err := e.PutNewer(&d, record.Meta{Version: version(v), Tombstone: body == nil}, body)
		return err
	}
	n := int64(0)
	for put(n, 1, large) == nil { // as a replica takes them
		n++
	}
	for k := int64(1000); put(k, 1, make([]byte, 60<<10)) == nil; k++ { // a page each, until there is none
	}
	for k := int64(1); k < n; k += 4 {
		if err := put(k, 2, small); err != nil {
			t.Fatalf("a smaller version: %v", err)
		}
	}
	for k := int64(0); k < n; k += 4 {
		if err := put(k, 2, nil); err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
	for k := int64(0); k < n; k += 4 {
		if err := put(k, 3, small); err != nil {
			t.Fatalf("a small record where large ones were deleted: %v", err)
		}
	}
	for k := range n {
		if k%4 > 1 {
			if err := put(k, 2, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for k := int64(0); k < n; k += 4 {
		if err := put(k, 4, small); err != nil {
			t.Fatal(err)
		}
	}
	for k := int64(1); k < n; k += 4 {
		if err := put(k, 4, small); err != nil {
			t.Fatal(err)
		}
	}
	if s := e.Stats(); e.slab.lent.Load() != 0 || s.HeldBytes > 2<<20 {
		t.Errorf("written again with room, but %d slots lent, %+v", e.slab.lent.Load(), s)
	}
}

func TestALentSlotTakesAnotherSize(t *testing.T) {
	e := open(t, Config{MemoryLimit: 8 << 20})
	put := func(k int64, v uint64, body []byte) bool {
		d := digestIn(7, uint64(k)) // one table, which needs no slots of its own
		_, _, _, err := e.PutNewer(&d, record.Meta{Version: version(v), Tombstone: body == nil}, body)
		return err == nil
	}
	fill := func(from int64, size int) (next int64) {
		for next = from; put(next, 1, make([]byte, size)); next++ {
		}
		return next
	}
	for k := fill(0, 24<<10) - 1; k >= 0; k -= 4 {
		put(k, 2, nil)
	}
	const small = 1000
	last, lent, taken := fill(small, 50), e.slab.lent.Load(), int64(0)
	for k := int64(small); k < last; k++ {
		if put(k, 2, make([]byte, 300)) {
			taken++
		}
	}
	if lent < 10 || taken < lent {
		t.Errorf("%d of %d records in lent slots could be written in another size", taken, lent)
	}
}

func TestOversizeAndClosedAreRefused(t *testing.T) {
	e := open(t, Config{})
	d := digestOf(t, 1)
	if err := e.Put(&d, record.Meta{}, make([]byte, record.MaxSize+1)); !errors.Is(err, record.ErrTooBig) {
		t.Errorf("Put of a large body = %v", err)
	}
	if err := e.Put(&d, record.Meta{}, make([]byte, record.MaxSize)); err != nil {
		t.Errorf("Put of the largest body = %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Put(&d, record.Meta{}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Put = %v, want ErrClosed", err)
	}
	if _, _, ok := e.Get(&d, nil); ok {
		t.Error("a closed engine has records")
	}
	e.Drop(d.Partition())
	if _, err := Open(Config{MemoryLimit: -1}); err == nil {
		t.Error("Open takes a negative limit")
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	e := open(t, Config{})
	d, body, buf := digestOf(t, 1), body100(t), make([]byte, 0, 256)
	v := uint64(0)
	n := testing.AllocsPerRun(1000, func() {
		v++
		if e.Put(&d, record.Meta{Version: version(v)}, body) != nil {
			t.Error("Put failed")
		}
		e.PutNewer(&d, record.Meta{Version: version(v + 1)}, body[:len(body)-20])
		_, got, ok := e.Get(&d, buf)
		if !ok || len(got) == 0 {
			t.Error("Get failed")
		}
	})
	if n != 0 {
		t.Errorf("Put, PutNewer and Get allocate %v times, want 0", n)
	}
}

// Writers of different sizes, removers, droppers and scanners meet on a few
// partitions; every body must be whole: filled with one byte, its first.
func TestConcurrentCallsNeverShowHalfARecord(t *testing.T) {
	const workers, steps, parts, keys = 4, 4000, 3, 40
	e := open(t, Config{MemoryLimit: 64 << 20})
	whole := func(b []byte) bool { return len(b) == 0 || bytes.Count(b, b[:1]) == len(b) }
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 7))
			var buf []byte
			for i := range steps {
				d := digestIn(rng.IntN(parts), rng.Uint64N(keys))
				switch n := rng.IntN(100); {
				case n < 50:
					body := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(3000))
					if _, _, _, err := e.PutNewer(&d, record.Meta{Version: version(uint64(i))}, body); err != nil {
						errs <- err
						return
					}
				case n < 60:
					if m, ok := e.Meta(&d); ok {
						e.Remove(&d, m.Version)
					}
				case n < 61:
					e.Drop(d.Partition())
				case n < 63:
					e.Scan(d.Partition(), 0, keys, func(d *record.Digest, _ *record.Meta, b []byte) {
						if !whole(b) {
							t.Errorf("Scan shows half a record of %d bytes", len(b))
						}
					})
				default:
					if _, buf, _ = e.Get(&d, buf[:0]); !whole(buf) {
						t.Errorf("Get shows half a record of %d bytes", len(buf))
					}
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

const benchRecords = 1_000_000

func benchEngine(b *testing.B) (*Engine, []record.Digest, []byte) {
	e := open(b, Config{})
	body := body100(b)
	ds := make([]record.Digest, benchRecords)
	for i := range ds {
		ds[i] = digestOf(b, int64(i))
		if err := e.Put(&ds[i], record.Meta{Version: version(1)}, body); err != nil {
			b.Fatal(err)
		}
	}
	// The order of access is not that of insertion, as in life.
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(ds), func(i, j int) { ds[i], ds[j] = ds[j], ds[i] })
	b.ReportAllocs()
	return e, ds, body
}

func BenchmarkGet(b *testing.B) {
	e, ds, _ := benchEngine(b)
	buf := make([]byte, 0, 256)
	i := 0
	for b.Loop() {
		if _, _, ok := e.Get(&ds[i], buf); !ok {
			b.Fatal("record is gone")
		}
		if i++; i == len(ds) {
			i = 0
		}
	}
}

func BenchmarkPut(b *testing.B) {
	e, ds, body := benchEngine(b)
	i, v := 0, uint64(2)
	for b.Loop() {
		if err := e.Put(&ds[i], record.Meta{Version: version(v)}, body); err != nil {
			b.Fatal(err)
		}
		if i++; i == len(ds) {
			i, v = 0, v+1
		}
	}
}

// BenchmarkInsert fills an engine with records it does not have, growing its
// tables, and empties it by Drop.
func BenchmarkInsert(b *testing.B) {
	for _, n := range []int{100_000, benchRecords} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			body := body100(b)
			ds := make([]record.Digest, n)
			for i := range ds {
				ds[i] = digestOf(b, int64(i))
			}
			e := open(b, Config{})
			for b.Loop() {
				for i := range ds {
					if err := e.Put(&ds[i], record.Meta{Version: version(1)}, body); err != nil {
						b.Fatal(err)
					}
				}
				for p := range cluster.Partitions {
					e.Drop(p)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
		})
	}
}
