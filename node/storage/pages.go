package storage

import (
	"errors"
	"math/bits"
	"sync"
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
	// maxDataChunks bounds the bodies and tables of a namespace on one node:
	// 512 GiB.
	maxDataChunks = 1 << 14

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
}

// chunkInfo is kept beside the chunk, on the heap, without pointers.
type chunkInfo struct {
	spans [pagesPerChunk]span
	taken [pagesPerChunk / 64]uint64 // bit set: the page is in a span
	free  int                        // pages not taken
}

// pagePool hands out runs of pages. A page's number is its chunk's times
// pagesPerChunk plus its place in it.
type pagePool struct {
	engine *Engine
	// chunks and infos are written under mu before any page in them is out,
	// and cleared after the last one came back.
	chunks [maxDataChunks]unsafe.Pointer
	infos  [maxDataChunks]*chunkInfo

	mu      sync.Mutex // guards all below, and chunkInfo.taken and free
	lowest  int        // no chunk below it has a free page
	unused  int        // chunks that are mapped and all free
	pagesIn int64      // pages in spans
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
	if info.free == pagesPerChunk {
		p.unused--
	}
	info.free -= n
	for i := range n {
		info.taken[(at+i)/64] |= 1 << ((at + i) % 64)
		info.spans[at+i] = span{back: uint16(i)}
	}
	p.pagesIn += int64(n)
	return uint32(c*pagesPerChunk + at), nil
}

// findLocked returns the first run of n free pages, mapping a chunk if there
// is none.
func (p *pagePool) findLocked(n int) (chunk, at int, err error) {
	for p.lowest < maxDataChunks && p.infos[p.lowest] != nil && p.infos[p.lowest].free == 0 {
		p.lowest++
	}
	for c := p.lowest; c < maxDataChunks; c++ {
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
	p.unused++
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

// free takes back a span of n pages. Of the chunks that are all free one
// stays mapped, so that filling and emptying at a chunk's edge costs nothing;
// the memory of the others goes back to the system.
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
	if info.free < pagesPerChunk {
		return
	}
	if p.unused == 0 {
		p.unused = 1
		return
	}
	if unmapChunk(p.chunks[c]) == nil {
		p.engine.mapped.Add(-chunkSize)
		p.chunks[c], p.infos[c] = nil, nil
	} else {
		p.unused++
	}
}

func (p *pagePool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := unmapAll(p.chunks[:], &p.engine.mapped)
	clear(p.infos[:])
	p.engine.held.Add(-p.pagesIn * pageSize)
	p.pagesIn, p.lowest, p.unused = 0, 0, 0
	return err
}
