package plane

import (
	"math/rand/v2"
	"testing"

	"headroom/node/cluster"
	"headroom/node/migrate"
	"headroom/node/partition"
	"headroom/node/record"
	"headroom/node/storage"
	"headroom/node/txn"
	"headroom/node/wire"
)

// clockHost is a Host whose lease ends at the given look at the clocks.
type clockHost struct {
	looks, last int // the lease holds at look last, and not after
	replies     []wire.Status
}

func (h *clockHost) Now() txn.Now {
	h.looks++
	n := txn.Now{Mono: 1, WallMS: 1, Lease: 2}
	if h.looks > h.last {
		n.Mono = 3
	}
	return n
}

func (h *clockHost) Reply(_ txn.Origin, r *wire.Reply)  { h.replies = append(h.replies, r.Status) }
func (*clockHost) Forward(cluster.NodeID, *txn.Request) {}
func (*clockHost) SendTxn(uint64, *txn.Send)            {}
func (*clockHost) Answer(*txn.Answer)                   {}
func (*clockHost) SendMigrate(*migrate.Send)            {}
func (*clockHost) Fetch(Fetch) bool                     { return false }
func (*clockHost) Wake()                                {}
func (*clockHost) MapChanged(bool)                      {}
func (*clockHost) Keep()                                {}

// alone returns the plane of a node that is the only member of a View.
func alone(t *testing.T, h *clockHost) (*Plane, *Committed) {
	t.Helper()
	store, err := storage.Open(storage.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	p := New(Config{Self: 1, Store: store, Host: h, Rand: rand.New(rand.NewPCG(1, 2)), Shards: 1})
	v := &cluster.View{Key: cluster.ViewKey{Counter: 1, Proposer: 1, Inc: 1}, Members: []cluster.Member{{Node: 1, Inc: 1}}}
	table := partition.NewTable(v, 1)
	return p, &Committed{View: v, Table: table, Plan: partition.NewPlan(v, table, make([]*partition.Report, 1))}
}

// A process that is paused between the look at its lease and the look at the
// record, or after it, may have been left out meanwhile.
func TestAReadIsAnsweredOnlyIfTheLeaseHoldsAfterIt(t *testing.T) {
	f := func(looks int, want wire.Status) {
		t.Helper()
		h := &clockHost{last: 1 << 30}
		p, com := alone(t, h)
		p.Commit(1, com)
		h.looks, h.last = 0, looks
		p.Request(&txn.Request{Request: wire.Request{Digest: record.Digest{}}, Kind: wire.KindGet, Deadline: 100})
		if len(h.replies) != 1 || h.replies[0] != want {
			t.Errorf("lease until look %d: replies %v, want %v", looks, h.replies, want)
		}
	}
	f(2, wire.StatusNotFound)
	f(1, wire.StatusUnavailable)
}

// A drain that ended in one View says nothing about the writes in flight in
// the next.
func TestADrainOfTheViewBeforeIsForgotten(t *testing.T) {
	p, com := alone(t, &clockHost{last: 1 << 30})
	p.mig.drained = []int{5}
	p.Freeze(com.View.Members)
	p.Commit(1, com)
	if got := p.mig.takeDrained(); len(got) != 0 {
		t.Errorf("partitions %v count as drained in the new View", got)
	}
}
