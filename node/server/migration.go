package server

import (
	"context"
	"runtime"
	"time"

	"headroom/node/cluster"
	"headroom/node/transport"
)

// migration runs a namespace's migration core until ctx ends. Each turn holds
// the lock for one bounded slice of work (below 1 ms), and yields between
// slices so that requests go first.
func (n *Node) migration(ctx context.Context, ns *namespace) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		busy, deadline := ns.TickMigration(n.mono())
		if busy {
			runtime.Gosched()
			continue
		}
		wait := time.Hour
		if deadline != cluster.Never {
			wait = max(deadline.Sub(n.mono()), time.Millisecond)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-ns.wake:
		case <-timer.C:
		}
	}
}

// migrateFrame takes in one message of a migration. It runs on the bulk
// connection's reader, so a receiver that is slow to apply slows its sender.
func (n *Node) migrateFrame(c *transport.Conn, st *connState, payload []byte) {
	if err := st.migrate.Parse(payload); err != nil {
		c.Close(err)
		return
	}
	if int(st.migrate.Namespace) >= len(n.namespaces) {
		c.Close(badFrame(nil))
		return
	}
	n.namespaces[st.migrate.Namespace].Migrate(n.mono(), c.Peer().Node, &st.migrate)
}

// sweepEvery is the beat on which shards repeat what was not answered and
// forwards expire.
const sweepEvery = 10 * time.Millisecond

// sweep ticks the transaction cores that have anything in flight.
func (n *Node) sweep(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	last := n.mono()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := n.mono()
		if late := now.Sub(last) - sweepEvery; int64(late) > n.beatLate.Load() {
			n.beatLate.Store(int64(late))
		}
		last = now
		for _, ns := range n.namespaces {
			ns.Tick()
		}
		n.sweepForwards(n.mono(), 0)
	}
}
