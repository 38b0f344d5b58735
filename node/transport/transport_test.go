package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"headroom/node/cluster"
	"headroom/node/transport/certs"
	"headroom/node/wire"
)

// patience bounds every wait of a test; none is expected to come near it.
const patience = 20 * time.Second

// handler is a Handler of functions; nil ones do nothing.
type handler struct {
	opened  func(c *Conn)
	frames  func(c *Conn, h wire.Header, payload []byte)
	drained func(c *Conn)
	closed  func(c *Conn, err error)
}

func (h handler) Opened(c *Conn) {
	if h.opened != nil {
		h.opened(c)
	}
}

func (h handler) Frames(c *Conn, hd wire.Header, payload []byte) {
	if h.frames != nil {
		h.frames(c, hd, payload)
	}
}

func (h handler) Drained(c *Conn) {
	if h.drained != nil {
		h.drained(c)
	}
}

func (h handler) Closed(c *Conn, err error) {
	if h.closed != nil {
		h.closed(c, err)
	}
}

// echo answers every frame that is not a reply with the same payload.
func echo() handler {
	return handler{frames: func(c *Conn, h wire.Header, payload []byte) {
		if h.Flags != flagReply {
			c.Put(func(b []byte) []byte { return appendFrame(b, h.ID, flagReply, payload) })
		}
	}}
}

const flagReply = 1

func appendFrame(b []byte, id uint64, flags uint8, payload []byte) []byte {
	b = wire.AppendHeader(b, wire.Header{Length: uint32(len(payload)), Kind: 1, Flags: flags, ID: id})
	return append(b, payload...)
}

func devDir(t testing.TB, nodes ...cluster.NodeID) string {
	t.Helper()
	dir := t.TempDir() + "/dev"
	for _, n := range nodes {
		if _, err := certs.EnsureDev(dir, n); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func nodeConfig(t testing.TB, dir string, n cluster.NodeID, hd Handler) Config {
	t.Helper()
	cr, err := certs.EnsureDev(dir, n)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Credentials: cr, Handler: hd, Addr: "127.0.0.1:0"}
}

func listen(t testing.TB, cfg Config) *Endpoint {
	t.Helper()
	e, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func newDialer(t testing.TB, dir string) *Dialer {
	t.Helper()
	cr, err := certs.Load(certs.DevClient(dir))
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDialer(DialerConfig{Credentials: cr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func receive[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("no %s within %v", what, patience)
	}
	return v
}

// caller sends requests and waits for their replies, many at a time.
type caller struct {
	mu      sync.Mutex
	waiting map[uint64]chan []byte
	next    uint64
}

func newCaller() *caller { return &caller{waiting: map[uint64]chan []byte{}} }

func (k *caller) handler() handler {
	return handler{frames: func(_ *Conn, h wire.Header, payload []byte) {
		k.mu.Lock()
		ch := k.waiting[h.ID]
		delete(k.waiting, h.ID)
		k.mu.Unlock()
		if ch != nil {
			ch <- append([]byte(nil), payload...)
		}
	}}
}

func (k *caller) call(c *Conn, payload []byte) ([]byte, error) {
	ch := make(chan []byte, 1)
	k.mu.Lock()
	k.next++
	id := k.next
	k.waiting[id] = ch
	k.mu.Unlock()
	if err := c.Append(func(b []byte) []byte { return appendFrame(b, id, 0, payload) }); err != nil {
		return nil, err
	}
	select {
	case p := <-ch:
		return p, nil
	case <-c.Done():
		return nil, c.Err()
	case <-time.After(patience):
		return nil, errors.New("no reply")
	}
}

func mustEcho(t testing.TB, k *caller, c *Conn, payload string) {
	t.Helper()
	got, err := k.call(c, []byte(payload))
	if err != nil || string(got) != payload {
		t.Errorf("echo of %.20q = %.20q, %v", payload, got, err)
	}
}

func TestManyRequestsInFlightGetTheirOwnReplies(t *testing.T) {
	dir := devDir(t, 1)
	e := listen(t, nodeConfig(t, dir, 1, echo()))
	k := newCaller()
	c, err := newDialer(t, dir).Dial(testContext(t), e.Addr().String(), k.handler())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			for i := range 50 {
				mustEcho(t, k, c, fmt.Sprintf("%d of %d %s", i, g, strings.Repeat("x", i)))
			}
		})
	}
	wg.Wait()
	st := c.Stats()
	if st.FramesIn != 3200 || st.FramesOut != 3200 || st.Pending != 0 {
		t.Errorf("stats = %+v, want 3200 frames each way and none pending", st)
	}
	if got := c.Peer().Node; got != 1 {
		t.Errorf("peer = %v, want node1", got)
	}
}

func TestOnSentComesWhenWhatWasAppendedIsOut(t *testing.T) {
	dir := devDir(t, 1)
	e := listen(t, nodeConfig(t, dir, 1, echo()))
	k := newCaller()
	c, err := newDialer(t, dir).Dial(testContext(t), e.Addr().String(), k.handler())
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan uint64, 100)
	for range 50 {
		if err := c.Append(func(b []byte) []byte { return appendFrame(b, 0, 0, []byte("x")) }); err != nil {
			t.Fatal(err)
		}
		c.OnSent(func() { sent <- c.Stats().FramesOut })
	}
	for i := range uint64(50) {
		if n := receive(t, sent, fmt.Sprintf("news that frame %d was sent", i)); n <= i {
			t.Errorf("news %d came when %d frames were out", i, n)
		}
	}
	c.Close(nil)
	c.OnSent(func() { t.Error("called on a closed connection") })
}

func TestLargestFramePasses(t *testing.T) {
	dir := devDir(t, 1)
	e := listen(t, nodeConfig(t, dir, 1, echo()))
	k := newCaller()
	c, err := newDialer(t, dir).Dial(testContext(t), e.Addr().String(), k.handler())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, readMin, readMax - wire.HeaderSize, readMax, wire.MaxPayload} {
		mustEcho(t, k, c, strings.Repeat("y", n))
	}
	mustEcho(t, k, c, "small again")
}

func TestClientMayNotOpenNodeConnections(t *testing.T) {
	dir := devDir(t, 1)
	e := listen(t, nodeConfig(t, dir, 1, echo()))
	d := newDialer(t, dir)
	for class := ClassControl; class < classes; class++ {
		c, err := d.dial(testContext(t), e.Addr().String(), class, 0, handler{})
		if !errors.Is(err, ErrPeer) {
			t.Errorf("client opened %v connection %v, error %v", class, c, err)
		}
	}
	if got := e.Stats().RefusedPeers.Load(); got != 3 {
		t.Errorf("endpoint refused %d peers, want 3", got)
	}
	if c, err := d.Dial(testContext(t), e.Addr().String(), handler{}); err != nil {
		t.Errorf("client's own class: %v %v", c, err)
	}
}

func TestForeignClusterIsRefusedByBothSides(t *testing.T) {
	e := listen(t, nodeConfig(t, devDir(t, 1), 1, echo()))
	other := listen(t, nodeConfig(t, devDir(t, 2), 2, echo()))
	if _, err := other.Dial(testContext(t), e.Addr().String(), ClassControl, 1); !errors.Is(err, ErrPeer) {
		t.Errorf("dial into a foreign cluster = %v, want ErrPeer", err)
	}
	// A dialer that believes anything is still refused by the other side.
	d, err := NewDialer(DialerConfig{Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Dial(testContext(t), e.Addr().String(), handler{}); !errors.Is(err, ErrPeer) {
		t.Errorf("dial without proof = %v, want ErrPeer", err)
	}
	if e.Stats().RefusedPeers.Load() != 1 || other.Stats().RefusedPeers.Load() != 1 {
		t.Errorf("refusals = %d and %d, want 1 each", e.Stats().RefusedPeers.Load(), other.Stats().RefusedPeers.Load())
	}
}

func TestAnotherNodeAtTheAddressIsRefused(t *testing.T) {
	dir := devDir(t, 1, 2)
	e := listen(t, nodeConfig(t, dir, 1, echo()))
	two := listen(t, nodeConfig(t, dir, 2, echo()))
	if _, err := two.Dial(testContext(t), e.Addr().String(), ClassControl, 7); !errors.Is(err, ErrPeer) {
		t.Errorf("dial of node7 at node1 = %v, want ErrPeer", err)
	}
	if _, err := two.Dial(testContext(t), e.Addr().String(), ClassControl, 1); err != nil {
		t.Error(err)
	}
}

func TestInsecureModeNeedsNoCredentials(t *testing.T) {
	e := listen(t, Config{Insecure: true, Node: 9, Addr: "127.0.0.1:0", Handler: echo()})
	d, err := NewDialer(DialerConfig{Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	k := newCaller()
	c, err := d.Dial(testContext(t), e.Addr().String(), k.handler())
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, k, c, "hello")
}

func TestMalformedFrameClosesOnlyItsConnection(t *testing.T) {
	dir := devDir(t, 1)
	closed := make(chan error, 4)
	h := echo()
	h.closed = func(_ *Conn, err error) { closed <- err }
	e := listen(t, nodeConfig(t, dir, 1, h))
	d := newDialer(t, dir)
	k := newCaller()
	good, err := d.Dial(testContext(t), e.Addr().String(), k.handler())
	if err != nil {
		t.Fatal(err)
	}
	bad := func(what string, send func(c *Conn)) {
		t.Helper()
		c, err := d.Dial(testContext(t), e.Addr().String(), handler{})
		if err != nil {
			t.Fatal(err)
		}
		send(c)
		if err := receive(t, closed, what); !errors.Is(err, wire.ErrFrame) {
			t.Errorf("%s: closed with %v, want ErrFrame", what, err)
		}
		receive(t, c.Done(), "close on the sending side")
	}
	bad("oversized length", func(c *Conn) {
		c.Append(func(b []byte) []byte { return wire.AppendHeader(b, wire.Header{Length: wire.MaxPayload + 1}) })
	})
	bad("reserved bytes", func(c *Conn) {
		c.Append(func(b []byte) []byte {
			b = wire.AppendHeader(b, wire.Header{})
			b[len(b)-10] = 1
			return b
		})
	})
	bad("truncated frame", func(c *Conn) {
		if _, err := c.stream.Write(wire.AppendHeader(nil, wire.Header{Length: 99})); err != nil {
			t.Error(err)
		}
		c.stream.Close()
	})
	mustEcho(t, k, good, "still here")
	if got := e.Stats().Malformed.Load(); got != 3 {
		t.Errorf("malformed = %d, want 3", got)
	}
}

func TestSlowReaderMeetsBackpressureNotMemory(t *testing.T) {
	dir := devDir(t, 1)
	release := make(chan struct{})
	var frames atomic.Int64
	e := listen(t, nodeConfig(t, dir, 1, handler{frames: func(c *Conn, _ wire.Header, _ []byte) {
		<-release
		frames.Add(1)
	}}))
	d := newDialer(t, dir)
	d.maxPending = 2 * wire.MaxPayload
	c, err := d.Dial(testContext(t), e.Addr().String(), handler{})
	if err != nil {
		t.Fatal(err)
	}
	frame := appendFrame(nil, 1, 0, make([]byte, 100<<10))
	sent := 0
	for ; err == nil && sent < 1000; sent++ {
		err = c.Send(frame)
	}
	if !errors.Is(err, ErrBackpressure) {
		t.Fatalf("after %d frames: %v, want ErrBackpressure", sent, err)
	}
	if got := c.Stats().Pending; got > d.maxPending+len(frame) {
		t.Errorf("pending = %d, limit %d", got, d.maxPending)
	}
	close(release)
	for range 100 {
		if err := c.SendWait(testContext(t), frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.FlushWait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if d.Stats().Backpressure.Load() == 0 {
		t.Error("backpressure was not counted")
	}
}

func TestAReplyIsTakenOrTheConnectionEnds(t *testing.T) {
	dir := devDir(t, 1)
	stop := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(stop) })
	t.Cleanup(goOn)
	accepted := make(chan *Conn, 1)
	e := listen(t, nodeConfig(t, dir, 1, handler{frames: func(c *Conn, _ wire.Header, _ []byte) { accepted <- c }}))
	c, err := newDialer(t, dir).Dial(testContext(t), e.Addr().String(), handler{frames: func(*Conn, wire.Header, []byte) { <-stop }})
	if err != nil {
		t.Fatal(err)
	}
	frame := appendFrame(nil, 1, 0, make([]byte, 100<<10))
	if err := c.Send(frame); err != nil {
		t.Fatal(err)
	}
	a := receive(t, accepted, "request")
	for err == nil { // fill the buffer
		err = a.Send(frame)
	}
	if !errors.Is(err, ErrBackpressure) {
		t.Fatalf("%v, want ErrBackpressure", err)
	}
	taken := false
	a.Reply(func(b []byte) []byte { taken = true; return append(b, frame...) })
	if !taken {
		t.Fatal("a reply was refused by a full buffer")
	}
	for range owedMost*a.maxPending/len(frame) + 1 {
		a.Reply(func(b []byte) []byte { return append(b, frame...) })
	}
	goOn()
	receive(t, c.Done(), "end of a connection that owes too much")
	if !errors.Is(a.Err(), ErrStalled) {
		t.Errorf("closed with %v, want ErrStalled", a.Err())
	}
}

func TestPeerThatTakesNoRepliesIsNotRead(t *testing.T) {
	dir := devDir(t, 1)
	var handled atomic.Int64
	reply := make([]byte, 64<<10)
	e := listen(t, nodeConfig(t, dir, 1, handler{frames: func(c *Conn, h wire.Header, _ []byte) {
		handled.Add(1)
		if err := c.Put(func(b []byte) []byte { return appendFrame(b, h.ID, flagReply, reply) }); err != nil {
			t.Errorf("reply %d: %v", h.ID, err)
		}
	}}))
	release := make(chan struct{})
	replies := make(chan uint64, 4096)
	c, err := newDialer(t, dir).Dial(testContext(t), e.Addr().String(), handler{frames: func(_ *Conn, h wire.Header, _ []byte) {
		<-release
		replies <- h.ID
	}})
	if err != nil {
		t.Fatal(err)
	}
	const requests = 1000 // 64 MB of replies
	for i := range uint64(requests) {
		if err := c.Append(func(b []byte) []byte { return appendFrame(b, i, 0, nil) }); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	for i := range uint64(requests) {
		if got := receive(t, replies, "reply"); got != i {
			t.Fatalf("reply %d has id %d", i, got)
		}
	}
	if got := e.Stats().Backpressure.Load(); got != 0 {
		t.Errorf("%d replies met backpressure, want the reader to pause instead", got)
	}
}

func TestCloseTellsBothSidesAndEndsGoroutines(t *testing.T) {
	dir := devDir(t, 1)
	closed := make(chan error, 1)
	h := echo()
	h.closed = func(_ *Conn, err error) { closed <- err }
	e := listen(t, nodeConfig(t, dir, 1, h))
	mine := make(chan error, 1)
	d := newDialer(t, dir)
	c, err := d.Dial(testContext(t), e.Addr().String(), handler{closed: func(_ *Conn, err error) { mine <- err }})
	if err != nil {
		t.Fatal(err)
	}
	c.Close(errors.New("enough"))
	c.Close(errors.New("twice"))
	if err := receive(t, mine, "own Closed"); err.Error() != "enough" {
		t.Errorf("own reason = %v", err)
	}
	if err := receive(t, closed, "peer's Closed"); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "enough") {
		t.Errorf("peer's reason = %v, want ErrClosed with the text", err)
	}
	if err := c.Send(nil); err == nil || err.Error() != "enough" {
		t.Errorf("Send after Close = %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.Dial(testContext(t), "127.0.0.1:1", ClassControl, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("Dial after Close = %v", err)
	}
}

func TestConnectionLimitHolds(t *testing.T) {
	dir := devDir(t, 1)
	cfg := nodeConfig(t, dir, 1, echo())
	cfg.MaxConns = 1
	e := listen(t, cfg)
	d := newDialer(t, dir)
	c, err := d.Dial(testContext(t), e.Addr().String(), handler{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Dial(testContext(t), e.Addr().String(), handler{}); err == nil {
		t.Error("a second connection was accepted, limit 1")
	}
	c.Close(nil)
	if got := e.Stats().OverLimit.Load(); got != 1 {
		t.Errorf("over limit = %d, want 1", got)
	}
}

func TestHandshakesBeyondTheRateProveTheirAddress(t *testing.T) {
	dir := devDir(t, 1)
	e := listen(t, nodeConfig(t, dir, 1, echo()))
	e.limit.mu.Lock()
	e.limit.tokens, e.limit.last = 0, time.Hour // nothing to spend for an hour
	e.limit.mu.Unlock()
	k := newCaller()
	c, err := newDialer(t, dir).Dial(testContext(t), e.Addr().String(), k.handler())
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, k, c, "proven")
	if e.Stats().Retries.Load() == 0 {
		t.Error("no proof was asked for")
	}
}

func TestHandshakeLimitRefills(t *testing.T) {
	l := &handshakeLimit{tokens: 2}
	var got []bool
	for _, now := range []time.Duration{0, 0, 0, time.Second / handshakeRate, time.Second / handshakeRate} {
		got = append(got, l.allow(now))
	}
	if want := []bool{true, true, false, true, false}; !slices.Equal(got, want) {
		t.Errorf("allowed = %v, want %v", got, want)
	}
}

// Killing the socket under a node is what kill -9 looks like to its peers.
func TestRestartedNodeResetsOldConnections(t *testing.T) {
	dir := devDir(t, 1, 2)
	cfg := nodeConfig(t, dir, 1, handler{})
	first := listen(t, cfg)
	cfg.Addr = first.Addr().String()
	two := listen(t, nodeConfig(t, dir, 2, handler{}))
	c, err := two.Dial(testContext(t), cfg.Addr, ClassControl, 1)
	if err != nil {
		t.Fatal(err)
	}
	first.pc.Close()
	listen(t, cfg)
	start := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for open := true; open; {
		c.Send(appendFrame(nil, 1, 0, make([]byte, 100)))
		select {
		case <-c.Done():
			open = false
		case <-tick.C:
		}
	}
	var reset *quic.StatelessResetError
	if !errors.As(c.Err(), &reset) {
		t.Errorf("closed after %v with %v, want a stateless reset", time.Since(start), c.Err())
	}
}

func TestUnusableConfigurationsAreRefused(t *testing.T) {
	dir := devDir(t, 1)
	client, err := certs.Load(certs.DevClient(dir))
	if err != nil {
		t.Fatal(err)
	}
	ok := nodeConfig(t, dir, 1, handler{})
	f := func(what string, change func(c *Config)) {
		t.Helper()
		c := ok
		change(&c)
		if e, err := Listen(c); err == nil {
			e.Close()
			t.Errorf("%s: accepted", what)
		}
	}
	f("client credentials", func(c *Config) { c.Credentials = client })
	f("another node", func(c *Config) { c.Node = 2 })
	f("no handler", func(c *Config) { c.Handler = nil })
	f("small buffer", func(c *Config) { c.MaxPending = 10 })
	f("no node", func(c *Config) { c.Insecure = true; c.Node = 0 })
	f("bad address", func(c *Config) { c.Addr = "nowhere" })
	if _, err := NewDialer(DialerConfig{}); err == nil {
		t.Error("dialer without credentials was accepted")
	}
}

// FuzzReadBuffer feeds bytes in arbitrary steps and checks that the frames do
// not depend on the steps.
func FuzzReadBuffer(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, 1, 0, []byte("a")), 2, 0, make([]byte, 9000)), uint8(7))
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		whole, errWhole := cut(in, len(in)+1)
		parts, errParts := cut(in, int(step)+1)
		if len(whole) != len(parts) || (errWhole == nil) != (errParts == nil) {
			t.Fatalf("%d frames (%v) at once, %d (%v) in steps of %d", len(whole), errWhole, len(parts), errParts, step)
		}
		for i := range whole {
			if whole[i] != parts[i] {
				t.Fatalf("frame %d differs", i)
			}
		}
	})
}

func cut(in []byte, step int) (frames []string, err error) {
	var r readBuffer
	for len(in) > 0 {
		n := copy(r.room(), in[:min(step, len(in))])
		r.filled(n)
		in = in[n:]
		for {
			h, payload, ok, err := r.frame()
			if err != nil {
				return frames, err
			}
			if !ok {
				break
			}
			frames = append(frames, fmt.Sprint(h)+string(payload))
		}
		if len(r.b) > 4*(wire.MaxPayload+wire.HeaderSize) {
			return frames, io.ErrShortBuffer
		}
	}
	return frames, nil
}
