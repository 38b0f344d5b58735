package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// Client talks to one cluster. Make it with Dial; all methods may be called
// from any goroutine. One Client per process is right for nearly everyone: it
// keeps one connection per member, however many operations are in flight.
type Client struct {
	cfg    Config
	dialer dialer
	epoch  time.Time
	ctx    context.Context // ends the client's own goroutines
	cancel context.CancelFunc
	wg     sync.WaitGroup

	closing   atomic.Bool
	routes    atomic.Pointer[routes] // never nil once Dial has returned
	changed   atomic.Bool            // map or connections changed since the steward looked
	wake      chan struct{}          // capacity 1: nudges the steward
	up        atomic.Int32           // connected members
	upChanged chan struct{}          // capacity 1: up became zero or one
	late      atomic.Uint64          // replies that found no call
	unknown   atomic.Uint64          // frames of a kind we do not know
	syncs     sync.Pool              // *syncCall

	mu       sync.Mutex // guards all below
	atlas    atlas
	nodes    map[cluster.NodeID]*node     // members
	all      []*node                      // members and nodes whose connection lingers
	counters map[cluster.NodeID]*counters // of every node id ever seen
	mapsSeen uint64
	mapsUsed uint64
	seedErr  error // the last error of a seed

	parkMu    sync.Mutex // guards all below
	parked    []*Call
	parkShut  bool
	stewardAt cluster.Instant // when the steward wakes by itself
	rng       *rand.Rand      // for jitter
}

// Dial finds the cluster through its seeds, gets a map and connects to at
// least one member; the others follow in the background. It keeps asking the
// seeds until ctx ends or Config.DialTimeout has passed, so that a client may
// be started before its cluster. Close the Client when done.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	d, err := newQUIC(&cfg)
	if err != nil {
		return nil, err
	}
	return dialWith(ctx, cfg, d)
}

// dialWith is Dial over links that d opens; the client closes d.
func dialWith(ctx context.Context, cfg Config, d dialer) (*Client, error) {
	c := newClient(cfg, d)
	c.wg.Go(c.steward)
	c.wg.Go(c.seek)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	if err := c.awaitMember(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// newClient makes a client whose goroutines do not run yet.
func newClient(cfg Config, d dialer) *Client {
	c := &Client{
		cfg: cfg.withDefaults(), dialer: d, epoch: time.Now(),
		wake: make(chan struct{}, 1), upChanged: make(chan struct{}, 1),
		nodes: make(map[cluster.NodeID]*node), counters: make(map[cluster.NodeID]*counters),
		rng: rand.New(rand.NewPCG(rand.Uint64(), 0)),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.syncs.New = newSyncCall
	c.routes.Store(&routes{m: new(wire.Map), next: make(chan struct{})})
	return c
}

// awaitMember waits for a map and a connection to one of its members.
func (c *Client) awaitMember(ctx context.Context) error {
	t := time.NewTicker(tickMin)
	defer t.Stop()
	for c.up.Load() == 0 {
		select {
		case <-t.C:
		case <-ctx.Done():
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.seedErr == nil {
				c.seedErr = errors.New("no answer")
			}
			return fmt.Errorf("client: no member of the cluster answers at %v: %w (%w)", c.cfg.Seeds, c.seedErr, context.Cause(ctx))
		}
	}
	return nil
}

func (c *Client) seedError(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seedErr = err
}

// Close ends all connections and returns when the client's goroutines have.
// Calls in flight are completed: reads and unsent writes with ErrClosed,
// writes that were sent with ErrInDoubt. Only the first call does anything.
// Never call it from Call.Done.
func (c *Client) Close() error {
	c.mu.Lock() // no node joins after this
	again := c.closing.Swap(true)
	c.mu.Unlock()
	if again {
		c.wg.Wait()
		return nil
	}
	c.shutParked()
	c.cancel()
	c.wg.Wait()
	return c.dialer.close()
}

// Now is the clock of Call.Submitted and Call.Completed: monotonic time since
// Epoch.
func (c *Client) Now() cluster.Instant { return cluster.Instant(time.Since(c.epoch)) }

// Epoch is the zero of Now.
func (c *Client) Epoch() time.Time { return c.epoch }

// NamespaceIndex returns the number by which calls name a namespace, or
// ErrNoNamespace. It stays the same while the cluster's namespaces do.
func (c *Client) NamespaceIndex(name string) (uint8, error) {
	i := c.routes.Load().namespace(name)
	if i < 0 {
		return 0, fmt.Errorf("%w: %q", ErrNoNamespace, name)
	}
	return uint8(i), nil
}

// Map returns the map that routes calls now. It is shared: do not change it.
func (c *Client) Map() *wire.Map { return c.routes.Load().m }

// Member is one member of the cluster.
type Member struct {
	Node      cluster.NodeID
	Rack      cluster.RackID
	Addr      string
	Connected bool // this client has a connection to it
}

// Members returns the members that the map names, in succession order.
func (c *Client) Members() []Member {
	r := c.routes.Load()
	out := make([]Member, len(r.m.Members))
	for i, x := range r.m.Members {
		out[i] = Member{Node: x.Node, Rack: x.Rack, Addr: x.Addr, Connected: r.nodes[i].conn.Load() != nil}
	}
	return out
}

// Stats are counts since Dial.
type Stats struct {
	Nodes       []NodeStats // every node ever seen, by id
	Parked      int         // calls waiting for a master now
	InFlight    int         // calls waiting for a reply now
	MapsSeen    uint64      // maps received
	MapsUsed    uint64      // maps that changed a route
	LateReplies uint64      // replies that found their call gone
	Unknown     uint64      // frames of an unknown kind
}

// NodeStats are the counts of one node.
type NodeStats struct {
	Node      cluster.NodeID
	InFlight  int    // now
	Sent      uint64 // requests, repeats included
	Answered  uint64 // replies of any status
	Retries   uint64 // replies that asked to try again
	Failovers uint64 // calls taken away because the node or its mastership was lost
	Connects  uint64 // connections opened
}

// Stats returns a snapshot. The counts of different nodes are not taken at
// one instant.
func (c *Client) Stats() Stats {
	c.parkMu.Lock()
	s := Stats{Parked: len(c.parked), LateReplies: c.late.Load(), Unknown: c.unknown.Load()}
	c.parkMu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.MapsSeen, s.MapsUsed = c.mapsSeen, c.mapsUsed
	for id, st := range c.counters {
		s.Nodes = append(s.Nodes, NodeStats{Node: id, Sent: st.sent.Load(), Answered: st.answered.Load(),
			Retries: st.retries.Load(), Failovers: st.failovers.Load(), Connects: st.connects.Load()})
	}
	slices.SortFunc(s.Nodes, func(a, b NodeStats) int { return cmp.Compare(a.Node, b.Node) })
	for _, n := range c.all {
		cn := n.conn.Load()
		if cn == nil {
			continue
		}
		i := slices.IndexFunc(s.Nodes, func(x NodeStats) bool { return x.Node == n.id })
		cn.mu.Lock()
		s.Nodes[i].Sent += cn.sent
		s.Nodes[i].Answered += cn.answered
		s.Nodes[i].InFlight += cn.live
		s.InFlight += cn.live
		cn.mu.Unlock()
	}
	return s
}
