package target

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"headroom/node/client"
	"headroom/node/record"
)

const (
	// fillSet names the records of a fill; no workload uses it.
	fillSet = "headroom-fill"
	// fillValue is large, so that bytes are filled and not requests answered.
	fillValue = 64 << 10
	// fillWorkers write at once: enough to fill at the devices' speed.
	fillWorkers = 8
	// fillMost bounds a fill in records, 8 GiB: a test of capacity wants small
	// devices (--set device-size=128MiB).
	fillMost = 8 << 30 / fillValue
	// fillRefused in a row end a fill: the node's other devices may have room.
	fillRefused = 64
	// fillRetry is how long a worker waits when a node says that it is busy.
	fillRetry = 5 * time.Millisecond
)

// Filler fills a cluster with records of its own until it refuses writes, and
// deletes them again, for runs that show what happens at capacity. It is used by
// one goroutine.
type Filler struct {
	c     *client.Client
	next  int64 // number of the next record; those below are written or were refused
	value []byte
}

// NewFiller connects to the nodes at seeds.
func NewFiller(ctx context.Context, seeds []string, credentials, namespace string) (*Filler, error) {
	c, err := client.Dial(ctx, client.Config{Seeds: seeds, Credentials: clientOf(credentials), Namespace: namespace, Name: "fill"})
	if err != nil {
		return nil, err
	}
	f := &Filler{c: c, value: make([]byte, fillValue)}
	for i := range f.value {
		f.value[i] = byte(i * 7) // not zeros: a file system may store those as nothing
	}
	return f, nil
}

// pause waits for d; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// Fill writes records that node (node3, or all) masters until writes are
// refused. The error says if they were not.
func (f *Filler) Fill(ctx context.Context, node string) error {
	var refused, written atomic.Int64
	err := f.each(ctx, f.next, f.next+fillMost, func(k client.Key) (more bool, err error) {
		if node != "all" {
			if ours, err := f.masters(node, k); err != nil || !ours {
				return err == nil, err
			}
		}
		err = f.c.Put(ctx, k, []record.Bin{{Name: "v", Value: record.Bytes(f.value)}})
		switch {
		case err == nil:
			written.Add(1)
			refused.Store(0)
			return true, nil
		case errors.Is(err, client.ErrStopWrites):
			return refused.Add(1) < fillRefused, nil
		case errors.Is(err, client.ErrBusy):
			return pause(ctx, fillRetry), nil
		}
		return true, nil // in doubt, or too slow: the next one tells
	})
	if err == nil && refused.Load() == 0 && ctx.Err() == nil {
		err = fmt.Errorf("%d records of 64 KiB did not fill it: give nodes less room (--set device-size=128MiB)", written.Load())
	}
	return err
}

// masters reports whether a node, by name, masters the record.
func (f *Filler) masters(node string, k client.Key) (bool, error) {
	d, err := k.Digest()
	if err != nil {
		return false, err
	}
	m := f.c.Map()
	for i := range m.Namespaces {
		at := int(m.Namespaces[i].Masters[d.Partition()])
		return at < len(m.Members) && m.Members[at].Node.String() == node, nil // local nodes have one namespace
	}
	return false, errors.New("the cluster has no namespace")
}

// Empty deletes what Fill wrote.
func (f *Filler) Empty(ctx context.Context) error {
	return f.each(ctx, 0, f.next, func(k client.Key) (bool, error) {
		for try := 0; try < 3; try++ {
			err := f.c.Delete(ctx, k)
			if err == nil || errors.Is(err, client.ErrNotFound) {
				break
			}
		}
		return ctx.Err() == nil, nil
	})
}

// each calls do for the keys from to below to from several goroutines, until
// one says that there is no more to do.
func (f *Filler) each(ctx context.Context, from, to int64, do func(k client.Key) (more bool, err error)) error {
	var next atomic.Int64
	next.Store(from)
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for range fillWorkers {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := next.Add(1) - 1
				if n >= to {
					return
				}
				k, err := client.NewKey(fillSet, record.Int(n))
				more := false
				if err == nil {
					more, err = do(k)
				}
				if err != nil || !more {
					once.Do(func() { first = err })
					stop()
				}
			}
		})
	}
	wg.Wait()
	f.next = max(f.next, min(next.Load(), to))
	return first
}

// Close ends the connection; a nil Filler has none.
func (f *Filler) Close() {
	if f != nil {
		f.c.Close()
	}
}
