// Package storage keeps the records of one namespace on one node: the
// primary index and the records' bodies, both in memory mapped outside the
// Go heap, so that the collector never looks at them. It decides nothing
// about records: which copy a partition is, whether a tombstone may go and
// whether a record has expired are the callers' business.
//
// The invariant to know: under a partition's lock its index entries, its
// counters and its summary agree, always; there is no moment at which an
// entry points to another record's bytes.
//
// Lock order: shard.mu, then sizeClass.mu, then pagePool.mu, at most one of
// each at a time.
//
// Start reading at Engine, then index.go (entries and tables), slab.go and
// pages.go (the memory they and the bodies live in), scan.go and summary.go.
package storage

import (
	"errors"
	"sync/atomic"

	"headroom/node/cluster"
	"headroom/node/record"
)

// Errors of Put and PutNewer, beside record.ErrTooBig.
var (
	ErrStopWrites = errors.New("storage: more than 90 % of the namespace's memory limit is in use; raise the limit, add nodes or delete")
	ErrNoMemory   = errors.New("storage: the system has no more memory for this namespace")
	ErrClosed     = errors.New("storage: engine is closed")
)

// stopWritesPct of MemoryLimit in use refuses writes. The tenth above it is
// for deletes, for tombstones and for what fragmentation costs.
const stopWritesPct = 90

// Config is what an Engine needs to know.
type Config struct {
	// MemoryLimit bounds index and bodies together, in bytes. Zero is no
	// limit.
	MemoryLimit int64
	// Log puts the records on devices. Nil keeps them in memory only.
	Log *LogConfig
}

// Engine is the memory engine of one namespace. Its methods may be called
// from any goroutine; each locks one partition for as long as it copies. A
// digest passed by pointer is neither kept nor changed.
type Engine struct {
	limit  int64
	held   atomic.Int64 // bytes of pages in spans
	mapped atomic.Int64 // bytes of address space

	indexBytes atomic.Int64 // bytes of live entries and tables
	dataBytes  atomic.Int64 // bytes of slots that hold bodies
	entryCount atomic.Int64 // sum of the shards' entries
	tombCount  atomic.Int64 // and of their tombstones

	shards  [cluster.Partitions]shard
	sums    [cluster.Partitions][SubBuckets]uint64 // guarded by the shard's mu
	entries entryArena
	slab    slab
	log     *log // nil: memory only
	raid    raid
}

// Open returns an engine that holds what its devices hold, or an empty one
// without devices. It maps no memory before the first record.
func Open(cfg Config) (*Engine, error) {
	if cfg.MemoryLimit < 0 {
		return nil, errors.New("storage: memory limit is negative")
	}
	e := &Engine{limit: cfg.MemoryLimit}
	e.entries.init(e)
	e.slab.init(e)
	if cfg.Log == nil {
		return e, nil
	}
	if err := e.openLog(*cfg.Log); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Close gives all memory back and closes the devices, without writing
// anything to them: see Shutdown. It waits for calls in progress; later ones
// find an empty engine and Put answers ErrClosed. Closing twice is harmless.
func (e *Engine) Close() error {
	for p := range e.shards {
		sh := &e.shards[p]
		sh.mu.Lock()
		sh.closed = true
		sh.bits, sh.table = 0, 0
		e.forgetLocked(sh)
		e.sums[p] = [SubBuckets]uint64{}
		sh.mu.Unlock()
	}
	e.indexBytes.Store(0)
	e.dataBytes.Store(0)
	return errors.Join(e.closeDevices(), e.entries.pool.close(), e.slab.pool.close())
}

// forgetLocked zeroes a partition's counters, whose entries are gone.
func (e *Engine) forgetLocked(sh *shard) {
	e.entryCount.Add(-int64(sh.entries))
	e.tombCount.Add(-int64(sh.tombstones))
	sh.entries, sh.tombstones, sh.bytes = 0, 0, 0
}

// reserve takes n bytes out of the memory limit, or reports that they are
// not there. Forced, it takes them anyway.
func (e *Engine) reserve(n int64, force bool) bool {
	if held := e.held.Add(n); e.limit == 0 || force || held <= e.limit {
		return true
	}
	e.held.Add(-n)
	return false
}

func (e *Engine) stopWrites() bool {
	return e.limit > 0 && e.indexBytes.Load()+e.dataBytes.Load() > e.limit/100*stopWritesPct
}

// Get returns the record's metadata and its body appended to dst, and
// whether there is one. Tombstones (with an empty body) and expired records
// count: judge by the Meta. If the record lies on a device Get waits for it,
// see GetNow; one that cannot be read has Meta.Unreadable. It does not
// allocate if dst has room.
func (e *Engine) Get(d *record.Digest, dst []byte) (m record.Meta, body []byte, ok bool) {
	if e.log != nil && !e.log.cfg.InMemory {
		m, body, ok, _ = e.getLogged(d, dst, true)
		return m, body, ok
	}
	sh := &e.shards[d.Partition()]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, en := e.find(sh, d)
	if en == nil {
		return m, dst, false
	}
	return en.meta(), append(dst, e.body(en)...), true
}

// Meta is Get without the body.
func (e *Engine) Meta(d *record.Digest) (record.Meta, bool) {
	sh := &e.shards[d.Partition()]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, en := e.find(sh, d)
	if en == nil {
		return record.Meta{}, false
	}
	return en.meta(), true
}

// Put stores the record in place of whatever is there, copying body. A
// tombstone has no body; one given is ignored. Errors are ErrStopWrites
// (never for a tombstone), ErrNoMemory, ErrClosed and record.ErrTooBig; after
// one the old record is still there.
func (e *Engine) Put(d *record.Digest, m record.Meta, body []byte) error {
	_, _, _, err := e.store(d, &m, body, false)
	return err
}

// PutNewer is Put if m.Version is newer than that of the record that is
// there, or none is. It returns whether it stored, and what was there. An
// older version is no error, whatever the state of the memory. What it stores
// comes from other nodes, which have accepted it: it stops only when there is
// no room at all, so that a write a master took is not in doubt because its
// replica is a little fuller.
func (e *Engine) PutNewer(d *record.Digest, m record.Meta, body []byte) (applied bool, old record.Meta, existed bool, err error) {
	return e.store(d, &m, body, true)
}

func (e *Engine) store(d *record.Digest, m *record.Meta, body []byte, onlyNewer bool) (applied bool, old record.Meta, existed bool, err error) {
	if m.Tombstone {
		body = nil
	}
	p := d.Partition()
	sh := &e.shards[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, en := e.find(sh, d)
	if en != nil {
		old = en.meta()
		repairs := en.flags&flagDamaged != 0 && m.Version == old.Version
		if onlyNewer && !m.Version.Newer(old.Version) && !repairs {
			return false, old, true, nil
		}
	}
	switch {
	case sh.closed:
		err = ErrClosed
	case len(body) > record.MaxSize:
		err = record.ErrTooBig
	case !m.Tombstone && !onlyNewer && e.stopWrites():
		err = ErrStopWrites
	case !m.Tombstone && !onlyNewer && e.log != nil && e.log.stopWrites(p):
		err = ErrDeviceFull
	case en != nil:
		err = e.replaceLocked(p, en, m, body)
	default:
		err = e.insertLocked(p, d, m, body)
	}
	return err == nil, old, en != nil, err
}

// Remove takes the record out altogether, leaving no tombstone, if its
// version still is v. It returns whether it did.
func (e *Engine) Remove(d *record.Digest, v record.Version) bool {
	p := d.Partition()
	sh := &e.shards[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	link, en := e.find(sh, d)
	if en == nil || en.version() != v {
		return false
	}
	if e.log != nil && en.flags&flagPast != 0 {
		en.flags |= flagDoomed // an older version may be on a device yet: see raid
		return false
	}
	e.removeLocked(p, link, en)
	return true
}

// Bury leaves a tombstone of the same version in place of the record, if its
// version still is v. It returns whether it did; not so where a device has no
// room at the moment. To other copies the two are equal: where one version is a
// record on one copy and a tombstone on another, it is one that has expired.
func (e *Engine) Bury(d *record.Digest, v record.Version) bool {
	p := d.Partition()
	sh := &e.shards[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, en := e.find(sh, d)
	if en == nil || en.version() != v || en.flags&flagTombstone != 0 {
		return false
	}
	m := record.Meta{Version: v, Generation: en.generation, Tombstone: true}
	return e.replaceLocked(p, en, &m, nil) == nil
}

// Stats are the sizes of an engine. Each number is exact; together they are
// a moment apart.
type Stats struct {
	Records    int64 // live and expired
	Tombstones int64
	IndexBytes int64 // entries and hash tables in use
	DataBytes  int64 // bodies, each rounded up to its size class
	HeldBytes  int64 // what the limit bounds: the above, and free room inside pages
	Mapped     int64 // address space; pages never touched cost nothing
	StopWrites bool  // Put answers ErrStopWrites or ErrDeviceFull
}

// Stats returns the sizes of the whole engine. It takes no lock of a
// partition, so that being asked ten times a second costs requests nothing.
func (e *Engine) Stats() Stats {
	s := Stats{
		IndexBytes: e.indexBytes.Load(), DataBytes: e.dataBytes.Load(),
		HeldBytes: e.held.Load(), Mapped: e.mapped.Load(), StopWrites: e.stopWrites(),
	}
	s.Tombstones = e.tombCount.Load()
	s.Records = e.entryCount.Load() - s.Tombstones
	for _, d := range e.Devices() {
		s.StopWrites = s.StopWrites || d.StopWrites && d.Err == nil
	}
	return s
}

// PartitionStats are the contents of a partition in figures.
type PartitionStats struct {
	Records    int64 // live and expired
	Tombstones int64
	Bytes      int64  // of bodies, without rounding
	Digest64   uint64 // exclusive or of all Fingerprints: equal for equal contents
}

// Empty reports whether the partition holds neither records nor tombstones.
func (s PartitionStats) Empty() bool { return s.Records == 0 && s.Tombstones == 0 }

// Partition returns the figures of partition p.
func (e *Engine) Partition(p int) PartitionStats {
	sh := &e.shards[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s := PartitionStats{
		Records:    int64(sh.entries - sh.tombstones),
		Tombstones: int64(sh.tombstones),
		Bytes:      sh.bytes,
	}
	for _, sum := range e.sums[p] {
		s.Digest64 ^= sum
	}
	return s
}
