package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headroom/node/client"
	"headroom/node/record"
)

// The split test has two sides with a client each, and three kinds of keys:
// shared ones, which both sides write while they are apart and nobody else,
// and those of either side, which it alone writes all the time. So every
// acknowledged write that a merge discards is known: it is the older of two on
// a shared key.
const (
	sharedKeys   = 600
	ownKeys      = 300 // per side
	workersASide = 50
	opTimeout    = 400 * time.Millisecond // a third of the partitions is on the other side
	splitFor     = 10 * time.Second
)

// value is what a record holds: who wrote it, and its number of that writer
// on that key.
type value struct {
	side string
	seq  int64
}

func (v value) bins() []record.Bin {
	return []record.Bin{{Name: "side", Value: record.String(v.side)}, {Name: "seq", Value: record.Int(v.seq)}}
}

func valueOf(r *client.Record) (v value, err error) {
	side, ok1 := r.Get("side")
	seq, ok2 := r.Get("seq")
	if !ok1 || !ok2 {
		return v, errors.New("a record without its bins")
	}
	v.side, _ = side.Str()
	v.seq, _ = seq.Int()
	return v, nil
}

// writes is what one side knows of its writes to one key.
type writes struct {
	sent, acked int64
	ackedAt     time.Time // wall clock of both sides is one here
	maybe       bool      // a write while apart is in doubt
	cutting     bool      // a write was in flight while the network was cut
}

// side is one half of the cluster with its client.
type side struct {
	name    string
	c       *client.Client
	members []int

	mu     sync.Mutex // guards all below
	shared [sharedKeys]writes
	own    [ownKeys]writes
	after  [sharedKeys]value // what reads after the merge gave
	finds  map[string]int
	notes  []string
	ops    map[string]int
}

// apart is the course of the test as the workers see it.
type apart struct {
	phase atomic.Int32
	calm  bool          // nobody writes while the network is cut, so that no write is ambiguous
	late  time.Duration // node 2 finds the way to node 4 by that later than the others
	sides [2]*side
}

const (
	together int32 = iota // before the cut, and from the heal on
	cutting               // the cut is made, the Views are not there yet
	divided               // each side is in a View of its own: shared keys are written
	healing               // shared keys are no longer written
	merged                // both clients see one View of four
	over
)

func (s *side) find(what, format string, args ...any) {
	s.finds[what]++
	if len(s.notes) < 20 {
		s.notes = append(s.notes, what+": "+fmt.Sprintf(format, args...))
	}
}

func sharedKey(i int) client.Key {
	return client.Key{Set: "split", Value: record.String(fmt.Sprintf("shared%d", i))}
}

func (s *side) ownKey(i int) client.Key {
	return client.Key{Set: "split", Value: record.String(fmt.Sprintf("%s%d", s.name, i))}
}

// write writes the next value of a key of this worker and notes what became of it.
func (s *side) write(ctx context.Context, a *apart, key client.Key, w *writes) {
	s.mu.Lock()
	w.sent++
	v := value{s.name, w.sent}
	s.mu.Unlock()
	began := a.phase.Load()
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	err := s.c.Put(ctx, key, v.bins())
	s.mu.Lock()
	defer s.mu.Unlock()
	if began == cutting || !a.calm && began == together && a.phase.Load() != together {
		w.cutting = true
	}
	switch {
	case err == nil:
		w.acked, w.ackedAt = v.seq, time.Now()
		s.ops["write"]++
	case errors.Is(err, client.ErrInDoubt):
		w.maybe = true
		s.ops["write in doubt"]++
	default:
		s.ops["write failed"]++
	}
}

// read reads a key and returns its value, and false if it could not be read.
func (s *side) read(ctx context.Context, key client.Key) (value, bool) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	r, err := s.c.Get(ctx, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, client.ErrNotFound):
		s.find("false not found", "%v on side %s", key.Value, s.name)
		return value{}, false
	case err != nil:
		s.ops["read failed"]++
		return value{}, false
	}
	v, err := valueOf(&r)
	if err != nil {
		s.find("corrupt", "%v: %v", key.Value, err)
		return value{}, false
	}
	s.ops["read"]++
	return v, true
}

// fresh reads a key that this side alone writes now; a value older than what
// was acknowledged before the read began is stale.
func (s *side) fresh(ctx context.Context, key client.Key, w *writes) {
	s.mu.Lock()
	acked := w.acked
	s.mu.Unlock()
	v, ok := s.read(ctx, key)
	if !ok || acked == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.side != s.name || v.seq < acked {
		s.find("stale read", "%v on side %s: read %v, acknowledged %d", key.Value, s.name, v, acked)
	}
}

// settledRead reads a shared key after the merge: nobody writes it any more, so
// all reads on both sides must give one value.
func (s *side) settledRead(ctx context.Context, a *apart, i int) {
	v, ok := s.read(ctx, sharedKey(i))
	if !ok {
		return
	}
	for _, o := range a.sides {
		o.mu.Lock()
		first := o.after[i]
		if first.side == "" && o == s {
			o.after[i] = v
		}
		o.mu.Unlock()
		if first.side != "" && first != v {
			s.mu.Lock()
			s.find("stale read after the merge", "shared%d on side %s: %v, before %v on side %s", i, s.name, v, first, o.name)
			s.mu.Unlock()
		}
	}
}

// work is one worker: it owns the keys i with i mod workersASide = id.
func (s *side) work(ctx context.Context, a *apart, id int) {
	r := rand.New(rand.NewPCG(uint64(id), uint64(len(s.name))<<8|uint64(s.name[0])))
	pick := func(n int) int { return r.IntN(n/workersASide)*workersASide + id }
	for ctx.Err() == nil {
		phase := a.phase.Load()
		i, j := pick(sharedKeys), pick(ownKeys)
		switch r.IntN(4) {
		case 0:
			if phase != cutting || !a.calm {
				s.write(ctx, a, s.ownKey(j), &s.own[j])
			}
		case 1:
			s.fresh(ctx, s.ownKey(j), &s.own[j])
		case 2:
			if phase == divided {
				s.write(ctx, a, sharedKey(i), &s.shared[i])
			}
		case 3:
			switch phase {
			case divided:
				s.fresh(ctx, sharedKey(i), &s.shared[i])
			case merged:
				s.settledRead(ctx, a, i)
			default:
				s.read(ctx, sharedKey(i))
			}
		}
		_ = sleep(ctx, 10*time.Millisecond)
		if a.phase.Load() == over {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sees waits until the side's client routes by a View of n members.
func (s *side) sees(t *testing.T, n int, limit time.Duration) {
	t.Helper()
	began := time.Now()
	for len(s.c.Members()) != n {
		if time.Since(began) > limit {
			t.Fatalf("side %s sees %d members after %v, want %d", s.name, len(s.c.Members()), limit, n)
		}
		wait(t, 5*time.Millisecond)
	}
}

func newSide(t *testing.T, m *machines, name string, machine int, members ...int) *side {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Config{Seeds: m.seeds(members...), Credentials: filepath.Join(m.dir, "client"),
		Name: "e2e-" + name, PacketConn: m.socket(t, machine)})
	if err != nil {
		t.Fatal(err, m.logs())
	}
	t.Cleanup(func() { c.Close() })
	return &side{name: name, c: c, members: members, finds: map[string]int{}, ops: map[string]int{}}
}

// prepare writes every key once.
func (s *side) prepare(t *testing.T) {
	t.Helper()
	put := func(key client.Key, v value) {
		if err := s.c.Put(t.Context(), key, v.bins()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range ownKeys {
		s.own[i] = writes{sent: 1, acked: 1}
		put(s.ownKey(i), value{s.name, 1})
	}
	if s.name == "A" {
		for i := range sharedKeys {
			put(sharedKey(i), value{"both", 1})
		}
	}
}

func TestASplitHealsWithEveryDiscardedWriteCounted(t *testing.T) { split(t, &apart{calm: true}) }

// Node 1 joins the other side before node 2 does, which has writes in flight
// then: their clients send them again, to the other side. One time in fourteen
// both join at once, which proves nothing.
func TestASplitThatHealsInTwoViewsIsCountedExactly(t *testing.T) {
	for i, inSteps := 0, false; i < 3 && !inSteps && !t.Failed(); i++ {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			inSteps = true // also if it is skipped
			m := split(t, &apart{calm: true, late: 1500 * time.Millisecond})
			inSteps = strings.Contains(m.logs(), "[node4 node3 node1]") || strings.Contains(m.logs(), "[node4 node3 node2]")
			t.Logf("the sides came together in two Views: %v", inSteps)
		})
	}
}

// Writes in flight at the cut may end on both sides: the count has an interval
// then, and what matters is that nothing is lost, stale or not found.
func TestASplitUnderWritesLosesNothing(t *testing.T) { split(t, &apart{}) }

func split(t *testing.T, a *apart) *machines {
	t.Helper()
	if !*long {
		t.Skip("a long scenario: run make e2e, or go test ./hack/e2e -e2e")
	}
	m := newMachines(t)
	m.startNodes(t)
	m.await(t, time.Minute)
	a.sides = [2]*side{newSide(t, m, "A", clientA, 1, 2), newSide(t, m, "B", clientB, 3, 4)}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer a.phase.Store(over)
	for _, s := range a.sides {
		s.sees(t, nodesOfSplit, 10*time.Second)
		s.prepare(t)
	}
	for _, s := range a.sides {
		for id := range workersASide {
			wg.Go(func() { s.work(t.Context(), a, id) })
		}
	}
	wait(t, time.Second)
	course(t, m, a)
	a.phase.Store(over)
	wg.Wait()
	m.await(t, redundant)
	judge(t, m, a)
	return m
}

// course cuts the network, lets both sides write, heals it and waits for the
// merge.
func course(t *testing.T, m *machines, a *apart) {
	t.Helper()
	a.phase.Store(cutting)
	if a.calm {
		wait(t, 2*opTimeout) // what was in flight has ended
	}
	began := time.Now()
	m.side(t, "right")
	for _, s := range a.sides {
		s.sees(t, 2, 30*time.Second)
	}
	t.Logf("two Views %v after the cut", time.Since(began).Round(time.Millisecond))
	a.phase.Store(divided)
	wait(t, splitFor)
	a.phase.Store(healing)
	wait(t, 2*opTimeout) // what was in flight on shared keys has ended
	began = time.Now()
	m.heal(t, a.late)
	for _, s := range a.sides {
		s.sees(t, nodesOfSplit, 30*time.Second)
	}
	t.Logf("one View %v after the heal", time.Since(began).Round(time.Millisecond))
	a.phase.Store(merged)
	m.await(t, redundant)
	t.Logf("full redundancy %v after the heal", time.Since(began).Round(10*time.Millisecond))
	wait(t, 2*time.Second)
}

// verdict counts what became of the writes made while apart.
type verdict struct {
	both, atLeast, atMost, olderWon, wonByA, lost int

	olderBy time.Duration // by how much at most a write that won was acknowledged earlier
}

// judge reads everything back and compares it with what was acknowledged.
func judge(t *testing.T, m *machines, a *apart) {
	t.Helper()
	var v verdict
	for i := range sharedKeys {
		v.sharedKey(t, a, i)
	}
	for _, s := range a.sides {
		for i := range ownKeys {
			v.ownKey(t, s, i)
		}
		t.Logf("side %s: %v", s.name, s.ops)
		for what, n := range s.finds {
			t.Errorf("side %s: %s: %d", s.name, what, n)
		}
		for _, note := range s.notes {
			t.Log(note)
		}
	}
	got := int(m.conflicts(t))
	t.Logf("%d keys were written and acknowledged on both sides; the older write won on %d, side A's on %d; conflicts_discarded %d, want %d to %d",
		v.both, v.olderWon, v.wonByA, got, v.atLeast, v.atMost)
	if v.olderBy > opTimeout { // what was acknowledged later by less may have been stamped earlier
		t.Errorf("a write won against one that was acknowledged %v later", v.olderBy)
	}
	if got < v.atLeast || got > v.atMost {
		t.Errorf("conflicts_discarded = %d, want %d to %d", got, v.atLeast, v.atMost)
	}
	if v.lost > 0 {
		t.Errorf("%d acknowledged writes are lost and were in no conflict", v.lost)
	}
	if v.both == 0 {
		t.Error("no key was written on both sides: the test shows nothing")
	}
	if t.Failed() {
		t.Log(m.logs())
	}
}

func readFinal(t *testing.T, s *side, key client.Key) value {
	t.Helper()
	r, err := s.c.Get(t.Context(), key)
	if err != nil {
		t.Errorf("final read of %v: %v", key.Value, err)
		return value{}
	}
	v, err := valueOf(&r)
	if err != nil {
		t.Error(err)
	}
	return v
}

func (v *verdict) sharedKey(t *testing.T, a *apart, i int) {
	t.Helper()
	final := readFinal(t, a.sides[i%2], sharedKey(i))
	wrote, might := 0, 0
	for _, s := range a.sides {
		w := &s.shared[i]
		if w.acked > 0 {
			wrote++
		}
		if w.acked > 0 || w.maybe {
			might++
		}
		if first := s.after[i]; first.side != "" && first != final {
			t.Errorf("stale: shared%d was %v after the merge on side %s, is %v", i, first, s.name, final)
		}
		if w.acked > 0 && final.side == s.name && final.seq < w.acked || w.acked > 0 && final.side == "both" {
			v.lost++
		}
	}
	if wrote == 1 && final.side != "both" { // nothing acknowledged stood against it
		for _, s := range a.sides {
			if w := &s.shared[i]; w.acked > 0 && final.side != s.name && might == 1 {
				v.lost++
			}
		}
	}
	if might == 2 {
		v.atMost++
	}
	if wrote == 2 {
		v.both++
		v.atLeast++
		if final.side == "A" {
			v.wonByA++
		}
		wA, wB := a.sides[0].shared[i].ackedAt, a.sides[1].shared[i].ackedAt
		if by := wB.Sub(wA); final.side == "A" && by > 0 || final.side == "B" && by < 0 {
			v.olderWon++
			if !a.sides[0].shared[i].maybe && !a.sides[1].shared[i].maybe { // what won may be later than it was acknowledged
				v.olderBy = max(v.olderBy, by.Abs())
			}
		}
	}
}

func (v *verdict) ownKey(t *testing.T, s *side, i int) {
	t.Helper()
	w := &s.own[i]
	if final := readFinal(t, s, s.ownKey(i)); final.side != s.name || final.seq < w.acked {
		v.lost++
		t.Logf("lost: %s%d is %v, acknowledged %d", s.name, i, final, w.acked)
	}
	// A write that was in flight when the network was cut may have ended on the
	// other side while its repetition was acknowledged here.
	if w.cutting {
		v.atMost++
	}
}
