package client

import (
	"time"

	"headroom/node/cluster"
)

const (
	// tick is how coarse deadlines are: an operation that fails at its
	// deadline of seconds may as well fail 5 ms later.
	tick = 5 * time.Millisecond
	// tickMin keeps a crowd of retries from turning the steward into a spin.
	tickMin = time.Millisecond
	// backoffMin doubles up to backoffMax: the first retry is about one
	// handover of a partition later, the last bounds what a client that waits
	// for a View change costs its nodes, 20 requests per call and second.
	backoffMin = 2 * time.Millisecond
	backoffMax = 50 * time.Millisecond
	// maxParked bounds the calls that wait for a master. Beyond it new ones
	// get ErrBusy.
	maxParked = 1 << 16
)

// park keeps a call until its backoff has passed or a new map or connection
// changes where it goes. On an error the caller still has the call.
func (c *Client) park(call *Call, now cluster.Instant) error {
	pause := min(backoffMin<<min(call.pauses, 16), backoffMax)
	c.parkMu.Lock()
	defer c.parkMu.Unlock()
	if c.parkShut {
		return ErrClosed
	}
	if len(c.parked) >= maxParked {
		return ErrBusy
	}
	call.pauses++
	// Jitter spreads the calls that one failure stopped at the same moment.
	call.retryAt = now.Add(pause/2 + time.Duration(c.rng.Int64N(int64(pause/2)+1)))
	c.parked = append(c.parked, call)
	if call.retryAt < c.stewardAt {
		c.stewardAt = call.retryAt
		c.nudge()
	}
	return nil
}

// nudge makes the steward look at once.
func (c *Client) nudge() { poke(c.wake) }

// steward is the one timer goroutine: it expires calls, retries parked ones
// and moves calls away from nodes that the map does not name any more.
func (c *Client) steward() {
	timer := time.NewTimer(tick)
	defer timer.Stop()
	var s sweep
	for {
		select {
		case <-timer.C:
		case <-c.wake:
		case <-c.ctx.Done():
			return
		}
		moved := c.changed.Swap(false)
		now := c.Now()
		s.nodes = c.snapshot(s.nodes[:0])
		for _, n := range s.nodes {
			c.tend(&s, n, now, moved)
		}
		c.tendParked(&s, now, moved)
		timer.Reset(c.rest())
	}
}

// sweep holds the memory one pass needs, for the next pass.
type sweep struct {
	nodes  []*node
	calls  []*Call
	parked []*Call
}

func (c *Client) snapshot(to []*node) []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append(to, c.all...)
}

// tend expires the calls in flight to n and, if the map changed, moves those
// that have a better place to go.
func (c *Client) tend(s *sweep, n *node, now cluster.Instant, moved bool) {
	left := cluster.Instant(n.left.Load())
	if left != 0 && now.Sub(left) > linger {
		c.drop(n)
	}
	cn := n.conn.Load()
	if cn == nil {
		return
	}
	s.calls = cn.takeExpired(now, s.calls[:0])
	for _, call := range s.calls {
		c.expire(call, now, true)
	}
	clear(s.calls)
	if moved {
		r := c.routes.Load()
		s.calls = cn.takeIf(func(call *Call) bool { return misplaced(r, call, left != 0) }, s.calls[:0])
		for _, call := range s.calls {
			c.lost(call, now)
		}
	}
	clear(s.calls)
}

// misplaced reports whether a call in flight should be sent elsewhere at
// once. Reads follow the master. A write that may be sent twice does so only
// when the node that has it left the View: as long as it is a member it may
// be forwarding the write, and a second copy that is overtaken by a newer
// write of the same client would undo that write. Others wait for the reply.
func misplaced(r *routes, call *Call, left bool) bool {
	switch {
	case call.raw != nil:
		return left
	case call.reads():
		n := r.master(call.Namespace, call.Digest.Partition())
		return left || n != nil && n.id != call.master
	}
	return left && call.repeatable()
}

// drop ends the connection of a node that left the View long enough ago.
func (c *Client) drop(n *node) {
	n.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, x := range c.all {
		if x == n {
			c.all = append(c.all[:i], c.all[i+1:]...)
			break
		}
	}
}

// tendParked retries the parked calls whose time or place has come.
func (c *Client) tendParked(s *sweep, now cluster.Instant, moved bool) {
	c.parkMu.Lock()
	c.parked, s.parked = s.parked[:0], c.parked
	c.parkMu.Unlock()
	r := c.routes.Load()
	wait := s.parked[:0]
	for _, call := range s.parked {
		switch {
		case now >= call.deadline:
			c.expire(call, now, false)
		case now >= call.retryAt || moved && c.moved(r, call):
			c.resend(call, now)
		default:
			wait = append(wait, call)
		}
	}
	c.parkMu.Lock()
	shut := c.parkShut
	if !shut {
		c.parked = append(c.parked, wait...)
	}
	c.parkMu.Unlock()
	if shut {
		c.abandon(wait)
	}
	clear(s.parked)
}

// moved reports whether a parked call can go somewhere it could not before.
func (c *Client) moved(r *routes, call *Call) bool {
	n := r.master(call.Namespace, call.Digest.Partition())
	return n != nil && (n.id != call.master || call.waiting && n.conn.Load() != nil)
}

// rest returns how long the steward may sleep.
func (c *Client) rest() time.Duration {
	now := c.Now()
	c.parkMu.Lock()
	defer c.parkMu.Unlock()
	at := now.Add(tick)
	for _, call := range c.parked {
		at = min(at, call.retryAt)
	}
	c.stewardAt = at
	return max(tickMin, at.Sub(now))
}

// shutParked refuses further parked calls and finishes those there are.
func (c *Client) shutParked() {
	c.parkMu.Lock()
	c.parkShut = true
	calls := c.parked
	c.parked = nil
	c.parkMu.Unlock()
	c.abandon(calls)
}

func (c *Client) abandon(calls []*Call) {
	now := c.Now()
	for _, call := range calls {
		c.fail(call, statusOf(ErrClosed), ErrClosed, now)
	}
}
