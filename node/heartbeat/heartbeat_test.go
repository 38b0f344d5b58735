package heartbeat

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// bus wires cores with a delay of 1 ms; a core that is down refuses.
type bus struct {
	t     *testing.T
	now   cluster.Instant
	cores []*Core
	addrs []string
	down  map[string]bool
	mute  map[string]bool // address whose pulses get lost
	dup   map[int]string
	all   []Event
}

func newBus(t *testing.T) *bus {
	return &bus{t: t, down: map[string]bool{}, mute: map[string]bool{}, dup: map[int]string{}}
}

func (b *bus) add(id cluster.NodeID, inc cluster.Incarnation, addr string, seeds ...string) *Core {
	c := New(b.now, Config{Self: cluster.Member{Node: id, Inc: inc, Addr: addr}, Cluster: 7, Seeds: seeds,
		Rand: rand.New(rand.NewPCG(uint64(id), uint64(inc)))})
	b.cores, b.addrs = append(b.cores, c), append(b.addrs, addr)
	return c
}

// run advances in steps of 1 ms, delivering each step's pulses at the next.
func (b *bus) run(d time.Duration) {
	for end := b.now.Add(d); b.now < end; b.now = b.now.Add(time.Millisecond) {
		type flight struct {
			from int
			o    Outgoing
		}
		var air []flight
		for i, c := range b.cores {
			if b.down[b.addrs[i]] {
				continue
			}
			c.Tick(b.now)
			e := c.Take()
			b.all = append(b.all, e.Events...)
			if e.DuplicateSelf != "" {
				b.dup[i] = e.DuplicateSelf
			}
			for _, o := range e.Pulses {
				air = append(air, flight{i, o})
			}
		}
		for _, f := range air {
			b.deliver(f.from, f.o)
		}
	}
}

func (b *bus) deliver(from int, o Outgoing) {
	m, err := wire.ParsePulse(o.Pulse.Append(nil))
	if err != nil {
		b.t.Fatal(err)
	}
	switch i := slices.Index(b.addrs, o.Addr); {
	case b.down[o.Addr] && o.Node != 0:
		b.cores[from].Refused(b.now, o.Node)
	case i >= 0 && !b.down[o.Addr] && !b.mute[b.addrs[from]]:
		b.cores[i].Receive(b.now, m, b.addrs[from])
	}
}

func ids(c *Core) (out []cluster.NodeID) {
	for _, p := range c.Peers() {
		out = append(out, p.Member.Node)
	}
	return out
}

func TestNodesFindEachOtherThroughOneSeed(t *testing.T) {
	b := newBus(t)
	for i := range cluster.NodeID(6) {
		b.add(i+1, 1, fmt.Sprintf("a%d", i+1), "a1")
	}
	b.run(300 * time.Millisecond)
	for _, c := range b.cores {
		if got := len(c.Peers()); got != 5 {
			t.Errorf("node%d hears %v, want the 5 others", c.self.Node, ids(c))
		}
		for _, p := range c.Peers() {
			if len(p.Hears) != 5 {
				t.Errorf("node%d: %v reports to hear %v", c.self.Node, p.Member.Node, p.Hears)
			}
		}
	}
}

func TestRefusedPortNeedsThreeProbesAndASecondMember(t *testing.T) {
	b := newBus(t)
	a := b.add(1, 1, "a1", "a1", "a2", "a3")
	b.add(2, 1, "a2", "a1", "a2", "a3")
	b.add(3, 1, "a3", "a1", "a2", "a3")
	b.run(time.Second)
	for i := range 5 { // a forged refusal while the node's pulses still come
		a.Refused(b.now.Add(time.Duration(i)*11*time.Millisecond), 3)
	}
	b.now = b.now.Add(60 * time.Millisecond)
	b.run(time.Second)
	if got := ids(a); len(got) != 2 {
		t.Fatalf("a forged refusal costs node1 a peer: hears %v", got)
	}
	b.down["a3"] = true
	at := b.now
	for len(ids(a)) == 2 && b.now.Sub(at) < time.Second {
		b.run(time.Millisecond)
	}
	if d := b.now.Sub(at); d < 2*probeGap || d > 150*time.Millisecond {
		t.Errorf("verdict after %v, want between two probe gaps and 150 ms", d)
	}
}

func TestLeaseNeedsTheEchoOfAllMembersUnderTheSameView(t *testing.T) {
	b := newBus(t)
	a, c := b.add(1, 1, "a1", "a2"), b.add(2, 1, "a2")
	b.run(500 * time.Millisecond)
	v := &cluster.View{Key: cluster.ViewKey{Counter: 1, Proposer: 2, Inc: 1},
		Members: []cluster.Member{{Node: 2, Inc: 1, Addr: "a2"}, {Node: 1, Inc: 1, Addr: "a1"}}}
	a.SetView(b.now, v, false)
	b.run(200 * time.Millisecond)
	if got := a.LeaseUntil(v); got != 0 {
		t.Errorf("lease until %v while the other member holds no View, want none", got)
	}
	c.SetView(b.now, v, false)
	b.run(10 * time.Millisecond)
	if a.LeaseUntil(v) <= b.now || c.LeaseUntil(v) <= b.now {
		t.Errorf("no lease 10 ms after both committed: %v, %v at %v", a.LeaseUntil(v), c.LeaseUntil(v), b.now)
	}
	c.SetView(b.now, v, true)
	frozen := b.now
	b.run(time.Second)
	if got, bound := a.LeaseUntil(v), frozen.Add(a.cfg.Lease); got > bound {
		t.Errorf("lease until %v, want at most %v: a frozen member grants none", got, bound)
	}
	if got := c.GrantedUntil(1, 1); got < a.LeaseUntil(v) {
		t.Errorf("node2 says it granted until %v, node1 holds until %v", got, a.LeaseUntil(v))
	}
	alone := &cluster.View{Key: cluster.ViewKey{Counter: 2}, Members: []cluster.Member{{Node: 1, Inc: 1}}}
	a.SetView(b.now, alone, false)
	if a.LeaseUntil(alone) != cluster.Never {
		t.Error("a View of one needs no echo")
	}
}

func TestYoungerOfTwoProcessesWithOneIDIsTold(t *testing.T) {
	for _, inc := range []cluster.Incarnation{1, 2, 3} {
		b := newBus(t)
		b.add(1, 2, "a1", "a2")
		b.add(2, 1, "a2", "a1")
		b.run(time.Second)
		twin := New(0, Config{Self: cluster.Member{Node: 2, Inc: inc, Addr: "evil"}, Cluster: 7, Seeds: []string{"a1"}, Rand: rand.New(rand.NewPCG(9, 9))})
		b.cores, b.addrs = append(b.cores, twin), append(b.addrs, "evil")
		offset := b.now
		for range 2000 { // the twin's clock starts at its own start
			b.runTwin(2, offset)
		}
		if b.dup[2] != "a2" {
			t.Errorf("incarnation %d: the younger twin is told of %q, want a2", inc, b.dup[2])
		}
		if b.dup[1] != "" {
			t.Errorf("incarnation %d: the older process is told to yield to %q", inc, b.dup[1])
		}
		if p := b.cores[0].find(2); p.member.Addr != "a2" {
			t.Errorf("incarnation %d: node1 takes the twin at %q for node2", inc, p.member.Addr)
		}
	}
}

func TestAProcessWhoseIDIsTakenHoldsNoLeaseUntilItIsNot(t *testing.T) {
	b := newBus(t)
	b.add(1, 1, "a1", "a2")
	b.add(2, 1, "a2", "a1")
	b.run(time.Second)
	second := b.add(2, 2, "evil", "a1")
	alone := &cluster.View{Key: cluster.ViewKey{Counter: 2}, Members: []cluster.Member{{Node: 2, Inc: 2}}}
	second.SetView(b.now, alone, false)
	if second.LeaseUntil(alone) != cluster.Never {
		t.Error("no lease before anybody said that the id is taken")
	}
	b.run(5 * time.Millisecond)
	if ps := second.Peers(); second.LeaseUntil(alone) != 0 || len(ps) != 1 || !ps[0].Rival {
		t.Errorf("lease until %v, peers %+v; want none, and node 1 to hear another process", second.LeaseUntil(alone), ps)
	}
	b.down["a2"] = true
	b.run(time.Second)
	if ps := second.Peers(); second.LeaseUntil(alone) != cluster.Never || len(ps) != 1 || ps[0].Rival {
		t.Errorf("the first process is gone: lease until %v, peers %+v", second.LeaseUntil(alone), ps)
	}
}

// runTwin is one step of run in which core i lives on a clock of its own.
func (b *bus) runTwin(i int, offset cluster.Instant) {
	at := func(k int) cluster.Instant {
		if k == i {
			return b.now - offset
		}
		return b.now
	}
	for k, c := range b.cores {
		c.Tick(at(k))
		e := c.Take()
		if e.DuplicateSelf != "" {
			b.dup[k] = e.DuplicateSelf
		}
		for _, o := range e.Pulses {
			if j := slices.Index(b.addrs, o.Addr); j >= 0 {
				b.cores[j].Receive(at(j), o.Pulse, b.addrs[k])
			}
		}
	}
	b.now = b.now.Add(time.Millisecond)
}

func TestPulseOf256NodesFitsADatagram(t *testing.T) {
	c := New(0, Config{Self: cluster.Member{Node: 1000, Inc: 1, Addr: strings.Repeat("s", wire.MaxAddr)}, Rand: rand.New(rand.NewPCG(1, 1))})
	for i := range cluster.NodeID(cluster.MaxMembers - 1) {
		c.Receive(0, &wire.Pulse{Node: i + 1, Inc: 1, Sent: 1, Seq: 1, Addr: strings.Repeat("x", int(i)%wire.MaxAddr+1)}, "")
		c.Refused(0, i+1)
	}
	c.Tick(0)
	for now := cluster.Instant(0); now < 1e9; now += 1e8 {
		c.Tick(now)
		for _, o := range c.Take().Pulses {
			b := o.Pulse.Append(nil)
			if len(b) > wire.MaxPulse {
				t.Fatalf("pulse of %d bytes, limit %d", len(b), wire.MaxPulse)
			}
			if _, err := wire.ParsePulse(b); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestForeignClusterAndSelfSeedAreDropped(t *testing.T) {
	b := newBus(t)
	a := b.add(1, 1, "a1", "a1", "dns-name-of-a1")
	b.addrs[0] = "a1"
	a.Receive(1, &wire.Pulse{Cluster: 8, Node: 2, Inc: 1, Sent: 1, Addr: "x"}, "x")
	if len(a.Peers()) != 0 || a.Stats().ForeignCluster != 1 {
		t.Error("a pulse of another cluster counts")
	}
	a.Tick(1)
	for _, o := range a.Take().Pulses {
		if o.Addr == "dns-name-of-a1" {
			a.Receive(2, o.Pulse, "a1")
		}
	}
	a.Tick(cluster.Instant(time.Second))
	if got := a.Take().Pulses; len(got) != 0 {
		t.Errorf("still calls itself: %v", got)
	}
}

func TestTimeoutStretchesWithLossAndJitterOnly(t *testing.T) {
	const i, base = 100 * time.Millisecond, 600 * time.Millisecond
	var calm, lossy, wild timing
	for k := range 1000 {
		calm.observe(i, i, 0)
		lossy.observe(i, i, boolInt(k%10 == 0))
		wild.observe(i+time.Duration(k%2)*i, i, 0)
	}
	if got := calm.timeout(i, base); got != base {
		t.Errorf("timeout of a regular peer = %v, want %v", got, base)
	}
	if got := lossy.timeout(i, base); got <= base || got > maxStretch*base {
		t.Errorf("timeout at 10 %% loss = %v, want in (%v, %v]", got, base, maxStretch*base)
	}
	if got := wild.timeout(i, base); got <= base || got > maxStretch*base {
		t.Errorf("timeout with gaps up to 200 ms = %v, want in (%v, %v]", got, base, maxStretch*base)
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A process that restarts within the detection time gets pulses that speak of
// a View which only its former self knew. It must not conclude from them that
// its peers hear nobody, and form a cluster of its own.
func TestPulseMeantForAFormerSelfTellsNothingOfWhoIsHeard(t *testing.T) {
	b := newBus(t)
	c := b.add(2, 4, "two")
	m := &wire.Pulse{Cluster: 7, To: 2, Node: 1, Inc: 3, Addr: "one", Seq: 9, Sent: 1, Shared: true, HearsBits: []byte{7},
		View: cluster.ViewKey{Counter: 19, Proposer: 3, Inc: 4}}
	c.Receive(1, m, "one")
	ps := c.Peers()
	if len(ps) != 1 || !ps[0].Partial {
		t.Errorf("peers %+v; want node 1, with what it hears unknown", ps)
	}
}

// A process that stood still finds pulses in its buffers that say that nobody
// hears it. They are a verdict only when those members go on to say so for as
// long as makes silence one, counted from the end of the pause.
func TestMembersThatHaveJustLostThisNodeCountAsHearingIt(t *testing.T) {
	b := newBus(t)
	c := b.add(2, 1, "two")
	v := &cluster.View{Key: cluster.ViewKey{Counter: 1, Proposer: 2, Inc: 1}, Members: []cluster.Member{{Node: 2, Inc: 1}, {Node: 1, Inc: 1}}}
	c.SetView(0, v, false)
	says := func(at time.Duration, n cluster.NodeID, hears ...cluster.NodeID) {
		now := cluster.Instant(at)
		c.Receive(now, &wire.Pulse{Cluster: 7, To: 2, Node: n, Inc: 1, Addr: fmt.Sprint(n), Sent: now, View: v.Key, Hears: hears}, fmt.Sprint(n))
		c.Tick(now)
	}
	heardBy := func(n cluster.NodeID) bool {
		for _, p := range c.Peers() {
			if p.Member.Node == n {
				return contains(p.Hears, 2)
			}
		}
		t.Fatalf("node%d is not heard", n)
		return false
	}
	const beat = DefaultInterval
	says(beat, 1, 2)
	says(10*beat, 1) // after a pause of nine beats
	says(10*beat, 3) // no member: nothing is lost by believing it
	if !heardBy(1) || heardBy(3) {
		t.Errorf("right after the pause: heard by the member %v, by a stranger %v; want true, false", heardBy(1), heardBy(3))
	}
	c.Take()
	end := 10*beat + c.timeout(c.find(1))
	for at := 11 * beat; at < end; at += beat {
		says(at, 1)
	}
	if d := c.Deadline(); !heardBy(1) || d > cluster.Instant(end) {
		t.Errorf("before the timeout: heard %v, next judgement at %v; want true, by %v", heardBy(1), time.Duration(d), end)
	}
	c.Take()
	says(end, 1)
	if e := c.Take(); heardBy(1) || !e.Changed {
		t.Errorf("after the timeout: heard %v, told %v; want false, true", heardBy(1), e.Changed)
	}
	says(end+beat, 1, 2)
	says(end+2*beat, 1)
	if !heardBy(1) {
		t.Error("what it said before it heard this node again counts")
	}
}
