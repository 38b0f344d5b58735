// Package hlc is a hybrid logical clock: 48 bits of wall-clock milliseconds
// and 16 bits of logic, so that stamps are near real time and yet always
// greater than everything the node has seen. It stamps records; timers never
// run on it. The wall clock is always given by the caller.
//
// Source: Kulkarni et al., "Logical Physical Clocks", OPODIS 2014.
package hlc

import "errors"

// Stamp is one reading: milliseconds since the Unix epoch << 16 | logical.
type Stamp uint64

// MaxAheadMS is how far a received stamp may run ahead of the local wall
// clock. A node whose clock is further ahead would drag every record of the
// cluster into the future.
const MaxAheadMS = 10_000

// ErrAhead reports a received stamp more than MaxAheadMS ahead of the wall
// clock. The clock did not move.
var ErrAhead = errors.New("hlc: stamp is more than 10 s ahead of this node's clock")

// Millis returns the stamp's wall-clock part, milliseconds since the epoch.
func (s Stamp) Millis() int64 { return int64(s >> 16) }

// Clock hands out stamps. The zero Clock is ready. It is not safe for
// concurrent use: one owner, or a lock beside it.
type Clock struct{ last Stamp }

// Now returns a stamp greater than every stamp returned or received before.
func (c *Clock) Now(wallMS int64) Stamp {
	s := Stamp(wallMS) << 16
	if s <= c.last {
		s = c.last + 1
	}
	c.last = s
	return s
}

// Receive moves the clock past a stamp from another node, or returns ErrAhead
// and leaves it alone.
func (c *Clock) Receive(s Stamp, wallMS int64) error {
	if s.Millis() > wallMS+MaxAheadMS {
		return ErrAhead
	}
	c.last = max(c.last, s)
	return nil
}
