package transport

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Indexes of SO_MEMINFO (sock_diag(7)).
const (
	memReceiveUsed   = 0
	memReceiveBuffer = 1
	memSendUsed      = 2
	memSendBuffer    = 3
	memDrops         = 8
	memFigures       = 9
)

// Socket returns the state of the endpoint's UDP socket; false when the system
// does not tell.
func (h *host) Socket() (s Socket, ok bool) {
	c, is := h.pc.(syscall.Conn)
	if !is {
		return s, false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return s, false
	}
	var mem [memFigures]uint32
	size := uint32(unsafe.Sizeof(mem))
	err = raw.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&mem[0])), uintptr(unsafe.Pointer(&size)), 0)
		ok = errno == 0 && size == uint32(unsafe.Sizeof(mem))
	})
	return Socket{ReceiveUsed: int64(mem[memReceiveUsed]), ReceiveBuffer: int64(mem[memReceiveBuffer]), SendUsed: int64(mem[memSendUsed]),
		SendBuffer: int64(mem[memSendBuffer]), Drops: uint64(mem[memDrops])}, ok && err == nil
}
