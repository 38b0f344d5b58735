package class

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"headroom/node/disk"
)

const (
	// ProbeTime is how long a probe reads: 60 reads of the slowest disk.
	ProbeTime = 2 * time.Second
	// probeFile is the size of the file that a probe makes where it has no
	// block device to read: larger than the caches of most drives' reads
	// ahead, written in a tenth of a second.
	probeFile = 32 << 20
	probeRead = 4096
)

// Detect collects the facts of a path, probes it for at most ProbeTime where
// they leave a doubt, and classifies it. It blocks for that long.
func Detect(ctx context.Context, path string) (Facts, Class, string, error) {
	f, err := Collect(path)
	if err != nil {
		return f, Unknown, "", err
	}
	if !Decided(&f) {
		p, err := RunProbe(ctx, path, ProbeTime)
		if err == nil {
			f.Probe = &p
		} else if ctx.Err() == nil {
			c, why := Classify(&f)
			return f, c, fmt.Sprintf("%s; not probed: %v", why, err), nil
		}
	}
	c, why := Classify(&f)
	return f, c, why, nil
}

// RunProbe times random reads for so long, past the page cache where the
// system can. A block device is read itself; for anything else a file of
// random bytes is made beside path, since a file's own blocks may never have
// been written, and removed again.
func RunProbe(ctx context.Context, path string, d time.Duration) (Probe, error) {
	file, remove, err := probed(path)
	if err != nil {
		return Probe{}, err
	}
	defer remove()
	p := Probe{Direct: true}
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		p.Direct = false
		f, err = os.Open(file)
	}
	if err != nil {
		return Probe{}, err
	}
	defer f.Close()
	size, err := f.Seek(0, 2)
	if err != nil || size < probeRead {
		return Probe{}, fmt.Errorf("%s: %d bytes are too few to probe (%w)", file, size, errors.Join(err))
	}
	h := hdr.New(1, int64(time.Minute/time.Microsecond), 3)
	buf := disk.Aligned(probeRead)
	rng := rand.New(rand.NewPCG(1, 2))
	for began := time.Now(); time.Since(began) < d && ctx.Err() == nil; {
		at := time.Now()
		if _, err := f.ReadAt(buf, probeRead*rng.Int64N(size/probeRead)); err != nil {
			return Probe{}, err
		}
		// Nanoseconds would be finer than any class; a read beyond a minute is a minute.
		_ = h.RecordValue(min(max(time.Since(at).Microseconds(), 1), int64(time.Minute/time.Microsecond)))
	}
	p.Reads = h.TotalCount()
	p.P50 = time.Duration(h.ValueAtPercentile(50)) * time.Microsecond
	p.P99 = time.Duration(h.ValueAtPercentile(99)) * time.Microsecond
	return p, ctx.Err()
}

// probed returns what to read for path, and what removes it.
func probed(path string) (string, func(), error) {
	info, err := os.Stat(path)
	if err == nil && info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0 {
		return path, func() {}, nil
	}
	dir := path
	if err != nil || !info.IsDir() {
		dir = filepath.Dir(path)
	}
	f, err := os.CreateTemp(dir, ".headroom-probe-*")
	if err != nil {
		return "", nil, err
	}
	remove := func() { _ = os.Remove(f.Name()) } // what is left is named as what it is
	err = fill(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		remove()
		return "", nil, err
	}
	return f.Name(), remove, nil
}

func fill(f *os.File) error {
	rng := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, 1<<20)
	for range probeFile / len(buf) {
		rng.Read(buf)
		if _, err := f.Write(buf); err != nil {
			return err
		}
	}
	return f.Sync()
}
