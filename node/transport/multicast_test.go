package transport

import (
	"net"
	"strings"
	"testing"
)

func TestMulticastGroupMustBeOne(t *testing.T) {
	for group, want := range map[string]string{
		"10.0.0.1:9918":   "no multicast address",
		"239.1.99.222":    "is not GROUP:PORT",
		"239.1.99.222:0":  "not 0",
		"somewhere:9918":  "is not GROUP:PORT",
		"[ff02::7]:9918":  "",
		"239.0.0.22:9918": "",
	} {
		_, err := CheckMulticast(group)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", group, err, want)
		}
	}
}

// On loopback, where the system allows it; hack/netns/multicast.sh tries it
// between machines.
func TestAnnouncementsReachAllWhoJoinedAndNobodyElse(t *testing.T) {
	dir := devDir(t, 1)
	pulses := make(chan string, 16)
	cfg := nodeConfig(t, dir, 1, echo())
	cfg.Pulse = func(p []byte, _ net.Addr) { pulses <- string(p) }
	e := listen(t, cfg)
	m, err := e.JoinMulticast("239.1.99.223:9917")
	if err != nil {
		t.Skipf("this machine has no multicast on loopback: %v", err)
	}
	stranger := listen(t, Config{Node: 2, Insecure: true, Addr: "127.0.0.1:0", Handler: echo()})
	s, err := stranger.JoinMulticast("239.1.99.223:9917")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send([]byte("forged")); err != nil {
		t.Skipf("this machine sends no multicast on loopback: %v", err)
	}
	if err := m.Send([]byte("mine")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, pulses, "announcement"); got != "mine" {
		t.Errorf("announcement = %q, want mine", got)
	}
	if got := e.Stats().PulsesGarbage.Load(); got != 1 {
		t.Errorf("%d datagrams of strangers counted, want 1", got)
	}
	if err := m.Send(make([]byte, MaxPulse+1)); err == nil {
		t.Error("an announcement beyond the limit was sent")
	}
}
