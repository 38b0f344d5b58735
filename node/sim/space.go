package sim

import (
	"fmt"

	"headroom/node/cluster"
	"headroom/node/migrate"
	"headroom/node/plane"
	"headroom/node/record"
	"headroom/node/storage"
	"headroom/node/txn"
	"headroom/node/wire"
)

// space is one namespace of one node in one life: its plane.Plane, and as
// plane.Host the way from there to the network.
type space struct {
	*plane.Plane
	a     *app
	id    int
	store *storage.Engine
	vol   *volume // nil: in memory

	lostSlots []int // devices given up since the last Freeze
	doubtful  []int // partitions with a damaged record, likewise
	repairAt  cluster.Instant
}

func spaceName(i int) string { return fmt.Sprintf("space%d", i) }

func newSpace(a *app, i int) *space {
	d, cfg := a.d, a.d.cfg.Spaces[i]
	s := &space{a: a, id: i}
	s.openStore()
	s.Plane = plane.New(plane.Config{Self: a.n.ID, Namespace: uint8(i), Store: leavingStore{s.store, s}, Host: s, Rand: a.n.newRand(), Shards: d.cfg.Shards,
		Keeps: s.vol != nil, CommitMaster: cfg.CommitMaster, Rate: d.cfg.Rate, MaxActive: d.cfg.Active, Window: d.cfg.Window,
		Discarded: func(digest record.Digest, v record.Version, c plane.Cause, back bool) {
			if d.ledger != nil {
				d.ledger.counts(s, &digest, v, c, back)
			}
			if d.watches(&digest, i) {
				d.W.logf("  node%d counts stamp %d node%d as discarded, taken back: %v", a.n.ID, v.Stamp, v.Node, back)
			}
		}})
	s.loadCopies()
	return s
}

// Now implements plane.Host.
func (s *space) Now() txn.Now { return s.a.now() }

// Wake implements plane.Host.
func (s *space) Wake() { s.a.migAt = min(s.a.migAt, s.a.n.Now().Add(s.a.slice())) }

// MapChanged implements plane.Host.
func (s *space) MapChanged(urgent bool) {
	s.a.mapChanged(urgent)
	s.a.moved = true
}

// Request is the Plane's, under the eyes of the ledger.
func (s *space) Request(q *txn.Request) {
	if l := s.a.d.ledger; l != nil && q.Kind != wire.KindGet && q.Kind != wire.KindGetHeader {
		l.asks(s, q)
	}
	s.Plane.Request(q)
}

// Reply implements plane.Host.
func (s *space) Reply(to txn.Origin, r *wire.Reply) {
	if s.a.d.ledger != nil && r.Status == wire.StatusOK {
		s.a.d.ledger.answers(s, to)
	}
	if s.commits() && r.Status == wire.StatusOK {
		s.replyDurable(to, r)
		return
	}
	s.a.reply(to, r)
}

// SendTxn implements plane.Host.
func (s *space) SendTxn(frame uint64, m *txn.Send) {
	b := header(0, frame)
	if m.Kind == wire.KindResolve {
		b = m.Resolve.Append(b)
	} else {
		b = m.Replicate.Append(b)
	}
	s.a.n.Send(m.To, Repl, m.Kind, b)
	s.a.beat(true)
}

// Answer implements plane.Host.
func (s *space) Answer(x *txn.Answer) {
	if s.commits() && x.Kind == wire.KindReplicated && x.Status == wire.StatusOK {
		kept := *x
		s.gated(func(durable bool) {
			if durable { // one that is not sent is asked for again
				s.answer(&kept)
			}
		})
		return
	}
	s.answer(x)
}

func (s *space) answer(x *txn.Answer) {
	o := x.To.Conn.(peer)
	if s.a.d.W.Node(o.node).Inc != o.inc {
		return
	}
	b := header(0, x.To.ID)
	if x.Kind == wire.KindResolved {
		b = x.Resolved.Append(b)
	} else {
		b = append(b, byte(x.Status))
	}
	s.a.n.Send(o.node, Repl, x.Kind, b)
}

// SendMigrate implements plane.Host.
func (s *space) SendMigrate(m *migrate.Send) {
	s.a.n.Send(m.To, Bulk, wire.KindMigrate, m.Msg.Append(nil))
}

// Forward implements plane.Host.
func (s *space) Forward(to cluster.NodeID, q *txn.Request) { s.a.forward(to, q) }
