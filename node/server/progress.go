package server

import (
	"context"
	"sync"
	"time"

	"headroom/node/cluster"
	"headroom/node/transport"
	"headroom/node/wire"
)

// Every member tells the others how much it has still to migrate, and where it
// takes no more writes: at once when either begins or ends, else each
// progressEvery. So each can say whether the cluster is redundant, safe-to-stop
// does not have to ask around, and a master refuses what a replica has no room
// for.
const (
	progressLook  = 100 * time.Millisecond
	progressEvery = time.Second
)

// progress is what the members last told of themselves.
type progress struct {
	mu sync.Mutex // guards all below
	of map[cluster.NodeID]wire.Progress
}

// ownProgress sums up this node's namespaces. It speaks of no View while the
// namespaces have not all committed the same one.
func (n *Node) ownProgress() wire.Progress {
	var p wire.Progress
	for i, ns := range n.namespaces {
		m, com := ns.Progress(), ns.Committed()
		if com == nil || i > 0 && com.View.Key != p.View {
			return wire.Progress{}
		}
		p.View = com.View.Key
		p.Partitions += uint32(m.Partitions)
		p.Unavailable += uint32(m.Unavailable)
		p.Bytes += uint64(m.BytesLeft)
		if ns.store.Stats().StopWrites {
			p.Stopped |= 1 << i
		}
	}
	return p
}

// tellProgress keeps the other members informed until ctx ends.
func (n *Node) tellProgress(ctx context.Context) {
	t := time.NewTicker(progressLook)
	defer t.Stop()
	var told wire.Progress
	var at time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		p, v := n.ownProgress(), n.view.Load()
		if v != nil {
			n.tellLosses(v)
		}
		news := p.View != told.View || (p.Partitions == 0) != (told.Partitions == 0) || p.Stopped != told.Stopped
		if v == nil || !news && time.Since(at) < progressEvery {
			continue
		}
		told, at = p, time.Now()
		for i := range v.Members {
			if v.Members[i].Node == n.id {
				continue
			}
			n.sendControl(v.Members[i].Node, wire.KindProgress, p.Append)
		}
	}
}

// heardProgress takes in what a member tells of itself.
func (n *Node) heardProgress(c *transport.Conn, payload []byte) {
	var p wire.Progress
	if err := p.Parse(payload); err != nil {
		c.Close(err)
		return
	}
	n.progress.mu.Lock()
	defer n.progress.mu.Unlock()
	news := n.progress.of[c.Peer().Node].Stopped != p.Stopped
	if n.progress.of == nil || len(n.progress.of) > 2*cluster.MaxMembers {
		n.progress.of = map[cluster.NodeID]wire.Progress{}
	}
	n.progress.of[c.Peer().Node] = p
	if news {
		n.noteStoppedLocked()
	}
}

// noteStoppedLocked tells the namespaces which members take no writes.
func (n *Node) noteStoppedLocked() {
	for i, ns := range n.namespaces {
		var list []cluster.NodeID
		for m, p := range n.progress.of {
			if p.Stopped>>i&1 == 1 {
				list = append(list, m)
			}
		}
		ns.SetStopped(list)
	}
}

// clusterProgress sums up all members; who is a member that has not told of
// the current View yet, or zero.
func (n *Node) clusterProgress(v *cluster.View) (sum wire.Progress, who cluster.NodeID) {
	if sum = n.ownProgress(); sum.View != v.Key {
		return sum, n.id
	}
	n.progress.mu.Lock()
	defer n.progress.mu.Unlock()
	for i := range v.Members {
		m := v.Members[i].Node
		if m == n.id {
			continue
		}
		p := n.progress.of[m]
		if p.View != v.Key {
			who = m
			continue
		}
		sum.Partitions += p.Partitions
		sum.Bytes += p.Bytes
		sum.Unavailable = max(sum.Unavailable, p.Unavailable)
	}
	return sum, who
}

// SafeToStop reports whether this node may be stopped now without losing
// redundancy for longer than its absence, and why not: some partition would
// be left without a full copy, or the cluster is still rebuilding.
func (n *Node) SafeToStop() (bool, string) {
	v := n.view.Load()
	switch {
	case v == nil:
		return true, "this node is in no cluster"
	case n.frozen.Load():
		return false, "the cluster is changing its View; ask again in a second"
	}
	sum, silent := n.clusterProgress(v)
	switch {
	case silent != 0:
		return false, silent.String() + " has not said yet how far its migrations are; ask again in a second"
	case sum.Unavailable > 0:
		return false, "some partitions are unavailable already"
	case sum.Partitions > 0:
		return false, "the cluster is still copying partitions"
	}
	if why := n.quiescing(v); why != "" {
		return false, why
	}
	for _, ns := range n.namespaces {
		if min(ns.cfg.ReplicationFactor, len(v.Members)) < 2 && ns.holdsAny() {
			return false, "namespace " + ns.cfg.Name + ": this node holds the only copy of its partitions"
		}
	}
	return true, "every partition has a full copy elsewhere"
}
