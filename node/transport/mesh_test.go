package transport

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// awaitConn waits until m has a connection; opened is signalled by the
// endpoint's Handler for each that opens.
func awaitConn(t testing.TB, m *Mesh, node cluster.NodeID, class Class) *Conn {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if c := m.Conn(node, class); c != nil {
			return c
		}
	}
	t.Fatalf("no %v connection to %v within %v", class, node, patience)
	return nil
}

func TestMeshSendsAndRepliesBothWays(t *testing.T) {
	dir := devDir(t, 1, 2)
	replies := make(chan string, 8)
	h := echo()
	answer := h.frames
	h.frames = func(c *Conn, hd wire.Header, p []byte) {
		answer(c, hd, p)
		if hd.Flags == flagReply {
			replies <- fmt.Sprintf("%v %v %s", c.Peer().Node, c.Peer().Class, p)
		}
	}
	var eps [2]*Endpoint
	peers := map[cluster.NodeID]string{}
	for i := range eps {
		eps[i] = listen(t, nodeConfig(t, dir, cluster.NodeID(i+1), h))
		peers[cluster.NodeID(i+1)] = eps[i].Addr().String()
	}
	for i, e := range eps {
		m := NewMesh(e)
		m.SetPeers(peers)
		other := cluster.NodeID(2 - i)
		for class := ClassControl; class < classes; class++ {
			awaitConn(t, m, other, class)
			if err := m.Send(other, class, func(b []byte) []byte { return appendFrame(b, 1, 0, []byte("x")) }); err != nil {
				t.Fatal(err)
			}
			if got, want := receive(t, replies, "reply"), fmt.Sprintf("%v %v x", other, class); got != want {
				t.Errorf("reply %q, want %q", got, want)
			}
		}
		if err := m.Send(cluster.NodeID(i+1), ClassControl, nil); !errors.Is(err, ErrNotConnected) {
			t.Errorf("send to itself = %v, want ErrNotConnected", err)
		}
	}
}

func TestDropFailsEverythingOfANodeAtOnceAndHurryBringsItBack(t *testing.T) {
	dir := devDir(t, 1, 2)
	closed := make(chan *Conn, 64)
	h := handler{closed: func(c *Conn, _ error) { closed <- c }}
	two := listen(t, nodeConfig(t, dir, 2, handler{}))
	one := listen(t, nodeConfig(t, dir, 1, h))
	addr := one.Addr().String()
	back, err := two.Dial(testContext(t), addr, ClassControl, 1) // an accepted one
	if err != nil {
		t.Fatal(err)
	}
	m := NewMesh(one)
	m.SetPeers(map[cluster.NodeID]string{2: two.Addr().String()})
	ctl := awaitConn(t, m, 2, ClassControl)
	repl := awaitConn(t, m, 2, ClassReplication)
	m.Drop(2)
	for _, c := range []*Conn{ctl, repl} {
		if c.Err() == nil {
			t.Errorf("%v connection is open after Drop", c.Peer().Class)
		}
	}
	receive(t, back.Done(), "close of the accepted connection")
	for range 3 {
		receive(t, closed, "Closed")
	}
	m.Hurry(2)
	awaitConn(t, m, 2, ClassControl)
}

func TestMeshFindsARestartedNode(t *testing.T) {
	dir := devDir(t, 1, 2)
	one := listen(t, nodeConfig(t, dir, 1, handler{}))
	cfg := nodeConfig(t, dir, 2, handler{})
	two := listen(t, cfg)
	cfg.Addr = two.Addr().String()
	m := NewMesh(one)
	m.SetPeers(map[cluster.NodeID]string{2: cfg.Addr})
	old := awaitConn(t, m, 2, ClassControl)
	two.Close()
	receive(t, old.Done(), "close")
	if err := m.Send(2, ClassControl, nil); !errors.Is(err, ErrNotConnected) {
		t.Errorf("Send to a stopped node = %v, want ErrNotConnected", err)
	}
	again, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	m.Hurry(2)
	if c := awaitConn(t, m, 2, ClassControl); c == old {
		t.Error("the old connection came back")
	}
	if one.Stats().NotConnected.Load() == 0 {
		t.Error("the dropped frame was not counted")
	}
}

func TestDepartedPeersAreDisconnected(t *testing.T) {
	dir := devDir(t, 1, 2)
	one := listen(t, nodeConfig(t, dir, 1, handler{}))
	two := listen(t, nodeConfig(t, dir, 2, handler{}))
	m := NewMesh(one)
	m.SetPeers(map[cluster.NodeID]string{2: two.Addr().String()})
	c := awaitConn(t, m, 2, ClassReplication)
	m.SetPeers(nil)
	receive(t, c.Done(), "close")
	if c := m.Conn(2, ClassReplication); c != nil {
		t.Error("a departed peer is still connected")
	}
}

// network is a simulated network in a synctest bubble.
type network struct {
	sim  *simnet.Simnet
	drop atomic.Pointer[func(p simnet.Packet) bool]
	simnet.PerfectRouter
}

func (n *network) SendPacket(p simnet.Packet) error {
	if drop := n.drop.Load(); drop != nil && (*drop)(p) {
		return nil
	}
	n.PerfectRouter.SendPacket(p) // an unknown destination is a lost packet
	return nil
}

func newNetwork() *network {
	n := &network{}
	n.sim = &simnet.Simnet{Router: n}
	return n
}

func (n *network) addr(node cluster.NodeID) *net.UDPAddr {
	return &net.UDPAddr{IP: net.IPv4(10, 0, 0, byte(node)), Port: 3000}
}

func (n *network) conn(node cluster.NodeID) net.PacketConn {
	return n.sim.NewEndpoint(n.addr(node), simnet.NodeBiDiLinkSettings{Latency: time.Millisecond})
}

// The bubble ends only when every goroutine in it has: a leak fails the test.
func TestNodesOnASimulatedNetworkEndQuietly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		dir := devDir(t, 1, 2, 3)
		pulses := make(chan string, 64)
		eps, meshes := map[cluster.NodeID]*Endpoint{}, map[cluster.NodeID]*Mesh{}
		peers := map[cluster.NodeID]string{}
		for id := cluster.NodeID(1); id <= 3; id++ {
			cfg := nodeConfig(t, dir, id, echo())
			cfg.PacketConn = n.conn(id)
			cfg.Pulse = func(p []byte, from net.Addr) { pulses <- fmt.Sprintf("%s at %v", p, id) }
			peers[id] = n.addr(id).String()
			eps[id] = listen(t, cfg)
			meshes[id] = NewMesh(eps[id])
		}
		if err := n.sim.Start(); err != nil {
			t.Fatal(err)
		}
		defer n.sim.Close()
		for _, m := range meshes {
			m.SetPeers(peers)
		}
		time.Sleep(time.Second) // of the bubble
		for id, m := range meshes {
			for other := range peers {
				if other != id && (m.Conn(other, ClassControl) == nil || m.Conn(other, ClassReplication) == nil) {
					t.Errorf("%v is not connected to %v after a second", id, other)
				}
			}
		}
		if err := eps[1].SendPulse(2, peers[2], []byte("pulse")); err != nil {
			t.Error(err)
		}
		if got := receive(t, pulses, "pulse"); got != "pulse at node2" {
			t.Errorf("pulse = %q", got)
		}
		cutOff(t, n, meshes[1])
		for _, e := range eps {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// cutOff silences node 3: its connections end at the idle timeout, and come
// back after the cut heals.
func cutOff(t *testing.T, n *network, m *Mesh) {
	t.Helper()
	three := n.addr(3).String()
	drop := func(p simnet.Packet) bool { return p.To.String() == three || p.From.String() == three }
	n.drop.Store(&drop)
	c := m.Conn(3, ClassControl)
	start := time.Now()
	<-c.Done()
	if took := time.Since(start); took < meshIdle-meshKeepAlive || took > meshIdle+meshKeepAlive {
		t.Errorf("silent peer was disconnected after %v, want about %v", took, meshIdle)
	}
	n.drop.Store(nil)
	time.Sleep(dialTimeout + 2*redialMax)
	if m.Conn(3, ClassControl) == nil {
		t.Error("not connected again after the cut healed")
	}
}

func TestStalledPeerIsDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		dir := devDir(t, 1, 2)
		release := make(chan struct{})
		one := nodeConfig(t, dir, 1, handler{frames: func(*Conn, wire.Header, []byte) { <-release }})
		one.PacketConn = n.conn(1)
		two := nodeConfig(t, dir, 2, handler{})
		two.PacketConn = n.conn(2)
		a, b := listen(t, one), listen(t, two)
		if err := n.sim.Start(); err != nil {
			t.Fatal(err)
		}
		defer n.sim.Close()
		c, err := b.Dial(testContext(t), n.addr(1).String(), ClassBulk, 1)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			err = c.Send(make([]byte, 64<<10))
		}
		<-c.Done()
		if !errors.Is(c.Err(), ErrStalled) || b.Stats().Stalled.Load() != 1 {
			t.Errorf("closed with %v, want ErrStalled", c.Err())
		}
		close(release)
		a.Close()
		b.Close()
	})
}
