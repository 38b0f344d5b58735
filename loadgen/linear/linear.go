// Package linear owns the question whether what a store answered about a few
// sampled keys has an order in which it could have happened one operation at a
// time (linearizability; Herlihy and Wing 1990). It records histories while a
// run goes on and has porcupine judge them afterwards. It sends nothing and
// knows no target.
//
// The invariant to know: a history that Check calls a violation is one. Windows
// begin and end when what is in flight is known, and what is not certain (a
// write in doubt, a value from before the window) is given every freedom.
//
// Writes to one key do not overlap, and each carries the next sequence of its
// key: the generator sees to both. What is left to judge is whether reads agree
// with them, and with each other.
//
// Start reading at Sampler.
package linear

import (
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	// windowOps closes a window: the judge's memory grows with the square of it.
	windowOps = 300
	// operationsMax bounds what a run keeps: 10 MB, judged within seconds.
	operationsMax = 200_000
	// absent is the state of a record that does not exist, unknown that at the
	// start of a window; sequences begin at 1.
	absent  = 0
	unknown = -1
)

// State is what is known of a key at one instant: the sequence of the last
// write submitted, and whether that and all before have a certain end.
type State struct {
	Submitted uint32
	Certain   bool
}

// event is one finished operation of a key.
type event struct {
	call, ret time.Duration
	value     int64 // sequence, or absent
	write     bool
}

// window is a stretch of a key's history.
type window struct {
	from, to       time.Duration // to is zero while open
	after, through uint32        // sequences of the writes that belong to it: after < s <= through
	events         []event
}

// Sampler records the histories of the keys it was made for. Safe for
// concurrent use.
type Sampler struct {
	every time.Duration
	bloom [1 << 10]bool // of the keys: almost all others are told by one look
	index map[uint64]*history

	mu    sync.Mutex // guards all below and the histories
	total int
}

type history struct{ windows []*window }

// New returns a Sampler of the given keys, whose windows begin at least every
// apart.
func New(keys []uint64, every time.Duration) *Sampler {
	s := &Sampler{every: every, index: map[uint64]*history{}}
	for _, k := range keys {
		s.index[k] = &history{}
		s.bloom[k%uint64(len(s.bloom))] = true
	}
	return s
}

// Sampled reports whether the key is recorded. A nil Sampler records none.
func (s *Sampler) Sampled(key uint64) bool {
	if s == nil || !s.bloom[key%uint64(len(s.bloom))] {
		return false
	}
	_, ok := s.index[key]
	return ok
}

// Look opens or closes a window of a sampled key if it is time. It is called
// now and then, before a read is submitted; state must be read when called.
func (s *Sampler) Look(key uint64, now func() time.Duration, state func() State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.index[key]
	if n := len(h.windows); n > 0 {
		w := h.windows[n-1]
		switch {
		case w.to == 0 && len(w.events) >= windowOps:
			w.to = now() // before the state: a later write is not in it
			w.through = state().Submitted
			return
		case w.to == 0 || now() < w.from+s.every:
			return
		}
	}
	if s.total >= operationsMax {
		return
	}
	// The state first: whatever was submitted up to it has ended before from.
	if st := state(); st.Certain {
		h.windows = append(h.windows, &window{from: now(), after: st.Submitted, through: math.MaxUint32})
	}
}

// Read records a read of a sampled key that was answered: the sequence found,
// zero for not found.
func (s *Sampler) Read(key uint64, call, ret time.Duration, seq uint32) {
	s.add(key, event{call: call, ret: ret, value: int64(seq)}, seq)
}

// Write records a write or delete of a sampled key that was acknowledged or is
// in doubt; one that certainly failed is not to be recorded.
func (s *Sampler) Write(key uint64, call, ret time.Duration, seq uint32, deleted, inDoubt bool) {
	e := event{call: call, ret: ret, value: int64(seq), write: true}
	if deleted {
		e.value = absent
	}
	if inDoubt {
		e.ret = math.MaxInt64
	}
	s.add(key, e, seq)
}

func (s *Sampler) add(key uint64, e event, seq uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= operationsMax+windowOps*len(s.index) {
		return // open windows were let run on beyond the limit; reads only are missing from here on
	}
	list := s.index[key].windows
	for i := len(list) - 1; i >= 0 && i >= len(list)-2; i-- {
		w := list[i]
		in := e.call >= w.from && (w.to == 0 || e.call <= w.to)
		if e.write {
			in = seq > w.after && seq <= w.through
		}
		if in {
			w.events = append(w.events, e)
			s.total++
			return
		}
	}
}

// Verdict is what Check found.
type Verdict struct {
	Keys, Windows, Operations int
	Violations                int // windows without any possible order
	Undecided                 int // not judged within the time
	Violated                  []uint64
	Judged                    []Judged // windows, by key and time
}

// Judged is one window.
type Judged struct {
	Key        uint64
	From       time.Duration // of its begin
	Operations int
	Outcome    Outcome
}

// Outcome is what became of a window.
type Outcome int

// The outcomes.
const (
	Fits Outcome = iota
	Violates
	Undecided
)

// Check judges all windows and takes at most about budget for it. Nothing may
// be recorded meanwhile or afterwards.
func (s *Sampler) Check(budget time.Duration) (v Verdict) {
	deadline := time.Now().Add(budget)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(s.index)) {
		before := v.Windows
		for _, w := range s.index[key].windows {
			if len(w.events) == 0 {
				continue
			}
			j := Judged{Key: key, From: w.from, Operations: len(w.events), Outcome: w.judge(time.Until(deadline))}
			v.Judged = append(v.Judged, j)
			v.Windows++
			v.Operations += j.Operations
			switch j.Outcome {
			case Violates:
				v.Violations++
				v.Violated = append(v.Violated, key)
			case Undecided:
				v.Undecided++
			}
		}
		if v.Windows > before {
			v.Keys++
		}
	}
	return v
}

// judge takes at most about left for a window.
func (w *window) judge(left time.Duration) Outcome {
	if left <= 0 {
		return Undecided
	}
	switch porcupine.CheckOperationsTimeout(register, w.operations(), left) {
	case porcupine.Illegal:
		return Violates
	case porcupine.Unknown:
		return Undecided
	}
	return Fits
}

// operations is the window in porcupine's terms. A read of a write that was
// submitted after the window's end constrains nothing that is in it.
func (w *window) operations() []porcupine.Operation {
	list := make([]porcupine.Operation, 0, len(w.events))
	for _, e := range w.events {
		if !e.write && e.value > int64(w.through) {
			continue
		}
		list = append(list, porcupine.Operation{Input: e.write, Output: e.value, Call: int64(e.call), Return: int64(e.ret)})
	}
	return list
}

// register is one record: a read gives what the last write wrote. The first
// operation of a window may find anything.
var register = porcupine.Model{
	Init: func() any { return int64(unknown) },
	Step: func(state, write, value any) (bool, any) {
		if write.(bool) || state.(int64) == unknown {
			return true, value
		}
		return state == value, state
	},
}
