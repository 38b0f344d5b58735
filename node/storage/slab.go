package storage

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Bodies and hash tables live in slots of fixed sizes: every 16 bytes up to
// 1 KiB, then eight sizes per doubling up to 1 MiB, so that rounding costs at
// most an eighth. Slots of one size share spans of whole pages; a span whose
// slots are all free goes back to the pool for any size. Once the memory limit
// leaves no page for another span, a body is lent a free slot of a larger size:
// else records of one size, of which a few in each span were deleted, would keep
// those of every other size out. A location is an offset into the pool's pages.
const (
	slotStep    = 16
	smallMax    = 1 << 10
	smallSizes  = smallMax / slotStep
	sizeClasses = smallSizes + 8*10
	maxSlot     = 1 << 20 // record.MaxSize

	// maxDataChunks bounds the bodies and tables of a namespace on one node:
	// 512 GiB.
	maxDataChunks = 1 << 14

	// maxSpanPages bounds a span: 2 MiB, a huge page.
	maxSpanPages = 32
	// maxSpanWaste is 1/16th of a span that no slot covers, if some span
	// does as well.
	maxSpanWaste = 16
)

// classOf returns the size class for size bytes, 0 < size <= maxSlot.
func classOf(size uint32) int {
	if size <= smallMax {
		return int((size - 1) / slotStep)
	}
	n := bits.Len32(size - 1) // 11..20
	eighth := int((size-1)>>(n-4)) - 8
	return smallSizes + (n-11)*8 + eighth
}

// slotOf returns the bytes of a slot of class c.
func slotOf(c int) uint32 {
	if c < smallSizes {
		return uint32(c+1) * slotStep
	}
	c -= smallSizes
	return uint32(c%8+9) << (c/8 + 7)
}

// slotSize returns the bytes that a body of size bytes occupies.
func slotSize(size uint32) uint32 {
	if size <= smallMax {
		return (size + slotStep - 1) / slotStep * slotStep
	}
	return slotOf(classOf(size))
}

// spanPages returns how many pages a span of slots of this size has: the
// fewest that waste no more than a sixteenth.
func spanPages(slot uint32) int {
	best, bestWaste := 1, uint32(1<<31)
	for n := 1; n <= maxSpanPages; n++ {
		span := uint32(n) * pageSize
		if span < slot {
			continue
		}
		// In 1/2^16 of the span, to compare spans of different sizes.
		waste := uint32(uint64(span%slot) << 16 / uint64(span))
		if waste <= 1<<16/maxSpanWaste {
			return n
		}
		if waste < bestWaste {
			best, bestWaste = n, waste
		}
	}
	return best
}

// slab hands out slots for bodies and tables.
type slab struct {
	pool    pagePool
	classes [sizeClasses]sizeClass
	lent    atomic.Int64 // slots in use by what is smaller than their class
}

func (s *slab) init(e *Engine) {
	s.pool.init(e, maxDataChunks)
	for c := range s.classes {
		s.classes[c].init(&s.pool, c)
	}
}

// bytes returns size bytes of the slot at loc; none for size 0.
func (s *slab) bytes(loc uint64, size uint32) []byte {
	if size == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(s.pool.addr(loc)), size)
}

// alloc returns a slot for size bytes, 0 < size <= maxSlot, with undefined
// contents. Errors are ErrStopWrites, unless forced, and ErrNoMemory.
func (s *slab) alloc(size uint32, force bool) (loc uint64, err error) {
	c := classOf(size)
	if loc, err = s.classes[c].alloc(force); err == nil {
		return loc, nil
	}
	for c++; c < sizeClasses; c++ {
		if loc, ok := s.classes[c].lend(); ok {
			s.lent.Add(1)
			return loc, nil
		}
	}
	return 0, err
}

// free takes back the slot at loc that was allocated for size bytes.
func (s *slab) free(loc uint64, size uint32) {
	if n := s.lentAt(loc, size); n > 0 { // seldom: no shared line is written otherwise
		s.lent.Add(-n)
	}
	s.classes[s.classAt(loc)].free(loc)
}

// fits reports whether the slot at loc, which has size bytes, is the one that
// other bytes should have. A slot that is lent is not, so that it goes back.
func (s *slab) fits(loc uint64, size, other uint32) bool {
	return slotSize(size) == slotSize(other) && (size == 0 || s.lent.Load() == 0 || s.lentAt(loc, size) == 0)
}

// lendAgain gives the slot at loc from size bytes to others, if they fit.
func (s *slab) lendAgain(loc uint64, size, other uint32) bool {
	if size == 0 || other == 0 || classOf(other) > s.classAt(loc) {
		return false
	}
	s.lent.Add(s.lentAt(loc, other) - s.lentAt(loc, size))
	return true
}

// lentAt is 1 if the slot at loc is lent to size bytes, else 0.
func (s *slab) lentAt(loc uint64, size uint32) int64 {
	if s.classAt(loc) == classOf(size) {
		return 0
	}
	return 1
}

// classAt returns the size class of the slot at loc, which is in use.
func (s *slab) classAt(loc uint64) int {
	id := uint32(loc / pageSize)
	return int(s.pool.span(id - uint32(s.pool.span(id).back)).class)
}

// sizeClass is all slots of one size.
type sizeClass struct {
	pool *pagePool

	mu    sync.Mutex // guards room and the spans of this class
	room  uint32     // first of the spans that have a free slot, or noPage
	slot  uint32     // bytes of a slot
	slots uint32     // slots of a span
	pages uint32     // pages of a span
	class uint16     // as classOf
	_     [30]byte   // a cache line each
}

func (k *sizeClass) init(pool *pagePool, class int) {
	slot := slotOf(class)
	k.pool, k.class, k.room, k.slot = pool, uint16(class), noPage, slot
	k.pages = uint32(spanPages(slot))
	k.slots = k.pages * pageSize / slot
}

// alloc returns a slot with undefined contents, or the pool's error.
func (k *sizeClass) alloc(force bool) (loc uint64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.allocLocked(force)
}

// lend is alloc without another span.
func (k *sizeClass) lend() (loc uint64, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.room == noPage {
		return 0, false
	}
	loc, err := k.allocLocked(false)
	return loc, err == nil
}

// allocMany fills dst with slots and returns how many there were. It gives the
// pool's error only if there was none.
func (k *sizeClass) allocMany(dst []uint64, force bool) (n int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for n < len(dst) {
		if dst[n], err = k.allocLocked(force); err != nil {
			break
		}
		n++
	}
	if n > 0 {
		err = nil
	}
	return n, err
}

func (k *sizeClass) allocLocked(force bool) (loc uint64, err error) {
	if k.room == noPage {
		id, err := k.pool.alloc(int(k.pages), force)
		if err != nil {
			return 0, err
		}
		k.pool.span(id).class = k.class
		k.pushLocked(id)
	}
	id := k.room
	sp := k.pool.span(id)
	n := sp.fresh
	if sp.unused != 0 {
		n = sp.unused - 1
		sp.unused = *k.freeLink(id, n)
	} else {
		sp.fresh++
	}
	sp.used++
	if sp.used == k.slots {
		k.unlinkLocked(id)
	}
	return k.loc(id, n), nil
}

// free takes back the slot at loc, and gives a span without any slot in use
// back to the pool.
func (k *sizeClass) free(loc uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id := uint32(loc / pageSize)
	id -= uint32(k.pool.span(id).back)
	sp := k.pool.span(id)
	n := uint32(loc-uint64(id)*pageSize) / k.slot
	*k.freeLink(id, n) = sp.unused
	sp.unused = n + 1
	if sp.used == k.slots {
		k.pushLocked(id)
	}
	sp.used--
	if sp.used == 0 {
		k.unlinkLocked(id)
		k.pool.free(id, int(k.pages))
	}
}

func (k *sizeClass) loc(id, n uint32) uint64 {
	return uint64(id)*pageSize + uint64(n)*uint64(k.slot)
}

// freeLink is the first word of a free slot: the next free one of its span,
// plus one.
func (k *sizeClass) freeLink(id, n uint32) *uint32 {
	return (*uint32)(k.pool.addr(k.loc(id, n)))
}

// pushLocked puts a span first in the list of those with room.
func (k *sizeClass) pushLocked(id uint32) {
	sp := k.pool.span(id)
	sp.prev, sp.next = noPage, k.room
	if k.room != noPage {
		k.pool.span(k.room).prev = id
	}
	k.room = id
}

func (k *sizeClass) unlinkLocked(id uint32) {
	sp := k.pool.span(id)
	if sp.prev == noPage {
		k.room = sp.next
	} else {
		k.pool.span(sp.prev).next = sp.next
	}
	if sp.next != noPage {
		k.pool.span(sp.next).prev = sp.prev
	}
}
