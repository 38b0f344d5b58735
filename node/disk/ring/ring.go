// Package ring reads, writes and syncs one file through an io_uring: any
// number of goroutines have requests under way, and neither a thread nor a
// scheduler slot waits with them. The runtime would give each waiting pread a
// thread, and the slot (P) that it holds back only after 20 µs to 10 ms; a
// node with one slot stands still meanwhile.
//
// It knows of no device, alignment or checksum, and spawns nothing per
// request. There is no package-wide state: a ring belongs to one file.
//
// The invariant to know: memory given to the kernel stays in its slot, and so
// reachable, until the kernel has said that the request ended.
//
// Start reading at Ring; kernel.go is the layout that the kernel prescribes
// (io_uring_setup(2), io_uring_enter(2)).
package ring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
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

// Ring is the io_uring of one file.
type Ring struct {
	file *os.File // the ring's own descriptor, which the runtime's poller watches
	fd   int
	free chan uint32 // numbers of slots that are not in use

	slots [Depth]slot
	sq    submissions
	cq    completions

	mu       sync.Mutex // guards sq and the two below
	pending  uint32     // entries the kernel was not told of
	entering bool       // a goroutine tells it, and looks for more afterwards

	reaping sync.Mutex // guards cq
	reaper  sync.WaitGroup
}

// slot is a request under way.
type slot struct {
	buf  []byte
	done chan int32 // capacity 1: what came of it
}

// New returns a ring for the file with this descriptor, which has to outlive
// it. Where the kernel, or what contains the process, has no io_uring the
// error wraps ErrUnsupported.
func New(target int) (*Ring, error) {
	r := &Ring{free: make(chan uint32, Depth)}
	if err := r.setup(target); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	for i := range r.slots {
		r.slots[i].done = make(chan int32, 1)
		r.free <- uint32(i)
	}
	r.reaper.Go(r.reap)
	return r, nil
}

// setup makes the ring and shows it to the runtime's poller.
func (r *Ring) setup(target int) (err error) {
	p := params{}
	r.fd, err = setupRing(Depth, &p)
	if err != nil {
		return err
	}
	if err = r.mapQueues(&p); err == nil {
		err = registerFile(r.fd, int32(target))
	}
	if err == nil {
		err = unix.SetNonblock(r.fd, true) // else the runtime would not poll it
	}
	if err == nil {
		r.file = os.NewFile(uintptr(r.fd), "io_uring")
		if err = r.file.SetDeadline(time.Time{}); err == nil {
			return nil
		}
		err = errors.Join(err, r.file.Close())
	} else {
		err = errors.Join(err, unix.Close(r.fd))
	}
	return errors.Join(err, r.unmap())
}

// Read fills p from off on, or less at the end of the file. It waits for the
// device.
func (r *Ring) Read(p []byte, off int64) (int, error) { return r.do(opRead, p, off) }

// Write writes p at off, or less if there is no more room. It waits for the
// device.
func (r *Ring) Write(p []byte, off int64) (int, error) { return r.do(opWrite, p, off) }

// Sync returns when all writes that had returned before, and what is needed
// to find them, are durable.
func (r *Ring) Sync() error {
	_, err := r.do(opFsync, nil, 0)
	return err
}

// Close gives the ring up. No request may be under way, and none may follow.
func (r *Ring) Close() error {
	err := r.file.Close() // wakes the reaper
	r.reaper.Wait()
	return errors.Join(err, r.unmap())
}

// do carries out one request.
func (r *Ring) do(op uint8, p []byte, off int64) (int, error) {
	i := <-r.free
	s := &r.slots[i]
	s.buf = p
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
	s.buf = nil
	r.free <- i
	if res < 0 {
		return 0, syscall.Errno(-res)
	}
	return int(res), nil
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
		r.slots[i].done <- -int32(err)
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
		i, res, ok := r.cq.pop()
		if !ok {
			return
		}
		r.slots[i].done <- res
	}
}
