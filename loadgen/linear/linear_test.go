package linear

import (
	"math/rand/v2"
	"testing"
	"time"
)

// op is an operation of key 1 as a line of a test; at and end in milliseconds.
type op struct {
	at, end time.Duration
	write   bool
	seq     uint32
	deleted bool
	doubt   bool
}

func judge(from State, ops ...op) Verdict {
	s := New([]uint64{1}, time.Second)
	s.Look(1, func() time.Duration { return 0 }, func() State { return from })
	for _, o := range ops {
		if o.write {
			s.Write(1, o.at, o.end, o.seq, o.deleted, o.doubt)
		} else {
			s.Read(1, o.at, o.end, o.seq)
		}
	}
	return s.Check(5 * time.Second)
}

func TestHistoriesAreJudged(t *testing.T) {
	certain := State{Submitted: 4, Certain: true}
	f := func(name string, violations int, ops ...op) {
		t.Helper()
		if v := judge(certain, ops...); v.Violations != violations || v.Undecided != 0 || v.Windows != 1 {
			t.Errorf("%s: %+v, want %d violations", name, v, violations)
		}
	}
	f("in order", 0, op{at: 1, end: 2, seq: 4}, op{at: 3, end: 4, write: true, seq: 5}, op{at: 5, end: 6, seq: 5})
	f("a stale read", 1, op{at: 1, end: 2, seq: 4}, op{at: 3, end: 4, write: true, seq: 5}, op{at: 5, end: 6, seq: 4})
	f("either during a write", 0, op{at: 3, end: 9, write: true, seq: 5}, op{at: 4, end: 5, seq: 4}, op{at: 6, end: 7, seq: 5})
	// No single read is older than an acknowledged write: only the pair is wrong.
	f("new, then old, during a write", 1, op{at: 3, end: 9, write: true, seq: 5}, op{at: 4, end: 5, seq: 5}, op{at: 6, end: 7, seq: 4})
	f("in doubt, seen late", 0, op{at: 3, end: 4, write: true, seq: 5, doubt: true}, op{at: 5, end: 6, seq: 4}, op{at: 7, end: 8, seq: 5})
	f("in doubt, seen and gone", 1, op{at: 3, end: 4, write: true, seq: 5, doubt: true}, op{at: 5, end: 6, seq: 5}, op{at: 7, end: 8, seq: 4})
	f("deleted", 0, op{at: 3, end: 4, write: true, seq: 5, deleted: true}, op{at: 5, end: 6, seq: absent})
	f("back from the dead", 1, op{at: 3, end: 4, write: true, seq: 5, deleted: true}, op{at: 5, end: 6, seq: 4})
}

func TestAWindowBeginsWhenAllIsCertain(t *testing.T) {
	if v := judge(State{Submitted: 4}, op{at: 1, end: 2, seq: 4}); v.Windows != 0 {
		t.Errorf("a window was opened with a write in flight: %+v", v)
	}
	if v := judge(State{Submitted: 4, Certain: true}, op{at: -5, end: 2, seq: 3}); v.Operations != 0 {
		t.Errorf("a read from before the window was recorded: %+v", v)
	}
	var none *Sampler
	if none.Sampled(1) || New([]uint64{1}, 1).Sampled(1025) {
		t.Error("a key is sampled that was not asked for")
	}
}

// TestALinearizableStoreHasNoViolations runs a register whose operations take
// effect at a random instant between call and return, with windows opening and
// closing while writes and reads are in flight.
func TestALinearizableStoreHasNoViolations(t *testing.T) {
	for seed := range uint64(20) {
		if v := simulate(seed, 0); v.Violations != 0 || v.Windows < 5 || v.Operations < 2000 {
			t.Errorf("seed %d: %+v, want at least 5 windows and no violation", seed, v)
		}
	}
	if v := simulate(1, 0.01); v.Violations == 0 {
		t.Errorf("one read in a hundred is two writes old, and nothing is found: %+v", v)
	}
}

type pendingOp struct {
	call, effect, ret time.Duration
	write             bool
	seq, saw          uint32
}

func simulate(seed uint64, lies float64) Verdict {
	r := rand.New(rand.NewPCG(seed, 1))
	s := New([]uint64{1}, 400)
	var value, submitted uint32
	var flying []pendingOp
	writing := false
	for now := time.Duration(0); now < 6000 || len(flying) > 0; now++ {
		kept := flying[:0]
		for _, p := range flying {
			if p.effect == now {
				if p.saw = value; p.write {
					value = p.seq
				} else if r.Float64() < lies {
					p.saw = max(value, 2) - 2
				}
			}
			if p.ret != now {
				kept = append(kept, p)
				continue
			}
			if p.write {
				writing = false
				s.Write(1, p.call, p.ret, p.seq, false, false)
			} else {
				s.Read(1, p.call, p.ret, p.saw)
			}
		}
		flying = kept
		if now >= 6000 { // let what is in flight end
			continue
		}
		p := pendingOp{call: now, effect: now + 1 + time.Duration(r.IntN(10))}
		p.ret = p.effect + 1 + time.Duration(r.IntN(10))
		if r.IntN(10) < 3 && !writing {
			submitted++
			writing, p.write, p.seq = true, true, submitted
			flying = append(flying, p)
		} else if len(flying) < 8 {
			s.Look(1, func() time.Duration { return now }, func() State { return State{submitted, !writing} })
			flying = append(flying, p)
		}
	}
	return s.Check(20 * time.Second)
}
