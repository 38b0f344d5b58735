package sim

import (
	"bytes"
	"fmt"
	"time"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/wire"
)

// met tells the clients' connections that a new process has the port of the
// one they were to: what they send again is answered with a reset.
func (d *Data) met(n *Node) {
	for _, c := range d.Clients {
		r := c.nodes[n.ID]
		if r == nil || r.link == nil || len(r.link.calls) == 0 {
			continue
		}
		l := r.link
		d.W.After(time.Duration(d.rand.Int64N(int64(200*time.Millisecond))), l.lose)
	}
}

// Leave stops a node as SIGTERM does: it hands over, says goodbye, and ends
// when it has nothing left or after limit.
func (d *Data) Leave(n *Node, limit time.Duration) {
	if !n.Up || n.Paused {
		return
	}
	a := n.App.(*app)
	a.leaving, n.leaving = true, true
	d.W.record("leave", uint64(n.ID))
	d.W.logf("node%d is leaving", n.ID)
	n.Heartbeat.SetLeaving(n.Now())
	n.Membership.SetSelf(n.Now(), n.self())
	n.pump()
	d.leave(a, d.W.now.Add(limit), 0)
}

const (
	leavePoll  = 20 * time.Millisecond
	goodbyes   = 3
	goodbyeGap = 10 * time.Millisecond
)

func (d *Data) leave(a *app, end cluster.Instant, said int) {
	n := a.n
	switch {
	case !a.alive():
	case said == goodbyes:
		n.Crash(false)
		for _, s := range a.spaces {
			s.leave()
		}
		d.closed(n)
	case said > 0 || d.W.now >= end || !n.Paused && a.handedOver():
		if n.Paused {
			d.W.After(leavePoll, func() { d.leave(a, end, said) })
			return
		}
		if said == 0 {
			d.W.logf("node%d says goodbye, handed over %v", n.ID, a.handedOver())
		}
		a.lease = 0
		n.Heartbeat.Goodbye(n.Now())
		n.pump()
		d.W.After(goodbyeGap, func() { d.leave(a, end, said+1) })
	default:
		d.W.After(leavePoll, func() { d.leave(a, end, said) })
	}
}

// closed ends the clients' connections as a process does that exits: what it
// had answered still arrives.
func (d *Data) closed(n *Node) {
	for _, c := range d.Clients {
		if r := c.nodes[n.ID]; r != nil && r.link != nil {
			l := r.link
			l.send(&l.down, l.lose)
		}
	}
}

// checkAnswer asserts, when a node answers for a partition, that no other may do
// so under a later View; the two sides of a split do, and for a moment after it.
func (d *Data) checkAnswer(s *space, pid int) {
	n := s.a.n
	if d.OneSided {
		return
	}
	for _, o := range d.W.Nodes {
		a, ok := o.App.(*app)
		if o == n || !ok || !o.Up || o.Paused || a.view == nil {
			continue
		}
		if s.a.view.Key.Less(a.view.Key) && a.view.Has(o.ID, a.inc) && a.lease > o.Now() && a.spaces[s.id].Serves(pid) {
			d.W.fail("node%d answers for partition %d under %v while node%d serves it under %v", n.ID, pid, s.a.view, o.ID, a.view)
		}
	}
}

// checkMasters asserts that within one View one node at most answers for a
// partition.
func (d *Data) checkMasters() {
	for space := range d.cfg.Spaces {
		for _, pid := range d.pids {
			d.checkMaster(space, pid)
		}
	}
}

func (d *Data) checkMaster(space, pid int) {
	var first *app
	for _, n := range d.W.Nodes {
		if !n.Up || n.App == nil {
			continue
		}
		a := n.App.(*app)
		if a.view == nil || !a.spaces[space].Serves(pid) {
			continue
		}
		if first != nil && first.view.Key == a.view.Key {
			d.W.fail("partition %d is served by %v and %v under %v", pid, first.n.ID, n.ID, a.view)
		}
		if first == nil {
			first = a
		}
	}
}

// CheckCopies asserts, once Settled, that every partition has one master,
// equal Full copies on its replicas, and nothing anywhere else.
func (d *Data) CheckCopies() error {
	d.checkMasters()
	for space := range d.cfg.Spaces {
		for _, pid := range d.pids {
			d.checkCopies(space, pid)
		}
	}
	return d.W.Err
}

func (d *Data) checkCopies(index, pid int) {
	masters := 0
	var first *space
	for _, n := range d.W.Nodes {
		if !n.Up {
			continue
		}
		s := n.App.(*app).spaces[index]
		if s.Serves(pid) {
			masters++
		}
		if d.checkCopy(s, pid); !contains(s.part(pid).Replicas, s.self()) {
			continue
		}
		if first == nil {
			first = s
		}
		if d.contents(first, pid) != d.contents(s, pid) {
			d.W.fail("node%d and node%d hold different records under equal versions in partition %d: %s", first.a.n.ID, n.ID, pid, d.difference(first, s, pid))
		}
		if first.store.Partition(pid).Digest64 != s.store.Partition(pid).Digest64 {
			d.W.fail("node%d and node%d hold different copies of partition %d: %s", first.a.n.ID, n.ID, pid, d.difference(first, s, pid))
		}
	}
	if masters != 1 {
		d.W.fail("partition %d has %d masters, want one; %s", pid, masters, d.describe())
	}
}

// contents is a hash of the writes that a copy holds, whatever their versions.
func (d *Data) contents(s *space, pid int) (sum uint64) {
	for _, k := range d.keys {
		if k.pid() != pid || k.space != s.id {
			continue
		}
		if m, b, ok := s.store.Get(&k.digest, nil); ok && !m.Tombstone {
			sum = (sum ^ writeOf(b)) * 1099511628211
		} else {
			sum *= 1099511628211
		}
	}
	return sum
}

// checkCopy asserts that a node holds a copy of a partition if it is a
// replica, and else nothing of it.
func (d *Data) checkCopy(s *space, pid int) {
	st, v := s.store.Partition(pid), s.a.view
	var k partition.Copy
	s.Copies(func(r *partition.Report) { k = r.Copies[pid] })
	if !contains(s.part(pid).Replicas, s.self()) {
		if !st.Empty() {
			d.W.fail("node%d holds %d records of partition %d and is no replica under %v; its copy is %v", s.a.n.ID, st.Records+st.Tombstones, pid, v, k)
		}
	} else if k.State != partition.Full || k.Key != v.Key {
		d.W.fail("node%d's copy of partition %d is %v under %v, want full", s.a.n.ID, pid, k, v)
	}
}

// part is what the View of s means for a partition.
func (s *space) part(pid int) *partition.Part { return &s.Committed().Plan.Parts[pid] }

// self is the member index of s's node.
func (s *space) self() uint16 { return uint16(s.a.view.Index(s.a.n.ID)) }

// difference says which keys of pid two nodes hold in different versions.
func (d *Data) difference(a, b *space, pid int) string {
	var s bytes.Buffer
	for _, k := range d.keys {
		if k.pid() != pid || k.space != a.id {
			continue
		}
		x, _ := a.store.Meta(&k.digest)
		y, _ := b.store.Meta(&k.digest)
		if x != y {
			fmt.Fprintf(&s, "key %d: %+v and %+v; ", k.index, x, y)
		}
	}
	return s.String()
}

func contains(list []uint16, m uint16) bool {
	for _, x := range list {
		if x == m {
			return true
		}
	}
	return false
}

// Fill writes every key once, and then waits until all are acknowledged.
func (d *Data) Fill(c *Client) error {
	left := len(d.keys)
	var put func(k *key)
	put = func(k *key) {
		c.Do(wire.KindPut, k, func() {
			if k.writes[len(k.writes)-1].acked {
				left--
			} else {
				put(k)
			}
		})
	}
	for _, k := range d.keys {
		put(k)
	}
	return d.Await("all keys are written", 10*time.Second, func() bool { return left == 0 })
}

// Stop ends the load, and waits until every operation has ended.
func (d *Data) Stop() error {
	for _, c := range d.Clients {
		c.Load = Load{}
	}
	running := func() (n int) {
		for _, c := range d.Clients {
			n += c.running
		}
		return n
	}
	if err := d.Await("every operation ends", scanPatience+opTimeout+50*time.Millisecond, func() bool { return running() == 0 }); err != nil {
		return err
	}
	return d.Await("no node has a request left", opTimeout+time.Second, func() bool {
		for _, n := range d.W.Nodes {
			if !n.Up || n.Paused {
				continue
			}
			a := n.App.(*app)
			for _, s := range a.spaces {
				if s.Busy() {
					return false
				}
			}
			if a.forwards.Len() > 0 {
				return false
			}
		}
		return true
	})
}

// ReadAll reads every key once; the checks of a read judge the answers, and
// all must come.
func (d *Data) ReadAll(c *Client) error {
	d.prompt = true
	defer func() { d.prompt = false }()
	failed := c.Failed
	left := len(d.keys)
	for _, k := range d.keys {
		c.Do(wire.KindGet, k, func() { left-- })
	}
	if err := d.Await("every key is read", opTimeout+50*time.Millisecond, func() bool { return left == 0 }); err != nil {
		return err
	}
	if c.Failed != failed {
		d.W.fail("%d of the last reads got no answer; %s", c.Failed-failed, d.describe())
	}
	return d.W.Err
}

// CheckLineage asserts that no acknowledged write lost against an older one
// that its master had to know: what a key holds in the end was written on
// another side of a split, or is not older. A write that its client sent more
// than once may have been applied on two sides; it proves nothing.
func (d *Data) CheckLineage() error {
	clear(d.lines.memo)
	for _, k := range d.keys {
		final := d.final(k)
		if final == nil || !final.acked || final.sent > 1 {
			continue
		}
		for _, y := range k.writes {
			if y.acked && final.before(y) && (y.view == final.view || d.lines.known(d, k.space, k.slot, y.view)[final.view]) {
				d.W.fail("key %d of partition %d ends as %v, though %v came after it on the same side", k.index, k.pid(), final, y)
			}
		}
	}
	return d.W.Err
}

// final is the write that a key's master holds; nil if it was deleted.
func (d *Data) final(k *key) *write {
	for _, n := range d.W.Nodes {
		if !n.Up {
			continue
		}
		s := n.App.(*app).spaces[k.space]
		if !s.Serves(k.pid()) {
			continue
		}
		m, b, ok := s.store.Get(&k.digest, nil)
		if !ok || m.Tombstone {
			return nil
		}
		return k.find(writeOf(b))
	}
	return nil
}

func (d *Data) describe() string {
	var b bytes.Buffer
	for _, n := range d.W.Nodes {
		if !n.Up {
			fmt.Fprintf(&b, "node%d down; ", n.ID)
			continue
		}
		a := n.App.(*app)
		p := a.ownProgress()
		fmt.Fprintf(&b, "node%d.%d %v serves=%v paused=%v partitions left %d unavailable %d; ", n.ID, n.Inc, n.View(), n.Serves(), n.Paused, p.Partitions, p.Unavailable)
	}
	return b.String()
}
