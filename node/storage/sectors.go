package storage

import (
	"sync"

	"headroom/node/disk"
)

// A block whose records are about as long as a device block, a sector, or
// longer is mostly made of sectors that nobody needs by the time it is
// defragmented. It therefore counts the live records in each, a byte a sector
// (256 bytes a MiB), and defragmentation reads only what is needed: a device
// whose reads and writes share one limit writes that much more.
// Blocks of short records, and those filled before a restart, are read whole.
const (
	// sectorMost keeps the records of a sector, at least 80 bytes each, within a byte.
	sectorMost = 16 << 10
	// gapMost is what is read along rather than asked for around: 8 µs of a quick
	// drive, about the price of a request. Of records of 4000 bytes at 50 % live
	// fill, 0.36 bytes are read for each that is written, 0.24 if nothing were
	// read along; fio beside 24 reads of 12 KiB for each MiB it writes is no
	// slower than beside 49 of 4 KiB.
	gapMost = 8 << 10
	// wholePct of a block needed make one read of all the better.
	wholePct = 60
	// readsAtOnce for one block.
	readsAtOnce = 8
)

// newSectors returns the counts of an empty block, or nil.
func (v *volume) newSectors() []uint8 {
	if v.align > sectorMost {
		return nil
	}
	return make([]uint8, v.size/v.align)
}

// countSectors notes that a record came into a block, or left it.
func (v *volume) countSectors(b *block, off, span int, delta uint8) {
	if b.sectors == nil {
		return
	}
	for s := off / v.align; s <= (off+span-1)/v.align; s++ {
		b.sectors[s] += delta
	}
}

// dropSectors forgets the counts of a full block if its records are so short
// that most sectors will hold a live one to the end.
func (v *volume) dropSectors(b *block, records int) {
	if records*v.align/2 > v.size {
		b.sectors = nil
	}
}

// stretch is a part of a block, whole sectors.
type stretch struct{ from, to int }

// needed returns the parts of a block that hold all its live records, or nil
// if the whole is to be read.
func (v *volume) needed(n uint32, seq uint64) (list []stretch) {
	v.mu.Lock()
	defer v.mu.Unlock()
	b := &v.blocks[n]
	if b.seq != seq || v.inMemory[n] != nil {
		return nil
	}
	for s, live := range b.sectors {
		if live == 0 {
			continue
		}
		from, to := s*v.align, (s+1)*v.align
		if k := len(list) - 1; k >= 0 && from-list[k].to <= gapMost {
			from, list = list[k].from, list[:k]
		}
		list = append(list, stretch{from, to})
	}
	total := 0
	for _, t := range list {
		total += t.to - t.from
	}
	if total*100 > v.size*wholePct {
		return nil
	}
	return list
}

// readStretches returns a block of which only these parts are good, to be given
// back.
func (v *volume) readStretches(s *disk.Stream, n uint32, list []stretch) (data []byte, err error) {
	data = (*v.log.takeBuffer(v.size))[:v.size]
	if s != nil {
		err = v.streamStretches(s, n, data, list)
	} else {
		err = worst(v.atOnce(readsAtOnce, len(list), func(i int) error {
			t := list[i]
			return v.dev.ReadAt(data[t.from:t.to], v.base(n)+int64(t.from))
		}))
	}
	if err != nil {
		return nil, v.readFailed(err)
	}
	v.readWell()
	return data, nil
}

// streamStretches reads parts of a block, all of them at once: a request costs
// half of what a goroutine's does.
func (v *volume) streamStretches(s *disk.Stream, n uint32, data []byte, list []stretch) (err error) {
	ended := func(_ int, _ []byte, failed error) {
		if failed != nil {
			err = failed
		}
	}
	for _, t := range list {
		for s.Room() == 0 && s.Busy() {
			s.Wait(nil, ended)
		}
		p, off := data[t.from:t.to], v.base(n)+int64(t.from)
		if _, ok := s.BeginInto(p, off); !ok {
			ended(0, nil, v.dev.ReadAt(p, off))
		}
	}
	for s.Busy() {
		s.Wait(nil, ended)
	}
	return err
}

// walkStretch calls fn for each record that lies in a part of a block as a
// whole. The part may begin in the middle of a record.
func (v *volume) walkStretch(data []byte, t stretch, seed uint32, fn func(r *stored, at int)) {
	var r stored
	to := min(t.to, v.size-headerSize)
	for at := max(t.from, headerSize); at+recordHeader <= to; {
		if !r.parse(data[:to], 0, at, seed) {
			at += unit
			continue
		}
		fn(&r, at)
		at += recordSpan(len(r.body))
	}
}

// atOnce calls do for 0 to n-1, so many at a time; one after the other, until
// one fails, in a simulation.
func (v *volume) atOnce(most, n int, do func(i int) error) []error {
	errs := make([]error, n)
	if v.log.cfg.Serial || n == 1 {
		for i := range n {
			if errs[i] = do(i); errs[i] != nil {
				break
			}
		}
		return errs
	}
	slots := make(chan struct{}, most)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = do(i)
			<-slots
		})
	}
	wg.Wait()
	return errs
}
