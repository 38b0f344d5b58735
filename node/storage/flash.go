package storage

import (
	"errors"

	"headroom/node/cluster"
	"headroom/node/record"
)

// readTries bounds how often a read follows a record that defragmentation
// moves away from under it.
const readTries = 8

// GetNow is Get without waiting for a device: ready is false, and m and ok
// alone are set, if the record would have to be read from one.
func (e *Engine) GetNow(d *record.Digest, dst []byte) (m record.Meta, body []byte, ok, ready bool) {
	if e.log == nil || e.log.cfg.InMemory {
		m, body, ok = e.Get(d, dst)
		return m, body, ok, true
	}
	return e.getLogged(d, dst, false)
}

// OnDevices reports whether the engine has devices.
func (e *Engine) OnDevices() bool { return e.log != nil }

// Waits reports whether Get may wait for a device.
func (e *Engine) Waits() bool { return e.log != nil && !e.log.cfg.InMemory }

// getLogged finds a record in buffers, or reads it from its device. The read
// is outside the locks; whether the record is still there is checked after.
func (e *Engine) getLogged(d *record.Digest, dst []byte, wait bool) (m record.Meta, body []byte, ok, ready bool) {
	var at uint64 // location of the last read that did not verify
	for range readTries {
		l, found := e.locate(d, dst, wait)
		if !found || l.ready {
			return l.meta, l.body, found, true
		}
		if !wait {
			return l.meta, dst, true, false
		}
		r, body, err := e.log.volumes[l.slot()].read(l.loc, l.size, l.seq, dst)
		var broken *DeviceError
		switch {
		case errors.As(err, &broken):
			l.meta.Unreadable = true
			return l.meta, dst, true, true
		case err == nil && r.digest == *d && r.meta.Version == l.meta.Version:
			return l.meta, body, true, true
		}
		if l.loc == at { // twice at the same place: it did not move away meanwhile
			return e.damaged(d, l), dst, true, true
		}
		at = l.loc
	}
	l, found := e.locate(d, dst, false)
	l.meta.Unreadable = found && !l.ready
	return l.meta, l.body, found, true
}

// located is an entry as it was for a moment.
type located struct {
	meta  record.Meta
	loc   uint64
	size  uint32
	seq   uint64
	body  []byte
	ready bool // body is there, or there will be none
}

func (l *located) slot() int { slot, _, _ := splitLoc(l.loc); return int(slot) }

// locate looks a record up; reads says that it will be read from its device
// unless that is known to fail.
func (e *Engine) locate(d *record.Digest, dst []byte, reads bool) (l located, found bool) {
	sh := &e.shards[d.Partition()]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, en := e.find(sh, d)
	if en == nil {
		return located{body: dst}, false
	}
	l = located{meta: en.meta(), loc: en.loc, size: en.size, body: dst}
	if en.size == 0 || l.meta.Unreadable {
		l.ready = true
		return l, true
	}
	v := e.log.volumes[l.slot()]
	v.mu.Lock()
	defer v.mu.Unlock()
	switch l.body, l.ready, l.seq = v.copyOutLocked(en.loc, en.size, dst); {
	case l.ready || !reads:
	case v.failed != nil:
		l.meta.Unreadable, l.ready = true, true
	default:
		v.stats.DeviceReads++
	}
	return l, true
}

// damaged marks a record whose place was read twice and does not verify.
func (e *Engine) damaged(d *record.Digest, l located) record.Meta {
	sh := &e.shards[d.Partition()]
	sh.mu.Lock()
	_, en := e.find(sh, d)
	first := en != nil && en.loc == l.loc && en.flags&flagDamaged == 0
	if first { // the summary misses it from here on, so that a comparison brings it back
		e.countLocked(d.Partition(), en, -1)
		en.flags |= flagDamaged
		e.countLocked(d.Partition(), en, 1)
	}
	sh.mu.Unlock()
	if first {
		v := e.log.volumes[l.slot()]
		v.mu.Lock()
		v.stats.Corrupt++
		v.mu.Unlock()
		if e.log.cfg.Damaged != nil {
			e.log.cfg.Damaged(*d)
		}
	}
	l.meta.Unreadable = true
	return l.meta
}

// scanLogged collects entries under the lock and then reads their bodies. One
// that cannot be read is visited as Meta.Unreadable, without a body.
func (e *Engine) scanLogged(p int, c Cursor, max int, fn func(d *record.Digest, m *record.Meta, body []byte)) (Cursor, bool) {
	digests := make([]record.Digest, 0, max+max/4)
	next, done := e.visit(p, c, max, func(en *entry, _ *record.Meta) { digests = append(digests, en.digest) })
	var body []byte
	for i := range digests {
		m, b, ok := e.Get(&digests[i], body[:0])
		body = b
		if ok {
			fn(&digests[i], &m, b)
		}
	}
	return next, done
}

// Mark counts what was put on devices so far. All that was put before a call
// of Mark survives a crash once DurableMark has reached its result.
func (e *Engine) Mark() uint64 {
	if e.log == nil {
		return 0
	}
	return e.log.appended.Load()
}

// DurableMark is how far Mark is durable on all devices that are well.
func (e *Engine) DurableMark() uint64 {
	if e.log == nil {
		return ^uint64(0)
	}
	mark := e.log.appended.Load()
	for _, v := range e.log.volumes {
		if v == nil {
			continue
		}
		v.mu.Lock()
		if !v.lost && v.durable < v.ticket { // nothing is acknowledged past a failure before Lost
			mark = min(mark, v.mark)
		}
		v.mu.Unlock()
	}
	return mark
}

// Each calls fn for about max records of partition p from c on, like Scan,
// without their bodies and without reading devices.
func (e *Engine) Each(p int, c Cursor, max int, fn func(d *record.Digest, m *record.Meta)) (next Cursor, done bool) {
	return e.visit(p, c, max, func(en *entry, m *record.Meta) { fn((*record.Digest)(&en.digest), m) })
}

// Sizes is Each with the bytes of each record's body.
func (e *Engine) Sizes(p int, c Cursor, max int, fn func(d *record.Digest, m *record.Meta, size int)) (next Cursor, done bool) {
	return e.visit(p, c, max, func(en *entry, m *record.Meta) { fn((*record.Digest)(&en.digest), m, int(en.size)) })
}

// stopWrites reports whether the device of a partition takes no more from
// clients: too much of it is live. What other nodes send is taken while there
// is room at all, so that a write accepted by its master finds room here.
func (l *log) stopWrites(p int) bool {
	v, _ := l.home(p)
	if v == nil {
		return false // append tells why
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stoppedLocked()
}

func (v *volume) stoppedLocked() bool {
	return v.full || v.live*100 > int64(len(v.blocks))*int64(v.room())*int64(v.log.cfg.StopUsed)
}

// DeviceStats is one device.
type DeviceStats struct {
	VolumeStats
	Path       string
	Slot       int
	Err        error // why it was given up; nil: it is well
	Full       bool  // the file system below has no room
	StopWrites bool
	UsedBytes  int64 // of live records
	SizeBytes  int64
	FreeBlocks int // free, or about to be
	Blocks     int
	Queued     int // blocks waiting to be written
}

// Devices describes the engine's devices, none for one in memory.
func (e *Engine) Devices() []DeviceStats {
	if e.log == nil {
		return nil
	}
	var list []DeviceStats
	for i, v := range e.log.volumes {
		if v == nil {
			list = append(list, DeviceStats{Slot: i, Err: errMissing})
			continue
		}
		v.mu.Lock()
		list = append(list, DeviceStats{VolumeStats: v.stats, Path: v.dev.Info().Path, Slot: i, Err: v.failed, Full: v.full, StopWrites: v.stoppedLocked(),
			UsedBytes: v.live, SizeBytes: v.dev.Size(), FreeBlocks: len(v.free) + len(v.waiting), Blocks: len(v.blocks), Queued: len(v.queue)})
		v.mu.Unlock()
	}
	return list
}

var errMissing = errors.New("storage: the device was not there at the start")

// GiveUp gives a device up for a reason that its requests have not told: it
// hangs, or its file is gone. LogConfig.Failed is called as after a failed
// write.
func (e *Engine) GiveUp(slot int, err error) {
	if v := e.log.volumes[slot]; v != nil {
		v.fail(err)
	}
}

// Healthy counts the devices that work.
func (e *Engine) Healthy() int {
	if e.log == nil {
		return 0
	}
	return len(e.log.healthy())
}

// Lost takes the records of a device that failed out of the index, gives its
// partitions to the other devices and returns them: this node has no copy of
// them any more.
func (e *Engine) Lost(slot int) []int {
	if v := e.log.volumes[slot]; v != nil {
		v.mu.Lock()
		v.lost = true
		v.mu.Unlock()
	}
	var list []int
	for p := range cluster.Partitions {
		if uint8(e.log.homes[p].Load()) == uint8(slot) {
			e.Drop(p)
			list = append(list, p)
		}
	}
	e.log.saveMu.Lock()
	e.log.failed[slot] = true
	e.log.changed.Add(1)
	e.log.saveMu.Unlock()
	return list
}
