package local

import (
	"math"
	"testing"
	"time"
)

func TestTheUseOfADeviceIsThatBetweenTwoLooks(t *testing.T) {
	at := time.Unix(1000, 0)
	status := func(pid int, u DeviceLoad) *Status {
		s := &Status{Devices: []DeviceStatus{{Path: "/d", Load: &u}, {Path: "memory:x"}}}
		s.Process.PID = pid
		return s
	}
	var l deviceUse
	see := func(after time.Duration, s *Status) (out Sample) {
		l.sample(s, at.Add(after), &out)
		return out
	}
	if out := see(0, status(7, DeviceLoad{Reads: 5, ReadUS: 1e6})); len(out.Devices) != 0 {
		t.Errorf("a first look tells %+v", out.Devices)
	}
	if out := see(100*time.Millisecond, status(7, DeviceLoad{Reads: 900})); len(out.Devices) != 0 {
		t.Errorf("a tenth of a second tells %+v", out.Devices)
	}
	out := see(2*time.Second, status(7, DeviceLoad{Reads: 205, ReadUS: 1.5e6, ReadBytes: 4096, Writes: 10, WriteUS: 1e5,
		BusyUS: map[string]float64{"readers": 4e5, "writer": 5e5}}))
	if len(out.Devices) != 1 {
		t.Fatalf("%d devices, want the one that is no memory", len(out.Devices))
	}
	d := out.Devices[0]
	if d.ReadsPerS != 100 || d.ReadBPerS != 2048 || math.Abs(d.ReadUS-2500) > 1e-6 || math.Abs(d.WriteUS-10000) > 1e-6 || !math.IsNaN(d.SyncUS) ||
		math.Abs(d.Queue-0.3) > 1e-9 || d.BusyPct != 25 || d.OverSec != 2 {
		t.Errorf("%+v", d)
	}
	if out := see(4*time.Second, status(8, DeviceLoad{Reads: 1})); len(out.Devices) != 0 {
		t.Errorf("a new process tells %+v", out.Devices)
	}
}
