package client

import (
	"sync/atomic"
	"time"

	"headroom/node/cluster"
	"headroom/node/wire"
)

// Stages is where the time of one operation went, from Submit to Done. Those
// before and after Node follow each other and do not overlap. A batch or a scan
// is many requests: its stages are those of the one that was answered last of
// those sent side by side, added up over those that followed each other.
type Stages struct {
	// Known is false when the operation ended without an answer, or the node
	// that answered does not tell its stages; then the others mean nothing.
	Known   bool
	From    cluster.NodeID // who told, the last of many
	Wait    time.Duration  // until the request was appended that was answered: no master, earlier attempts
	Send    time.Duration  // until QUIC had taken it
	Node    wire.Stages    // at the node
	Network time.Duration  // between the two processes, both ways: their kernels and QUIC, and the node's sending
	Receive time.Duration  // from reading the answer until it was handled

	flight *flight
}

// flight is one attempt. It is made anew for each, because the news that it was
// sent may come when the call is used again already.
type flight struct {
	appended cluster.Instant
	sent     atomic.Int64 // cluster.Instant, zero: not yet
}

// sentLocked notes that a sampled call was appended to the send buffer.
func (cn *conn) sentLocked(call *Call) {
	c := cn.c
	f := &flight{appended: c.Now()}
	*call.Stages = Stages{flight: f}
	cn.link.OnSent(func() { f.sent.Store(int64(c.Now())) })
}

// staged fills in the stages of a call whose answer is being handled at now.
// What is left of the time since the request was appended is the network's.
// The news that it was sent may come late, even after the answer: sending takes
// no more than what the others leave.
func (cn *conn) staged(call *Call, node *wire.Stages, now cluster.Instant) {
	s := call.Stages
	f := s.flight
	cn.mu.Lock()
	waited := cn.link.SinceRead()
	cn.mu.Unlock()
	left := now.Sub(f.appended) - node.Sum()
	take := func(d time.Duration) time.Duration {
		d = max(0, min(d, left))
		left -= d
		return d
	}
	*s = Stages{Known: true, From: call.Node, Node: *node, Wait: f.appended.Sub(call.Submitted), Receive: take(waited)}
	s.Send = take(cluster.Instant(f.sent.Load()).Sub(f.appended))
	s.Network = max(0, left)
}

// tally adds up the stages of a batch's or a scan's requests.
type tally struct {
	wanted bool
	sum    Stages
	known  int             // requests in sum
	silent bool            // one of them did not tell
	until  cluster.Instant // the end of the last
}

// begin starts a tally now, if stages are wanted.
func (t *tally) begin(wanted *Stages, now cluster.Instant) {
	t.wanted, t.until = wanted != nil, now
}

// ask has call gather its stages, in memory of its own: a call whose caller has
// gone may still be answered.
func (t *tally) ask(call *Call) {
	if t.wanted {
		call.Stages = new(Stages)
	}
}

// add takes in a request that was answered after all that were sent beside it.
// The time since the one before is the client's: attempts that failed, pauses,
// encoding.
func (t *tally) add(call *Call) {
	if !t.wanted {
		return
	}
	s := call.Stages
	t.known++
	t.silent = t.silent || !s.Known
	t.sum.Wait += call.Submitted.Sub(t.until) + s.Wait
	t.sum.Send += s.Send
	t.sum.Network += s.Network
	t.sum.Receive += s.Receive
	t.sum.Node.Add(&s.Node)
	t.sum.From, t.until = s.From, call.Completed
}

// tell fills in what the caller asked for, if anything.
func (t *tally) tell(to *Stages) {
	if to == nil {
		return
	}
	*to = Stages{}
	if t.known > 0 && !t.silent {
		*to = t.sum
		to.Known = true
	}
}
