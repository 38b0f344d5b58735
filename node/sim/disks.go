package sim

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"time"

	"headroom/node/cluster"
	"headroom/node/disk"
	"headroom/node/plane"
	"headroom/node/record"
	"headroom/node/storage"
	"headroom/node/txn"
	"headroom/node/wire"
)

// DeviceConfig puts a namespace's records on simulated devices. The zero value
// keeps them in memory.
type DeviceConfig struct {
	Devices        int  // of each node; zero: none
	Blocks         int  // write blocks of each
	WriteBlock     int  // bytes
	CommitToDevice bool // acknowledge what is synced
	InMemory       bool // bodies are kept in memory, too
	// Latency is how long a write and its sync take at most, and a read but for
	// the late ones.
	Latency time.Duration
}

const (
	deviceBlock = 512
	// flushAge is storage's: how long a record may wait in a buffer that does
	// not fill.
	flushAge = time.Second
	// storeEvery is server's: how often changed copy states are kept.
	storeEvery = time.Second
	keepGap    = 100 * time.Millisecond
	// defragMost bounds the blocks that one turn of a device's work empties.
	defragMost = 8
)

// media is what outlives the process of a node for one namespace: its devices,
// and the directory of the small files beside them.
type media struct {
	devices []*disk.Memory
	dir     *disk.MemoryDir
}

func newMedia(c *DeviceConfig) *media {
	m := &media{dir: disk.NewMemoryDir()}
	for i := range c.Devices {
		m.devices = append(m.devices, newDevice(c, i))
	}
	return m
}

func newDevice(c *DeviceConfig, slot int) *disk.Memory {
	return disk.NewMemory("device"+string(rune('0'+slot)), int64(256<<10+c.Blocks*c.WriteBlock), deviceBlock)
}

// crashed is what may be found after a crash: keep decides of each block and
// each file whether it got there though it was not synced; nil: none did.
func (m *media) crashed(keep func() bool) *media {
	c := &media{dir: m.dir.Crashed(keep)}
	for _, d := range m.devices {
		c.devices = append(c.devices, d.Crashed(keep))
	}
	return c
}

// mediaOf returns a node's media for a namespace, nil if it keeps all in memory.
func (d *Data) mediaOf(n cluster.NodeID, space int) *media {
	c := &d.cfg.Spaces[space].DeviceConfig
	if c.Devices == 0 {
		return nil
	}
	for len(d.media) <= int(n)*len(d.cfg.Spaces)+space {
		d.media = append(d.media, nil)
	}
	m := &d.media[int(n)*len(d.cfg.Spaces)+space]
	if *m == nil {
		*m = newMedia(c)
	}
	return *m
}

func (d *Data) setMedia(n cluster.NodeID, space int, m *media) {
	d.mediaOf(n, space)
	d.media[int(n)*len(d.cfg.Spaces)+space] = m
}

// volume is the devices of a space in one life of its node, with the work that
// package server and storage.Run do on goroutines of their own.
type volume struct {
	*media
	cfg      *DeviceConfig
	rand     *rand.Rand
	schedule *disk.Schedule
	dying    uint64 // the operation from which on the process is dead; zero: it lives
	gate     plane.Gate
	flushAt  cluster.Instant // the next turn of the devices' work
	storeAt  cluster.Instant // of keepCopies
	stored   string          // the copies file
	mark     uint64          // of it
	fetches  int             // reads that wait for a device
	shut     bool
	broken   map[string]disk.OpKind // devices whose operations of that kind fail, by path
	refused  int                    // operations that failed because of that
}

// openStore opens a space's engine: server's, with its devices if it has any.
func (s *space) openStore() {
	c := storage.Config{MemoryLimit: cmp.Or(s.a.d.cfg.Limits[s.a.n.ID], s.a.d.cfg.Spaces[s.id].MemoryLimit)}
	if m := s.a.d.mediaOf(s.a.n.ID, s.id); m != nil {
		v := &volume{media: m, cfg: &s.a.d.cfg.Spaces[s.id].DeviceConfig, rand: s.a.n.newRand(), flushAt: cluster.Never, storeAt: s.a.n.Now().Add(storeEvery)}
		v.schedule = disk.NewSchedule(func(op disk.Op) disk.Fault {
			if v.dying != 0 && op.N >= v.dying {
				return disk.Error
			}
			return v.failing(op)
		})
		l := &storage.LogConfig{Name: spaceName(s.id), Node: uint64(s.a.n.ID), Dir: disk.NewFaultyDir(m.dir, v.schedule), WriteBlock: v.cfg.WriteBlock,
			InMemory: v.cfg.InMemory, Serial: true, NewID: v.rand.Uint64,
			Failed: s.deviceFailed, Damaged: s.recordDamaged}
		for _, x := range m.devices {
			l.Devices = append(l.Devices, disk.NewFaulty(x, v.schedule))
		}
		c.Log, s.vol = l, v
	}
	store, err := storage.Open(c)
	if err != nil {
		s.a.d.W.fail("node%d: %s does not open: %v", s.a.n.ID, spaceName(s.id), err)
		store, _ = storage.Open(storage.Config{}) // always opens; the run has failed
		s.vol = nil
	}
	s.store = store
}

func (s *space) kept() plane.Kept {
	return plane.Kept{Namespace: spaceName(s.id), RF: s.a.d.cfg.Spaces[s.id].RF, Inc: s.a.inc}
}

// loadCopies is server's.
func (s *space) loadCopies() {
	if s.vol == nil {
		return
	}
	w, rec := s.a.d.W, s.store.Recovery()
	b, err := disk.ReadFile(s.vol.dir, s.kept().CopiesName(), plane.CopiesMost)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if !rec.Fresh {
			s.DropAll()
		}
		return
	case err == nil:
		err = s.LoadCopies(s.kept(), b, rec)
	}
	if err != nil {
		w.fail("node%d: %v", s.a.n.ID, err)
	}
	if rec.Corrupt > 0 && !s.a.d.cfg.Breaks {
		w.fail("node%d: a crash is taken for damage: %+v", s.a.n.ID, rec)
	}
	w.record("recovery", uint64(s.a.n.ID), uint64(rec.Records), uint64(rec.Torn), uint64(len(rec.LostPartitions)))
	w.logf("node%d finds %d records, clean %v, torn %d, lost partitions %d", s.a.n.ID, s.store.Stats().Records, rec.Clean, rec.Torn, len(rec.LostPartitions))
}

// keepView is server's.
func (s *space) keepView() {
	if !s.commits() {
		return
	}
	s.storeChanged()
	s.vol.gate.Release(s.store)
}

// storeCopies is server's.
func (s *space) storeCopies(clean bool) error {
	if !clean && s.vol.stored != "" && s.CopiesMark() == s.vol.mark {
		return nil
	}
	b, mark := s.EncodeCopies(s.kept(), clean)
	if string(b) == s.vol.stored {
		s.vol.mark = mark
		s.toldStored(mark)
		return nil
	}
	err := s.store.Flush()
	if err != nil {
		return err
	}
	err = disk.Replace(disk.NewFaultyDir(s.vol.dir, s.vol.schedule), s.kept().CopiesName(), func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if err == nil {
		s.vol.stored, s.vol.mark = string(b), mark
		s.toldStored(mark)
	}
	return err
}

// toldStored is nothing that a dying process comes to.
func (s *space) toldStored(mark uint64) {
	if !s.vol.shut {
		s.Stored(mark)
	}
}

// Keep implements plane.Host.
func (s *space) Keep() {
	soon := time.Duration(s.vol.rand.Int64N(int64(keepGap)))
	s.vol.storeAt = min(s.vol.storeAt, s.a.n.Now().Add(soon))
}

// workOn plans the devices' next turn if anything waits for it.
func (s *space) workOn() {
	v := s.vol
	if v == nil || v.flushAt != cluster.Never || s.store.Mark() <= s.store.DurableMark() {
		return
	}
	wait := flushAge
	if v.cfg.CommitToDevice {
		wait = time.Duration(v.rand.Int64N(int64(v.cfg.Latency))) + time.Microsecond
	}
	v.flushAt = s.a.n.Now().Add(wait)
}

// work is one turn of the devices' work and of keepCopies.
func (s *space) work(now cluster.Instant) {
	v := s.vol
	if now >= v.flushAt {
		v.flushAt = cluster.Never
		_ = s.store.Flush() // an error gives the device up, and deviceFailed tells
		for range defragMost {
			if !s.store.Defragment() {
				break
			}
			s.store.Write()
		}
		v.gate.Release(s.store)
		s.workOn()
	}
	if now >= v.storeAt {
		v.storeAt = now.Add(storeEvery)
		s.storeChanged()
	}
}

// storeChanged is server's keepCopies: where a device has failed, it is tried
// again at the next turn.
func (s *space) storeChanged() {
	if err := s.storeCopies(false); err != nil && s.vol.refused == 0 {
		s.a.d.W.fail("node%d: copy states not stored: %v", s.a.n.ID, err)
	}
}

// gated sends what acknowledges a write when that is durable: server's
// replyDurable and answerDurable.
func (s *space) gated(send func(durable bool)) (full bool) {
	held, full := s.vol.gate.Hold(s.store, send)
	switch {
	case held:
		s.workOn()
	case !full:
		send(true)
	}
	return full
}

func (s *space) commits() bool { return s.vol != nil && s.vol.cfg.CommitToDevice }

func (s *space) replyDurable(to txn.Origin, r *wire.Reply) {
	kept := *r
	kept.Bins = append([]byte(nil), r.Bins...)
	full := s.gated(func(durable bool) {
		if !durable {
			kept = wire.Reply{Status: wire.StatusInDoubt}
		}
		s.a.reply(to, &kept)
	})
	if full {
		s.a.reply(to, &wire.Reply{Status: wire.StatusInDoubt})
	}
}

// leave closes the engine so that the next process finds everything as it is
// now: server's shutStores.
func (s *space) leave() {
	if s.vol == nil || s.vol.shut {
		return
	}
	s.vol.shut = true
	copies, _ := s.EncodeCopies(s.kept(), true)
	err := s.store.Shutdown()
	if err == nil {
		err = disk.Replace(s.vol.dir, s.kept().CopiesName(), func(w io.Writer) error {
			_, err := w.Write(copies)
			return err
		})
	}
	if err != nil {
		s.a.d.W.fail("node%d: not closed properly: %v", s.a.n.ID, err)
	}
	s.reopen(func() bool { return true })
}

// die leaves on the devices what a process does that ends at once: half of the
// time in the middle of its devices' work. Of what was not synced nothing,
// all, or any part is there: the machine died, the process alone, or anything
// between.
func (s *space) die() {
	v := s.vol
	if v == nil || v.shut {
		return
	}
	v.shut = true
	if v.rand.IntN(2) == 0 {
		v.dying = v.schedule.Count() + 1 + uint64(v.rand.IntN(12))
		if s.store.Flush() == nil && s.Committed() != nil {
			_ = s.storeCopies(false) // it fails in the middle, too
		}
	}
	share := []float64{0, 0.5, 0.9, 1}[v.rand.IntN(4)]
	s.reopen(func() bool { return v.rand.Float64() < share })
}

// reopen makes of the media what the next process will find.
func (s *space) reopen(keep func() bool) { s.a.d.setMedia(s.a.n.ID, s.id, s.vol.crashed(keep)) }

// leavingStore is the engine as the data plane sees it: server's.
type leavingStore struct {
	*storage.Engine
	s *space
}

// Drop implements plane.Engine.
func (s leavingStore) Drop(pid int) {
	if !s.s.a.leaving || !s.OnDevices() {
		s.s.a.d.dropping(s.s, pid)
		s.Engine.Drop(pid)
	}
}

// Put implements plane.Engine.
func (s leavingStore) Put(d *record.Digest, m record.Meta, body []byte) error {
	was := s.before(d)
	err := s.Engine.Put(d, m, body)
	if err == nil {
		s.s.a.d.stored(s.s, d, "stores", was, version{m, body, true})
	}
	return err
}

// PutNewer implements plane.Engine.
func (s leavingStore) PutNewer(d *record.Digest, m record.Meta, body []byte) (bool, record.Meta, bool, error) {
	was := s.before(d)
	applied, old, existed, err := s.Engine.PutNewer(d, m, body)
	how := "has as new as"
	if applied {
		how = "takes"
	}
	s.s.a.d.stored(s.s, d, how, was, version{m, body, true})
	return applied, old, existed, err
}

// before is what the store holds, if an observer wants to know.
func (s leavingStore) before(d *record.Digest) (v version) {
	if s.s.a.d.ledger != nil {
		v.meta, v.ok = s.Engine.Meta(d)
	}
	return v
}
