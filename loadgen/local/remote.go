package local

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// remoteMax bounds the nodes of a remote cluster that are watched.
const remoteMax = 256

// Asker asks the node at an address for its headroom-status/1 answer.
type Asker interface {
	Ask(ctx context.Context, addr string) ([]byte, error)
}

// WatchRemote polls a cluster that somebody else runs, once a second and node:
// the seeds, and whoever they name as members. There are no faults of ours and
// no processes to sample. linkSpeed is that of the nodes' interfaces in bits a
// second where it is known better than their kernels know it; else zero. Close
// ends it.
func WatchRemote(asker Asker, seeds []string, linkSpeed int64, o Observer) *Watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watcher{c: &Cluster{}, linkSpeed: linkSpeed, o: o, cancel: cancel, latest: map[string]*look{}}
	r := &remote{w: w, asker: asker, known: map[string]bool{}}
	w.wg.Go(func() { r.run(ctx, seeds) })
	return w
}

// remote is the state of a WatchRemote; it belongs to run's goroutine.
type remote struct {
	w     *Watcher
	asker Asker
	known map[string]bool // addresses that are polled
	found chan string
}

// run starts a poller for each address and for those that they find.
func (r *remote) run(ctx context.Context, seeds []string) {
	r.found = make(chan string, remoteMax)
	for _, s := range seeds {
		r.add(ctx, s)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case addr := <-r.found:
			r.add(ctx, addr)
		}
	}
}

func (r *remote) add(ctx context.Context, addr string) {
	if !r.known[addr] && len(r.known) < remoteMax {
		r.known[addr] = true
		r.w.wg.Go(func() { r.poll(ctx, addr) })
	}
}

// poll asks one node once a second. Until its first answer it has no name and
// no samples; when the node of that name is polled at another address already
// (a seed's alias), it ends.
func (r *remote) poll(ctx context.Context, addr string) {
	tick := time.NewTicker(slowPoll)
	defer tick.Stop()
	var n *node
	for {
		asked := time.Now()
		s, err := r.status(ctx, addr)
		if ctx.Err() != nil {
			return
		}
		if err == nil && n == nil {
			if n = r.w.claim(s.Node); n == nil {
				return
			}
		}
		if n != nil {
			r.w.saw(n, asked, s)
		}
		if s != nil {
			for _, m := range s.Members {
				select {
				case r.found <- m.Addr:
				default: // more than are watched
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *remote) status(ctx context.Context, addr string) (*Status, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	text, err := r.asker.Ask(ctx, addr)
	if err != nil {
		return nil, err
	}
	return parseStatus(text)
}

// claim takes the name of a node for one poller; nil when it is taken.
func (w *Watcher) claim(name string) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.latest[name] != nil {
		return nil
	}
	w.latest[name] = &look{}
	return &node{name: name}
}

// parseStatus reads a status answer.
func parseStatus(text []byte) (*Status, error) {
	var s Status
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	if s.Format != "headroom-status/1" {
		return nil, fmt.Errorf("status: format %q, this program reads headroom-status/1", s.Format)
	}
	s.raw = text
	return &s, nil
}

// Raw returns the last status answer of each node that gave one, by name.
func (w *Watcher) Raw() map[string][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string][]byte{}
	for name, l := range w.latest {
		if l.raw != nil {
			out[name] = l.raw
		}
	}
	return out
}
