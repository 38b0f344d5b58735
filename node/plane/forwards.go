package plane

import (
	"cmp"
	"slices"
	"sync"

	"headroom/node/cluster"
	"headroom/node/txn"
	"headroom/node/wire"
)

// maxForwards bounds the client requests a node has forwarded and awaits;
// beyond it a request is answered NotMaster and the client goes there itself.
const maxForwards = 16 << 10

// Forwards is the table of a node's requests that were forwarded and not yet
// answered. The zero value is empty. Its methods may be called from any
// goroutine.
type Forwards struct {
	mu     sync.Mutex // guards all below
	nextID uint64
	byID   map[uint64]Forwarded
}

// Forwarded is a request on its way to the node that masters its partition.
type Forwarded struct {
	Origin   txn.Origin
	id       uint64
	node     cluster.NodeID
	read     bool
	deadline cluster.Instant
}

// Lost is the outcome of a forwarded request that will not be answered.
func (f *Forwarded) Lost() wire.Status {
	if f.read {
		return wire.StatusUnavailable
	}
	return wire.StatusInDoubt
}

// Add notes a request that is about to be sent under the id returned; false
// means that there are too many.
func (f *Forwards) Add(to cluster.NodeID, q *txn.Request) (id uint64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.byID) >= maxForwards {
		return 0, false
	}
	if f.byID == nil {
		f.byID = map[uint64]Forwarded{}
	}
	f.nextID++
	read := q.Kind == wire.KindGet || q.Kind == wire.KindGetHeader
	f.byID[f.nextID] = Forwarded{Origin: q.From, id: f.nextID, node: to, read: read, deadline: q.Deadline}
	return f.nextID, true
}

// Take removes and returns one; false means that it has been answered already.
func (f *Forwards) Take(id uint64) (Forwarded, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.byID[id]
	delete(f.byID, id)
	return e, ok
}

// Len is how many await their answer.
func (f *Forwards) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.byID)
}

// Sweep removes and returns, oldest first, those sent to a node that is gone
// (gone not zero) and those overdue.
func (f *Forwards) Sweep(now cluster.Instant, gone cluster.NodeID) []Forwarded {
	var ended []Forwarded
	f.mu.Lock()
	for id, e := range f.byID {
		if e.node == gone || e.deadline != 0 && now >= e.deadline {
			ended = append(ended, e)
			delete(f.byID, id)
		}
	}
	f.mu.Unlock()
	slices.SortFunc(ended, func(a, b Forwarded) int { return cmp.Compare(a.id, b.id) })
	return ended
}
