package wire

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"headroom/node/cluster"
	"headroom/node/hlc"
	"headroom/node/record"
)

// message is what every data-plane message can do.
type message interface {
	Append(b []byte) []byte
	Parse(b []byte) error
}

// batchPut and batchGet give Batch the shape of the others.
type (
	batchPut struct{ Batch }
	batchGet struct{ Batch }
)

func (m *batchPut) Append(b []byte) []byte { return m.Batch.Append(b, true) }
func (m *batchPut) Parse(b []byte) error   { return m.Batch.Parse(b, true) }
func (m *batchGet) Append(b []byte) []byte { return m.Batch.Append(b, false) }
func (m *batchGet) Parse(b []byte) error   { return m.Batch.Parse(b, false) }

func digestOf(n byte) (d record.Digest) {
	for i := range d {
		d[i] = n + byte(i)
	}
	return d
}

var (
	testKey   = cluster.ViewKey{Counter: 12, Proposer: 4, Inc: 3}
	testMeta  = record.Meta{Version: record.Version{Regime: 12, Stamp: hlc.Stamp(5 << 16), Node: 4}, Generation: 7, Expiry: 99, Tombstone: true}
	testShort = record.Meta{Version: record.Version{Regime: 12, Stamp: hlc.Stamp(5 << 16), Node: 4, Lifted: 5}, Generation: 7, Expiry: 99, Shortens: true}
)

func samples() []message {
	m := &Map{View: testKey, Generation: 5, Cluster: "c", Members: []MapMember{{4, 1, "10.0.0.4:4300"}, {2, 0, "10.0.0.2:4300"}},
		Namespaces: []MapNamespace{{Name: "default", RF: 2}}}
	for i := range m.Namespaces[0].Masters {
		m.Namespaces[0].Masters[i] = uint16(i % 2)
	}
	m.Namespaces[0].Masters[9] = NoMaster
	return []message{
		&Request{Namespace: 1, Digest: digestOf(1), View: testKey.Tag(), SentMS: 1 << 31, DeadlineMS: 2000, TTL: TTLKeep, CheckGen: true, Generation: 3, Body: []byte("body")},
		&Reply{Status: StatusGeneration, Generation: 4, Expiry: 5, Bins: []byte{1, 2, 3}},
		&batchPut{Batch{Namespace: 1, View: 7, SentMS: 8, DeadlineMS: 9, TTL: 1, Items: []BatchItem{{digestOf(2), []byte("x")}, {digestOf(3), []byte{}}}}},
		&batchGet{Batch{Items: []BatchItem{{Digest: digestOf(2)}}}},
		&Scan{Namespace: 2, Partition: 4095, Cursor: 1 << 60, Max: 10, Set: "users"},
		&ScanReply{Status: StatusOK, Next: 4, Done: true, Items: []ScanItem{{digestOf(5), 1, 2, []byte("b")}}},
		&Hello{Protocol: ProtocolV1, Name: "loadgen"},
		m,
		&Replicate{View: testKey, Namespace: 1, Digest: digestOf(6), Meta: testMeta, Body: []byte("r")},
		&Resolve{View: testKey, Namespace: 1, Digest: digestOf(7)},
		&Replicate{View: testKey, Namespace: 1, Digest: digestOf(6), Meta: testShort, Body: []byte("r")},
		&Resolved{Status: StatusNotFound, Meta: testMeta, Body: []byte("z")},
		&Progress{View: testKey, Partitions: 3, Unavailable: 1, Bytes: 1 << 40},
		&Losses{Namespace: 1, Inc: 3, Upto: 1 << 40, Versions: []Loss{{Digest: digestOf(12), Stamp: hlc.Stamp(6 << 16), Node: 4, NoLoss: true, Upon: testShort.Version}, {Digest: digestOf(13), Stamp: hlc.Stamp(7 << 16), Node: 4}}},
		&LossesKnown{Namespace: 1, Inc: 3, Upto: 1 << 40, By: 5},
		&Migrate{View: testKey, Namespace: 1, Partition: 7, Step: StepSummaryAsk, Seq: 9},
		&Migrate{View: testKey, Partition: 7, Step: StepSummary, Seq: 9, Sums: [SubBuckets]uint64{1, 2, 3}},
		&Migrate{View: testKey, Partition: 7, Step: StepListAsk, Buckets: 1<<63 | 5},
		&Migrate{View: testKey, Partition: 7, Step: StepList, Buckets: 5, More: true, Versions: []DigestVersion{{Digest: digestOf(8), Version: testMeta.Version}}},
		&Migrate{View: testKey, Partition: 7, Step: StepFetch, Digests: []record.Digest{digestOf(9), digestOf(10)}},
		&Migrate{View: testKey, Partition: 7, Step: StepRecords, Seq: 2, More: true, Records: []MigrateRecord{{digestOf(11), testMeta, []byte("m")}}},
		&Migrate{View: testKey, Partition: 7, Step: StepDone, Answers: StepFilled},
		&Migrate{View: testKey, Partition: 7, Step: StepHandoff},
		&StagedReply{Stages{1, 2, 3 << 20, 4, 5, 6, maxStage}, Reply{Status: StatusOK, Generation: 4, Bins: []byte{1}}},
	}
}

func TestDataMessagesSurviveTheWire(t *testing.T) {
	for _, want := range samples() {
		b := want.Append(nil)
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface().(message)
		if err := got.Parse(b); err != nil {
			t.Errorf("%T: %v", want, err)
			continue
		}
		if d := cmp.Diff(want, got); d != "" && !bytes.Equal(got.Append(nil), b) {
			t.Errorf("%T (-sent +received):\n%s", want, d)
		}
	}
}

func TestAVersionLiftedFromNowhereIsRefused(t *testing.T) {
	v := testMeta.Version
	for lifted, ok := range map[uint8]bool{0: true, 12: true, 13: false, 254: false, record.LiftedFar: true} {
		v.Lifted = lifted
		m := Migrate{View: testKey, Partition: 7, Step: StepList, Versions: []DigestVersion{{Digest: digestOf(8), Version: v}}}
		if err := new(Migrate).Parse(m.Append(nil)); (err == nil) != ok {
			t.Errorf("regime 12, lifted by %d: %v", lifted, err)
		}
	}
}

func TestDamagedDataMessagesAreRefusedOrReadBackAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, m := range samples() {
		b := m.Append(nil)
		for i := range min(len(b), 300) {
			reread(t, m, b[:i])
			bad := bytes.Clone(b)
			bad[i] ^= byte(1 + r.IntN(255))
			reread(t, m, bad)
		}
		reread(t, m, append(bytes.Clone(b), 0))
	}
}

// reread parses b as a message of m's type: what is accepted must encode back
// to the same bytes.
func reread(t *testing.T, m message, b []byte) {
	t.Helper()
	got := reflect.New(reflect.TypeOf(m).Elem()).Interface().(message)
	if got.Parse(b) == nil && !bytes.Equal(got.Append(nil), b) {
		t.Errorf("%T: accepted % x and encodes it as % x", m, b, got.Append(nil))
	}
}

func FuzzDataMessages(f *testing.F) {
	all := samples()
	for i, m := range all {
		if b := m.Append(nil); len(b) < 1000 {
			f.Add(uint8(i), b)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) { reread(t, all[int(which)%len(all)], b) })
}

func TestHeaderBoundsThePayload(t *testing.T) {
	h := Header{Length: MaxPayload, Kind: KindGet, Flags: FlagForwarded, ID: 1 << 63}
	got, err := ParseHeader(AppendHeader(nil, h))
	if err != nil || got != h {
		t.Errorf("header %+v, %v; want %+v", got, err, h)
	}
	h.Length++
	if _, err := ParseHeader(AppendHeader(nil, h)); err == nil {
		t.Error("a payload beyond the limit is accepted")
	}
	b := AppendHeader(nil, Header{})
	b[6] = 1
	if _, err := ParseHeader(b); err == nil {
		t.Error("reserved bytes that are not zero are accepted")
	}
}

func TestOpsSurviveTheWire(t *testing.T) {
	ops := []record.Op{{Kind: record.OpAdd, Bin: "n", Value: record.Int(4)}, {Kind: record.OpRead}, {Kind: record.OpWrite, Bin: "gone"}}
	b, err := AppendOps(nil, "users", record.String("k"), ops)
	if err != nil {
		t.Fatal(err)
	}
	got, set, key, err := ParseOps(b)
	if err != nil || set != "users" || !key.Equal(record.String("k")) || !reflect.DeepEqual(got, ops) {
		t.Errorf("ops %v, set %q, key %v, %v", got, set, key, err)
	}
	for i := range b {
		if _, _, _, err := ParseOps(b[:i]); err == nil && i > 0 {
			if back, _, _, _ := ParseOps(b[:i]); len(back) == len(ops) {
				t.Errorf("truncation to %d of %d bytes goes unnoticed", i, len(b))
			}
		}
	}
	bins := []record.Bin{{Name: "n", Value: record.Int(4)}, {Name: "absent"}}
	rb, err := AppendResults(nil, bins)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := ParseResults(rb); err != nil || !reflect.DeepEqual(back, bins) {
		t.Errorf("results %v, %v; want %v", back, err, bins)
	}
}

func FuzzOps(f *testing.F) {
	b, err := AppendOps(nil, "s", record.Int(1), []record.Op{{Kind: record.OpAppend, Bin: "b", Value: record.String("x")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		ops, set, key, err := ParseOps(b)
		if err != nil {
			return
		}
		if back, err := AppendOps(nil, set, key, ops); err == nil && !bytes.Equal(back, b) {
			t.Errorf("% x encodes back as % x", b, back)
		}
	})
}

// The bytes of a request and of a frame header are what other clients are
// written against.
func TestGoldenRequestBytes(t *testing.T) {
	q := Request{Namespace: 1, Digest: digestOf(0x10), View: 0x0C00000001, SentMS: 3, DeadlineMS: 2000, TTL: TTLNever, CheckGen: true, Generation: 2, Body: []byte{0xAA}}
	b := AppendHeader(nil, Header{Kind: KindPut, ID: 9})
	b = q.Append(b)
	PutLength(b, 0)
	want := "2d0000004600000009000000000000000110111213141516171819" +
		"1a1b1c1d1e1f20212223010000000c00000003000000d0070000ffffffff010200aa"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
