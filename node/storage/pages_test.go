package storage

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestRunFindsTheFirstFreePages(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 500 {
		var taken [pagesPerChunk / 64]uint64
		for i, bits := 0, rng.IntN(pagesPerChunk+1); i < bits; i++ {
			from := rng.IntN(pagesPerChunk)
			for at := from; at < min(from+rng.IntN(40), pagesPerChunk); at++ {
				taken[at/64] |= 1 << (at % 64)
			}
		}
		n, want, length := 1+rng.IntN(maxSpanPages), -1, 0
		for at := 0; at < pagesPerChunk && want < 0; at++ {
			if length++; taken[at/64]>>(at%64)&1 == 1 {
				length = 0
			}
			if length == n {
				want = at - n + 1
			}
		}
		if got := run(&taken, n); got != want {
			t.Fatalf("run(%x, %d) = %d, want %d", taken, n, got, want)
		}
	}
}

// Spans come and go at random; the pool must never hand out a page twice,
// and must know which huge pages are idle.
func TestPoolNeverHandsOutAPageTwice(t *testing.T) {
	e := open(t, Config{})
	p := &e.slab.pool
	rng := rand.New(rand.NewPCG(5, 5))
	type taken struct{ id, n uint32 }
	var spans []taken
	owner := map[uint32]bool{}
	for i := range 20_000 {
		grow := i/2500%2 == 0 // fill and empty in turns, past maxIdle
		if len(spans) == 0 || rng.IntN(4) == 0 != grow {
			n := 1 + rng.Uint32N(maxSpanPages)
			id, err := p.alloc(int(n), false)
			if err != nil {
				t.Fatal(err)
			}
			for q := id; q < id+n; q++ {
				if owner[q] || uint32(p.span(q).back) != q-id {
					t.Fatalf("step %d: page %d of span %d+%d: taken %v, back %d", i, q, id, n, owner[q], p.span(q).back)
				}
				owner[q] = true
			}
			spans = append(spans, taken{id, n})
			continue
		}
		k := rng.IntN(len(spans))
		s := spans[k]
		spans[k] = spans[len(spans)-1]
		spans = spans[:len(spans)-1]
		p.free(s.id, int(s.n))
		for q := s.id; q < s.id+s.n; q++ {
			delete(owner, q)
		}
	}
	p.helpers.Wait()
	idle := 0
	for _, info := range p.infos {
		for r := 0; info != nil && r < pagesPerChunk/pagesPerHuge; r++ {
			if info.touched>>r&1 == 1 && info.hugeFree(r) {
				idle++
			}
		}
	}
	if idle != p.idle || idle > maxIdle || e.Stats().HeldBytes != int64(len(owner))*pageSize {
		t.Errorf("%d huge pages are idle, pool says %d; %d pages taken, %+v", idle, p.idle, len(owner), e.Stats())
	}
}

// A pool that grows has its next huge pages resident before it takes them,
// over the end of a chunk too, and closes while that goes on.
func TestAGrowingPoolIsAheadOfItsNeeds(t *testing.T) {
	e := open(t, Config{})
	p := &e.slab.pool
	for used := 1; used <= 3*aheadOf; used++ {
		p.helpers.Wait()
		before := p.idle
		if want := min((used-1)/aheadOf, maxAhead); before != want {
			t.Fatalf("%d huge pages used: %d ready, want %d", used-1, before, want)
		}
		if _, err := p.alloc(pagesPerHuge, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// A pool spends its reserve while it grows, makes more at once when little is
// left, and closes while it rests.
func TestAGrowingPoolSpendsItsReserve(t *testing.T) {
	e := open(t, Config{})
	p := &e.slab.pool
	take := func() int {
		t.Helper()
		if _, err := p.alloc(pagesPerHuge, false); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.idle
	}
	p.restful = time.Millisecond
	for range 5 * aheadOf {
		take()
		p.helpers.Wait()
	}
	p.restful = time.Hour
	for want := 4; want >= minAhead; want-- {
		if got := take(); got != want {
			t.Fatalf("%d huge pages ready, want %d", got, want)
		}
	}
	for range 10 * aheadOf { // an hour each, if nobody hurries
		for take(); ; time.Sleep(time.Millisecond) {
			p.mu.Lock()
			ready := p.idle
			p.mu.Unlock()
			if ready >= minAhead {
				break
			}
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
