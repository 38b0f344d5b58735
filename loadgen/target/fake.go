package target

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// fakeQueue bounds the operations waiting inside a Fake lane's stall.
const fakeQueue = 1 << 16

// ErrInjected is the error of every operation that a Fake fails on purpose.
var ErrInjected = errors.New("fake: injected fault")

// Fate is what a Fake does with one operation instead of executing it.
type Fate uint8

// The fates. Each works on the kinds it makes sense for and is otherwise Good.
const (
	Good       Fate = iota
	LoseWrite       // acknowledge a write without storing it
	StaleRead       // answer with the value before the last write
	FlipByte        // answer with one byte of the value flipped
	HideRecord      // answer "not found"
	FailIt          // end as Failed, not executed
	DoubtIt         // execute a write, then end as InDoubt
	DoubtLost       // end as InDoubt, not executed
)

// Fake is a map that answers inside Submit, for tests. Judge, if set, decides
// the fate of each operation (called under a lock, in order of execution). In
// a stall (Stall) operations wait in order and are answered when it is over.
type Fake struct {
	Judge func(op *Op) Fate

	mu       sync.Mutex // guards all below; no callback is made under it
	now      map[uint64][]byte
	previous map[uint64][]byte
	stalled  bool
	lanes    []*fakeLane
}

type fakeLane struct {
	f        *Fake
	complete func(*Result)
	waiting  []Op // guarded by f.mu; values are copies
}

// NewFake returns an empty store.
func NewFake() *Fake { return &Fake{now: map[uint64][]byte{}, previous: map[uint64][]byte{}} }

// NewLane implements Target.
func (f *Fake) NewLane(_ int, complete func(*Result)) (Lane, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &fakeLane{f: f, complete: complete}
	f.lanes = append(f.lanes, l)
	return l, nil
}

// Linearizable implements the interface; Judge may break the promise.
func (f *Fake) Linearizable() bool { return true }

// Close implements Target.
func (f *Fake) Close() error { return nil }

// Stall holds all operations for d from now on and blocks for as long; call it
// on a goroutine of its own.
func (f *Fake) Stall(d time.Duration) {
	f.mu.Lock()
	f.stalled = true
	f.mu.Unlock()
	<-time.After(d)
	f.mu.Lock()
	f.stalled = false
	type batch struct {
		l   *fakeLane
		ops []Op
	}
	var all []batch
	for _, l := range f.lanes {
		all = append(all, batch{l, l.waiting})
		l.waiting = nil
	}
	f.mu.Unlock()
	for _, b := range all {
		for i := range b.ops {
			b.l.answer(&b.ops[i])
		}
	}
}

// Drop forgets a record without trace, as a crash of all its copies would.
func (f *Fake) Drop(key uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.now, key)
}

// Submit implements Lane.
func (l *fakeLane) Submit(op *Op) error {
	l.f.mu.Lock()
	if l.f.stalled {
		defer l.f.mu.Unlock()
		if len(l.waiting) == fakeQueue {
			return ErrFull
		}
		held := *op
		held.Value = append([]byte(nil), op.Value...)
		held.Keys = slices.Clone(op.Keys)
		held.Values = make([][]byte, len(op.Values))
		for i, v := range op.Values {
			held.Values[i] = slices.Clone(v)
		}
		l.waiting = append(l.waiting, held)
		return nil
	}
	l.f.mu.Unlock()
	l.answer(op)
	return nil
}

func (l *fakeLane) answer(op *Op) {
	r := Result{Token: op.Token, Outcome: OK}
	if op.Kind == BatchRead || op.Kind == BatchWrite {
		one := Op{Kind: Read, TTL: op.TTL}
		for i, key := range op.Keys {
			one.Key = key
			if op.Kind == BatchWrite {
				one.Kind, one.Value = Write, op.Values[i]
			}
			item := Result{Token: op.Token, More: true, Item: i}
			l.f.mu.Lock()
			l.f.execute(&one, &item)
			l.f.mu.Unlock()
			if r.Outcome = max(r.Outcome, item.Outcome); item.Err != nil {
				r.Err = item.Err
			}
			l.complete(&item)
		}
		if r.Outcome == NotFound {
			r.Outcome = OK
		}
		l.complete(&r)
		return
	}
	l.f.mu.Lock()
	l.f.execute(op, &r)
	l.f.mu.Unlock()
	l.complete(&r)
}

// execute runs op against the maps; values are never changed in place, so a
// Result may be read without the lock.
func (f *Fake) execute(op *Op, r *Result) {
	fate := Good
	if f.Judge != nil {
		fate = f.Judge(op)
	}
	r.Outcome = OK
	switch fate {
	case FailIt:
		r.Outcome, r.Err = Failed, ErrInjected
		return
	case DoubtLost:
		r.Outcome, r.Err = InDoubt, ErrInjected
		return
	case DoubtIt:
		r.Outcome, r.Err = InDoubt, ErrInjected
	}
	switch op.Kind {
	case Read:
		f.read(op.Key, fate, r)
	case Write:
		if fate != LoseWrite {
			f.previous[op.Key] = f.now[op.Key]
			f.now[op.Key] = append([]byte(nil), op.Value...)
		}
	case Touch:
		if f.now[op.Key] == nil && r.Outcome == OK {
			r.Outcome = NotFound
		}
	case Delete:
		if _, ok := f.now[op.Key]; !ok && r.Outcome == OK {
			r.Outcome = NotFound
		}
		if fate != LoseWrite {
			delete(f.now, op.Key)
		}
	}
}

func (f *Fake) read(key uint64, fate Fate, r *Result) {
	v, ok := f.now[key]
	if fate == StaleRead && f.previous[key] != nil {
		v = f.previous[key]
	}
	if !ok || fate == HideRecord {
		r.Outcome = NotFound
		return
	}
	if fate == FlipByte {
		v = append([]byte(nil), v...)
		v[len(v)/2] ^= 0x40
	}
	r.Value = v
}

// Flush implements Lane.
func (l *fakeLane) Flush() {}

// Close implements Lane.
func (l *fakeLane) Close() error {
	l.f.mu.Lock()
	ops := l.waiting
	l.waiting = nil
	l.f.mu.Unlock()
	for i := range ops {
		l.complete(&Result{Token: ops[i].Token, Outcome: InDoubt, Err: ErrInjected})
	}
	return nil
}
