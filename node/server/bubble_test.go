package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"

	"headroom/node/client"
	"headroom/node/cluster"
	"headroom/node/record"
)

// network carries the packets of whole nodes in a synctest bubble: real QUIC,
// virtual time. Packets between two addresses for which cut says true are
// lost.
type network struct {
	sim *simnet.Simnet
	cut atomic.Pointer[func(a, b byte) bool]
	simnet.PerfectRouter
}

func newNetwork() *network {
	n := &network{}
	n.sim = &simnet.Simnet{Router: n}
	return n
}

func host(a net.Addr) byte { return a.(*net.UDPAddr).IP.To4()[3] }

// SendPacket implements simnet.Router.
func (n *network) SendPacket(p simnet.Packet) error {
	if cut := n.cut.Load(); cut != nil && (*cut)(host(p.From), host(p.To)) {
		return nil
	}
	n.PerfectRouter.SendPacket(p) // an unknown destination is a lost packet
	return nil
}

func (n *network) addr(h byte) *net.UDPAddr {
	return &net.UDPAddr{IP: net.IPv4(10, 0, 0, h), Port: 4300}
}

func (n *network) conn(h byte) net.PacketConn {
	return n.sim.NewEndpoint(n.addr(h), simnet.NodeBiDiLinkSettings{Latency: 500 * time.Microsecond})
}

// bubble is a cluster in a synctest bubble, with one client.
type bubble struct {
	t     *testing.T
	net   *network
	nodes map[byte]*Node
	conns map[byte]net.PacketConn // by host; a node's second life runs on host 10 + its number
	c     *client.Client
}

// inBubble runs f on a cluster of n nodes with a connected client.
func inBubble(t *testing.T, n int, f func(b *bubble)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, net: newNetwork(), nodes: map[byte]*Node{}, conns: map[byte]net.PacketConn{}}
		for h := byte(1); int(h) <= n; h++ {
			b.conns[h], b.conns[10+h] = b.net.conn(h), b.net.conn(10+h)
		}
		clientConn := b.net.conn(100)
		if err := b.net.sim.Start(); err != nil {
			t.Fatal(err)
		}
		defer b.net.sim.Close()
		for h := byte(1); int(h) <= n; h++ {
			b.start(h, h, n)
		}
		b.await("one View of all", func() bool { return b.agreed(n) })
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var err error
		b.c, err = client.Dial(ctx, client.Config{Seeds: []string{b.net.addr(1).String(), b.net.addr(2).String()}, Insecure: true, PacketConn: clientConn})
		if err != nil {
			t.Fatal(err)
		}
		f(b)
		b.c.Close()
		for _, n := range b.nodes {
			n.Close()
		}
	})
}

// start runs node id on a host of the simulated network.
func (b *bubble) start(id, host byte, n int) {
	b.t.Helper()
	cfg := Config{Node: cluster.NodeID(id), Listen: b.net.addr(host).String(), HTTP: "off", Insecure: true, PacketConn: b.conns[host]}
	for s := byte(1); int(s) <= n; s++ {
		cfg.Seeds = append(cfg.Seeds, b.net.addr(s).String())
	}
	if os.Getenv("HEADROOM_TEST_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	node, err := Start(context.Background(), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.nodes[id] = node
}

// await polls in virtual time.
func (b *bubble) await(what string, ok func() bool) {
	b.t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond) // of the bubble
	}
	b.t.Fatalf("no %s within 30 virtual seconds", what)
}

func (b *bubble) agreed(members int) bool {
	var key cluster.ViewKey
	for _, n := range b.nodes {
		v := n.View()
		if v == nil || len(v.Members) != members || !key.IsZero() && v.Key != key || n.frozen.Load() {
			return false
		}
		key = v.Key
	}
	return true
}

// settled reports whether no node has anything left to migrate.
func (b *bubble) settled() bool {
	for _, n := range b.nodes {
		for _, ns := range n.Status().Namespaces {
			if ns.Migrations.PartitionsLeft > 0 || ns.Unavailable > 0 {
				return false
			}
		}
	}
	return true
}

func (b *bubble) put(key, val int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return b.c.Put(ctx, client.Key{Value: record.Int(int64(key))}, []record.Bin{{Name: "v", Value: record.Int(int64(val))}})
}

func (b *bubble) get(key int) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	r, err := b.c.Get(ctx, client.Key{Value: record.Int(int64(key))})
	if err != nil {
		return 0, err
	}
	if v, ok := r.Bins.Get("v"); ok {
		n, _ := v.Int()
		return int(n), nil
	}
	return 0, fmt.Errorf("record %d has no bin v: %v", key, r.Bins)
}

func (b *bubble) fill(keys int) {
	b.t.Helper()
	for k := range keys {
		if err := b.put(k, k); err != nil {
			b.t.Fatalf("put %d: %v", k, err)
		}
	}
}

func (b *bubble) check(keys int, want func(k int) int) {
	b.t.Helper()
	for k := range keys {
		if got, err := b.get(k); err != nil || got != want(k) {
			b.t.Errorf("get %d = %d, %v; want %d", k, got, err, want(k))
		}
	}
}

func same(k int) int { return k }

func TestNodesFormAClusterThatStoresRecords(t *testing.T) {
	inBubble(t, 3, func(b *bubble) {
		b.fill(200)
		b.check(200, same)
		if _, err := b.get(9999); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("get of an absent record: %v, want not found", err)
		}
	})
}

func TestASilentNodeIsReplacedAndReturnsWithoutLoss(t *testing.T) {
	inBubble(t, 4, func(b *bubble) {
		b.fill(300)
		b.nodes[3].Close() // its port is not refused on a simulated network: silence
		delete(b.nodes, 3)
		b.check(300, same)
		b.await("View of three", func() bool { return b.agreed(3) })
		b.await("full redundancy", b.settled)
		b.start(3, 13, 4)
		b.await("View of four", func() bool { return b.agreed(4) })
		b.await("full redundancy", b.settled)
		b.check(300, same)
		if n := b.nodes[3].Status().Namespaces[0].Records; n == 0 {
			t.Error("the returned node holds no record")
		}
		b.nodes[2].Close() // what is only left on node 3 must be there
		delete(b.nodes, 2)
		b.check(300, same)
	})
}

func TestLeavingNodeFailsNoOperation(t *testing.T) {
	inBubble(t, 3, func(b *bubble) {
		b.fill(100)
		var failed atomic.Int64
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					k := 100 + w*1000 + i%50
					if err := b.put(k, i); err != nil {
						failed.Add(1)
						t.Logf("put: %v", err)
					} else if _, err := b.get(k); err != nil {
						failed.Add(1)
						t.Logf("get: %v", err)
					}
				}
			})
		}
		time.Sleep(200 * time.Millisecond)
		if !b.nodes[2].Leave(context.Background()) {
			t.Error("node 2 left before it had handed everything over")
		}
		delete(b.nodes, 2)
		time.Sleep(500 * time.Millisecond)
		close(stop)
		wg.Wait()
		if n := failed.Load(); n > 0 {
			t.Errorf("%d operations failed around a graceful leave, want 0", n)
		}
		b.check(100, same)
	})
}

// A 2|2 split with writers on the client's side, then healed: what was
// acknowledged there and not overwritten elsewhere is all there.
func TestSplitAndMergeLoseNothingWrittenOnOneSide(t *testing.T) {
	inBubble(t, 4, func(b *bubble) {
		b.fill(200)
		left := func(h byte) bool { return h <= 2 || h == 100 }
		cut := func(a, z byte) bool { return left(a) != left(z) }
		b.net.cut.Store(&cut)
		time.Sleep(2 * time.Second)
		written := map[int]int{}
		for k := range 200 {
			switch v, err := b.get(k); {
			case errors.Is(err, client.ErrNotFound):
				t.Errorf("get %d: false not found during the split", k)
			case err == nil && v != k:
				t.Errorf("get %d = %d during the split", k, v)
			}
			if k < 40 {
				if err := b.put(k, 1000+k); err == nil {
					written[k] = 1000 + k
				}
			}
		}
		if len(written) < 5 {
			t.Fatalf("only %d writes were acknowledged during the split", len(written))
		}
		b.net.cut.Store(nil)
		b.await("one View again", func() bool { return b.agreed(4) })
		b.await("full redundancy", b.settled)
		b.check(200, func(k int) int {
			if v, ok := written[k]; ok {
				return v
			}
			return k
		})
	})
}
