package local

import (
	"math"
	"runtime"
	"testing"
	"time"
)

func TestASetClockIsNoticedAndASlewIsNot(t *testing.T) {
	f := func(set time.Duration, want float64) {
		t.Helper()
		if got := stepOf(time.Second+set, time.Second); math.Abs(got-want) > 0.001 {
			t.Errorf("a clock set by %v: step %v ms, want %v", set, got, want)
		}
	}
	f(0, 0)
	f(400*time.Microsecond, 0)
	f(-3*time.Second, 3000)
	f(time.Hour, 3_600_000)
}

func TestASamplerSeesItsOwnProcess(t *testing.T) {
	s := NewSampler(0)
	end := time.Now().Add(50 * time.Millisecond)
	for time.Now().Before(end) {
		_ = make([]byte, 1<<16)
	}
	runtime.GC()
	g := s.Sample()
	if g.CPUPct <= 0 || g.HeapBytes <= 0 || g.GCPauseMaxUS <= 0 || g.WallStepMS != 0 {
		t.Errorf("after 50 ms of work and a collection: %+v", g)
	}
	if w := s.Whole(); w.GCPauseMaxUS < g.GCPauseMaxUS {
		t.Errorf("whole run %+v, last second %+v", w, g)
	}
}

func TestLoopbackIsThisMachine(t *testing.T) {
	if !OnThisMachine([]string{"192.0.2.1:1", "127.0.0.1:4300"}) || !OnThisMachine([]string{"[::1]:4300"}) {
		t.Error("loopback is taken for another machine")
	}
	if OnThisMachine([]string{"192.0.2.1:4300", "nonsense"}) || OnThisMachine(nil) {
		t.Error("a documentation address is taken for this machine")
	}
}
