package disk

import (
	"errors"
	"fmt"
	"time"

	"headroom/node/disk/ring"
)

// StreamDepth is how many reads of a Stream may be under way.
const StreamDepth = ring.StreamDepth

// Streamer is a device that may have streams.
type Streamer interface {
	// Stream returns a new one, nil if the device has none: then, and while it
	// is not Quick, ReadAt by several goroutines does as much.
	Stream() *Stream
}

// Stream reads a device for one goroutine, which has many reads under way at a
// time; see ring.Stream. All methods but Ring are that goroutine's.
type Stream struct {
	*ring.Stream
	device *osDevice
	guard  *Guard // nil: none
	asked  [StreamDepth]asked
	now    time.Time // as far as it is known; zero: ask
}

// asked is a read under way.
type asked struct {
	n     int
	into  []byte // nil: the stream's own memory
	off   int64
	began time.Time
}

// Stream implements Streamer.
func (d *osDevice) Stream() *Stream {
	if d.ring == nil || !d.enter() {
		return nil
	}
	s := d.ring.Stream()
	if s == nil {
		d.leave()
		return nil
	}
	return &Stream{Stream: s, device: d}
}

// Stream implements Streamer.
func (g *Guard) Stream() *Stream {
	d, ok := g.Device.(Streamer)
	if !ok {
		return nil
	}
	s := d.Stream()
	if s != nil {
		s.guard = g
	}
	return s
}

// Begin asks for n bytes from off on, as ReadAt does, and returns the read's
// number, below StreamDepth. It reports false if nothing was begun: there is no
// room, or ReadAt would tell the error.
func (s *Stream) Begin(n int, off int64) (number int, ok bool) {
	if check(s.device, n, off) != nil {
		return 0, false
	}
	number, ok = s.Stream.Begin(n, off)
	s.note(number, ok, asked{n: n, off: off})
	return number, ok
}

// BeginInto is Begin into memory of the caller's, aligned, which is the
// device's until the read has ended, and for ever if it ended with an error.
func (s *Stream) BeginInto(p []byte, off int64) (number int, ok bool) {
	if check(s.device, len(p), off) != nil {
		return 0, false
	}
	number, ok = s.Stream.BeginInto(p, off)
	s.note(number, ok, asked{n: len(p), into: p, off: off})
	return number, ok
}

func (s *Stream) note(number int, ok bool, a asked) {
	if !ok {
		return
	}
	if s.now.IsZero() {
		s.now = time.Now()
	}
	a.began = s.now
	s.asked[number] = a
}

// Wait is ring.Stream's. The reads that have ended are whole, or have an error
// as ReadAt's.
func (s *Stream) Wait(stay func() bool, ended func(number int, p []byte, err error)) {
	s.now = time.Time{}
	s.Stream.Wait(stay, func(number int, p []byte, err error) {
		a := &s.asked[number]
		if s.now.IsZero() {
			s.now = time.Now()
		}
		if err == nil && len(p) == a.n {
			s.guard.counted(guardRead, a.n, s.now.Sub(a.began))
			ended(number, p, nil)
			return
		}
		p, err = s.again(a, err)
		ended(number, p, err)
	})
}

// again makes up for a read that came short, or was interrupted.
func (s *Stream) again(a *asked, err error) ([]byte, error) {
	if errors.Is(err, ring.ErrAbandoned) {
		err = fmt.Errorf("%s at %d: %w", s.device.info.Path, a.off, err)
		if s.guard != nil {
			err = s.guard.judged(err)
		}
		return nil, err
	}
	p := a.into
	if p == nil {
		p = Aligned(a.n)
	}
	if s.guard != nil {
		return p, s.guard.ReadAt(p, a.off)
	}
	return p, s.device.ReadAt(p, a.off)
}

// Close gives the stream up; no read may be under way unless the device was
// given up.
func (s *Stream) Close() error {
	err := s.Stream.Close()
	s.device.leave()
	return err
}
