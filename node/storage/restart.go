package storage

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"headroom/node/cluster"
	"headroom/node/disk"
	"headroom/node/planted"
	"headroom/node/record"
)

// Recovery says what opening the devices found.
type Recovery struct {
	Fresh   bool  // the devices were empty
	Clean   bool  // the last process closed them properly
	Warm    bool  // the index came from its file
	Records int64 // seen, all versions
	Torn    int   // places that the last crash left half written
	Corrupt int   // damaged places
	// LostSlots are devices that are gone or were replaced by empty ones; their
	// partitions are in LostPartitions.
	LostSlots      []int
	LostPartitions []int
	// Doubtful are the partitions of devices with damage that cannot be named
	// by record: an older version may have come back.
	Doubtful []int
}

// Recovery returns what Open found.
func (e *Engine) Recovery() Recovery {
	if e.log == nil {
		return Recovery{Fresh: true}
	}
	return e.log.recovery
}

func (e *Engine) openLog(cfg LogConfig) error {
	cfg = cfg.withDefaults()
	l := &log{cfg: cfg, lowWater: cfg.LowWater, volumes: make([]*volume, len(cfg.Devices)), buffers: new(sync.Pool), blocks: new(sync.Pool)}
	e.log = l
	if err := l.check(); err != nil {
		return err
	}
	st, err := l.loadState()
	if err != nil {
		return err
	}
	supers, err := l.loadSupers()
	if err != nil {
		return err
	}
	fresh, err := l.settle(st, supers)
	if err != nil {
		return err
	}
	for i, d := range cfg.Devices {
		if d != nil {
			l.volumes[i] = newVolume(l, i, d, cfg.WriteBlock)
			if s := supers[i]; s != nil {
				l.volumes[i].align = max(l.volumes[i].align, int(s.deviceBlock))
			}
		}
	}
	l.seq.Store((l.epoch + 1) << epochShift)
	warm := st != nil && st.phase == phaseClean
	l.recovery.Fresh, l.recovery.Clean = st == nil, warm
	if warm && !cfg.InMemory {
		warm = e.loadIndex() == nil // else the scan does it
	}
	if l.recovery.Warm = warm && !cfg.InMemory; !l.recovery.Warm {
		if err := e.scanAll(fresh); err != nil {
			return err
		}
	}
	e.afterScan()
	if err := l.begin(); err != nil {
		return err
	}
	return e.spread()
}

func (l *log) check() error {
	c := &l.cfg
	switch {
	case len(c.Devices) == 0 || len(c.Devices) > maxSlots:
		return fmt.Errorf("storage: %d devices, want 1 to %d", len(c.Devices), maxSlots)
	case c.Dir == nil || c.NewID == nil || c.Name == "" || len(c.Name) > record.MaxNamespace:
		return errors.New("storage: a log needs a name, a directory and a source of ids")
	case c.LowWater < 0 || c.LowWater > 90 || c.StopUsed < 0 || c.StopUsed > 100:
		return errors.New("storage: the low-water mark is 1 to 90 percent, the used mark 1 to 100")
	}
	there := 0
	for _, d := range c.Devices {
		if d == nil {
			continue
		}
		there++
		if c.WriteBlock%d.BlockSize() != 0 || c.WriteBlock < 2*d.BlockSize() || c.WriteBlock > maxWriteBlock {
			return fmt.Errorf("device %s: a write block of %d bytes is not a multiple of its blocks of %d, at most %d", d.Info().Path, c.WriteBlock, d.BlockSize(), maxWriteBlock)
		}
		if n := (d.Size() - volumeHeader) / int64(c.WriteBlock); n < minBlocks {
			return fmt.Errorf("device %s: %d bytes are too few, want %d (%d write blocks of %d); set a larger device-size or a smaller write-block-size",
				d.Info().Path, d.Size(), volumeHeader+minBlocks*c.WriteBlock, minBlocks, c.WriteBlock)
		}
	}
	if there == 0 {
		return fmt.Errorf("namespace %s: none of its devices can be opened", c.Name)
	}
	return nil
}

// loadSupers reads the newer good superblock of each device; nil where there
// is none at all.
func (l *log) loadSupers() ([]*superblock, error) {
	list := make([]*superblock, len(l.cfg.Devices))
	for i, d := range l.cfg.Devices {
		if d == nil {
			continue
		}
		path := d.Info().Path
		blank := true
		for half := range 2 {
			b := disk.Aligned(d.BlockSize())
			if err := d.ReadAt(b, int64(half)*volumeHeader/2); err != nil {
				return nil, fmt.Errorf("device %s: %w", path, err)
			}
			var s superblock
			ok, format := s.decode(b)
			blank = blank && zero(b)
			if ok && format != formatVersion {
				return nil, fmt.Errorf("device %s has format %d, this program reads %d: run the version that wrote it, or %s", path, format, formatVersion, emptyIt)
			}
			if ok && (list[i] == nil || list[i].epoch < s.epoch) {
				list[i] = &s
			}
		}
		if list[i] == nil && !blank {
			return nil, fmt.Errorf("device %s holds something that is not a headroom device, or its beginning is destroyed: choose another path, or %s", path, emptyIt)
		}
	}
	return list, nil
}

const emptyIt = "remove the file (of a block device, overwrite the first MiB with zeros) to start it empty and have the other nodes fill it"

// settle compares the devices with the state file and decides what set they
// are, or why they cannot be used.
func (l *log) settle(st *state, supers []*superblock) (fresh []bool, err error) {
	fresh = make([]bool, len(supers))
	if st == nil {
		for i, s := range supers {
			if s != nil {
				return nil, fmt.Errorf("device %s belongs to namespace %s of node %x, and %s in the data directory does not know it: put the right file back, or %s",
					l.cfg.Devices[i].Info().Path, s.name, s.node, l.stateName(), emptyIt)
			}
			fresh[i] = true
			if l.cfg.Devices[i] == nil {
				return nil, fmt.Errorf("namespace %s: its devices cannot all be opened, and it was never started: check their paths", l.cfg.Name)
			}
		}
		l.set, l.epoch = l.cfg.NewID(), 0
		for p := range l.homes {
			l.homes[p].Store(uint64(p % len(supers)))
		}
		return fresh, nil
	}
	if st.slots > len(supers) {
		return nil, fmt.Errorf("it has %d devices, the configuration has %d: give them all in the same order; further ones may follow, a broken one keeps its place (to have fewer, empty all of them and %s)",
			st.slots, len(supers), l.stateName())
	}
	l.set, l.epoch, l.failed = st.set, st.epoch, st.failed
	for p := range l.homes {
		l.homes[p].Store(st.homes[p])
	}
	for i, s := range supers {
		if i >= st.slots { // a further one
			if fresh[i] = true; s != nil {
				return nil, fmt.Errorf("device %s is to be added to namespace %s and belongs to namespace %s of node %x: choose another path, or %s", l.cfg.Devices[i].Info().Path, l.cfg.Name, s.name, s.node, emptyIt)
			}
			if l.cfg.Devices[i] == nil {
				return nil, fmt.Errorf("namespace %s: a device to be added (number %d) cannot be opened: check its path", l.cfg.Name, i+1)
			}
			continue
		}
		if s == nil { // gone, or an empty one in its place
			fresh[i] = true
			l.recovery.LostSlots = append(l.recovery.LostSlots, i)
			continue
		}
		if err := l.fits(st, i, s); err != nil {
			return nil, err
		}
	}
	return fresh, nil
}

// fits reports why the device in slot i cannot be the one that the state file
// knows.
func (l *log) fits(st *state, i int, s *superblock) error {
	d := l.cfg.Devices[i]
	path := d.Info().Path
	blocks := uint64(d.Size()-volumeHeader) / s.writeBlock
	switch {
	case s.set != st.set:
		return fmt.Errorf("device %s is foreign: it belongs to namespace %s of node %x: put the right one back, or %s", path, s.name, s.node, emptyIt)
	case int(s.slot) != i:
		return fmt.Errorf("device %s is number %d of its namespace and configured as number %d: restore the order of the devices", path, s.slot+1, i+1)
	case s.writeBlock != uint64(l.cfg.WriteBlock):
		return fmt.Errorf("device %s was made with write-block-size %d, the configuration says %d: restore it, or %s", path, s.writeBlock, l.cfg.WriteBlock, emptyIt)
	case int(s.deviceBlock) < d.BlockSize():
		return fmt.Errorf("device %s was made with blocks of %d bytes and now has blocks of %d: %s", path, s.deviceBlock, d.BlockSize(), emptyIt)
	case blocks < s.blocks:
		return fmt.Errorf("device %s is truncated: it had %d write blocks and has room for %d: restore it, or %s", path, s.blocks, blocks, emptyIt)
	case s.epoch > st.epoch:
		return fmt.Errorf("device %s was used (%d openings) after the data directory's %s was written (%d): put the right file back, or empty both", path, s.epoch, l.stateName(), st.epoch)
	case s.epoch < st.epoch && (st.phase != phaseOpening || s.epoch+1 < st.epoch) && !st.failed[i]:
		return fmt.Errorf("device %s is an older copy: opening %d of %d; put the newest back, or %s", path, s.epoch, st.epoch, emptyIt)
	}
	return nil
}

// begin starts an epoch: the state file announces it, the superblocks get it,
// the state file confirms it. A crash in between is told from an old copy.
func (l *log) begin() error {
	l.saveMu.Lock()
	defer l.saveMu.Unlock()
	l.epoch++
	if err := l.putStateLocked(phaseOpening); err != nil {
		return err
	}
	for i, v := range l.volumes {
		if v == nil {
			continue
		}
		s := superblock{set: l.set, node: l.cfg.Node, epoch: l.epoch, slot: uint16(i), slots: uint16(len(l.volumes)), deviceBlock: uint32(v.align),
			writeBlock: uint64(v.size), blocks: uint64(len(v.blocks)), name: l.cfg.Name}
		b := disk.Aligned(v.align)
		copy(b, s.encode())
		err := v.dev.WriteAt(b, int64(l.epoch%2)*volumeHeader/2)
		if err == nil {
			err = v.dev.Sync()
		}
		if err != nil {
			return fmt.Errorf("device %s: %w", v.dev.Info().Path, err)
		}
		l.failed[i] = false
	}
	return l.putStateLocked(phaseOpen)
}

// scanner reads all blocks of all devices and enters the newest version of
// each record.
type scanner struct {
	e       *Engine
	volumes []*volume
	next    atomic.Int64 // block to read, counted over all volumes
	last    int64
	records atomic.Int64
	mu      sync.Mutex // guards all below
	found   []map[uint32]findings
	err     error
}

// scanMost bounds the goroutines of a scan, each of which holds a block.
const scanMost = 32

// scanAll rebuilds the index from the devices' blocks. It reads all devices at
// once, with more goroutines than processors: some wait while others compute.
func (e *Engine) scanAll(fresh []bool) error {
	s := &scanner{e: e, found: make([]map[uint32]findings, len(e.log.volumes))}
	most := 0
	for i, v := range e.log.volumes {
		s.found[i] = map[uint32]findings{}
		if v != nil && !fresh[i] {
			s.volumes = append(s.volumes, v)
			most = max(most, len(v.blocks))
		}
	}
	s.last = int64(most * len(s.volumes))
	workers := min(max(2*runtime.GOMAXPROCS(0), len(s.volumes)), scanMost)
	if e.log.cfg.Serial {
		workers = 1
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(s.work)
	}
	wg.Wait()
	if s.err != nil {
		return s.err
	}
	for i, v := range e.log.volumes {
		if v == nil {
			continue
		}
		for n := range v.blocks {
			v.live += int64(v.blocks[n].live)
		}
		e.judge(v, s.found[i])
	}
	e.log.recovery.Records = s.records.Load()
	return nil
}

// work reads one block after the other, a block of each device in turn.
func (s *scanner) work() {
	w := scanWorker{s: s, loader: loader{e: s.e}}
	defer w.end()
	var data []byte
	for {
		job := s.next.Add(1) - 1
		if job >= s.last {
			return
		}
		v, n := s.volumes[job%int64(len(s.volumes))], job/int64(len(s.volumes))
		if n >= int64(len(v.blocks)) {
			continue
		}
		if len(data) < v.size {
			data = disk.Aligned(v.size)
		}
		f, err := w.block(v, uint32(n), data[:v.size])
		if !s.note(v, uint32(n), f, err) {
			return
		}
	}
}

// note keeps what was found of a block. It reports whether to go on.
func (s *scanner) note(v *volume, n uint32, f findings, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("device %s: %w", v.dev.Info().Path, err)
	}
	if f.used {
		s.found[v.slot][n] = f
	}
	return s.err == nil
}

// scanWorker is one of a scan's goroutines.
type scanWorker struct {
	s *scanner
	loader
	seen  int64
	dense bool // the last block was in use: read the next one whole
	err   error
}

func (w *scanWorker) end() {
	w.loader.end()
	w.s.records.Add(w.seen)
}

// block reads one block, if its first or last device block is not empty.
func (w *scanWorker) block(v *volume, n uint32, data []byte) (findings, error) {
	there, err := w.read(v, n, data)
	if w.dense = there; err != nil || !there {
		return findings{}, err
	}
	var h blockHead
	if h.parse(data, blockMagic) || h.parse(data[v.size-headerSize:], endMagic) {
		v.blocks[n].seq = h.seq // the worker that reads it is the only one to touch it
	}
	f := walk(data, w.e.log.set, v.slot, n, v.align, func(r *stored, at int) { w.enter(v, n, h.seq, r, at) })
	if !f.used {
		v.blocks[n].seq = 0
	}
	return f, w.err
}

// read fills data with a block, or reports that it was never filled.
func (w *scanWorker) read(v *volume, n uint32, data []byte) (there bool, err error) {
	if w.dense {
		if err := v.dev.ReadAt(data, v.base(n)); err != nil {
			return false, err
		}
		return !zero(data[:v.align]) || !zero(data[v.size-v.align:]), nil
	}
	a := v.align
	if err := v.dev.ReadAt(data[:a], v.base(n)); err != nil {
		return false, err
	}
	if zero(data[:a]) {
		if err := v.dev.ReadAt(data[v.size-a:], v.base(n)+int64(v.size-a)); err != nil {
			return false, err
		}
		if zero(data[v.size-a:]) {
			return false, nil
		}
	}
	return true, v.dev.ReadAt(data[a:], v.base(n)+int64(a))
}

// enter takes a record into the index if it is the newest of its digest; of
// two copies of one version the one in the later filling.
func (w *scanWorker) enter(v *volume, n uint32, seq uint64, r *stored, at int) {
	w.seen++
	e := w.e
	p := r.digest.Partition()
	for seen := &e.log.seen[p]; ; {
		if old := seen.Load(); r.lineage <= old || seen.CompareAndSwap(old, r.lineage) {
			break
		}
	}
	if h := e.log.homes[p].Load(); uint32(h>>8) != r.lineage || uint16(uint8(h)) != v.slot {
		return
	}
	sh := &e.shards[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, en := e.find(sh, &r.digest)
	if en != nil {
		old := en.version()
		newer := r.meta.Version.Newer(old)
		if r.meta.Version == old {
			_, b, _ := splitLoc(e.device(en.loc))
			newer = seq > v.blocks[b].seq
		}
		if !newer {
			en.flags |= flagPast
			return
		}
	}
	if err := w.pointLocked(p, en, r, makeLoc(v.slot, n, at)); err != nil && w.err == nil {
		w.err = err
	}
}

// pointLocked points the index to a record that was found. Blocks are counted
// without their volume's lock: nobody else looks at them yet.
func (w *scanWorker) pointLocked(p int, en *entry, r *stored, at uint64) (err error) {
	e, loc := w.e, at
	if e.log.cfg.InMemory {
		if loc, err = e.newSlot(r.body, at, true); err != nil {
			return err
		}
	}
	e.log.countLive(at, recordSpan(len(r.body)))
	if en == nil {
		return w.enterLocked(p, r, loc)
	}
	e.countLocked(p, en, -1)
	e.log.countLive(e.device(en.loc), -recordSpan(int(en.size)))
	e.freeSlot(en.loc, en.size)
	en.setMeta(&r.meta)
	en.loc, en.size = loc, uint32(len(r.body))
	en.flags |= flagPast
	e.countLocked(p, en, 1)
	return nil
}

// countLive adds to the live bytes of the block at a location, beside others
// that do.
func (l *log) countLive(at uint64, bytes int) {
	slot, n, _ := splitLoc(at)
	atomic.AddUint32(&l.volumes[slot].blocks[n].live, uint32(bytes))
}

// judge tells damage from what a crash may leave: a block that a later one
// knew to be whole must be so, and a filling that a later one followed must be
// there.
func (e *Engine) judge(v *volume, found map[uint32]findings) {
	// By epoch: what an older crash left torn stays so. The last epoch may have
	// left no header at all, and still parts of blocks.
	newest := e.log.epoch << epochShift
	wholes := map[uint64]uint64{e.log.epoch: newest}
	for _, f := range found {
		epoch := f.head.seq >> epochShift
		wholes[epoch] = max(wholes[epoch], f.head.synced)
		newest = max(newest, f.head.seq)
	}
	if e.log.recovery.Clean {
		wholes[e.log.epoch] = ^uint64(0)
	}
	corrupt, torn := 0, 0
	for n, f := range found {
		whole := wholes[f.head.seq>>epochShift]
		bad := f.gaps
		if f.head.seq < whole && !f.closed {
			bad = max(bad, 1)
		}
		if bad > 0 && f.head.seq < whole && (f.over || e.inFlight(v, n, f, wholes[newest>>epochShift], newest)) {
			torn++ // its records were all superseded before it was overwritten
			continue
		}
		if f.head.prevSeq != 0 && f.head.prevSeq < whole && v.blocks[f.head.prev].seq < f.head.prevSeq {
			corrupt++
		}
		if planted.Is(planted.TornIsDamage) || f.head.seq < whole {
			corrupt += bad
		} else {
			torn += bad
		}
	}
	e.log.recovery.Torn += torn
	e.log.recovery.Corrupt += corrupt
	v.stats.Corrupt += uint64(corrupt)
	if corrupt > 0 {
		for p := range cluster.Partitions {
			if uint16(uint8(e.log.homes[p].Load())) == v.slot {
				e.log.recovery.Doubtful = append(e.log.recovery.Doubtful, p)
			}
		}
	}
}

// inFlight reports whether block n was being overwritten when the last crash
// came, by a filling whose header did not reach the medium: one of those that
// were not known to be whole, or were begun after the newest one found.
func (e *Engine) inFlight(v *volume, n uint32, f findings, whole, newest uint64) bool {
	data, err := v.readBlock(n)
	if err != nil {
		return false
	}
	defer v.giveBlock(data)
	const most = 256 // more than maxQueue has blocks
	return f.head.replaced(data, whole, min(newest-whole, most)+most)
}

// afterScan sorts the blocks into used, victims and free ones, oldest first,
// and voids what the partitions of lost devices had.
func (e *Engine) afterScan() {
	l := e.log
	for _, v := range l.volumes {
		if v == nil {
			continue
		}
		order := make([]uint32, len(v.blocks))
		for i := range order {
			order[i] = uint32(i)
		}
		slices.SortStableFunc(order, func(a, b uint32) int { return cmp.Compare(v.blocks[a].seq, v.blocks[b].seq) })
		for _, n := range order {
			if v.blocks[n].live == 0 {
				v.blocks[n].state = blockFree
				v.free = append(v.free, n)
				continue
			}
			v.blocks[n].state = blockUsed
			v.judgeLocked(n)
		}
	}
	for _, slot := range l.recovery.LostSlots {
		for p := range cluster.Partitions {
			if uint8(l.homes[p].Load()) == uint8(slot) {
				l.renew(p)
				l.recovery.LostPartitions = append(l.recovery.LostPartitions, p)
			}
		}
	}
}

func (e *Engine) closeDevices() (err error) {
	if e.log == nil {
		return nil
	}
	for _, d := range e.log.cfg.Devices {
		if d != nil {
			err = errors.Join(err, d.Close())
		}
	}
	return err
}

// Shutdown makes everything durable, stores the index so that the next Open
// need not read the devices, and closes the engine. Nothing may be put any
// more. After an error the next Open scans.
func (e *Engine) Shutdown() error {
	err := e.shutdown()
	return errors.Join(err, e.Close())
}

func (e *Engine) shutdown() error {
	l := e.log
	if l == nil {
		return nil
	}
	for _, v := range l.volumes {
		if v != nil {
			v.mu.Lock()
			for why, b := range v.open {
				if b != nil {
					v.closeLocked(b, purpose(why))
				}
			}
			v.mu.Unlock()
		}
	}
	if err := e.Flush(); err != nil {
		return err
	}
	if !l.cfg.InMemory {
		if err := e.storeIndex(); err != nil {
			return err
		}
	}
	l.saveMu.Lock()
	defer l.saveMu.Unlock()
	return l.putStateLocked(phaseClean)
}
