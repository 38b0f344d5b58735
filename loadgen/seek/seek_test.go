package seek

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"headroom/loadgen/result"
)

// system is a target with a knee: the share of slow operations rises steeply
// there, and tries near it are decided by luck or not at all.
type system struct {
	knee  float64
	noise float64
	r     *rand.Rand
	limit float64 // of the generator, 0 none
}

func (y *system) try(rate float64) (outcome, lean result.Outcome) {
	if y.limit > 0 && rate > y.limit {
		return result.GeneratorLimited, result.Fails
	}
	x := math.Log(rate/y.knee) + y.noise*y.r.NormFloat64()
	lean = result.Holds
	if x > 0 {
		lean = result.Fails
	}
	if math.Abs(x) < y.noise {
		return result.Undecided, lean
	}
	return lean, lean
}

var plain = Config{Start: 1000, Resolution: 0.05, Budget: 8 * time.Minute, Probe: 10 * time.Second, Confirm: time.Minute, Overhead: 2 * time.Second,
	Hysteresis: true}

func search(cfg Config, y *system) (s *Search, phases []string, spent time.Duration) {
	s = New(cfg)
	for {
		step, ok := s.Next(spent)
		if !ok {
			return s, phases, spent
		}
		phases = append(phases, step.Phase)
		spent += step.Length + cfg.Overhead
		s.Done(y.try(step.Rate))
	}
}

func TestTheKneeIsFoundFromAnyStart(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		y := &system{knee: math.Exp(5 + 8*r.Float64()), noise: 0.02, r: r}
		cfg := plain
		cfg.Start = y.knee * math.Exp(3*(2*r.Float64()-1)) // within a factor of 20
		s, phases, spent := search(cfg, y)
		if a := s.Answer(); !s.Confirmed || math.Abs(math.Log(a/y.knee)) > 0.15 {
			t.Errorf("seed %d: answer %.0f, confirmed %v, the knee is %.0f (%v)", seed, a, s.Confirmed, y.knee, phases)
		}
		low, high := s.Interval()
		if low > y.knee*1.1 || high > 0 && high < y.knee*0.9 || high > 0 && low > high {
			t.Errorf("seed %d: interval %.0f to %.0f, the knee is %.0f", seed, low, high, y.knee)
		}
		if spent > cfg.Budget || phases[len(phases)-1] != result.PhaseDown {
			t.Errorf("seed %d: %v spent, last phase %s", seed, spent, phases[len(phases)-1])
		}
	}
}

func TestABudgetIsKept(t *testing.T) {
	for _, budget := range []time.Duration{time.Second, 30 * time.Second, 90 * time.Second, 2 * time.Minute} {
		cfg := plain
		cfg.Budget = budget
		y := &system{knee: 40_000, noise: 0.01, r: rand.New(rand.NewPCG(1, 1))}
		s, _, spent := search(cfg, y)
		if spent > budget || !s.Short {
			t.Errorf("budget %v: %v spent, short %v", budget, spent, s.Short)
		}
	}
}

// TestATooLongGuessCostsNoTries: tries that end early make room for more.
func TestATooLongGuessCostsNoTries(t *testing.T) {
	cfg := plain
	cfg.Elastic, cfg.Guess, cfg.Probe, cfg.Confirm, cfg.Hysteresis, cfg.Budget = true, 24*time.Second, 40*time.Second, 40*time.Second, false, 75*time.Second
	s, spent, tries := New(cfg), time.Duration(0), 0
	for {
		if _, ok := s.Next(spent); !ok {
			break
		}
		tries++
		spent += 5*time.Second + cfg.Overhead
		s.Done(result.Holds, result.Holds)
		s.Took(5 * time.Second)
	}
	if tries < 8 || spent > cfg.Budget || !s.Confirmed {
		t.Errorf("%d tries of 7 s in a budget of %v, confirmed %v", tries, cfg.Budget, s.Confirmed)
	}
}

func TestAGeneratorsLimitIsNoKnee(t *testing.T) {
	y := &system{knee: 1e6, noise: 0.01, limit: 50_000, r: rand.New(rand.NewPCG(1, 1))}
	s, _, _ := search(plain, y)
	if _, high := s.Interval(); high != 0 || !s.Ceiling() || s.Answer() > 50_000 || s.Answer() < 45_000 {
		t.Errorf("answer %.0f, upper end %.0f, ceiling %v: want about 50,000, none, true", s.Answer(), high, s.Ceiling())
	}
	cfg := plain
	cfg.Max = 30_000
	s, phases, _ := search(cfg, &system{knee: 1e6, noise: 0.01, r: rand.New(rand.NewPCG(1, 1))})
	if s.Answer() != 30_000 || !s.Ceiling() || !s.Confirmed {
		t.Errorf("with a maximum of 30,000: answer %.0f, %v", s.Answer(), phases)
	}
}

func TestATargetThatHoldsNothingHasNoAnswer(t *testing.T) {
	s, phases, _ := search(plain, &system{knee: 0.01, noise: 0.01, r: rand.New(rand.NewPCG(1, 1))})
	if s.Answer() != 0 || len(phases) > 8 || s.Confirmed {
		t.Errorf("answer %v after %v", s.Answer(), phases)
	}
}

func TestAKneeThatMovedDownIsFollowed(t *testing.T) {
	f := func(moved, least float64) {
		t.Helper()
		y := &system{knee: 40_000, noise: 0.001, r: rand.New(rand.NewPCG(1, 1))}
		s := New(plain)
		var spent time.Duration
		for {
			step, ok := s.Next(spent)
			if !ok {
				break
			}
			if step.Phase == result.PhaseConfirm {
				y.knee = moved // what held for ten seconds does not hold for a minute
			}
			spent += step.Length
			s.Done(y.try(step.Rate))
		}
		if a := s.Answer(); !s.Confirmed || a > moved || a < least {
			t.Errorf("a knee of 40,000 that becomes %.0f: answer %.0f, confirmed %v, want %.0f or more", moved, a, s.Confirmed, least)
		}
	}
	f(36_000, 32_000)
	f(20_000, 15_000)
}
