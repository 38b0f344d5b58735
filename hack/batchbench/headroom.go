package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headroom/node/client"
	"headroom/node/record"
	"headroom/node/wire"
)

// headroom loads a cluster through the public client.
type headroom struct {
	c      *config
	client *client.Client
	keys   []client.Key
	bins   []record.Bin
	body   []byte // the same as a flat record

	mu  sync.Mutex // guards all below
	err error      // the first failure
}

func openHeadroom(c *config) (*headroom, error) {
	h := &headroom{c: c, keys: make([]client.Key, c.records)}
	var err error
	for i := range h.keys {
		if h.keys[i], err = client.NewKey("", record.Int(int64(i))); err != nil {
			return nil, err
		}
	}
	h.bins = []record.Bin{{Name: "v", Value: record.Bytes(bytes.Repeat([]byte("v"), c.valueSize))}}
	if h.body, err = record.AppendBody(nil, "", record.Value{}, h.bins); err != nil {
		return nil, err
	}
	h.client, err = client.Dial(context.Background(), client.Config{
		Seeds: strings.Split(c.target, ","), Credentials: c.credentials, Name: "batchbench"})
	return h, err
}

func (h *headroom) close() error { return h.client.Close() }

// prepare waits for the members and writes every record once.
func (h *headroom) prepare(ctx context.Context) error {
	for len(h.client.Members()) < h.c.nodes {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster has %d members, want %d", len(h.client.Members()), h.c.nodes)
		case <-time.After(20 * time.Millisecond):
		}
	}
	const step = 256 // records per batch
	list := make([]client.KeyBins, 0, step)
	for from := 0; from < len(h.keys); from += step {
		list = list[:0]
		for _, k := range h.keys[from:min(from+step, len(h.keys))] {
			list = append(list, client.KeyBins{Key: k, Bins: h.bins})
		}
		res, err := h.client.BatchPut(ctx, list)
		if err := worst(res, err); err != nil {
			return err
		}
	}
	return nil
}

func worst(res []client.Result, err error) error {
	for i := range res {
		if err == nil {
			err = res[i].Err
		}
	}
	return err
}

func (h *headroom) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
	}
}

func (h *headroom) run(ctx context.Context, done *atomic.Uint64) error {
	var wg sync.WaitGroup
	for i := range h.c.inFlight {
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		switch h.c.mode {
		case "batch-get":
			wg.Go(func() { h.batchGets(ctx, rng, done) })
		case "batch-put":
			wg.Go(func() { h.batchPuts(ctx, rng, done) })
		default:
			wg.Add(1)
			h.single(ctx, rng, done, &wg)
		}
	}
	wg.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// single keeps one request in flight: the answer of one sends the next.
func (h *headroom) single(ctx context.Context, rng *rand.Rand, done *atomic.Uint64, wg *sync.WaitGroup) {
	call := &client.Call{Kind: wire.KindGet}
	if h.c.mode == "put" {
		call.Kind, call.Body = wire.KindPut, h.body
	}
	next := func() {
		call.Digest, _ = h.keys[rng.IntN(len(h.keys))].Digest()
		err := ctx.Err()
		if err == nil {
			if err = h.client.Submit(call); err != nil {
				h.failed(err)
			}
		}
		if err != nil {
			wg.Done()
		}
	}
	call.Done = func(call *client.Call) {
		if call.Err != nil {
			h.failed(call.Err)
			wg.Done()
			return
		}
		done.Add(1)
		next()
	}
	next()
}

func (h *headroom) batchGets(ctx context.Context, rng *rand.Rand, done *atomic.Uint64) {
	keys := make([]client.Key, h.c.batch)
	for ctx.Err() == nil {
		for i := range keys {
			keys[i] = h.keys[rng.IntN(len(h.keys))]
		}
		res, err := h.client.BatchGet(context.Background(), keys)
		if !h.took(res, err, done) {
			return
		}
	}
}

func (h *headroom) batchPuts(ctx context.Context, rng *rand.Rand, done *atomic.Uint64) {
	list := make([]client.KeyBins, h.c.batch)
	for ctx.Err() == nil {
		for i := range list {
			list[i] = client.KeyBins{Key: h.keys[rng.IntN(len(h.keys))], Bins: h.bins}
		}
		res, err := h.client.BatchPut(context.Background(), list)
		if !h.took(res, err, done) {
			return
		}
	}
}

// took counts the records of a batch, unless one of them failed.
func (h *headroom) took(res []client.Result, err error, done *atomic.Uint64) bool {
	if err := worst(res, err); err != nil {
		h.failed(errors.Join(errors.New("a record of a batch failed"), err))
		return false
	}
	done.Add(uint64(len(res)))
	return true
}
