package client

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"headroom/node/record"
	"headroom/node/wire"
)

// Record is what a read gives. Its memory is the caller's.
type Record struct {
	Digest     record.Digest
	Set        string       // from scans, else the key's
	Key        record.Value // from scans, if it was stored; else the key asked for
	Generation uint16       // counts the writes of the record
	Expiry     uint32       // seconds since the Unix epoch; zero never expires
	Bins       record.Bins  // Bins.Get, Bins.All; nil from GetHeader and Operate
	Results    []record.Bin // of Operate: one per read, in order; absent bins have an absent value
}

// Get returns the value of a bin, and whether there is one.
func (r *Record) Get(bin string) (record.Value, bool) { return r.Bins.Get(bin) }

// Put replaces the record's bins, or makes the record. Options: WithTTL,
// WithGeneration, WithStoredKey.
func (c *Client) Put(ctx context.Context, key Key, bins []record.Bin, opts ...Option) error {
	o := c.options(opts)
	s := c.newCall(wire.KindPut, &o)
	var err error
	if s.body, err = record.AppendBody(s.body[:0], key.Set, storedKey(&key, &o), bins); err != nil {
		return c.refuse(s, "put", err)
	}
	s.call.Body = s.body
	_, err = c.do(ctx, "put", &key, s)
	return err
}

func storedKey(key *Key, o *callOptions) record.Value {
	if o.storeKey {
		return key.Value
	}
	return record.Value{}
}

// Get reads the record with all its bins.
func (c *Client) Get(ctx context.Context, key Key, opts ...Option) (Record, error) {
	o := c.options(opts)
	return c.do(ctx, "get", &key, c.newCall(wire.KindGet, &o))
}

// GetHeader reads generation and expiry, but no bins.
func (c *Client) GetHeader(ctx context.Context, key Key, opts ...Option) (Record, error) {
	o := c.options(opts)
	return c.do(ctx, "get header", &key, c.newCall(wire.KindGetHeader, &o))
}

// Exists reports whether there is such a record.
func (c *Client) Exists(ctx context.Context, key Key, opts ...Option) (bool, error) {
	o := c.options(opts)
	s := c.newCall(wire.KindGetHeader, &o)
	_, err := c.do(ctx, "exists", &key, s)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Delete removes the record; ErrNotFound if there is none. A delete that had
// to be sent again and then found nothing has done its work: nil. Option:
// WithGeneration.
func (c *Client) Delete(ctx context.Context, key Key, opts ...Option) error {
	o := c.options(opts)
	_, err := c.do(ctx, "delete", &key, c.newCall(wire.KindDelete, &o))
	return err
}

// Touch lets the record live ttl from now (zero or less: for ever) and counts
// as a write. Option: WithGeneration.
func (c *Client) Touch(ctx context.Context, key Key, ttl time.Duration, opts ...Option) error {
	o := c.options(opts)
	o.ttl = ttlSeconds(ttl)
	_, err := c.do(ctx, "touch", &key, c.newCall(wire.KindTouch, &o))
	return err
}

// Operate runs ops in order on one record, atomically; a record that is
// absent is made by the first op that writes. It is never sent twice unless
// all ops are reads: if its answer is lost it ends as ErrInDoubt. Results of
// the reads are in Record.Results. Options as Put.
func (c *Client) Operate(ctx context.Context, key Key, ops []record.Op, opts ...Option) (Record, error) {
	o := c.options(opts)
	s := c.newCall(wire.KindOperate, &o)
	s.call.readOnly = true
	for i := range ops {
		s.call.readOnly = s.call.readOnly && ops[i].Kind == record.OpRead
	}
	var err error
	if s.body, err = wire.AppendOps(s.body[:0], key.Set, storedKey(&key, &o), ops); err != nil {
		return Record{}, c.refuse(s, "operate", err)
	}
	s.call.Body = s.body
	rec, err := c.do(ctx, "operate", &key, s)
	if err != nil {
		return rec, err
	}
	rec.Results, err = wire.ParseResults(rec.Bins)
	rec.Bins = nil
	return rec, err
}

// syncCall is a Call that somebody waits for.
type syncCall struct {
	c     *Client
	call  Call
	body  []byte // kept for the next call
	bins  []byte // the answer's, fresh memory
	ended atomic.Bool
	done  chan struct{} // capacity 1
	err   error         // the request could not even be built
}

func newSyncCall() any {
	s := &syncCall{done: make(chan struct{}, 1)}
	s.call.Done = s.completed
	return s
}

// completed wakes the waiter, or frees the call if it has gone.
func (s *syncCall) completed(call *Call) {
	s.bins = bytes.Clone(call.Bins)
	if s.ended.Swap(true) {
		s.c.free(s)
		return
	}
	s.done <- struct{}{}
}

// keepBody is the largest buffer a pooled call keeps.
const keepBody = 64 << 10

func (c *Client) free(s *syncCall) {
	done, body := s.call.Done, s.body
	if cap(body) > keepBody {
		body = nil
	}
	s.call = Call{Done: done}
	s.bins, s.body, s.err = nil, body, nil
	s.ended.Store(false)
	c.syncs.Put(s)
}

// newCall prepares a call of the pool.
func (c *Client) newCall(kind wire.Kind, o *callOptions) *syncCall {
	s := c.syncs.Get().(*syncCall)
	s.c = c
	s.call.Kind, s.call.TTL = kind, o.ttl
	s.call.CheckGen, s.call.Generation = o.checkGen, o.generation
	s.call.Namespace, s.err = c.NamespaceIndex(o.namespace)
	return s
}

// refuse gives up a call that was never submitted.
func (c *Client) refuse(s *syncCall, op string, err error) error {
	c.free(s)
	return &OpError{Op: op, Status: wire.StatusBadRequest, Err: limitError(err)}
}

// limitError adds the client's name for a limit to the record package's.
func limitError(err error) error {
	if err == record.ErrTooBig {
		return ErrTooBig
	}
	return err
}

// do submits s and waits for the outcome.
func (c *Client) do(ctx context.Context, op string, key *Key, s *syncCall) (Record, error) {
	var err error
	if s.call.Digest, err = key.Digest(); err != nil {
		return Record{}, c.refuse(s, op, err)
	}
	if s.err != nil {
		return Record{}, c.refuse(s, op, s.err)
	}
	if s.call.Deadline, err = c.patience(ctx); err != nil {
		return Record{}, c.refuse(s, op, err)
	}
	if err := c.Submit(&s.call); err != nil {
		return Record{}, c.refuse(s, op, err)
	}
	select {
	case <-s.done:
	case <-ctx.Done():
		if ctx.Err() == context.DeadlineExceeded {
			<-s.done // the call has the same deadline and knows better how it ended
			break
		}
		// Look at the call only while it is ours: what happens to it is not
		// known yet.
		began, reads := s.call.Submitted, s.call.reads()
		if !s.ended.Swap(true) {
			return Record{}, abandoned(op, ctx.Err(), reads, c.Now().Sub(began))
		}
		<-s.done
	}
	defer c.free(s)
	call := &s.call
	rec := Record{Digest: call.Digest, Set: key.Set, Key: key.Value, Generation: call.Gen, Expiry: call.Expiry, Bins: s.bins}
	if call.Err != nil {
		return Record{}, call.opError(op, causeOf(ctx))
	}
	return rec, nil
}

// patience returns how long a call under ctx may take.
func (c *Client) patience(ctx context.Context) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	left := c.cfg.Timeout
	if at, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(at))
	}
	return max(left, time.Millisecond), nil
}

// causeOf returns why ctx ended, or is about to: the call has the same deadline
// and may see it first.
func causeOf(ctx context.Context) error {
	if at, ok := ctx.Deadline(); ok && ctx.Err() == nil && time.Until(at) <= 0 {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// opError makes the error of a call that failed; cause is that of its context,
// if it has ended.
func (call *Call) opError(op string, cause error) error {
	err := call.Err
	if cause != nil && (err == ErrTimeout || err == ErrInDoubt) {
		err = &contextError{cause, err}
	}
	return &OpError{Op: op, Node: call.Node, Status: call.Status, Last: call.Last, Attempts: int(call.Attempts),
		Elapsed: call.Completed.Sub(call.Submitted), Err: err}
}

// abandoned is the error of a call whose context ended first.
func abandoned(op string, cause error, reads bool, elapsed time.Duration) error {
	e := &OpError{Op: op, Status: wire.StatusInDoubt, Elapsed: elapsed, Err: &contextError{cause, ErrInDoubt}}
	if reads {
		e.Status, e.Err = wire.StatusTimeout, &contextError{cause, ErrTimeout}
	}
	return e
}

// contextError is a context's error together with the outcome it means.
type contextError struct{ cause, outcome error }

// Error gives both.
func (e *contextError) Error() string { return e.outcome.Error() + ": " + e.cause.Error() }

// Unwrap gives both.
func (e *contextError) Unwrap() []error { return []error{e.cause, e.outcome} }
