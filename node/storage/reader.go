package storage

import (
	"headroom/node/disk"
	"headroom/node/record"
)

// Reader gets records from one device for one goroutine, many at a time: reads
// are asked for together, and no goroutine is handed anything. All methods but
// Ring are its goroutine's.
type Reader struct {
	e    *Engine
	v    *volume
	s    *disk.Stream
	gets [disk.StreamDepth]reading
	body []byte // of a record that is in memory
}

// reading is a get that waits for its device.
type reading struct {
	tag    any
	digest record.Digest
	at     located
	from   int // offset in the block of what is read
}

// Answer is what a get came to; see Engine.Get.
type Answer struct {
	Tag   any // as given to Get
	Meta  record.Meta
	Body  []byte // good until the function that is given it returns
	Found bool
}

// Reader returns a reader of the device of a slot, nil if that device has no
// streams: Get by several goroutines does as much then.
func (e *Engine) Reader(slot int) *Reader {
	if !e.Waits() || e.log.volumes[slot] == nil {
		return nil
	}
	v := e.log.volumes[slot]
	d, ok := v.dev.(disk.Streamer)
	if !ok {
		return nil
	}
	s := d.Stream()
	if s == nil {
		return nil
	}
	return &Reader{e: e, v: v, s: s}
}

// Quick reports whether the device is one to wait for in a thread; see
// disk.Stream.
func (r *Reader) Quick() bool { return r.s.Quick() }

// Room is how many gets may be begun.
func (r *Reader) Room() int { return r.s.Room() }

// Busy reports whether a get is under way.
func (r *Reader) Busy() bool { return r.s.Busy() }

// Get begins a get. done is called with its answer, at once or by Wait: it is
// to be the function that Wait is given.
func (r *Reader) Get(d *record.Digest, tag any, done func(a *Answer)) {
	at, found := r.e.locate(d, r.body[:0], true)
	switch {
	case !found || at.ready:
		r.body = at.body[:0]
		done(&Answer{Tag: tag, Meta: at.meta, Body: at.body, Found: found})
	case at.slot() != int(r.v.slot) || !r.begin(d, &at, tag):
		r.now(d, tag, done)
	}
}

// begin asks the device for a record. It reports false if it cannot.
func (r *Reader) begin(d *record.Digest, at *located, tag any) bool {
	v := r.v
	_, n, off := splitLoc(at.loc)
	from, to := v.aligned(off, int(at.size))
	i, ok := r.s.Begin(to-from, v.base(n)+int64(from))
	if ok {
		r.gets[i] = reading{tag: tag, digest: *d, at: *at, from: from}
	}
	return ok
}

// now answers a get that needs no device, or what is not usual.
func (r *Reader) now(d *record.Digest, tag any, done func(a *Answer)) {
	a := Answer{Tag: tag}
	a.Meta, a.Body, a.Found = r.e.Get(d, r.body[:0])
	r.body = a.Body[:0]
	done(&a)
}

// Wait hands what was begun to the device and waits until a get has ended,
// somebody rang, or 100 ms have passed; not at all unless stay, which is asked
// when Ring has effect already, says so. done is called for gets that have
// ended, two at most; the next Wait tells of others at once.
func (r *Reader) Wait(stay func() bool, done func(a *Answer)) {
	r.s.Wait(stay, func(i int, part []byte, err error) { r.ended(i, part, err, done) })
}

// ended looks at what the device gave. What does not verify may have moved
// meanwhile, or be damaged: Engine.Get finds out.
func (r *Reader) ended(i int, part []byte, err error, done func(a *Answer)) {
	g := &r.gets[i]
	if err != nil {
		g.at.meta.Unreadable = true
		_ = r.v.readFailed(err) // the answer says so
		done(&Answer{Tag: g.tag, Meta: g.at.meta, Found: true})
		return
	}
	r.v.readWell()
	_, n, off := splitLoc(g.at.loc)
	head := blockHead{slot: r.v.slot, block: n, seq: g.at.seq, set: r.v.log.set}
	var s stored
	if !s.parse(part, g.from, off, head.seed()) || s.digest != g.digest || s.meta.Version != g.at.meta.Version {
		r.now(&g.digest, g.tag, done)
		return
	}
	done(&Answer{Tag: g.tag, Meta: g.at.meta, Body: s.body, Found: true})
}

// Ring makes Wait return, or the next one if nobody waits. Anybody may call it.
func (r *Reader) Ring() { r.s.Ring() }

// Close gives the reader up; no get may be under way unless the device was
// given up.
func (r *Reader) Close() error { return r.s.Close() }
