package storage

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"headroom/node/disk"
	"headroom/node/record"
)

// Limits of a volume.
const (
	// maxQueue bounds the bytes of full buffers that wait for the device;
	// beyond it a write is refused with ErrOverload.
	maxQueue = 64 << 20
	// cacheBytes of blocks flushed last stay in memory for reads, but at most
	// one in cacheShare: a small device is not all cache.
	cacheBytes = 32 << 20
	cacheShare = 128
	// poolBytes of buffers are kept for the next blocks: a flush that had fallen
	// behind gives many back at once, and a fresh one has to be cleared.
	poolBytes = 16 << 20
	// defragReserve and deleteReserve are blocks that only defragmentation,
	// and deletes, may still take: two buffers being filled and as many being
	// flushed.
	defragReserve = 4
	deleteReserve = 4
	minBlocks     = 16
	slackMost     = 64
	// errorsMost reads in a row may fail before the device is given up: one
	// bad sector is a damaged record, not a dead device.
	errorsMost = 3
)

// purpose keeps records of different life apart.
type purpose uint8

const (
	fromClients purpose = iota
	fromDefrag
	purposes
)

// Location of a record on a device: 1 | slot 7 bits | block 32 | unit 24.
const (
	locOnDevice  = 1 << 63
	locSlotShift = 56
	locUnitBits  = 24
)

func makeLoc(slot uint16, block uint32, off int) uint64 {
	return locOnDevice | uint64(slot)<<locSlotShift | uint64(block)<<locUnitBits | uint64(off/unit)
}

func splitLoc(loc uint64) (slot uint16, block uint32, off int) {
	return uint16(loc >> locSlotShift & 0x7f), uint32(loc >> locUnitBits), int(loc&(1<<locUnitBits-1)) * unit
}

// blockState is where a write block is in its life.
type blockState uint8

const (
	blockFree   blockState = iota // in free, to be filled
	blockOpen                     // a buffer is being filled or written
	blockUsed                     // written; may be defragmented
	blockVictim                   // waits for defragmentation
	blockMoving                   // its live records are being moved, or cannot be read
	blockLimbo                    // empty, but its records' successors are not durable yet
)

type block struct {
	seq   uint64 // of its filling; 0: never, or unreadable
	live  uint32 // bytes of records that the index points to
	state blockState
	// sectors counts those records by the device blocks they touch; nil: not
	// counted.
	sectors []uint8
}

// buffer is a block being filled, written, or kept for reads.
type buffer struct {
	data    []byte
	block   uint32
	records int
	off     int // where the next record goes
	flushed int // bytes from the start that were written
	seed    uint32
	head    blockHead
	closed  bool
}

// limbo is an empty block that may be overwritten once all that was appended
// up to ticket is durable: before that a crash would need the old record.
type limbo struct {
	block  uint32
	ticket uint64
}

// volume is one device of a log.
type volume struct {
	log   *log
	slot  uint16
	dev   disk.Device
	size  int // bytes of a write block
	align int // bytes of a device block

	errors atomic.Int32 // failed reads in a row

	mu       sync.Mutex // guards all below; taken after shard.mu, never while reading or writing the device
	blocks   []block
	free     []uint32 // first freed first
	hand     uint32   // where the search for a sparse block goes on
	waiting  []limbo
	victims  []uint32
	open     [purposes]*buffer
	queue    []*buffer
	unsynced []uint64 // seq of blocks that are written and not synced
	inMemory map[uint32]*buffer
	cached   []*buffer // first flushed first
	pool     [][]byte
	ticket   uint64 // counts appends
	durable  uint64 // all appends up to here survive a crash
	mark     uint64 // log.appended when the last sync that ended began
	live     int64
	last     uint32 // block begun last, and its seq
	lastSeq  uint64
	eager    bool // every append wants a flush
	writing  bool // by a flush, as syncing is
	syncing  bool
	wanted   int   // flushes of all that wait for their turn
	full     bool  // the file system below has no room
	failed   error // why the device was given up; nil: it is well
	lost     bool  // and its records are out of the index
	flushedC *sync.Cond
	wake     chan struct{} // capacity 1: there may be something to write
	due      chan struct{} // capacity 1: there may be something to sync
	sparse   chan struct{} // capacity 1: there may be something to defragment
	stats    VolumeStats
}

// VolumeStats counts what a device did since the engine was opened.
type VolumeStats struct {
	UserBytes   uint64 // of records appended by writes, as they lie in blocks
	MovedBytes  uint64 // of records moved by defragmentation
	Written     uint64 // bytes written to the device
	Syncs       uint64
	DeviceReads uint64
	CacheReads  uint64 // records read from buffers
	Freed       uint64 // blocks defragmented, or found empty
	Overloads   uint64 // writes refused
	Corrupt     uint64 // records or places found damaged
	ReadErrors  uint64
}

func newVolume(l *log, slot int, dev disk.Device, writeBlock int) *volume {
	v := &volume{log: l, slot: uint16(slot), dev: dev, size: writeBlock, align: dev.BlockSize(), inMemory: map[uint32]*buffer{}, wake: make(chan struct{}, 1), due: make(chan struct{}, 1), sparse: make(chan struct{}, 1)}
	v.flushedC = sync.NewCond(&v.mu)
	v.blocks = make([]block, (dev.Size()-volumeHeader)/int64(writeBlock))
	return v
}

func (v *volume) base(block uint32) int64 { return volumeHeader + int64(block)*int64(v.size) }

// room is what records of a block may take.
func (v *volume) room() int { return v.size - 2*headerSize }

// append puts a record at the end of the log. Errors are ErrStopWrites,
// ErrOverload, record.ErrTooBig and a DeviceError.
func (v *volume) append(r *stored, why purpose) (loc uint64, err error) {
	need := recordSpan(len(r.body))
	if need > v.room() {
		return 0, record.ErrTooBig
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.failed != nil {
		return 0, v.failed
	}
	b := v.open[why]
	if b == nil || v.place(b.off, need)+need > v.size-headerSize {
		if b, err = v.nextBufferLocked(why, r.meta.Tombstone); err != nil {
			return 0, err
		}
	}
	at := v.place(b.off, need)
	clear(b.data[b.off:at])
	r.put(b.data, at, b.seed)
	b.off = at + need
	v.blocks[b.block].live += uint32(need)
	v.countSectors(&v.blocks[b.block], at, need, 1)
	b.records++
	v.live += int64(need)
	v.ticket++
	v.log.appended.Add(1)
	if v.eager {
		v.log.kick(v)
	}
	if why == fromDefrag {
		v.stats.MovedBytes += uint64(need)
	} else {
		v.stats.UserBytes += uint64(need)
	}
	return makeLoc(v.slot, b.block, at), nil
}

// placeShare of a record may be left empty before it for it to begin with a
// device block.
const placeShare = 16

// place is where a record goes in a block that is filled up to off: there, or
// at the next device block if the record so touches one less. Records of a
// little less than 4 KiB are read in one device block then, not in two.
func (v *volume) place(off, need int) int {
	next := (off + v.align - 1) / v.align * v.align
	if next+need > v.size-headerSize || (next-off)*placeShare > need || (off+need-1)/v.align-off/v.align < (need+v.align-1)/v.align {
		return off
	}
	return next
}

// nextBufferLocked closes the buffer being filled and begins another.
func (v *volume) nextBufferLocked(why purpose, tombstone bool) (*buffer, error) {
	reserve := 0
	if why == fromClients {
		reserve = defragReserve
		if !tombstone {
			reserve += deleteReserve
		}
	}
	switch {
	case why == fromClients && len(v.queue)*v.size >= max(maxQueue, 2*v.size):
		v.stats.Overloads++
		return nil, ErrOverload
	case v.full && why == fromClients && !tombstone:
		return nil, ErrDeviceFull
	case len(v.free) <= reserve && len(v.free)+len(v.waiting)+len(v.victims) > reserve,
		why == fromClients && !tombstone && len(v.free) <= reserve+v.slack() && v.sparseLocked():
		v.stats.Overloads++ // flushing and defragmenting make room
		v.log.kick(v)
		return nil, ErrOverload
	case len(v.free) <= reserve:
		return nil, ErrDeviceFull
	}
	if b := v.open[why]; b != nil {
		v.closeLocked(b, why)
	}
	return v.beginLocked(why), nil
}

// sparseMost is the percentage of live bytes up to which defragmentation
// below any mark is worth its writes when there is no room: tenfold.
const sparseMost = 90

// sparseLocked reports whether defragmentation can make room.
func (v *volume) sparseLocked() bool {
	used := len(v.blocks) - len(v.free) - len(v.waiting)
	return v.live*100 < int64(used)*int64(v.room())*sparseMost
}

// slack is how many more blocks than the reserves clients leave alone while
// defragmentation can make room, a thirtieth of a small device: it moves records and
// syncs for many blocks at a time then, not for each.
func (v *volume) slack() int { return min(len(v.blocks)/32, slackMost) }

func (v *volume) beginLocked(why purpose) *buffer {
	n := v.free[0]
	v.free = v.free[1:]
	var data []byte
	if k := len(v.pool); k > 0 {
		data, v.pool = v.pool[k-1], v.pool[:k-1] // holds what it held: gaps are cleared when they are left
	} else {
		data = disk.Aligned(v.size)
	}
	b := &buffer{data: data, block: n, off: headerSize}
	b.head = blockHead{slot: v.slot, block: n, seq: v.log.nextSeq(), set: v.log.set}
	b.head.synced = v.oldestLocked(b.head.seq)
	b.head.prev, b.head.prevSeq = v.last, v.lastSeq
	v.last, v.lastSeq = n, b.head.seq
	b.head.put(data, blockMagic)
	b.seed = b.head.seed()
	v.blocks[n] = block{seq: b.head.seq, state: blockOpen, sectors: v.newSectors()}
	v.inMemory[n], v.open[why] = b, b
	return b
}

// oldestLocked returns the seq of the oldest block that is not whole on the
// medium, or none.
func (v *volume) oldestLocked(none uint64) uint64 {
	for _, b := range v.open {
		if b != nil {
			none = min(none, b.head.seq)
		}
	}
	for _, b := range v.queue {
		none = min(none, b.head.seq)
	}
	for _, s := range v.unsynced {
		none = min(none, s)
	}
	return none
}

// closeLocked ends a buffer and queues it for writing.
func (v *volume) closeLocked(b *buffer, why purpose) {
	end := b.head
	end.synced = uint64(b.off)
	clear(b.data[b.off : v.size-headerSize])
	end.put(b.data[v.size-headerSize:], endMagic)
	v.dropSectors(&v.blocks[b.block], b.records)
	b.closed, v.open[why] = true, nil
	v.queue = append(v.queue, b)
	v.log.kick(v)
}

// release tells that the index no longer points to a record.
func (v *volume) release(loc uint64, size uint32) {
	_, n, off := splitLoc(loc)
	v.mu.Lock()
	defer v.mu.Unlock()
	span := uint32(recordSpan(int(size)))
	b := &v.blocks[n]
	v.countSectors(b, off, int(span), ^uint8(0))
	b.live -= span
	v.live -= int64(span)
	v.judgeLocked(n)
}

// judgeLocked frees a written block that is empty and queues one that is
// emptier than the low-water mark.
func (v *volume) judgeLocked(n uint32) {
	b := &v.blocks[n]
	switch {
	case b.state != blockUsed && b.state != blockVictim && b.state != blockMoving:
	case b.live == 0:
		v.stats.Freed++
		b.state = blockLimbo // a victim stays in the list, and is passed over
		v.waiting = append(v.waiting, limbo{block: n, ticket: v.ticket})
	case b.state == blockUsed && int(b.live)*100 < v.log.lowWater*v.room():
		b.state = blockVictim
		v.victims = append(v.victims, n)
		v.log.kick(v)
	}
}

// span of a flush: part of a buffer that is to be written.
type piece struct {
	b        *buffer
	from, to int
}

// flush writes the full buffers to the device; with all, also what is in the
// buffers being filled, and then it syncs, after which all that was appended
// before survives a crash. While it syncs others may write. It reports whether
// it wrote or synced anything. An error means that the device is given up; a
// full file system is none.
func (v *volume) flush(all bool) (did bool, err error) {
	v.mu.Lock()
	v.turnLocked(all)
	if v.failed != nil {
		v.mu.Unlock()
		return false, v.failed
	}
	pieces, ticket := v.piecesLocked(all)
	mark := v.log.appended.Load()
	v.writing = true
	v.mu.Unlock()

	err = v.log.saveState() // lineages before the records that bear them
	if err == nil {
		err = v.write(pieces)
	}
	v.mu.Lock()
	v.writing = false
	v.flushedC.Broadcast()
	sync := all && err == nil && (ticket > v.durable || len(v.unsynced) > 0 || len(pieces) > 0)
	if err == nil {
		v.full = false
		v.writtenLocked(pieces)
	} else if errors.Is(err, syscall.ENOSPC) {
		v.full, err = true, nil
	}
	v.syncing = v.syncing || sync
	before := len(v.unsynced)
	v.mu.Unlock()
	if sync {
		err = v.sync(before, ticket, mark)
	}
	if err != nil {
		v.fail(err)
		return false, err
	}
	return sync || len(pieces) > 0, nil
}

// turnLocked waits until nobody writes or, for a flush of all, syncs either.
// Such a one goes before those that only write, which would let it wait
// forever.
func (v *volume) turnLocked(all bool) {
	if all {
		v.wanted++
	}
	for v.writing || all && v.syncing || !all && v.wanted > 0 && !v.syncing {
		v.flushedC.Wait()
	}
	if all {
		v.wanted--
	}
}

// sync makes durable what was written: the first blocks of unsynced, and all
// that was appended up to ticket.
func (v *volume) sync(blocks int, ticket, mark uint64) error {
	err := v.dev.Sync()
	v.mu.Lock()
	v.syncing = false
	v.flushedC.Broadcast()
	if err == nil {
		err = v.failed // by others, meanwhile
	}
	if err == nil {
		v.syncedLocked(blocks, ticket)
		v.mark = mark
	}
	v.mu.Unlock()
	if err == nil {
		v.log.durable(v)
	}
	return err
}

// piecesLocked lists what is to be written. A buffer being filled goes on at
// the next device block: what is flushed is never written again.
func (v *volume) piecesLocked(all bool) ([]piece, uint64) {
	if all {
		for why, b := range v.open {
			if b == nil || b.off <= max(b.flushed, headerSize) {
				continue
			}
			to := (b.off + v.align - 1) / v.align * v.align
			if to > v.size-headerSize-recordHeader {
				v.closeLocked(b, purpose(why))
			} else {
				clear(b.data[b.off:to])
				b.off = to
			}
		}
	}
	var list []piece
	for _, b := range v.queue {
		list = append(list, piece{b, b.flushed, v.size})
	}
	if all {
		for _, b := range v.open {
			if b != nil && b.off > max(b.flushed, headerSize) {
				list = append(list, piece{b, b.flushed, b.off})
			}
		}
	}
	return list, v.ticket
}

// WritesAtOnce is how many pieces of a flush are on their way to the device:
// it writes one while the next is handed over.
const WritesAtOnce = 4

// write writes pieces, in any order, several at a time.
func (v *volume) write(pieces []piece) error {
	return worst(v.atOnce(WritesAtOnce, len(pieces), func(i int) error {
		p := pieces[i]
		return v.dev.WriteAt(p.b.data[p.from:p.to], v.base(p.b.block)+int64(p.from))
	}))
}

// worst returns an error that gives the device up, if there is one, before
// that of a full file system.
func worst(errs []error) (err error) {
	for _, e := range errs {
		if e != nil && (err == nil || errors.Is(err, syscall.ENOSPC)) {
			err = e
		}
	}
	return err
}

func (v *volume) writtenLocked(pieces []piece) {
	for _, p := range pieces {
		v.stats.Written += uint64(p.to - p.from)
		p.b.flushed = p.to
		if p.to != v.size {
			continue
		}
		v.queue = v.queue[1:] // pieces of closed buffers come first, in the queue's order
		v.unsynced = append(v.unsynced, p.b.head.seq)
		v.blocks[p.b.block].state = blockUsed
		v.cached = append(v.cached, p.b)
		v.judgeLocked(p.b.block)
	}
	for len(v.cached)*v.size > max(min(cacheBytes, len(v.blocks)*v.size/cacheShare), v.size) {
		v.evictLocked(v.cached[0])
		v.cached = v.cached[1:]
	}
}

func (v *volume) evictLocked(b *buffer) {
	if v.inMemory[b.block] == b {
		delete(v.inMemory, b.block)
	}
	if len(v.pool)*v.size < poolBytes {
		v.pool = append(v.pool, b.data)
	}
	b.data = nil
}

// syncedLocked notes that all up to ticket is durable, and frees the blocks
// that waited for it.
func (v *volume) syncedLocked(blocks int, ticket uint64) {
	v.stats.Syncs++
	v.durable = ticket
	v.unsynced = slices.Delete(v.unsynced, 0, blocks)
	n := 0
	for n < len(v.waiting) && v.waiting[n].ticket <= ticket {
		b := v.waiting[n].block
		v.blocks[b].state = blockFree
		v.free = append(v.free, b)
		n++
	}
	v.waiting = v.waiting[n:]
}

// fail gives the device up: nothing is written to it or acknowledged on it
// again, whatever it answers later.
func (v *volume) fail(err error) {
	v.mu.Lock()
	first := v.failed == nil
	if first {
		v.failed = &DeviceError{Path: v.dev.Info().Path, Err: err}
	}
	v.flushedC.Broadcast()
	v.mu.Unlock()
	if first && v.log.cfg.Failed != nil {
		v.log.cfg.Failed(int(v.slot), err)
	}
}

// left reports whether the device failed and nothing of it is in the index any
// more: it has nothing to flush.
func (v *volume) left() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.failed != nil && v.lost
}

// copyOutLocked appends a record's body to dst if its block is in memory. seq is
// that of the block, 0 if it holds nothing any more.
func (v *volume) copyOutLocked(loc uint64, size uint32, dst []byte) (body []byte, ok bool, seq uint64) {
	_, n, off := splitLoc(loc)
	seq = v.blocks[n].seq
	b := v.inMemory[n]
	if b == nil {
		return dst, false, seq
	}
	v.stats.CacheReads++
	return append(dst, b.data[off+recordHeader:off+recordHeader+int(size)]...), true, seq
}

// read reads a record from the device and verifies it. The caller checks that
// it is the one it wanted.
func (v *volume) read(loc uint64, size uint32, seq uint64, dst []byte) (r stored, body []byte, err error) {
	_, n, off := splitLoc(loc)
	from, to := v.aligned(off, int(size))
	buf := v.log.takeBuffer(to - from)
	part := (*buf)[:to-from]
	if err := v.dev.ReadAt(part, v.base(n)+int64(from)); err != nil {
		return r, dst, v.readFailed(err) // buf is left: a device that hangs may fill it at any later time
	}
	defer v.log.giveBuffer(buf)
	v.readWell()
	head := blockHead{slot: v.slot, block: n, seq: seq, set: v.log.set}
	if !r.parse(part, from, off, head.seed()) {
		return r, dst, errDamaged
	}
	return r, append(dst, r.body...), nil
}

// aligned is the part of a block to read for a record at off.
func (v *volume) aligned(off, size int) (from, to int) {
	from = off / v.align * v.align
	return from, min((off+recordSpan(size)+v.align-1)/v.align*v.align, v.size)
}

func (v *volume) readWell() {
	if v.errors.Load() != 0 {
		v.errors.Store(0)
	}
}

// readFailed counts a failed read and gives the device up after several in a
// row.
func (v *volume) readFailed(err error) error {
	v.mu.Lock()
	v.stats.ReadErrors++
	enough := v.errors.Add(1) >= errorsMost || errors.Is(err, disk.ErrStuck) || errors.Is(err, disk.ErrGone)
	v.mu.Unlock()
	if enough {
		v.fail(err)
	}
	return &DeviceError{Path: v.dev.Info().Path, Err: err}
}

// DeviceError is the error of operations on records of a device that failed.
type DeviceError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *DeviceError) Error() string { return fmt.Sprintf("storage: device %s: %v", e.Path, e.Err) }

// Retryable tells that another node may answer.
func (e *DeviceError) Retryable() bool { return true }

// Unwrap returns the device's own error.
func (e *DeviceError) Unwrap() error { return e.Err }
