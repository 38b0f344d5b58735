package client

import (
	"errors"
	"testing"
	"time"

	"headroom/node/record"
	"headroom/node/transport"
	"headroom/node/wire"
)

// echo is a node behind a real QUIC endpoint: every get finds one record.
type echo struct{ m *wire.Map }

func (e echo) Opened(*transport.Conn)        {}
func (e echo) Drained(*transport.Conn)       {}
func (e echo) Closed(*transport.Conn, error) {}
func (e echo) Frames(c *transport.Conn, h wire.Header, payload []byte) {
	kind, add := wire.KindReply, func(b []byte) []byte {
		bins, _ := record.AppendBins(nil, bins(42))
		return (&wire.Reply{Generation: 1, Bins: bins}).Append(b)
	}
	if h.Kind == wire.KindHello {
		kind, add = wire.KindMap, e.m.Append
	}
	_ = c.Put(func(b []byte) []byte {
		at := len(b)
		b = add(wire.AppendHeader(b, wire.Header{Kind: kind, ID: h.ID}))
		wire.PutLength(b, at)
		return b
	})
}

func TestOverQUIC(t *testing.T) {
	m := &wire.Map{}
	ep, err := transport.Listen(transport.Config{Node: 1, Insecure: true, Addr: "127.0.0.1:0", Handler: echo{m}})
	if err != nil {
		t.Fatal(err)
	}
	defer ep.Close()
	*m = *mapOf(1, 1, 0)
	m.Members = []wire.MapMember{{Node: 1, Addr: ep.Addr().String()}}
	c, err := Dial(t.Context(), Config{Seeds: []string{ep.Addr().String()}, Insecure: true, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	call := &Call{Kind: wire.KindGet} // the zero digest is in partition 0
	done := make(chan error, 1)
	call.Done = func(call *Call) {
		v, ok := record.Bins(call.Bins).Get("v")
		if call.Err == nil && (!ok || v != record.Int(42)) {
			call.Err = errors.New("wrong bins")
		}
		done <- call.Err
	}
	for range 100 {
		if err := c.Submit(call); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestDialNeedsCredentials(t *testing.T) {
	if _, err := Dial(t.Context(), Config{Seeds: []string{"127.0.0.1:1"}}); err == nil {
		t.Error("no error without credentials")
	}
	if _, err := Dial(t.Context(), Config{Seeds: []string{"127.0.0.1:1"}, Credentials: t.TempDir()}); err == nil {
		t.Error("no error for an empty directory")
	}
	if _, err := Dial(t.Context(), Config{Insecure: true}); err == nil {
		t.Error("no error without seeds")
	}
}
