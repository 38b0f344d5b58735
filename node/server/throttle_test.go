package server

import (
	"testing"
	"time"
)

func TestMigrationYieldsToTheForegroundAndStartsGently(t *testing.T) {
	th := throttle{rate: floorRate}
	quiet := sample{writes: 10, writeTime: 10 * time.Millisecond}
	for range 50 {
		th.look(quiet)
	}
	moving := quiet
	moving.migrating = true
	if got := th.look(moving); got <= floorRate || got > 1.2*floorRate {
		t.Errorf("first look while migrating: %.0f, want just above the floor", got)
	}
	for range 400 {
		th.look(moving)
	}
	if th.rate != ceilingRate {
		t.Errorf("undisturbed the rate is %.0f, want the ceiling", th.rate)
	}
	slow := moving
	slow.writeTime = 30 * time.Millisecond
	if got := th.look(slow); got > 0.8*ceilingRate {
		t.Errorf("writes three times slower than in quiet times: %.0f, want a cut", got)
	}
	late := moving
	late.late = 20 * time.Millisecond
	for range 100 {
		th.look(late)
	}
	if th.rate != floorRate {
		t.Errorf("on a starved processor the rate is %.0f, want the floor", th.rate)
	}
	if q := th.quiet; q != time.Millisecond {
		t.Errorf("quiet time %v drifted while migrating, want 1ms", q)
	}
}
