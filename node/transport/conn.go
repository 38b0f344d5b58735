package transport

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"headroom/node/wire"
)

// Conn is one connection with one stream of frames in each direction. All
// methods may be called from any goroutine unless they say otherwise.
type Conn struct {
	// State belongs to the Handler: set it in Opened, use it in Frames,
	// Drained and Closed. The transport never touches it.
	State any

	host       *host
	handler    Handler
	qc         *quic.Conn
	stream     *quic.Stream
	peer       Peer
	accepted   bool
	maxPending int

	done   chan struct{} // closed by Close
	closed atomic.Bool   // done is closed; cheaper to ask
	err    error         // why; written before done is closed

	framesIn, bytesIn    atomic.Uint64
	bytesOut, writesDone atomic.Uint64
	// busySince is when the flusher entered the QUIC write it is in, as
	// nanoseconds since the host's start, or 0. The janitor reads it.
	busySince atomic.Int64
	crowded   atomic.Bool   // queued is beyond half of maxPending
	wake      chan struct{} // capacity 1: one wake-up stands for all
	readAt    time.Duration // on host.now, of the last read; the reader's

	mu        sync.Mutex // guards all below; a leaf
	isClosing bool
	overdrawn bool          // a reply found no room: c is about to be closed
	pending   []byte        // appended, not yet taken by the flusher
	unsent    int           // bytes the flusher took and QUIC has not
	appends   int           // frames in pending
	framesOut uint64        // frames appended ever
	woken     bool          // a wake-up is on its way
	space     chan struct{} // closed when bytes left; nil if nobody waits
	onSent    []func()      // of frames that are pending
	onWritten []func()      // of frames that the flusher took
}

func newConn(h *host, hd Handler, qc *quic.Conn, s *quic.Stream, p Peer, accepted bool) *Conn {
	return &Conn{
		host: h, handler: hd, qc: qc, stream: s, peer: p, accepted: accepted, maxPending: h.maxPending,
		done: make(chan struct{}),
		wake: make(chan struct{}, 1),
	}
}

// start runs the two goroutines of c.
func (c *Conn) start() {
	c.host.wg.Go(c.flushLoop)
	c.host.wg.Go(c.readLoop)
}

// Peer says who is at the other end.
func (c *Conn) Peer() Peer { return c.peer }

// Accepted reports whether the other side dialed.
func (c *Conn) Accepted() bool { return c.accepted }

// Done is closed when c is closed by either side; Err is set before.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why c was closed, or nil while it is open.
func (c *Conn) Err() error {
	if !c.closed.Load() {
		return nil
	}
	<-c.done
	return c.err
}

// Stats returns what c has carried so far.
func (c *Conn) Stats() ConnStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ConnStats{
		FramesIn: c.framesIn.Load(), BytesIn: c.bytesIn.Load(),
		FramesOut: c.framesOut, BytesOut: c.bytesOut.Load(), Writes: c.writesDone.Load(),
		Pending: len(c.pending) + c.unsent,
	}
}

// Codes with which a connection is closed (RFC 9000 §20.2: the application's
// choice).
const (
	codeBye quic.ApplicationErrorCode = iota
	codeMalformed
	codePeer
	codeLimit
	codeStalled
)

// maxReason bounds the text sent with a close: it must fit one packet.
const maxReason = 200

// Close closes c at once: what was appended and not yet sent is lost, pending
// reads and writes on both sides fail. reason, told to the other side, may be
// nil; one that wraps wire.ErrFrame is counted as malformed input. It does
// not wait for the Handler: Closed follows on the reader's goroutine. Only
// the first call counts. It may be called from the Handler.
func (c *Conn) Close(reason error) {
	if reason == nil {
		reason = ErrClosed
	}
	c.mu.Lock()
	if c.isClosing {
		c.mu.Unlock()
		return
	}
	c.isClosing = true
	c.pending = nil
	c.mu.Unlock()

	c.err = reason
	code := c.countReason(reason) // before anybody can see that it is closed
	c.closed.Store(true)
	close(c.done)
	text := reason.Error()
	c.qc.CloseWithError(code, text[:min(len(text), maxReason)])
	c.host.forget(c)
}

func (c *Conn) countReason(reason error) quic.ApplicationErrorCode {
	switch {
	case errors.Is(reason, wire.ErrFrame):
		c.host.stats.Malformed.Add(1)
		return codeMalformed
	case errors.Is(reason, ErrStalled):
		c.host.stats.Stalled.Add(1)
		return codeStalled
	case errors.Is(reason, ErrPeer):
		return codePeer
	}
	return codeBye
}

// checkStall closes c if QUIC has not taken a write for stallTimeout.
func (c *Conn) checkStall(now time.Duration) {
	since := c.busySince.Load()
	if since != 0 && now-time.Duration(since) > stallTimeout {
		c.Close(fmt.Errorf("%w for %v", ErrStalled, stallTimeout))
	}
}
