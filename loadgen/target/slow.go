package target

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// slowHelpers bounds the goroutines of a lane that serve its slow operations.
// An operation beyond them waits in the lane, where its wait is the
// generator's lateness, not in a queue here, where it would look like the
// target's service time.
const slowHelpers = 256

// slowLane runs operations that wait for several answers, or whose driver has
// no asynchronous path, on goroutines of its own. It starts one when all others
// are busy and keeps it: none is started per operation, and what an operation
// needs is memory of an earlier one.
type slowLane struct {
	serve    func(*Op, *Result) // fills in all but the token; reports the items of a batch itself
	complete func(*Result)
	most     int
	queue    chan *Op     // capacity most: a send never blocks
	busy     atomic.Int32 // operations that were submitted and not served yet
	wg       sync.WaitGroup

	started int // touched by submit only
	shut    bool

	mu   sync.Mutex // guards free
	free []*Op      // with their own memory for keys and values
}

// newSlowLane makes a lane for at most inFlight operations; see slowHelpers.
func newSlowLane(inFlight int, complete func(*Result), serve func(*Op, *Result)) *slowLane {
	most := max(1, min(inFlight, slowHelpers))
	return &slowLane{serve: serve, complete: complete, most: most, queue: make(chan *Op, most)}
}

// submit hands a copy of op to a helper.
func (s *slowLane) submit(op *Op) error {
	if s.shut {
		return errors.New("target: the lane is closed")
	}
	busy := int(s.busy.Add(1))
	if busy > s.most {
		s.busy.Add(-1)
		return ErrFull
	}
	if busy > s.started {
		s.started++
		s.wg.Go(s.help)
	}
	s.queue <- s.copy(op)
	return nil
}

func (s *slowLane) help() {
	for o := range s.queue {
		r := Result{Token: o.Token, Outcome: OK}
		s.serve(o, &r)
		// Its place is free before the lane is told, which then finds it.
		s.busy.Add(-1)
		s.complete(&r)
		s.give(o)
	}
}

// copy returns a deep copy of op in memory of an earlier one.
func (s *slowLane) copy(op *Op) *Op {
	s.mu.Lock()
	var o *Op
	if n := len(s.free); n > 0 {
		o, s.free = s.free[n-1], s.free[:n-1]
	} else {
		o = &Op{}
	}
	s.mu.Unlock()
	value, keys, values := o.Value, o.Keys, o.Values
	*o = *op
	o.Value = append(value[:0], op.Value...)
	o.Keys = append(keys[:0], op.Keys...)
	o.Values = slices.Grow(values[:0], len(op.Values))[:len(op.Values)]
	for i, v := range op.Values {
		o.Values[i] = append(o.Values[i][:0], v...)
	}
	return o
}

func (s *slowLane) give(o *Op) {
	s.mu.Lock()
	s.free = append(s.free, o)
	s.mu.Unlock()
}

// close serves what was submitted and returns when no helper runs.
func (s *slowLane) close() {
	if !s.shut {
		s.shut = true
		close(s.queue)
	}
	s.wg.Wait()
}
