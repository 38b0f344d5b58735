package storage

import (
	"context"
	"errors"
	"sync"
	"time"

	"headroom/node/cluster"
	"headroom/node/disk"
	"headroom/node/record"
)

// Background work is made of steps that a simulation calls one by one and Run
// calls from goroutines of each device.

// flushAge is how long a record may wait in a buffer that does not fill: what
// a crash may take from a node that does not commit to device.
const flushAge = time.Second

// Run does the devices' work until ctx ends and all that was under way has
// ended. With commit, it writes and syncs as soon as anything was put, and
// what comes meanwhile goes together. Without devices it returns at once.
func (e *Engine) Run(ctx context.Context, commit bool) {
	if e.log == nil {
		return
	}
	done := make(chan struct{})
	for _, v := range e.log.volumes {
		go func() {
			if v != nil {
				e.runVolume(ctx, v, commit)
			}
			done <- struct{}{}
		}()
	}
	for range e.log.volumes {
		<-done
	}
}

func (e *Engine) runVolume(ctx context.Context, v *volume, commit bool) {
	v.mu.Lock()
	v.eager = commit
	v.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	for range defragmenters {
		wg.Go(func() { e.runDefrag(ctx, v) })
	}
	if !commit {
		wg.Go(func() { e.runWrites(ctx, v) })
	}
	t := time.NewTicker(flushAge)
	defer t.Stop()
	for ctx.Err() == nil && !v.broken() {
		aged := false
		select {
		case <-ctx.Done():
			return
		case <-v.due:
		case <-t.C:
			aged = true
		}
		if commit || aged || v.short() {
			_, _ = v.flush(true) // an error gave the device up, and was told
			signal(v.sparse)     // there is room again
		}
	}
}

// runWrites writes full blocks, also while the device is synced.
func (e *Engine) runWrites(ctx context.Context, v *volume) {
	for !v.broken() {
		select {
		case <-ctx.Done():
			return
		case <-v.wake:
		}
		_, _ = v.flush(false) // as in runVolume
		signal(v.sparse)      // the queue has room again
	}
}

// defragmenters is how many blocks of a device are emptied at a time: while one
// is read, the records of others are moved.
const defragmenters = 3

// runDefrag defragments beside the flushes.
func (e *Engine) runDefrag(ctx context.Context, v *volume) {
	var s *disk.Stream
	if d, ok := v.dev.(disk.Streamer); ok {
		s = d.Stream()
	}
	if s != nil {
		defer s.Close()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.sparse:
		}
		for ctx.Err() == nil && !v.crowded() && e.defragment(v, s) {
			signal(v.sparse) // there may be work for another
			if v.short() {
				signal(v.due)
			}
		}
	}
}

// crowded reports whether so much waits to be written that defragmentation
// has to wait: half of what clients may queue.
func (v *volume) crowded() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.queue)*v.size >= max(maxQueue/2, 2*v.size)
}

// short reports whether blocks that wait for a sync are needed: there are few
// free ones, and a sync gains some.
func (v *volume) short() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	const least = defragReserve + deleteReserve
	switch {
	case len(v.free) <= least:
		return len(v.waiting) > 0
	case len(v.free) <= least+2*v.slack():
		return 2*len(v.waiting) >= max(v.slack(), 1)
	}
	return false
}

// Flush writes what is in buffers to all devices and syncs them: afterwards
// all that was put before it was called survives a crash. The error is that
// of the first device given up; the others are flushed all the same. One whose
// records were taken out (Lost) counts no more.
func (e *Engine) Flush() (err error) {
	if e.log == nil {
		return nil
	}
	for _, v := range e.log.volumes {
		if v == nil || v.left() {
			continue
		}
		if _, ferr := v.flush(true); ferr != nil && err == nil {
			err = ferr
		}
	}
	return err
}

// Write writes full buffers only and does not sync.
func (e *Engine) Write() {
	if e.log == nil {
		return
	}
	for _, v := range e.log.volumes {
		if v != nil {
			_, _ = v.flush(false) // as in runVolume
		}
	}
}

// Defragment moves the live records out of at most one block per device. It
// reports whether there was one.
func (e *Engine) Defragment() bool {
	did := false
	if e.log != nil {
		for _, v := range e.log.volumes {
			did = v != nil && e.defragment(v, nil) || did
		}
	}
	return did
}

// defragment empties one block of a device, through a stream if there is one.
func (e *Engine) defragment(v *volume, s *disk.Stream) bool {
	n, seq, ok := v.victim()
	if !ok {
		return false
	}
	stuck, err := e.empty(v, s, n, seq)
	if err != nil {
		v.requeue(n, seq)
		var broken *DeviceError
		return !errors.As(err, &broken)
	}
	switch {
	case !v.moving(n, seq): // emptied, and freed
		return true
	case stuck: // no room to move it to: later
		v.requeue(n, seq)
		return false
	}
	e.damagedIn(v, n) // what is left cannot be read
	return true
}

// empty moves the live records out of a block, reading only the parts that
// hold some if that is possible. It reports whether there was no room for one.
func (e *Engine) empty(v *volume, s *disk.Stream, n uint32, seq uint64) (stuck bool, err error) {
	move := func(r *stored, at int) { stuck = !e.move(v, r, makeLoc(v.slot, n, at)) || stuck }
	if parts := v.needed(n, seq); parts != nil {
		data, err := v.readStretches(s, n, parts)
		if err != nil {
			return false, err
		}
		head := blockHead{slot: v.slot, block: n, seq: seq, set: v.log.set}
		for _, t := range parts {
			v.walkStretch(data, t, head.seed(), move)
		}
		v.giveBlock(data)
		if stuck || !v.moving(n, seq) {
			return stuck, nil
		}
	}
	data, err := v.readBlock(n)
	if err != nil {
		return false, err
	}
	walk(data, e.log.set, v.slot, n, v.align, move)
	v.giveBlock(data)
	return stuck, nil
}

// moving reports whether a block still has records that its defragmentation
// has to move.
func (v *volume) moving(n uint32, seq uint64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	b := &v.blocks[n]
	return b.seq == seq && b.state == blockMoving
}

// damagedIn marks the records that the index has in a block that does not
// hold them.
func (e *Engine) damagedIn(v *volume, n uint32) {
	for p := range cluster.Partitions {
		if uint16(uint8(e.log.homes[p].Load())) != v.slot {
			continue
		}
		var list []record.Digest
		e.visitAll(p, func(en *entry) {
			if _, at, _ := splitLoc(e.device(en.loc)); at == n {
				list = append(list, en.digest)
			}
		})
		for i := range list {
			e.Get(&list[i], nil) // marks it
		}
	}
}

// victim takes the next block to defragment. It is freed when it becomes
// empty.
func (v *volume) victim() (n uint32, seq uint64, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.victims) > 0 && v.failed == nil {
		n, v.victims = v.victims[0], v.victims[1:]
		if b := &v.blocks[n]; b.state == blockVictim {
			b.state = blockMoving
			return n, b.seq, true
		}
	}
	if v.failed == nil && len(v.free)+len(v.waiting) <= defragReserve+deleteReserve+2+2*v.slack() && v.sparseLocked() {
		return v.sparsestLocked()
	}
	return 0, 0, false
}

// searchMost bounds the blocks that one search for a sparse one looks at.
const searchMost = 4096

// sparsestLocked finds the block with the fewest live bytes among the next
// ones: when all blocks were filled at the same time, as after a load, they
// empty at the same pace, and room runs out before any is below the mark.
func (v *volume) sparsestLocked() (n uint32, seq uint64, ok bool) {
	least := uint32(v.room() * sparseMost / 100)
	for range min(searchMost, len(v.blocks)) {
		v.hand = (v.hand + 1) % uint32(len(v.blocks))
		if b := &v.blocks[v.hand]; b.state == blockUsed && b.live < least {
			n, seq, ok, least = v.hand, b.seq, true, b.live
		}
	}
	if ok {
		v.blocks[n].state = blockMoving
	}
	return n, seq, ok
}

func (v *volume) requeue(n uint32, seq uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if b := &v.blocks[n]; b.seq == seq && b.state == blockMoving {
		b.state = blockVictim
		v.victims = append(v.victims, n)
	}
}

// readBlock returns a copy of a whole block, to be given back.
func (v *volume) readBlock(n uint32) ([]byte, error) {
	data := *v.log.takeBuffer(v.size)
	data = data[:v.size]
	v.mu.Lock()
	if b := v.inMemory[n]; b != nil {
		n := len(data)
		if !b.closed {
			n = b.off
		}
		clear(data[copy(data, b.data[:n]):])
		v.mu.Unlock()
		return data, nil
	}
	v.mu.Unlock()
	if err := v.dev.ReadAt(data, v.base(n)); err != nil {
		return nil, v.readFailed(err)
	}
	v.readWell()
	return data, nil
}

func (v *volume) giveBlock(b []byte) { v.log.giveBuffer(&b) }

// move appends a record again if the index points to it here. It reports
// false if there was no room.
func (e *Engine) move(v *volume, r *stored, loc uint64) bool {
	p := r.digest.Partition()
	sh := &e.shards[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, en := e.find(sh, &r.digest)
	if en == nil || e.device(en.loc) != loc {
		return true
	}
	r.meta, r.lineage = en.meta(), uint32(e.log.homes[p].Load()>>8)
	to, err := v.append(r, fromDefrag)
	if err != nil {
		return false
	}
	e.setDevice(en, to)
	en.flags |= flagPast // the record that was moved is still there, too
	v.release(loc, uint32(len(r.body)))
	return true
}

// raid looks for entries that were removed but have to stay, because an older
// version on a device would come back at a restart after a crash.
type raid struct {
	phase     int // 0 none under way, 1 marking, 2 reading, 3 removing
	partition int
	slot      int
	block     uint32
}

// raidSlice is how many partitions a step marks or removes in.
const raidSlice = 64

// Raid does one step of removing the entries that Remove had to keep: it marks
// them, reads every block, and removes those of which no older version was
// found. It reports whether a raid is under way still.
func (e *Engine) Raid() bool {
	if e.log == nil {
		return false
	}
	r := &e.raid
	switch r.phase {
	case 0:
		_ = e.Flush() // so that all older versions are in blocks that will be read
		*r = raid{phase: 1}
	case 1, 3:
		for range raidSlice {
			e.raidPartition(r.partition, r.phase == 3)
			r.partition++
		}
		if r.partition >= cluster.Partitions {
			r.partition = 0
			if r.phase++; r.phase > 3 {
				r.phase = 0
			}
		}
	case 2:
		if r.slot == len(e.log.volumes) {
			r.phase = 3
		} else if v := e.log.volumes[r.slot]; v == nil || int(r.block) == len(v.blocks) {
			r.slot, r.block = r.slot+1, 0
		} else {
			e.raidBlock(v, r.block)
			r.block++
		}
	}
	return r.phase != 0
}

func (e *Engine) raidPartition(p int, remove bool) {
	var gone []DigestVersion
	e.visitAll(p, func(en *entry) {
		if en.flags&flagDoomed != 0 && !remove {
			en.flags |= flagRaided
		} else if en.flags&flagRaided != 0 {
			en.flags &^= flagRaided | flagPast
			gone = append(gone, DigestVersion{Digest: en.digest, Version: en.version()})
		}
	})
	for i := range gone {
		e.Remove(&gone[i].Digest, gone[i].Version)
	}
}

func (e *Engine) visitAll(p int, fn func(en *entry)) {
	for c, done := Cursor(0), false; !done; {
		c, done = e.visit(p, c, maxVisit, func(en *entry, _ *record.Meta) { fn(en) })
	}
}

func (e *Engine) raidBlock(v *volume, n uint32) {
	v.mu.Lock()
	never := v.blocks[n].seq == 0
	v.mu.Unlock()
	if never {
		return
	}
	data, err := v.readBlock(n)
	if err != nil {
		e.raid = raid{} // cannot tell: another time
		return
	}
	defer v.giveBlock(data)
	walk(data, e.log.set, v.slot, n, v.align, func(r *stored, _ int) {
		p := r.digest.Partition()
		if r.lineage != uint32(e.log.homes[p].Load()>>8) {
			return
		}
		sh := &e.shards[p]
		sh.mu.Lock()
		if _, en := e.find(sh, &r.digest); en != nil && en.version().Newer(r.meta.Version) {
			en.flags &^= flagRaided
		}
		sh.mu.Unlock()
	})
}
