package device

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// looked is how much of either end of a block device is searched for data,
// and of samples in between: every file system and partition table begins or
// ends there.
const (
	looked  = 1 << 20
	samples = 64
)

// Guard refuses a path whose contents a qualification would destroy: anything
// mounted or in use always, anything that holds data unless overwrite. It
// reports whether the path has to be created.
func Guard(path string, overwrite bool) (create bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return false, fmt.Errorf("%s: its directory does not exist: make it, or give another path", path)
		}
		return true, nil
	case err != nil:
		return false, err
	case info.IsDir():
		return false, fmt.Errorf("%s is a directory: give a file in it, such as %s, or a block device", path, filepath.Join(path, "headroom-test"))
	case info.Mode().IsRegular():
		if info.Size() > 0 && !overwrite {
			return false, fmt.Errorf("%s exists and holds %d bytes, which the load would destroy: give another path, or --overwrite", path, info.Size())
		}
		return false, nil
	case info.Mode()&os.ModeDevice == 0 || info.Mode()&os.ModeCharDevice != 0:
		return false, fmt.Errorf("%s is neither a file nor a block device", path)
	}
	if use := inUse(path); use != "" {
		return false, fmt.Errorf("%s is %s: unmount it, or give another device (--overwrite does not help here)", path, use)
	}
	if overwrite {
		return false, nil
	}
	return false, empty(path)
}

// inUse says what a block device is used for, "" for nothing that is seen.
// Opening it exclusively is the last guard, and the kernel's.
func inUse(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path
	}
	name := filepath.Base(real)
	if where := listed("/proc/self/mounts", real); where != "" {
		return "mounted on " + where
	}
	if listed("/proc/swaps", real) != "" {
		return "used for swap"
	}
	holders, _ := filepath.Glob("/sys/class/block/" + name + "/holders/*")
	if len(holders) > 0 {
		return "part of " + filepath.Base(holders[0])
	}
	parts, _ := filepath.Glob("/sys/class/block/" + name + "/" + name + "*")
	for _, p := range parts {
		node := "/dev/" + filepath.Base(p)
		if where := listed("/proc/self/mounts", node); where != "" {
			return "the disk of " + node + ", which is mounted on " + where
		}
	}
	return ""
}

// listed returns the second word of the line of a file whose first is word.
func listed(file, word string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		w := strings.Fields(lines.Text())
		if len(w) > 1 && w[0] == word {
			return w[1]
		}
	}
	return ""
}

// empty returns nil when a block device looks unused: both ends and samples
// between them are zeros.
func empty(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s is mounted or in use: free it, or give another device (--overwrite does not help here)", path)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	buf := make([]byte, looked)
	zeros := make([]byte, looked)
	for i := range int64(samples + 1) {
		n := min(size, looked)
		if i > 0 && i < samples {
			n = min(size, 4096)
		}
		off := (size - n) / samples * i
		if i == samples {
			off = size - n
		}
		if _, err := f.ReadAt(buf[:n], off); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if !bytes.Equal(buf[:n], zeros[:n]) {
			return fmt.Errorf("%s holds data near byte %d, which the load would destroy: give another device, or --overwrite", path, off)
		}
	}
	return nil
}
