package client

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

const (
	// redialMin and redialMax bound the pause between dials of a member. A
	// restarted node is back within a second; one that stays away costs one
	// handshake a second.
	redialMin = 20 * time.Millisecond
	redialMax = time.Second
	// linger is how long the connection to a node that left the View is kept
	// for answers to calls that must not be sent twice: a node that leaves
	// with grace still answers them.
	linger = 3 * time.Second
	// dialLimit bounds one dial; the transport's own handshake limit is 3 s.
	dialLimit = 5 * time.Second
)

// node is one member as this client sees it.
type node struct {
	id    cluster.NodeID
	addr  string
	stats *counters
	stop  context.CancelFunc

	conn     atomic.Pointer[conn] // nil while not connected
	wasUp    atomic.Bool          // was connected once
	failures atomic.Uint32        // dials that failed in a row
	left     atomic.Int64         // instant at which the map dropped it; zero while it is a member
}

// counters count what happened with one node id; they outlive connections.
type counters struct {
	sent, answered, retries, failovers, connects atomic.Uint64
}

// joinLocked starts to connect to a new member.
func (c *Client) joinLocked(x wire.MapMember) *node {
	st := c.counters[x.Node]
	if st == nil {
		st = new(counters)
		c.counters[x.Node] = st
	}
	ctx, stop := context.WithCancel(c.ctx)
	n := &node{id: x.Node, addr: x.Addr, stats: st, stop: stop}
	c.nodes[x.Node] = n
	c.all = append(c.all, n)
	c.wg.Go(func() { c.keep(ctx, n) })
	return n
}

// leaveLocked marks a node that is no member any more; the steward ends its
// connection.
func (c *Client) leaveLocked(n *node) {
	if n.left.Load() == 0 {
		n.left.Store(int64(max(1, c.Now())))
	}
	if c.nodes[n.id] == n {
		delete(c.nodes, n.id)
	}
}

// keep holds a connection to n until ctx ends.
func (c *Client) keep(ctx context.Context, n *node) {
	pause := redialMin
	for ctx.Err() == nil {
		cn, err := c.connect(ctx, n.addr, n)
		if err != nil {
			n.failures.Add(1)
			if c.up.Load() == 0 {
				c.seedError(err) // Dial says why it found nobody
			}
			sleep(ctx, pause/2+rand.N(pause/2))
			pause = min(2*pause, redialMax)
			continue
		}
		pause = redialMin
		n.failures.Store(0)
		n.stats.connects.Add(1)
		n.conn.Store(cn)
		n.wasUp.Store(true)
		c.connected(+1)
		c.changed.Store(true)
		c.nudge()
		select {
		case <-cn.link.Done():
		case <-ctx.Done():
			cn.link.Close(ErrClosed)
		}
		n.conn.Store(nil)
		c.connected(-1)
		c.disconnected(cn)
	}
}

// connect dials addr and greets the node there; n is nil for a seed.
func (c *Client) connect(ctx context.Context, addr string, n *node) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	cn := newConn(c, n)
	var want cluster.NodeID
	if n != nil {
		want = n.id
	}
	l, peer, err := c.dialer.dial(ctx, addr, want, cn)
	if err != nil {
		return nil, err
	}
	if err := cn.attach(l, peer); err != nil {
		l.Close(err)
		return nil, err
	}
	return cn, nil
}

// disconnected cleans up after a connection to a member.
func (c *Client) disconnected(cn *conn) {
	c.mu.Lock()
	c.forgetLocked(cn.peer)
	c.mu.Unlock()
	cn.node.stats.add(cn)
	cn.retire(c.Now())
}

// add takes over the counts of a connection that ended.
func (s *counters) add(cn *conn) {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	s.sent.Add(cn.sent)
	s.answered.Add(cn.answered)
	cn.sent, cn.answered = 0, 0
}

// connected counts connected members; at none the seeds are asked again.
func (c *Client) connected(d int32) {
	if up := c.up.Add(d); up == 0 || up == d {
		poke(c.upChanged)
	}
}

// seek asks the seeds for a map whenever no member is connected.
func (c *Client) seek() {
	for c.ctx.Err() == nil {
		if c.up.Load() > 0 {
			select {
			case <-c.upChanged:
			case <-c.ctx.Done():
			}
			continue
		}
		c.askSeeds()
		sleep(c.ctx, redialMin+rand.N(redialMin))
	}
}

// askSeeds connects to all seeds at once and waits for a map that leads to a
// member.
func (c *Client) askSeeds() {
	ctx, cancel := context.WithTimeout(c.ctx, dialLimit)
	defer cancel()
	results := make(chan error, len(c.cfg.Seeds))
	for _, addr := range c.cfg.Seeds {
		c.wg.Go(func() { results <- c.askSeed(ctx, addr) })
	}
	for left := len(c.cfg.Seeds); left > 0; {
		select {
		case err := <-results:
			left--
			if err != nil {
				c.seedError(err)
			}
		case <-c.upChanged:
			if c.up.Load() > 0 {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// askSeed keeps a connection to one seed until ctx ends or it is lost: the
// maps it pushes count like any member's.
func (c *Client) askSeed(ctx context.Context, addr string) error {
	cn, err := c.connect(ctx, addr, nil)
	if err != nil {
		return err
	}
	select {
	case <-cn.link.Done():
	case <-ctx.Done():
	}
	cn.link.Close(ErrClosed)
	c.mu.Lock()
	c.forgetLocked(cn.peer)
	c.mu.Unlock()
	return nil
}

// forgetLocked forgets the maps of a node whose connection ended, unless it
// has another: as a seed, or from an earlier membership.
func (c *Client) forgetLocked(peer cluster.NodeID) {
	if n := c.nodes[peer]; n == nil || n.conn.Load() == nil {
		c.atlas.forget(peer)
	}
}

// poke wakes whoever waits on a channel of capacity one.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// sleep waits d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
