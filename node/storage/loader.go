package storage

// loaderRun is how many entries a loader takes at a time, two pages.
const loaderRun = 128

// loader makes entries for one goroutine of a restart. It takes them from the
// arena by the run and counts for itself: goroutines that shared a lock or a
// counter for every record would spend their time waiting for its cache line.
type loader struct {
	e       *Engine
	run     [loaderRun]uint64 // locations of entries; those from next to last are not in use
	next    int
	last    int
	entered int64
}

// take returns the entry that use takes into use. Errors are those of
// entryArena.alloc.
func (l *loader) take(force bool) (h uint32, err error) {
	if l.next == l.last {
		l.next = 0
		if l.last, err = l.e.entries.class.allocMany(l.run[:], force); err != nil {
			return 0, err
		}
	}
	return handle(l.run[l.next]), nil
}

func (l *loader) use() { l.next, l.entered = l.next+1, l.entered+1 }

// enterLocked is Engine.enterLocked.
func (l *loader) enterLocked(p int, r *stored, loc uint64) error {
	e := l.e
	if err := e.needTableLocked(&e.shards[p], r.meta.Tombstone); err != nil {
		return err
	}
	h, err := l.take(r.meta.Tombstone)
	if err != nil {
		return err
	}
	l.use()
	en := e.entries.at(h)
	*en = entry{digest: r.digest, loc: loc, size: uint32(len(r.body))}
	en.setMeta(&r.meta)
	e.linkLocked(p, h, en)
	return nil
}

// end gives back what is not in use and adds to the engine's figures.
func (l *loader) end() {
	for ; l.next < l.last; l.next++ {
		l.e.entries.class.free(l.run[l.next])
	}
	l.e.indexBytes.Add(l.entered * entrySize)
	l.e.entryCount.Add(l.entered)
	l.entered = 0
}
