package sim

import (
	"bytes"
	"fmt"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// checker holds what the invariants remember.
type checker struct {
	commits map[cluster.ViewKey]*wire.Commit
	told    map[[2]int]cluster.Instant // since when a member could tell a second process of the first, by hosts
}

func newChecker() checker {
	return checker{commits: map[cluster.ViewKey]*wire.Commit{}, told: map[[2]int]cluster.Instant{}}
}

func (w *World) fail(format string, args ...any) {
	if w.Err == nil {
		w.Err = fmt.Errorf("at %v: %s", w.now, fmt.Sprintf(format, args...))
		w.logf("VIOLATION %v", w.Err)
	}
}

// checkCommit asserts on each adoption of a View: the same key means the same
// members in the same order and the same reports; the node adopts exactly the
// ballot it froze for last; the counters of a node's keys only grow, in all its lives (they
// are the regimes of its writes).
func (w *World) checkCommit(n *Node, m *wire.Commit) {
	if first := w.check.commits[m.View.Key]; first == nil {
		w.check.commits[m.View.Key] = m
	} else if !cluster.SameMembers(first.View.Members, m.View.Members) || !samePayloads(first.Payloads, m.Payloads) {
		w.fail("key %v stands for two Views: %v and %v", m.View.Key, &first.View, &m.View)
	}
	if n.frozen != m.View.Key {
		w.fail("node%d froze for %v and adopts %v", n.ID, n.frozen, m.View.Key)
	}
	if !m.View.Has(n.ID, n.Inc) {
		w.fail("node%d.%d adopts %v without it", n.ID, n.Inc, &m.View)
	}
	if n.newest.Counter >= m.View.Key.Counter {
		w.fail("node%d goes back from %v to %v", n.ID, n.newest, m.View.Key)
	}
	n.newest = m.View.Key
}

func samePayloads(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// checkAll runs after every event.
func (w *World) checkAll() {
	for _, m := range w.Nodes {
		if m.Serves() {
			if v := m.View(); v.Key.Less(m.frozen) {
				w.fail("node%d serves under %v although it has accepted %v", m.ID, v.Key, m.frozen)
			}
			w.checkLease(m)
		}
	}
	w.checkTwins()
}

// checkLease asserts that no member of m's View has gone on to a later View
// while m may still answer reads: if the later View has m, then m accepted it
// and was frozen; if not, then m's lease has ended.
func (w *World) checkLease(m *Node) {
	v := m.View()
	for _, q := range v.Members {
		o := w.Node(q.Node)
		if o == m || !o.Up || o.Inc != q.Inc || o.View() == nil {
			continue
		}
		if ov := o.View(); v.Key.Less(ov.Key) {
			w.fail("node%d may serve under %v until %v while node%d holds %v", m.ID, v,
				m.Heartbeat.LeaseUntil(v).Sub(m.Now()), o.ID, ov)
		}
	}
}

// checkPulse asserts that no pulse made after an acceptance grants a lease.
// Pulses of one instant have Sents some nanoseconds apart.
func (w *World) checkPulse(n *Node, p *wire.Pulse) {
	if v := n.View(); v != nil && v.Key.Less(n.frozen) && p.Sent > n.frozenAt.Add(time.Microsecond) && !p.Frozen {
		w.fail("node%d grants a lease under %v although it has accepted %v", n.ID, p.View, n.frozen)
	}
}

// OneView reports whether all nodes that are up hold the same View of exactly
// them, unfrozen and with leases.
func (w *World) OneView() bool {
	var first *cluster.View
	up := 0
	for _, n := range w.Nodes {
		if !n.Up {
			continue
		}
		up++
		v := n.View()
		if v == nil || !v.Has(n.ID, n.Inc) || !n.Serves() {
			return false
		}
		if first == nil {
			first = v
		}
		if v.Key != first.Key {
			return false
		}
	}
	return up == 0 || len(first.Members) == up
}

// describe tells what every node holds, for failures.
func (w *World) describe() string {
	var b bytes.Buffer
	for _, n := range w.Nodes {
		if !n.Up {
			fmt.Fprintf(&b, "node%d down; ", n.ID)
			continue
		}
		fmt.Fprintf(&b, "node%d.%d %v frozen=%v serves=%v paused=%v; ", n.ID, n.Inc, n.View(), n.Membership.Frozen(), n.Serves(), n.Paused)
	}
	return b.String()
}
