package heartbeat

import (
	"math/rand/v2"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// trio is three nodes that share a View.
func trio(t *testing.T) (*bus, []*Core) {
	b := newBus(t)
	v := &cluster.View{Key: cluster.ViewKey{Counter: 1, Proposer: 3, Inc: 1}}
	for i := cluster.NodeID(3); i >= 1; i-- {
		v.Members = append(v.Members, cluster.Member{Node: i, Inc: 1, Addr: addrOf(i)})
	}
	for i := range cluster.NodeID(3) {
		b.add(i+1, 1, addrOf(i+1), "a1")
	}
	b.run(300 * time.Millisecond)
	for _, c := range b.cores {
		c.SetView(b.now, v, false)
	}
	b.run(300 * time.Millisecond)
	return b, b.cores
}

func addrOf(n cluster.NodeID) string { return "a" + string(rune('0'+n)) }

func TestAQuietPulseSpellsOutNobody(t *testing.T) {
	b, cs := trio(t)
	c := cs[0]
	p := c.pulseTo(b.now, c.find(2))
	if len(p.HearsBits)+len(p.DoubtBits)+len(p.Hears) != 0 || !p.Shared {
		t.Errorf("a quiet pulse has %d+%d bytes and %v", len(p.HearsBits), len(p.DoubtBits), p.Hears)
	}
	if got := cs[1].find(1).hears; len(got) != 2 || got[0] != 2 || got[1] != 3 {
		t.Errorf("node2 takes node1 to hear %v, want [2 3]", got)
	}
	c.find(3).doubted = true
	if p := c.pulseTo(b.now, c.find(2)); len(p.DoubtBits) != 1 {
		t.Errorf("a doubt is not told: %v", p.DoubtBits)
	}
}

func TestANodeThatDoubtsMeGetsNoLeaseOfMe(t *testing.T) {
	b, cs := trio(t)
	c := cs[0]
	if c.GrantedUntil(2, 1) <= b.now {
		t.Fatal("node1 has granted nothing to begin with")
	}
	c.find(2).doubts = []cluster.NodeID{1}
	at := b.now
	if m := c.pulseTo(b.now, c.find(2)); m.EchoInc != 0 || m.EchoSent != 0 {
		t.Errorf("node1 echoes a node that does not hear it: %d %v", m.EchoInc, m.EchoSent)
	}
	c.Receive(b.now.Add(50*time.Millisecond), &wire.Pulse{Cluster: 7, To: 1, Node: 2, Inc: 1, Addr: "a2", Seq: 99,
		Sent: b.now + 1<<40, View: c.view.Key, Doubts: []cluster.NodeID{1}}, "a2")
	if got := c.GrantedUntil(2, 1); got > at.Add(c.cfg.Lease) {
		t.Errorf("granted until %v although nothing was echoed since %v", got, at)
	}
}

func TestAnnouncementsDiscoverAndProveLifeOnly(t *testing.T) {
	c := New(0, Config{Self: cluster.Member{Node: 1, Inc: 1, Addr: "a1"}, Cluster: 7, Announce: true, Rand: rand.New(rand.NewPCG(1, 1))})
	c.Tick(0)
	if e := c.Take(); e.Announce == nil || !e.Announce.IsAnnouncement() || e.Announce.Addr != "a1" {
		t.Fatalf("no announcement: %+v", e.Announce)
	}
	air := &wire.Pulse{Cluster: 7, Node: 2, Inc: 1, Addr: "a2", Sent: 5}
	c.Receive(10, air, "x")
	e := c.Take()
	if len(e.Pulses) != 1 || e.Pulses[0].Addr != "a2" || !e.Pulses[0].Pulse.Ask {
		t.Errorf("an unknown node that announces itself is not called: %+v", e.Pulses)
	}
	if len(c.Peers()) != 0 {
		t.Errorf("an announcement alone makes a node heard: %v", ids(c))
	}
	c.Receive(20, air, "x")
	if got := c.Stats(); got.Announced != 2 {
		t.Errorf("%d announcements counted, want 2 (one unknown, one known)", got.Announced)
	}
	foreign := *air
	foreign.Cluster, foreign.Node = 8, 9
	c.Receive(30, &foreign, "x")
	if c.find(9) != nil {
		t.Error("a node of another cluster is known")
	}
}

func TestANodeThatAnnouncesItselfIsNotTakenForDead(t *testing.T) {
	b, cs := trio(t)
	b.mute["a3"] = true
	sent := cluster.Instant(1 << 40)
	for range 14 { // 1.4 s, twice the timeout
		b.run(100 * time.Millisecond)
		sent++
		for _, c := range cs[:2] {
			c.Receive(b.now, &wire.Pulse{Cluster: 7, Node: 3, Inc: 1, Addr: "a3", Sent: sent}, "x")
		}
	}
	for _, e := range b.all {
		if e.Node == 3 && e.Kind != Appeared && e.Kind != LinkBroken {
			t.Errorf("verdict %v over a node that announces itself", e.Kind)
		}
	}
	for _, c := range cs[:2] {
		if ls := c.BrokenLinks(b.now); len(ls) == 0 || ls[0] != (Link{From: c.self.Node, To: 3}) {
			t.Errorf("node%d reports %v, want its broken link to node3", c.self.Node, ls)
		}
	}
}

func TestADeadProcessIsNoBrokenLink(t *testing.T) {
	b, cs := trio(t)
	c := cs[0]
	c.Receive(b.now, &wire.Pulse{Cluster: 7, Node: 3, Inc: 1, Addr: "a3", Sent: 1 << 40}, "x")
	b.down["a3"] = true
	b.run(300 * time.Millisecond)
	if c.find(3).heard {
		t.Fatal("a refused port is not noticed")
	}
	if ls := c.BrokenLinks(b.now); len(ls) != 0 {
		t.Errorf("broken links %v after a death whose announcement is recent", ls)
	}
}

func TestSeveralRefusalsAtOnceMayBeAFirewall(t *testing.T) {
	b, cs := trio(t)
	c := cs[0]
	for range probes {
		c.Refused(b.now, 3)
		b.now = b.now.Add(probeGap)
	}
	if c.lose(b.now, c.find(3), Refused); c.GrantedUntil(3, 1) != 0 {
		t.Error("one dead process is waited for")
	}
	c.Refused(b.now, 2)
	if c.GrantedUntil(3, 1) == 0 {
		t.Error("two nodes refuse at once, and the lease of the first is not waited for")
	}
	if until := c.LeaseUntil(c.view); until != 0 {
		t.Errorf("a node whom all others refuse holds a lease until %v", until)
	}
}

func TestAStarvedNodeJudgesLater(t *testing.T) {
	b, cs := trio(t)
	c, p := cs[0], cs[0].find(2)
	quiet := c.timeout(p)
	for range 6 {
		b.now = b.now.Add(200 * time.Millisecond)
		c.Tick(b.now)
	}
	if got := c.timeout(p); got != 2*quiet {
		t.Errorf("timeout %v after six late calls, want twice %v", got, quiet)
	}
	b.run(maxStrain * (easeBeats + 2) * 120 * time.Millisecond)
	if got := c.timeout(p); got > quiet+quiet/4 {
		t.Errorf("timeout still %v after a time without strain, want %v", got, quiet)
	}
}
