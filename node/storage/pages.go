package storage

import (
	"errors"
	"math/bits"
	"sync"
	"time"
	"unsafe"
)

const (
	// chunkSize is mapped at a time: address space only, a page costs memory
	// once touched.
	chunkSize = 32 << 20
	// pageSize is the unit in which spans take memory: small, so that the
	// many slot sizes of a small namespace share a few huge pages.
	pageSize      = 64 << 10
	pagesPerChunk = chunkSize / pageSize
	pagesPerHuge  = hugePage / pageSize // 32, a word of chunkInfo.taken
	// maxIdle is how many huge pages a pool keeps for the next span that
	// needs one, 32 MiB.
	maxIdle = 16
	// A first touch of a huge page takes 0.3 ms, in a virtual machine whose
	// host has to find the memory 5 to 15 ms, in which a node of one processor
	// would do nothing else, and the processor nothing for others. So a pool that
	// grows has one more resident before it is needed for every aheadOf that it
	// uses, at most maxAhead: 24 MiB. That is what a node of four gets when another
	// one dies: when minAhead are left it makes more at once, else when nothing was
	// needed for a time, not just then.
	aheadOf  = 3
	maxAhead = 12
	minAhead = 2
	restful  = time.Second // of pagePool

	noPage = ^uint32(0)
)

// span is what is known of a page. Of a span of several pages the first one
// tells; the others only lead back to it. All but back is guarded by the mu
// of the size class that has the span.
type span struct {
	prev, next uint32 // neighbours in the list of spans with room, or noPage
	used       uint32 // slots in use
	fresh      uint32 // slots from here on were never used
	unused     uint32 // a free slot plus one, leading to the next; 0: none
	back       uint16 // pages to the first page of the span
	class      uint16 // size class of its slots
}

// chunkInfo is kept beside the chunk, on the heap, without pointers.
type chunkInfo struct {
	spans   [pagesPerChunk]span
	taken   [pagesPerChunk / 64]uint64 // bit set: the page is in a span
	free    int                        // pages not taken
	touched uint16                     // bit set: the huge page may be resident
}

// pagePool hands out runs of pages. A page's number is its chunk's times
// pagesPerChunk plus its place in it; a location is a byte's offset in all.
type pagePool struct {
	engine *Engine
	// chunks and infos are written under mu before any page in them is out,
	// so that whoever got a location from a lock may read them without mu.
	chunks []unsafe.Pointer
	infos  []*chunkInfo

	mu      sync.Mutex // guards all below, and all in chunkInfo but spans
	lowest  int        // no chunk below it has a free page
	idle    int        // huge pages that are touched and all free
	pagesIn int64      // pages in spans
	ahead   bool       // a goroutine populates huge pages
	closed  bool
	helpers sync.WaitGroup
	hurry   chan struct{} // of one
	restful time.Duration // how long nothing is needed before more is made
	pages   populator     // of the goroutine that populates
}

func (p *pagePool) init(e *Engine, chunks int) {
	p.engine, p.hurry, p.restful = e, make(chan struct{}, 1), restful
	p.chunks, p.infos = make([]unsafe.Pointer, chunks), make([]*chunkInfo, chunks)
}

// addr returns where a location in use is.
func (p *pagePool) addr(loc uint64) unsafe.Pointer {
	return unsafe.Add(p.chunks[loc/chunkSize], loc%chunkSize)
}

func (p *pagePool) span(id uint32) *span {
	return &p.infos[id/pagesPerChunk].spans[id%pagesPerChunk]
}

// alloc returns the first page of a fresh span of n pages, the lowest there
// is. Errors are ErrStopWrites, unless forced, and ErrNoMemory.
func (p *pagePool) alloc(n int, force bool) (uint32, error) {
	if !p.engine.reserve(int64(n)*pageSize, force) {
		return 0, ErrStopWrites
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c, at, err := p.findLocked(n)
	if err != nil {
		p.engine.held.Add(-int64(n) * pageSize)
		return 0, err
	}
	info := p.infos[c]
	for r := at / pagesPerHuge; r <= (at+n-1)/pagesPerHuge; r++ {
		if info.touched>>r&1 == 1 && info.hugeFree(r) {
			p.idle--
		}
		info.touched |= 1 << r
	}
	info.free -= n
	for i := range n {
		info.taken[(at+i)/64] |= 1 << ((at + i) % 64)
		info.spans[at+i] = span{back: uint16(i)}
	}
	p.pagesIn += int64(n)
	if !p.ahead && p.shortLocked(maxAhead) {
		p.ahead = true
		p.helpers.Go(p.populate)
	}
	if p.shortLocked(minAhead) {
		p.hurryLocked()
	}
	return uint32(c*pagesPerChunk + at), nil
}

// shortLocked reports whether the pool should have more huge pages ready, so
// many at most.
func (p *pagePool) shortLocked(most int64) bool {
	return !p.closed && int64(p.idle) < min(p.pagesIn/pagesPerHuge/aheadOf, most)
}

// hurryLocked ends the populating goroutine's rest.
func (p *pagePool) hurryLocked() {
	select {
	case p.hurry <- struct{}{}:
	default: // it has been told
	}
}

// restLocked waits, unlocked, until the next huge page should be made, and
// reports whether one should.
func (p *pagePool) restLocked() bool {
	for before := int64(-1); before != p.pagesIn && !p.shortLocked(minAhead) && p.shortLocked(maxAhead); {
		before = p.pagesIn
		select {
		case <-p.hurry: // it was hurried before it rested
		default:
		}
		p.mu.Unlock()
		t := time.NewTimer(p.restful)
		select {
		case <-t.C:
		case <-p.hurry:
		}
		t.Stop()
		p.mu.Lock()
	}
	return p.shortLocked(maxAhead)
}

// populate makes the next huge pages resident until enough are ready.
func (p *pagePool) populate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ok := true; ok && p.restLocked(); {
		c, r := p.untouchedLocked()
		if c < 0 {
			break
		}
		at := unsafe.Add(p.chunks[c], r*hugePage)
		p.mu.Unlock()
		ok = p.pages.populate(at)
		p.mu.Lock()
		switch info := p.infos[c]; {
		case !ok || info.touched>>r&1 == 1: // it was taken meanwhile
		case p.idle < maxIdle || !discard(at):
			info.touched |= 1 << r
			p.idle++
		}
	}
	p.ahead = false
}

// untouchedLocked returns the next huge page that is free and not resident,
// mapping a chunk if there is none; chunk -1 if that fails.
func (p *pagePool) untouchedLocked() (chunk, r int) {
	for c := p.lowest; c < len(p.infos); c++ {
		if p.infos[c] == nil && p.mapLocked(c) != nil {
			break
		}
		if r := bits.TrailingZeros16(^p.infos[c].touched); r < chunkSize/hugePage {
			return c, r
		}
	}
	return -1, 0
}

// findLocked returns the first run of n free pages, mapping a chunk if there
// is none.
func (p *pagePool) findLocked(n int) (chunk, at int, err error) {
	for p.lowest < len(p.infos) && p.infos[p.lowest] != nil && p.infos[p.lowest].free == 0 {
		p.lowest++
	}
	for c := p.lowest; c < len(p.infos); c++ {
		if p.infos[c] == nil {
			return c, 0, p.mapLocked(c)
		}
		if p.infos[c].free < n {
			continue
		}
		if at := run(&p.infos[c].taken, n); at >= 0 {
			return c, at, nil
		}
	}
	return 0, 0, ErrNoMemory
}

func (p *pagePool) mapLocked(c int) error {
	chunk, err := mapChunk()
	if err != nil {
		return errors.Join(ErrNoMemory, err)
	}
	p.chunks[c], p.infos[c] = chunk, &chunkInfo{free: pagesPerChunk}
	p.engine.mapped.Add(chunkSize)
	return nil
}

// run returns the start of the first n clear bits in a row, or -1.
func run(taken *[pagesPerChunk / 64]uint64, n int) int {
	start := 0
	for start+n <= pagesPerChunk {
		i := start
		for i < start+n && taken[i/64]>>(i%64)&1 == 0 {
			i++
		}
		if i == start+n {
			return start
		}
		// Go on after the taken bits from i.
		i++
		for i < pagesPerChunk && taken[i/64]>>(i%64)&1 == 1 {
			i += max(1, bits.TrailingZeros64(^(taken[i/64] >> (i % 64))))
		}
		start = i
	}
	return -1
}

// hugeFree reports whether no page of the r-th huge page is taken.
func (i *chunkInfo) hugeFree(r int) bool {
	at := r * pagesPerHuge
	return uint32(i.taken[at/64]>>(at%64)) == 0 // pagesPerHuge bits
}

// free takes back a span of n pages. Huge pages that become all free go back
// to the system, but for maxIdle.
func (p *pagePool) free(id uint32, n int) {
	p.engine.held.Add(-int64(n) * pageSize)
	p.mu.Lock()
	defer p.mu.Unlock()
	c, at := int(id/pagesPerChunk), int(id%pagesPerChunk)
	info := p.infos[c]
	for i := at; i < at+n; i++ {
		info.taken[i/64] &^= 1 << (i % 64)
	}
	info.free += n
	p.pagesIn -= int64(n)
	p.lowest = min(p.lowest, c)
	for r := at / pagesPerHuge; r <= (at+n-1)/pagesPerHuge; r++ {
		if !info.hugeFree(r) {
			continue
		}
		if p.idle < maxIdle || !discard(unsafe.Add(p.chunks[c], r*hugePage)) {
			p.idle++
			continue
		}
		info.touched &^= 1 << r
	}
}

func (p *pagePool) close() error {
	p.mu.Lock()
	p.closed = true
	p.hurryLocked()
	p.mu.Unlock()
	p.helpers.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	err := errors.Join(p.pages.close(), unmapAll(p.chunks, &p.engine.mapped))
	p.pages = populator{}
	clear(p.infos)
	p.engine.held.Add(-p.pagesIn * pageSize)
	p.pagesIn, p.lowest, p.idle = 0, 0, 0
	return err
}
