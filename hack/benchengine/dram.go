package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"headroom/node/hlc"
	"headroom/node/record"
	"headroom/node/storage"
)

// numbered is the digest of the k-th record: as evenly spread as that of a
// real key, at a thousandth of the cost.
func numbered(k uint64) (d record.Digest) {
	x := k + 0x9e3779b97f4a7c15
	for i := 0; i < 16; i += 8 { // splitmix64
		x += 0x9e3779b97f4a7c15
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(d[i:], z^z>>31)
	}
	binary.LittleEndian.PutUint32(d[16:], uint32(k))
	return d
}

func versioned(n uint64) record.Meta {
	return record.Meta{Version: record.Version{Regime: 1, Stamp: hlc.Stamp(n), Node: 1}, Generation: 1}
}

// timed repeats do, which says how many operations it did, for at least length,
// and returns operations per second of this thread's processor time: on a
// quiet machine that is per second, on a busy one time spent waiting for a core
// does not count. What others leave of the caches does.
func timed(length time.Duration, do func() int) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n, began, used := 0, time.Now(), threadTime()
	for time.Since(began) < length {
		n += do()
	}
	return float64(n) / (threadTime() - used).Seconds()
}

// threadTime is the processor time of the calling thread.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // Linux has had this clock since 2.6.12
	}
	return time.Duration(t.Nano())
}

// processTime is the processor time of all threads.
func processTime() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		panic(err) // with these arguments it cannot fail
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

const dramRecords = 1_000_000

func dram(ctx context.Context, o *options) error {
	e, err := storage.Open(storage.Config{})
	if err != nil {
		return err
	}
	defer e.Close()
	before := resident()
	body := make([]byte, 100)
	ds := make([]record.Digest, dramRecords)
	for k := range ds {
		ds[k] = numbered(uint64(k))
		if err := e.Put(&ds[k], versioned(1), body); err != nil {
			return err
		}
	}
	grown := resident() - before - int64(len(ds)*len(ds[0]))
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(ds), func(i, j int) { ds[i], ds[j] = ds[j], ds[i] })
	var gets, puts []float64
	buf := make([]byte, 0, 256)
	at, stamp := 0, uint64(2)
	next := func() *record.Digest {
		if at++; at == len(ds) {
			at, stamp = 0, stamp+1
		}
		return &ds[at]
	}
	const batch = 10_000
	for range o.pairs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		gets = append(gets, timed(o.each/2, func() int {
			for range batch {
				e.Get(next(), buf)
			}
			return batch
		}))
		puts = append(puts, timed(o.each/2, func() int {
			for range batch {
				err = e.Put(next(), versioned(stamp), body)
			}
			return batch
		}))
	}
	row("gets per second and core", "1/s", gets, atLeast(2e6))
	row("puts per second and core", "1/s", puts, atLeast(1e6))
	s := e.Stats()
	row("index bytes per record", "B", []float64{float64(s.IndexBytes) / float64(s.Records)}, nil)
	row("resident bytes against 64 + 100 a record", "x", []float64{float64(grown) / float64(s.Records*164)}, nil)
	return err
}

// many measures an engine of so many records that a collector that looked at
// them would be noticed.
func many(ctx context.Context, o *options) error {
	const size = 64
	if need := int64(o.records) * 180; available() < need {
		return fmt.Errorf("%d records take %d MB and %d are free: set --records lower", o.records, need>>20, available()>>20)
	}
	e, err := storage.Open(storage.Config{})
	if err != nil {
		return err
	}
	defer e.Close()
	before, began := resident(), time.Now()
	if err := each(func(w, workers int) error {
		body := make([]byte, size)
		for k := w; k < o.records; k += workers {
			if k%100_000 == w && ctx.Err() != nil {
				return ctx.Err()
			}
			d := numbered(uint64(k))
			if err := e.Put(&d, versioned(1), body); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	grown := resident() - before
	row("inserts per second, all cores", "1/s", []float64{float64(o.records) / time.Since(began).Seconds()}, nil)
	s := e.Stats()
	row("index bytes per record", "B", []float64{float64(s.IndexBytes) / float64(s.Records)}, nil)
	row("resident bytes against 64 + 64 a record", "x", []float64{float64(grown) / float64(s.Records*(64+size))}, nil)
	return underLoad(o, e, size)
}

// underLoad reads and writes at random, a body allocated for each read as a
// program that keeps it would, and asks the runtime what collecting that cost.
func underLoad(o *options, e *storage.Engine, size int) error {
	length := 10 * o.each
	runtime.GC()
	from := collector()
	ops := make([]float64, runtime.GOMAXPROCS(0))
	err := each(func(w, workers int) (err error) {
		rnd := rand.New(rand.NewPCG(uint64(w), 3))
		body := make([]byte, size)
		ops[w] = timed(length, func() int {
			for i := range 1000 {
				d := numbered(rnd.Uint64N(uint64(o.records)))
				if i%2 == 0 {
					e.Get(&d, nil)
				} else {
					err = e.Put(&d, versioned(2), body)
				}
			}
			return 1000
		})
		return err
	})
	if err != nil {
		return err
	}
	runtime.GC() // the account is brought up to date by a collection
	to := collector()
	row("operations per second and core, half of them puts", "1/s", ops, nil)
	row("collections", "", []float64{float64(to.cycles - from.cycles)}, nil)
	row("share of CPU in garbage collection", "%", []float64{100 * (to.gc - from.gc) / (to.busy - from.busy)}, atMost(2))
	row("p99 of pauses for garbage collection", "ms", []float64{1e3 * to.pauses.quantile(from.pauses, 0.99)}, atMost(1))
	row("of that until all threads had stopped", "ms", []float64{1e3 * to.stopping.quantile(from.stopping, 0.99)}, nil)
	return nil
}

// each calls do in one goroutine per processor.
func each(do func(w, workers int) error) error {
	workers := runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { errs[w] = do(w, workers) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// collection is what the runtime says about its collector so far.
type collection struct {
	gc, busy float64 // CPU seconds
	cycles   uint64
	pauses   pauses
	stopping pauses // which wait for threads that others keep from a processor
}

type pauses struct{ *metrics.Float64Histogram }

// quantile returns the upper end of the bucket that holds it, among what came
// after before.
func (p pauses) quantile(before pauses, q float64) float64 {
	var total, sum uint64
	for i := range p.Counts {
		total += p.Counts[i] - before.Counts[i]
	}
	for i := range p.Counts {
		if sum += p.Counts[i] - before.Counts[i]; float64(sum) >= q*float64(total) && total > 0 {
			return p.Buckets[i+1]
		}
	}
	return math.NaN()
}

func collector() collection {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"},
		{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/sched/pauses/total/gc:seconds"}, {Name: "/sched/pauses/stopping/gc:seconds"}}
	metrics.Read(s)
	return collection{gc: s[0].Value.Float64(), busy: s[1].Value.Float64() - s[2].Value.Float64(), cycles: s[3].Value.Uint64(),
		pauses: pauses{s[4].Value.Float64Histogram()}, stopping: pauses{s[5].Value.Float64Histogram()}}
}

// resident returns the resident bytes of this process.
func resident() int64 { return kilobytes("/proc/self/status", "VmRSS:") }

// available returns the bytes of memory that the system can still give.
func available() int64 { return kilobytes("/proc/meminfo", "MemAvailable:") }

func kilobytes(path, key string) (n int64) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			_, _ = fmt.Sscan(rest, &n) // 0 if it is not a number
		}
	}
	return n << 10
}
