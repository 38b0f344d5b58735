package pace

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"headroom/workloads/units"
)

const (
	// sineParts cuts a period of a sine into straight lines: with 256 the rate is
	// at most 0.008 % of the amplitude off.
	sineParts = 256
	// stepsMax bounds the steps of a profile.
	stepsMax = 1000
	// periodMin keeps a sine above what lanes can follow.
	periodMin = 100 * time.Millisecond
)

// Profile is a rate over time: straight lines, after the last of which its end
// rate stays, or all of which repeat. Read-only once made.
type Profile struct {
	lines []line
	cycle bool
	// length and count are those of all lines.
	length, count float64
	// lead holds the first rate for so long before the first line.
	lead float64
	text string
}

// line is a rate that changes linearly; times in seconds.
type line struct {
	at, from, slope float64 // begins at, with the rate from
	count           float64 // arrivals before it
}

// Steady is a profile of one rate, which must be above zero.
func Steady(rate units.Rate) *Profile {
	return build(rate.String(), false, []Piece{{time.Second, float64(rate), float64(rate)}})
}

// Piece is a part of a profile: for Length the rate goes evenly from From to To,
// in operations per second.
type Piece struct {
	Length   time.Duration
	From, To float64
}

// Lines is a profile of pieces in a row, each longer than zero; text says in
// words what it is. The last rate stays.
func Lines(text string, pieces []Piece) *Profile { return build(text, false, pieces) }

func build(text string, cycle bool, pieces []Piece) *Profile {
	p := &Profile{text: text, cycle: cycle}
	for _, s := range pieces {
		length := s.Length.Seconds()
		p.lines = append(p.lines, line{at: p.length, from: s.From, slope: (s.To - s.From) / length, count: p.count})
		p.length += length
		p.count += (s.From + s.To) / 2 * length
	}
	if last := pieces[len(pieces)-1]; !cycle {
		p.lines = append(p.lines, line{at: p.length, from: last.To, count: p.count})
	}
	return p
}

// profileForms is what ParseProfile reads.
const profileForms = "a rate such as 20k/s, 'ramp 1k/s 20k/s 60s' (from, to, in), 'steps 1k/s,5k/s,2k/s 10s' (each so long) or " +
	"'sine 10k/s 5k/s 30s' (mean, swing, period)"

// ParseProfile reads "20k/s", "ramp 1k/s 20k/s 60s", "steps 1k/s,5k/s 10s" or
// "sine 10k/s 5k/s 30s".
func ParseProfile(s string) (*Profile, error) {
	words := strings.Fields(s)
	if len(words) == 1 {
		rate, err := units.ParseRate(words[0])
		if err != nil {
			return nil, fmt.Errorf("%w; or %s", err, profileForms)
		}
		return Steady(rate), nil
	}
	var p *Profile
	err := errors.New("unknown form")
	switch {
	case len(words) == 4 && words[0] == "ramp":
		p, err = ramp(words[1:])
	case len(words) == 3 && words[0] == "steps":
		p, err = steps(words[1:])
	case len(words) == 4 && words[0] == "sine":
		p, err = sine(words[1:])
	}
	if err != nil {
		return nil, fmt.Errorf("schedule %q: %w: want %s", s, err, profileForms)
	}
	return p, nil
}

// figures reads rates (zero allowed) and, last, a duration above zero.
func figures(words []string) (rates []float64, length time.Duration, err error) {
	for _, w := range words[:len(words)-1] {
		rate := units.Rate(0)
		if w != "0/s" && w != "0" {
			if rate, err = units.ParseRate(w); err != nil {
				return nil, 0, err
			}
		}
		rates = append(rates, float64(rate))
	}
	if length, err = units.ParseDuration(words[len(words)-1]); err != nil {
		return nil, 0, err
	}
	if length <= 0 {
		return nil, 0, errors.New("a length of zero")
	}
	return rates, length, nil
}

func ramp(words []string) (*Profile, error) {
	r, length, err := figures(words)
	if err != nil {
		return nil, err
	}
	if r[0]+r[1] == 0 {
		return nil, errors.New("a rate of zero throughout")
	}
	return build(fmt.Sprintf("ramp %v to %v in %v", units.Rate(r[0]), units.Rate(r[1]), length), false, []Piece{{length, r[0], r[1]}}), nil
}

func steps(words []string) (*Profile, error) {
	list := strings.Split(words[0], ",")
	if len(list) > stepsMax {
		return nil, fmt.Errorf("%d steps, at most %d", len(list), stepsMax)
	}
	r, length, err := figures(append(list, words[1]))
	if err != nil {
		return nil, err
	}
	var pieces []Piece
	sum := 0.0
	for _, rate := range r {
		sum += rate
		pieces = append(pieces, Piece{length, rate, rate})
	}
	if sum == 0 {
		return nil, errors.New("a rate of zero throughout")
	}
	return build(fmt.Sprintf("steps of %v: %s", length, strings.Join(list, ", ")), false, pieces), nil
}

func sine(words []string) (*Profile, error) {
	r, period, err := figures(words)
	if err != nil {
		return nil, err
	}
	mean, swing := r[0], r[1]
	if swing > mean || mean == 0 {
		return nil, fmt.Errorf("a swing of %v about a mean of %v goes below zero", units.Rate(swing), units.Rate(mean))
	}
	if period < periodMin {
		return nil, fmt.Errorf("a period of %v, at least %v", period, periodMin)
	}
	var pieces []Piece
	rate := func(i int) float64 { return max(0, mean+swing*math.Sin(2*math.Pi*float64(i)/sineParts)) }
	for i := range sineParts {
		pieces = append(pieces, Piece{period / sineParts, rate(i), rate(i + 1)})
	}
	return build(fmt.Sprintf("sine of %v +- %v every %v", units.Rate(mean), units.Rate(swing), period), true, pieces), nil
}

// Part returns 1/n of p: what each of n generators offers.
func (p *Profile) Part(n int) *Profile {
	out := *p
	out.lines = append([]line(nil), p.lines...)
	f := 1 / float64(n)
	for i := range out.lines {
		out.lines[i].from *= f
		out.lines[i].slope *= f
		out.lines[i].count *= f
	}
	out.count *= f
	out.text = fmt.Sprintf("1/%d of %s", n, p.text)
	return &out
}

// After returns p begun later, with its first rate until then: the warm-up.
func (p *Profile) After(lead time.Duration) *Profile {
	out := *p
	out.lead += lead.Seconds()
	return &out
}

// String says what p offers in words.
func (p *Profile) String() string { return p.text }

// Peak is the highest rate.
func (p *Profile) Peak() units.Rate {
	peak := 0.0
	for i, l := range p.lines {
		end := p.length
		if i+1 < len(p.lines) {
			end = p.lines[i+1].at
		}
		peak = max(peak, l.from, l.from+l.slope*(end-l.at))
	}
	return units.Rate(peak)
}

// Mean is the mean rate of the first d.
func (p *Profile) Mean(d time.Duration) units.Rate {
	if d <= 0 {
		return p.Peak()
	}
	return units.Rate(p.expected(d.Seconds()) / d.Seconds())
}

// Flat reports whether the rate never changes.
func (p *Profile) Flat() bool {
	for _, l := range p.lines {
		if l.slope != 0 || l.from != p.lines[0].from {
			return false
		}
	}
	return true
}

// expected is the number of arrivals before t seconds, lead included.
func (p *Profile) expected(t float64) float64 {
	before := min(t, p.lead) * p.lines[0].from
	if t -= p.lead; t <= 0 {
		return before
	}
	if p.cycle {
		full := math.Floor(t / p.length)
		before += full * p.count
		t -= full * p.length
	}
	l := p.lines[0]
	for _, next := range p.lines[1:] {
		if next.at > t {
			break
		}
		l = next
	}
	t -= l.at
	return before + l.count + l.from*t + l.slope*t*t/2
}

// cursor inverts a profile's count for ascending arguments.
type cursor struct {
	p    *Profile
	line int
	// base is the time and the count at which the present cycle began.
	baseTime, baseCount float64
}

// when returns the instant at which n arrivals are expected to have come.
func (c *cursor) when(n float64) time.Duration {
	p := c.p
	first := p.lines[0].from
	if p.lead > 0 {
		if n < p.lead*first {
			return time.Duration(n / first * 1e9)
		}
		n -= p.lead * first
	}
	for p.cycle && n-c.baseCount >= p.count {
		c.baseCount += p.count
		c.baseTime += p.length
		c.line = 0
	}
	n -= c.baseCount
	for c.line+1 < len(p.lines) && n >= p.lines[c.line+1].count {
		c.line++
	}
	l := &p.lines[c.line]
	n -= l.count
	// n = from t + slope t^2/2, solved without cancellation. max: the end of a
	// falling line is a rounding error from an imaginary root.
	t := 0.0
	if n > 0 {
		t = 2 * n / (l.from + math.Sqrt(max(0, l.from*l.from+2*l.slope*n)))
	}
	at := (p.lead + c.baseTime + l.at + t) * 1e9
	if !(at < math.MaxInt64) { // a rate of zero for good
		return Never
	}
	return time.Duration(at)
}
