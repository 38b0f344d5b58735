package main

import (
	"slices"
	"strings"
	"sync"
	"time"

	"headroom/loadgen/live"
	"headroom/loadgen/local"
	"headroom/loadgen/target"
)

// nodeTable joins what the watcher of local nodes and the target's client know
// of the nodes. Safe for concurrent use; the zero value is empty.
type nodeTable struct {
	mu      sync.Mutex // guards all below
	lister  target.NodeLister
	sampled map[string]live.Node
	answers map[string]int64
	at      time.Time // of answers
}

// follow takes the client's view of a target, if it has one.
func (n *nodeTable) follow(t target.Target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lister, _ = t.(target.NodeLister)
}

// sample takes a look at a local node.
func (n *nodeTable) sample(s local.Sample) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sampled == nil {
		n.sampled = map[string]live.Node{}
	}
	n.sampled[s.Node] = live.Node{Name: s.Node, Up: s.Up, View: s.ViewKey, Masters: s.Masters, PartitionsLeft: s.PartitionsLeft,
		CPUPct: s.CPUPct, RSSBytes: s.RSSBytes, OpsPerSec: -1}
}

// second returns the table, with rates since the last call.
func (n *nodeTable) second(now time.Time) []live.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := map[string]live.Node{}
	for name, s := range n.sampled {
		all[name] = s
	}
	if n.lister != nil {
		view, states := n.lister.NodeStates()
		answers := map[string]int64{}
		for _, s := range states {
			answers[s.Name] = s.Answers
			row, sampled := all[s.Name]
			if !sampled {
				row = live.Node{Name: s.Name, Up: true, View: view, Masters: int64(s.Masters), OpsPerSec: -1}
			}
			if old, ok := n.answers[s.Name]; ok && now.After(n.at) {
				row.OpsPerSec = float64(s.Answers-old) / now.Sub(n.at).Seconds()
			}
			all[s.Name] = row
		}
		n.answers, n.at = answers, now
	}
	list := make([]live.Node, 0, len(all))
	for _, row := range all {
		list = append(list, row)
	}
	slices.SortFunc(list, func(a, b live.Node) int {
		if len(a.Name) != len(b.Name) { // node2 before node10
			return len(a.Name) - len(b.Name)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}
