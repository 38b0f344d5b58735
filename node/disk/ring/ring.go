// Package ring reads, writes and syncs one file, or makes memory resident,
// through an io_uring: any number of goroutines have requests under way, and
// neither a thread nor a scheduler slot waits with them. The runtime would give
// each waiting pread a thread, and the slot (P) that it holds back only after
// 20 µs to 10 ms; a node with one slot stands still meanwhile. Where there are
// slots to spare a few threads wait all the same, each for many reads: see lane.
//
// It knows of no device, alignment or checksum, and spawns nothing per
// request. There is no package-wide state: a ring belongs to one file.
//
// The invariant to know: memory given to the kernel stays in its slot, and so
// reachable, until the kernel has said that the request ended.
//
// Start reading at Ring, then lane.go; kernel.go is the layout that the kernel prescribes
// (io_uring_setup(2), io_uring_enter(2)).
package ring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Depth is how many requests may be under way; more wait for one to end. It
// is twice the readers that a node has for a device, and leaves room for
// writes.
const Depth = 64

// ErrUnsupported is the error of New where there is no io_uring; it wraps what
// the system said.
var ErrUnsupported = errors.New("ring: the system gives no io_uring")

// ErrAbandoned is the error of requests to a ring that was given up with
// Abandon.
var ErrAbandoned = errors.New("ring: abandoned, with requests in it")

// Ring is the io_uring of one file.
type Ring struct {
	queues
	target  int         // the file's descriptor
	file    *os.File    // the ring's own descriptor, which the runtime's poller watches
	free    chan uint32 // numbers of slots that are not in use
	slots   [Depth]slot
	lanes   []*lane
	waiting atomic.Int32  // streams whose threads wait
	slow    atomic.Int64  // reads that are not to wait in a lane
	looks   atomic.Int64  // counts from 1
	gone    chan struct{} // closed by Abandon

	mu       sync.Mutex // guards sq and all below
	streams  []*Stream  // replaced as a whole
	pending  uint32     // entries the kernel was not told of
	entering bool       // a goroutine tells it, and looks for more afterwards

	reaping sync.Mutex // guards cq
	reaper  sync.WaitGroup
}

// New returns a ring for the file with this descriptor, which has to outlive
// it, or for Populate alone with -1. lanes is how many of the callers of Read may wait in their threads while
// the device is quick: no more than the runtime has slots to spare. Where the
// kernel, or what contains the process, has no io_uring the error wraps
// ErrUnsupported.
func New(target, lanes int) (*Ring, error) {
	r := &Ring{target: target, free: make(chan uint32, Depth), gone: make(chan struct{})}
	r.looks.Store(1)
	if err := r.setup(target); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	for i := range r.slots {
		r.slots[i].init()
		r.free <- uint32(i)
	}
	for range min(lanes, laneMost) {
		l, err := newLane(r, target)
		if err != nil {
			break // an old kernel: all callers wait as goroutines
		}
		r.lanes = append(r.lanes, l)
	}
	r.reaper.Go(r.reap)
	return r, nil
}

// setup makes the ring and shows it to the runtime's poller.
func (r *Ring) setup(target int) error {
	if err := r.open(Depth, featureSingle, target); err != nil {
		return err
	}
	err := unix.SetNonblock(r.fd, true) // else the runtime would not poll it
	if err != nil {
		return errors.Join(err, unix.Close(r.fd), r.unmap())
	}
	r.file = os.NewFile(uintptr(r.fd), "io_uring")
	if err = r.file.SetDeadline(time.Time{}); err != nil {
		return errors.Join(err, r.file.Close(), r.unmap())
	}
	return nil
}

// Read fills p from off on, or less at the end of the file. It waits for the
// device.
func (r *Ring) Read(p []byte, off int64) (int, error) {
	if r.slow.Load() > 0 {
		r.slow.Add(-1)
	} else if l := r.lane(); l != nil {
		if res, ok := l.do(opRead, p, off); ok {
			return outcome(res)
		}
	}
	return r.do(opRead, p, off)
}

// Write writes p at off, or less if there is no more room. It waits for the
// device.
func (r *Ring) Write(p []byte, off int64) (int, error) { return r.do(opWrite, p, off) }

// Sync returns when all writes that had returned before, and what is needed
// to find them, are durable.
func (r *Ring) Sync() error {
	_, err := r.do(opFsync, nil, 0)
	return err
}

// Populate makes mapped memory resident, which is no use of the file. Its
// pages are found and cleared by a thread of the kernel's while the caller
// waits as a goroutine; in a thread of its own it would keep a scheduler slot.
func (r *Ring) Populate(p []byte) error {
	_, err := r.do(opAdvise, p, 0)
	return err
}

// Look counts a look at the requests under way, and returns how many of them
// have seen more than most.
func (r *Ring) Look(most int64) (late int) {
	look := r.looks.Add(1)
	r.each(func(s *slot) {
		if s.late(look, most) {
			late++
		}
	})
	return late
}

// Abandon ends all calls under way, within 100 ms, and later ones with
// ErrAbandoned. What the kernel has it may carry out at any later time, in the
// memory that it was given: so the ring stays, with one goroutine.
func (r *Ring) Abandon() {
	r.mu.Lock()
	if !r.abandoned() {
		close(r.gone)
	}
	r.mu.Unlock()
	r.each((*slot).leave)
}

func (r *Ring) abandoned() bool {
	select {
	case <-r.gone:
		return true
	default:
		return false
	}
}

func (r *Ring) each(do func(s *slot)) {
	for i := range r.slots {
		do(&r.slots[i])
	}
	for _, l := range r.lanes {
		for i := range l.slots {
			do(&l.slots[i])
		}
	}
	r.mu.Lock()
	streams := r.streams
	r.mu.Unlock()
	for _, s := range streams {
		for i := range s.slots {
			do(&s.slots[i])
		}
	}
}

// Close gives the ring up, unless it was abandoned: then ErrAbandoned. No
// request may be under way, and none may follow.
func (r *Ring) Close() error {
	if r.abandoned() {
		return ErrAbandoned
	}
	err := r.file.Close() // wakes the reaper
	r.reaper.Wait()
	for _, l := range r.lanes {
		err = errors.Join(err, l.close())
	}
	return errors.Join(err, r.unmap())
}

// do carries out one request.
func (r *Ring) do(op uint8, p []byte, off int64) (int, error) {
	var i uint32
	select {
	case i = <-r.free:
	case <-r.gone:
		return 0, ErrAbandoned
	}
	s := &r.slots[i]
	if !r.begin(s, p) {
		return 0, ErrAbandoned
	}
	r.mu.Lock()
	r.sq.push(op, p, off, i)
	r.pending++
	lead := !r.entering
	r.entering = true
	r.mu.Unlock()
	if lead {
		runtime.Gosched() // whoever is about to ask for something goes along: one call, one doorbell of the device
		r.submit()
		r.collect()
	}
	res := <-s.done
	if res != left {
		s.buf = nil
		r.free <- i
	}
	return outcome(res)
}

// enterTries bounds how often the kernel may say that it has no room just
// now, about a second.
const enterTries = 1000

// submit tells the kernel of pending entries until there are none.
func (r *Ring) submit() {
	var n uint32
	for tries := 0; ; {
		r.mu.Lock()
		n += r.pending
		r.pending = 0
		if n == 0 {
			r.entering = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		taken, err := enter(r.fd, n)
		n -= taken
		switch {
		case err == 0:
			tries = 0
		case err == syscall.EINTR:
		case (err == syscall.EAGAIN || err == syscall.EBUSY) && tries < enterTries:
			tries++ // of memory, or of room for answers: those that are there make some
			r.collect()
			time.Sleep(time.Millisecond)
		default:
			r.refuse(err)
			n = 0
		}
	}
}

// refuse ends the requests that the kernel does not take.
func (r *Ring) refuse(err syscall.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = 0
	for _, i := range r.sq.takeBack() {
		r.slots[i].end(-int32(err))
	}
}

// reap wakes those whose requests ended, until the ring is closed.
func (r *Ring) reap() {
	conn, err := r.file.SyscallConn()
	if err != nil {
		return // closed before it began
	}
	_ = conn.Read(func(uintptr) bool { // its error is that the ring was closed
		r.reaping.Lock()
		r.collectLocked()
		r.reaping.Unlock()
		return false
	})
}

// collect does what the reaper would do a little later, unless somebody does
// it already.
func (r *Ring) collect() {
	if r.reaping.TryLock() {
		r.collectLocked()
		r.reaping.Unlock()
	}
}

func (r *Ring) collectLocked() {
	for {
		a, ok := r.cq.pop()
		if !ok {
			return
		}
		r.slots[a.slot()].end(a.res)
	}
}
