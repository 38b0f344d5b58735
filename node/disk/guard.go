package disk

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"headroom/node/disk/ring"
)

// Errors of a Guard, each of which is final: the device is given up.
var (
	// ErrStuck is wrapped when a request did not end within the limit. It, and
	// all others under way, are left behind: the memory of their buffers may be
	// read or written at any later time, so nobody may use it again.
	ErrStuck = errors.New("disk: a request to the device did not end in time")
	// ErrGone is wrapped when the device is not what it was when it was opened:
	// its file was removed, replaced or cut short.
	ErrGone = errors.New("disk: the device is gone")
)

// Checker is a device that can tell, without a request to the medium, whether
// it still is what was opened. Its error wraps ErrGone.
type Checker interface{ Check() error }

const (
	// guardWorkers bounds the requests at a device at once, and so what a device
	// that hangs leaves behind: a node has 32 readers, a flush, a defragmentation
	// and a restart's scan per device.
	guardWorkers = 64
	// guardLooks is how often within the limit the watch looks. The age of a
	// request counts in looks, so that time in which this process was stopped
	// counts as one.
	guardLooks = 8
	// checkEvery is how often it is asked whether the device is there at all.
	checkEvery = time.Second
)

// Guard is a device whose requests end within a limit, whatever the device
// does. Callers of one with a ring wait for that, which can send them away;
// for others each request is made by a goroutine of the Guard's, and its
// caller waits for that one or for the verdict. After the verdict every call
// fails at once.
type Guard struct {
	Device
	ring   *ring.Ring // of Device, nil if it has none
	limit  time.Duration
	idle   chan *guardWorker // capacity guardWorkers
	given  chan struct{}     // closed when the device is given up
	closed chan struct{}     // closed by Close
	look   atomic.Int64      // counts from 1
	wg     sync.WaitGroup    // the watch, and workers that are not stuck
	load   [guardOps]opLoad

	mu      sync.Mutex // guards all below
	workers []*guardWorker
	err     error
	ended   bool
}

// Kinds of requests that a Guard counts.
const (
	guardRead = iota
	guardWrite
	guardSync
	guardOps
)

// opLoad counts one kind of requests.
type opLoad struct{ count, bytes, nanos atomic.Uint64 }

// Load is what was asked of a device since it was opened. Times are sums over
// requests; two requests at the same time count twice.
type Load struct {
	Reads, Writes, Syncs      uint64
	ReadBytes, WriteBytes     uint64
	ReadTime, WriteTime, Sync time.Duration
}

// guardWorker is one goroutine that makes requests, one after the other.
type guardWorker struct {
	in    chan func() error // capacity 1
	out   chan error        // capacity 1, so that one left behind ends
	began atomic.Int64      // the look at which its request began; 0: it has none
}

// NewGuard puts a watch before d, which it owns from now on. limit is how long
// a request may take, above zero.
func NewGuard(d Device, limit time.Duration) *Guard {
	g := &Guard{Device: d, limit: limit, idle: make(chan *guardWorker, guardWorkers), given: make(chan struct{}), closed: make(chan struct{})}
	if o, ok := d.(*osDevice); ok {
		g.ring = o.ring
	}
	g.look.Store(1)
	g.wg.Go(g.watch)
	if c, ok := d.(Checker); ok {
		g.wg.Go(func() { g.checks(c) })
	}
	return g
}

// Given is closed when the device is given up; Err says why.
func (g *Guard) Given() <-chan struct{} { return g.given }

// Err is why the device was given up, or nil.
func (g *Guard) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// ReadAt implements Device.
func (g *Guard) ReadAt(p []byte, off int64) error {
	return g.count(guardRead, len(p), func() error { return g.Device.ReadAt(p, off) })
}

// WriteAt implements Device.
func (g *Guard) WriteAt(p []byte, off int64) error {
	return g.count(guardWrite, len(p), func() error { return g.Device.WriteAt(p, off) })
}

// Sync implements Device.
func (g *Guard) Sync() error { return g.count(guardSync, 0, g.Device.Sync) }

// count makes a request and notes it and how long it took.
func (g *Guard) count(op, bytes int, f func() error) (err error) {
	began := time.Now()
	if g.ring != nil {
		err = g.judged(f())
	} else {
		err = g.do(f)
	}
	g.counted(op, bytes, time.Since(began))
	return err
}

// counted notes a request and how long it took.
func (g *Guard) counted(op, bytes int, took time.Duration) {
	if g == nil {
		return
	}
	l := &g.load[op]
	l.count.Add(1)
	l.bytes.Add(uint64(bytes))
	l.nanos.Add(uint64(took))
}

// judged returns why the device was given up, if it was, for a request that
// failed.
func (g *Guard) judged(err error) error {
	if err == nil {
		return nil
	}
	if why := g.Err(); why != nil {
		return why
	}
	return err
}

// Load returns what was asked of the device so far.
func (g *Guard) Load() Load {
	at := func(op int) (count, bytes uint64, took time.Duration) {
		l := &g.load[op]
		return l.count.Load(), l.bytes.Load(), time.Duration(l.nanos.Load())
	}
	var l Load
	l.Reads, l.ReadBytes, l.ReadTime = at(guardRead)
	l.Writes, l.WriteBytes, l.WriteTime = at(guardWrite)
	l.Syncs, _, l.Sync = at(guardSync)
	return l
}

// do has a worker run f and waits for it or for the verdict.
func (g *Guard) do(f func() error) error {
	w, err := g.worker()
	if err != nil {
		return err
	}
	w.began.Store(g.look.Load())
	w.in <- f
	select {
	case err = <-w.out:
		w.began.Store(0)
		g.idle <- w
		return err
	case <-g.given:
		return g.Err()
	}
}

// worker returns an idle worker, a new one, or waits for one.
func (g *Guard) worker() (*guardWorker, error) {
	select {
	case <-g.given:
		return nil, g.Err()
	case w := <-g.idle:
		return w, nil
	default:
	}
	g.mu.Lock()
	if g.ended {
		g.mu.Unlock()
		return nil, ErrClosed
	}
	if len(g.workers) < guardWorkers {
		w := &guardWorker{in: make(chan func() error, 1), out: make(chan error, 1)}
		g.workers = append(g.workers, w)
		g.wg.Add(1)
		g.mu.Unlock()
		go g.work(w)
		return w, nil
	}
	g.mu.Unlock()
	select {
	case w := <-g.idle:
		return w, nil
	case <-g.given:
		return nil, g.Err()
	case <-g.closed:
		return nil, ErrClosed
	}
}

func (g *Guard) work(w *guardWorker) {
	defer g.wg.Done()
	for {
		select {
		case f := <-w.in:
			w.out <- f()
		case <-g.given:
			return
		case <-g.closed:
			return
		}
	}
}

// watch looks after the requests under way until the device is closed or given
// up.
func (g *Guard) watch() {
	t := time.NewTicker(g.limit / guardLooks)
	defer t.Stop()
	for {
		select {
		case <-g.closed:
			return
		case <-g.given:
			return
		case <-t.C:
		}
		n := g.late(g.look.Add(1))
		if g.ring != nil {
			n += g.ring.Look(guardLooks)
		}
		if n > 0 {
			g.giveUp(fmt.Errorf("%s: %d of its requests took longer than %v: %w", g.Info().Path, n, g.limit, ErrStuck))
		}
	}
}

// late counts the requests that are older than the limit.
func (g *Guard) late(look int64) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.workers {
		if began := w.began.Load(); began != 0 && look-began > guardLooks {
			n++
		}
	}
	return n
}

// checks asks once a second whether the device is there. A question that hangs
// is a request like any other.
func (g *Guard) checks(c Checker) {
	t := time.NewTicker(checkEvery)
	defer t.Stop()
	for {
		select {
		case <-g.closed:
			return
		case <-g.given:
			return
		case <-t.C:
		}
		if err := g.do(c.Check); errors.Is(err, ErrGone) {
			g.giveUp(err)
		}
	}
}

func (g *Guard) giveUp(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil && !g.ended {
		g.err = err
		close(g.given)
		if g.ring != nil {
			g.ring.Abandon()
		}
	}
}

// Close implements Device. Calls must have ended; what hangs is left behind.
func (g *Guard) Close() error {
	g.mu.Lock()
	first := !g.ended
	if first {
		g.ended = true
		close(g.closed)
	}
	stuck := errors.Is(g.err, ErrStuck)
	g.mu.Unlock()
	err := g.Device.Close()
	if !stuck {
		g.wg.Wait()
	}
	return err
}
