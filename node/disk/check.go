package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Check implements Checker: the file is still the one at its path and as long
// as it was; a block device has not shrunk. A file without a name would take
// writes until the next start, and then they would be gone.
func (d *osDevice) Check() error {
	st, err := d.f.Stat()
	if err != nil {
		return closed(err)
	}
	if d.info.Kind == "block" {
		return d.checkBlock()
	}
	there, err := os.Stat(d.info.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s was removed or renamed: %w", d.info.Path, ErrGone)
	case err == nil && !os.SameFile(st, there):
		return fmt.Errorf("%s is another file now: %w", d.info.Path, ErrGone)
	case st.Size() < d.size:
		return fmt.Errorf("%s was cut short from %d to %d bytes: %w", d.info.Path, d.size, st.Size(), ErrGone)
	}
	return nil // what else cannot be told is left to reads and writes
}

func (d *osDevice) checkBlock() error {
	c, err := d.f.SyscallConn()
	if err != nil {
		return closed(err)
	}
	var size uint64
	var no syscall.Errno
	err = c.Control(func(fd uintptr) {
		_, _, no = unix.Syscall(unix.SYS_IOCTL, fd, unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size)))
	})
	switch {
	case err != nil:
		return closed(err)
	case no == unix.ENXIO || no == unix.ENODEV || no == 0 && size < uint64(d.size):
		return fmt.Errorf("%s was detached, or shrank from %d to %d bytes: %w", d.info.Path, d.size, size, ErrGone)
	}
	return nil
}

func closed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return ErrClosed
	}
	return err
}
