package transport

import (
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"headroom/node/cluster"
)

func TestGarbageDatagramsAreCountedAndDropped(t *testing.T) {
	dir := devDir(t, 1)
	pulses := make(chan string, 1)
	cfg := nodeConfig(t, dir, 1, echo())
	cfg.Pulse = func(p []byte, _ net.Addr) { pulses <- string(p) }
	e := listen(t, cfg)
	raw, err := net.Dial("udp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	r := rand.New(rand.NewPCG(1, 2))
	forged := Seal([]byte("not the secret"), []byte("hello"))
	for range 20 { // below QUIC's queue of 32: none may be lost here
		if _, err := raw.Write(forged); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 200 {
		b := make([]byte, r.IntN(1400)+1)
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		b[0] = 0x40 | byte(i) // looks like QUIC, short and long headers
		raw.Write(b)
	}
	if err := e.SendPulse(1, e.Addr().String(), []byte("mine")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, pulses, "pulse"); got != "mine" {
		t.Errorf("pulse = %q", got)
	}
	if got := e.Stats().PulsesGarbage.Load(); got == 0 {
		t.Error("no garbage was counted")
	}
	k := newCaller()
	c, err := newDialer(t, dir).Dial(testContext(t), e.Addr().String(), k.handler())
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, k, c, "alive")
}

func TestRefusedPortIsReportedAtOnce(t *testing.T) {
	type refusal struct {
		node cluster.NodeID
		addr string
	}
	refused := make(chan refusal, 16)
	dir := devDir(t, 1)
	cfg := nodeConfig(t, dir, 1, handler{})
	cfg.Refused = func(n cluster.NodeID, addr string) { refused <- refusal{n, addr} }
	e := listen(t, cfg)
	gone, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := gone.LocalAddr().String()
	gone.Close()
	start := time.Now()
	if err := e.SendPulse(2, addr, []byte("anybody?")); err != nil {
		t.Fatal(err)
	}
	if got, want := receive(t, refused, "refusal"), (refusal{2, addr}); got != want {
		t.Errorf("refused = %v, want %v", got, want)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v, want less than 1 s", took)
	}
	e.ForgetPulse(2)
	if got := e.Stats().PulsesRefused.Load(); got != 1 {
		t.Errorf("refusals counted = %d, want 1", got)
	}
}

func TestPulseToANameArrives(t *testing.T) {
	dir := devDir(t, 1, 2)
	got := make(chan string, 1)
	cfg := nodeConfig(t, dir, 2, handler{})
	cfg.Pulse = func(p []byte, _ net.Addr) {
		select {
		case got <- string(p):
		default:
		}
	}
	two := listen(t, cfg)
	one := listen(t, nodeConfig(t, dir, 1, handler{}))
	_, port, _ := net.SplitHostPort(two.Addr().String())
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err := one.SendPulse(2, "localhost:"+port, []byte("by name")); err != nil && !errors.Is(err, ErrNotConnected) {
			t.Skipf("localhost does not lead to 127.0.0.1 here: %v", err)
		}
		select {
		case p := <-got:
			if p != "by name" {
				t.Errorf("pulse = %q", p)
			}
			return
		case <-tick.C:
		}
	}
	t.Error("no pulse arrived")
}

func TestSealedPayloadOpensOnlyUnderItsSecret(t *testing.T) {
	d := Seal([]byte("key"), []byte("payload"))
	if p, ok := Open([]byte("key"), d); !ok || string(p) != "payload" {
		t.Errorf("Open = %q, %v", p, ok)
	}
	for i := range d {
		d[i] ^= 1
		if _, ok := Open([]byte("key"), d); ok {
			t.Errorf("datagram with a flipped bit in byte %d was accepted", i)
		}
		d[i] ^= 1
	}
	if _, ok := Open([]byte("other"), d); ok {
		t.Error("another secret opened it")
	}
}

func FuzzOpen(f *testing.F) {
	secret := []byte("secret")
	f.Add([]byte{}, false)
	f.Add([]byte("payload"), true)
	f.Add(Seal(secret, []byte("x")), false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if len(b) > MaxPulse {
			b = b[:MaxPulse]
		}
		if seal {
			if p, ok := Open(secret, Seal(secret, b)); !ok || string(p) != string(b) {
				t.Errorf("Open(Seal(%q)) = %q, %v", b, p, ok)
			}
			return
		}
		if p, ok := Open(secret, b); ok && string(Seal(secret, p)) != string(b) {
			t.Errorf("Open(%q) gave %q, which seals otherwise", b, p)
		}
	})
}
