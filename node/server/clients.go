package server

import (
	"context"
	"sync"
	"time"

	"headroom/node/cluster"
	"headroom/node/transport"
	"headroom/node/wire"
)

// mapDelay gathers the handovers of a migration into one map: at most 50
// pushes a second. A new View is pushed at once.
const mapDelay = 20 * time.Millisecond

// clients is who gets the partition map pushed.
type clients struct {
	mu         sync.Mutex // guards all below
	conns      map[*transport.Conn]bool
	generation uint64
	frame      []byte // the current map as a frame; nil before the first View
	soon       chan struct{}
	now        chan struct{}
}

// hello registers a client and sends it the map.
func (n *Node) hello(c *transport.Conn, payload []byte) {
	var h wire.Hello
	if err := h.Parse(payload); err != nil || h.Protocol != wire.ProtocolV1 {
		c.Close(badFrame(err))
		return
	}
	n.clients.mu.Lock()
	n.clients.conns[c] = true
	frame := n.clients.frame
	n.clients.mu.Unlock()
	if frame != nil {
		_ = c.Send(frame) // refused: the connection is gone
	}
}

func (n *Node) goodbyeClient(c *transport.Conn) {
	n.clients.mu.Lock()
	delete(n.clients.conns, c)
	n.clients.mu.Unlock()
}

// mapChanged asks for a new map to be pushed; urgent does not wait for more
// changes.
func (n *Node) mapChanged(urgent bool) {
	c := n.clients.soon
	if urgent {
		c = n.clients.now
	}
	select {
	case c <- struct{}{}:
	default:
	}
}

// pushMaps sends the map to every client when it changes.
func (n *Node) pushMaps(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.clients.now:
		case <-n.clients.soon:
			select {
			case <-ctx.Done():
				return
			case <-n.clients.now:
			case <-time.After(mapDelay):
			}
		}
		n.pushMap()
	}
}

func (n *Node) pushMap() {
	m := n.buildMap()
	if m == nil {
		return
	}
	n.clients.mu.Lock()
	n.clients.generation++
	m.Generation = n.clients.generation
	b := wire.AppendHeader(nil, wire.Header{Kind: wire.KindMap})
	b = m.Append(b)
	wire.PutLength(b, 0)
	n.clients.frame = b
	conns := make([]*transport.Conn, 0, len(n.clients.conns))
	for c := range n.clients.conns {
		conns = append(conns, c)
	}
	n.clients.mu.Unlock()
	for _, c := range conns {
		_ = c.Send(b) // refused: a client that does not read gets the next one, or is gone
	}
}

// buildMap describes the current View; nil before the first.
func (n *Node) buildMap() *wire.Map {
	v := n.view.Load()
	if v == nil {
		return nil
	}
	m := &wire.Map{View: v.Key, Cluster: n.cfg.ClusterName}
	for _, x := range v.Members {
		m.Members = append(m.Members, wire.MapMember{Node: x.Node, Rack: x.Rack, Addr: x.Addr})
	}
	m.Namespaces = make([]wire.MapNamespace, len(n.namespaces))
	for i, ns := range n.namespaces {
		x := &m.Namespaces[i]
		x.Name, x.RF = ns.cfg.Name, uint8(ns.cfg.ReplicationFactor)
		for pid := range cluster.Partitions {
			i, ok := ns.Master(pid)
			if x.Masters[pid] = i; !ok || int(i) >= len(m.Members) {
				x.Masters[pid] = wire.NoMaster
			}
		}
	}
	return m
}
