package main

import (
	"slices"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"headroom/loadgen/local"
	"headroom/loadgen/result"
)

// flushEvery and the two limits bound what a crash loses and what a run keeps
// in memory: events and samples wait for the zero of the time axis.
const (
	eventsMax  = 200_000
	samplesMax = 2_000_000
)

// recorder gathers what several goroutines see and gives it to the folder's
// writer in order of time. It is the drive.Sink and the local.Observer of a run.
type recorder struct {
	mu      sync.Mutex // guards all below and calls of w
	w       *result.Writer
	events  []local.Event
	samples []local.Sample
	// generator is what was written already, for means over the run.
	generator []result.GeneratorSample
}

func newRecorder(w *result.Writer) *recorder { return &recorder{w: w} }

// Interval implements drive.Sink.
func (r *recorder) Interval(op string, kind result.Kind, h *hdr.Histogram, from, to time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.w.Interval(op, kind, h, from, to)
}

// Generator takes a sample of the generator itself.
func (r *recorder) Generator(g result.GeneratorSample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.w.Generator(g)
	if len(r.generator) < samplesMax {
		r.generator = append(r.generator, g)
	}
}

// audit takes what the audit counted.
func (r *recorder) audit(s result.AuditSample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.w.Audit(s)
}

// Sample implements local.Observer.
func (r *recorder) Sample(s local.Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.samples) < samplesMax {
		r.samples = append(r.samples, s)
	}
}

// Event implements local.Observer.
func (r *recorder) Event(e local.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) < eventsMax {
		r.events = append(r.events, e)
	}
}

func (r *recorder) event(at time.Time, kind result.EventKind, node, what string) {
	r.Event(local.Event{At: at, Kind: kind, Node: node, What: what})
}

// evicted counts the records that nodes say they evicted since they started,
// by the greatest figure of each.
func (r *recorder) evicted() (sum int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	most := map[string]int64{}
	for i := range r.samples {
		s := &r.samples[i]
		most[s.Node] = max(most[s.Node], s.Evicted)
	}
	for _, n := range most {
		sum += n
	}
	return sum
}

// flush writes events and samples with zero as their t_s = 0.
func (r *recorder) flush(zero time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(r.events, func(a, b local.Event) int { return a.At.Compare(b.At) })
	for _, e := range r.events {
		r.w.Event(result.Event{TSec: e.At.Sub(zero).Seconds(), Kind: e.Kind, Node: e.Node, What: e.What})
	}
	for _, s := range r.samples {
		s.TSec = s.At.Sub(zero).Seconds()
		r.w.Node(s.Node, s.NodeSample)
		for _, d := range s.Devices {
			d.TSec = s.TSec
			r.w.Device(s.Node, d)
		}
	}
	r.events, r.samples = nil, nil
	r.w.Flush()
}
