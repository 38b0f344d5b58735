package client

import (
	"context"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// link is what the client needs of a connection: *transport.Conn, or a fake
// in tests.
type link interface {
	// Append lets add append one frame to the send buffer. It never blocks on
	// the network; on an error nothing is sent.
	Append(add func(b []byte) []byte) error
	// Close ends the link; Done follows.
	Close(reason error)
	// Done is closed when the link is of no use any more.
	Done() <-chan struct{}
	// OnSent calls f when all that was appended has been sent; it may not.
	OnSent(f func())
	// SinceRead is how long ago the frame being handled was read.
	SinceRead() time.Duration
}

// receiver gets the frames of one link, one at a time, on the link's reader
// goroutine. The payload is valid during the call only.
type receiver interface {
	frame(h wire.Header, payload []byte)
}

// dialer opens links.
type dialer interface {
	// dial connects to addr, where node must be; zero takes whoever is there.
	// It returns who that is.
	dial(ctx context.Context, addr string, node cluster.NodeID, in receiver) (link, cluster.NodeID, error)
	// close ends all links and returns when their goroutines have.
	close() error
}
