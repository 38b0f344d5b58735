package rig

import (
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"headroom/loadgen/local"
	"headroom/loadgen/result"
)

// Rates gathers the response times of each second, and what the watcher says
// of each node. It is a drive.Sink and a local.Observer.
type Rates struct {
	mu      sync.Mutex // guards all below
	seconds map[time.Time]*hdr.Histogram
	nodes   map[string]local.Sample // the latest
}

func newRates() *Rates {
	return &Rates{seconds: map[time.Time]*hdr.Histogram{}, nodes: map[string]local.Sample{}}
}

func (r *Rates) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.seconds)
}

// Interval implements drive.Sink: all operations together.
func (r *Rates) Interval(_ string, kind result.Kind, h *hdr.Histogram, from, _ time.Time) {
	if kind != result.Response {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seconds[from] == nil {
		r.seconds[from] = result.NewHistogram()
	}
	r.seconds[from].Merge(h)
}

// Sample implements local.Observer.
func (r *Rates) Sample(s local.Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nodes[s.Node] = s
}

// Event implements local.Observer.
func (r *Rates) Event(local.Event) {}

// Node is the latest sample of a node.
func (r *Rates) Node(name string) (local.Sample, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.nodes[name]
	return s, ok
}

// Between merges the seconds that lie within from and to; when the window is
// too short to hold a whole one, the seconds that it touches.
func (r *Rates) Between(from, to time.Time) *hdr.Histogram {
	r.mu.Lock()
	defer r.mu.Unlock()
	whole, touched := result.NewHistogram(), result.NewHistogram()
	for at, h := range r.seconds {
		end := at.Add(time.Second)
		if !at.Before(from) && !end.After(to) {
			whole.Merge(h)
		}
		if end.After(from) && at.Before(to) {
			touched.Merge(h)
		}
	}
	if whole.TotalCount() > 0 {
		return whole
	}
	return touched
}
