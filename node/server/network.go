package server

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// StatusNetwork is the network as the node's port sees it. The counters only
// grow; zero is also what is not known.
type StatusNetwork struct {
	Interface     string `json:"interface"`      // "lo", "eth0"; empty: not known
	BitsPerS      int64  `json:"bits_per_s"`     // its speed; 0 for loopback and where the driver does not tell
	SentBytes     uint64 `json:"sent_bytes"`     // by the whole interface
	ReceivedBytes uint64 `json:"received_bytes"` // by the whole interface
	Dropped       uint64 `json:"dropped"`        // datagrams that the port's receive buffer had no room for
	ReceiveUsed   int64  `json:"receive_used"`   // of receive_buffer, at this moment
	ReceiveBuffer int64  `json:"receive_buffer"` // bytes
	SendUsed      int64  `json:"send_used"`      // of send_buffer, at this moment
	SendBuffer    int64  `json:"send_buffer"`    // bytes
	Refused       uint64 `json:"sends_refused"`  // because a peer's queue was full
}

// link is the interface of the node's port, found once at the start.
type link struct {
	name     string
	bitsPerS int64
}

// netDir holds what Linux says of interfaces.
const netDir = "/sys/class/net"

// findLink finds the interface that has the address of host:port; empty when
// none has.
func findLink(addr string) link {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return link{}
	}
	ip := net.ParseIP(host)
	list, err := net.Interfaces()
	if err != nil || ip == nil {
		return link{}
	}
	for _, i := range list {
		own, _ := i.Addrs() // one that vanished has none
		for _, a := range own {
			n, ok := a.(*net.IPNet)
			if ok && (n.IP.Equal(ip) || ip.IsLoopback() && n.IP.IsLoopback()) {
				return link{i.Name, int64(max(0, netFigure(i.Name, "speed"))) * 1e6}
			}
		}
	}
	return link{}
}

// netFigure reads one number of an interface, 0 when there is none.
func netFigure(name, file string) int64 {
	text, err := os.ReadFile(filepath.Join(netDir, name, file))
	if err != nil {
		return 0
	}
	v, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return v
}

func (n *Node) statusNetwork() StatusNetwork {
	s := StatusNetwork{Interface: n.link.name, BitsPerS: n.link.bitsPerS, Refused: n.ep.Stats().Backpressure.Load()}
	if s.Interface != "" {
		s.SentBytes = uint64(netFigure(s.Interface, "statistics/tx_bytes"))
		s.ReceivedBytes = uint64(netFigure(s.Interface, "statistics/rx_bytes"))
	}
	if k, ok := n.ep.Socket(); ok {
		s.Dropped, s.ReceiveUsed, s.ReceiveBuffer, s.SendUsed, s.SendBuffer = k.Drops, k.ReceiveUsed, k.ReceiveBuffer, k.SendUsed, k.SendBuffer
	}
	return s
}
