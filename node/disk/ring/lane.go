package ring

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// laneDepth is how many requests a lane takes; those beyond the lanes' go
	// through the ring itself.
	laneDepth = 32
	// laneMost bounds the lanes of a ring.
	laneMost = 8
	// laneWait is how often a driver looks whether the ring was abandoned.
	laneWait = 100 * time.Millisecond
	// slowWait is from when on a device is too slow to wait for in a thread,
	// which keeps a scheduler slot from others: the next slowReads do not.
	slowWait  = 2 * time.Millisecond
	slowReads = 256
)

// lane is an io_uring of whose callers one, the driver, waits in its thread
// for all: it submits what the others have asked for and waits for the next
// answer in one call. To be woken through the runtime's poller instead costs
// two switches of threads, longer than a quick drive takes: 70 µs of processor
// time a read that is alone, against 29 (BenchmarkRead).
//
// When the driver's own request has ended another caller drives.
type lane struct {
	queues
	limits *limits
	ring   *Ring
	slots  [laneDepth]slot

	flying atomic.Int32 // requests under way
	state  atomic.Int32 // laneIdle and so on; leaves laneIdle, and comes to it, under mu

	mu      sync.Mutex // guards sq and all below
	free    []uint32   // numbers of slots that are not in use
	pending uint32     // entries the kernel was not told of
	tries   int        // how often in a row the kernel had no room
}

// What a lane's driver is doing.
const (
	laneIdle      = iota // there is none
	laneGathering        // it is about to submit what there is
	laneWaiting          // it is in the kernel
)

func newLane(r *Ring, target int) (*lane, error) {
	l := &lane{ring: r, limits: &limits{time: unix.NsecToTimespec(int64(laneWait))}}
	l.limits.until = uint64(uintptr(unsafe.Pointer(&l.limits.time)))
	if err := l.open(laneDepth, featureSingle|featureLimits, target); err != nil {
		return nil, err
	}
	for i := range l.slots {
		l.slots[i].init()
		l.free = append(l.free, uint32(i))
	}
	return l, nil
}

func (l *lane) close() error { return errors.Join(unix.Close(l.fd), l.unmap()) }

// lane returns the lane with the fewest requests, one whose driver can take a
// further one along if possible; nil if there is none, or no room. A stream
// that waits takes the place of a lane.
func (r *Ring) lane() (best *lane) {
	least := int32(2 * laneDepth)
	for _, l := range r.lanes[min(int(r.waiting.Load()), len(r.lanes)):] {
		n := l.flying.Load()
		if n >= laneDepth {
			continue
		}
		if l.state.Load() == laneWaiting {
			n += laneDepth
		}
		if n < least {
			best, least = l, n
		}
	}
	return best
}

// do carries out one request. It reports false if the lane has no room.
func (l *lane) do(op uint8, p []byte, off int64) (res int32, ok bool) {
	l.mu.Lock()
	if len(l.free) == 0 {
		l.mu.Unlock()
		return 0, false
	}
	i := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	s := &l.slots[i]
	if !l.ring.begin(s, p) {
		l.mu.Unlock()
		return left, true
	}
	l.flying.Add(1)
	l.sq.push(op, p, off, i)
	l.pending++
	was := l.state.Load()
	if was == laneIdle {
		l.state.Store(laneGathering)
	}
	l.mu.Unlock()
	switch was {
	case laneIdle:
		res = l.drive(s)
	case laneWaiting:
		l.submit()
		fallthrough
	default:
		if res = <-s.done; res == drives {
			res = l.drive(s)
		}
	}
	if res != left {
		l.mu.Lock()
		s.buf = nil
		l.free = append(l.free, i)
		l.mu.Unlock()
	}
	return res, true
}

// drive serves the lane until the driver's own request has ended, and lets
// another caller go on.
func (l *lane) drive(own *slot) int32 {
	for {
		yield() // whoever can ask for something before this thread waits goes along
		l.wait()
		l.collect()
		select {
		case res := <-own.done:
			l.passOn()
			return res
		default:
		}
	}
}

// wait submits what is pending and waits for an answer.
func (l *lane) wait() {
	l.mu.Lock()
	n := l.pending
	l.pending = 0
	l.state.Store(laneWaiting)
	l.mu.Unlock()
	began := time.Now()
	taken, errno := enterAndWait(l.fd, n, l.limits)
	if time.Since(began) > slowWait {
		l.ring.slow.Store(slowReads)
	}
	l.state.Store(laneGathering)
	if l.entered(n-taken, errno) {
		time.Sleep(time.Millisecond)
	}
}

// submit submits what is pending while the driver is in the kernel.
func (l *lane) submit() {
	l.mu.Lock()
	n := l.pending
	l.pending = 0
	l.mu.Unlock()
	if n == 0 {
		return // the driver came out, and took it along
	}
	taken, errno := enter(l.fd, n)
	l.entered(n-taken, errno)
}

// entered notes what came of entering the kernel, which did not take rest
// entries. It reports whether to wait a little: the kernel has no memory, or
// no room for answers. What it never will take is refused.
func (l *lane) entered(rest uint32, errno syscall.Errno) (wait bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending += rest
	switch {
	case errno == 0 || errno == unix.EINTR || errno == unix.ETIME:
		l.tries = 0
		return false
	case (errno == unix.EAGAIN || errno == unix.EBUSY) && l.tries < enterTries:
		l.tries++
		return true
	}
	l.pending = 0
	for _, i := range l.sq.takeBack() {
		l.flying.Add(-1)
		l.slots[i].end(-int32(errno))
	}
	return false
}

// collect tells callers what the kernel answered. Only the driver may call it.
func (l *lane) collect() {
	for {
		a, ok := l.cq.pop()
		if !ok {
			return
		}
		l.flying.Add(-1)
		l.slots[a.slot()].end(a.res)
	}
}

// passOn lets another caller drive, if there is one.
func (l *lane) passOn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.slots {
		if s := &l.slots[i]; s.began.Load() > 0 {
			s.done <- drives // there is room: see slot
			return
		}
	}
	l.state.Store(laneIdle)
}
