// Package transport owns the sockets of a node and of a client: QUIC
// connections that carry wire frames, and signed heartbeat datagrams on the
// same UDP port. It authenticates who is at the other end; it does not know
// what frames mean, who is in the View, or when a peer is dead.
//
// The invariant to know: reading and writing never wait for each other. A
// connection has one reader goroutine, which calls the Handler, and one
// flusher goroutine, the only one that writes to QUIC; everybody else appends
// to a bounded buffer. No lock is held across a QUIC call or a callback.
//
// Lock order: the mutexes of Mesh and of the pulse sockets, then host's (to
// start a goroutine); Conn's and a link's are taken alone.
//
// Start reading at Conn (writer.go and reader.go are its two halves), then
// Endpoint for listening, Mesh for connections between nodes, pulse.go for
// heartbeats, Dialer for clients.
package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"headroom/node/cluster"
	"headroom/node/transport/certs"
	"headroom/node/wire"
)

// Errors that callers branch on.
var (
	// ErrBackpressure: the connection has MaxPending bytes waiting to be sent.
	// Nothing was appended; shed or retry later.
	ErrBackpressure = errors.New("transport: peer does not keep up, send buffer is full")
	// ErrClosed: the connection, dialer or endpoint is closed.
	ErrClosed = errors.New("transport: closed")
	// ErrNotConnected: the mesh has no connection to the node yet. Nothing was
	// sent; a dial is under way unless the node is unknown.
	ErrNotConnected = errors.New("transport: not connected")
	// ErrRefused: the peer's host says that nobody listens on its port.
	ErrRefused = errors.New("transport: port refused")
	// ErrPeer is wrapped when the other end is not who it should be.
	ErrPeer = errors.New("transport: peer refused")
	// ErrStalled: the peer took no bytes for stallTimeout.
	ErrStalled = errors.New("transport: peer stopped reading")
)

// Class separates traffic that must not delay each other: each class is a
// connection of its own, with its own congestion and flow control.
type Class uint8

// The classes. ClassClient carries requests of clients; the others connect
// nodes.
const (
	ClassClient Class = iota
	ClassControl
	ClassReplication
	ClassBulk
	classes // how many there are
)

// alpns are the protocol names of the classes (RFC 7301). Another wire format
// gets another number here, and old and new refuse each other cleanly.
var alpns = [classes]string{"headroom-client/1", "headroom-node-ctl/1", "headroom-node-repl/1", "headroom-node-bulk/1"}

// String gives "client", "control", "replication" or "bulk".
func (c Class) String() string {
	if c >= classes {
		return fmt.Sprintf("class%d", uint8(c))
	}
	return [classes]string{"client", "control", "replication", "bulk"}[c]
}

func classOf(alpn string) (Class, bool) {
	for c, a := range alpns {
		if a == alpn {
			return Class(c), true
		}
	}
	return 0, false
}

// role is what the dialing side of a class must be.
func (c Class) role() certs.Role {
	if c == ClassClient {
		return certs.RoleClient
	}
	return certs.RoleNode
}

// Handler receives what arrives on connections. For one Conn the calls never
// overlap: Opened, then Frames and Drained on the connection's reader
// goroutine, then Closed. Calls for different Conns are concurrent. None may
// block for long: while Frames runs, nothing is read from that connection.
type Handler interface {
	// Opened is called before the first frame, for accepted and for dialed
	// connections (there before Dial returns). It may set c.State and send.
	Opened(c *Conn)
	// Frames is called for each frame. payload is valid during the call only.
	// Reply with c.Put, which costs no wake-up, or later from another
	// goroutine with c.Append.
	Frames(c *Conn, h wire.Header, payload []byte)
	// Drained is called when no complete frame is left in the read buffer;
	// what was Put is flushed after it returns.
	Drained(c *Conn)
	// Closed is called once, last, with the reason.
	Closed(c *Conn, err error)
}

// Peer says who is at the other end of a Conn, as its certificate proved
// (insecure: claimed).
type Peer struct {
	certs.Identity
	Class Class
	Addr  net.Addr
}

// Config configures an Endpoint. Credentials (or Insecure and Node) and
// Handler are required.
type Config struct {
	// Node is this node. Zero means the one that Credentials name.
	Node cluster.NodeID
	// Credentials prove who this node is. Ignored when Insecure.
	Credentials certs.Credentials
	// Insecure believes every peer without proof, for trusted networks only.
	Insecure bool

	// Addr is the UDP address to listen on, "host:port"; port 0 lets the
	// system choose, an empty host means all.
	Addr string
	// PacketConn replaces the UDP socket, for simulated networks. Heartbeats
	// then go through it too, and refused ports go unseen. The endpoint
	// closes it.
	PacketConn net.PacketConn

	// Handler receives frames of every connection.
	Handler Handler
	// Pulse receives the payload of every authentic heartbeat; it is valid
	// during the call only. Calls do not overlap. Replays are the heartbeat
	// core's business. Nil drops them.
	Pulse func(payload []byte, from net.Addr)
	// Refused is told that the host of node says nobody listens on addr.
	// Evidence, not proof: it can be forged. It runs on a goroutine of the
	// peer's pulse socket. Nil ignores it.
	Refused func(node cluster.NodeID, addr string)

	// MaxPending bounds the bytes waiting to be sent on one connection.
	// Zero means DefaultMaxPending.
	MaxPending int
	// MaxConns bounds accepted connections. Zero means DefaultMaxConns.
	MaxConns int
	// Log receives state changes. Nil discards.
	Log *slog.Logger
}

const (
	// DefaultMaxPending is 8 MiB: half of the connection's flow window and
	// several of the largest frames.
	DefaultMaxPending = 8 << 20
	// DefaultMaxConns is 4096: about 50 KB each (measured), 200 MB at most.
	DefaultMaxConns = 4096
)

func (c Config) withDefaults() (Config, error) {
	if c.Insecure {
		var err error
		c.Credentials, err = certs.Throwaway(certs.Identity{Role: certs.RoleNode, Node: c.Node})
		if err != nil {
			return c, fmt.Errorf("insecure credentials: %w", err)
		}
	}
	if c.Node == 0 {
		c.Node = c.Credentials.Identity.Node
	}
	if c.MaxPending == 0 {
		c.MaxPending = DefaultMaxPending
	}
	if c.MaxConns == 0 {
		c.MaxConns = DefaultMaxConns
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, c.validate()
}

func (c *Config) validate() error {
	id := c.Credentials.Identity
	switch {
	case id.Role != certs.RoleNode:
		return fmt.Errorf("transport: credentials of %v cannot run a node: issue a node's with `headroom-node certs node`", id)
	case id.Node != c.Node:
		return fmt.Errorf("transport: credentials name %v, the configuration %v", id.Node, c.Node)
	case len(c.Credentials.Secret) == 0:
		return errors.New("transport: credentials without cluster secret")
	case c.Handler == nil:
		return errors.New("transport: Config.Handler is nil")
	case c.MaxPending < wire.MaxPayload:
		return fmt.Errorf("transport: MaxPending %d is less than the largest frame, %d", c.MaxPending, wire.MaxPayload)
	case c.MaxConns < 1:
		return fmt.Errorf("transport: MaxConns %d, want at least 1", c.MaxConns)
	}
	return nil
}

// Time limits. Liveness is the heartbeat's business: QUIC's idle timeout is
// the detector of the last resort.
const (
	meshIdle      = 5 * time.Second // MaxIdleTimeout between nodes
	meshKeepAlive = time.Second
	// clientKeepAlive: a 1 s period costs 0.3 core per 1000 idle connections
	// (measured); it is capped at half the idle timeout.
	clientKeepAlive = 10 * time.Second
	clientIdle      = 30 * time.Second
	// handshakeIdle bounds a handshake, and openTimeout the exchange of
	// greetings after it.
	handshakeIdle = 3 * time.Second
	openTimeout   = 3 * time.Second
	// stallTimeout is how long a peer that keeps its connection alive may
	// refuse to take bytes before it loses the connection and our buffers.
	stallTimeout = 20 * time.Second
)
