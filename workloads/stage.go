package workloads

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"headroom/workloads/units"
)

// stagesMax bounds the stages of a workload.
const stagesMax = 1000

// Stage is a part of the measured phase with a rate or a mix of its own.
type Stage struct {
	Name     string
	Duration time.Duration
	// Rate is absolute; zero means Factor times the rate of the run. Both zero
	// in a stage that names one of them is a pause.
	Rate units.Rate
	// Factor of the run's rate; 1 when the stage says nothing.
	Factor float64
	// RampTo and RampToFactor are the rate at the end of a stage that ramps
	// evenly; negative means constant.
	RampTo       units.Rate
	RampToFactor float64
	// Mix replaces the workload's; all zero means the workload's.
	Mix [Ops]float64
}

func newStage() Stage { return Stage{Factor: 1, RampTo: -1, RampToFactor: -1} }

// Segment is a stage as driven: from From on for Length the rate goes evenly
// from Rate to RateEnd (operations per second, all lanes together; zero is a
// pause) and operations are drawn from Mix, whose shares sum to 100.
type Segment struct {
	Name          string
	From, Length  time.Duration // from the start of the measured phase
	Rate, RateEnd units.Rate
	Mix           [Ops]float64
}

// Span is the sum of the stages' durations, zero without stages: how long the
// measured phase lasts unless the run says otherwise.
func (w *Workload) Span() (d time.Duration) {
	for i := range w.Stages {
		d += w.Stages[i].Duration
	}
	return d
}

// Segments is the measured phase of a run of the given rate and length, in
// order and without holes: the stages, stretched or shrunk to that length, or
// one segment without stages. A closed loop passes rate zero and takes the
// mixes only.
func (w *Workload) Segments(rate units.Rate, length time.Duration) []Segment {
	if len(w.Stages) == 0 {
		return []Segment{{Length: length, Rate: rate, RateEnd: rate, Mix: w.Mix}}
	}
	stretch := float64(length) / float64(w.Span())
	list := make([]Segment, len(w.Stages))
	sum, at := time.Duration(0), time.Duration(0)
	for i := range w.Stages {
		s := &w.Stages[i]
		sum += s.Duration
		end := time.Duration(math.Round(float64(sum) * stretch))
		list[i] = Segment{Name: s.Name, From: at, Length: end - at, Rate: s.Rate, Mix: s.Mix}
		if s.Rate == 0 {
			list[i].Rate = units.Rate(s.Factor) * rate
		}
		list[i].RateEnd = list[i].Rate
		switch {
		case s.RampTo >= 0:
			list[i].RateEnd = s.RampTo
		case s.RampToFactor >= 0:
			list[i].RateEnd = units.Rate(s.RampToFactor) * rate
		}
		if s.Mix == ([Ops]float64{}) {
			list[i].Mix = w.Mix
		}
		at = end
	}
	return list
}

// Issues reports whether op occurs in the mix or in that of any stage.
func (w *Workload) Issues(op Op) bool {
	if w.Mix[op] > 0 {
		return true
	}
	for i := range w.Stages {
		if w.Stages[i].Mix[op] > 0 {
			return true
		}
	}
	return false
}

func (w *Workload) validateStages() error {
	if len(w.Stages) > stagesMax {
		return fmt.Errorf("stages: %d, want at most %d", len(w.Stages), stagesMax)
	}
	busy := len(w.Stages) == 0
	for i := range w.Stages {
		s := &w.Stages[i]
		if err := s.validate(); err != nil {
			return fmt.Errorf("stage %d %s: %w", i+1, s.Name, err)
		}
		busy = busy || s.Rate+s.RampTo > 0 || s.Factor > 0 || s.RampToFactor > 0
	}
	if !busy {
		return errors.New("stages: every one is a pause")
	}
	return nil
}

func (s *Stage) validate() error {
	switch {
	case s.Duration <= 0:
		return errors.New("duration: missing, want for example 30s")
	case !(s.Factor >= 0 && s.Factor <= 1000) || s.RampToFactor > 1000:
		return fmt.Errorf("factor: %v, want 0 to 1000 times the rate of the run", s.Factor)
	case s.RampTo >= 0 && s.RampToFactor >= 0:
		return errors.New("ramp-to and ramp-to-factor exclude each other")
	case s.Rate > 0 && s.RampToFactor >= 0 || s.Rate == 0 && s.Factor > 0 && s.RampTo >= 0:
		return errors.New("a stage ramps from a rate to a rate (rate, ramp-to) or from a factor to a factor (factor, ramp-to-factor)")
	}
	if s.Mix == ([Ops]float64{}) {
		return nil
	}
	return checkMix(s.Mix)
}

// checkMix reports shares that are no shares or do not sum to 100.
func checkMix(mix [Ops]float64) error {
	sum := 0.0
	for op, share := range mix {
		if !(share >= 0 && share <= 100) {
			return fmt.Errorf("mix.%v: %v, want a share of 0 to 100 percent", Op(op), share)
		}
		sum += share
	}
	if math.Abs(sum-100) > 0.001 {
		return fmt.Errorf("mix: the shares sum to %s percent, want 100 (%s)", number(sum), mixText(mix))
	}
	return nil
}

// MixText prints the mix of the workload: "get:95,update:5".
func (w *Workload) MixText() string { return mixText(w.Mix) }

// mixText prints the shares that are not zero: "get:95,update:5".
func mixText(mix [Ops]float64) string {
	var parts []string
	for op, share := range mix {
		if share > 0 {
			parts = append(parts, Op(op).String()+":"+number(share))
		}
	}
	return strings.Join(parts, ",")
}

// stageFields are the keys of a stage besides mix.OPERATION.
var stageFields = map[string]func(*Stage, string) error{
	"name": func(s *Stage, v string) error { s.Name = v; return checkName(v) },
	"duration": func(s *Stage, v string) (err error) {
		s.Duration, err = units.ParseDuration(v)
		return err
	},
	"rate": func(s *Stage, v string) (err error) {
		s.Factor = 0
		s.Rate, err = rateOrZero(v)
		return err
	},
	"ramp-to": func(s *Stage, v string) (err error) {
		s.RampTo, err = rateOrZero(v)
		return err
	},
	"factor":         func(s *Stage, v string) (err error) { s.Factor, err = parseFactor(v); return err },
	"ramp-to-factor": func(s *Stage, v string) (err error) { s.RampToFactor, err = parseFactor(v); return err },
	"mix":            func(s *Stage, v string) (err error) { s.Mix, err = parseMix(v); return err },
}

// rateOrZero reads a rate; zero is a pause.
func rateOrZero(s string) (units.Rate, error) {
	if v, err := parseNumber(strings.TrimSuffix(s, "/s")); err == nil && v == 0 {
		return 0, nil
	}
	return units.ParseRate(s)
}

func parseFactor(s string) (float64, error) {
	v, err := parseNumber(s)
	if err == nil && v < 0 {
		err = fmt.Errorf("%q: want 0 or more", s)
	}
	return v, err
}

// yaml prints the stage as an item of a list.
func (s *Stage) yaml(b *strings.Builder) {
	fmt.Fprintf(b, "  - duration: %v\n", s.Duration)
	if s.Name != "" {
		fmt.Fprintf(b, "    name: %q\n", s.Name)
	}
	if s.Rate > 0 || s.Factor == 0 {
		fmt.Fprintf(b, "    rate: %s/s\n", number(float64(s.Rate)))
	} else {
		fmt.Fprintf(b, "    factor: %s\n", number(s.Factor))
	}
	if s.RampTo >= 0 {
		fmt.Fprintf(b, "    ramp-to: %s/s\n", number(float64(s.RampTo)))
	}
	if s.RampToFactor >= 0 {
		fmt.Fprintf(b, "    ramp-to-factor: %s\n", number(s.RampToFactor))
	}
	if s.Mix != ([Ops]float64{}) {
		fmt.Fprintf(b, "    mix: %q\n", mixText(s.Mix))
	}
}
