package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"headroom/node/disk/ring"
)

// Options of Open.
type Options struct {
	// Size to create a file with, or to grow it to, in bytes; rounded down to
	// whole blocks. Zero takes what is there. A block device has its own size;
	// a smaller Size uses only its beginning.
	Size int64
	// Buffered goes through the page cache, for comparison. Without it a file
	// system that has no O_DIRECT (some kernels' tmpfs) is used buffered, too.
	Buffered bool
	// Threads lets requests wait in threads even where the system has an
	// io_uring, for comparison.
	Threads bool
}

// minBlock is the smallest unit of writing: a drive with 4 KiB sectors that
// pretends to have 512-byte ones reads and rewrites the neighbours of a small
// write, which a power cut may then destroy.
const minBlock = 4096

// maxBlock bounds what a device may claim to need.
const maxBlock = 64 << 10

// osDevice is a file or a block device.
type osDevice struct {
	f     *os.File
	ring  *ring.Ring // nil where the system has none: requests wait in threads then
	info  Info
	size  int64
	block int

	mu     sync.Mutex // guards the two below
	users  int        // requests under way
	closed bool       // the last of them frees the device
}

// Open opens a file, creating it if Size is set, or a block device, for this
// process alone. Files are preallocated, so that later writes cannot run out
// of space. Errors wrap ErrInUse, ErrNotDisk, ErrTooFew or the system's.
func Open(path string, o Options) (Device, error) {
	flags := os.O_RDWR
	if o.Size > 0 {
		flags |= os.O_CREATE
	}
	f, err := openDirect(path, flags, o.Buffered)
	if err != nil {
		return nil, err
	}
	d := &osDevice{f: f, info: Info{Path: path, Kind: "file"}}
	if err := d.prepare(o); err != nil {
		f.Close()
		return nil, fmt.Errorf("device %s: %w", path, err)
	}
	if o.Threads {
		return d, nil
	}
	if r, err := ring.New(int(f.Fd()), lanes()); err == nil {
		d.ring = r
	}
	return d, nil
}

// lanes is how many reads of a device may wait in threads: one scheduler slot
// has to stay, or nobody looks after the network. (With a lane for each of two
// one datagram in ten waited 6 ms, with one lane as long as without any.)
func lanes() int { return runtime.GOMAXPROCS(0) - 1 }

const (
	// lockWait is how long a device may seem to be in use: the kernel takes the
	// ring of a killed process apart after the process is gone, and only then
	// lets go of its files.
	lockWait = 3 * time.Second
	lockTry  = 10 * time.Millisecond
)

// lock takes the device for this process alone.
func (d *osDevice) lock() error {
	for waited := time.Duration(0); ; waited += lockTry {
		err := unix.Flock(int(d.f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || waited >= lockWait {
			return err
		}
		time.Sleep(lockTry)
	}
}

func openDirect(path string, flags int, buffered bool) (*os.File, error) {
	if st, err := os.Stat(path); err == nil && st.Mode()&os.ModeDevice != 0 {
		flags &^= os.O_CREATE
		flags |= unix.O_EXCL // refused while mounted
	}
	if buffered {
		return os.OpenFile(path, flags, 0o600)
	}
	f, err := os.OpenFile(path, flags|unix.O_DIRECT, 0o600)
	if errors.Is(err, unix.EINVAL) {
		return os.OpenFile(path, flags, 0o600)
	}
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("device %s is mounted or in use: %w", path, ErrInUse)
	}
	return f, err
}

func (d *osDevice) prepare(o Options) error {
	st, err := d.f.Stat()
	if err != nil {
		return err
	}
	if err := d.lock(); err != nil {
		return fmt.Errorf("%w: stop it, or choose another path (%w)", ErrInUse, err)
	}
	d.block = max(minBlock, directAlign(d.f))
	if d.block > maxBlock || d.block&(d.block-1) != 0 {
		return fmt.Errorf("it wants blocks of %d bytes, at most %d and a power of two work", d.block, maxBlock)
	}
	switch {
	case st.Mode().IsRegular():
		return d.sizeFile(st.Size(), o.Size)
	case st.Mode()&os.ModeDevice != 0 && st.Mode()&os.ModeCharDevice == 0:
		d.info.Kind = "block"
		return d.sizeBlock(o.Size)
	}
	return ErrNotDisk
}

// directAlign asks what alignment direct I/O needs; 0 if the system cannot
// say.
func directAlign(f *os.File) int {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st); err != nil || st.Mask&unix.STATX_DIOALIGN == 0 {
		return 0
	}
	align := int(st.Dio_offset_align)
	if physical, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKPBSZGET); err == nil {
		align = max(align, physical)
	}
	return align
}

func (d *osDevice) sizeFile(have, want int64) error {
	want -= want % int64(d.block)
	if want == 0 {
		d.size = have - have%int64(d.block)
		return nil
	}
	d.size = want
	if have >= want {
		d.size = have - have%int64(d.block) // never shrinks: the end may hold records
		return nil
	}
	err := unix.Fallocate(int(d.f.Fd()), 0, 0, want)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = d.zeros(have, want)
	}
	if errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("the file system has no room for %d bytes: free some, or configure a smaller device-size (%w)", want, err)
	}
	if err != nil {
		return fmt.Errorf("allocate %d bytes: %w", want, err)
	}
	return d.f.Sync()
}

// zeros allocates a file from have to want bytes where the system cannot, so
// that a full file system is met now and not by a write that somebody waits for.
func (d *osDevice) zeros(have, want int64) error {
	from := have - have%int64(d.block)
	b := Aligned(1 << 20)
	for at := from; at < want; at += int64(len(b)) {
		n := min(int64(len(b)), want-at)
		if at == from && have > from { // the end of what is there
			n = int64(d.block)
			if _, err := d.f.ReadAt(b[:n], at); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		if _, err := d.f.WriteAt(b[:n], at); err != nil {
			return errors.Join(err, d.f.Truncate(have))
		}
		if at == from && have > from {
			clear(b[:n])
			at += n - int64(len(b))
		}
	}
	return nil
}

func (d *osDevice) sizeBlock(want int64) error {
	n, err := d.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if want > n {
		return fmt.Errorf("%w: it has %d bytes, device-size says %d", ErrTooFew, n, want)
	}
	if want > 0 {
		n = want
	}
	d.size = n - n%int64(d.block)
	return nil
}

// ReadAt implements Device.
func (d *osDevice) ReadAt(p []byte, off int64) error {
	if d.ring != nil {
		return d.serve(p, off, d.ring.Read)
	}
	return d.serve(p, off, d.f.ReadAt)
}

// WriteAt implements Device.
func (d *osDevice) WriteAt(p []byte, off int64) error {
	if d.ring != nil {
		return d.serve(p, off, d.ring.Write)
	}
	return d.serve(p, off, d.f.WriteAt)
}

// serve calls do until all of p is done.
func (d *osDevice) serve(p []byte, off int64, do func(p []byte, off int64) (int, error)) error {
	if err := check(d, len(p), off); err != nil {
		return err
	}
	if !d.enter() {
		return ErrClosed
	}
	defer d.leave()
	for len(p) > 0 {
		n, err := do(p, off)
		switch {
		case errors.Is(err, unix.EINTR):
		case err == nil && n == 0, errors.Is(err, io.EOF):
			return fmt.Errorf("%s at %d: the file was cut short: %w", d.info.Path, off, unix.EIO)
		case err != nil:
			return fmt.Errorf("%s at %d: %w", d.info.Path, off, err)
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// Sync implements Device.
func (d *osDevice) Sync() error {
	if !d.enter() {
		return ErrClosed
	}
	defer d.leave()
	err := error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		if d.ring != nil {
			err = d.ring.Sync()
		} else {
			err = unix.Fdatasync(int(d.f.Fd()))
		}
	}
	if err != nil {
		return fmt.Errorf("sync %s: %w", d.info.Path, err)
	}
	return nil
}

// enter notes a request, and reports false if the device is closed.
func (d *osDevice) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.users++
	}
	return !d.closed
}

func (d *osDevice) leave() {
	d.mu.Lock()
	d.users--
	last := d.closed && d.users == 0
	d.mu.Unlock()
	if last {
		_ = d.free() // nobody is left to tell: Close has returned
	}
}

// Close implements Device. Requests under way end as they would; the last one
// frees the file, which stays locked for this process until then.
func (d *osDevice) Close() error {
	d.mu.Lock()
	free := !d.closed && d.users == 0
	d.closed = true
	d.mu.Unlock()
	if free {
		return d.free()
	}
	return nil
}

func (d *osDevice) free() error {
	var err error
	if d.ring != nil {
		err = d.ring.Close()
	}
	if errors.Is(err, ring.ErrAbandoned) {
		return nil // what is under way may write to the file yet: nobody else may have it
	}
	// The kernel takes a closed ring apart later, and with it lets the file go.
	_ = unix.Flock(int(d.f.Fd()), unix.LOCK_UN)
	return errors.Join(err, d.f.Close())
}

// Size implements Device.
func (d *osDevice) Size() int64 { return d.size }

// BlockSize implements Device.
func (d *osDevice) BlockSize() int { return d.block }

// Info implements Device.
func (d *osDevice) Info() Info { return d.info }

// OSDir is a directory of the file system.
type OSDir string

// Create implements Dir.
func (d OSDir) Create(name string) (File, error) {
	f, err := os.OpenFile(d.path(name), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

// Open implements Dir.
func (d OSDir) Open(name string) (File, error) {
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

// Rename implements Dir.
func (d OSDir) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

// Remove implements Dir.
func (d OSDir) Remove(name string) error { return os.Remove(d.path(name)) }

// Sync implements Dir.
func (d OSDir) Sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d OSDir) path(name string) string { return filepath.Join(string(d), filepath.Base(name)) }

type osFile struct {
	*os.File
	once sync.Once
	size int64
}

// Size implements File: the size when first asked.
func (f *osFile) Size() int64 {
	f.once.Do(func() {
		if st, err := f.Stat(); err == nil {
			f.size = st.Size()
		}
	})
	return f.size
}
