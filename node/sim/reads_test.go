package sim

import (
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/txn"
	"headroom/node/wire"
)

// A touch has the record read from its device; before what was read arrives,
// the record is replaced, as a merge does, and lies on the device again.
func TestALateReadIsLookedAtAgain(t *testing.T) {
	d := NewData(Config{Nodes: 1, Seed: 1}, DataConfig{Spaces: []SpaceConfig{{RF: 1,
		DeviceConfig: DeviceConfig{Devices: 1, Blocks: 64, WriteBlock: 4096, Latency: 5 * time.Millisecond}}}})
	defer d.Close()
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	c := d.NewClient(1)
	_ = d.W.Run(200 * time.Millisecond) // an error shows at the next call
	if err := d.Fill(c); err != nil {
		t.Fatal(err)
	}
	s := d.W.Node(1).App.(*app).spaces[0]
	k := &d.keys[0].digest
	evict := func() {
		for i := 1; ; i++ {
			if _, _, _, ready := s.store.GetNow(k, nil); !ready {
				return
			}
			other := &d.keys[i].digest
			m, b, _ := s.store.Get(other, nil)
			m.Version.Stamp++
			if err := s.store.Put(other, m, b); err != nil {
				t.Fatal(err)
			}
			if err := s.store.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	reads := func() uint64 { return s.store.Devices()[0].DeviceReads }
	evict()
	before := reads()
	s.Request(&txn.Request{Kind: wire.KindTouch, Deadline: cluster.Never, Request: wire.Request{Digest: *k, TTL: wire.TTLNever}})
	for reads() == before {
		if err := d.W.Run(10 * time.Microsecond); err != nil {
			t.Fatal(err)
		}
	}
	m, _ := s.store.Meta(k)
	m.Version.Stamp++
	if err := s.store.Put(k, m, body(77, 0)); err != nil {
		t.Fatal(err)
	}
	evict()
	_ = d.W.Run(10 * time.Second)
	now, b, _ := s.store.Get(k, nil)
	if writeOf(b) != 77 || now.Generation != m.Generation+1 {
		t.Errorf("the touched record is write %d of generation %d, want 77 of %d", writeOf(b), now.Generation, m.Generation+1)
	}
}
