package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"headroom/node/disk"
	"headroom/node/storage"
)

// stuck is the limit of a node's watch over its devices.
const stuck = 30 * time.Second

// flash is an engine on a file of its own directory, opened as a node does.
type flash struct {
	*storage.Engine
	o     *options
	guard *disk.Guard
	dir   string
	size  int64
	mark  int
	stop  func() // the engine's background work
}

// newFlash makes an engine on a file of size bytes, with a low-water mark.
func newFlash(o *options, size int64, mark int) (*flash, error) {
	dir, err := os.MkdirTemp(o.dir, "benchengine-")
	if err != nil {
		return nil, err
	}
	f := &flash{o: o, dir: dir, size: size, mark: mark, stop: func() {}}
	if err := f.open(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return f, nil
}

func (f *flash) path() string { return filepath.Join(f.dir, "dev") }

func (f *flash) open() error {
	d, err := disk.Open(f.path(), disk.Options{Size: f.size, Threads: f.o.threads})
	if err != nil {
		return err
	}
	f.guard = disk.NewGuard(d, stuck)
	f.Engine, err = storage.Open(storage.Config{Log: &storage.LogConfig{Name: "bench", Devices: []disk.Device{f.guard}, Dir: disk.OSDir(f.dir),
		NewID: rand.Uint64, LowWater: f.mark, StopUsed: 100}})
	return err
}

// run starts the background work.
func (f *flash) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { f.Run(ctx, false) })
	f.stop = func() { cancel(); wg.Wait() }
}

func (f *flash) remove() {
	f.stop()
	_ = f.Close()
	_ = os.RemoveAll(f.dir)
}

// put stores a record, waiting while the device has no room for more.
func (f *flash) put(ctx context.Context, k, stamp uint64, body []byte) error {
	d := numbered(k)
	for {
		err := f.Put(&d, versioned(stamp), body)
		if !errors.Is(err, storage.ErrOverload) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func (f *flash) load(ctx context.Context, records int, body []byte) error {
	f.run(ctx)
	for k := range records {
		if err := f.put(ctx, uint64(k), 1, body); err != nil {
			return err
		}
	}
	f.stop()
	f.stop = func() {}
	return f.Flush()
}

func restart(ctx context.Context, o *options) error {
	const records = 2_000_000
	f, err := newFlash(o, records*176/10*12+(64<<20), 50)
	if err != nil {
		return err
	}
	defer f.remove()
	if err := f.load(ctx, records, make([]byte, 100)); err != nil {
		return err
	}
	var scans, warms []float64
	for n := range 2 * max(1, o.pairs/2) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		clean := n%2 == 1
		if clean {
			err = f.Shutdown()
		} else {
			err = f.Close()
		}
		runtime.GC()
		began := time.Now()
		if err = errors.Join(err, f.open()); err != nil {
			return err
		}
		took := time.Since(began).Seconds()
		if s := f.Stats(); s.Records != records || f.Recovery().Warm != clean {
			return fmt.Errorf("%d records came back, warm %v; want %d, %v", s.Records, f.Recovery().Warm, records, clean)
		}
		if clean {
			warms = append(warms, took)
		} else {
			scans = append(scans, records/took)
		}
	}
	row("scan after a crash", "records/s", scans, atLeast(1e6))
	row("warm restart of 2 million records", "s", warms, atMost(1))
	return nil
}

func reads(ctx context.Context, o *options) error {
	const records = 6_000_000
	f, err := newFlash(o, records*177+(128<<20), 50)
	if err != nil {
		return err
	}
	defer f.remove()
	if err := f.load(ctx, records, make([]byte, 100)); err != nil {
		return err
	}
	if err := errors.Join(f.Shutdown(), f.open()); err != nil { // nothing in buffers any more
		return err
	}
	f.run(ctx)
	for _, depth := range []int{1, 4, 32} {
		var ours, theirs, ratios, work, theirWork []float64
		for range o.pairs {
			used := processTime()
			a, err := f.readers(ctx, depth, records)
			if err != nil {
				return err
			}
			used = processTime() - used
			b, err := fio(ctx, f.path(), "randread", "4k", depth, o.each, f.Devices()[0].UsedBytes)
			if err != nil {
				return err
			}
			ours, theirs, ratios = append(ours, a), append(theirs, b.Read.IOPS), append(ratios, a/b.Read.IOPS)
			work = append(work, 1e6*used.Seconds()/(a*o.each.Seconds()))
			theirWork = append(theirWork, 1e6*(b.User+b.System)/100/b.Read.IOPS)
		}
		row(fmt.Sprintf("gets per second, queue depth %d", depth), "1/s", ours, nil)
		row(fmt.Sprintf("fio reads per second, queue depth %d", depth), "1/s", theirs, nil)
		row(fmt.Sprintf("processor time a get, queue depth %d", depth), "us", work, nil)
		row(fmt.Sprintf("processor time a read of fio, queue depth %d", depth), "us", theirWork, nil)
		want := 0.9
		if depth > 4 {
			want = 0.75
		}
		row(fmt.Sprintf("ratio at queue depth %d", depth), "x", ratios, atLeast(want))
	}
	return nil
}

// readers reads records at random, depth at a time, and returns how many a
// second came from the device: through a storage.Reader, as a node answers
// gets, or, where devices have none, in as many goroutines.
func (f *flash) readers(ctx context.Context, depth, records int) (rate float64, err error) {
	before, began := f.Devices()[0].DeviceReads, time.Now()
	bad := int64(0)
	if r := f.Reader(0); r != nil {
		bad = f.stream(ctx, r, depth, records)
		err = r.Close()
	} else {
		bad = f.goroutines(ctx, depth, records)
	}
	rate = float64(f.Devices()[0].DeviceReads-before) / time.Since(began).Seconds()
	if bad > 0 {
		err = fmt.Errorf("%d records could not be read", bad)
	}
	return rate, errors.Join(err, ctx.Err())
}

func (f *flash) stream(ctx context.Context, r *storage.Reader, depth, records int) (bad int64) {
	began := time.Now()
	rnd := rand.New(rand.NewPCG(uint64(depth), uint64(began.UnixNano())))
	done := func(a *storage.Answer) {
		if !a.Found || a.Meta.Unreadable || len(a.Body) != 100 {
			bad++
		}
	}
	for time.Since(began) < f.o.each && ctx.Err() == nil || r.Busy() {
		for r.Room() > disk.StreamDepth-depth && time.Since(began) < f.o.each {
			d := numbered(rnd.Uint64N(uint64(records)))
			r.Get(&d, nil, done)
		}
		r.Wait(nil, done)
	}
	return bad
}

func (f *flash) goroutines(ctx context.Context, depth, records int) int64 {
	began := time.Now()
	var wg sync.WaitGroup
	var bad atomic.Int64
	for w := range depth {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), uint64(began.UnixNano())))
			var body []byte
			for time.Since(began) < f.o.each && ctx.Err() == nil {
				d := numbered(rnd.Uint64N(uint64(records)))
				m, b, ok := f.Get(&d, body[:0])
				if body = b; !ok || m.Unreadable || len(b) != 100 {
					bad.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return bad.Load()
}

func writes(ctx context.Context, o *options) error {
	const size = 1 << 30
	beside := filepath.Join(o.dir, fmt.Sprintf("benchengine-%d.fio", os.Getpid()))
	defer os.Remove(beside)
	if _, err := fio(ctx, beside, "write", "1m", 4, 0, size); err != nil { // laid out and written once, as a drive in use is
		return err
	}
	for _, mark := range []int{20, 50} {
		if err := overwrite(ctx, o, beside, size, mark); err != nil {
			return err
		}
	}
	return nil
}

// overwrite compares the engine's writes at a low-water mark with fio's.
func overwrite(ctx context.Context, o *options, beside string, size int64, mark int) error {
	f, err := newFlash(o, size, mark)
	if err != nil {
		return err
	}
	defer f.remove()
	body := make([]byte, o.recordSize)
	records := int(size / 2 / int64((64+o.recordSize+15)/16*16)) // as they lie in a block: half of the device is live
	if err := f.load(ctx, records, body); err != nil {
		return err
	}
	f.run(ctx)
	for start := f.Devices()[0].UserBytes; f.Devices()[0].UserBytes-start < uint64(3*size/2); { // three times over: blocks empty as evenly as they will
		if err := f.overwrites(ctx, records, body); err != nil {
			return err
		}
	}
	var c comparison
	for range o.pairs {
		if err := f.compare(ctx, &c, beside, func() error { return f.overwrites(ctx, records, body) }); err != nil {
			return err
		}
	}
	c.print(fmt.Sprintf("lwm %d %%: ", mark), map[int]float64{20: 0.56, 50: 0.35}[mark])
	return nil
}

// comparison is the engine's writes beside fio's, pair by pair.
type comparison struct{ fio, all, user, amplified, read, same, mixture, work []float64 }

// compare measures a pair: the engine under load; fio's sequential writes; and
// fio's writes with as many bytes read beside them, in requests as long, and
// synced as often, as the engine's were.
func (f *flash) compare(ctx context.Context, c *comparison, beside string, load func() error) error {
	stats, asked, used, began := f.Devices()[0], f.guard.Load(), processTime(), time.Now()
	if err := load(); err != nil {
		return err
	}
	took := time.Since(began)
	after, m := f.Devices()[0], mixed(asked, f.guard.Load(), took)
	written, user := float64(after.Written-stats.Written), float64(after.UserBytes-stats.UserBytes)
	used = processTime() - used
	f.stop()
	alone, err := fio(ctx, beside, "write", "1m", 4, f.o.each, f.size)
	if err != nil {
		return err
	}
	both, err := fio(ctx, beside, "randrw", m.block(), m.depth, f.o.each, f.size, m.flags()...)
	if err != nil {
		return err
	}
	f.run(ctx)
	rate := alone.Write.BW * took.Seconds()
	c.fio = append(c.fio, alone.Write.BW/1e6)
	c.all = append(c.all, written/rate)
	c.user = append(c.user, user/rate)
	c.amplified = append(c.amplified, written/user)
	c.read = append(c.read, m.read)
	c.mixture = append(c.mixture, both.Write.BW/alone.Write.BW)
	c.same = append(c.same, written/took.Seconds()/both.Write.BW)
	c.work = append(c.work, used.Seconds()*1e3/(written/(1<<20)))
	return nil
}

func (c *comparison) print(what string, user float64) {
	row(what+"fio writes in sequence", "MB/s", c.fio, nil)
	row(what+"written against fio", "x", c.all, atLeast(0.7))
	row(what+"user bytes against fio", "x", c.user, atLeast(user))
	row(what+"written per user byte", "x", c.amplified, nil)
	row(what+"processor time per MiB written", "ms", c.work, nil)
	// A block has to be read to be freed. What fio writes with the same reads
	// beside it is what this device gives to anyone who needs them.
	row(what+"read per byte written", "x", c.read, nil)
	row(what+"fio with these reads and syncs, against alone", "x", c.mixture, nil)
	row(what+"written against fio with these", "x", c.same, nil)
}

// overwrites writes records at random, in a goroutine per processor.
func (f *flash) overwrites(ctx context.Context, records int, body []byte) error {
	began := time.Now()
	return each(func(w, _ int) error {
		rnd := rand.New(rand.NewPCG(uint64(w), uint64(began.UnixNano())))
		for n := uint64(2); time.Since(began) < f.o.each; n++ {
			if err := f.put(ctx, rnd.Uint64N(uint64(records)), n, body); err != nil {
				return err
			}
		}
		return nil
	})
}
