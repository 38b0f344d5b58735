package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"headroom/node/transport/certs"
)

// DialerConfig configures a Dialer. The zero value without Credentials is an
// error unless Insecure.
type DialerConfig struct {
	// Credentials prove who this client is; a node's will do too.
	Credentials certs.Credentials
	// Insecure believes every node without proof.
	Insecure bool
	// PacketConn replaces the UDP socket; the Dialer closes it.
	PacketConn net.PacketConn
	// MaxPending bounds the bytes waiting to be sent on one connection. Zero
	// means DefaultMaxPending.
	MaxPending int
	// Log may be nil.
	Log *slog.Logger
}

// insecureClient is how clients call themselves when nobody asks for proof.
const insecureClient = "insecure"

// Dialer opens client connections. All share one UDP socket: a socket for
// each was no faster (measured).
type Dialer struct{ *host }

// NewDialer opens the socket. Close the Dialer when done.
func NewDialer(cfg DialerConfig) (*Dialer, error) {
	var err error
	if cfg.Insecure {
		if cfg.Credentials, err = certs.Throwaway(certs.Identity{Role: certs.RoleClient, Name: insecureClient}); err != nil {
			return nil, err
		}
	}
	if cfg.Credentials.Identity.Role == 0 {
		return nil, errors.New("transport: a client needs credentials: make some with `headroom-node certs client`, and name their directory with --credentials")
	}
	if cfg.MaxPending == 0 {
		cfg.MaxPending = DefaultMaxPending
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	pc := cfg.PacketConn
	if pc == nil {
		if pc, err = listenUDP(":0"); err != nil {
			return nil, fmt.Errorf("open a UDP socket: %w", err)
		}
	}
	h := newHost(cfg.Credentials, pc, cfg.Log, cfg.MaxPending)
	h.spawn(h.janitor)
	return &Dialer{host: h}, nil
}

// Dial opens a client connection to the node at addr ("host:port"), whose
// frames go to hd. See Endpoint.Dial; Conn.Peer says which node it is.
func (d *Dialer) Dial(ctx context.Context, addr string, hd Handler) (*Conn, error) {
	return d.dial(ctx, addr, ClassClient, 0, hd)
}

// Stats returns the live counters.
func (d *Dialer) Stats() *Stats { return &d.stats }

// Close closes all connections and returns when no goroutine of the Dialer is
// left. Never call it from a Handler.
func (d *Dialer) Close() error { return d.close(func() {}) }
