package server

import (
	"context"
	"time"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/plane"
	"headroom/node/record"
	"headroom/node/storage"
)

const (
	// tombstoneHorizon is how long a delete is remembered: longer than two
	// nodes may be apart and still merge what they hold, by an hour for clocks
	// that differ.
	tombstoneHorizon = partition.MaxAbsence + time.Hour
	// reapLap is how long one look at all partitions takes: expired records
	// are invisible at once, their memory comes back within a lap.
	reapLap   = 60 * time.Second
	reapBatch = 256 // records visited under one lock of the engine
)

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
					ns.reap(next, n.now().WallMS)
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

// reap removes the dead records of one partition.
func (ns *namespace) reap(pid int, wallMS int64) {
	sec := uint32(wallMS / 1000)
	horizon := wallMS - tombstoneHorizon.Milliseconds()
	var dead []record.DigestVersion
	var cursor storage.Cursor
	for done := false; !done; {
		dead = dead[:0]
		cursor, done = ns.store.Each(pid, cursor, reapBatch, func(d *record.Digest, m *record.Meta) {
			if m.Expired(sec) || m.Tombstone && m.Version.Stamp.Millis() < horizon {
				dead = append(dead, record.DigestVersion{Digest: *d, Version: m.Version})
			}
		})
		for i := range dead {
			ns.store.Remove(&dead[i].Digest, dead[i].Version)
		}
	}
}
