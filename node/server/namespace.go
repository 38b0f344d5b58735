package server

import (
	"sync"
	"sync/atomic"

	"headroom/node/cluster"
	"headroom/node/disk"
	"headroom/node/migrate"
	"headroom/node/plane"
	"headroom/node/storage"
	"headroom/node/transport"
	"headroom/node/txn"
	"headroom/node/wire"
)

// namespace is everything a node holds of one namespace: its data plane, and
// as plane.Host the way from there to the connections.
type namespace struct {
	*plane.Plane
	n     *Node
	id    uint8
	cfg   NamespaceConfig
	store *storage.Engine
	wake  chan struct{} // capacity 1: the migration loop has something to do

	devices []disk.Device // as opened; the engine closes them
	guards  []*disk.Guard // before each of them; nil where there is none
	classes []atomic.Pointer[deviceClass]

	gate      gate
	readers   []*readers // by device; nil: nothing waits for one
	overloads atomic.Uint64

	failing chan int // devices that were given up; capacity: all of them

	// All of these are the control goroutine's.
	dir          disk.Dir   // nil: no devices
	copiesMu     sync.Mutex // guards the two below; taken before the Plane's locks
	copiesStored string
	copiesMark   uint64        // of it
	keepNow      chan struct{} // capacity 1: somebody waits for storeCopies
	lostSlots    []int
	doubtful     []int
	repairAt     cluster.Instant // when the next View for repairs may be wanted

	full       atomic.Uint32 // fullness
	eviction   *plane.Eviction
	evictState atomic.Uint32 // evicting
	fastReads  atomic.Uint64

	readLatency, writeLatency latency
	reviveUntil               atomic.Int64 // cluster.Instant until when an operator's word to give up missing data stands
}

// Now implements plane.Host.
func (ns *namespace) Now() txn.Now { return ns.n.now() }

// Reply implements plane.Host.
func (ns *namespace) Reply(to txn.Origin, r *wire.Reply) {
	if ns.cfg.CommitToDevice && r.Status == wire.StatusOK {
		ns.replyDurable(to, r)
		return
	}
	ns.n.reply(to, r)
}

// Forward implements plane.Host.
func (ns *namespace) Forward(to cluster.NodeID, q *txn.Request) { ns.n.forward(to, q) }

// Fetch implements plane.Host.
func (ns *namespace) Fetch(f plane.Fetch) bool { return ns.readersOf(f.Partition()).fetch(f) }

// MapChanged implements plane.Host.
func (ns *namespace) MapChanged(urgent bool) { ns.n.mapChanged(urgent) }

// Keep implements plane.Host: keepCopies does it.
func (ns *namespace) Keep() {
	select {
	case ns.keepNow <- struct{}{}:
	default: // it is about to
	}
}

// Wake implements plane.Host.
func (ns *namespace) Wake() {
	select {
	case ns.wake <- struct{}{}:
	default:
	}
}

// SendTxn implements plane.Host. Appending to a connection's buffer takes only
// that buffer's lock and never waits.
func (ns *namespace) SendTxn(frame uint64, s *txn.Send) {
	_ = ns.n.sendReplication(s.To, func(b []byte) []byte { // refused: the core repeats it
		at := len(b)
		b = wire.AppendHeader(b, wire.Header{Kind: s.Kind, ID: frame})
		if s.Kind == wire.KindResolve {
			b = s.Resolve.Append(b)
		} else {
			b = s.Replicate.Append(b)
		}
		wire.PutLength(b, at)
		return b
	})
}

// Answer implements plane.Host.
func (ns *namespace) Answer(a *txn.Answer) {
	if ns.cfg.CommitToDevice && a.Kind == wire.KindReplicated && a.Status == wire.StatusOK {
		ns.answerDurable(a)
		return
	}
	answerTxn(a)
}

func answerTxn(a *txn.Answer) {
	c, ok := a.To.Conn.(*transport.Conn)
	if !ok {
		return
	}
	_ = c.Append(func(b []byte) []byte { // refused: the asker repeats its question
		at := len(b)
		b = wire.AppendHeader(b, wire.Header{Kind: a.Kind, ID: a.To.ID})
		if a.Kind == wire.KindResolved {
			b = a.Resolved.Append(b)
		} else {
			b = append(b, byte(a.Status))
		}
		wire.PutLength(b, at)
		return b
	})
}

// SendMigrate implements plane.Host.
func (ns *namespace) SendMigrate(s *migrate.Send) {
	_ = ns.n.mesh.Send(s.To, transport.ClassBulk, func(b []byte) []byte { // refused: the core repeats it
		at := len(b)
		b = wire.AppendHeader(b, wire.Header{Kind: wire.KindMigrate})
		b = s.Msg.Append(b)
		wire.PutLength(b, at)
		return b
	})
}
