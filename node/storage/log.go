package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"sync"
	"sync/atomic"

	"headroom/node/cluster"
	"headroom/node/disk"
	"headroom/node/record"
)

// Errors of an engine with devices, beside those of memory.
var (
	ErrOverload   error = overload{}
	ErrDeviceFull       = errors.New("storage: stop writes: the device has no room; delete, add nodes, or use larger devices")
	errDamaged          = errors.New("storage: record is damaged")
	errState            = errors.New("storage: state file")
)

// LogConfig describes the devices of an engine.
type LogConfig struct {
	Name    string // of the namespace; at most 31 bytes
	Node    uint64
	Devices []disk.Device // nil where one could not be opened: its partitions are lost
	Dir     disk.Dir      // keeps NAME.volume and NAME.index

	WriteBlock  int  // bytes; a multiple of every device's block size up to 8 MiB; zero: 1 MiB
	LowWater    int  // percent of live bytes below which a block is defragmented; zero: 50
	StopUsed    int  // percent of live bytes above which writes stop; zero: 70
	InMemory    bool // bodies are kept in memory too, and the devices read at restart only
	Serial      bool // restart reads one block after the other, for simulations
	NewID       func() uint64
	Failed      func(slot int, err error) // a device was given up; called once each, must not block
	Damaged     func(d record.Digest)     // a record was found damaged; must not block
	MadeDurable func()                    // more is durable; must not block
}

// overload is the error of a write that may succeed a moment later.
type overload struct{}

// Error implements error.
func (overload) Error() string {
	return "storage: device overload: more waits to be written than its queue holds; slow down, or add devices"
}

// Retryable tells those who do not know this package that nothing was done
// and that trying again makes sense.
func (overload) Retryable() bool { return true }

// DefaultStopUsed is the percentage of a device's room in use above which
// writes stop: beyond it defragmentation moves more than it frees.
const DefaultStopUsed = 70

const (
	defaultWriteBlock = 1 << 20
	maxWriteBlock     = 8 << 20
	defaultLowWater   = 50
	maxSlots          = 128
	noSlot            = 0xff
)

func (c LogConfig) withDefaults() LogConfig {
	if c.WriteBlock == 0 {
		c.WriteBlock = defaultWriteBlock
	}
	if c.LowWater == 0 {
		c.LowWater = defaultLowWater
	}
	if c.StopUsed == 0 {
		c.StopUsed = DefaultStopUsed
	}
	return c
}

// log is the devices of an engine. Each partition has a home, the device that
// its records are appended to.
type log struct {
	cfg      LogConfig
	lowWater int
	set      uint64
	epoch    uint64
	seq      atomic.Uint64
	appended atomic.Uint64 // records appended to any device
	volumes  []*volume     // nil: not there
	// homes holds, for each partition, how often it was dropped << 8 | slot.
	// It changes under the shard's lock; saveState reads it without.
	homes [cluster.Partitions]atomic.Uint64
	// seen is the highest lineage that a scan met, also of records that do not
	// count; zero after a warm start, which finds none such.
	seen [cluster.Partitions]atomic.Uint32

	saveMu  sync.Mutex // guards the state file and saved; taken before all others
	changed atomic.Uint64
	saved   uint64
	failed  [maxSlots]bool
	// The runtime holds every Pool that was used until the second collection after
	// that: inside of this struct it would hold the whole engine. The simulator, which
	// opens thousands, came to 6 GB.
	buffers  *sync.Pool // of smallBuffer bytes
	blocks   *sync.Pool // of WriteBlock bytes
	recovery Recovery
}

func (l *log) nextSeq() uint64 { return l.seq.Add(1) }

// kick tells that there is something to write, to sync or to defragment.
func (l *log) kick(v *volume) {
	signal(v.wake)
	signal(v.due)
	signal(v.sparse)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (l *log) durable(*volume) {
	if l.cfg.MadeDurable != nil {
		l.cfg.MadeDurable()
	}
}

// smallBuffer is enough for a record of some KiB; longer ones take a block's.
const smallBuffer = 16 << 10

func (l *log) pool(n int) (pool *sync.Pool, size int) {
	if n <= smallBuffer {
		return l.buffers, smallBuffer
	}
	return l.blocks, max(n, l.cfg.WriteBlock)
}

// takeBuffer returns at least n bytes that any device accepts.
func (l *log) takeBuffer(n int) *[]byte {
	pool, size := l.pool(n)
	if b, ok := pool.Get().(*[]byte); ok {
		return b
	}
	b := disk.Aligned(size)
	return &b
}

func (l *log) giveBuffer(b *[]byte) {
	*b = (*b)[:cap(*b)]
	pool, _ := l.pool(len(*b))
	pool.Put(b)
}

// Home is the number of the device that partition p's records are on, zero for
// an engine without devices.
func (e *Engine) Home(p int) int {
	if e.log == nil {
		return 0
	}
	if slot := uint8(e.log.homes[p].Load()); slot != noSlot {
		return int(slot)
	}
	return 0
}

func (l *log) home(p int) (v *volume, lineage uint32) {
	h := l.homes[p].Load()
	if slot := uint8(h); slot != noSlot {
		v = l.volumes[slot]
	}
	return v, uint32(h >> 8)
}

// append puts a record into the log of its partition's device.
func (l *log) append(d *record.Digest, m *record.Meta, body []byte, why purpose) (uint64, error) {
	v, lineage := l.home(d.Partition())
	if v == nil {
		return 0, &DeviceError{Path: "of " + l.cfg.Name, Err: errors.New("all devices failed")}
	}
	r := stored{digest: *d, meta: *m, lineage: lineage, body: body}
	return v.append(&r, why)
}

func (l *log) release(loc uint64, size uint32) {
	slot, _, _ := splitLoc(loc)
	l.volumes[slot].release(loc, size)
}

// renew makes what is stored of a partition so far void, and gives it the
// home it would have had, if that device is well.
func (l *log) renew(p int) {
	h := l.homes[p].Load()
	slot := uint8(h)
	if well := l.healthy(); len(well) > 0 {
		want := uint8(p % len(l.volumes))
		if v := l.volumes[want]; v == nil || v.broken() {
			want = well[p%len(well)]
		}
		slot = want
	}
	l.homes[p].Store(uint64(l.nextLineage(p))<<8 | uint64(slot))
	l.changed.Add(1)
}

func (l *log) healthy() []uint8 {
	var list []uint8
	for i, v := range l.volumes {
		if v != nil && !v.broken() {
			list = append(list, uint8(i))
		}
	}
	return list
}

func (v *volume) broken() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.failed != nil
}

// The state file NAME.volume:
//
//	0         8       12      16    24      32     36     40     44
//	| HDRMVOL | crc32c| format| set | epoch | phase| slots| failed ... one byte per slot | homes, 4096 u64
//	| 8       | u32   | u32   | u64 | u64   | u32  | u32  |
//
// Phase: 1 the superblocks are being written with this epoch, 2 in use, 3
// closed and NAME.index is good.
const (
	stateMagic   = "HDRMVOL\x00"
	stateSize    = 40 + maxSlots + 8*cluster.Partitions
	phaseOpening = 1
	phaseOpen    = 2
	phaseClean   = 3
)

func (l *log) encodeState(phase uint32) []byte {
	b := make([]byte, stateSize)
	copy(b, stateMagic)
	binary.LittleEndian.PutUint32(b[12:], formatVersion)
	binary.LittleEndian.PutUint64(b[16:], l.set)
	binary.LittleEndian.PutUint64(b[24:], l.epoch)
	binary.LittleEndian.PutUint32(b[32:], phase)
	binary.LittleEndian.PutUint32(b[36:], uint32(len(l.volumes)))
	for i, f := range l.failed {
		if f {
			b[40+i] = 1
		}
	}
	for p := range l.homes {
		binary.LittleEndian.PutUint64(b[40+maxSlots+8*p:], l.homes[p].Load())
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[12:], castagnoli))
	return b
}

// state is what the state file said.
type state struct {
	set, epoch uint64
	phase      uint32
	slots      int
	failed     [maxSlots]bool
	homes      [cluster.Partitions]uint64
}

func decodeState(b []byte) (*state, error) {
	if len(b) != stateSize || string(b[:8]) != stateMagic {
		return nil, fmt.Errorf("%w is not one, or truncated", errState)
	}
	if binary.LittleEndian.Uint32(b[8:]) != crc32.Checksum(b[12:], castagnoli) {
		return nil, fmt.Errorf("%w is damaged", errState)
	}
	if f := binary.LittleEndian.Uint32(b[12:]); f != formatVersion {
		return nil, fmt.Errorf("%w has format %d, this program reads %d", errState, f, formatVersion)
	}
	s := &state{set: binary.LittleEndian.Uint64(b[16:]), epoch: binary.LittleEndian.Uint64(b[24:]),
		phase: binary.LittleEndian.Uint32(b[32:]), slots: int(binary.LittleEndian.Uint32(b[36:]))}
	for i := range s.failed {
		s.failed[i] = b[40+i] == 1
	}
	for p := range s.homes {
		s.homes[p] = binary.LittleEndian.Uint64(b[40+maxSlots+8*p:])
	}
	return s, nil
}

func (l *log) loadState() (*state, error) {
	b, err := disk.ReadFile(l.cfg.Dir, l.stateName(), stateSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := decodeState(b)
	if err != nil {
		return nil, fmt.Errorf("%w (%s); put the right file back, or remove it and the devices' files to start empty and be filled by the other nodes", err, l.stateName())
	}
	return s, nil
}

func (l *log) stateName() string { return l.cfg.Name + ".volume" }
func (l *log) indexName() string { return l.cfg.Name + ".index" }

// saveState makes dropped partitions durable, if any were dropped since.
func (l *log) saveState() error {
	if l.changed.Load() == atomic.LoadUint64(&l.saved) {
		return nil
	}
	l.saveMu.Lock()
	defer l.saveMu.Unlock()
	return l.putStateLocked(phaseOpen)
}

func (l *log) putStateLocked(phase uint32) error {
	v := l.changed.Load()
	if err := disk.Rewrite(l.cfg.Dir, l.stateName(), l.encodeState(phase)); err != nil {
		return fmt.Errorf("store %s: %w", l.stateName(), err)
	}
	atomic.StoreUint64(&l.saved, v)
	return nil
}
