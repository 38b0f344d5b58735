// Package disk is what lies below the storage engine: devices (a file or a
// raw block device through O_DIRECT, memory, or either with faults) and
// directories in which files are replaced as a whole. It knows nothing of
// records.
//
// The invariant to know: what was written before a Sync that returned nil
// outlives a crash; of everything later any part, in any order, may be there
// or not, block by block. After a Sync that failed nothing is known of the
// writes before it, and no later Sync can bring them back.
//
// Start reading at Device and Dir; os.go is the real thing, memory.go the one
// whose crashes can be chosen, faulty.go adds failures to any of them.
package disk

import (
	"errors"
	"fmt"
	"io"
	"unsafe"
)

// Errors of this package, wrapped with the path. Errors of the system are
// wrapped as they are, so that errors.Is(err, syscall.ENOSPC) works.
var (
	ErrRange   = errors.New("disk: offset or length is outside the device or not aligned to its block size")
	ErrInUse   = errors.New("disk: another process uses it")
	ErrClosed  = errors.New("disk: closed")
	ErrTooFew  = errors.New("disk: smaller than its size in the configuration")
	ErrNotDisk = errors.New("disk: neither a regular file nor a block device")
)

// Device is a fixed range of bytes that is read and written in whole blocks.
// A call does all that it was asked to or returns an error, after which any
// part may have been done. Offsets, lengths and, for real devices, the memory
// of buffers must be multiples of BlockSize: see Aligned. Calls may overlap in
// time; each blocks until the device has answered.
type Device interface {
	ReadAt(p []byte, off int64) error
	WriteAt(p []byte, off int64) error
	// Sync returns when all writes that had returned before are durable.
	Sync() error
	Size() int64
	BlockSize() int
	Info() Info
	// Close frees the device, without a Sync. Later calls fail.
	Close() error
}

// Info says what a device is.
type Info struct {
	Path string // as configured
	Kind string // "file", "block", "memory"; further kinds may come
}

// File is a file of a Dir: written once from the start, or read.
type File interface {
	io.Writer
	io.ReaderAt
	Size() int64
	Sync() error
	Close() error
}

// Dir is a directory of small files. Names are plain, without separators. A
// missing file's error wraps fs.ErrNotExist.
type Dir interface {
	Create(name string) (File, error) // truncates one that is there
	Open(name string) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// Sync makes creations, renames and removals durable.
	Sync() error
}

// Replace puts a new file in place of name, or nothing at all: written under
// another name, synced, renamed, the directory synced. After a crash the old
// or the new one is there, whole.
func Replace(d Dir, name string, write func(w io.Writer) error) error {
	tmp := name + ".new"
	f, err := d.Create(tmp)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.Rename(tmp, name)
	}
	if err == nil {
		return d.Sync()
	}
	_ = d.Remove(tmp) // best effort: the next Replace truncates it
	return err
}

// ReadFile returns the contents of a file of at most limit bytes.
func ReadFile(d Dir, name string, limit int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > limit {
		return nil, fmt.Errorf("%s is %d bytes, more than %d: not a file of this program", name, f.Size(), limit)
	}
	b := make([]byte, f.Size())
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, f.Size()), b); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// alignment of buffers, enough for every device: a page.
const alignment = 4096

// Aligned returns n zero bytes whose memory any device accepts.
func Aligned(n int) []byte {
	b := make([]byte, n+alignment)
	skip := -uintptr(unsafe.Pointer(&b[0])) % alignment
	return b[skip : skip+uintptr(n) : skip+uintptr(n)]
}

// check reports whether a request fits a device.
func check(d Device, n int, off int64) error {
	bs := int64(d.BlockSize())
	if off < 0 || off%bs != 0 || int64(n)%bs != 0 || off+int64(n) > d.Size() {
		return fmt.Errorf("%s: %d bytes at %d of %d: %w", d.Info().Path, n, off, d.Size(), ErrRange)
	}
	return nil
}
