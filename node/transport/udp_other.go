//go:build !linux

package transport

import "net"

// listenUDP opens a UDP socket; receive offload exists on Linux only.
func listenUDP(addr string) (net.PacketConn, error) {
	ua, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	return net.ListenUDP("udp", ua)
}
