package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// multicastHops keeps announcements on the local network: nodes further away
// are found by a seed address, and group routing is an operator's decision.
const multicastHops = 1

// multicastRetry separates reads of a socket that reports errors.
const multicastRetry = 100 * time.Millisecond

// Multicast sends and receives announcements: pulses for everybody on the
// local network, signed like all others. They carry no decision; see package
// heartbeat.
type Multicast struct {
	ep    *Endpoint
	group *net.UDPAddr
	in    *net.UDPConn
	out   *net.UDPConn
}

// CheckMulticast returns the group's address, or says what is wrong with
// "GROUP:PORT".
func CheckMulticast(group string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(group)
	switch {
	case err != nil:
		return ap, fmt.Errorf("%q is not GROUP:PORT, for example 239.1.99.222:9918", group)
	case !ap.Addr().IsMulticast():
		return ap, fmt.Errorf("%s is no multicast address: take one of 239.0.0.0/8 or ff02::/16, for example 239.1.99.222:9918", ap.Addr())
	case ap.Port() == 0:
		return ap, fmt.Errorf("%s: all nodes need the same port, not 0", group)
	}
	return ap, nil
}

// JoinMulticast joins a group on the network interface that has the endpoint's
// address (every one, if it listens on all: the system chooses). Announcements
// that arrive go to Config.Pulse, from a goroutine of their own. Close ends it
// with the endpoint.
func (e *Endpoint) JoinMulticast(group string) (*Multicast, error) {
	ap, err := CheckMulticast(group)
	if err != nil {
		return nil, fmt.Errorf("transport: multicast: %w", err)
	}
	local, ok := e.Addr().(*net.UDPAddr)
	if !ok || e.cfg.PacketConn != nil {
		return nil, errors.New("transport: multicast needs a UDP socket of the system")
	}
	ifi, err := interfaceOf(local.IP)
	if err != nil {
		return nil, err
	}
	m := &Multicast{ep: e, group: udpAddr(ap)}
	network := "udp4"
	if ap.Addr().Is6() {
		network = "udp6"
	}
	if m.in, err = net.ListenMulticastUDP(network, ifi, m.group); err != nil {
		return nil, fmt.Errorf("transport: join multicast group %s: %w", group, err)
	}
	if m.out, err = sender(network, local.IP, ifi); err != nil {
		m.in.Close()
		return nil, fmt.Errorf("transport: send to multicast group %s: %w", group, err)
	}
	if !e.spawn(m.receive) {
		m.close()
		return nil, ErrClosed
	}
	return m, nil
}

// interfaceOf finds the interface that has ip; nil for the unspecified one.
func interfaceOf(ip net.IP) (*net.Interface, error) {
	if ip == nil || ip.IsUnspecified() {
		return nil, nil
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for i := range all {
		addrs, err := all[i].Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && (n.IP.Equal(ip) || ip.IsLoopback() && n.IP.IsLoopback()) {
				return &all[i], nil
			}
		}
	}
	return nil, fmt.Errorf("transport: multicast: no network interface has %s", ip)
}

// sender opens the socket that announcements leave by. Nodes on one machine
// hear each other, too.
func sender(network string, ip net.IP, ifi *net.Interface) (*net.UDPConn, error) {
	c, err := net.ListenUDP(network, &net.UDPAddr{IP: ip})
	if err != nil {
		return nil, err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		c.Close()
		return nil, err
	}
	var set error
	if err = raw.Control(func(fd uintptr) { set = multicastOptions(int(fd), network, ifi) }); err == nil {
		err = set
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func multicastOptions(fd int, network string, ifi *net.Interface) error {
	index := 0
	if ifi != nil {
		index = ifi.Index
	}
	if network == "udp6" {
		return errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, multicastHops),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 1))
	}
	return errors.Join(
		unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(index)}),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, multicastHops),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 1))
}

// Send signs payload and sends it to the group. It does not block. A network
// that is down for the moment is an error to count, not to act upon.
func (m *Multicast) Send(payload []byte) error {
	if len(payload) > MaxPulse {
		return fmt.Errorf("transport: announcement of %d bytes, limit %d", len(payload), MaxPulse)
	}
	_, err := m.out.WriteToUDP(Seal(m.ep.creds.Secret, payload), m.group)
	if err != nil {
		m.ep.stats.PulsesFailed.Add(1)
		return err
	}
	m.ep.stats.AnnouncementsOut.Add(1)
	return nil
}

// receive takes announcements off the group's socket until the endpoint ends.
func (m *Multicast) receive() {
	stop := context.AfterFunc(m.ep.ctx, m.close)
	defer stop()
	b := make([]byte, MaxDatagram+1) // one more shows what is too long
	for {
		n, from, err := m.in.ReadFromUDP(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // the interface is down, or memory short, for the moment
			select {
			case <-m.ep.ctx.Done():
			case <-time.After(multicastRetry):
			}
			continue
		}
		payload, ok := Open(m.ep.creds.Secret, b[:n])
		if !ok {
			m.ep.stats.PulsesGarbage.Add(1)
			continue
		}
		m.ep.stats.AnnouncementsIn.Add(1)
		if m.ep.cfg.Pulse != nil {
			m.ep.cfg.Pulse(payload, from)
		}
	}
}

func (m *Multicast) close() {
	m.in.Close()
	m.out.Close()
}
