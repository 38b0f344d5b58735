package emulate

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// alarm lets any number of goroutines sleep until instants of one clock, with
// one goroutine and one timer of the kernel for all of them.
type alarm struct {
	now   func() time.Duration
	timer waker
	ended chan struct{}
	spare sync.Pool // channels of sleepers; of this alarm alone, for a channel may not leave its bubble

	mu     sync.Mutex // guards all below
	heap   []sleeper  // the earliest first
	closed bool
}

// sleeper is who waits for an instant. ch has room for the one value that it
// is sent, false when the alarm is closed.
type sleeper struct {
	at time.Duration
	ch chan bool
}

// waker wakes one goroutine. Arm may be called while another goroutine waits,
// and replaces what was armed.
type waker interface {
	Arm(d time.Duration) error
	Wait() error
	Close() error
}

func newAlarm(now func() time.Duration, goTimers bool) (*alarm, error) {
	a := &alarm{now: now, ended: make(chan struct{})}
	a.spare.New = func() any { return make(chan bool, 1) }
	if goTimers {
		a.timer = newGoTimer()
	} else {
		t, err := newKernelTimer()
		if err != nil {
			return nil, err
		}
		a.timer = t
	}
	go a.run()
	return a, nil
}

// sleep returns true at the instant until, or false when the alarm is closed.
func (a *alarm) sleep(until time.Duration) bool {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return false
	}
	now := a.now()
	if until <= now {
		a.mu.Unlock()
		return true
	}
	ch := a.spare.Get().(chan bool)
	if a.pushLocked(sleeper{until, ch}); a.heap[0].ch == ch {
		// Under the lock, so that a later instant never replaces an earlier
		// one. A settime takes a microsecond and does not wait; it fails only
		// on a closed timer, and then close tells all who sleep.
		_ = a.timer.Arm(until - now)
	}
	a.mu.Unlock()
	ok := <-ch
	a.spare.Put(ch)
	return ok
}

// run wakes who is due until the timer is closed.
func (a *alarm) run() {
	defer close(a.ended)
	var due []sleeper
	for a.timer.Wait() == nil {
		due = due[:0]
		a.mu.Lock()
		now := a.now()
		for len(a.heap) > 0 && a.heap[0].at <= now {
			due = append(due, a.popLocked())
		}
		if len(a.heap) > 0 {
			_ = a.timer.Arm(a.heap[0].at - now) // as in sleep
		}
		a.mu.Unlock()
		for _, s := range due {
			s.ch <- true
		}
	}
}

// close wakes all who sleep and returns when the goroutine has ended.
func (a *alarm) close() {
	a.mu.Lock()
	left := a.heap
	first := !a.closed
	a.closed, a.heap = true, nil
	a.mu.Unlock()
	for _, s := range left {
		s.ch <- false
	}
	if first {
		_ = a.timer.Close() // ends Wait; there is nothing to lose in a timer
	}
	<-a.ended
}

func (a *alarm) pushLocked(s sleeper) {
	a.heap = append(a.heap, s)
	for i := len(a.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if a.heap[up].at <= a.heap[i].at {
			return
		}
		a.heap[up], a.heap[i] = a.heap[i], a.heap[up]
		i = up
	}
}

func (a *alarm) popLocked() sleeper {
	h := a.heap
	top, n := h[0], len(h)-1
	h[0] = h[n]
	h[n] = sleeper{}
	a.heap = h[:n]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < n; c++ {
			if h[c].at < h[least].at {
				least = c
			}
		}
		if least == i {
			return top
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// kernelTimer is a timerfd watched by the runtime's poller: 15-70 us late at
// the median, and no thread is held. The runtime's own timers wait in whole
// milliseconds.
type kernelTimer struct {
	file *os.File
	buf  [8]byte
}

func newKernelTimer() (*kernelTimer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	return &kernelTimer{file: os.NewFile(uintptr(fd), "timerfd")}, nil
}

func (t *kernelTimer) Arm(d time.Duration) error {
	c, err := t.file.SyscallConn() // keeps the descriptor from being closed and reused meanwhile
	if err != nil {
		return err
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))} // zero would disarm
	var armed error
	if err := c.Control(func(fd uintptr) { armed = unix.TimerfdSettime(int(fd), 0, &spec, nil) }); err != nil {
		return err
	}
	return armed
}

func (t *kernelTimer) Wait() error {
	_, err := t.file.Read(t.buf[:])
	return err
}

func (t *kernelTimer) Close() error { return t.file.Close() }

// goTimer is a timer of the runtime.
type goTimer struct {
	timer *time.Timer
	once  sync.Once
	end   chan struct{}
}

func newGoTimer() *goTimer {
	t := &goTimer{timer: time.NewTimer(time.Hour), end: make(chan struct{})}
	t.timer.Stop()
	return t
}

func (t *goTimer) Arm(d time.Duration) error {
	t.timer.Reset(d)
	return nil
}

func (t *goTimer) Wait() error {
	select {
	case <-t.timer.C:
		return nil
	case <-t.end:
		return os.ErrClosed
	}
}

func (t *goTimer) Close() error {
	t.once.Do(func() { close(t.end) })
	t.timer.Stop()
	return nil
}
