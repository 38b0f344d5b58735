package server

import (
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/heartbeat"
	"headroom/node/membership"
	"headroom/node/partition"
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
	n.ctl.hb.Receive(now, &wire.Pulse{Cluster: 7, Node: 1, Inc: 1, Seq: 1, Sent: now, Addr: "127.0.0.1:1"}, "127.0.0.1:1")
	n.ctl.hb.Take()
	n.Freeze(cluster.ViewKey{Counter: 1, Proposer: 2, Inc: 1}, nil)
	now = now.Add(10 * time.Millisecond)
	n.ctl.hb.Receive(now, &wire.Pulse{Cluster: 7, Node: 1, Inc: 1, Seq: 2, Sent: now, Ask: true, Addr: "127.0.0.1:1"}, "127.0.0.1:1")
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

// The former master, and members in sync outside the replica set, hold Full
// copies until they drop them; a View change before that counts them as equal
// to the new master's.
func TestNewMasterWritesToAllThatStillHoldFullCopies(t *testing.T) {
	com := &committed{view: &cluster.View{Members: []cluster.Member{{Node: 4}, {Node: 3}, {Node: 2}, {Node: 1}}}, plan: new(partition.Plan)}
	com.plan.Parts[5] = partition.Part{Available: true, Master: 3, Final: 0, Replicas: []uint16{0, 1}, WriteSet: []uint16{3, 0, 1}}
	if got := writeSetWithout(com, 5, 4); !slices.Equal(got, []cluster.NodeID{1, 3}) {
		t.Errorf("write set of the new master: %v, want the former one and the other replica", got)
	}
}
