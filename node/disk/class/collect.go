package class

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Collect gathers what the system says of a file, a directory or a block
// device; of a path that does not exist, what it says of its directory.
func Collect(path string) (Facts, error) {
	f := Facts{Path: path}
	at := path
	var st unix.Stat_t
	err := unix.Stat(at, &st)
	if errors.Is(err, fs.ErrNotExist) {
		at = filepath.Dir(path)
		err = unix.Stat(at, &st)
	}
	if err != nil {
		return f, fmt.Errorf("%s: %w", at, err)
	}
	dev := st.Dev
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		dev = st.Rdev
	} else {
		mount := mountOf(at)
		f.Filesystem = mount.filesystem
		if mount.filesystem == "overlay" && mount.upper != "" && mount.upper != at {
			if g, err := Collect(mount.upper); err == nil {
				g.Path = path
				return g, nil
			}
		}
		// btrfs and others give files a device number of their own.
		if unix.Major(dev) == 0 && strings.HasPrefix(mount.source, "/dev/") && unix.Stat(mount.source, &st) == nil {
			dev = st.Rdev
		}
	}
	f.drive(dev)
	return f, nil
}

// drive fills in what /sys says of a block device.
func (f *Facts) drive(dev uint64) {
	real, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev)))
	if err != nil {
		return // no block device below: tmpfs, a network
	}
	f.SizeBytes = 512 * number(filepath.Join(real, "size"))
	if _, err := os.Stat(filepath.Join(real, "partition")); err == nil {
		real = filepath.Dir(real)
	}
	f.Device, f.SysPath = filepath.Base(real), real
	read := func(name string) string { return line(filepath.Join(real, name)) }
	f.Model, f.Vendor = read("device/model"), read("device/vendor")
	if f.Firmware = read("device/firmware_rev"); f.Firmware == "" {
		f.Firmware = read("device/rev")
	}
	f.Transport = read("device/transport")
	f.Rotational, f.WriteCache = read("queue/rotational"), read("queue/write_cache")
	f.Scheduler = chosen(read("queue/scheduler"))
	f.Logical, f.Physical = int(number(filepath.Join(real, "queue/logical_block_size"))), int(number(filepath.Join(real, "queue/physical_block_size")))
	if file := read("loop/backing_file"); file != "" {
		f.Backing = []string{file}
	}
	below, _ := os.ReadDir(filepath.Join(real, "slaves")) // of a volume or a RAID
	for _, e := range below {
		f.Backing = append(f.Backing, e.Name())
	}
}

// mount is a line of /proc/self/mountinfo.
type mount struct{ point, filesystem, source, upper string }

// mountOf returns the mount that path lies in; its fields are empty when it
// cannot be found.
func mountOf(path string) mount {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return mount{}
	}
	defer f.Close()
	var best mount
	for lines := bufio.NewScanner(f); lines.Scan(); {
		m, ok := parseMount(lines.Text())
		inside := m.point == "/" || path == m.point || strings.HasPrefix(path, m.point+"/")
		if ok && inside && len(m.point) >= len(best.point) { // a later mount hides an earlier one
			best = m
		}
	}
	return best
}

// parseMount reads a line: id, parent, dev, root, point, options, optional
// fields, "-", type, source, options (proc(5)).
func parseMount(text string) (mount, bool) {
	head, tail, ok := strings.Cut(text, " - ")
	h, t := strings.Fields(head), strings.Fields(tail)
	if !ok || len(h) < 6 || len(t) < 3 {
		return mount{}, false
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	m := mount{point: unescape.Replace(h[4]), filesystem: t[0], source: unescape.Replace(t[1])}
	for o := range strings.SplitSeq(t[2], ",") {
		if dir, ok := strings.CutPrefix(o, "upperdir="); ok {
			m.upper = unescape.Replace(dir)
		}
	}
	return m, true
}

func line(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(first)
}

func number(path string) int64 {
	n, err := strconv.ParseInt(line(path), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// chosen returns the word in brackets: "[none] mq-deadline" is none.
func chosen(s string) string {
	if _, rest, ok := strings.Cut(s, "["); ok {
		s, _, _ = strings.Cut(rest, "]")
	}
	return s
}
