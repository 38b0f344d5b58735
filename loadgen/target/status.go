package target

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"headroom/node/transport"
	"headroom/node/transport/certs"
	"headroom/node/wire"
)

// statusCommand is the admin command that a node answers with its status.
const statusCommand = "status"

// StatusAsker asks nodes for their headroom-status/1 answer over a connection
// of its own to each, kept open between questions. Safe for concurrent use.
type StatusAsker struct {
	dialer *transport.Dialer

	mu    sync.Mutex // guards conns
	conns map[string]*statusConn
}

// statusConn is a connection to one node. One question at a time.
type statusConn struct {
	asking chan struct{} // capacity 1: held while a question is open
	answer chan []byte   // capacity 1
	conn   *transport.Conn
	id     uint64
}

// NewStatusAsker opens a socket. Close it.
func NewStatusAsker(cfg HeadroomConfig) (*StatusAsker, error) {
	d := transport.DialerConfig{Insecure: cfg.Insecure}
	if !cfg.Insecure {
		var err error
		dir := cfg.Credentials
		if dev := certs.DevClient(dir); exists(dev) {
			dir = dev
		}
		if d.Credentials, err = certs.Load(dir); err != nil {
			return nil, err
		}
	}
	dialer, err := transport.NewDialer(d)
	if err != nil {
		return nil, err
	}
	return &StatusAsker{dialer: dialer, conns: map[string]*statusConn{}}, nil
}

func exists(path string) bool {
	_, err := os.Stat(filepath.Clean(path))
	return err == nil
}

// Ask returns the status of the node at addr as JSON. It waits as long as ctx
// lets it.
func (a *StatusAsker) Ask(ctx context.Context, addr string) ([]byte, error) {
	a.mu.Lock()
	c := a.conns[addr]
	if c == nil {
		c = &statusConn{asking: make(chan struct{}, 1), answer: make(chan []byte, 1)}
		a.conns[addr] = c
	}
	a.mu.Unlock()
	select {
	case c.asking <- struct{}{}:
		defer func() { <-c.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	text, err := c.ask(ctx, a.dialer, addr)
	if err != nil && c.conn != nil {
		c.conn.Close(err)
		c.conn = nil
	}
	return text, err
}

func (c *statusConn) ask(ctx context.Context, d *transport.Dialer, addr string) ([]byte, error) {
	if c.conn == nil {
		var err error
		if c.conn, err = d.Dial(ctx, addr, c); err != nil {
			return nil, fmt.Errorf("ask %s for its status: %w", addr, err)
		}
	}
	select {
	case <-c.answer: // of a question that was given up
	default:
	}
	c.id++
	b := wire.AppendHeader(nil, wire.Header{Kind: wire.KindAdmin, Length: uint32(len(statusCommand)), ID: c.id})
	if err := c.conn.Send(append(b, statusCommand...)); err != nil {
		return nil, err
	}
	select {
	case text := <-c.answer:
		return text, nil
	case <-c.conn.Done():
		return nil, fmt.Errorf("ask %s for its status: %w", addr, c.conn.Err())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close ends the connections. No Ask may be under way.
func (a *StatusAsker) Close() error { return a.dialer.Close() }

// Opened implements transport.Handler.
func (c *statusConn) Opened(*transport.Conn) {}

// Drained implements transport.Handler.
func (c *statusConn) Drained(*transport.Conn) {}

// Closed implements transport.Handler.
func (c *statusConn) Closed(*transport.Conn, error) {}

// Frames implements transport.Handler.
func (c *statusConn) Frames(_ *transport.Conn, h wire.Header, payload []byte) {
	if h.Kind != wire.KindAdminReply {
		return
	}
	select {
	case c.answer <- append([]byte(nil), payload...):
	default:
	}
}
