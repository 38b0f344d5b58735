package plane

import (
	"math/rand/v2"
	"slices"
	"testing"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/record"
	"headroom/node/storage"
	"headroom/node/txn"
	"headroom/node/wire"
)

// A copy that went in one View is no reason to refuse the writes of the next one,
// in which this node is a replica again: its master would go on without it.
func TestACopyThatWentDoesNotRefuseTheWritesOfTheNextView(t *testing.T) {
	queue := new([]func())
	var planes []*Plane
	var hosts []*slowHost
	for id := cluster.NodeID(1); id <= 3; id++ {
		store, err := storage.Open(storage.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		h := &slowHost{now: 1, queue: queue, all: &planes, self: id}
		hosts = append(hosts, h)
		planes = append(planes, New(Config{Self: id, Store: store, Host: h, Rand: rand.New(rand.NewPCG(1, uint64(id))), Shards: 2}))
	}
	commitAll(planes, 1, 2, 1)
	commitAll(planes, 2, 3, 2, 1)
	for id := cluster.NodeID(1); id <= 3; id++ { // by their pulses
		planes[0].Confirm(id)
	}
	gone := 0
	planes[0].Copies(func(r *partition.Report) {
		for _, c := range r.Copies {
			if c.State == partition.None {
				gone++
			}
		}
	})
	if gone < cluster.Partitions/4 {
		t.Fatalf("%d copies went from node 1, want about a third of %d: nothing is proven", gone, cluster.Partitions)
	}
	commitAll(planes, 3, 2, 1)

	c, refused := planes[0].Committed(), 0
	self := uint16(c.View.Index(1))
	for i := range 1 << 12 {
		d := record.Digest{byte(i), byte(i >> 8)}
		part := &c.Plan.Parts[d.Partition()]
		if part.Master == self || !slices.Contains(part.WriteSet, self) {
			continue
		}
		rep := &wire.Replicate{View: c.View.Key, Digest: d, Meta: record.Meta{Generation: 1, Version: record.Version{Regime: 3, Stamp: 1, Node: 2}}}
		hosts[0].answers = nil
		planes[0].Receive(txn.Origin{}, wire.KindReplicate, rep, &wire.Resolve{})
		if !slices.Equal(hosts[0].answers, []wire.Status{wire.StatusOK}) {
			refused++
		}
	}
	if refused > 0 {
		t.Errorf("node 1 refuses writes of %d partitions of which it is a replica", refused)
	}
}
