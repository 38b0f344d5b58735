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

// slowEngine is an engine of which each record has to be read: it checks that
// nobody holds a lock of the plane meanwhile.
type slowEngine struct {
	*storage.Engine
	t     *testing.T
	plane *Plane
	reads int
}

func (e *slowEngine) Waits() bool { return true }

func (e *slowEngine) GetNow(d *record.Digest, dst []byte) (record.Meta, []byte, bool, bool) {
	m, ok := e.Meta(d)
	return m, dst, ok, !ok
}

func (e *slowEngine) Get(d *record.Digest, dst []byte) (record.Meta, []byte, bool) {
	e.reads++
	if !e.plane.mig.mu.TryLock() {
		e.t.Error("a record is read under the migration's lock")
	} else {
		e.plane.mig.mu.Unlock()
	}
	for i := range e.plane.shards {
		if mu := &e.plane.shards[i].mu; !mu.TryLock() {
			e.t.Error("a record is read under a shard's lock")
		} else {
			mu.Unlock()
		}
	}
	return e.Engine.Get(d, dst)
}

func (e *slowEngine) Scan(int, storage.Cursor, int, func(*record.Digest, *record.Meta, []byte)) (storage.Cursor, bool) {
	e.t.Error("bodies are scanned where each has to be read")
	return 0, true
}

// slowHost is the Host of one of several planes whose messages and reads lie
// in one queue.
type slowHost struct {
	now   cluster.Instant
	queue *[]func()
	all   *[]*Plane
	self  cluster.NodeID
	got   []wire.Status

	answers []wire.Status
}

func (h *slowHost) later(f func()) { *h.queue = append(*h.queue, f) }

func (h *slowHost) Now() txn.Now { return txn.Now{Mono: h.now, WallMS: 1, Lease: cluster.Never} }

func (h *slowHost) Reply(_ txn.Origin, r *wire.Reply)  { h.got = append(h.got, r.Status) }
func (*slowHost) Forward(cluster.NodeID, *txn.Request) {}
func (*slowHost) SendTxn(uint64, *txn.Send)            {}
func (h *slowHost) Answer(a *txn.Answer)               { h.answers = append(h.answers, a.Status) }
func (*slowHost) Wake()                                {}
func (*slowHost) MapChanged(bool)                      {}
func (*slowHost) Keep()                                {}
func (h *slowHost) Fetch(f Fetch) bool                 { h.later(func() { f.Read(); f.Done() }); return true }
func (h *slowHost) SendMigrate(s *migrate.Send) {
	b, to := s.Msg.Append(nil), (*h.all)[s.To-1]
	h.later(func() {
		var m wire.Migrate
		if err := m.Parse(b); err == nil {
			to.Migrate(h.now, h.self, &m)
		}
	})
}

// slowPair is two nodes with slow engines, the second of which is empty.
func slowPair(t *testing.T) (planes []*Plane, engines []*slowEngine, hosts []*slowHost, queue *[]func()) {
	t.Helper()
	queue = new([]func())
	for id := cluster.NodeID(1); id <= 2; id++ {
		store, err := storage.Open(storage.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		e := &slowEngine{Engine: store, t: t}
		h := &slowHost{now: 1, queue: queue, all: &planes, self: id}
		e.plane = New(Config{Self: id, Store: e, Host: h, Rand: rand.New(rand.NewPCG(1, uint64(id))), Shards: 2})
		planes, engines, hosts = append(planes, e.plane), append(engines, e), append(hosts, h)
	}
	return planes, engines, hosts, queue
}

func commitAll(planes []*Plane, counter uint64, members ...cluster.NodeID) {
	v := &cluster.View{Key: cluster.ViewKey{Counter: counter, Proposer: members[0], Inc: 1}}
	var reports []*partition.Report
	for _, id := range members {
		v.Members = append(v.Members, cluster.Member{Node: id, Inc: 1})
	}
	for _, id := range members {
		reports = append(reports, planes[id-1].Freeze(v.Members))
	}
	table := partition.NewTable(v, 2)
	c := &Committed{View: v, Table: table, Plan: partition.NewPlan(v, table, reports)}
	for _, id := range members {
		planes[id-1].Commit(1, c)
	}
}

func TestNoRecordIsReadUnderALock(t *testing.T) {
	planes, engines, hosts, queue := slowPair(t)
	commitAll(planes, 1, 1)
	body, err := record.AppendBody(nil, "", record.Value{}, []record.Bin{{Name: "v", Value: record.Int(1)}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		d := record.Digest{byte(i), 0, 0, 0, byte(i)}
		for _, kind := range []wire.Kind{wire.KindPut, wire.KindGet, wire.KindTouch} {
			planes[0].Request(&txn.Request{Kind: kind, Deadline: 1 << 40, Request: wire.Request{Digest: d, Body: body}})
		}
	}
	run := func() {
		for n := 0; len(*queue) > 0 && n < 1_000_000; n++ {
			f := (*queue)[0]
			*queue = (*queue)[1:]
			f()
			for _, p := range planes {
				p.TickMigration(hosts[0].now)
			}
		}
	}
	run()
	for i, s := range hosts[0].got {
		if s != wire.StatusOK {
			t.Fatalf("request %d is answered %v", i, s)
		}
	}
	requests := engines[0].reads
	commitAll(planes, 2, 2, 1)
	for busy := true; busy; {
		a, _ := planes[0].TickMigration(hosts[0].now)
		b, _ := planes[1].TickMigration(hosts[0].now)
		busy = a || b || len(*queue) > 0
		run()
	}
	if moved := engines[0].reads - requests; len(hosts[0].got) != 300 || requests != 200 || moved < 100 || engines[1].Stats().Records != 100 {
		t.Errorf("%d answers, %d reads for requests, %d for the migration, %d records there; want 300, 200, 100 and 100",
			len(hosts[0].got), requests, moved, engines[1].Stats().Records)
	}
}
