package target

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"headroom/node/transport"
	"headroom/node/transport/certs"
	"headroom/node/wire"
)

// Admin commands: a node answers with its status, with its wall clock.
const (
	statusCommand = "status"
	clockCommand  = "clock"
)

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
	text, _, _, err := a.command(ctx, addr, statusCommand)
	return text, err
}

// command returns the answer to an admin command, and when it was sent and
// when the answer was there.
func (a *StatusAsker) command(ctx context.Context, addr, command string) (text []byte, sent, got time.Time, err error) {
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
		return nil, sent, got, ctx.Err()
	}
	if c.conn == nil {
		if c.conn, err = a.dialer.Dial(ctx, addr, c); err != nil {
			return nil, sent, got, fmt.Errorf("ask %s for its %s: %w", addr, command, err)
		}
	}
	sent = time.Now()
	text, err = c.ask(ctx, addr, command)
	got = time.Now()
	if err != nil {
		c.conn.Close(err)
		c.conn = nil
	}
	return text, sent, got, err
}

func (c *statusConn) ask(ctx context.Context, addr, command string) ([]byte, error) {
	select {
	case <-c.answer: // of a question that was given up
	default:
	}
	c.id++
	b := wire.AppendHeader(nil, wire.Header{Kind: wire.KindAdmin, Length: uint32(len(command)), ID: c.id})
	if err := c.conn.Send(append(b, command...)); err != nil {
		return nil, err
	}
	select {
	case text := <-c.answer:
		return text, nil
	case <-c.conn.Done():
		return nil, fmt.Errorf("ask %s for its %s: %w", addr, command, c.conn.Err())
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
