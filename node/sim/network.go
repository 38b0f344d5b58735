package sim

import (
	"math"
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// Class is one of the connections that two nodes keep: frames of one class
// arrive in the order they were sent, classes overtake each other.
type Class uint8

// The classes of node-to-node connections.
const (
	Control Class = iota
	Repl
	Bulk
	classes
)

// NetConfig says how the network behaves. The zero value of each field means
// the default in brackets; a negative probability means none.
type NetConfig struct {
	Latency   time.Duration // one way, least [200 µs]
	Jitter    time.Duration // mean of what is added, exponential [100 µs]
	Loss      float64       // of pulses; frames are sent again and so delayed [0]
	Duplicate float64       // of pulses [0]
	Spike     float64       // probability that a pulse or frame is late by up to SpikeMax [0]
	SpikeMax  time.Duration // [20 ms]
	SlowFrame float64       // probability that a frame is late by up to 100 ms, which spreads rounds [0]
	Refused   float64       // probability that a frame of the data plane is not taken for sending: its connection is down or full [0]
	Batch     float64       // probability that a node waits for more events before it acts [0]
	// Refuse says that a crashed node's host answers that the port is
	// closed (a killed process); a silent crash is a lost host.
	Refuse bool
}

func (c NetConfig) withDefaults() NetConfig {
	if c.Latency == 0 {
		c.Latency = 200 * time.Microsecond
	}
	if c.Jitter == 0 {
		c.Jitter = 100 * time.Microsecond
	}
	if c.SpikeMax == 0 {
		c.SpikeMax = 20 * time.Millisecond
	}
	return c
}

const (
	// retransmit is the delay of a frame of which a packet was lost, or that
	// met a cut link: a QUIC probe timeout, roughly.
	retransmit = 15 * time.Millisecond
	// slowFrameMax is as long as a phase of a round may take.
	slowFrameMax = 100 * time.Millisecond
	// connTimeout is how long a connection survives a cut link. Frames sent
	// on it are lost when it breaks.
	connTimeout = 1500 * time.Millisecond
	// heldFor is how long a frame waits until Hold is asked again.
	heldFor = time.Millisecond
)

// Network carries pulses (lossy, unordered) and frames (in order per
// connection, lost only with the connection).
type Network struct {
	w   *World
	cfg NetConfig
	cut map[[2]cluster.NodeID]bool // from, to
	// clogged directions hold everything back by up to that long.
	clogged map[[2]cluster.NodeID]time.Duration
	// reject are directions in which a firewall answers pulses with "port
	// closed" and stops everything else.
	reject map[[2]cluster.NodeID]bool
	// groupCut are the nodes that the multicast group does not reach.
	groupCut map[cluster.NodeID]bool
	// conns holds, per direction and class, when the last frame arrives.
	conns map[connKey]*conn
	// Hold, if not nil, is asked about each frame that is about to arrive: while
	// it says so, the frame and what follows it on its connection wait.
	Hold func(from, to cluster.NodeID, kind wire.Kind) bool
	// Drop, if not nil, says which frames are not taken for sending.
	Drop func(from, to cluster.NodeID, kind wire.Kind, payload []byte) bool
	// Bytes and Pulses count what was sent.
	Bytes, Pulses, Frames uint64

	lost, doubled, late int // pulses; pulses and frames
}

type connKey struct {
	from, to int // hosts
	class    Class
}

type conn struct {
	fromInc, toInc cluster.Incarnation
	queue          []frame
	busy           bool
	again          bool // the front frame was lost, or waits at its sender: with the sender it is gone
	last           cluster.Instant
	stalledAt      cluster.Instant // first failed try of the frame in front; zero: none
}

type frame struct {
	kind    wire.Kind
	payload []byte
}

func newNetwork(w *World, cfg NetConfig) *Network {
	return &Network{w: w, cfg: cfg, cut: map[[2]cluster.NodeID]bool{}, reject: map[[2]cluster.NodeID]bool{},
		clogged: map[[2]cluster.NodeID]time.Duration{}, groupCut: map[cluster.NodeID]bool{},
		conns: map[connKey]*conn{}}
}

// Cut stops what goes from one node to the other; the way back stays open.
func (n *Network) Cut(from, to cluster.NodeID) { n.cut[[2]cluster.NodeID{from, to}] = true }

// Heal undoes Cut.
func (n *Network) Heal(from, to cluster.NodeID) {
	delete(n.cut, [2]cluster.NodeID{from, to})
	delete(n.reject, [2]cluster.NodeID{from, to})
}

// Reject is Cut by a firewall that answers: the sender's port probes are
// refused although the node lives.
func (n *Network) Reject(from, to cluster.NodeID) {
	n.Cut(from, to)
	n.reject[[2]cluster.NodeID{from, to}] = true
}

// HealAll undoes all cuts.
func (n *Network) HealAll() {
	clear(n.cut)
	clear(n.clogged)
	clear(n.reject)
}

// Quiet stops loss, duplication and lateness.
func (n *Network) Quiet() {
	n.cfg.Loss, n.cfg.Duplicate, n.cfg.Spike, n.cfg.SlowFrame, n.cfg.Refused = 0, 0, 0, 0, 0
}

// IsCut reports whether that direction is cut.
func (n *Network) IsCut(from, to cluster.NodeID) bool { return n.cut[[2]cluster.NodeID{from, to}] }

func (n *Network) latency() time.Duration {
	d := n.cfg.Latency + time.Duration(-math.Log(1-n.w.rand.Float64())*float64(n.cfg.Jitter))
	if n.chance(n.cfg.Spike) {
		n.late++
		d += time.Duration(n.w.rand.Int64N(int64(n.cfg.SpikeMax)))
	}
	return d
}

// lag is what a clogged direction adds.
func (n *Network) lag(from, to cluster.NodeID) time.Duration {
	if most := n.clogged[[2]cluster.NodeID{from, to}]; most > 0 {
		return time.Duration(n.w.rand.Int64N(int64(most)))
	}
	return 0
}

func (n *Network) chance(p float64) bool { return p > 0 && n.w.rand.Float64() < p }

// sendPulse sends a datagram to the node with address addr.
func (n *Network) sendPulse(from *Node, to *Node, known cluster.NodeID, b []byte) {
	n.Pulses++
	n.Bytes += uint64(len(b))
	copies := 1
	if n.chance(n.cfg.Duplicate) {
		n.doubled++
		copies = 2
	}
	for range copies {
		if n.chance(n.cfg.Loss) {
			n.lost++
			continue
		}
		n.w.After(n.latency()+n.lag(from.ID, to.ID), func() { n.arrive(from, to, known, b) })
	}
}

func (n *Network) arrive(from, to *Node, known cluster.NodeID, b []byte) {
	cut := n.IsCut(from.end(), to.end())
	if to.Up && !cut {
		addr := from.addr()
		to.deliver(datagrams, func() { to.receivePulse(b, addr) })
		return
	}
	closed := !cut && !to.Up && n.cfg.Refuse && !to.HostDown && !n.IsCut(to.end(), from.end())
	if known != 0 && (closed || n.reject[[2]cluster.NodeID{from.ID, to.ID}]) {
		n.w.After(n.latency(), func() {
			if from.Up {
				from.deliver(datagrams, func() { from.refused(known) })
			}
		})
	}
}

// SendFrame queues a frame on the connection of that class.
func (n *Network) SendFrame(from, to *Node, class Class, kind wire.Kind, payload []byte) {
	k := connKey{from.host, to.host, class}
	c := n.conns[k]
	if c == nil || c.fromInc != from.Inc || c.toInc != to.Inc || !to.Up {
		c = &conn{fromInc: from.Inc, toInc: to.Inc}
		n.conns[k] = c
	}
	n.Frames++
	n.Bytes += uint64(len(payload)) + wire.HeaderSize
	c.queue = append(c.queue, frame{kind, payload})
	if !c.busy {
		n.next(k, c)
	}
}

// next puts the front frame under way.
func (n *Network) next(k connKey, c *conn) {
	c.busy = len(c.queue) > 0
	if !c.busy {
		return
	}
	d := n.latency() + n.lag(n.w.Nodes[k.from].ID, n.w.Nodes[k.to].ID)
	c.again = false
	for i := 0; i < 5 && n.chance(n.cfg.Loss); i++ {
		d += retransmit
		c.again = true
	}
	if n.chance(n.cfg.SlowFrame) {
		c.again = true
		d += time.Duration(n.w.rand.Int64N(int64(slowFrameMax)))
	}
	// Frames follow each other without waiting for a round trip, but do not
	// overtake: the next may arrive at the same instant at the earliest.
	n.w.at(max(n.w.now.Add(d), c.last), func() { n.tryDeliver(k, c) })
}

func (n *Network) tryDeliver(k connKey, c *conn) {
	from, to := n.w.Nodes[k.from], n.w.Nodes[k.to]
	broken := n.conns[k] != c || !to.Up || to.Inc != c.toInc || from.Up && from.Inc != c.fromInc ||
		c.again && !from.Up
	if n.IsCut(from.end(), to.end()) && !broken {
		if c.stalledAt == 0 {
			c.stalledAt = n.w.now
		}
		if n.w.now.Sub(c.stalledAt) < connTimeout && from.Up {
			n.w.After(retransmit, func() { n.tryDeliver(k, c) })
			return
		}
		broken = true
	}
	if broken {
		c.queue, c.busy = nil, false
		if n.conns[k] == c {
			delete(n.conns, k)
		}
		if from.App != nil && from.Up && from.Inc == c.fromInc {
			from.deliver(k, func() { from.App.Broken(from.Now(), to.ID, k.class) })
		}
		return
	}
	c.stalledAt = 0
	// All that waits behind the front was sent at least as late; the burst
	// arrives together, as a window of packets does.
	burst := c.queue
	held := slices.IndexFunc(burst, func(f frame) bool { return n.Hold != nil && n.Hold(from.ID, to.ID, f.kind) })
	if held == 0 {
		n.w.After(heldFor, func() { n.tryDeliver(k, c) })
		return
	}
	c.queue = nil
	if held > 0 {
		burst, c.queue = burst[:held], slices.Clone(burst[held:])
	}
	c.last = n.w.now
	for _, f := range burst {
		to.deliver(k, func() {
			to.sender = c.fromInc
			to.receiveFrame(from.ID, k.class, f.kind, f.payload)
		})
	}
	n.next(k, c)
}
