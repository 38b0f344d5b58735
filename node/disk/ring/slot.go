package ring

import (
	"math"
	"sync/atomic"
	"syscall"
)

// Beside what the kernel answers, a caller may be told:
const (
	drives = math.MinInt32     // go on as the driver of the lane; no end of the request
	left   = math.MinInt32 + 1 // the ring was abandoned, with the request in it
)

// slot is a request under way.
type slot struct {
	buf []byte
	// done has room for what becomes of the request, and for drives before it.
	done chan int32
	// began is the look at which the request began; 0: there is none, -1: it was
	// left behind, and so is the slot.
	began atomic.Int64
}

func (s *slot) init() { s.done = make(chan int32, 2) }

// end tells the caller what became of its request, if it waits for that still.
func (s *slot) end(res int32) {
	if b := s.began.Load(); b > 0 && s.began.CompareAndSwap(b, 0) {
		s.done <- res
	}
}

// leave sends the caller away.
func (s *slot) leave() {
	if b := s.began.Load(); b > 0 && s.began.CompareAndSwap(b, -1) {
		s.done <- left
	}
}

// late reports whether a request is under way that saw more than most looks.
func (s *slot) late(look, most int64) bool {
	b := s.began.Load()
	return b > 0 && look-b > most
}

// begin notes a request. It reports false, and the slot is of no more use, if
// the ring was abandoned.
func (r *Ring) begin(s *slot, p []byte) bool {
	look := r.looks.Load()
	s.buf = p
	s.began.Store(look)
	if !r.abandoned() {
		return true
	}
	if !s.began.CompareAndSwap(look, 0) {
		<-s.done
	}
	return false
}

// outcome is what do returns for what the kernel answered.
func outcome(res int32) (int, error) {
	switch {
	case res == left:
		return 0, ErrAbandoned
	case res < 0:
		return 0, syscall.Errno(-res)
	}
	return int(res), nil
}
