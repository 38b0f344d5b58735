package ring

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Constants of include/uapi/linux/io_uring.h.
const (
	opFsync  = 3
	opPoll   = 6
	opRead   = 22
	opWrite  = 23
	opAdvise = 25

	opPollOnce = 0xff // ours: opPoll with one answer

	fsyncDatasync = 1 // of entry.flags
	fixedFile     = 1 // of entry.options: the descriptor is a number of a registered file

	inWorker = 16 // of entry.options: a thread of the kernel's carries it out, not the caller's

	registerFiles = 2

	pollIn        = 1       // of entry.flags
	pollAgain     = 1       // of entry.len: an answer each time
	more          = 2       // of answer.flags: further answers to this entry follow
	featureSingle = 1       // both rings in one mapping; Linux 5.4
	featureLimits = 1 << 8  // enter takes a limit to its wait; Linux 5.11
	featureTags   = 1 << 10 // not used; Linux 5.13, whose polls answer more than once

	enterWaits  = 1 // of enter's flags: for answers
	enterLimits = 8 // its last argument is a limits

	mapRings   = 0
	mapEntries = 0x10000000
)

// params is struct io_uring_params.
type params struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	_                                                    [3]uint32
	sq, cq                                               offsets
}

// offsets is struct io_sqring_offsets and struct io_cqring_offsets, whose
// fields five to seven differ.
type offsets struct {
	head, tail, mask, entries uint32
	fifth, sixth, seventh, _  uint32 // submissions: flags, dropped, array; completions: overflow, entries, flags
	_                         uint64
}

// entry is struct io_uring_sqe.
type entry struct {
	op       uint8
	options  uint8
	priority uint16
	file     int32
	off      uint64
	addr     uint64
	len      uint32
	flags    uint32
	user     uint64
	_        [3]uint64
}

// answer is struct io_uring_cqe.
type answer struct {
	user  uint64
	res   int32
	flags uint32
}

var (
	_ [24 - unsafe.Offsetof(limits{}.time)]struct{}
	_ [unsafe.Offsetof(limits{}.time) - 24]struct{}
	_ [120 - unsafe.Sizeof(params{})]struct{}
	_ [unsafe.Sizeof(params{}) - 120]struct{}
	_ [64 - unsafe.Sizeof(entry{})]struct{}
	_ [unsafe.Sizeof(entry{}) - 64]struct{}
)

// limits is struct io_uring_getevents_arg with the time that it points to, and
// stays where it is: the kernel is given its address as a number.
type limits struct {
	mask  uint64
	size  uint32
	_     uint32
	until uint64 // address of time
	time  unix.Timespec
}

// queues are both ends of an io_uring for one file.
type queues struct {
	fd int
	sq submissions
	cq completions
}

// submissions is the queue to the kernel, which moves head while it is
// entered.
type submissions struct {
	rings, entries []byte // the mappings
	head, tail     *uint32
	mask           uint32
	array          []uint32
	list           []entry
}

// completions is the queue from the kernel.
type completions struct {
	head, tail *uint32
	mask       uint32
	list       []answer
}

// open makes an io_uring of so many entries for the file with descriptor
// target, on a kernel that has these features.
func (q *queues) open(depth, features uint32, target int) error {
	p := params{}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(depth), uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return errno
	}
	unix.CloseOnExec(int(fd))
	q.fd = int(fd)
	var err error
	if missing := features &^ p.features; missing != 0 {
		err = fmt.Errorf("an old kernel: features %#x are missing", missing)
	}
	if err == nil {
		err = q.mapQueues(&p)
	}
	if err == nil {
		err = registerFile(q.fd, int32(target))
	}
	if err != nil {
		return errors.Join(err, unix.Close(q.fd), q.unmap())
	}
	return nil
}

// enter tells the kernel of n new entries and returns how many it took.
func enter(fd int, n uint32) (uint32, syscall.Errno) {
	taken, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(fd), uintptr(n), 0, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return uint32(taken), 0
}

// enterAndWait is enter, and then waits in this thread until there is an
// answer, or the limit has passed. It returns no error if it took an entry.
func enterAndWait(fd int, n uint32, l *limits) (uint32, syscall.Errno) {
	taken, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(fd), uintptr(n), 1, enterWaits|enterLimits,
		uintptr(unsafe.Pointer(l)), unsafe.Offsetof(l.time))
	if errno != 0 {
		return 0, errno
	}
	return uint32(taken), 0
}

// registerFile gives the ring its one file, number 0, so that the kernel need
// not look it up for each request.
func registerFile(ring int, file int32) error {
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(ring), registerFiles, uintptr(unsafe.Pointer(&file)), 1, 0, 0)
	runtime.KeepAlive(&file)
	if errno != 0 {
		return errno
	}
	return nil
}

// mapQueues maps both queues.
func (q *queues) mapQueues(p *params) (err error) {
	size := max(p.sq.seventh+p.sqEntries*4, p.cq.sixth+p.cqEntries*uint32(unsafe.Sizeof(answer{})))
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	if q.sq.rings, err = unix.Mmap(q.fd, mapRings, int(size), prot, flags); err != nil {
		return err
	}
	if q.sq.entries, err = unix.Mmap(q.fd, mapEntries, int(p.sqEntries)*int(unsafe.Sizeof(entry{})), prot, flags); err != nil {
		return err
	}
	word := func(at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&q.sq.rings[at])) }
	q.sq.head, q.sq.tail, q.sq.mask = word(p.sq.head), word(p.sq.tail), *word(p.sq.mask)
	q.sq.array = unsafe.Slice(word(p.sq.seventh), p.sqEntries)
	q.sq.list = unsafe.Slice((*entry)(unsafe.Pointer(&q.sq.entries[0])), p.sqEntries)
	q.cq.head, q.cq.tail, q.cq.mask = word(p.cq.head), word(p.cq.tail), *word(p.cq.mask)
	q.cq.list = unsafe.Slice((*answer)(unsafe.Pointer(&q.sq.rings[p.cq.sixth])), p.cqEntries)
	return nil
}

func (q *queues) unmap() (err error) {
	for _, m := range [][]byte{q.sq.rings, q.sq.entries} {
		if m != nil {
			err = errors.Join(err, unix.Munmap(m))
		}
	}
	q.sq.rings, q.sq.entries = nil, nil
	return err
}

// push adds an entry. There is room: each slot has one at most, and there are
// as many entries as slots.
func (q *submissions) push(op uint8, p []byte, off int64, slot uint32) {
	tail := *q.tail // only we write it
	at := tail & q.mask
	e := entry{op: op, options: fixedFile, off: uint64(off), len: uint32(len(p)), user: uint64(slot)}
	if len(p) > 0 {
		e.addr = uint64(uintptr(unsafe.Pointer(&p[0])))
	}
	switch op {
	case opFsync:
		e.flags = fsyncDatasync
	case opAdvise:
		e.options, e.flags = inWorker, unix.MADV_POPULATE_WRITE
	case opPoll, opPollOnce: // of off, which is no file of the ring's
		e.op, e.options, e.file, e.off, e.flags = opPoll, 0, int32(off), 0, pollIn
		if op == opPoll {
			e.len = pollAgain
		}
	}
	q.list[at], q.array[at] = e, at
	atomic.StoreUint32(q.tail, tail+1)
}

// takeBack removes the entries that the kernel has not taken and returns
// their slots.
func (q *submissions) takeBack() (slots []uint32) {
	head := atomic.LoadUint32(q.head)
	for at := head; at != *q.tail; at++ {
		slots = append(slots, uint32(q.list[q.array[at&q.mask]].user))
	}
	atomic.StoreUint32(q.tail, head)
	return slots
}

// pop removes an answer.
func (q *completions) pop() (a answer, ok bool) {
	head := *q.head // only we write it
	if head == atomic.LoadUint32(q.tail) {
		return answer{}, false
	}
	a = q.list[head&q.mask]
	atomic.StoreUint32(q.head, head+1)
	return a, true
}

// any reports whether there is an answer.
func (q *completions) any() bool { return *q.head != atomic.LoadUint32(q.tail) }

func (a *answer) slot() uint32 { return uint32(a.user) }
