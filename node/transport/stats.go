package transport

import "sync/atomic"

// Stats counts what happened on an Endpoint or Dialer since its start. All
// counters only grow; read them at any time.
type Stats struct {
	FramesIn, BytesIn   atomic.Uint64 // on all connections; updated per read
	FramesOut, BytesOut atomic.Uint64 // frames: one per Append, Put or Send
	Writes              atomic.Uint64 // calls of the QUIC stream's Write

	Accepted     atomic.Uint64 // connections accepted, peer proven
	Dialed       atomic.Uint64 // connections dialed with success
	DialErrors   atomic.Uint64
	RefusedPeers atomic.Uint64 // wrong CA, wrong role, wrong node, either side
	OverLimit    atomic.Uint64 // connections beyond MaxConns
	Retries      atomic.Uint64 // handshakes asked to prove their address first
	BadOpenings  atomic.Uint64 // accepted connections without our greeting
	Malformed    atomic.Uint64 // connections closed for a malformed frame
	Stalled      atomic.Uint64 // connections closed for not reading

	Backpressure atomic.Uint64 // sends refused with ErrBackpressure
	NotConnected atomic.Uint64 // mesh sends refused with ErrNotConnected

	PulsesIn, PulsesOut atomic.Uint64
	PulsesGarbage       atomic.Uint64 // non-QUIC datagrams that are no signed pulse
	PulsesRefused       atomic.Uint64 // refused ports seen
	PulsesFailed        atomic.Uint64 // not sent for any other reason

	AnnouncementsIn, AnnouncementsOut atomic.Uint64 // of the multicast group
}

// ConnStats is what one connection has carried so far.
type ConnStats struct {
	FramesIn, BytesIn   uint64
	FramesOut, BytesOut uint64
	Writes              uint64 // calls of the QUIC stream's Write
	Pending             int    // bytes appended and not yet taken by QUIC
}

// Socket is the state of a UDP socket, in bytes of kernel memory: a datagram
// of 1,200 takes 2,304. Drops counts the datagrams for which the receive buffer
// had no room, since the socket was opened.
type Socket struct {
	ReceiveUsed, ReceiveBuffer int64
	SendUsed, SendBuffer       int64
	Drops                      uint64
}
