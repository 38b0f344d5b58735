package server

import (
	"context"
	"time"

	"headroom/node/migrate"
	"headroom/node/txn"
)

// The rate at which a node sends in migrations follows the foreground: it
// grows while requests are served as promptly as in quiet times and shrinks
// when they are not, between a floor that restores redundancy in any case and
// a ceiling.
const (
	throttleLook = 100 * time.Millisecond
	// floorRate restores 1 million 100-byte records after the loss of one of
	// four nodes in 10 s (three hubs, 25 MB each).
	floorRate   = 5 << 19
	ceilingRate = 1 << 30
	// rateUp is per look: tenfold in 12 s. With 1.05, tenfold in 4.7 s, the 99th
	// percentile beside a migration was 1.6 times that of quiet times, with this
	// 1.4 (medians of 5 kills, four nodes on two processors).
	rateUp   = 1.02
	rateDown = 0.7
	// slackLate is a delay of the node's own 10 ms beat that shows a busy
	// processor or run queue.
	slackLate = 1500 * time.Microsecond
	// slackWrite is how much slower than in quiet times a write may be, beside
	// half of that time.
	slackWrite = 300 * time.Microsecond
	minWrites  = 5 // in one look, to say anything
)

// throttle decides the rate. It is a value without clock or lock; one
// goroutine owns it.
type throttle struct {
	rate  float64
	quiet time.Duration // mean time of a write while nothing migrates; zero: unknown
}

// sample is what one look saw.
type sample struct {
	migrating bool
	late      time.Duration // worst delay of the beat
	writes    uint64        // finished
	writeTime time.Duration // of all of them
}

// look takes in a sample and returns the rate in bytes per second.
func (t *throttle) look(s sample) float64 {
	mean := time.Duration(0)
	if s.writes >= minWrites {
		mean = s.writeTime / time.Duration(s.writes)
	}
	if !s.migrating {
		t.rate = floorRate
		if mean > 0 && t.quiet > 0 {
			t.quiet += (mean - t.quiet) / 16
		} else if mean > 0 {
			t.quiet = mean
		}
		return t.rate
	}
	slow := t.quiet > 0 && mean > t.quiet+t.quiet/2+slackWrite
	if slow || s.late > slackLate {
		t.rate = max(t.rate*rateDown, floorRate)
	} else {
		t.rate = min(t.rate*rateUp, ceilingRate)
	}
	return t.rate
}

// govern sets the migration rate of all namespaces until ctx ends. A
// configured rate is left alone.
func (n *Node) govern(ctx context.Context) {
	if n.cfg.MigrateRate > 0 {
		return
	}
	t := time.NewTicker(throttleLook)
	defer t.Stop()
	th := throttle{rate: floorRate}
	var writes uint64
	var spent time.Duration
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s := sample{late: time.Duration(n.beatLate.Swap(0))}
		w, d := n.writeTimes()
		s.writes, s.writeTime = w-writes, d-spent
		writes, spent = w, d
		s.migrating = n.ownProgress().Partitions > 0
		rate := th.look(s) / float64(len(n.namespaces))
		for _, ns := range n.namespaces {
			ns.SetRate(migrate.Rate{BytesPerSecond: rate})
		}
	}
}

// writeTimes sums up the writes that this node has finished as master, and
// how long they took from their first step to their last acknowledgement.
func (n *Node) writeTimes() (writes uint64, spent time.Duration) {
	for _, ns := range n.namespaces {
		ns.EachShard(func(st txn.Stats) {
			writes += st.Finished
			spent += st.WriteTime
		})
	}
	return writes, spent
}
