package storage

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
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

// What is in reserve stays so until nothing was needed for a time, little is
// left, or the pool closes.
func TestAPoolThatGrowsDoesNotReplaceItsReserve(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(p *pagePool)
		want time.Duration
		more bool
	}{
		{"nothing is needed", func(*pagePool) {}, restful, true},
		{"it grows", func(p *pagePool) { p.pagesIn++ }, 2 * restful, true},
		{"little is left", func(p *pagePool) { p.idle = minAhead - 1; p.hurryLocked() }, restful / 2, true},
		{"it closes", func(p *pagePool) { p.closed = true; p.hurryLocked() }, restful / 2, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &pagePool{idle: minAhead, pagesIn: aheadOf * maxAhead * pagesPerHuge, hurry: make(chan struct{}, 1), restful: restful}
			p.hurryLocked() // long ago
			time.AfterFunc(restful/2, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				c.do(p)
			})
			began := time.Now()
			p.mu.Lock()
			more := p.restLocked()
			p.mu.Unlock()
			if took := time.Since(began); took != c.want || more != c.more {
				t.Errorf("%s: more %v after %v, want %v after %v", c.what, more, took, c.more, c.want)
			}
		})
	}
}

// A pool that needs more than its reserve does not wait for it to rest, and
// closes while it does.
func TestAGrowingPoolHurries(t *testing.T) {
	e := open(t, Config{})
	p := &e.slab.pool
	p.restful = time.Hour
	for range 15 * aheadOf {
		if _, err := p.alloc(pagesPerHuge, false); err != nil {
			t.Fatal(err)
		}
		for short := true; short; runtime.Gosched() {
			p.mu.Lock()
			short = p.shortLocked(minAhead)
			p.mu.Unlock()
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
