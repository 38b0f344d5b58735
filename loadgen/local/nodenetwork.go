package local

import "time"

// NetworkStatus is what a node says of its port and interface.
type NetworkStatus struct {
	Interface     string `json:"interface"`
	BitsPerS      int64  `json:"bits_per_s"`
	SentBytes     uint64 `json:"sent_bytes"`
	ReceivedBytes uint64 `json:"received_bytes"`
	Dropped       uint64 `json:"dropped"`
	ReceiveUsed   int64  `json:"receive_used"`
	ReceiveBuffer int64  `json:"receive_buffer"`
}

// network fills in how busy the network of a node was since an earlier answer
// of the same process; without one it stays unknown.
func (out *Sample) network(before, now *Status, length time.Duration) {
	if before == nil || length <= 0 || before.Process.PID != now.Process.PID || now.Process.UptimeS < before.Process.UptimeS {
		return
	}
	out.NetBusyPct, out.NetDropped = 100*now.Network.busy(&before.Network, length), int64(now.Network.Dropped-before.Network.Dropped)
}

// correct takes the interface to have the given speed, unless that is zero;
// loopback has none.
func (n *NetworkStatus) correct(bitsPerS int64) {
	if bitsPerS > 0 && n.Interface != "lo" {
		n.BitsPerS = bitsPerS
	}
}

// busy is the share of the interface's speed that was in use, in the fuller
// direction, or of the port's receive buffer; a full one, when datagrams had no
// room.
func (n *NetworkStatus) busy(before *NetworkStatus, length time.Duration) float64 {
	if n.Dropped > before.Dropped {
		return 1
	}
	share := 0.0
	if n.BitsPerS > 0 {
		bytes := max(float64(n.SentBytes)-float64(before.SentBytes), float64(n.ReceivedBytes)-float64(before.ReceivedBytes))
		share = 8 * bytes / length.Seconds() / float64(n.BitsPerS)
	}
	if n.ReceiveBuffer > 0 {
		share = max(share, float64(n.ReceiveUsed)/float64(n.ReceiveBuffer))
	}
	return min(max(share, 0), 1)
}
