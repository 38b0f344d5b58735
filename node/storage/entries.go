package storage

import (
	"errors"
	"sync"
	"unsafe"
)

const (
	entriesPerChunk = chunkSize / entrySize
	// maxEntryChunks makes room for all handles of 32 bits: 4 billion
	// entries, 256 GiB.
	maxEntryChunks = 1 << 32 / entriesPerChunk
	// entriesPerStep is how many new entries are taken out of the memory
	// limit at a time: 64 KiB.
	entriesPerStep = 1024
)

// entryArena hands out index entries. All partitions share it, so that a
// small namespace fills one huge page, not one per partition. Entries never
// move and their memory is never given back before close, only used again.
type entryArena struct {
	engine *Engine
	chunks [maxEntryChunks]unsafe.Pointer // written under mu, before any handle into it is out

	mu       sync.Mutex // guards all below
	unused   uint32     // first of the free list, linked by entry.next
	fresh    uint64     // lowest handle never handed out
	reserved uint64     // handles below are taken out of the limit
}

func (a *entryArena) init(e *Engine) { a.engine, a.fresh = e, 1 } // handle 0 is none

// at returns the entry of a handle that is in use, while its shard is locked.
func (a *entryArena) at(h uint32) *entry {
	return (*entry)(unsafe.Add(a.chunks[h/entriesPerChunk], uintptr(h%entriesPerChunk)*entrySize))
}

// alloc returns an entry with undefined contents. Errors are ErrStopWrites,
// unless forced, and ErrNoMemory.
func (a *entryArena) alloc(force bool) (uint32, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if h := a.unused; h != 0 {
		a.unused = a.at(h).next
		return h, nil
	}
	if a.fresh == maxEntryChunks*entriesPerChunk {
		return 0, ErrNoMemory
	}
	if a.fresh >= a.reserved {
		if !a.engine.reserve(entriesPerStep*entrySize, force) {
			return 0, ErrStopWrites
		}
		a.reserved += entriesPerStep
	}
	if c := &a.chunks[a.fresh/entriesPerChunk]; *c == nil {
		chunk, err := mapChunk()
		if err != nil {
			return 0, errors.Join(ErrNoMemory, err)
		}
		*c = chunk
		a.engine.mapped.Add(chunkSize)
	}
	a.fresh++
	return uint32(a.fresh - 1), nil
}

func (a *entryArena) free(h uint32) {
	a.mu.Lock()
	a.at(h).next = a.unused
	a.unused = h
	a.mu.Unlock()
}

func (a *entryArena) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := unmapAll(a.chunks[:], &a.engine.mapped)
	a.engine.held.Add(-int64(a.reserved) * entrySize)
	a.unused, a.fresh, a.reserved = 0, 1, 0
	return err
}
