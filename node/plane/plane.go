// Package plane connects the data-plane cores of one namespace on one node:
// the transaction cores of its shards, the migration core and the records. It
// owns their locks, the routes that let a read skip them, and the order in
// which effects are carried out. It owns no goroutine, socket or clock: package
// server drives it from goroutines and connections, package sim from events of
// virtual time, so that both run the very same wiring.
//
// The invariant to know: between Freeze and Commit no shard acknowledges a
// write and no route is served.
//
// Lock order: the migration's, then a shard's, then those of the engine and of
// the Host. Nothing waits under a lock: what lies on a device is read by a
// Fetch (fetch.go), and looked at again before it is used. Start reading at
// Plane, then Commit (view.go), the effects (effects.go), Request (requests.go).
package plane

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"headroom/node/cluster"
	"headroom/node/migrate"
	"headroom/node/partition"
	"headroom/node/record"
	"headroom/node/txn"
	"headroom/node/wire"
)

// Shards splits a namespace's partitions over independent transaction cores,
// each with its lock, in production. 32: with two to sixteen cores, two
// requests rarely meet, and a View change visits each once.
const Shards = 32

// Config of a Plane. Self, Store, Host and Rand are needed.
type Config struct {
	Self         cluster.NodeID
	Namespace    uint8
	Store        Engine
	Host         Host
	Rand         *rand.Rand
	Shards       int           // transaction cores, at most 256; zero means Shards
	CommitMaster bool          // acknowledge after the master alone has the write
	DefaultTTL   uint32        // seconds for requests that name none; zero: never expires
	Deadline     time.Duration // of requests that name none; zero: package txn's
	Rate         migrate.Rate  // of migrations; zero: unlimited
	MaxActive    int           // migrate.Config's
	Reads        int           // migrate.Config's
	Keeps        bool          // migrate.Config's
	Window       int           // migrate.Config's
	// Discarded, if not nil, is told of each version that this node counts as
	// discarded by a merge, and of each that it takes back because another node
	// has counted it, too. It is called under locks, like Host's methods.
	Discarded func(d record.Digest, v record.Version, cause Cause, back bool)
}

// Host is the world around a Plane. Its methods are called under the Plane's
// locks: they must neither wait nor call the Plane. Messages are valid during
// the call only.
type Host interface {
	// Now reads the node's clocks.
	Now() txn.Now
	// Reply sends a reply to where its request came from.
	Reply(to txn.Origin, r *wire.Reply)
	// Forward hands a client's request to the node that masters it.
	Forward(to cluster.NodeID, q *txn.Request)
	// SendTxn sends a message of a transaction core under the frame id given;
	// if it is lost, the core repeats it.
	SendTxn(frame uint64, s *txn.Send)
	// Answer answers such a message on the connection that it came on.
	Answer(a *txn.Answer)
	// SendMigrate sends a message of a migration; lost ones are repeated.
	SendMigrate(s *migrate.Send)
	// Fetch runs f soon, under no lock, in any order; false means that too
	// many wait for its device already. It is called only if the Engine Waits.
	Fetch(f Fetch) bool
	// Wake tells that TickMigration has something to do.
	Wake()
	// MapChanged tells that clients need a new map, at once or soon.
	MapChanged(urgent bool)
	// Keep tells that somebody waits for the copies file to be stored (Stored).
	// It is called only with Config.Keeps.
	Keep()
}

// shard is one transaction core and its lock.
type shard struct {
	mu   sync.Mutex
	core *txn.Core
	_    [48]byte // keep neighbours off one cache line
}

// Plane is the data plane of one namespace. All methods may be called from any
// goroutine.
type Plane struct {
	self   cluster.NodeID
	id     uint8
	host   Host
	store  records
	shards []shard
	mig    migrator

	// routes lets a get skip the shard's lock: generation << 1 | served. A
	// reader takes it before and after reading the store; if both are equal
	// and odd, nothing moved in between.
	routes [cluster.Partitions]atomic.Uint64

	// masters is the working master of each partition as a member index.
	masters [cluster.Partitions]atomic.Uint32
	plan    atomic.Pointer[Committed]
	mortal  atomic.Bool
	losses  losses
	unequal unequal

	// unsettled counts, by slotOf, the writes that are stored here and may yet
	// be lost: a read that finds one after it took the record waits for it.
	unsettled [slots]atomic.Int32
}

// slots is over how many counters a namespace's writes in flight are spread: a
// node has tens of them in flight, so less than one read in a thousand waits
// for the write of another record. 64 KiB.
const slots = 1 << 14

// slotOf is the partition of a record and two bits more.
func slotOf(d *record.Digest) int { return int(binary.LittleEndian.Uint16(d[:])) % slots }

// Committed is what a View means for one namespace; it never changes.
type Committed struct {
	View  *cluster.View
	Table *partition.Table
	Plan  *partition.Plan
}

// migrator owns the migration core: mu is held by whoever runs it.
type migrator struct {
	mu      sync.Mutex
	core    *migrate.Core
	drainMu sync.Mutex
	drained []int // partitions whose drain has ended, told by the shards
}

// New returns a Plane that parks everything until its first Commit.
func New(cfg Config) *Plane {
	if cfg.Shards == 0 {
		cfg.Shards = Shards
	}
	p := &Plane{self: cfg.Self, id: cfg.Namespace, host: cfg.Host, shards: make([]shard, cfg.Shards)}
	p.store = records{cfg.Store, &p.mortal}
	p.losses.self, p.losses.told = cfg.Self, cfg.Discarded
	p.mig.core = migrate.New(migrate.Config{Self: cfg.Self, Namespace: cfg.Namespace, Store: copies{p.store}, Rand: cfg.Rand,
		Rate: cfg.Rate, MaxActive: cfg.MaxActive, Window: cfg.Window, Reads: cfg.Reads, Keeps: cfg.Keeps, CommitMaster: cfg.CommitMaster, Lost: p.losses.of(Merge)})
	for i := range p.shards {
		p.shards[i].core = txn.New(txn.Config{Self: cfg.Self, Namespace: cfg.Namespace, Store: p.store,
			CommitMaster: cfg.CommitMaster, DefaultTTL: cfg.DefaultTTL, Deadline: cfg.Deadline, Lost: p.losses.of(Access), NoLoss: p.losses.noLoss,
			Unsettled: func(d *record.Digest, by int32) { p.unsettled[slotOf(d)].Add(by) }})
	}
	for pid := range p.masters {
		p.masters[pid].Store(wire.NoMaster)
	}
	return p
}

// Committed returns what the current View means here; nil before the first.
func (p *Plane) Committed() *Committed { return p.plan.Load() }

// Master is the member index of a partition's working master, false for none.
func (p *Plane) Master(pid int) (uint16, bool) {
	m := p.masters[pid].Load()
	return uint16(m), m < wire.NoMaster
}

// Mortal reports whether a record with a TTL or a delete was ever stored, and
// so whether looking for the dead makes sense.
func (p *Plane) Mortal() bool { return p.mortal.Load() }

// Serves reports whether this node answers for the partition while its lease
// lasts.
func (p *Plane) Serves(pid int) bool { return p.routes[pid].Load()&1 == 1 }

// Settled reports whether what a read took of the record before this call is
// on every member that must have it: if not, the answer might be taken back,
// and the read belongs to Request, which waits.
func (p *Plane) Settled(d *record.Digest) bool {
	return p.unsettled[slotOf(d)].Load() == 0
}

// Progress returns what migration has still to do and has done.
func (p *Plane) Progress() migrate.Progress {
	p.mig.mu.Lock()
	defer p.mig.mu.Unlock()
	return p.mig.core.Progress()
}

// Copies calls f with the states of this node's copies, which f must not keep
// or change.
func (p *Plane) Copies(f func(r *partition.Report)) {
	p.mig.mu.Lock()
	defer p.mig.mu.Unlock()
	f(p.mig.core.Copies())
}

// Lose is migrate.Core's.
func (p *Plane) Lose(pids []int, doubtful bool) {
	p.mig.mu.Lock()
	defer p.mig.mu.Unlock()
	p.mig.core.Lose(pids, doubtful)
}

// Load takes over the copies that an earlier process left; see migrate.Core.
func (p *Plane) Load(r *partition.Report) {
	p.mig.mu.Lock()
	defer p.mig.mu.Unlock()
	p.mig.core.Load(r)
}

// SetRate changes the limit of migrations.
func (p *Plane) SetRate(r migrate.Rate) {
	p.mig.mu.Lock()
	defer p.mig.mu.Unlock()
	p.mig.core.SetRate(r)
}

// SetStopped is txn.Core's, for all shards. Call it when something changed.
func (p *Plane) SetStopped(nodes []cluster.NodeID) {
	p.unequal.setStopped(nodes)
	for i := range p.shards {
		sh := &p.shards[i]
		sh.mu.Lock()
		sh.core.SetStopped(nodes)
		sh.mu.Unlock()
	}
}

// EachShard calls f with the counters of each shard.
func (p *Plane) EachShard(f func(s txn.Stats)) {
	for i := range p.shards {
		sh := &p.shards[i]
		sh.mu.Lock()
		s := sh.core.Stats()
		sh.mu.Unlock()
		f(s)
	}
}
