package target

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// slowHelpers bounds the goroutines of a lane that serve its slow operations.
const slowHelpers = 64

// slowLane runs operations that wait for several answers, or whose driver has
// no asynchronous path, on goroutines of their own; the others need none. It
// starts helpers as they are needed, at most slowHelpers.
type slowLane struct {
	serve func(*Op)
	queue chan *Op // capacity: the lane's limit
	idle  atomic.Int32
	wg    sync.WaitGroup

	started int // touched by submit only
	shut    bool

	mu   sync.Mutex // guards free
	free []*Op      // with their own memory for keys and values
}

func newSlowLane(inFlight int, serve func(*Op)) *slowLane {
	return &slowLane{serve: serve, queue: make(chan *Op, inFlight)}
}

// submit hands a copy of op to a helper.
func (s *slowLane) submit(op *Op) error {
	if s.shut {
		return errors.New("target: the lane is closed")
	}
	o := s.copy(op)
	select {
	case s.queue <- o:
	default:
		s.give(o)
		return ErrFull
	}
	if s.idle.Load() == 0 && s.started < slowHelpers {
		s.started++
		s.wg.Go(s.help)
	}
	return nil
}

func (s *slowLane) help() {
	for {
		s.idle.Add(1)
		o, ok := <-s.queue
		s.idle.Add(-1)
		if !ok {
			return
		}
		s.serve(o)
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

// close serves what is queued and returns when no helper runs.
func (s *slowLane) close() {
	if !s.shut {
		s.shut = true
		close(s.queue)
	}
	s.wg.Wait()
}
