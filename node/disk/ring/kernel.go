package ring

import (
	"errors"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Constants of include/uapi/linux/io_uring.h.
const (
	opFsync = 3
	opRead  = 22
	opWrite = 23

	fsyncDatasync = 1 // of entry.flags
	fixedFile     = 1 // of entry.options: the descriptor is a number of a registered file

	registerFiles = 2
	featureSingle = 1 // both rings in one mapping; Linux 5.4

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
	_ [120 - unsafe.Sizeof(params{})]struct{}
	_ [unsafe.Sizeof(params{}) - 120]struct{}
	_ [64 - unsafe.Sizeof(entry{})]struct{}
	_ [unsafe.Sizeof(entry{}) - 64]struct{}
)

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

func setupRing(depth uint32, p *params) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(depth), uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return -1, errno
	}
	unix.CloseOnExec(int(fd))
	if p.features&featureSingle == 0 {
		return -1, errors.Join(errors.New("a kernel before Linux 5.4"), unix.Close(int(fd)))
	}
	return int(fd), nil
}

// enter tells the kernel of n new entries and returns how many it took.
func enter(fd int, n uint32) (uint32, syscall.Errno) {
	taken, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(fd), uintptr(n), 0, 0, 0, 0)
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
func (r *Ring) mapQueues(p *params) (err error) {
	size := max(p.sq.seventh+p.sqEntries*4, p.cq.sixth+p.cqEntries*uint32(unsafe.Sizeof(answer{})))
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	if r.sq.rings, err = unix.Mmap(r.fd, mapRings, int(size), prot, flags); err != nil {
		return err
	}
	if r.sq.entries, err = unix.Mmap(r.fd, mapEntries, int(p.sqEntries)*int(unsafe.Sizeof(entry{})), prot, flags); err != nil {
		return err
	}
	word := func(at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.sq.rings[at])) }
	r.sq.head, r.sq.tail, r.sq.mask = word(p.sq.head), word(p.sq.tail), *word(p.sq.mask)
	r.sq.array = unsafe.Slice(word(p.sq.seventh), p.sqEntries)
	r.sq.list = unsafe.Slice((*entry)(unsafe.Pointer(&r.sq.entries[0])), p.sqEntries)
	r.cq.head, r.cq.tail, r.cq.mask = word(p.cq.head), word(p.cq.tail), *word(p.cq.mask)
	r.cq.list = unsafe.Slice((*answer)(unsafe.Pointer(&r.sq.rings[p.cq.sixth])), p.cqEntries)
	return nil
}

func (r *Ring) unmap() (err error) {
	for _, m := range [][]byte{r.sq.rings, r.sq.entries} {
		if m != nil {
			err = errors.Join(err, unix.Munmap(m))
		}
	}
	r.sq.rings, r.sq.entries = nil, nil
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
	if op == opFsync {
		e.flags = fsyncDatasync
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
func (q *completions) pop() (slot uint32, res int32, ok bool) {
	head := *q.head // only we write it
	if head == atomic.LoadUint32(q.tail) {
		return 0, 0, false
	}
	a := q.list[head&q.mask]
	atomic.StoreUint32(q.head, head+1)
	return uint32(a.user), a.res, true
}
