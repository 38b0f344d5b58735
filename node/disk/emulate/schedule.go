package emulate

import (
	"math/rand/v2"
	"time"

	"headroom/node/disk/profile"
)

// capWindow is the time over which a cap on requests must hold: bursts of
// that much are let through at once, as the token buckets of drives and
// clouds do. Strict spacing would add a queue of its own to random arrivals.
// A dilated device has a dilated window.
const capWindow = 10 * time.Millisecond

// never is the end of what does not end: 146 years.
const never = time.Duration(1) << 62

// Schedule is the device as a queue: requests are served first come, first
// served by the profile's channels, in virtual time. It has no clock, no lock
// and no goroutine: whoever submits says when, and is told when the request
// will be done. Equal seeds and equal submissions give equal answers.
type Schedule struct {
	p   *profile.Profile
	rng *rand.Rand

	last     time.Duration // of Submit: time does not run backwards
	channels []time.Duration
	admit    [caps]time.Duration // theoretical next admission under each cap on requests
	pipe     [caps]time.Duration // when each bandwidth is free again
	window   time.Duration
	stalled  time.Duration // nothing starts before
	written  int64         // bytes, since the last stall
	busy     Busy
}

// Busy is how long each resource of a device was used to all it has, summed up
// since the start: what it grew in a while, over that while, is the resource's
// utilisation. A resource without a limit stays zero.
type Busy struct {
	Channels  time.Duration
	IOPS      [caps]time.Duration // of reads, of writes, of both together
	Bandwidth [caps]time.Duration
}

// Busy returns what was used by the requests submitted so far.
func (s *Schedule) Busy() Busy { return s.busy }

// Indexes of what is capped: reads, writes, both.
const (
	capRead = iota
	capWrite
	capTotal
	caps
)

// Slot is the place of a request in the schedule, in the time of Submit.
type Slot struct {
	Start, End time.Duration
	Dead       bool // the device dies before the request is done; End is when it is told
	Hung       bool // the device hangs before the request is done: it never is
}

// NewSchedule returns the schedule of an idle device at time zero. The
// profile is used as it is, dilated or not, and must be valid.
func NewSchedule(p *profile.Profile, seed uint64) *Schedule {
	s := &Schedule{p: p, rng: rand.New(rand.NewPCG(seed, 0x64697370)), channels: make([]time.Duration, p.Channels), window: capWindow}
	if p.Dilation > 1 {
		s.window = time.Duration(float64(capWindow) * p.Dilation)
	}
	return s
}

// Submit hands in a request of size bytes at now and returns its slot. A now
// before an earlier one counts as that one.
func (s *Schedule) Submit(now time.Duration, op profile.Op, size int64) Slot {
	now = max(now, s.last)
	s.last = now
	if s.dead(now) {
		return Slot{Start: now, End: now, Dead: true}
	}
	start := max(now, s.stalled, s.admission(now, op), s.channels[0])
	end := max(start+s.p.Quantile(op, size, s.rng.Float64()), s.transfer(start, op, size))
	s.channels[0] = end
	s.busy.Channels += (end - start) / time.Duration(len(s.channels))
	s.sift()
	if op == profile.Write {
		s.stall(start, size)
	}
	if s.p.HangAfter > 0 && end >= s.p.HangAfter {
		return Slot{Start: start, End: never, Hung: true}
	}
	if s.dead(end) {
		return Slot{Start: start, End: s.p.DieAfter, Dead: true}
	}
	return Slot{Start: start, End: end}
}

func (s *Schedule) dead(at time.Duration) bool { return s.p.DieAfter > 0 && at >= s.p.DieAfter }

// admission returns when the caps on requests let the request in, at least
// now, and counts it against them. A flush is not counted.
func (s *Schedule) admission(now time.Duration, op profile.Op) time.Duration {
	if op == profile.Sync {
		return now
	}
	at, rates := now, s.rates(op, &s.p.IOPS)
	for i, rate := range rates {
		if rate > 0 {
			at = max(at, s.admit[i]-s.window)
		}
	}
	for i, rate := range rates {
		if rate > 0 {
			s.admit[i] = max(s.admit[i], at) + time.Duration(float64(time.Second)/rate)
			s.busy.IOPS[i] += time.Duration(float64(time.Second) / rate)
		}
	}
	return at
}

// transfer returns when the last byte has crossed what limits the bandwidth.
func (s *Schedule) transfer(start time.Duration, op profile.Op, size int64) time.Duration {
	end := start
	if op == profile.Sync {
		return end
	}
	for i, rate := range s.rates(op, &s.p.Bandwidth) {
		if rate > 0 {
			took := time.Duration(float64(size) * float64(time.Second) / rate)
			s.pipe[i] = max(s.pipe[i], start) + took
			s.busy.Bandwidth[i] += took
			end = max(end, s.pipe[i])
		}
	}
	return end
}

// rates are the caps that hold for op, zero where none does.
func (s *Schedule) rates(op profile.Op, c *profile.Caps) [caps]float64 {
	if op == profile.Read {
		return [caps]float64{capRead: c.Read, capTotal: c.Total}
	}
	return [caps]float64{capWrite: c.Write, capTotal: c.Total}
}

// stall counts written bytes; a write that completes a round of Stalls.Every
// makes the device pause from its start: what has begun goes on, nothing else
// begins.
func (s *Schedule) stall(start time.Duration, size int64) {
	every := int64(s.p.Stalls.Every)
	if every <= 0 {
		return
	}
	s.written += size
	if rounds := s.written / every; rounds > 0 {
		s.written -= rounds * every
		s.stalled = max(s.stalled, start) + time.Duration(rounds)*s.p.Stalls.For
	}
}

// sift restores the heap after its least element, the channel that is free
// first, was raised.
func (s *Schedule) sift() {
	h, i := s.channels, 0
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h[c] < h[least] {
				least = c
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
