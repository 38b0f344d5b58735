package ring

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// StreamDepth is how many reads of a Stream may be under way.
	StreamDepth = 32
	// streamBuffer is what each of them has memory for; longer reads take more.
	streamBuffer = 16 << 10
	// streamEntries is room for all reads at once and for the bell.
	streamEntries = 2 * StreamDepth
	// collectMost is how many answers one Wait tells of. Those that are there
	// already wait for the next one, which first hands the kernel what the owner
	// has begun in place of these: a device that answers all at once, as one of a
	// virtual machine does, else stands still until the owner is through with all
	// of them (32 under way, 100-byte records: 0.66 of fio's reads, and 0.87 so).
	collectMost = 2
	bellSlot    = StreamDepth
	page        = 4096
)

// Stream is an io_uring for reads of one goroutine, its owner, that has many
// under way: what it begins goes to the kernel together, and nothing is handed
// from one goroutine to another. At a depth of 32 a read costs the processor two
// thirds of what it costs 32 callers of Ring.Read (BenchmarkStream). Memory that
// the kernel knows beforehand, interrupts that it spares and answers that it
// defers gained nothing (4 µs a read, each within a tenth). All methods but Ring
// are the owner's.
type Stream struct {
	queues
	limits  *limits
	ring    *Ring
	slots   [StreamDepth]slot
	free    []uint32 // numbers of slots that are not in use
	memory  []byte   // streamBuffer for each slot
	under   int      // reads under way
	pending uint32   // entries the kernel was not told of
	tries   int      // how often in a row the kernel had no room
	inside  atomic.Bool

	mu   sync.Mutex // guards bell
	bell int        // eventfd that wakes the owner, -1: none
}

// Stream returns a stream of reads of the ring's file, nil where the kernel is
// too old.
func (r *Ring) Stream() *Stream {
	s := &Stream{ring: r, bell: -1, limits: &limits{time: unix.NsecToTimespec(int64(laneWait))}}
	s.limits.until = uint64(uintptr(unsafe.Pointer(&s.limits.time)))
	if err := s.open(streamEntries, featureSingle|featureLimits|featureTags, r.target); err != nil {
		return nil
	}
	if err := s.equip(); err != nil {
		_ = s.release()
		return nil
	}
	r.mu.Lock()
	r.streams = append(slices.Clone(r.streams), s)
	r.mu.Unlock()
	return s
}

// equip gives a stream its memory and its bell.
func (s *Stream) equip() (err error) {
	s.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return err
	}
	s.memory = aligned(StreamDepth * streamBuffer)
	for i := range s.slots {
		s.slots[i].init()
		s.free = append(s.free, uint32(i))
	}
	s.hang()
	return nil
}

// hang asks the kernel to answer whenever the bell rings.
func (s *Stream) hang() {
	s.sq.push(opPoll, nil, int64(s.bell), bellSlot)
	s.pending++
}

// Quick reports whether the device is one to wait for in a thread, as far as is
// known. While it is not, Ring.Read is the better way.
func (s *Stream) Quick() bool {
	if s.ring.slow.Load() <= 0 {
		return true
	}
	s.ring.slow.Add(-1)
	return false
}

// Room is how many reads may be begun.
func (s *Stream) Room() int { return len(s.free) }

// Busy reports whether a read is under way.
func (s *Stream) Busy() bool { return s.under > 0 }

// Begin asks for n bytes from off on and returns the read's number, below
// StreamDepth. It reports false if there is no room, or the ring was abandoned.
func (s *Stream) Begin(n int, off int64) (number int, ok bool) {
	if len(s.free) == 0 {
		return 0, false
	}
	if n > streamBuffer {
		return s.BeginInto(aligned(n), off)
	}
	return s.BeginInto(s.memory[s.free[len(s.free)-1]*streamBuffer:][:n], off)
}

// BeginInto is Begin into memory of the caller's, which is the device's until
// the read has ended, and for ever if it ended with ErrAbandoned.
func (s *Stream) BeginInto(p []byte, off int64) (number int, ok bool) {
	if len(s.free) == 0 {
		return 0, false
	}
	i := s.free[len(s.free)-1]
	l := &s.slots[i]
	if !s.ring.begin(l, p) {
		return 0, false
	}
	s.free = s.free[:len(s.free)-1]
	s.under++
	s.sq.push(opRead, p, off, i)
	s.pending++
	return int(i), true
}

// aligned returns memory that any device accepts.
func aligned(n int) []byte {
	b := make([]byte, n+page)
	skip := -uintptr(unsafe.Pointer(&b[0])) % page
	return b[skip:][:n:n]
}

// Wait hands what was begun to the kernel and waits until a read has ended,
// somebody rang, or 100 ms have passed; not at all unless stay, which is asked
// when Ring has effect already, says so. It calls ended for reads that have
// ended, two at most, with what was read, which is ended's until it returns; the
// next Wait tells of others at once. After Abandon all reads end with
// ErrAbandoned.
//
// It waits in its thread if the device is quick and the runtime has a slot to
// spare, see New, and else as a goroutine.
func (s *Stream) Wait(stay func() bool, ended func(number int, p []byte, err error)) {
	s.inside.Store(true)
	var errno syscall.Errno
	var taken uint32
	stays := !s.cq.any() && (stay == nil || stay())
	thread := stays && s.takeThread()
	switch {
	case thread:
		began := time.Now()
		taken, errno = enterAndWait(s.fd, s.pending, s.limits)
		s.ring.waiting.Add(-1)
		if s.under > 0 && time.Since(began) > slowWait {
			s.ring.slow.Store(slowReads)
		}
	case s.pending > 0:
		taken, errno = enter(s.fd, s.pending)
	}
	s.entered(taken, errno, ended)
	if stays && !thread && s.pending == 0 && !s.cq.any() {
		_, _ = s.ring.do(opPollOnce, nil, int64(s.fd)) // an error is told by the reads themselves
	}
	s.inside.Store(false)
	s.collect(ended)
	if s.ring.abandoned() {
		s.leave(ended)
	}
}

// takeThread reports whether Wait may keep its thread, and so a slot of the
// runtime's.
func (s *Stream) takeThread() bool {
	if !s.Quick() {
		return false
	}
	if int(s.ring.waiting.Add(1)) <= len(s.ring.lanes) {
		return true
	}
	s.ring.waiting.Add(-1)
	return false
}

// Ring makes Wait return, or the next one if nobody waits. Anybody may call it.
func (s *Stream) Ring() {
	if !s.inside.CompareAndSwap(true, false) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bell >= 0 {
		one := [8]byte{1}
		_, _ = unix.Write(s.bell, one[:]) // cannot fail before 2^64 times
	}
}

// entered notes what came of entering the kernel. What it never will take is
// refused.
func (s *Stream) entered(taken uint32, errno syscall.Errno, ended func(int, []byte, error)) {
	s.pending -= taken
	switch {
	case errno == 0 || errno == unix.EINTR || errno == unix.ETIME:
		s.tries = 0
		return
	case (errno == unix.EAGAIN || errno == unix.EBUSY) && s.tries < enterTries:
		s.tries++ // of memory, or of room for answers
		time.Sleep(time.Millisecond)
		return
	}
	s.pending = 0
	for _, i := range s.sq.takeBack() {
		s.end(i, -int32(errno), ended)
	}
}

// collect tells of what the kernel answered, so far as collectMost goes.
func (s *Stream) collect(ended func(int, []byte, error)) {
	for range collectMost {
		a, ok := s.cq.pop()
		if !ok {
			return
		}
		if a.slot() == bellSlot && a.flags&more != 0 {
			continue
		}
		s.end(a.slot(), a.res, ended)
	}
}

func (s *Stream) end(i uint32, res int32, ended func(int, []byte, error)) {
	if i == bellSlot {
		s.hang()
		return
	}
	l := &s.slots[i]
	if b := l.began.Load(); b <= 0 || !l.began.CompareAndSwap(b, 0) {
		return // it was left: see leave
	}
	n, err := outcome(res)
	s.under--
	ended(int(i), l.buf[:n], err)
	l.buf = nil
	s.free = append(s.free, i)
}

// leave ends all reads of an abandoned ring. Their slots are of no more use.
func (s *Stream) leave(ended func(int, []byte, error)) {
	for i := range s.slots {
		l := &s.slots[i]
		l.leave()
		select {
		case <-l.done:
			s.under--
			ended(i, nil, ErrAbandoned)
		default:
		}
	}
}

// Close gives the stream up. No read may be under way but of an abandoned
// ring; then its memory stays.
func (s *Stream) Close() error {
	r := s.ring
	r.mu.Lock()
	gone := r.abandoned()
	if !gone {
		r.streams = slices.DeleteFunc(slices.Clone(r.streams), func(o *Stream) bool { return o == s })
	}
	r.mu.Unlock()
	if gone {
		return ErrAbandoned
	}
	return s.release()
}

// release gives back all that the stream has.
func (s *Stream) release() error {
	err := errors.Join(unix.Close(s.fd), s.unmap())
	s.mu.Lock()
	if s.bell >= 0 {
		err = errors.Join(err, unix.Close(s.bell))
	}
	s.bell = -1
	s.mu.Unlock()
	return err
}
