package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"headroom/node/client"
	"headroom/node/record"
	"headroom/node/wire"
)

const (
	// closeGrace is how long Close waits for operations in flight beyond their
	// deadlines.
	closeGrace = 5 * time.Second
	// valueBin holds the value of every record, counterBin what operate counts.
	valueBin   = "v"
	counterBin = "n"
)

// HeadroomConfig says which cluster to load.
type HeadroomConfig struct {
	Seeds       []string // host:port of some members
	Credentials string   // directory of a client's credentials, or of a development cluster
	Insecure    bool
	Namespace   string // default client.DefaultNamespace
	Set         string // of all keys, may be empty
	InFlight    int    // limit per connection, default the client's
}

// Headroom is a Headroom cluster behind the native client. All lanes share one
// client and its connections, so that their requests are sent together.
type Headroom struct {
	client    *client.Client
	namespace uint8
	name, set string
	count     []byte // body of an operate: add one, read
	answers   answers
}

// DialHeadroom connects to a cluster; it waits as long as ctx lets it.
func DialHeadroom(ctx context.Context, cfg HeadroomConfig) (*Headroom, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = client.DefaultNamespace
	}
	cfg.Credentials = clientOf(cfg.Credentials)
	c, err := client.Dial(ctx, client.Config{Seeds: cfg.Seeds, Credentials: cfg.Credentials, Insecure: cfg.Insecure,
		Name: "loadgen", Namespace: cfg.Namespace, MaxInFlight: cfg.InFlight})
	if err != nil {
		return nil, err
	}
	ns, err := c.NamespaceIndex(cfg.Namespace)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("namespace %q: %w", cfg.Namespace, err)
	}
	count, err := wire.AppendOps(nil, cfg.Set, record.Value{}, []record.Op{
		{Kind: record.OpAdd, Bin: counterBin, Value: record.Int(1)}, {Kind: record.OpRead, Bin: counterBin}})
	if err != nil {
		c.Close()
		return nil, err
	}
	return &Headroom{client: c, namespace: ns, name: cfg.Namespace, set: cfg.Set, count: count}, nil
}

// Close implements Target.
func (h *Headroom) Close() error { return h.client.Close() }

// Members lists the cluster's nodes as the client knows them.
func (h *Headroom) Members() []client.Member { return h.client.Members() }

// NewLane implements Target.
func (h *Headroom) NewLane(inFlight int, complete func(*Result)) (Lane, error) {
	l := &headroomLane{h: h, complete: complete, limit: inFlight}
	l.slow = newSlowLane(inFlight, complete, l.doSlow)
	return l, nil
}

// headroomLane keeps the calls of one lane for reuse.
type headroomLane struct {
	h        *Headroom
	complete func(*Result)
	limit    int
	slow     *slowLane // of scans and batches

	mu     sync.Mutex // guards all below; never held while calling out
	free   []*headroomCall
	told   []*Result // for completions, as complete may keep none
	made   int
	active int           // calls whose callback has not returned
	drain  chan struct{} // set by Close, closed when active is zero
}

// headroomCall is a client.Call with its own memory for the body.
type headroomCall struct {
	client.Call
	lane    *headroomLane
	token   uint64
	bins    [1]record.Bin
	sampled client.Stages // of a sampled operation
}

func (l *headroomLane) take() *headroomCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free); n > 0 {
		c := l.free[n-1]
		l.free = l.free[:n-1]
		l.active++
		return c
	}
	if l.made == l.limit {
		return nil
	}
	l.made++
	l.active++
	c := &headroomCall{lane: l}
	c.Namespace = l.h.namespace
	c.Done = c.done
	return c
}

// give makes c free for the next Submit. The Result that it returns is the
// caller's until ended.
func (l *headroomLane) give(c *headroomCall) *Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, c)
	if n := len(l.told); n > 0 {
		r := l.told[n-1]
		l.told = l.told[:n-1]
		return r
	}
	return &Result{}
}

// ended counts a call as over.
func (l *headroomLane) ended(r *Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, r)
	if l.active--; l.active == 0 && l.drain != nil {
		close(l.drain)
	}
}

// Submit implements Lane.
func (l *headroomLane) Submit(op *Op) error {
	if op.Kind == Scan || op.Kind == BatchRead || op.Kind == BatchWrite {
		return l.slow.submit(op)
	}
	c := l.take()
	if c == nil {
		return ErrFull
	}
	digest, err := record.NewDigest(l.h.set, record.Int(int64(op.Key)))
	if err == nil {
		err = c.fill(op, digest)
	}
	if err == nil {
		err = l.h.client.Submit(&c.Call)
	}
	if err != nil {
		l.ended(l.give(c))
		if errors.Is(err, client.ErrBusy) {
			return ErrFull
		}
	}
	return err
}

// fill makes c the request of op.
func (c *headroomCall) fill(op *Op, digest record.Digest) (err error) {
	c.token, c.Digest, c.Deadline = op.Token, digest, op.Budget
	c.TTL, c.Body, c.Stages = wire.TTLDefault, c.Body[:0], nil
	if op.Sample {
		c.Stages = &c.sampled
	}
	switch op.Kind {
	case Read:
		c.Kind = wire.KindGet
	case Delete:
		c.Kind = wire.KindDelete
	case Touch:
		c.Kind, c.TTL = wire.KindTouch, ttlSeconds(op.TTL)
	case Operate:
		c.Kind, c.TTL = wire.KindOperate, wire.TTLKeep
		c.Body = append(c.Body, c.lane.h.count...)
	case Write:
		c.Kind, c.TTL = wire.KindPut, ttlSeconds(op.TTL)
		c.bins[0] = record.Bin{Name: valueBin, Value: record.Bytes(op.Value)}
		c.Body, err = record.AppendBody(c.Body, c.lane.h.set, record.Value{}, c.bins[:])
	}
	return err
}

// ttlSeconds is a time to live as the wire has it; zero is the namespace's.
func ttlSeconds(ttl time.Duration) uint32 {
	if ttl == 0 {
		return wire.TTLDefault
	}
	return uint32(min((ttl+time.Second-1)/time.Second, time.Duration(wire.TTLKeep)-1))
}

// done is the client's callback.
func (c *headroomCall) done(*client.Call) {
	r := Result{Token: c.token, Outcome: outcome(c.Err), Err: c.Err}
	if r.Outcome == OK && c.Kind == wire.KindGet {
		r.Value, r.Outcome = valueOf(c.Bins)
	}
	if r.Outcome == NotFound {
		r.Err = nil
	}
	if c.Stages != nil && c.Stages.Known {
		stages := told(c.Call.Stages)
		r.Stages = &stages
	}
	// Given back first, so that who is told of the free place finds it; what r
	// points to is the connection's and outlives this callback only.
	l := c.lane
	if r.Outcome == OK || r.Outcome == NotFound {
		l.h.answers.add(c.Node)
	}
	told := l.give(c)
	*told = r
	l.complete(told)
	*told = Result{}
	l.ended(told)
}

// Sampled implements Stager: nodes tell of every kind.
func (h *Headroom) Sampled(Kind) bool { return true }

// told is what client and node tell of a sampled operation.
func told(s *client.Stages) Stages {
	n := &s.Node
	return Stages{Node: s.From.String(), D: [NumStages]time.Duration{StageWait: s.Wait, StageSend: s.Send, StageQueue: n.Queue,
		StageAdmission: n.Admission, StageStorage: n.Storage, StageReplication: n.Replication, StageDurable: n.Durable,
		StageForward: n.Forward, StageReply: n.Reply, StageNetwork: s.Network, StageReceive: s.Receive}}
}

// valueOf returns the value in the bins of a record. A record without the bin
// holds a counter only: an operate made it after a delete. Bins that do not
// parse give no value, which no audit accepts.
func valueOf(bins record.Bins) ([]byte, Outcome) {
	if bins.Validate() != nil {
		return nil, OK
	}
	v, ok := bins.Get(valueBin)
	if !ok {
		return nil, NotFound
	}
	b, _ := v.Bytes()
	return b, OK
}

// outcome maps the client's errors, which are unwrapped in a Call.
func outcome(err error) Outcome {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, client.ErrNotFound):
		return NotFound
	case errors.Is(err, client.ErrInDoubt):
		return InDoubt
	}
	return Failed
}

// Flush implements Lane. The client sends on its own: its writer yields once
// so that what is submitted together leaves together.
func (l *headroomLane) Flush() {}

// Close implements Lane. Operations in flight end by their deadlines.
func (l *headroomLane) Close() error {
	l.slow.close()
	l.mu.Lock()
	drain := make(chan struct{})
	l.drain = drain
	if l.active == 0 {
		close(drain)
	}
	l.mu.Unlock()
	select {
	case <-drain:
		return nil
	case <-time.After(closeGrace):
		return errors.New("target: the client did not complete all operations")
	}
}

// clientOf is where a client's credentials are: the directory of a development
// cluster has them in "client".
func clientOf(dir string) string {
	dev := filepath.Join(dir, "client")
	if _, err := os.Stat(filepath.Join(dev, "client.crt")); dir != "" && err == nil {
		return dev
	}
	return dir
}
