package sim

import "headroom/node/cluster"

// event is something that happens at an instant.
type event struct {
	at    cluster.Instant
	order uint64 // of two at one instant the one that was scheduled first comes first
	fn    func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.order < o.order }

// eventHeap is a heap with the next event first. That of the library would
// allocate twice for each event, of which a run has hundreds of thousands.
type eventHeap []event

func (h *eventHeap) push(e event) {
	*h = append(*h, e)
	q := *h
	at := len(q) - 1
	for at > 0 {
		up := (at - 1) / 2
		if !e.before(&q[up]) {
			break
		}
		q[at] = q[up]
		at = up
	}
	q[at] = e
}

func (h *eventHeap) pop() event {
	q := *h
	first, n := q[0], len(q)-1
	e := q[n]
	q[n] = event{}
	*h = q[:n]
	at := 0
	for {
		down := 2*at + 1
		if down >= n {
			break
		}
		if down+1 < n && q[down+1].before(&q[down]) {
			down++
		}
		if !q[down].before(&e) {
			break
		}
		q[at] = q[down]
		at = down
	}
	if n > 0 {
		q[at] = e
	}
	return first
}
