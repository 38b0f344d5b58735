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
	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

const (
	// scanners bounds the scans of a lane that run side by side; further ones
	// wait in order. A scan holds a goroutine, other operations do not.
	scanners = 8
	// scanPartitionsMax bounds how far a scan looks for its records: beyond
	// that many nearly empty partitions it ends with what it has.
	scanPartitionsMax = 64
	// closeGrace is how long Close waits for operations in flight beyond their
	// deadlines.
	closeGrace = 5 * time.Second
	// valueBin is the one bin of every record that the generator writes.
	valueBin = "v"
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
}

// DialHeadroom connects to a cluster; it waits as long as ctx lets it.
func DialHeadroom(ctx context.Context, cfg HeadroomConfig) (*Headroom, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = client.DefaultNamespace
	}
	// The directory of a development cluster has the client's in "client".
	dev := filepath.Join(cfg.Credentials, "client")
	if _, err := os.Stat(filepath.Join(dev, "client.crt")); cfg.Credentials != "" && err == nil {
		cfg.Credentials = dev
	}
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
	return &Headroom{client: c, namespace: ns, name: cfg.Namespace, set: cfg.Set}, nil
}

// Close implements Target.
func (h *Headroom) Close() error { return h.client.Close() }

// Members lists the cluster's nodes as the client knows them.
func (h *Headroom) Members() []client.Member { return h.client.Members() }

// NewLane implements Target.
func (h *Headroom) NewLane(inFlight int, complete func(*Result)) (Lane, error) {
	l := &headroomLane{h: h, complete: complete, limit: inFlight, scans: make(chan scanRequest, inFlight)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// headroomLane keeps the calls of one lane for reuse.
type headroomLane struct {
	h        *Headroom
	complete func(*Result)
	limit    int
	ctx      context.Context // ends scans when the lane is closed
	cancel   context.CancelFunc
	scans    chan scanRequest
	wg       sync.WaitGroup // the scanners
	scanning bool           // they run; touched by Submit only

	mu     sync.Mutex // guards all below; never held while calling out
	free   []*headroomCall
	made   int
	active int           // calls whose callback has not returned
	drain  chan struct{} // set by Close, closed when active is zero
}

// headroomCall is a client.Call with its own memory for the body.
type headroomCall struct {
	client.Call
	lane  *headroomLane
	token uint64
	bins  [1]record.Bin
}

type scanRequest struct {
	token  uint64
	key    uint64
	n      int
	budget time.Duration
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

// give makes c free for the next Submit.
func (l *headroomLane) give(c *headroomCall) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, c)
}

// ended counts a call as over.
func (l *headroomLane) ended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.active--; l.active == 0 && l.drain != nil {
		close(l.drain)
	}
}

// Submit implements Lane.
func (l *headroomLane) Submit(op *Op) error {
	if op.Kind == Scan {
		return l.submitScan(op)
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
		l.give(c)
		l.ended()
		if errors.Is(err, client.ErrBusy) {
			return ErrFull
		}
	}
	return err
}

// fill makes c the request of op.
func (c *headroomCall) fill(op *Op, digest record.Digest) (err error) {
	c.token, c.Digest, c.Deadline = op.Token, digest, op.Budget
	c.TTL, c.Body = wire.TTLDefault, c.Body[:0]
	switch op.Kind {
	case Read:
		c.Kind = wire.KindGet
	case Delete:
		c.Kind = wire.KindDelete
	case Write:
		c.Kind = wire.KindPut
		if op.TTL > 0 {
			c.TTL = uint32(min((op.TTL+time.Second-1)/time.Second, time.Duration(wire.TTLKeep)-1))
		}
		c.bins[0] = record.Bin{Name: valueBin, Value: record.Bytes(op.Value)}
		c.Body, err = record.AppendBody(c.Body, c.lane.h.set, record.Value{}, c.bins[:])
	}
	return err
}

// done is the client's callback.
func (c *headroomCall) done(*client.Call) {
	r := Result{Token: c.token, Outcome: outcome(c.Err), Err: c.Err}
	if r.Outcome == OK && c.Kind == wire.KindGet {
		bins := record.Bins(c.Bins)
		if bins.Validate() == nil { // else the value stays nil, which no audit accepts
			v, _ := bins.Get(valueBin)
			r.Value, _ = v.Bytes()
		}
	}
	if r.Outcome == NotFound {
		r.Err = nil
	}
	// Given back first, so that who is told of the free place finds it; what r
	// points to is the connection's and outlives this callback only.
	l := c.lane
	l.give(c)
	l.complete(&r)
	l.ended()
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

// submitScan queues a scan for the lane's scanners, which start with the first.
func (l *headroomLane) submitScan(op *Op) error {
	if !l.scanning {
		l.scanning = true
		for range scanners {
			l.wg.Go(l.scan)
		}
	}
	select {
	case l.scans <- scanRequest{token: op.Token, key: op.Key, n: op.ScanLen, budget: op.Budget}:
		return nil
	default:
		return ErrFull
	}
}

// errEnough ends a scan that has its records.
var errEnough = errors.New("enough records")

// scan serves the queue until the lane is closed.
func (l *headroomLane) scan() {
	for q := range l.scans {
		r := Result{Token: q.token, Outcome: OK}
		if err := l.scanOne(q); err != nil {
			r.Outcome, r.Err = Failed, err
		}
		l.complete(&r)
	}
}

// scanOne reads n records from the partition of the key on, in the cluster's
// order, which is by partition.
func (l *headroomLane) scanOne(q scanRequest) error {
	digest, err := record.NewDigest(l.h.set, record.Int(int64(q.key)))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(l.ctx, q.budget)
	defer cancel()
	first, left := digest.Partition(), q.n
	for range scanPartitionsMax {
		err := l.h.client.Scan(ctx, l.h.set, func(client.Record) error {
			if left--; left <= 0 {
				return errEnough
			}
			return nil
		}, client.WithPartitions(first, 1), client.WithNamespace(l.h.name))
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
		first = (first + 1) % cluster.Partitions
	}
	return nil
}

// Close implements Lane. Operations in flight end by their deadlines.
func (l *headroomLane) Close() error {
	close(l.scans)
	l.cancel()
	l.wg.Wait()
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
