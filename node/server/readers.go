package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"headroom/node/plane"
	"headroom/node/storage"
)

const (
	// requestReaders is how many reads for requests wait for one device at
	// once, and readQueue how many more may queue: beyond it the answer is busy.
	requestReaders = 32
	readQueue      = 1024
	// bulkReaders is how many migrations' reads may wait for one device at
	// once when it has room for them, and bulkReads how many one namespace
	// asks for on its own account: a few more than are under way.
	bulkReaders = 16
	bulkReads   = 20
)

// readers read one device: on goroutines of their own, because what waits for
// a device must hold up nothing else.
type readers struct {
	requests chan func()
	gets     chan *get                      // of stream's goroutine
	stream   atomic.Pointer[storage.Reader] // nil: there is none
	bulk     chan plane.Fetch
	budget   *readBudget
	usual    atomic.Int64 // nanoseconds that a get's read takes of late, 0: not known
}

func newReaders() *readers {
	return &readers{requests: make(chan func(), readQueue), gets: make(chan *get, readQueue), bulk: make(chan plane.Fetch, readQueue), budget: newReadBudget()}
}

// took notes how long a get's read took. Readers that do so at once may forget
// one another's: it is a rough mean.
func (r *readers) took(d time.Duration) {
	old := r.usual.Load()
	if old == 0 {
		r.usual.Store(int64(d))
		return
	}
	r.usual.Store(old + (int64(d)-old)/16)
}

// inTime reports whether a read that begins now usually ends within left. Each
// no makes the next less likely, so that a device that has become faster is
// found out.
func (r *readers) inTime(left time.Duration) bool {
	usual := r.usual.Load()
	if usual <= int64(left) {
		return true
	}
	r.usual.Store(usual - usual/64)
	return false
}

func (r *readers) start(ctx context.Context, wg *sync.WaitGroup) {
	for range requestReaders {
		wg.Go(func() { r.serve(ctx) })
	}
	for range bulkReaders {
		wg.Go(func() { r.migrate(ctx) })
	}
}

// fetch implements plane.Host's for one device.
func (r *readers) fetch(f plane.Fetch) bool {
	if !f.Bulk() {
		return r.request(func() {
			f.Read()
			f.Done()
		})
	}
	select {
	case r.bulk <- f:
		return true
	default:
		return false
	}
}

func (r *readers) request(f func()) bool {
	select {
	case r.requests <- f:
		return true
	default:
		return false
	}
}

// get hands a get to the stream.
func (r *readers) get(rd *storage.Reader, g *get) bool {
	select {
	case r.gets <- g:
		rd.Ring()
		return true
	default:
		return false
	}
}

// serve runs what requests wait for, until ctx ends.
func (r *readers) serve(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-r.requests:
			f()
		}
	}
}

// migrate is one of those who read for migrations: only as many at once as the
// budget lets.
func (r *readers) migrate(ctx context.Context) {
	for ctx.Err() == nil {
		r.budget.take()
		select {
		case <-ctx.Done():
			r.budget.give(0, 0)
		case f := <-r.bulk:
			began := time.Now()
			n := f.Read()
			r.budget.give(n, time.Since(began))
			f.Done()
		}
	}
}

// readBudget is how many migrations may read a device at once: one more after
// another while a read takes about as long as it takes at best, half as many
// when it takes twice as long, because then reads of requests wait, too. A disk
// with one head so gets one of them, a flash device as many as it has room for.
type readBudget struct {
	mu    sync.Mutex // guards all below
	freed *sync.Cond
	taken int
	most  float64       // from 1 to bulkReaders
	best  time.Duration // mean time of a read when it was least; it rises slowly to what is usual
}

func newReadBudget() *readBudget {
	b := &readBudget{most: 1}
	b.freed = sync.NewCond(&b.mu)
	return b
}

// take waits for a place.
func (b *readBudget) take() {
	b.mu.Lock()
	for b.taken >= int(b.most) {
		b.freed.Wait()
	}
	b.taken++
	b.mu.Unlock()
}

// give gives a place back after n reads of the device that took so long
// together.
func (b *readBudget) give(n int, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken--
	defer b.freed.Broadcast()
	if n == 0 {
		return
	}
	mean := took / time.Duration(n)
	if b.best == 0 || mean < b.best {
		b.best = mean
	}
	if mean > 2*b.best {
		b.most = max(b.most/2, 1)
	} else {
		b.most = min(b.most+1/b.most, bulkReaders)
	}
	b.best += (mean - b.best) / 64
}
