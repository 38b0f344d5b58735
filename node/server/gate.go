package server

import (
	"context"
	"slices"
	"time"

	"headroom/node/plane"
	"headroom/node/record"
	"headroom/node/transport"
	"headroom/node/txn"
	"headroom/node/wire"
)

type digest = record.Digest

// gate holds back what acknowledges writes until they are durable.
type gate struct {
	plane.Gate
	wake chan struct{} // capacity 1
}

func (g *gate) kick() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// hold is plane.Gate's Hold.
func (ns *namespace) hold(send func(durable bool)) (held, full bool) {
	return ns.gate.Hold(ns.store, send)
}

// release lets go what is durable by now, until ctx ends.
func (ns *namespace) release(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ns.gate.wake:
		}
		ns.gate.Release(ns.store)
	}
}

// replyDurable sends the reply to a write when the write is durable.
func (ns *namespace) replyDurable(to txn.Origin, r *wire.Reply) {
	kept := *r
	kept.Bins = slices.Clone(r.Bins)
	held, full := ns.hold(func(durable bool) {
		if !durable {
			kept = wire.Reply{Status: wire.StatusInDoubt}
		}
		if to.Marks != nil {
			to.Marks.Durable = ns.n.mono()
		}
		ns.n.reply(to, &kept)
	})
	if full {
		r = &wire.Reply{Status: wire.StatusInDoubt}
	}
	if !held {
		ns.n.reply(to, r)
	}
}

// answerDurable answers a replica write when it is durable; one that is not is
// left unanswered, and asked again.
func (ns *namespace) answerDurable(a *txn.Answer) {
	kept := *a
	held, full := ns.hold(func(durable bool) {
		if durable {
			answerTxn(&kept)
		}
	})
	if !held && !full {
		answerTxn(a)
	}
}

// readersOf is who reads the device of a partition.
func (ns *namespace) readersOf(pid int) *readers { return ns.readers[ns.store.Home(pid)] }

// later runs f on one of the readers of a partition's device, or reports that
// too many wait for it already.
func (ns *namespace) later(pid int, f func()) bool {
	ok := ns.readersOf(pid).request(f)
	if !ok {
		ns.overloads.Add(1)
	}
	return ok
}

// readLater hands a get whose record has to be read from a device to a reader,
// so that the connection's other requests do not wait. It reports whether it
// took care of the request. A write that needs the record asks for it itself.
func (n *Node) readLater(st *connState, ns *namespace, q *txn.Request) bool {
	if ns.readers == nil || q.Kind != wire.KindGet && q.Kind != wire.KindGetHeader {
		return false
	}
	if !ns.mustRead(st, &q.Digest) {
		return false
	}
	deadline, ok := st.due(n, n.mono(), q.SentMS, q.DeadlineMS)
	if !ok {
		n.overdue.Add(1)
		n.reply(q.From, &wire.Reply{Status: wire.StatusTimeout})
		return true
	}
	q.Deadline = deadline
	n.readOn(ns, q)
	return true
}

// mustRead reports whether a record has to be read from a device.
func (ns *namespace) mustRead(st *connState, d *digest) bool {
	_, body, _, ready := ns.store.GetNow(d, st.body[:0])
	st.body = body[:0]
	return !ready
}

// readOn has a get whose deadline is set served by who reads the device.
func (n *Node) readOn(ns *namespace, q *txn.Request) {
	g := &get{Request: *q}
	g.Body = slices.Clone(q.Body)
	r := ns.readersOf(q.Digest.Partition())
	begun := func() bool { return r.request(func() { n.readNow(ns, g) }) }
	if rd := r.stream.Load(); rd != nil && rd.Quick() {
		begun = func() bool { return r.get(rd, g) }
	}
	if !begun() {
		ns.overloads.Add(1)
		n.reply(q.From, &wire.Reply{Status: wire.StatusBusy})
	}
}

// readNow serves a get on a goroutine of its own.
func (n *Node) readNow(ns *namespace, g *get) {
	if !n.open(ns, g) {
		return
	}
	g.read.Meta, g.read.Body, g.read.Found = ns.store.Get(&g.Digest, nil)
	n.answer(ns, g)
}

// scanLater hands a scan to a reader. If it does not, the connection's own time
// goes into it: slow, and no more is taken from it.
func (n *Node) scanLater(c *transport.Conn, h wire.Header, payload []byte) bool {
	var q wire.Scan
	if q.Parse(payload) != nil || int(q.Namespace) >= len(n.namespaces) || n.namespaces[q.Namespace].readers == nil {
		return false
	}
	own, m := slices.Clone(payload), n.asked(c, h)
	return n.namespaces[q.Namespace].later(int(q.Partition), func() {
		if m != nil {
			m.Started = n.mono()
		}
		n.scan(c, &connState{}, h, own, m)
	})
}

// keepView keeps the states of copies under a View that was just committed, so
// that they are known before anybody hears that this node holds the View: else
// a power cut would leave nodes that know of newer copies than anybody has.
func (n *Node) keepView(ns *namespace) {
	if ns.dir == nil || !ns.cfg.CommitToDevice {
		return
	}
	n.untilStored(func() error {
		err := ns.storeCopies(false)
		if err != nil && isDevice(err) {
			n.log.Error("copy states not stored: a device failed, another view follows", "namespace", ns.cfg.Name, "err", err)
			return nil
		}
		return err
	})
}

// storeEvery is how often changed copy states are kept.
const storeEvery = time.Second

// keepGap separates two stores: while partitions move, each ends with one, and
// they are to share it.
const keepGap = 100 * time.Millisecond

// keepCopies stores the states of copies as they change, until ctx ends.
func (n *Node) keepCopies(ctx context.Context, ns *namespace) {
	t := time.NewTicker(storeEvery)
	defer t.Stop()
	said := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-ns.keepNow:
		}
		err := ns.storeCopies(false)
		if err != nil && !said {
			n.log.Error("copy states not stored: a restart may move more than the difference", "namespace", ns.cfg.Name, "err", err)
		}
		said = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(keepGap):
		}
	}
}
