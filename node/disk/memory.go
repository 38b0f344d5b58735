package disk

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
)

// pageBytes is the unit in which Memory takes memory: a device of a terabyte
// of which little is written costs little.
const pageBytes = 64 << 10

// Memory is a device in memory that remembers which of its blocks were
// synced, so that a crash can be had at any moment.
type Memory struct {
	info  Info
	size  int64
	block int

	mu      sync.Mutex // guards all below
	durable map[int64][]byte
	newer   map[int64][]byte // by block number, not synced
	pending []write          // not synced, in order
	closed  bool
}

// write is one block that was written and not synced.
type write struct {
	at   int64 // block number
	data []byte
}

// NewMemory returns a device of size bytes of zeros in blocks of block bytes,
// a power of two not above 64 KiB.
func NewMemory(name string, size int64, block int) *Memory {
	return &Memory{info: Info{Path: name, Kind: "memory"}, size: size - size%int64(block), block: block,
		durable: map[int64][]byte{}, newer: map[int64][]byte{}}
}

// ReadAt implements Device.
func (m *Memory) ReadAt(p []byte, off int64) error {
	if err := check(m, len(p), off); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	for i := 0; i < len(p); i += m.block {
		to, at := p[i:i+m.block], off+int64(i)
		if b, ok := m.newer[at/int64(m.block)]; ok {
			copy(to, b)
		} else if pg := m.durable[at/pageBytes]; pg != nil {
			copy(to, pg[at%pageBytes:])
		} else {
			clear(to)
		}
	}
	return nil
}

// WriteAt implements Device.
func (m *Memory) WriteAt(p []byte, off int64) error {
	if err := check(m, len(p), off); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	for i := 0; i < len(p); i += m.block {
		w := write{at: (off + int64(i)) / int64(m.block), data: slices.Clone(p[i : i+m.block])}
		m.newer[w.at] = w.data
		m.pending = append(m.pending, w)
	}
	return nil
}

// Sync implements Device.
func (m *Memory) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	for at, b := range m.newer {
		m.applyLocked(at, b)
	}
	clear(m.newer)
	m.pending = m.pending[:0]
	return nil
}

func (m *Memory) applyLocked(block int64, b []byte) {
	at := block * int64(m.block)
	pg := m.durable[at/pageBytes]
	if pg == nil {
		pg = make([]byte, pageBytes)
		m.durable[at/pageBytes] = pg
	}
	copy(pg[at%pageBytes:], b)
}

// Crashed returns the device as it may be found after a crash at this moment:
// keep decides, for each block written since the last Sync in the order of
// writing, whether it reached the medium; nil keeps none. The device itself
// goes on as if nothing had happened.
func (m *Memory) Crashed(keep func() bool) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMemory(m.info.Path, m.size, m.block)
	for at, pg := range m.durable {
		c.durable[at] = slices.Clone(pg)
	}
	for _, w := range m.pending {
		if keep != nil && keep() {
			c.applyLocked(w.at, w.data)
		}
	}
	return c
}

// Damage flips one bit of what lies at off on the medium, as a bad cell does.
// It reports false if nothing was ever synced there.
func (m *Memory) Damage(off int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	pg := m.durable[off/pageBytes]
	if pg == nil {
		return false
	}
	pg[off%pageBytes] ^= 0x10
	return true
}

// Size implements Device.
func (m *Memory) Size() int64 { return m.size }

// BlockSize implements Device.
func (m *Memory) BlockSize() int { return m.block }

// Info implements Device.
func (m *Memory) Info() Info { return m.info }

// Close implements Device. What was not synced stays so.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// MemoryDir is a directory in memory whose crashes can be chosen, too.
type MemoryDir struct {
	mu      sync.Mutex // guards all below, and all in its files
	now     map[string]*memoryFile
	durable map[string]*memoryFile
}

// NewMemoryDir returns an empty directory.
func NewMemoryDir() *MemoryDir {
	return &MemoryDir{now: map[string]*memoryFile{}, durable: map[string]*memoryFile{}}
}

type memoryFile struct {
	dir    *MemoryDir
	data   []byte
	synced int // of data, durable
}

// Create implements Dir.
func (d *MemoryDir) Create(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &memoryFile{dir: d}
	d.now[name] = f
	return f, nil
}

// Open implements Dir.
func (d *MemoryDir) Open(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.now[name]
	if f == nil {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return f, nil
}

// Rename implements Dir.
func (d *MemoryDir) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.now[from]
	if f == nil {
		return fmt.Errorf("rename %s: %w", from, fs.ErrNotExist)
	}
	delete(d.now, from)
	d.now[to] = f
	return nil
}

// Remove implements Dir.
func (d *MemoryDir) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now[name] == nil {
		return fmt.Errorf("remove %s: %w", name, fs.ErrNotExist)
	}
	delete(d.now, name)
	return nil
}

// Sync implements Dir.
func (d *MemoryDir) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.durable)
	for name, f := range d.now {
		d.durable[name] = f
	}
	return nil
}

// Crashed returns the directory as it may be found after a crash at this
// moment. keep decides whether what was not synced is there: asked once for
// the names, then, in the order of names, for the rest of each file; nil
// keeps nothing.
func (d *MemoryDir) Crashed(keep func() bool) *MemoryDir {
	d.mu.Lock()
	defer d.mu.Unlock()
	from := d.durable
	if keep != nil && keep() {
		from = d.now
	}
	names := make([]string, 0, len(from))
	for name := range from {
		names = append(names, name)
	}
	slices.Sort(names)
	c := NewMemoryDir()
	for _, name := range names {
		f := from[name]
		n := f.synced
		if n < len(f.data) && keep != nil && keep() {
			n = len(f.data)
		}
		g := &memoryFile{dir: c, data: slices.Clone(f.data[:n]), synced: n}
		c.now[name], c.durable[name] = g, g
	}
	return c
}

// Write implements File.
func (f *memoryFile) Write(p []byte) (int, error) {
	f.dir.mu.Lock()
	defer f.dir.mu.Unlock()
	f.data = append(f.data, p...)
	return len(p), nil
}

// ReadAt implements File.
func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	f.dir.mu.Lock()
	defer f.dir.mu.Unlock()
	if off < 0 || off > int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Size implements File.
func (f *memoryFile) Size() int64 {
	f.dir.mu.Lock()
	defer f.dir.mu.Unlock()
	return int64(len(f.data))
}

// Sync implements File.
func (f *memoryFile) Sync() error {
	f.dir.mu.Lock()
	defer f.dir.mu.Unlock()
	f.synced = len(f.data)
	return nil
}

// Close implements File.
func (f *memoryFile) Close() error { return nil }
