package rig

import (
	"sync"

	"headroom/loadgen/local"
)

// Looks keeps the watcher's latest sample of each node. It is a local.Observer.
type Looks struct {
	mu    sync.Mutex // guards nodes
	nodes map[string]local.Sample
}

func newLooks() *Looks { return &Looks{nodes: map[string]local.Sample{}} }

// Sample implements local.Observer.
func (l *Looks) Sample(s local.Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes[s.Node] = s
}

// Event implements local.Observer.
func (l *Looks) Event(local.Event) {}

// Node is the latest sample of a node.
func (l *Looks) Node(name string) (local.Sample, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.nodes[name]
	return s, ok
}
