package local

import (
	"testing"
	"time"
)

func TestANodesNetworkIsAsBusyAsItsFullestPart(t *testing.T) {
	f := func(what string, before, now NetworkStatus, want float64) {
		t.Helper()
		if got := now.busy(&before, 2*time.Second); got < want-1e-9 || got > want+1e-9 {
			t.Errorf("%s: %.3f, want %.3f", what, got, want)
		}
	}
	f("an unknown speed", NetworkStatus{}, NetworkStatus{SentBytes: 1e9}, 0)
	f("the fuller direction", NetworkStatus{BitsPerS: 1e9, SentBytes: 5}, NetworkStatus{BitsPerS: 1e9, SentBytes: 125e6 + 5, ReceivedBytes: 1e6}, 0.5)
	f("the buffer", NetworkStatus{}, NetworkStatus{ReceiveUsed: 300, ReceiveBuffer: 400}, 0.75)
	f("a datagram that found no room", NetworkStatus{Dropped: 3}, NetworkStatus{Dropped: 4}, 1)
	f("one that found none before", NetworkStatus{Dropped: 3}, NetworkStatus{Dropped: 3}, 0)
	told := NetworkStatus{Interface: "eth0", SentBytes: 125e6}
	told.correct(1e9)
	f("a speed that the kernel does not know", NetworkStatus{}, told, 0.5)
	told.correct(0)
	f("one that nobody corrects", NetworkStatus{}, told, 0.5)
	loop := NetworkStatus{Interface: "lo", SentBytes: 125e6}
	loop.correct(1e9)
	f("loopback", NetworkStatus{}, loop, 0)
	f("an interface that was reset", NetworkStatus{BitsPerS: 1e9, SentBytes: 1e9}, NetworkStatus{BitsPerS: 1e9}, 0)
}

func TestARestartedNodesCountersAreNoGrowth(t *testing.T) {
	before, now := &Status{}, &Status{}
	before.Process.PID, before.Process.UptimeS, before.Network.Dropped = 7, 100, 9
	now.Process.PID, now.Process.UptimeS = 8, 1
	s := Sample{}
	s.NetBusyPct, s.NetDropped = -1, -1
	if s.network(before, now, time.Second); s.NetBusyPct != -1 || s.NetDropped != -1 {
		t.Errorf("%v %% and %d dropped by a process that has just started", s.NetBusyPct, s.NetDropped)
	}
}

func TestThisHostsNetworkIsRead(t *testing.T) {
	n := readNetwork(1e9)
	if _, ok := n.links["lo"]; !ok {
		t.Skip("no loopback in /proc/net/dev")
	}
	if n.links["lo"].bitsPerS != 0 {
		t.Error("loopback has a speed")
	}
	for name, l := range n.links {
		if name != "lo" && l.bitsPerS != 1e9 {
			t.Errorf("%s has %d bit/s, want those given", name, l.bitsPerS)
		}
	}
	if share := n.busyPct(&n); share > 0 {
		t.Errorf("%v %% busy in no time", share)
	}
}
