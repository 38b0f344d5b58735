package storage

// maxEntryChunks makes room for 4 billion entries, 256 GiB: all handles of
// 32 bits but those of the last chunk, as a handle is a number plus one.
const maxEntryChunks = 1<<32/(chunkSize/entrySize) - 1

// entryArena hands out index entries, from pages of their own. All
// partitions share it, so that a small namespace fills one huge page, not one
// per partition. Entries never move.
type entryArena struct {
	pool  pagePool
	class sizeClass
}

func (a *entryArena) init(e *Engine) {
	a.pool.init(e, maxEntryChunks)
	a.class.init(&a.pool, classOf(entrySize))
}

// at returns the entry of a handle that is in use, while its shard is locked.
func (a *entryArena) at(h uint32) *entry {
	return (*entry)(a.pool.addr(uint64(h-1) * entrySize))
}

// alloc returns an entry with undefined contents. Errors are ErrStopWrites,
// unless forced, and ErrNoMemory.
func (a *entryArena) alloc(force bool) (uint32, error) {
	loc, err := a.class.alloc(force)
	return handle(loc), err
}

// handle returns the handle of the entry at loc.
func handle(loc uint64) uint32 { return uint32(loc/entrySize) + 1 }

func (a *entryArena) free(h uint32) { a.class.free(uint64(h-1) * entrySize) }
