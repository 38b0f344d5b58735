package disk

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// spareRoom is what a small file's spare keeps allocated, so that the file can
// be written on a full file system even when it has grown.
const spareRoom = 64 << 10

// Rewrite is Replace for a small file that must be written again and again,
// whatever room the file system has: in a directory of the system the last
// contents' blocks stay, as NAME.new, for the next.
func Rewrite(d Dir, name string, b []byte) error {
	if o, ok := d.(OSDir); ok {
		return o.rewrite(name, b)
	}
	return Replace(d, name, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// rewrite overwrites the spare in place, which takes no room, and exchanges the
// two names, which takes none either.
func (d OSDir) rewrite(name string, b []byte) error {
	spare := name + ".new"
	if err := d.writeSpare(spare, b); err != nil {
		return err // the spare stays: its blocks are the room of the next try
	}
	err := unix.Renameat2(unix.AT_FDCWD, d.path(spare), unix.AT_FDCWD, d.path(name), unix.RENAME_EXCHANGE)
	if err == nil {
		return d.Sync()
	}
	// The first time there is nothing to exchange with, and some file systems
	// cannot.
	if err := d.Rename(spare, name); err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return err
	}
	_ = d.writeSpare(spare, nil) // without one, the next time takes room
	return nil
}

func (d OSDir) writeSpare(name string, b []byte) error {
	f, err := os.OpenFile(d.path(name), os.O_CREATE|os.O_RDWR, 0o600) // not truncated: see rewrite
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err == nil && st.Size() > int64(len(b)) {
		err = f.Truncate(int64(len(b)))
	}
	if err == nil {
		_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, max(spareRoom, 2*int64(len(b)))) // as good as it goes
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
