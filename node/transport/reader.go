package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quic-go/quic-go"

	"headroom/node/wire"
)

const (
	// readMin is the read buffer of a quiet connection: thousands of clients
	// are mostly idle. It doubles as long as reads fill it, up to readMax.
	readMin = 4 << 10
	// readMax is the read buffer of a busy connection; only a frame that is
	// larger makes it grow beyond, again by doubling, and it falls back after.
	readMax = 64 << 10
)

// readBuffer holds the bytes b[start:end] that have arrived and not been
// handled.
type readBuffer struct {
	b          []byte
	start, end int
}

// frame returns the next complete frame, or ok false if more bytes are
// needed. The payload aliases the buffer until room is called.
func (r *readBuffer) frame() (h wire.Header, payload []byte, ok bool, err error) {
	have := r.b[r.start:r.end]
	if len(have) < wire.HeaderSize {
		return h, nil, false, nil
	}
	h, err = wire.ParseHeader(have)
	total := wire.HeaderSize + int(h.Length)
	if err != nil || len(have) < total {
		return h, nil, false, err
	}
	r.start += total
	return h, have[wire.HeaderSize:total:total], true, nil
}

// room makes space at the end of the buffer for the next read. A length on
// the wire never decides how much: the buffer doubles when bytes have filled
// it.
func (r *readBuffer) room() []byte {
	switch {
	case r.start == r.end:
		r.start, r.end = 0, 0
		if len(r.b) > readMax {
			r.b = make([]byte, readMax)
		}
	case r.start > 0 && len(r.b)-r.end < len(r.b)/2:
		r.end = copy(r.b, r.b[r.start:r.end])
		r.start = 0
	}
	if r.end == len(r.b) {
		r.grow()
	}
	return r.b[r.end:]
}

// filled accounts for a read of n bytes.
func (r *readBuffer) filled(n int) {
	r.end += n
	if r.end == len(r.b) && len(r.b) < readMax {
		r.grow()
	}
}

// grow doubles the buffer. The caller knows that it is full of bytes that
// arrived; frames are at most wire.MaxPayload, so that twice that is the end.
func (r *readBuffer) grow() {
	b := make([]byte, max(readMin, 2*len(r.b)))
	r.end = copy(b, r.b[r.start:r.end])
	r.b, r.start = b, 0
}

// readLoop reads frames and calls the Handler until the connection ends.
func (c *Conn) readLoop() {
	var buf readBuffer
	var err error
	for err == nil {
		var frames int
		if frames, err = c.handle(&buf); err != nil {
			break
		}
		if frames > 0 {
			c.framesIn.Add(uint64(frames))
			c.host.stats.FramesIn.Add(uint64(frames))
			c.handler.Drained(c)
			c.Flush()
		}
		err = c.fill(&buf)
	}
	c.fail(err)
	c.handler.Closed(c, c.Err())
}

// fill reads once.
func (c *Conn) fill(buf *readBuffer) error {
	n, err := c.stream.Read(buf.room())
	c.readAt = c.host.now()
	buf.filled(n)
	c.bytesIn.Add(uint64(n))
	c.host.stats.BytesIn.Add(uint64(n))
	switch {
	case n > 0:
		return nil // an error comes again
	case errors.Is(err, io.EOF) && buf.end > buf.start:
		return fmt.Errorf("%w: stream ended within a frame", wire.ErrFrame)
	}
	return err
}

// SinceRead is how long ago the last bytes were read, of which the frame being
// handled is one: how long it waited for the frames before it. To be called
// from within Handler.Frames.
func (c *Conn) SinceRead() time.Duration { return c.host.now() - c.readAt }

// handle gives every complete frame to the Handler.
func (c *Conn) handle(buf *readBuffer) (frames int, err error) {
	for {
		h, payload, ok, err := buf.frame()
		if err != nil || !ok {
			return frames, err
		}
		c.handler.Frames(c, h, payload)
		frames++
		if c.closed.Load() {
			return frames, c.err
		}
		if c.accepted && c.crowded.Load() {
			// The peer sends requests and does not take the replies: stop
			// reading until it does. Only the accepting side may: if both did,
			// two full windows would wait for each other.
			if err := c.waitBelow(context.Background(), c.maxPending/2+1); err != nil {
				return frames, err
			}
		}
	}
}

// fail closes c for an error of the stream, unless it is closed already.
func (c *Conn) fail(err error) {
	var app *quic.ApplicationError
	switch {
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("%w by the peer", ErrClosed)
	case errors.As(err, &app) && app.Remote:
		err = fmt.Errorf("%w by the peer: %q", ErrClosed, app.ErrorMessage)
	}
	c.Close(err)
	<-c.done
}
