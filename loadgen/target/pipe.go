package target

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pipeTick is how often deadlines are looked at: a hundredth of the usual
	// deadline, and no measurable CPU.
	pipeTick = 10 * time.Millisecond
	// redialMin and redialMax space the attempts to connect.
	redialMin = 10 * time.Millisecond
	redialMax = 200 * time.Millisecond
	// zombieFor is how long after its deadline a request may hold its place in
	// the order of replies before the connection is given up.
	zombieFor = 2 * time.Second
	// pipeBytesMax bounds what waits to be written on one connection.
	pipeBytesMax = 64 << 20
	pipeReadSize = 64 << 10
)

var errPipeClosed = errors.New("target: the lane is closed")

// codec is a protocol whose replies come in the order of the requests.
type codec interface {
	// hello makes a fresh connection usable; it may read and write at will.
	hello(rw *bufio.ReadWriter) error
	// encode appends the request of op.
	encode(b []byte, op *Op) []byte
	// decode reads the reply to a request into r, whose Token is set, using
	// buf for the value; each record of a batch is given to item first. An
	// error means that the connection is of no more use.
	decode(in *bufio.Reader, kind Kind, n int, buf []byte, r *Result, item func(*Result)) ([]byte, error)
}

// batchExpiring is to decode a BatchWrite with a time to live.
const batchExpiring Kind = 200

// pending is a request in the order of the connection.
type pending struct {
	token    uint64
	start    uint64 // offset of its first byte in all that was ever queued
	deadline time.Duration
	size     int // bytes of the request
	n        int // records of a batch
	kind     Kind
	given    bool // completed by its deadline: its reply, if any, is dropped
}

// pipe is one pipelined connection with its own reconnects. Submit appends to
// a buffer and flush writes without ever blocking; a reader completes. While
// there is no connection requests wait in the buffer until their deadline,
// then they fail: they were certainly not executed. What was written to a
// connection that is lost is in doubt. No goroutine, channel or allocation per
// operation.
//
// It is our own because the usual clients (go-redis, gomemcache) hold a
// goroutine per request in flight, and rueidis allocates and passes a channel
// per request: 1 us and more of the generator's CPU per operation.
type pipe struct {
	codec    codec
	dial     func(context.Context) (net.Conn, error)
	complete func(*Result)
	base     time.Time
	done     chan struct{} // closed when run has returned
	kick     chan struct{} // capacity 1: something ended

	mu      sync.Mutex // guards all below; complete is never called under it
	ring    []pending
	head    int
	count   int
	given   int    // of these, from head on, completed by their deadlines
	out     []byte // queued, not yet handed to the kernel
	spare   []byte
	queued  uint64 // bytes ever queued; out ends there
	sent    uint64 // bytes handed to the kernel or dropped
	writing bool
	conn    *pipeConn // nil while there is none
	lastErr error
	closing bool
}

// pipeConn is one life of the connection.
type pipeConn struct {
	net.Conn
	raw syscall.RawConn
	// try is the write that raw calls; it reads and sets the fields below.
	try func(fd uintptr) bool
	buf []byte
	n   int
}

func newPipe(c codec, dial func(context.Context) (net.Conn, error), limit int, complete func(*Result)) *pipe {
	p := &pipe{codec: c, dial: dial, complete: complete, base: time.Now(), ring: make([]pending, limit),
		done: make(chan struct{}), kick: make(chan struct{}, 1)}
	go p.run()
	return p
}

// submit queues op.
func (p *pipe) submit(op *Op) error {
	now := time.Since(p.base)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closing:
		return errPipeClosed
	case p.count == len(p.ring) || len(p.out) > pipeBytesMax:
		return ErrFull
	}
	at := len(p.out)
	p.out = p.codec.encode(p.out, op)
	size := len(p.out) - at
	kind := op.Kind
	if kind == BatchWrite && op.TTL > 0 {
		kind = batchExpiring
	}
	p.ring[(p.head+p.count)%len(p.ring)] = pending{token: op.Token, kind: kind, n: len(op.Keys), deadline: now + op.Budget,
		start: p.queued, size: size}
	p.queued += uint64(size)
	p.count++
	return nil
}

// flush hands what is queued to the kernel, as much as it takes.
func (p *pipe) flush() {
	p.mu.Lock()
	for !p.writing && p.conn != nil && len(p.out) > 0 {
		c, buf := p.conn, p.out
		p.writing, p.out = true, p.spare[:0]
		p.sent += uint64(len(buf)) // from now on in doubt if the connection breaks
		p.mu.Unlock()
		n := c.write(buf)
		p.mu.Lock()
		p.writing, p.spare = false, buf[:0]
		if n == len(buf) {
			continue
		}
		if p.conn == c { // the kernel is full: the rest goes first next time
			p.sent -= uint64(len(buf) - n)
			p.out = append(append(make([]byte, 0, len(buf)-n+len(p.out)), buf[n:]...), p.out...)
		}
		break
	}
	p.mu.Unlock()
}

// write writes what goes without blocking. An error shows at the reader, too.
func (c *pipeConn) write(buf []byte) int {
	c.buf, c.n = buf, 0
	_ = c.raw.Write(c.try) // fails only on a closed connection
	return c.n
}

func newPipeConn(c net.Conn) (*pipeConn, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("target: no system connection behind %T", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	pc := &pipeConn{Conn: c, raw: raw}
	pc.try = func(fd uintptr) bool {
		for pc.n < len(pc.buf) {
			n, err := unix.Write(int(fd), pc.buf[pc.n:])
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return true
			}
			pc.n += n
		}
		return true
	}
	return pc, nil
}

// run connects, again and again, until the pipe is closed and empty.
func (p *pipe) run() {
	defer close(p.done)
	tick := time.NewTicker(pipeTick)
	defer tick.Stop()
	pause, next := redialMin, time.Duration(0)
	for !p.drained() {
		p.sweep()
		if time.Since(p.base) >= next {
			err := p.session(tick)
			if err == nil {
				pause = redialMin
			}
			p.lose(err)
			next = time.Since(p.base) + pause
			pause = min(2*pause, redialMax)
		}
		select {
		case <-tick.C:
		case <-p.kick:
		}
	}
}

// session is one life of the connection. A nil error means that it worked for
// some time.
func (p *pipe) session(tick *time.Ticker) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	pc, err := newPipeConn(c)
	if err != nil {
		return err
	}
	in := bufio.NewReaderSize(c, pipeReadSize)
	_ = c.SetDeadline(time.Now().Add(time.Second)) // an error shows at the first read
	if err := p.codec.hello(bufio.NewReadWriter(in, bufio.NewWriter(c))); err != nil {
		return err
	}
	_ = c.SetDeadline(time.Time{})
	p.mu.Lock()
	p.conn = pc
	p.mu.Unlock()
	p.flush()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.read(in)
	}()
	for {
		select {
		case <-ended:
			return nil
		case <-tick.C:
		case <-p.kick:
		}
		if p.sweep() || p.drained() {
			c.Close()
			<-ended
			return nil
		}
		p.flush()
	}
}

// lose gives up the connection: what was written is failed or in doubt.
func (p *pipe) lose(err error) {
	p.mu.Lock()
	if p.conn = nil; err != nil || p.lastErr == nil {
		p.lastErr = err
	}
	if p.lastErr == nil {
		p.lastErr = errors.New("the connection was closed by the other side")
	}
	p.mu.Unlock()
	for {
		p.mu.Lock()
		if p.count == 0 || p.ring[p.head].start >= p.sent {
			p.given = 0 // what is left was never written
			p.mu.Unlock()
			return
		}
		e := p.ring[p.head]
		p.popLocked()
		// A request that was written in part: its rest must not begin the next life.
		if end := e.start + uint64(e.size); end > p.sent {
			p.out = p.out[end-p.sent:]
			p.sent = end
		}
		err := p.lastErr
		p.mu.Unlock()
		if !e.given {
			p.fail(e, true, err)
		}
	}
}

// fail completes a request that has no reply.
func (p *pipe) fail(e pending, written bool, err error) {
	r := Result{Token: e.token, Outcome: Failed, Err: err}
	if written && e.kind != Read && e.kind != BatchRead && e.kind != Scan {
		r.Outcome = InDoubt
	}
	p.complete(&r)
}

var errOverdue = errors.New("no reply within the deadline")

// sweep completes what is overdue. It reports that the connection must be
// given up, because replies are missing for too long.
func (p *pipe) sweep() (giveUp bool) {
	now := time.Since(p.base)
	for {
		p.mu.Lock()
		if p.given == p.count {
			giveUp = p.hopelessLocked(now)
			p.mu.Unlock()
			return giveUp
		}
		e := &p.ring[(p.head+p.given)%len(p.ring)]
		if e.deadline > now {
			giveUp = p.hopelessLocked(now)
			p.mu.Unlock()
			return giveUp
		}
		gone, written, err := *e, p.conn != nil, errOverdue
		if written {
			e.given = true // it keeps its place: a reply may still come
			p.given++
		} else {
			// Never written: it leaves the buffer and is certainly not executed.
			p.out = p.out[e.size:]
			p.sent += uint64(e.size)
			p.popLocked()
			if p.lastErr != nil {
				err = p.lastErr
			}
		}
		p.mu.Unlock()
		p.fail(gone, written, err)
	}
}

func (p *pipe) hopelessLocked(now time.Duration) bool {
	return p.conn != nil && p.given > 0 && now-p.ring[p.head].deadline > zombieFor
}

func (p *pipe) popLocked() {
	if p.head++; p.head == len(p.ring) {
		p.head = 0
	}
	p.count--
	if p.given > 0 {
		p.given--
	}
}

// read completes requests as their replies come, until the connection ends.
func (p *pipe) read(in *bufio.Reader) {
	var buf []byte
	item := p.complete
	for {
		if in.Buffered() == 0 {
			p.flush() // what the kernel did not take before
		}
		if _, err := in.Peek(1); err != nil {
			p.note(err)
			return
		}
		p.mu.Lock()
		if p.count == 0 {
			p.mu.Unlock()
			p.note(errors.New("a reply without a request"))
			return
		}
		e := p.ring[p.head]
		p.mu.Unlock()
		r := Result{Token: e.token}
		var err error
		if buf, err = p.codec.decode(in, e.kind, e.n, buf, &r, item); err != nil {
			p.note(err)
			return
		}
		p.mu.Lock()
		given := p.ring[p.head].given
		p.popLocked()
		empty := p.count == 0 && p.closing
		p.mu.Unlock()
		if !given {
			p.complete(&r)
		}
		if empty {
			p.wakeUp()
		}
	}
}

// note keeps why the connection ended.
func (p *pipe) note(err error) {
	var op *net.OpError
	switch {
	case errors.Is(err, io.EOF):
		err = errors.New("the connection was closed by the other side")
	case errors.As(err, &op): // without addresses: errors are counted by their text
		err = fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	p.mu.Lock()
	p.lastErr = err
	p.mu.Unlock()
}

func (p *pipe) drained() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closing && p.count == p.given
}

func (p *pipe) wakeUp() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// close completes what is in flight, at the latest by its deadline.
func (p *pipe) close() {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	p.wakeUp()
	<-p.done
}
