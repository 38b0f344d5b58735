package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"headroom/node/cluster"
	"headroom/node/transport/certs"
)

// Endpoint is a node's one UDP port: it accepts clients and nodes, dials
// nodes, and exchanges heartbeats.
type Endpoint struct {
	*host
	cfg      Config
	ln       *quic.Listener
	limit    handshakeLimit
	accepted atomic.Int64 // accepted connections, opening or open
	pulses   pulses
}

// Listen opens the port and starts to accept. Close it when done.
func Listen(cfg Config) (*Endpoint, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	pc := cfg.PacketConn
	if pc == nil {
		if pc, err = listenUDP(cfg.Addr); err != nil {
			return nil, fmt.Errorf("listen on %s: %w", cfg.Addr, err)
		}
	}
	h := newHost(cfg.Credentials, pc, cfg.Log, cfg.MaxPending)
	e := &Endpoint{host: h, cfg: cfg}
	e.limit.tokens = handshakeBurst
	e.pulses.ep, e.pulses.socks = e, map[cluster.NodeID]*pulseSock{}
	e.configure()
	e.ln, err = h.tr.Listen(serverTLS(&h.creds, &h.stats), quicConfig(ClassClient, false))
	if err != nil {
		h.cancel()
		return nil, errors.Join(err, h.tr.Close(), pc.Close())
	}
	e.pulses.prime()
	h.spawn(e.acceptLoop)
	h.spawn(e.pulses.receive)
	h.spawn(h.janitor)
	return e, nil
}

// configure sets the keys that must outlive the process: with the same reset
// key a restarted node tells its old peers at once that their connections are
// gone (RFC 9000 §10.3; measured 37 ms instead of the idle timeout).
func (e *Endpoint) configure() {
	secret := e.creds.Secret
	reset := quic.StatelessResetKey(derive(secret, "stateless reset", e.cfg.Node))
	token := quic.TokenGeneratorKey(derive(secret, "address token", e.cfg.Node))
	e.tr.StatelessResetKey = &reset
	e.tr.TokenGeneratorKey = &token
	e.tr.VerifySourceAddress = func(net.Addr) bool {
		over := !e.limit.allow(e.now())
		if over {
			e.stats.Retries.Add(1)
		}
		return over
	}
}

// Addr is the local address, with the port that the system chose.
func (e *Endpoint) Addr() net.Addr { return e.pc.LocalAddr() }

// Stats returns the live counters.
func (e *Endpoint) Stats() *Stats { return &e.stats }

// Dial opens a connection of class to the node at addr ("host:port") and
// waits until both sides have proven themselves. expect is the node that must
// be there; zero accepts any. The error wraps ErrPeer when the other end is
// somebody else or refuses us. The Handler's Opened runs before it returns.
func (e *Endpoint) Dial(ctx context.Context, addr string, class Class, expect cluster.NodeID) (*Conn, error) {
	return e.dial(ctx, addr, class, expect, e.cfg.Handler)
}

// DropPeer closes every connection from and to node at once, and returns how
// many there were.
func (e *Endpoint) DropPeer(node cluster.NodeID) int {
	cs := e.pick(func(c *Conn) bool { return c.peer.Role == certs.RoleNode && c.peer.Node == node })
	for _, c := range cs {
		c.Close(fmt.Errorf("%w: node is taken for dead", ErrClosed))
	}
	return len(cs)
}

// Conns returns the open connections of a class.
func (e *Endpoint) Conns(class Class) []*Conn {
	return e.pick(func(c *Conn) bool { return c.peer.Class == class })
}

// Close closes all connections and the port, and returns when no goroutine of
// the endpoint is left and every Handler call has ended. Never call it from a
// Handler.
func (e *Endpoint) Close() error {
	return e.close(func() {
		e.ln.Close()
		e.pulses.close()
	})
}

// acceptLoop only takes connections off QUIC's queue of 32: anything slower
// would refuse a restart storm.
func (e *Endpoint) acceptLoop() {
	for {
		qc, err := e.ln.Accept(e.ctx)
		if err != nil {
			if e.ctx.Err() == nil {
				e.log.Error("stopped accepting connections", "err", err)
			}
			return
		}
		if e.accepted.Add(1) > int64(e.cfg.MaxConns) {
			e.accepted.Add(-1)
			e.stats.OverLimit.Add(1)
			e.wg.Go(func() { qc.CloseWithError(codeLimit, "too many connections") })
			continue
		}
		e.wg.Go(func() { e.serve(qc) })
	}
}

// serve turns an accepted QUIC connection into a Conn, which gives its place
// back when it ends.
func (e *Endpoint) serve(qc *quic.Conn) {
	context.AfterFunc(qc.Context(), func() { e.accepted.Add(-1) })
	if err := e.welcome(qc); err != nil {
		e.stats.BadOpenings.Add(1)
		e.log.Debug("connection did not open", "addr", qc.RemoteAddr(), "err", err)
		qc.CloseWithError(codePeer, "no greeting")
		return
	}
	e.stats.Accepted.Add(1)
}

func (e *Endpoint) welcome(qc *quic.Conn) error {
	ctx, cancel := context.WithTimeout(e.ctx, openTimeout)
	defer cancel()
	class, ok := classOf(qc.ConnectionState().TLS.NegotiatedProtocol)
	if !ok {
		return ErrPeer // VerifyConnection has let it through: cannot be
	}
	s, err := qc.AcceptStream(ctx)
	if err != nil {
		return err
	}
	if err := greet(ctx, s); err != nil {
		return err
	}
	_, err = e.establish(qc, s, class, e.cfg.Handler, true)
	return err
}

const (
	// handshakeRate is how many handshakes per second need no proof of their
	// address: one costs about 1.5 ms of CPU, so 200/s are a third of a core.
	// Beyond, a client pays one more round trip and a spoofed address fails.
	handshakeRate  = 200
	handshakeBurst = 256 // a restart of the largest cluster
)

// handshakeLimit is a token bucket.
type handshakeLimit struct {
	mu     sync.Mutex // guards all below
	tokens float64
	last   time.Duration
}

func (l *handshakeLimit) allow(now time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens = min(handshakeBurst, l.tokens+handshakeRate*(now-l.last).Seconds())
	l.last = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}
