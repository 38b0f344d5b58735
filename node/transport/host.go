package transport

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"headroom/node/cluster"
	"headroom/node/transport/certs"
)

// greeting is the first thing on the request stream, in both directions. It
// makes the stream visible to the accepting side before the first frame, and
// its echo tells the dialing side that its certificate was accepted, which
// TLS 1.3 alone does not (RFC 8446 §4.4.4: the client finishes first).
const greeting = "HDR1"

// janitorPeriod is how often stalled connections are looked for; a quarter of
// stallTimeout, so that they are found within 1.25 of it.
const janitorPeriod = stallTimeout / 4

// host is what Endpoint and Dialer share: one socket, its connections and the
// goroutines that serve them.
type host struct {
	creds      certs.Credentials
	log        *slog.Logger
	maxPending int
	stats      Stats
	pc         net.PacketConn
	tr         *quic.Transport
	started    time.Time

	ctx    context.Context // done when the host closes
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine, and every call that may start one

	mu     sync.Mutex // guards all below
	closed bool
	conns  map[*Conn]struct{}
}

func newHost(cr certs.Credentials, pc net.PacketConn, log *slog.Logger, maxPending int) *host {
	h := &host{
		creds: cr, log: log, maxPending: maxPending, pc: pc,
		tr:      &quic.Transport{Conn: pc},
		started: time.Now(), conns: map[*Conn]struct{}{},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// now is the time since the host started, never zero.
func (h *host) now() time.Duration { return time.Since(h.started) + 1 }

// enter keeps the host from finishing its Close until leave; it reports false
// once the host is closed.
func (h *host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Add(1)
	return true
}

func (h *host) leave() { h.wg.Done() }

// spawn runs f on a goroutine that Close waits for, unless the host is
// closed.
func (h *host) spawn(f func()) bool {
	if !h.enter() {
		return false
	}
	h.wg.Go(f)
	h.leave()
	return true
}

// add registers an open connection; false means the host is closed.
func (h *host) add(c *Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.conns[c] = struct{}{}
	}
	return !h.closed
}

func (h *host) forget(c *Conn) {
	h.mu.Lock()
	delete(h.conns, c)
	h.mu.Unlock()
}

// pick returns the open connections that want approves of.
func (h *host) pick(want func(c *Conn) bool) []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	var cs []*Conn
	for c := range h.conns {
		if want(c) {
			cs = append(cs, c)
		}
	}
	return cs
}

// janitor closes connections whose peer stopped reading.
func (h *host) janitor() {
	t := time.NewTicker(janitorPeriod)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-h.ctx.Done():
			return
		}
		now := h.now()
		for _, c := range h.pick(func(*Conn) bool { return true }) {
			c.checkStall(now)
		}
	}
}

// close ends everything and returns when it is quiet. before runs once new
// work is refused and before connections are closed.
func (h *host) close(before func()) error {
	h.mu.Lock()
	first := !h.closed
	h.closed = true
	h.mu.Unlock()
	if !first {
		h.wg.Wait()
		return nil
	}
	h.cancel()
	before()
	for _, c := range h.pick(func(*Conn) bool { return true }) {
		c.Close(ErrClosed)
	}
	h.wg.Wait()
	return errors.Join(h.tr.Close(), h.pc.Close())
}

// dial opens a connection of a class to the node at addr; see Endpoint.Dial.
func (h *host) dial(ctx context.Context, addr string, class Class, expect cluster.NodeID, hd Handler) (*Conn, error) {
	if !h.enter() {
		return nil, ErrClosed
	}
	defer h.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	c, err := h.open(ctx, addr, class, expect, hd)
	if err != nil {
		h.stats.DialErrors.Add(1)
		return nil, fmt.Errorf("dial %s: %w", addr, h.named(err))
	}
	h.stats.Dialed.Add(1)
	return c, nil
}

func (h *host) open(ctx context.Context, addr string, class Class, expect cluster.NodeID, hd Handler) (*Conn, error) {
	ua, err := resolve(ctx, addr)
	if err != nil {
		return nil, err
	}
	qc, err := h.tr.Dial(ctx, ua, clientTLS(&h.creds, &h.stats, class, expect), quicConfig(class, true))
	if err != nil {
		return nil, err
	}
	s, err := qc.OpenStreamSync(ctx)
	if err == nil {
		err = greet(ctx, s)
	}
	var c *Conn
	if err == nil {
		c, err = h.establish(qc, s, class, hd, false)
	}
	if err != nil {
		qc.CloseWithError(codePeer, "")
		return nil, err
	}
	return c, nil
}

// named gives a few errors of QUIC the names that callers branch on.
func (h *host) named(err error) error {
	var te *quic.TransportError
	switch {
	case h.ctx.Err() != nil:
		return ErrClosed
	case errors.Is(err, ErrPeer):
		return err
	case errors.As(err, &te) && te.ErrorCode.IsCryptoError():
		return errors.Join(ErrPeer, err)
	}
	return err
}

// greet sends our greeting and checks the peer's, within openTimeout.
func greet(ctx context.Context, s *quic.Stream) error {
	deadline := time.Now().Add(openTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	s.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { s.SetDeadline(time.Unix(1, 0)) }) // now
	defer stop()
	if _, err := s.Write([]byte(greeting)); err != nil {
		return err
	}
	var b [len(greeting)]byte
	if _, err := io.ReadFull(s, b[:]); err != nil {
		return err
	}
	if string(b[:]) != greeting {
		return fmt.Errorf("%w: it greets with %q", ErrPeer, b)
	}
	if !stop() {
		return ctx.Err()
	}
	return s.SetDeadline(time.Time{})
}

// establish makes a Conn of a proven connection and starts it. The caller is
// between enter and leave, or on a goroutine of the host.
func (h *host) establish(qc *quic.Conn, s *quic.Stream, class Class, hd Handler, accepted bool) (*Conn, error) {
	usage := x509.ExtKeyUsageServerAuth
	if accepted {
		usage = x509.ExtKeyUsageClientAuth
	}
	id, err := identify(&h.creds, qc.ConnectionState().TLS, usage)
	if err != nil {
		return nil, err
	}
	c := newConn(h, hd, qc, s, Peer{Identity: id, Class: class, Addr: qc.RemoteAddr()}, accepted)
	if !h.add(c) {
		return nil, ErrClosed
	}
	hd.Opened(c)
	c.start()
	return c, nil
}

// resolve turns "host:port" into a UDP address, the first that DNS gives.
func resolve(ctx context.Context, addr string) (*net.UDPAddr, error) {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return udpAddr(ap), nil
	}
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("address %q: port %q is no number up to 65535", addr, port)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, err
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("address %q: no address of that name", addr)
	}
	return udpAddr(netip.AddrPortFrom(ips[0].Unmap(), uint16(p))), nil
}

// udpAddr keeps IPv4 addresses in their 16-byte form, which is the one that
// net.ParseIP gives: simulated networks compare bytes.
func udpAddr(ap netip.AddrPort) *net.UDPAddr {
	return &net.UDPAddr{IP: net.IP(ap.Addr().AsSlice()).To16(), Port: int(ap.Port()), Zone: ap.Addr().Zone()}
}
