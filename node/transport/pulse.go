package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"headroom/node/cluster"
)

const (
	// resolveEvery is how often the address of a peer known by name is looked
	// up again: its machine may have been replaced.
	resolveEvery = 10 * time.Second
	// resolveRetry is how often an unknown name is tried again.
	resolveRetry = time.Second
	// maxReadErrors ends the reader of a pulse socket that reports errors
	// without end; each pulse causes at most one.
	maxReadErrors = 1000
)

// pulses sends heartbeats through one connected UDP socket per peer, because
// only a connected socket is told that the peer's port is closed, and receives
// them on the endpoint's port, beside QUIC. Nothing of it ever enters QUIC:
// congestion windows and send queues must not delay a heartbeat.
type pulses struct {
	ep *Endpoint

	mu    sync.Mutex // guards all below
	ended bool
	socks map[cluster.NodeID]*pulseSock
}

// pulseSock is the way to one peer.
type pulseSock struct {
	node    cluster.NodeID
	addr    string
	literal bool          // addr needs no look-up
	conn    *net.UDPConn  // nil until a name is resolved
	looking bool          // a look-up is under way
	looked  time.Duration // when the last one ended; 0 before the first
	unknown bool          // it failed, and that was logged
}

// SendPulse sends payload (at most MaxPulse bytes, which it signs) as a
// heartbeat to node at addr, "host:port". It does not block. ErrRefused says
// that an earlier pulse found the port closed; this one was sent all the
// same. The first pulses to a host that must be looked up by name fail with
// ErrNotConnected.
func (e *Endpoint) SendPulse(node cluster.NodeID, addr string, payload []byte) error {
	if len(payload) > MaxPulse {
		return fmt.Errorf("transport: pulse of %d bytes, limit %d", len(payload), MaxPulse)
	}
	err := e.pulses.send(node, addr, Seal(e.creds.Secret, payload))
	switch {
	case err == nil:
		e.stats.PulsesOut.Add(1)
	case errors.Is(err, ErrRefused):
		e.stats.PulsesOut.Add(1)
		e.stats.PulsesRefused.Add(1)
	default:
		e.stats.PulsesFailed.Add(1)
	}
	return err
}

// ForgetPulse closes the pulse socket of a peer that is no longer one.
func (e *Endpoint) ForgetPulse(node cluster.NodeID) {
	e.pulses.mu.Lock()
	s := e.pulses.socks[node]
	delete(e.pulses.socks, node)
	e.pulses.mu.Unlock()
	s.close()
}

func (p *pulses) send(node cluster.NodeID, addr string, datagram []byte) error {
	if p.ep.cfg.PacketConn != nil {
		ap, err := netip.ParseAddrPort(addr)
		if err != nil {
			return err
		}
		_, err = p.ep.tr.WriteTo(datagram, udpAddr(ap))
		return err
	}
	conn, err := p.socket(node, addr)
	if err != nil {
		return err
	}
	_, err = conn.Write(datagram)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	// The error belongs to an earlier pulse and kept this one from leaving.
	conn.Write(datagram)
	return ErrRefused
}

// socket returns the connected socket for node at addr, opening or replacing
// it as needed.
func (p *pulses) socket(node cluster.NodeID, addr string) (*net.UDPConn, error) {
	p.mu.Lock()
	s := p.socks[node]
	if s != nil && s.addr == addr {
		p.lookAgainLocked(s)
		conn := s.conn
		p.mu.Unlock()
		if conn == nil {
			return nil, ErrNotConnected
		}
		return conn, nil
	}
	full := s == nil && len(p.socks) >= cluster.MaxMembers
	ended := p.ended
	p.mu.Unlock()
	if ended {
		return nil, ErrClosed
	}
	if full {
		return nil, fmt.Errorf("transport: pulses to more than %d nodes", cluster.MaxMembers)
	}
	return p.open(node, addr)
}

func (p *pulses) open(node cluster.NodeID, addr string) (*net.UDPConn, error) {
	s := &pulseSock{node: node, addr: addr}
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		if s.conn, err = net.DialUDP("udp", nil, udpAddr(ap)); err != nil {
			return nil, err
		}
		s.literal = true
	}
	conn := s.conn
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		s.close()
		return nil, ErrClosed
	}
	old := p.socks[node]
	p.socks[node] = s
	p.lookAgainLocked(s)
	p.mu.Unlock()
	old.close()
	if conn == nil {
		return nil, ErrNotConnected
	}
	p.ep.spawn(func() { p.watch(node, addr, conn) })
	return conn, nil
}

// lookAgainLocked starts a look-up if s is known by name and the last one is
// old.
func (p *pulses) lookAgainLocked(s *pulseSock) {
	age := resolveEvery
	if s.conn == nil {
		age = resolveRetry
	}
	if s.literal || s.looking || s.looked != 0 && p.ep.now()-s.looked < age {
		return
	}
	s.looking = true
	p.ep.spawn(func() { p.lookUp(s) })
}

// lookUp resolves the name of s and connects its socket to what it finds.
func (p *pulses) lookUp(s *pulseSock) {
	ctx, cancel := context.WithTimeout(p.ep.ctx, resolveEvery/2)
	defer cancel()
	conn, err := p.connect(ctx, s)
	p.mu.Lock()
	s.looking = false
	s.looked = p.ep.now()
	old := s.conn
	current := p.socks[s.node] == s && !p.ended
	if current && conn != nil {
		s.conn = conn
	}
	news := err != nil && !s.unknown && !p.ended
	s.unknown = err != nil
	p.mu.Unlock()
	switch {
	case err != nil && news:
		p.ep.log.Warn("peer's name is unknown", "node", s.node, "addr", s.addr, "err", err)
	case err != nil: // said before
	case conn == nil: // still the same address
	case !current:
		conn.Close()
	default:
		if old != nil {
			old.Close()
		}
		p.watch(s.node, s.addr, conn)
	}
}

// connect returns a socket to the present address of s, or nil if the one it
// has is connected there.
func (p *pulses) connect(ctx context.Context, s *pulseSock) (*net.UDPConn, error) {
	ua, err := resolve(ctx, s.addr)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	have := s.conn
	p.mu.Unlock()
	if have != nil && have.RemoteAddr().String() == ua.String() {
		return nil, nil
	}
	return net.DialUDP("udp", nil, ua)
}

// watch waits on a pulse socket for refusals: a blocked read returns one
// within 0.1 ms (measured), the next write would only find it later.
func (p *pulses) watch(node cluster.NodeID, addr string, conn *net.UDPConn) {
	var b [1]byte
	for range maxReadErrors {
		_, err := conn.Read(b[:])
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, syscall.ECONNREFUSED):
			p.ep.stats.PulsesRefused.Add(1)
			if p.ep.cfg.Refused != nil {
				p.ep.cfg.Refused(node, addr)
			}
		}
	}
}

// prime makes QUIC keep non-QUIC datagrams from now on, instead of from
// whenever receive gets to run.
func (p *pulses) prime() {
	ctx, cancel := context.WithCancel(p.ep.ctx)
	cancel()
	p.ep.tr.ReadNonQUICPacket(ctx, nil)
}

// receive takes pulses off the endpoint's port. QUIC queues 32 of them and
// drops the rest, so it does nothing else.
func (p *pulses) receive() {
	b := make([]byte, MaxDatagram+1) // one more shows what is too long
	for {
		n, from, err := p.ep.tr.ReadNonQUICPacket(p.ep.ctx, b)
		if err != nil {
			return
		}
		payload, ok := Open(p.ep.creds.Secret, b[:n])
		if !ok {
			p.ep.stats.PulsesGarbage.Add(1)
			continue
		}
		p.ep.stats.PulsesIn.Add(1)
		if p.ep.cfg.Pulse != nil {
			p.ep.cfg.Pulse(payload, from)
		}
	}
}

func (p *pulses) close() {
	p.mu.Lock()
	p.ended = true
	socks := p.socks
	p.socks = nil
	p.mu.Unlock()
	for _, s := range socks {
		s.close()
	}
}

func (s *pulseSock) close() {
	if s != nil && s.conn != nil {
		s.conn.Close()
	}
}
