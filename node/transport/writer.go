package transport

import (
	"context"
	"fmt"
	"runtime"
)

const (
	// chunk is the most that one stream write takes: while it waits for the
	// peer, the rest counts as pending.
	chunk = 64 << 10
	// eagerFlush is how much may be Put before the flusher is woken anyway.
	// Flushing only on a drained input starved replies (measured).
	eagerFlush = 32 << 10
	// keepBuffer is the send buffer that an idle connection may keep.
	keepBuffer = 256 << 10
)

// Append lets add append one frame to the send buffer and wakes the flusher.
// add gets the buffer and returns it extended; it runs under the connection's
// lock, so it must only encode. Append never blocks on the network. It fails
// with ErrBackpressure, before calling add, or with the reason of the close.
func (c *Conn) Append(add func(b []byte) []byte) error { return c.put(add, 1) }

// Put is Append without the wake-up: for replies from within Frames, which
// are flushed when the input is drained, and for callers that Flush
// themselves. Beyond 32 KiB the flusher is woken all the same.
func (c *Conn) Put(add func(b []byte) []byte) error { return c.put(add, eagerFlush) }

// put appends a frame and wakes the flusher if wakeAt bytes are pending.
func (c *Conn) put(add func(b []byte) []byte, wakeAt int) error {
	c.mu.Lock()
	if err := c.admitLocked(); err != nil {
		c.mu.Unlock()
		return c.refused(err)
	}
	c.pending = add(c.pending)
	c.addedLocked(wakeAt)
	c.mu.Unlock()
	return nil
}

// Reply is Append for the answer to a request that came on c. Refused, it would
// leave who asked waiting to the end of its deadline; so it is taken beyond the
// limit of other frames, and if c owes owedMost times as much, c is closed,
// which tells the peer at once. What is owed is bounded by what was read: the
// reader stops at half of the limit.
func (c *Conn) Reply(add func(b []byte) []byte) { c.reply(add, 1) }

// PutReply is Reply without the wake-up: see Put.
func (c *Conn) PutReply(add func(b []byte) []byte) { c.reply(add, eagerFlush) }

// owedMost times the send buffer's limit is what a connection may owe.
const owedMost = 2

func (c *Conn) reply(add func(b []byte) []byte, wakeAt int) {
	c.mu.Lock()
	lost := c.isClosing || c.overdrawn
	full := len(c.pending)+c.unsent >= owedMost*c.maxPending
	if !lost && !full {
		c.pending = add(c.pending)
		c.addedLocked(wakeAt)
	}
	c.overdrawn = c.overdrawn || full
	c.mu.Unlock()
	if full && !lost {
		c.host.spawn(func() { // closing may wait for the connection, and callers hold locks
			c.Close(fmt.Errorf("%w: it takes no replies", ErrStalled))
		})
	}
}

// Send is Append of a complete frame, which it copies.
func (c *Conn) Send(frame []byte) error {
	c.mu.Lock()
	if err := c.admitLocked(); err != nil {
		c.mu.Unlock()
		return c.refused(err)
	}
	c.pending = append(c.pending, frame...)
	c.addedLocked(1)
	c.mu.Unlock()
	return nil
}

// SendWait is Send that waits for room instead of failing with
// ErrBackpressure. Never call it from a Handler.
func (c *Conn) SendWait(ctx context.Context, frame []byte) error {
	for {
		c.mu.Lock()
		err := c.admitLocked()
		if err == nil {
			c.pending = append(c.pending, frame...)
			c.addedLocked(1)
			c.mu.Unlock()
			return nil
		}
		if err != ErrBackpressure {
			c.mu.Unlock()
			return c.refused(err)
		}
		space := c.spaceLocked()
		c.mu.Unlock()
		if err := c.await(ctx, space); err != nil {
			return err
		}
	}
}

// Flush wakes the flusher if anything is pending.
func (c *Conn) Flush() {
	c.mu.Lock()
	if len(c.pending) > 0 {
		c.wakeLocked()
	}
	c.mu.Unlock()
}

// FlushWait waits until QUIC has taken everything appended so far. That is
// not yet delivery: closing the connection right after may lose it.
func (c *Conn) FlushWait(ctx context.Context) error { return c.waitBelow(ctx, 1) }

// maxOnSent bounds the functions that wait on one connection.
const maxOnSent = 64

// OnSent calls f once QUIC has taken all that was appended so far: for samples
// of how long that takes. f runs on the flusher's goroutine, or at once, and
// must not block. It is dropped when the connection ends first, or when too
// many wait.
func (c *Conn) OnSent(f func()) {
	c.mu.Lock()
	switch {
	case len(c.onSent)+len(c.onWritten) >= maxOnSent || c.isClosing:
		f = nil
	case len(c.pending) > 0:
		c.onSent, f = append(c.onSent, f), nil
	case c.unsent > 0:
		c.onWritten, f = append(c.onWritten, f), nil
	}
	c.mu.Unlock()
	if f != nil {
		f()
	}
}

// waitBelow waits until fewer than n bytes are pending or unsent.
func (c *Conn) waitBelow(ctx context.Context, n int) error {
	for {
		c.mu.Lock()
		if c.isClosing {
			c.mu.Unlock()
			return c.refused(ErrClosed)
		}
		if len(c.pending)+c.unsent < n {
			c.mu.Unlock()
			return nil
		}
		c.wakeLocked()
		space := c.spaceLocked()
		c.mu.Unlock()
		if err := c.await(ctx, space); err != nil {
			return err
		}
	}
}

func (c *Conn) await(ctx context.Context, space <-chan struct{}) error {
	select {
	case <-space:
		return nil
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Conn) admitLocked() error {
	if c.isClosing {
		return ErrClosed
	}
	if len(c.pending)+c.unsent >= c.maxPending {
		return ErrBackpressure
	}
	return nil
}

// refused counts a refusal and gives the reason of a close its true name.
func (c *Conn) refused(err error) error {
	if err == ErrBackpressure {
		c.host.stats.Backpressure.Add(1)
		return err
	}
	<-c.done // Close is between its two steps at worst
	return c.err
}

func (c *Conn) addedLocked(wakeAt int) {
	c.appends++
	if len(c.pending) >= wakeAt {
		c.wakeLocked()
	}
	if len(c.pending)+c.unsent > c.maxPending/2 {
		c.crowded.Store(true)
	}
}

func (c *Conn) wakeLocked() {
	if !c.woken {
		c.woken = true
		c.wake <- struct{}{} // capacity 1, and woken says it is empty
	}
}

func (c *Conn) spaceLocked() <-chan struct{} {
	if c.space == nil {
		c.space = make(chan struct{})
	}
	return c.space
}

// flushLoop is the only writer of the stream: it takes all that is pending,
// gives QUIC one write for it, and sleeps.
func (c *Conn) flushLoop() {
	var batch []byte // the buffer that is not pending
	crowd := false   // the last batch had company: expect it again
	for {
		select {
		case <-c.wake:
		case <-c.done:
			return
		}
		if crowd || c.accepted || c.peer.Class == ClassReplication || c.company() {
			// Let others who are about to append do so: measured 2.0 times the
			// throughput at 64 in flight. It costs a client 10 % when alone, so
			// not then; a node always has others, on other connections.
			runtime.Gosched()
		}
		var n int
		batch, n = c.take(batch)
		crowd = n > 1
		if err := c.write(batch); err != nil {
			c.fail(err)
			return
		}
		batch = trim(batch)
	}
}

// company reports whether more than one frame is pending.
func (c *Conn) company() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.appends > 1
}

// take swaps the pending buffer for an empty one and returns it with the
// number of its frames.
func (c *Conn) take(empty []byte) ([]byte, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch, n := c.pending, c.appends
	c.pending, c.appends, c.woken = empty[:0], 0, false
	c.unsent = len(batch)
	if len(c.onSent) > 0 {
		c.onWritten, c.onSent = c.onSent, nil // none is left of the batch before
	}
	c.framesOut += uint64(n)
	c.host.stats.FramesOut.Add(uint64(n))
	return batch, n
}

// write hands batch to QUIC, at most chunk bytes at a time. It blocks while
// the peer's window is closed.
func (c *Conn) write(batch []byte) error {
	for len(batch) > 0 {
		part := batch[:min(len(batch), chunk)]
		batch = batch[len(part):]
		c.busySince.Store(int64(c.host.now()))
		_, err := c.stream.Write(part)
		c.busySince.Store(0)
		if err != nil {
			return err
		}
		c.writesDone.Add(1)
		c.bytesOut.Add(uint64(len(part)))
		c.host.stats.Writes.Add(1)
		c.host.stats.BytesOut.Add(uint64(len(part)))
		c.sent(len(part))
	}
	return nil
}

// sent accounts for n bytes that QUIC took and tells those who wait.
func (c *Conn) sent(n int) {
	c.mu.Lock()
	c.unsent -= n
	if len(c.pending)+c.unsent <= c.maxPending/2 && c.crowded.Load() {
		c.crowded.Store(false)
	}
	space := c.space
	c.space = nil
	var written []func()
	if c.unsent == 0 && len(c.onWritten) > 0 {
		written, c.onWritten = c.onWritten, nil
	}
	c.mu.Unlock()
	if space != nil {
		close(space)
	}
	for _, f := range written {
		f()
	}
}

// trim gives back a buffer that a burst made large, unless bursts fill it
// regularly.
func trim(b []byte) []byte {
	if cap(b) > keepBuffer && len(b) < cap(b)/4 {
		return nil
	}
	return b[:0]
}
