package client

import (
	"errors"
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

// Call is one operation on its way: the asynchronous path, made for load
// generators. Fill in the request fields and Done, give it to Submit, and
// leave it alone until Done is called with it. A Call may then be used again,
// also from within Done; nothing is allocated per operation.
type Call struct {
	// The request.
	Kind       wire.Kind     // KindGet, KindGetHeader, KindPut, KindDelete, KindTouch or KindOperate
	Namespace  uint8         // from Client.NamespaceIndex
	CheckGen   bool          // write only if the record's generation is Generation
	Generation uint16        // see CheckGen
	TTL        uint32        // seconds, or wire.TTLDefault, TTLNever, TTLKeep
	Digest     record.Digest // of the record
	Body       []byte        // flat record of a put, wire.AppendOps of an operate; keep it unchanged until Done, it may be sent again
	Deadline   time.Duration // from Submit on; zero means Config.Timeout
	Token      uint64        // the caller's, never touched
	// Stages, if not nil, is filled in before Done, and the node is asked for
	// its part. Such a call allocates.
	Stages *Stages
	// Done is called exactly once for each accepted Submit, on the reader of
	// a connection or on the client's timer goroutine. It must not block: all
	// other operations of that connection wait. It may call Submit.
	Done func(*Call)

	// The outcome, valid from within Done until the next Submit.
	Status    wire.Status
	Last      wire.Status     // last status a node answered, if Status is not that
	Err       error           // nil, or one of the package's Err variables, unwrapped
	Gen       uint16          // the record's generation
	Expiry    uint32          // seconds since the Unix epoch, zero never
	Bins      []byte          // record.Bins of a get, wire.ParseResults of an operate; valid during Done only
	Node      cluster.NodeID  // asked last; zero if none was
	Attempts  uint32          // how often it was sent
	Submitted cluster.Instant // when Submit took it, on Client.Now's clock
	Completed cluster.Instant // when the outcome was known

	deadline cluster.Instant
	retryAt  cluster.Instant // of a parked call
	master   cluster.NodeID  // whom the map named when it was last routed
	node     *node           // holder of the connection it was sent on
	pauses   uint8           // backoffs so far
	unsure   bool            // an earlier attempt may have been applied
	waiting  bool            // parked because its master has no connection
	readOnly bool            // an operate made of reads
	raw      []byte          // batches and scans: the whole payload; sent to one node once
}

// reads reports whether the call changes nothing, so that it may be sent any
// number of times.
func (call *Call) reads() bool {
	switch call.Kind {
	case wire.KindGet, wire.KindGetHeader, wire.KindBatchGet, wire.KindScan:
		return true
	}
	return call.readOnly
}

// repeatable reports whether sending a write twice has the effect of sending
// it once.
func (call *Call) repeatable() bool {
	switch call.Kind {
	case wire.KindPut, wire.KindDelete, wire.KindTouch:
		return !call.CheckGen
	case wire.KindBatchPut:
		return true
	}
	return false
}

// errDown and errFull say why a call was not sent; both are waited out.
var (
	errDown = errors.New("client: not connected to the node")
	errFull = errors.New("client: in-flight table or send buffer of the connection is full")
)

// Submit sends call, or queues it while its partition has no reachable
// master. It does not block. On an error (ErrClosed, ErrBusy, ErrNoNamespace,
// ErrBadRequest) the call was not taken and Done is not called.
func (c *Client) Submit(call *Call) error {
	if call.Done == nil || call.Kind < wire.KindGet || call.Kind > wire.KindOperate {
		return ErrBadRequest
	}
	if len(call.Body) > record.MaxSize {
		return ErrTooBig
	}
	call.raw = nil
	c.begin(call)
	return c.route(call, call.Submitted, true)
}

// begin resets what the client keeps in a call.
func (c *Client) begin(call *Call) {
	patience := call.Deadline
	if patience <= 0 {
		patience = c.cfg.Timeout
	}
	now := c.Now()
	call.Submitted, call.deadline = now, now.Add(patience)
	call.Status, call.Last, call.Err, call.Bins = wire.StatusOK, wire.StatusOK, nil, nil
	call.Gen, call.Expiry, call.Node, call.Attempts = 0, 0, 0, 0
	call.master, call.node, call.pauses, call.unsure, call.waiting = 0, nil, 0, false, false
	if call.Stages != nil {
		*call.Stages = Stages{}
	}
}

// route sends a single-record call to the master of its partition or parks
// it. On an error nothing happened to the call, and the caller still has it.
// first says that the caller of Submit is waiting: it is told of a full
// connection instead of growing the parked list.
func (c *Client) route(call *Call, now cluster.Instant, first bool) error {
	r := c.routes.Load()
	if int(call.Namespace) >= len(r.m.Namespaces) {
		return ErrNoNamespace
	}
	n := r.master(call.Namespace, call.Digest.Partition())
	if n == nil {
		call.master, call.waiting, call.Last = 0, false, wire.StatusUnavailable
		return c.park(call, now)
	}
	call.master = n.id
	to := c.reach(r, n)
	if to == nil {
		call.waiting = true
		return c.park(call, now)
	}
	err := to.send(call, now)
	switch {
	case err == nil:
		// A map that came between Load and send was not applied to this call.
		if c.routes.Load() != r {
			c.changed.Store(true)
			c.nudge()
		}
		return nil
	case first && err == errFull:
		return ErrBusy
	}
	call.waiting = err == errDown
	return c.park(call, now)
}

// reach gives the connection to n, or that of another member to forward the
// request while n is new and not connected yet, or cannot be reached from
// here. After a lost connection the client waits for a new map or connection
// instead: the node is probably dead, and others cannot reach it either.
func (c *Client) reach(r *routes, n *node) *conn {
	if cn := n.conn.Load(); cn != nil {
		return cn
	}
	if n.wasUp.Load() && n.failures.Load() < proxyAfter {
		return nil
	}
	for _, o := range r.nodes {
		if cn := o.conn.Load(); cn != nil {
			return cn
		}
	}
	return nil
}

// proxyAfter is how many dials in a row must fail before requests for a node
// that was connected once are sent through others.
const proxyAfter = 2

// resend routes a call that was taken out of its place, or finishes it.
func (c *Client) resend(call *Call, now cluster.Instant) {
	if now >= call.deadline {
		c.expire(call, now, false)
		return
	}
	if err := c.route(call, now, false); err != nil {
		c.fail(call, statusOf(err), err, now)
	}
}

// statusOf gives the status of a call that could not be sent.
func statusOf(err error) wire.Status {
	switch err {
	case ErrNoNamespace:
		return wire.StatusNamespace
	case ErrBusy, errFull:
		return wire.StatusBusy
	}
	return wire.StatusUnavailable
}

// replied handles the answer of a node to a call taken out of its table.
func (c *Client) replied(call *Call, r *wire.Reply, now cluster.Instant) {
	call.Last = r.Status
	again := r.Status.Retryable()
	if r.Status == wire.StatusInDoubt && call.repeatable() {
		again, call.unsure = true, true // as if its connection had been lost
	}
	if again && call.raw == nil {
		call.node.stats.retries.Add(1)
		call.waiting = false
		n := c.routes.Load().master(call.Namespace, call.Digest.Partition())
		if n != nil && n.id != call.master {
			c.resend(call, now) // a newer map is here already
		} else if err := c.park(call, now); err != nil {
			c.fail(call, r.Status, err, now)
		}
		return
	}
	call.Gen, call.Expiry, call.Bins = r.Generation, r.Expiry, r.Bins
	st := settle(call.Kind, call.unsure, r.Status)
	c.finish(call, st, errOf(st), now)
}

// settle gives the outcome of an operation that a node answered with st.
// unsure says that an earlier attempt may have been applied: then a refusal
// does not prove that nothing happened, and a delete that finds nothing has
// done its work.
func settle(kind wire.Kind, unsure bool, st wire.Status) wire.Status {
	switch {
	case !unsure || st == wire.StatusOK:
		return st
	case st == wire.StatusNotFound && kind == wire.KindDelete:
		return wire.StatusOK
	case st == wire.StatusNotFound:
		return st
	}
	return wire.StatusInDoubt
}

// lost handles a call whose node will not answer any more.
func (c *Client) lost(call *Call, now cluster.Instant) {
	switch {
	case call.raw != nil:
		call.unsure = !call.reads() // for its batch, which decides
		c.finish(call, wire.StatusUnavailable, ErrUnavailable, now)
	case c.closing.Load():
		call.unsure = call.unsure || !call.reads()
		c.fail(call, wire.StatusUnavailable, ErrClosed, now)
	case call.reads():
		call.node.stats.failovers.Add(1)
		c.resend(call, now)
	case call.repeatable():
		call.node.stats.failovers.Add(1)
		call.unsure = true
		c.resend(call, now)
	default:
		c.finish(call, wire.StatusInDoubt, ErrInDoubt, now)
	}
}

// expire finishes a call whose deadline passed; sent says it was in flight.
func (c *Client) expire(call *Call, now cluster.Instant, sent bool) {
	if sent && !call.reads() {
		call.unsure = true
	}
	c.fail(call, wire.StatusTimeout, ErrTimeout, now)
}

// fail finishes a call that got no answer of its own: in doubt if some
// attempt may have been applied, else as st and err.
func (c *Client) fail(call *Call, st wire.Status, err error, now cluster.Instant) {
	if call.unsure {
		st, err = wire.StatusInDoubt, ErrInDoubt
	}
	c.finish(call, st, err, now)
}

func (c *Client) finish(call *Call, st wire.Status, err error, now cluster.Instant) {
	call.Status, call.Err, call.Completed = st, err, now
	call.Done(call)
}
