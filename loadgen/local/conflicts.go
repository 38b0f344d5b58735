package local

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"headroom/loadgen/result"
)

// conflict names what the discarded versions of one node are counted by.
type conflict struct{ node, namespace, cause string }

// process is told from another by its id, or by having begun later.
type process struct {
	pid     int
	uptimeS float64
}

// conflicts adds up what the nodes say they discarded after splits. Their
// counters begin anew with each process; what a process had counted by its last
// answer stays. Within a process they may fall: of two nodes that counted the same
// version one takes it back.
type conflicts struct {
	last map[conflict]int64 // by the process that runs
	gone map[conflict]int64 // by those before it
	of   map[string]process // that gave each node's last answer
}

// saw takes in one answer and says in words what is new in it, empty if nothing.
func (c *conflicts) saw(node string, s *Status) string {
	if c.last == nil {
		c.last, c.gone, c.of = map[conflict]int64{}, map[conflict]int64{}, map[string]process{}
	}
	is := process{s.Process.PID, s.Process.UptimeS}
	was, seen := c.of[node]
	another := seen && (was.pid != is.pid || is.uptimeS < was.uptimeS)
	c.of[node] = is
	var news []string
	for _, ns := range s.Namespaces {
		for _, cause := range slices.Sorted(maps.Keys(ns.Conflicts)) {
			k, n := conflict{node, ns.Name, cause}, ns.Conflicts[cause]
			before := c.last[k]
			if another {
				c.gone[k] += before
				before = 0
			}
			if n > before {
				news = append(news, fmt.Sprintf("%d acknowledged versions of namespace %s discarded after a split (%s)", n-before, ns.Name, cause))
			}
			c.last[k] = n
		}
	}
	return strings.Join(news, "; ")
}

// sum is all of it by namespace and cause, in their order.
func (c *conflicts) sum() []result.Conflict {
	sums := map[result.Conflict]int64{}
	for _, m := range []map[conflict]int64{c.last, c.gone} {
		for k, n := range m {
			sums[result.Conflict{Namespace: k.namespace, Cause: k.cause}] += n
		}
	}
	list := []result.Conflict{}
	for k, n := range sums {
		k.Discarded = n
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b result.Conflict) int {
		return strings.Compare(a.Namespace+"\x00"+a.Cause, b.Namespace+"\x00"+b.Cause)
	})
	return list
}

// Conflicts returns how many acknowledged versions the nodes discarded after
// splits, by namespace and cause, as of their last answers.
func (w *Watcher) Conflicts() []result.Conflict {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conflicts.sum()
}
