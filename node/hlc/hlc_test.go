package hlc

import (
	"errors"
	"testing"
)

func TestStampsGrowWhateverTheWallClockDoes(t *testing.T) {
	var c Clock
	last := c.Now(1000)
	for _, wall := range []int64{1000, 1000, 900, 1001, 0, 1001, 5000} {
		s := c.Now(wall)
		if s <= last {
			t.Errorf("at wall %d: %d does not follow %d", wall, s, last)
		}
		last = s
	}
	if last.Millis() != 5000 {
		t.Errorf("stamp is at %d ms, want the wall clock's 5000", last.Millis())
	}
}

func TestReceivedStampsPushTheClockUnlessTooFarAhead(t *testing.T) {
	var c Clock
	near := Stamp(1000+MaxAheadMS) << 16
	if err := c.Receive(near, 1000); err != nil {
		t.Fatal(err)
	}
	if s := c.Now(1000); s <= near {
		t.Errorf("stamp %d does not follow the received %d", s, near)
	}
	far := Stamp(1001+MaxAheadMS)<<16 + 1<<16
	before := c
	if err := c.Receive(far, 1000); !errors.Is(err, ErrAhead) || c != before {
		t.Errorf("a stamp 10 s ahead: %v, clock moved: %v", err, c != before)
	}
}
