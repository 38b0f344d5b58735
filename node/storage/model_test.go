package storage

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"headroom/node/cluster"
	"headroom/node/hlc"
	"headroom/node/record"
)

func open(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if s := e.Stats(); s != (Stats{}) {
			t.Errorf("closed engine still has %+v", s)
		}
	})
	return e
}

// digestIn makes the n-th digest of partition p, as random as a real one.
func digestIn(p int, n uint64) (d record.Digest) {
	d = record.DigestOf("test", record.KeyInt, binary.BigEndian.AppendUint64(nil, n<<12|uint64(p)))
	d[0], d[1] = byte(p), byte(p>>8)|d[1]&0xf0
	return d
}

func version(n uint64) record.Version {
	return record.Version{Regime: uint32(n >> 6), Stamp: hlc.Stamp(n), Node: cluster.NodeID(n%3 + 1), Lifted: uint8(min(n%3, n>>6))}
}

type kept struct {
	meta record.Meta
	body []byte
}

// model is the plain truth that an engine is compared with.
type model struct {
	t       *testing.T
	rng     *rand.Rand
	e       *Engine
	records map[record.Digest]kept
	parts   []int
	keys    uint64 // of each partition
}

func (m *model) digest() record.Digest {
	return digestIn(m.parts[m.rng.IntN(len(m.parts))], m.rng.Uint64N(m.keys))
}

func (m *model) random() kept {
	k := kept{meta: record.Meta{
		Version:    version(m.rng.Uint64N(1 << 16)),
		Generation: uint16(m.rng.IntN(1 << 16)),
		Expiry:     m.rng.Uint32N(100),
		Tombstone:  m.rng.IntN(4) == 0,
	}}
	if !k.meta.Tombstone {
		n := m.size()
		k.meta.Shortens = m.rng.IntN(3) == 0
		k.body = bytes.Repeat(binary.BigEndian.AppendUint64(nil, m.rng.Uint64()), n/8+1)[:n]
	}
	return k
}

func (m *model) size() int {
	switch m.rng.IntN(20) {
	case 0:
		return 0
	case 1:
		return m.rng.IntN(1 << 14)
	}
	return m.rng.IntN(200)
}

func (m *model) step() {
	d, k := m.digest(), m.random()
	was, had := m.records[d]
	switch n := m.rng.IntN(1000); {
	case n < 400:
		if err := m.e.Put(&d, k.meta, k.body); err != nil {
			m.t.Fatalf("Put: %v", err)
		}
		m.records[d] = k
	case n < 700:
		applied, old, existed, err := m.e.PutNewer(&d, k.meta, k.body)
		want := !had || k.meta.Version.Newer(was.meta.Version)
		if err != nil || applied != want || existed != had || old != was.meta {
			m.t.Fatalf("PutNewer = %v, %+v, %v, %v, want %v, %+v, %v", applied, old, existed, err, want, was.meta, had)
		}
		if want {
			m.records[d] = k
		}
	case n < 900:
		v := was.meta.Version
		if m.rng.IntN(5) == 0 {
			v.Stamp++
		}
		want := had && v == was.meta.Version
		if got := m.e.Remove(&d, v); got != want {
			m.t.Fatalf("Remove = %v, want %v", got, want)
		}
		if want {
			delete(m.records, d)
		}
	case n < 930:
		m.bury(d, was, had)
	case n < 931:
		p := m.parts[m.rng.IntN(len(m.parts))]
		m.e.Drop(p)
		for d := range m.records {
			if d.Partition() == p {
				delete(m.records, d)
			}
		}
	default:
		meta, body, ok := m.e.Get(&d, []byte("x"))
		if ok != had || meta != was.meta || string(body) != "x"+string(was.body) {
			m.t.Fatalf("Get = %+v, %d bytes, %v, want %+v, %d bytes, %v", meta, len(body)-1, ok, was.meta, len(was.body), had)
		}
		if got, ok := m.e.Meta(&d); ok != had || got != was.meta {
			m.t.Fatalf("Meta = %+v, %v, want %+v, %v", got, ok, was.meta, had)
		}
	}
}

func (m *model) bury(d record.Digest, was kept, had bool) {
	v := was.meta.Version
	if m.rng.IntN(5) == 0 {
		v.Stamp++
	}
	want := had && v == was.meta.Version && !was.meta.Tombstone
	if got := m.e.Bury(&d, v); got != want {
		m.t.Fatalf("Bury = %v, want %v", got, want)
	}
	if want {
		m.records[d] = kept{meta: record.Meta{Version: v, Generation: was.meta.Generation, Tombstone: true}}
	}
}

// check compares everything the engine tells with the model.
func (m *model) check() {
	var want, got Stats
	for _, p := range m.parts {
		m.checkPartition(p)
		table := len(m.e.buckets(&m.e.shards[p]))
		if table > 0 {
			want.IndexBytes += int64(slotSize(uint32(table) * 4))
		}
	}
	for _, k := range m.records {
		if k.meta.Tombstone {
			want.Tombstones++
		} else {
			want.Records++
		}
		want.IndexBytes += entrySize
		want.DataBytes += int64(slotSize(uint32(len(k.body))))
	}
	got = m.e.Stats()
	if got.HeldBytes < got.DataBytes+got.IndexBytes || got.Mapped < got.HeldBytes {
		m.t.Errorf("stats do not nest: %+v", got)
	}
	got.HeldBytes, got.Mapped = 0, 0
	if got != want {
		m.t.Errorf("Stats = %+v, want %+v", got, want)
	}
}

func (m *model) checkPartition(p int) {
	var want PartitionStats
	var sums, gotSums [SubBuckets]uint64
	var lists [SubBuckets][]DigestVersion
	for d, k := range m.records {
		if d.Partition() != p {
			continue
		}
		want.Bytes += int64(len(k.body))
		if k.meta.Tombstone {
			want.Tombstones++
		} else {
			want.Records++
		}
		f := Fingerprint(&d, k.meta.Version)
		want.Digest64 ^= f
		sums[d[4]>>2] ^= f
		lists[d[4]>>2] = append(lists[d[4]>>2], DigestVersion{Digest: d, Version: k.meta.Version})
	}
	if got := m.e.Partition(p); got != want {
		m.t.Errorf("Partition(%d) = %+v, want %+v", p, got, want)
	}
	if m.e.Summary(p, &gotSums); gotSums != sums {
		m.t.Errorf("Summary(%d) is wrong", p)
	}
	byDigest := func(a, b DigestVersion) int { return bytes.Compare(a.Digest[:], b.Digest[:]) }
	for b := range lists {
		got := m.e.ListBucket(p, b, nil)
		slices.SortFunc(got, byDigest)
		slices.SortFunc(lists[b], byDigest)
		if !slices.Equal(got, lists[b]) {
			m.t.Errorf("ListBucket(%d, %d) has %d entries, want %d", p, b, len(got), len(lists[b]))
		}
	}
	m.checkScan(p, want.Records+want.Tombstones)
}

func (m *model) checkScan(p int, want int64) {
	seen := map[record.Digest]bool{}
	for c, done := Cursor(0), false; !done; {
		c, done = m.e.Scan(p, c, 1+m.rng.IntN(50), func(d *record.Digest, meta *record.Meta, body []byte) {
			k, ok := m.records[*d]
			if !ok || *meta != k.meta || !bytes.Equal(body, k.body) || seen[*d] {
				m.t.Errorf("Scan(%d) gives %x: known %v, twice %v", p, *d, ok, seen[*d])
			}
			seen[*d] = true
		})
	}
	if int64(len(seen)) != want {
		m.t.Errorf("Scan(%d) gives %d records, want %d", p, len(seen), want)
	}
}

func TestEngineDoesWhatAMapDoes(t *testing.T) {
	f := func(seed, keys uint64, steps int, parts ...int) {
		t.Helper()
		m := &model{
			t: t, rng: rand.New(rand.NewPCG(seed, 0)), e: open(t, Config{}),
			records: map[record.Digest]kept{}, parts: parts, keys: keys,
		}
		for i := range steps {
			m.step()
			if i%(steps/8) == 0 {
				m.check()
			}
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, i)
			}
		}
		m.check()
	}
	f(1, 1, 2000, 0)
	f(2, 10, 5000, 1, 4095)
	f(3, 300, 20000, 0, 7)
	f(4, 5000, 30000, 42)
	f(5, 2000, 20000, 1, 2, 3)
}

func TestScanSeesWhatStaysWhileOthersComeAndGo(t *testing.T) {
	const p, stay = 5, 500
	e := open(t, Config{})
	rng := rand.New(rand.NewPCG(1, 1))
	seen := map[record.Digest]int{}
	put := func(n uint64) {
		d := digestIn(p, n)
		if err := e.Put(&d, record.Meta{Version: version(n)}, []byte("body")); err != nil {
			t.Fatal(err)
		}
	}
	for n := range uint64(stay) {
		put(n)
	}
	other := uint64(stay)
	for c, done := Cursor(0), false; !done; {
		c, done = e.Scan(p, c, 3, func(d *record.Digest, _ *record.Meta, _ []byte) { seen[*d]++ })
		for i := 0; i < 40 && other < 20*stay; i++ { // the table doubles several times on the way
			put(other)
			other++
		}
		for range 10 {
			n := stay + rng.Uint64N(other-stay)
			d := digestIn(p, n)
			e.Remove(&d, version(n))
		}
	}
	for n := range uint64(stay) {
		if got := seen[digestIn(p, n)]; got != 1 {
			t.Errorf("record %d seen %d times, want 1", n, got)
		}
	}
	if other < 4*stay {
		t.Errorf("only %d others came: the table hardly grew", other-stay)
	}
}

func TestScanOrderFollowsFromTheCallsAlone(t *testing.T) {
	run := func() (order []record.Digest) {
		e := open(t, Config{})
		rng := rand.New(rand.NewPCG(9, 9))
		for range 5000 {
			n := rng.Uint64N(2000)
			d := digestIn(3, n)
			if rng.IntN(3) == 0 {
				e.Remove(&d, version(n))
			} else if err := e.Put(&d, record.Meta{Version: version(n)}, make([]byte, rng.IntN(300))); err != nil {
				t.Fatal(err)
			}
		}
		e.Scan(3, 0, 1<<20, func(d *record.Digest, _ *record.Meta, _ []byte) { order = append(order, *d) })
		return order
	}
	if a, b := run(), run(); !slices.Equal(a, b) || len(a) < 500 {
		t.Errorf("two runs of the same calls scan %d and %d records in different orders", len(a), len(b))
	}
}

func TestScanEndsSoonInAnEmptiedTable(t *testing.T) {
	const p, n = 1, 20000
	e := open(t, Config{})
	for i := range uint64(n) {
		d := digestIn(p, i)
		if err := e.Put(&d, record.Meta{Version: version(i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint64(n - 1) {
		d := digestIn(p, i)
		e.Remove(&d, version(i))
	}
	calls, seen := 0, 0
	for c, done := Cursor(0), false; !done; calls++ {
		c, done = e.Scan(p, c, 10, func(*record.Digest, *record.Meta, []byte) { seen++ })
	}
	if want := 32768/maxVisit + 1; seen != 1 || calls > want {
		t.Errorf("saw %d records in %d calls, want 1 in at most %d", seen, calls, want)
	}
}

func TestEqualContentsHaveEqualDigests(t *testing.T) {
	a, b := open(t, Config{}), open(t, Config{})
	put := func(e *Engine, n uint64) {
		d := digestIn(8, n)
		if err := e.Put(&d, record.Meta{Version: version(n)}, []byte{byte(n)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range uint64(100) {
		put(a, n)
		put(b, 99-n)
	}
	if got, want := b.Partition(8), a.Partition(8); got != want {
		t.Errorf("another order gives %+v, want %+v", got, want)
	}
	put(b, 100)
	if cmp.Compare(a.Partition(8).Digest64, b.Partition(8).Digest64) == 0 {
		t.Error("one record more has the same digest")
	}
}
