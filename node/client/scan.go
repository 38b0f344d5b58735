package client

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"headroom/node/cluster"
	"headroom/node/record"
	"headroom/node/wire"
)

const (
	// scanWorkers partitions are scanned side by side: one has a round trip
	// per reply to wait for, more would crowd out other requests.
	scanWorkers = 4
	// scanMax is the most records of one reply. Nodes stop earlier when a
	// reply is full.
	scanMax = 1024
	// scanPatience is how long a scan whose context has no deadline waits for
	// a partition that gives no answer: longer than any View change.
	scanPatience = 30 * time.Second
)

// ScanError says how far a scan came. Everything before Partition was
// scanned; WithPartitions(Partition, …) resumes there.
type ScanError struct {
	Partition int   // the lowest that was not scanned to its end
	Err       error // ErrUnavailable, a context's error, or what the callback returned
}

// Error names the partition and the cause.
func (e *ScanError) Error() string { return fmt.Sprintf("scan: partition %d: %v", e.Partition, e.Err) }

// Unwrap returns Err.
func (e *ScanError) Unwrap() error { return e.Err }

// Scan calls visit for the records of a set ("" for all), partition by
// partition, in no order a caller may rely on. Every record that lives from
// beginning to end of the scan is visited at least once; a partition whose
// master changes is scanned again from its start, so that some are visited
// twice. Calls of visit do not overlap; the Record is the caller's. An error
// from visit ends the scan. Errors are *ScanError. Options: WithNamespace,
// WithPartitions, WithLimit, WithStages.
func (c *Client) Scan(ctx context.Context, set string, visit func(Record) error, opts ...Option) error {
	o := c.options(opts)
	if o.n == 0 {
		o.n = cluster.Partitions - o.first
	}
	if o.limit < 0 {
		return &ScanError{Partition: o.first, Err: fmt.Errorf("%w: a limit of %d records", ErrOption, o.limit)}
	}
	if o.first < 0 || o.n < 0 || o.first+o.n > cluster.Partitions {
		return &ScanError{Partition: o.first, Err: fmt.Errorf("%w: partitions %d to %d", ErrOption, o.first, o.first+o.n-1)}
	}
	if len(set) > record.MaxSet {
		return &ScanError{Partition: o.first, Err: record.ErrSet}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &scan{c: c, namespace: o.namespace, set: set, visit: visit, stop: cancel, left: o.limit, limited: o.limit > 0}
	if s.limited {
		s.tally.begin(o.stages, c.Now())
		defer s.tally.tell(o.stages)
	}
	s.next.Store(int64(o.first))
	s.end = o.first + o.n
	s.failed = s.end
	if workers := min(scanWorkers, o.n); workers == 1 || s.limited {
		s.work(ctx)
	} else {
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() { s.work(ctx) })
		}
		wg.Wait()
	}
	if s.err != nil {
		return &ScanError{Partition: s.failed, Err: s.err}
	}
	return nil
}

// scan is one scan under way.
type scan struct {
	c         *Client
	namespace string
	set       string
	stop      context.CancelCauseFunc
	next      atomic.Int64 // partition to scan next
	end       int          // behind the last partition
	limited   bool         // to left records, by one worker
	tally     tally        // of that worker

	mu     sync.Mutex // guards all below and serializes visit
	visit  func(Record) error
	left   int // records still wanted, if limited
	failed int // lowest partition that was not finished
	err    error
}

// work scans partitions until there are no more.
func (s *scan) work(ctx context.Context) {
	for {
		p := int(s.next.Add(1) - 1)
		if p >= s.end || s.limited && s.left == 0 {
			return
		}
		if err := s.partition(ctx, p); err != nil {
			s.fail(p, err)
			return
		}
	}
}

// fail notes the first error, the lowest partition of all that were cut
// short, and ends the scan.
func (s *scan) fail(p int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.failed = min(s.failed, p)
	s.stop(err)
}

// partition scans one partition, again and again until it was scanned from
// start to end on one master.
func (s *scan) partition(ctx context.Context, p int) error {
	var at *node
	var cursor uint64
	pause := backoff{}
	giveUp := s.c.patienceOfScan(ctx)
	for {
		if err := s.mayGoOn(ctx, giveUp); err != nil {
			return err
		}
		r := s.c.routes.Load()
		ns := r.namespace(s.namespace)
		if ns < 0 {
			return ErrNoNamespace
		}
		n := r.master(uint8(ns), p)
		if n != at {
			at, cursor = n, 0 // a cursor means nothing to another node
		}
		page := scanMax
		if s.limited {
			page = min(page, s.left)
		}
		reply, err := s.ask(ctx, at, &wire.Scan{Namespace: uint8(ns), Partition: uint16(p), Cursor: cursor, Max: uint16(page), Set: s.set})
		if err != nil {
			return err
		}
		if reply == nil {
			pause.wait(ctx, s.c, r, cluster.Never)
			continue
		}
		if err := s.deliver(reply); err != nil {
			return err
		}
		if reply.Done || s.limited && s.left == 0 {
			return nil
		}
		cursor = reply.Next
		pause, giveUp = backoff{}, s.c.patienceOfScan(ctx)
	}
}

// patienceOfScan returns until when a partition may give no answer.
func (c *Client) patienceOfScan(ctx context.Context) cluster.Instant {
	if _, ok := ctx.Deadline(); ok {
		return cluster.Never
	}
	return c.Now().Add(scanPatience)
}

func (s *scan) mayGoOn(ctx context.Context, giveUp cluster.Instant) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.c.closing.Load():
		return ErrClosed
	case s.c.Now() >= giveUp:
		return ErrUnavailable
	}
	return nil
}

// ask sends one scan request to n and waits for the reply; nil means try
// again.
func (s *scan) ask(ctx context.Context, n *node, q *wire.Scan) (*wire.ScanReply, error) {
	if n == nil {
		return nil, nil
	}
	done := make(chan []byte, 1)
	call := &Call{Kind: wire.KindScan, raw: q.Append(nil)}
	call.Done = func(call *Call) { done <- bytes.Clone(call.Bins) }
	s.tally.ask(call)
	if s.c.submitTo(n, call, s.c.Now().Add(s.c.cfg.Timeout)) != nil {
		return nil, nil
	}
	var payload []byte
	select {
	case payload = <-done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	reply := &wire.ScanReply{Status: call.Status}
	if call.Err == nil {
		if err := reply.Parse(payload); err != nil {
			return nil, err
		}
	}
	switch {
	case reply.Status == wire.StatusOK:
		s.tally.add(call)
		return reply, nil
	case reply.Status.Retryable() || reply.Status == wire.StatusTimeout || reply.Status == wire.StatusStaleView:
		return nil, nil
	}
	return nil, errOf(reply.Status)
}

// deliver visits the records of a reply.
func (s *scan) deliver(reply *wire.ScanReply) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	for i := range reply.Items {
		it := &reply.Items[i]
		body := record.Body(it.Body)
		if err := body.Validate(); err != nil {
			return err
		}
		rec := Record{Digest: it.Digest, Set: body.Set(), Key: body.Key(), Generation: it.Generation, Expiry: it.Expiry, Bins: body.RawBins()}
		if err := s.visit(rec); err != nil {
			return err
		}
		if s.limited {
			if s.left--; s.left == 0 {
				return nil
			}
		}
	}
	return nil
}
