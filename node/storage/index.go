package storage

import (
	"encoding/binary"
	"sync"
	"unsafe"

	"headroom/node/cluster"
	"headroom/node/hlc"
	"headroom/node/record"
)

// entry is one record in the primary index: 64 bytes, one cache line, no
// pointer. Its handle is its number in the arena; 0 is none.
type entry struct {
	digest     [20]byte
	regime     uint32
	stamp      uint64
	node       uint64
	loc        uint64 // of the body in memory, if size > 0, or of the record on a device: see body and device
	expiry     uint32
	size       uint32 // bytes of the body
	next       uint32 // handle: next in the bucket's chain, or on the free list
	generation uint16
	flags      uint8
	lifted     uint8
}

const (
	entrySize     = 64
	flagTombstone = 1
	flagPast      = 2  // older versions may lie on a device
	flagDoomed    = 4  // to be removed once they do not
	flagRaided    = 8  // none was found so far
	flagDamaged   = 16 // cannot be read
	flagShortens  = 32 // record.Meta's

	// minBits gives the smallest table 64 buckets (256 bytes), one for each
	// sub-bucket of the summary, so that a sub-bucket is a run of buckets.
	minBits = 6
	// maxBits keeps a table within the largest slot, 1 MiB. Beyond 2^18
	// records in a partition (a billion in all) chains get longer instead.
	maxBits = 18
)

var _ [entrySize - unsafe.Sizeof(entry{})]struct{} // an entry is 64 bytes,
var _ [unsafe.Sizeof(entry{}) - entrySize]struct{} // not one more or less

func (en *entry) version() record.Version {
	return record.Version{Regime: en.regime, Stamp: hlc.Stamp(en.stamp), Node: cluster.NodeID(en.node), Lifted: en.lifted}
}

func (en *entry) meta() record.Meta {
	return record.Meta{
		Version: en.version(), Generation: en.generation, Expiry: en.expiry,
		Tombstone: en.flags&flagTombstone != 0, Shortens: en.flags&flagShortens != 0, Unreadable: en.flags&flagDamaged != 0,
	}
}

func (en *entry) setMeta(m *record.Meta) {
	v := &m.Version
	en.regime, en.stamp, en.node, en.lifted = v.Regime, uint64(v.Stamp), uint64(v.Node), v.Lifted
	en.generation, en.expiry, en.flags = m.Generation, m.Expiry, 0
	if m.Tombstone {
		en.flags = flagTombstone
	} else if m.Shortens {
		en.flags = flagShortens
	}
}

// shard is the index of one partition: a hash table of chains whose buckets
// are the leading bits of the digest's place. So a bucket is a range of
// places, a table of any size lists the places in order, and a scan's cursor
// outlives the growth of the table.
type shard struct {
	mu         sync.Mutex // guards all below, the entries in the table and Engine.sums
	closed     bool
	bits       uint8  // log2 of the number of buckets; 0: no table
	table      uint64 // location of the buckets, each the u32 handle of a chain
	entries    uint32
	tombstones uint32
	bytes      int64
	_          [24]byte // a cache line each, so that neighbours do not slow each other
}

// place orders the records of a partition: digest bytes 4 to 7. Bytes 0 and
// 1 chose the partition.
func place(d *[20]byte) uint32 { return binary.BigEndian.Uint32(d[4:8]) }

func (e *Engine) buckets(sh *shard) []uint32 { return e.tableAt(sh.table, sh.bits) }

func (e *Engine) tableAt(loc uint64, bits uint8) []uint32 {
	if bits == 0 {
		return nil
	}
	return unsafe.Slice((*uint32)(e.slab.pool.addr(loc)), 1<<bits)
}

// find returns the record's entry and the link that leads to it, or nil.
func (e *Engine) find(sh *shard, d *record.Digest) (*uint32, *entry) {
	if sh.bits == 0 {
		return nil, nil
	}
	at := place((*[20]byte)(d)) >> (32 - sh.bits)
	link := (*uint32)(unsafe.Add(e.slab.pool.addr(sh.table), uintptr(at)*4))
	for *link != 0 {
		en := e.entries.at(*link)
		if en.digest == *d {
			return link, en
		}
		link = &en.next
	}
	return nil, nil
}

// insertLocked adds a record whose digest is not in the table.
func (e *Engine) insertLocked(p int, d *record.Digest, m *record.Meta, body []byte) error {
	loc, err := e.newBody(d, m, body)
	if err != nil {
		return err
	}
	if err = e.enterLocked(p, d, m, loc, uint32(len(body))); err != nil {
		e.freeBody(loc, uint32(len(body)))
	}
	return err
}

// enterLocked makes an entry of a record whose body is at loc.
func (e *Engine) enterLocked(p int, d *record.Digest, m *record.Meta, loc uint64, size uint32) error {
	if err := e.needTableLocked(&e.shards[p], m.Tombstone); err != nil {
		return err
	}
	h, err := e.entries.alloc(m.Tombstone)
	if err != nil {
		return err
	}
	en := e.entries.at(h)
	*en = entry{digest: *d, loc: loc, size: size}
	en.setMeta(m)
	e.linkLocked(p, h, en)
	e.indexBytes.Add(entrySize)
	e.entryCount.Add(1)
	return nil
}

func (e *Engine) needTableLocked(sh *shard, force bool) error {
	if sh.bits != 0 {
		return nil
	}
	return e.resizeLocked(sh, minBits, force)
}

// linkLocked puts a filled entry into the table that its partition has, and
// counts it there; the engine's own figures are the caller's to raise.
func (e *Engine) linkLocked(p int, h uint32, en *entry) {
	sh := &e.shards[p]
	head := &e.buckets(sh)[place(&en.digest)>>(32-sh.bits)]
	en.next, *head = *head, h
	sh.entries++
	e.countLocked(p, en, 1)
	if sh.entries > 1<<sh.bits && sh.bits < maxBits {
		// Without memory for a larger table the chains get longer: slower,
		// not wrong.
		_ = e.resizeLocked(sh, sh.bits+1, en.flags&flagTombstone != 0)
	}
}

// replaceLocked gives an entry another version and body; in place if the new
// body fits the old one's slot.
func (e *Engine) replaceLocked(p int, en *entry, m *record.Meta, body []byte) error {
	loc, size := en.loc, uint32(len(body))
	moves := e.log != nil || !e.slab.fits(loc, en.size, size)
	if moves {
		var err error
		if loc, err = e.newBody((*record.Digest)(&en.digest), m, body); err != nil {
			if e.log != nil || !e.slab.lendAgain(en.loc, en.size, size) {
				return err
			}
			e.dataBytes.Add(int64(slotSize(size)) - int64(slotSize(en.size)))
			moves, loc = false, en.loc
		}
	}
	if !moves {
		copy(e.slab.bytes(loc, uint32(len(body))), body)
	}
	e.countLocked(p, en, -1)
	if moves {
		e.freeBody(en.loc, en.size)
	}
	en.setMeta(m)
	if e.log != nil {
		en.flags |= flagPast
	}
	en.loc, en.size = loc, uint32(len(body))
	e.countLocked(p, en, 1)
	return nil
}

func (e *Engine) removeLocked(p int, link *uint32, en *entry) {
	sh := &e.shards[p]
	e.countLocked(p, en, -1)
	h := *link
	*link = en.next
	e.freeEntryLocked(sh, h, en)
	if sh.entries == 0 {
		e.freeTableLocked(sh)
	}
}

func (e *Engine) freeEntryLocked(sh *shard, h uint32, en *entry) {
	e.freeBody(en.loc, en.size)
	e.entries.free(h)
	e.indexBytes.Add(-entrySize)
	sh.entries--
	e.entryCount.Add(-1)
}

// countLocked adds an entry to the figures of its partition, sign 1, or
// takes it out, sign -1.
func (e *Engine) countLocked(p int, en *entry, sign int64) {
	sh := &e.shards[p]
	sh.bytes += sign * int64(en.size)
	if en.flags&flagTombstone != 0 {
		sh.tombstones += uint32(sign)
		e.tombCount.Add(sign)
	}
	if en.flags&flagDamaged == 0 {
		e.sums[p][subBucket(&en.digest)] ^= Fingerprint((*record.Digest)(&en.digest), en.version())
	}
}

// resizeLocked moves the partition to a table of 2^bits buckets. It takes
// some 30 ns an entry, so tens of microseconds for the usual thousand.
func (e *Engine) resizeLocked(sh *shard, bits uint8, force bool) error {
	loc, err := e.slab.alloc(4<<bits, force)
	if err != nil {
		return err
	}
	e.indexBytes.Add(int64(slotSize(4 << bits)))
	to := e.tableAt(loc, bits)
	clear(to)
	for _, h := range e.buckets(sh) {
		for h != 0 {
			en := e.entries.at(h)
			head := &to[place(&en.digest)>>(32-bits)]
			h, en.next, *head = en.next, *head, h
		}
	}
	e.freeTableLocked(sh)
	sh.table, sh.bits = loc, bits
	return nil
}

func (e *Engine) freeTableLocked(sh *shard) {
	if sh.bits != 0 {
		e.slab.free(sh.table, 4<<sh.bits)
		e.indexBytes.Add(-int64(slotSize(4 << sh.bits)))
		sh.bits, sh.table = 0, 0
	}
}

// slotPrefix is what a slot holds before a body that is on a device, too: its
// location there.
const slotPrefix = 8

// newBody stores a body: in a slot, on the partition's device, or both. An
// empty one needs no slot.
func (e *Engine) newBody(d *record.Digest, m *record.Meta, body []byte) (loc uint64, err error) {
	if e.log == nil {
		return e.newSlot(body, 0, false)
	}
	at, err := e.log.append(d, m, body, fromClients)
	if err != nil || !e.log.cfg.InMemory {
		return at, err
	}
	if loc, err = e.newSlot(body, at, m.Tombstone); err != nil {
		e.log.release(at, uint32(len(body)))
	}
	return loc, err
}

// newSlot copies body into a slot, behind its place on a device if it has one.
func (e *Engine) newSlot(body []byte, at uint64, force bool) (loc uint64, err error) {
	size := uint32(len(body))
	if at == 0 {
		if size == 0 {
			return 0, nil
		}
		if loc, err = e.slab.alloc(size, force); err == nil {
			copy(e.slab.bytes(loc, size), body)
			e.dataBytes.Add(int64(slotSize(size)))
		}
		return loc, err
	}
	if loc, err = e.slab.alloc(size+slotPrefix, force); err == nil {
		b := e.slab.bytes(loc, size+slotPrefix)
		binary.LittleEndian.PutUint64(b, at)
		copy(b[slotPrefix:], body)
		e.dataBytes.Add(int64(slotSize(size + slotPrefix)))
	}
	return loc, err
}

func (e *Engine) freeBody(loc uint64, size uint32) {
	if e.log != nil {
		e.log.release(e.device(loc), size)
	}
	e.freeSlot(loc, size)
}

// freeSlot frees what newSlot made.
func (e *Engine) freeSlot(loc uint64, size uint32) {
	if e.log != nil {
		if !e.log.cfg.InMemory {
			return
		}
		size += slotPrefix
	}
	if size > 0 {
		e.slab.free(loc, size)
		e.dataBytes.Add(-int64(slotSize(size)))
	}
}

// device returns where a record lies on a device, given its entry's loc.
func (e *Engine) device(loc uint64) uint64 {
	if e.log.cfg.InMemory {
		return binary.LittleEndian.Uint64(e.slab.bytes(loc, slotPrefix))
	}
	return loc
}

// setDevice notes that a record moved to another place on a device.
func (e *Engine) setDevice(en *entry, at uint64) {
	if e.log.cfg.InMemory {
		binary.LittleEndian.PutUint64(e.slab.bytes(en.loc, slotPrefix), at)
		return
	}
	en.loc = at
}

// body returns the body of a record that is kept in memory.
func (e *Engine) body(en *entry) []byte {
	if e.log != nil {
		return e.slab.bytes(en.loc, en.size+slotPrefix)[slotPrefix:]
	}
	return e.slab.bytes(en.loc, en.size)
}
