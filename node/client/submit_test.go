package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

// wireless is a link that keeps nothing but the last frame.
type wireless struct {
	frame  []byte
	full   bool
	closed int
	done   chan struct{}
}

func (l *wireless) Append(add func([]byte) []byte) error {
	if l.full {
		return errors.New("backpressure")
	}
	l.frame = add(l.frame[:0])
	return nil
}
func (l *wireless) OnSent(f func())          { f() }
func (l *wireless) SinceRead() time.Duration { return time.Microsecond }
func (l *wireless) Close(error)              { l.closed++ }
func (l *wireless) Done() <-chan struct{}    { return l.done }

type noDialer struct{}

func (noDialer) dial(ctx context.Context, _ string, _ cluster.NodeID, _ receiver) (link, cluster.NodeID, error) {
	<-ctx.Done()
	return nil, 0, ctx.Err()
}
func (noDialer) close() error { return nil }

// bare makes a client without goroutines and a connection to the only node.
func bare(tb testing.TB, limit int) (*Client, *conn, *wireless) {
	tb.Helper()
	c := newClient(Config{Seeds: []string{"x"}, MaxInFlight: limit}, noDialer{})
	tb.Cleanup(func() { c.Close() })
	m := &wire.Map{View: cluster.ViewKey{Counter: 1}, Members: []wire.MapMember{{Node: 1}}, Namespaces: []wire.MapNamespace{{Name: "default"}}}
	c.offer(1, m)
	n := c.routes.Load().nodes[0]
	l := &wireless{done: make(chan struct{})}
	cn := newConn(c, n)
	if err := cn.attach(l, 1); err != nil {
		tb.Fatal(err)
	}
	n.conn.Store(cn)
	return c, cn, l
}

func TestSubmitAllocatesNothing(t *testing.T) {
	c, cn, l := bare(t, 0)
	done := 0
	call := &Call{Kind: wire.KindPut, Body: make([]byte, 100), Done: func(*Call) { done++ }}
	reply := (&wire.Reply{Generation: 3}).Append(nil)
	one := func() {
		if err := c.Submit(call); err != nil {
			t.Fatal(err)
		}
		h, err := wire.ParseHeader(l.frame)
		if err != nil {
			t.Fatal(err)
		}
		cn.frame(wire.Header{Kind: wire.KindReply, ID: h.ID}, reply)
	}
	if n := testing.AllocsPerRun(1000, one); n != 0 {
		t.Errorf("%v allocations per operation, want none", n)
	}
	if done != 1001 || call.Gen != 3 || call.Err != nil || call.Node != 1 {
		t.Errorf("%d done, call %+v", done, call)
	}
}

func TestARetryAllocatesNothing(t *testing.T) {
	c, cn, l := bare(t, 0)
	call := &Call{Kind: wire.KindPut, Body: make([]byte, 100), Done: func(*Call) {}}
	reply := (&wire.Reply{Status: wire.StatusBusy}).Append(nil)
	ok := (&wire.Reply{}).Append(nil)
	var s sweep
	one := func() {
		if err := c.Submit(call); err != nil {
			t.Fatal(err)
		}
		h, _ := wire.ParseHeader(l.frame)
		cn.frame(wire.Header{Kind: wire.KindReply, ID: h.ID}, reply)
		c.tendParked(&s, c.Now().Add(backoffMax), false)
		h, _ = wire.ParseHeader(l.frame)
		cn.frame(wire.Header{Kind: wire.KindReply, ID: h.ID}, ok)
	}
	if n := testing.AllocsPerRun(100, one); n != 0 {
		t.Errorf("%v allocations per operation, want none", n)
	}
}

func TestInFlightIsBounded(t *testing.T) {
	c, cn, l := bare(t, 2)
	var ended []uint64
	calls := make([]Call, 3)
	for i := range calls {
		calls[i] = Call{Kind: wire.KindGet, Token: uint64(i), Done: func(call *Call) { ended = append(ended, call.Token) }}
		err := c.Submit(&calls[i])
		if want := i == 2; (err == ErrBusy) != want {
			t.Errorf("call %d: %v", i, err)
		}
	}
	h, _ := wire.ParseHeader(l.frame)
	cn.frame(wire.Header{Kind: wire.KindReply, ID: h.ID}, (&wire.Reply{}).Append(nil))
	l.full = true
	if err := c.Submit(&calls[2]); err != ErrBusy {
		t.Errorf("with a full send buffer: %v", err)
	}
	l.full = false
	if err := c.Submit(&calls[2]); err != nil {
		t.Error(err)
	}
	if len(ended) != 1 || ended[0] != 1 || cn.live != 2 {
		t.Errorf("ended %v, %d in flight", ended, cn.live)
	}
}

func TestOnlyOneReplyCountsAndDoneMaySubmitAgain(t *testing.T) {
	c, cn, l := bare(t, 1)
	rounds := 0
	call := &Call{Kind: wire.KindGet}
	call.Done = func(call *Call) {
		if rounds++; rounds < 3 {
			if err := c.Submit(call); err != nil {
				t.Error(err)
			}
		}
	}
	if err := c.Submit(call); err != nil {
		t.Fatal(err)
	}
	h, _ := wire.ParseHeader(l.frame)
	for range 5 { // the same id five times
		cn.frame(wire.Header{Kind: wire.KindReply, ID: h.ID}, (&wire.Reply{}).Append(nil))
	}
	if rounds != 1 || c.Stats().LateReplies != 4 {
		t.Errorf("%d completions, %d late replies, want 1 and 4", rounds, c.Stats().LateReplies)
	}
}

func TestSubmitRefusesWhatIsNoCall(t *testing.T) {
	c, _, _ := bare(t, 0)
	done := func(*Call) { t.Error("Done was called") }
	f := func(call Call, want error) {
		t.Helper()
		if err := c.Submit(&call); err != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	f(Call{Kind: wire.KindGet}, ErrBadRequest)
	f(Call{Kind: wire.KindScan, Done: done}, ErrBadRequest)
	f(Call{Kind: wire.KindGet, Namespace: 9, Done: done}, ErrNoNamespace)
	f(Call{Kind: wire.KindPut, Body: make([]byte, record.MaxSize+1), Done: done}, ErrTooBig)
}

func TestAMalformedReplyEndsTheConnectionNotTheClient(t *testing.T) {
	c, cn, l := bare(t, 0)
	var got error
	call := &Call{Kind: wire.KindOperate, Done: func(call *Call) { got = call.Err }}
	if err := c.Submit(call); err != nil {
		t.Fatal(err)
	}
	h, _ := wire.ParseHeader(l.frame)
	cn.frame(wire.Header{Kind: wire.KindReply, ID: h.ID}, []byte{1})
	if got != ErrInDoubt {
		t.Errorf("got %v, want in doubt", got)
	}
	cn.frame(wire.Header{Kind: 200, ID: 1}, nil)
	cn.frame(wire.Header{Kind: wire.KindMap}, []byte{1, 2})
	if c.Stats().Unknown != 1 {
		t.Errorf("unknown frames = %d", c.Stats().Unknown)
	}
}

func BenchmarkSubmit(b *testing.B) {
	c, cn, l := bare(b, 0)
	call := &Call{Kind: wire.KindGet, Deadline: time.Second, Done: func(*Call) {}}
	reply := (&wire.Reply{Bins: make([]byte, 100)}).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Submit(call); err != nil {
			b.Fatal(err)
		}
		h, _ := wire.ParseHeader(l.frame)
		cn.frame(wire.Header{Kind: wire.KindReply, ID: h.ID}, reply)
	}
}

// FuzzFrame: no frame from a node may break the client.
func FuzzFrame(f *testing.F) {
	f.Add(uint8(wire.KindReply), uint64(0), []byte{0, 1, 0, 0, 0, 0, 0})
	f.Add(uint8(wire.KindMap), uint64(0), []byte{1})
	f.Add(uint8(wire.KindBatchReply), uint64(0), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, kind uint8, id uint64, payload []byte) {
		c, cn, _ := bare(t, 0)
		ended := 0
		call := &Call{Kind: wire.KindOperate, Done: func(*Call) { ended++ }}
		if err := c.Submit(call); err != nil {
			t.Fatal(err)
		}
		cn.frame(wire.Header{Kind: wire.Kind(kind), ID: id}, payload)
		cn.retire(c.Now())
		if parked := c.Stats().Parked; ended+parked != 1 {
			t.Errorf("the call ended %d times and is parked %d times", ended, parked)
		}
	})
}
