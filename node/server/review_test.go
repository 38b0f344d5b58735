package server

import (
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/heartbeat"
	"headroom/node/membership"
	"headroom/node/wire"
)

// The acceptance says until when this node has granted leases. Several events
// are handled before effects are carried out: a pulse among them must not
// grant a longer one.
func TestNoPulseGrantsALeaseAfterFreeze(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	self := cluster.Member{Node: 2, Inc: 1, Addr: "127.0.0.1:2"}
	n := &Node{id: 2, inc: 1, log: slog.New(slog.DiscardHandler)}
	n.ctl.hb = heartbeat.New(1, heartbeat.Config{Self: self, Cluster: 7, Rand: rnd})
	n.ctl.ms = membership.New(1, membership.Config{Self: self, Host: n, Rand: rnd})
	now := cluster.Instant(time.Second)
	n.ctl.hb.Receive(now, &wire.Pulse{Cluster: 7, To: 2, Node: 1, Inc: 1, Seq: 1, Sent: now, Addr: "127.0.0.1:1"}, "127.0.0.1:1")
	n.ctl.hb.Take()
	n.Freeze(cluster.ViewKey{Counter: 1, Proposer: 2, Inc: 1}, nil)
	now = now.Add(10 * time.Millisecond)
	n.ctl.hb.Receive(now, &wire.Pulse{Cluster: 7, To: 2, Node: 1, Inc: 1, Seq: 2, Sent: now, Ask: true, Addr: "127.0.0.1:1"}, "127.0.0.1:1")
	pulses := n.ctl.hb.Take().Pulses
	if len(pulses) == 0 {
		t.Fatal("a pulse that asks was not answered")
	}
	for _, p := range pulses {
		if !p.Pulse.Frozen {
			t.Error("a pulse after the freeze grants a lease")
		}
	}
}
