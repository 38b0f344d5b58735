// Package seek owns the search for the knee: which rate to try next, for how
// long, and what the tries together say. It is a plain state machine: it
// drives no load, reads no clock and draws no random numbers.
//
// The invariant to know: the answer held in the last try at its rate, and every
// bound of the interval was decided by its test, not by leaning.
//
// Start reading at Search.Next.
package seek

import (
	"math"
	"time"

	"headroom/loadgen/result"
)

// Limits of a search.
const (
	// growth of the rate while it holds, and shrink while nothing held: a wrong
	// start costs more downwards, because each failure has to drain.
	growth = 2.0
	shrink = 4.0
	// floor ends the way down: a target that cannot do one operation a second has
	// no knee.
	floor = 1.0
	// stepsMax bounds a search whose outcomes contradict each other.
	stepsMax = 64
	// retreat is the next rate to confirm when one was not confirmed, taken once
	// more after each further failure: what took seconds to hold may be far above
	// what holds for a minute.
	retreat     = 0.92
	confirmsMax = 6
	// upShare and downShare are the overload and the return of the hysteresis
	// check, of the lowest rate that failed and of the answer.
	upShare   = 1.2
	downShare = 0.8
)

// Config says how to search. All fields must be set but Max.
type Config struct {
	Start      float64       // first rate, operations per second
	Max        float64       // no rate above it; 0 means none
	Resolution float64       // end of the bisection: high/low - 1
	Budget     time.Duration // of everything
	Probe      time.Duration // of one try, at most
	Confirm    time.Duration // 0: no confirmation
	Overhead   time.Duration // of a try beside its length: warm-up, drain
	Hysteresis bool
	// Elastic says that tries end by themselves, usually long before their
	// Length: then the budget is planned with what the longest so far took, and
	// before the first with Guess.
	Elastic bool
	Guess   time.Duration
}

// Step is a try.
type Step struct {
	Phase  string // result.PhaseProbe, …
	Rate   float64
	Length time.Duration
}

// Search is a search under way.
type Search struct {
	cfg      Config
	phase    string
	rate     float64
	lo, hi   float64 // held and failed, leaning included; 0: none
	low      float64 // highest decided to hold
	high     float64 // lowest decided to fail
	held     []float64
	longest  time.Duration // so far, before the first the guess
	took     bool          // longest was measured
	steps    int
	confirms int
	ceiling  bool // the generator or Max ended the way up
	// Confirmed and Short tell how the search ended: the answer was confirmed; the
	// budget did not allow what was left.
	Confirmed, Short bool
}

// New begins a search.
func New(cfg Config) *Search {
	if cfg.Max > 0 {
		cfg.Start = min(cfg.Start, cfg.Max)
	}
	return &Search{cfg: cfg, phase: result.PhaseProbe, rate: cfg.Start, longest: cfg.Guess}
}

// Next returns the next try when spent of the budget is gone, false at the end.
func (s *Search) Next(spent time.Duration) (Step, bool) {
	if s.steps++; s.steps > stepsMax {
		return Step{}, false
	}
	left := s.cfg.Budget - spent
	try := s.expected(s.cfg.Probe) + s.cfg.Overhead
	reserve := time.Duration(0)
	if s.cfg.Confirm > 0 {
		reserve = s.expected(s.cfg.Confirm) + s.cfg.Overhead
	}
	if (s.phase == result.PhaseProbe || s.phase == result.PhaseBisect) && s.lo > 0 && left < try+reserve {
		s.Short = true
		s.confirmNext()
	}
	switch s.phase {
	case result.PhaseProbe, result.PhaseBisect:
		if left < try {
			s.Short = true
			return Step{}, false
		}
		return Step{s.phase, s.rate, s.cfg.Probe}, true
	case result.PhaseConfirm:
		if left < reserve {
			// A shorter confirmation is none: its length is what was promised.
			s.Short = true
			return Step{}, false
		}
		return Step{s.phase, s.rate, s.cfg.Confirm}, true
	case result.PhaseUp, result.PhaseDown:
		if left < try {
			s.Short = true
			return Step{}, false
		}
		return Step{s.phase, s.rate, s.cfg.Probe}, true
	}
	return Step{}, false
}

// Took tells how long the last try was.
func (s *Search) Took(d time.Duration) {
	if !s.took {
		s.longest, s.took = 0, true
	}
	s.longest = max(s.longest, d)
}

// expected is what a try of at most d takes, as far as is known.
func (s *Search) expected(d time.Duration) time.Duration {
	if s.cfg.Elastic && s.longest > 0 {
		return min(d, s.longest+s.longest/4)
	}
	return d
}

// Done tells the outcome of the try that Next returned last; lean is the side
// on which an undecided one stands.
func (s *Search) Done(outcome, lean result.Outcome) {
	if outcome == result.GeneratorLimited {
		s.ceiling = true
		outcome, lean = result.Undecided, result.Fails
	}
	held := outcome == result.Holds || outcome == result.Undecided && lean == result.Holds
	rate := s.rate
	if s.phase == result.PhaseUp || s.phase == result.PhaseDown {
		s.after(held)
		return
	}
	switch {
	case outcome == result.Holds:
		s.low = max(s.low, rate)
	case outcome == result.Fails && (s.high == 0 || rate < s.high):
		s.high = rate
	}
	if held {
		s.held = append(s.held, rate)
		s.lo = max(s.lo, rate)
		if s.hi > 0 && s.hi <= s.lo { // an earlier failure lower down was an accident
			s.hi = 0
		}
	} else {
		s.hi, s.lo = rate, 0
		for _, r := range s.held {
			if r < rate {
				s.lo = max(s.lo, r)
			}
		}
	}
	if s.phase == result.PhaseConfirm {
		s.confirmed(held)
		return
	}
	s.choose()
}

// choose picks the rate after a probe or a bisection.
func (s *Search) choose() {
	switch {
	case s.lo == 0: // nothing holds yet
		s.phase, s.rate = result.PhaseProbe, s.hi/shrink
		if s.rate < floor {
			s.phase = ""
		}
	case s.hi == 0:
		s.phase, s.rate = result.PhaseProbe, s.lo*growth
		if s.cfg.Max > 0 && s.rate >= s.cfg.Max {
			s.rate = s.cfg.Max
			if s.lo >= s.cfg.Max {
				s.ceiling = true
				s.confirmNext()
			}
		}
	case s.hi/s.lo <= 1+s.cfg.Resolution:
		s.confirmNext()
	default:
		s.phase, s.rate = result.PhaseBisect, math.Sqrt(s.lo*s.hi)
	}
}

func (s *Search) confirmNext() {
	s.rate, s.phase = s.lo, result.PhaseConfirm
	if s.cfg.Confirm == 0 {
		s.phase = ""
		s.overload()
	}
}

// confirmed follows a confirmation.
func (s *Search) confirmed(held bool) {
	if held {
		s.Confirmed = true
		s.low = max(s.low, s.rate)
		s.overload()
		return
	}
	s.confirms++
	s.rate *= math.Pow(retreat, float64(s.confirms))
	if s.confirms == confirmsMax || s.rate < floor {
		s.phase = ""
	}
}

// overload goes on with the hysteresis check where there is a rate to exceed.
func (s *Search) overload() {
	s.phase = ""
	if s.cfg.Hysteresis && s.hi > 0 && s.lo > 0 && !s.ceiling {
		s.phase, s.rate = result.PhaseUp, s.hi*upShare
	}
}

func (s *Search) after(bool) {
	if s.phase == result.PhaseUp {
		s.phase, s.rate = result.PhaseDown, s.lo*downShare
		return
	}
	s.phase = ""
}

// Answer is the highest rate that held in its last try, 0 when none did.
func (s *Search) Answer() float64 { return s.lo }

// Interval is the highest rate decided to hold and the lowest above it decided
// to fail; 0 where there is none.
func (s *Search) Interval() (low, high float64) {
	high = s.high
	if low = min(s.low, s.lo); low == 0 {
		low = 0
	}
	if high > 0 && high <= low {
		high = 0
	}
	return low, high
}

// Ceiling reports that the way up ended without the target failing.
func (s *Search) Ceiling() bool { return s.ceiling }
