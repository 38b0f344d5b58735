package transport

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"headroom/node/cluster"
)

const (
	// A failed dial is tried again after a random half to whole of the delay,
	// which doubles from redialMin to redialMax: a returning node is reached
	// soon, an absent one costs two packets a second.
	redialMin = 10 * time.Millisecond
	redialMax = 500 * time.Millisecond
	// dialTimeout bounds one attempt.
	dialTimeout = 2 * time.Second
	// settled is how long a connection must live before its end counts as
	// news instead of another failure.
	settled = time.Second
)

// warm says which classes are connected before anybody asks: the first
// message of an agreement or of a write must not find the door closed. Bulk
// is dialed when first used.
var warm = [classes]bool{ClassControl: true, ClassReplication: true}

// Mesh keeps one connection per (node, class) that this side dialed. Each
// side sends its requests on the connections it dialed and gets the replies
// back on them; a pair of nodes therefore has two connections per class.
// Mesh lives as long as its Endpoint.
type Mesh struct {
	ep    *Endpoint
	mu    sync.Mutex // guards changes of peers
	peers atomic.Pointer[map[cluster.NodeID]*meshPeer]
}

type meshPeer struct {
	addr   string
	cancel context.CancelFunc
	links  [classes]*link
}

// link is one (node, class).
type link struct {
	ep     *Endpoint
	node   cluster.NodeID
	addr   string
	class  Class
	conn   atomic.Pointer[Conn] // nil while not connected
	demand chan struct{}        // capacity 1: somebody wants to send
	hurry  chan struct{}        // capacity 1: do not wait for the delay

	stranger bool // a peer that was refused has been reported; run's own

	mu      sync.Mutex // guards all below
	dropped bool       // Mesh.Drop ended the last connection
	attempt context.CancelFunc
	since   time.Time // start of the attempt
}

// NewMesh returns a mesh without peers on e.
func NewMesh(e *Endpoint) *Mesh {
	m := &Mesh{ep: e}
	m.peers.Store(&map[cluster.NodeID]*meshPeer{})
	return m
}

// SetPeers makes peers (node to "host:port"; this node itself is ignored) the
// nodes to connect to. Connections to nodes that left or whose address
// changed are closed.
func (m *Mesh) SetPeers(peers map[cluster.NodeID]string) {
	m.mu.Lock()
	next := map[cluster.NodeID]*meshPeer{}
	old := maps.Clone(*m.peers.Load())
	for node, addr := range peers {
		if node == m.ep.cfg.Node {
			continue
		}
		if p := old[node]; p != nil && p.addr == addr {
			next[node] = p
			delete(old, node)
			continue
		}
		next[node] = m.newPeer(node, addr)
	}
	m.peers.Store(&next)
	m.mu.Unlock()
	for _, p := range old {
		p.cancel()
	}
}

func (m *Mesh) newPeer(node cluster.NodeID, addr string) *meshPeer {
	ctx, cancel := context.WithCancel(m.ep.ctx)
	p := &meshPeer{addr: addr, cancel: cancel}
	for class := ClassControl; class < classes; class++ {
		l := &link{ep: m.ep, node: node, addr: addr, class: class, demand: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
		p.links[class] = l
		m.ep.spawn(func() { l.run(ctx) })
	}
	return p
}

func (m *Mesh) link(node cluster.NodeID, class Class) *link {
	if p := (*m.peers.Load())[node]; p != nil && class < classes {
		return p.links[class]
	}
	return nil
}

// Conn returns the open connection of a class to node, for callers that Put
// several frames and Flush once. Without one it returns nil and asks for a
// dial.
func (m *Mesh) Conn(node cluster.NodeID, class Class) *Conn {
	l := m.link(node, class)
	if l == nil {
		return nil
	}
	if c := l.open(); c != nil {
		return c
	}
	signal(l.demand)
	return nil
}

// Send appends one frame to the connection of a class to node, as Conn.Append
// does. It never blocks: without a connection the frame is dropped with
// ErrNotConnected, and counted.
func (m *Mesh) Send(node cluster.NodeID, class Class, add func(b []byte) []byte) error {
	c := m.Conn(node, class)
	if c == nil {
		m.ep.stats.NotConnected.Add(1)
		return ErrNotConnected
	}
	return c.Append(add)
}

// SendWait sends a complete frame and waits for room in the send buffer, for
// bulk transfers. Without a connection it fails with ErrNotConnected at once.
// Never call it from a Handler.
func (m *Mesh) SendWait(ctx context.Context, node cluster.NodeID, class Class, frame []byte) error {
	c := m.Conn(node, class)
	if c == nil {
		m.ep.stats.NotConnected.Add(1)
		return ErrNotConnected
	}
	return c.SendWait(ctx, frame)
}

// Drop closes every connection from and to node at once, after a heartbeat
// verdict: what waits for it fails now instead of at the idle timeout. The
// node stays a peer, dialed at the slowest pace until Hurry.
func (m *Mesh) Drop(node cluster.NodeID) {
	for class := ClassControl; class < classes; class++ {
		if l := m.link(node, class); l != nil {
			l.mu.Lock()
			l.dropped = true
			l.mu.Unlock()
		}
	}
	m.ep.DropPeer(node)
}

// Hurry dials node now where it is not connected: call it when a node is
// heard again. An attempt that is older than a redial delay may be waiting
// for the node's former self and starts over.
func (m *Mesh) Hurry(node cluster.NodeID) {
	for class := ClassControl; class < classes; class++ {
		l := m.link(node, class)
		if l == nil || l.open() != nil {
			continue
		}
		signal(l.hurry)
		l.mu.Lock()
		if l.attempt != nil && time.Since(l.since) > redialMax {
			l.attempt()
		}
		l.mu.Unlock()
	}
}

// open returns the connection unless it is closed.
func (l *link) open() *Conn {
	if c := l.conn.Load(); c != nil && !c.closed.Load() {
		return c
	}
	return nil
}

// signal notes that something is wanted; a note that is already there stands
// for both.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run keeps the link connected until ctx ends.
func (l *link) run(ctx context.Context) {
	delay := time.Duration(0)
	for l.wanted(ctx) {
		began := time.Now()
		c, err := l.dial(ctx)
		if err == nil {
			l.serve(ctx, c)
		}
		switch {
		case l.wasDropped():
			delay = redialMax
		case err == nil && time.Since(began) > settled:
			delay = redialMin
		default:
			delay = min(max(2*delay, redialMin), redialMax)
		}
		l.report(ctx, err)
		l.pause(ctx, delay)
	}
}

// report logs a failed attempt, and once that somebody else answers.
func (l *link) report(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	level := slog.LevelDebug
	if errors.Is(err, ErrPeer) && !l.stranger {
		l.stranger = true
		level = slog.LevelWarn
	}
	l.ep.log.Log(ctx, level, "peer not reached", "node", l.node, "addr", l.addr, "class", l.class.String(), "err", err)
}

// wanted waits until the link should be connected; false means never again.
func (l *link) wanted(ctx context.Context) bool {
	if warm[l.class] {
		return ctx.Err() == nil
	}
	select {
	case <-l.demand:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func (l *link) dial(ctx context.Context) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	l.mu.Lock()
	l.attempt, l.since = cancel, time.Now()
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.attempt = nil
		l.mu.Unlock()
	}()
	return l.ep.Dial(ctx, l.addr, l.class, l.node)
}

// serve offers c to senders until it or the link ends.
func (l *link) serve(ctx context.Context, c *Conn) {
	l.stranger = false
	l.wasDropped() // if so, then before this connection
	l.conn.Store(c)
	select {
	case <-c.Done():
	case <-ctx.Done():
		c.Close(nil)
	}
	l.conn.Store(nil)
}

func (l *link) wasDropped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.dropped
	l.dropped = false
	return was
}

// pause waits between a half and the whole of delay, or until Hurry.
func (l *link) pause(ctx context.Context, delay time.Duration) {
	t := time.NewTimer(delay/2 + rand.N(delay/2+1))
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.hurry:
	case <-ctx.Done():
	}
}
