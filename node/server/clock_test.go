package server

import (
	"path/filepath"
	"testing"

	"headroom/node/cluster"
)

func TestMetadataSurvivesAndDamageIsNamed(t *testing.T) {
	dir := t.TempDir()
	want := meta{Node: 7, Inc: 3, Promised: cluster.ViewKey{Counter: 9, Proposer: 7, Inc: 3},
		View:    cluster.View{Key: cluster.ViewKey{Counter: 8, Proposer: 7, Inc: 2}, Members: []cluster.Member{{Node: 7, Inc: 2, Addr: "127.0.0.1:1"}}},
		History: []cluster.ViewKey{{Counter: 8, Proposer: 7, Inc: 2}}}
	if err := storeMeta(dir, &want); err != nil {
		t.Fatal(err)
	}
	got, err := loadMeta(dir)
	if err != nil || got.Node != 7 || got.Inc != 3 || got.Promised != want.Promised || got.View.String() != want.View.String() || len(got.History) != 1 {
		t.Fatalf("loaded %+v, %v; want %+v", got, err, want)
	}
	b := want.encode()
	for i := range b {
		bad := append([]byte(nil), b...)
		bad[i] ^= 1
		if _, err := decodeMeta(bad); err == nil {
			t.Errorf("flipping byte %d goes unnoticed", i)
		}
		if _, err := decodeMeta(b[:i]); err == nil {
			t.Errorf("truncation to %d bytes goes unnoticed", i)
		}
	}
	if m, err := loadMeta(filepath.Join(dir, "absent")); m != nil || err != nil {
		t.Errorf("an absent directory gives %v, %v", m, err)
	}
}

func FuzzDecodeMeta(f *testing.F) {
	f.Add((&meta{Node: 1, Inc: 1}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err == nil && string(m.encode()) != string(b) {
			t.Error("decoded metadata encodes to something else")
		}
	})
}
