package sim

import (
	"time"

	"headroom/node/plane"
)

const (
	// fetchMost bounds the reads that wait for the devices of a space: few, so
	// that refusing them is seen.
	fetchMost = 12
	// lateRead is the share of reads that take up to lateMost: longer than the
	// deadline of what waits for some of them, and than most Views last.
	lateRead = 0.01
	lateMost = 3 * time.Second
)

// Fetch implements plane.Host: the record is read at one moment and handed over
// at a later one, so that they overtake each other and the world goes on in
// between. What a process that has ended was waiting for never comes.
func (s *space) Fetch(f plane.Fetch) bool {
	v := s.vol
	if v.fetches >= fetchMost {
		return false
	}
	v.fetches++
	w := s.a.d.W
	late := v.readTime()
	if v.rand.Float64() < lateRead && !s.a.d.prompt {
		w.note(FaultLateRead)
		late += time.Duration(v.rand.Int64N(int64(lateMost)))
	}
	w.After(v.readTime(), func() {
		if !s.a.alive() {
			return
		}
		f.Read()
		w.After(late, func() { s.fetched(f) })
	})
	return true
}

func (v *volume) readTime() time.Duration { return time.Duration(v.rand.Int64N(int64(v.cfg.Latency))) }

// fetched hands over what was read, when the process runs.
func (s *space) fetched(f plane.Fetch) {
	if !s.a.alive() {
		return
	}
	s.a.n.deliver(f, func() {
		s.vol.fetches--
		f.Done()
		s.a.beat(true)
		s.a.n.plan()
	})
}
