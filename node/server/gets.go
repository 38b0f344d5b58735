package server

import (
	"context"

	"headroom/node/cluster"
	"headroom/node/plane"
	"headroom/node/storage"
	"headroom/node/txn"
	"headroom/node/wire"
)

// get is a get that waits for its device.
type get struct {
	txn.Request
	read  plane.Read
	began cluster.Instant
}

// open begins a get. It reports false if it was answered already, or handed on.
func (n *Node) open(ns *namespace, g *get) bool {
	g.began = n.mono()
	if m := g.From.Marks; m != nil {
		m.Started = g.began
	}
	if g.began >= g.Deadline || !ns.readersOf(g.Digest.Partition()).inTime(g.Deadline.Sub(g.began)) {
		// Nobody would wait for it any more. Behind an overloaded device each
		// read would else be served after its deadline, and none in time.
		n.overdue.Add(1)
		n.reply(g.From, &wire.Reply{Status: wire.StatusTimeout})
		return false
	}
	var serves bool
	if g.read, serves = ns.Open(&g.Digest); !serves {
		ns.Request(&g.Request)
	}
	return serves
}

// answer ends a get whose record was read.
func (n *Node) answer(ns *namespace, g *get) {
	now := n.now()
	ns.readersOf(g.Digest.Partition()).took(now.Mono.Sub(g.began))
	if !ns.Valid(&g.read, &g.Digest, now) {
		ns.Request(&g.Request)
		return
	}
	if m := g.From.Marks; m != nil {
		m.Executed, m.Stored = m.Started, now.Mono
	}
	r := g.read.Reply(now, g.Kind == wire.KindGet)
	ns.fastReads.Add(1)
	n.reply(g.From, &r)
}

// stream serves gets of one device through a storage.Reader, on one goroutine
// that has as many of them under way as 32 that read one each. Where there is
// none, or while the device is slow, those do it.
type stream struct {
	n      *Node
	ns     *namespace
	from   *readers
	reader *storage.Reader
}

// streamGets serves a device's gets until ctx ends, if it can.
func (n *Node) streamGets(ctx context.Context, ns *namespace, slot int) {
	s := stream{n: n, ns: ns, from: ns.readers[slot], reader: ns.store.Reader(slot)}
	if s.reader == nil {
		return
	}
	defer s.reader.Close()
	s.from.stream.Store(s.reader)
	defer s.from.stream.Store(nil)
	for s.fill(ctx) {
		s.reader.Wait(s.idle, s.done)
	}
}

// fill begins what is asked for, and waits for it if nothing is under way. It
// reports false at the end.
func (s *stream) fill(ctx context.Context) bool {
	for !s.reader.Busy() {
		select {
		case <-ctx.Done():
			return false
		case g := <-s.from.gets:
			s.begin(g)
		}
	}
	for s.reader.Room() > 0 && ctx.Err() == nil {
		select {
		case g := <-s.from.gets:
			s.begin(g)
		default:
			return true
		}
	}
	return true
}

func (s *stream) begin(g *get) {
	if s.n.open(s.ns, g) {
		s.reader.Get(&g.Digest, g, s.done)
	}
}

// idle reports whether there is nothing to begin.
func (s *stream) idle() bool { return len(s.from.gets) == 0 || s.reader.Room() == 0 }

func (s *stream) done(a *storage.Answer) {
	g := a.Tag.(*get)
	g.read.Meta, g.read.Body, g.read.Found = a.Meta, a.Body, a.Found
	s.n.answer(s.ns, g)
	g.read.Body = nil // it was lent
}
