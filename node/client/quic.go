package client

import (
	"context"
	"fmt"

	"headroom/node/cluster"
	"headroom/node/transport"
	"headroom/node/transport/certs"
	"headroom/node/wire"
)

// quicDialer opens links over package transport.
type quicDialer struct{ d *transport.Dialer }

func newQUIC(cfg *Config) (dialer, error) {
	tc := transport.DialerConfig{Insecure: cfg.Insecure, Credentials: cfg.Identity, PacketConn: cfg.PacketConn}
	if !cfg.Insecure && cfg.Identity.Roots == nil && cfg.Credentials != "" {
		var err error
		if tc.Credentials, err = certs.Load(cfg.Credentials); err != nil {
			return nil, err
		}
	}
	d, err := transport.NewDialer(tc)
	if err != nil {
		return nil, err
	}
	return quicDialer{d}, nil
}

func (q quicDialer) dial(ctx context.Context, addr string, node cluster.NodeID, in receiver) (link, cluster.NodeID, error) {
	conn, err := q.d.Dial(ctx, addr, handler{in})
	if err != nil {
		return nil, 0, err
	}
	peer := conn.Peer().Node
	if node != 0 && peer != node {
		err := fmt.Errorf("%w: %v answers at %s, where the map says %v is", transport.ErrPeer, peer, addr, node)
		conn.Close(err)
		return nil, 0, err
	}
	return conn, peer, nil
}

func (q quicDialer) close() error { return q.d.Close() }

// handler gives the frames of one connection to its receiver. Replies that a
// Done callback sends are flushed by the transport after each batch.
type handler struct{ in receiver }

func (h handler) Opened(*transport.Conn) {}
func (h handler) Frames(_ *transport.Conn, head wire.Header, payload []byte) {
	h.in.frame(head, payload)
}
func (h handler) Drained(*transport.Conn)       {}
func (h handler) Closed(*transport.Conn, error) {}
