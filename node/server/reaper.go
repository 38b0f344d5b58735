package server

import (
	"context"
	"time"

	"headroom/node/cluster"
	"headroom/node/plane"
)

// reapLap is how long one look at all partitions takes: expired records are
// invisible at once, their memory comes back within a lap.
const reapLap = 60 * time.Second

// reap removes what has expired and tombstones beyond their horizon, a few
// partitions at a time, for ever. It also looks after the wall clock.
func (n *Node) reap(ctx context.Context) {
	t := time.NewTicker(plane.LookEvery)
	defer t.Stop()
	next := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if jump := n.wall.Look(time.Since(n.start), time.Now().UnixMilli()); jump != 0 {
			n.log.Warn("the machine's clock jumped; ignored for expiry until it has stayed", "jump", jump, "for", plane.JumpTrust)
		}
		n.warnAlone()
		for range int(cluster.Partitions * plane.LookEvery / reapLap) {
			for _, ns := range n.namespaces {
				if ns.Mortal() {
					ns.Reap(next, n.now().WallMS, plane.TombstoneHorizon)
				}
			}
			next = (next + 1) % cluster.Partitions
		}
	}
}

// aloneAfter is how long a node with seeds may hear nobody before it says so.
const aloneAfter = 5 * time.Second

// warnAlone says once that no seed answers, and what that may mean.
func (n *Node) warnAlone() {
	h := n.heard.Load()
	alone := len(n.cfg.Seeds) > 0 && (h == nil || len(h.peers) == 0)
	if !alone || n.saidAlone || time.Since(n.start) < aloneAfter {
		n.saidAlone = n.saidAlone && alone
		return
	}
	for _, s := range n.cfg.Seeds {
		if s != n.addr {
			n.saidAlone = true
			n.log.Warn("no other node answers; check addresses, cluster-name, and that all credentials come from one authority",
				"seeds", n.cfg.Seeds, "datagrams_not_of_this_cluster", n.ep.Stats().PulsesGarbage.Load())
			return
		}
	}
}
