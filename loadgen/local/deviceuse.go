package local

import (
	"math"
	"time"

	"headroom/loadgen/result"
)

// useEvery is the least time over which the use of devices and CPU is told:
// counts of a tenth of a second say little.
const useEvery = 500 * time.Millisecond

// DeviceStatus is what a node says of one of its devices.
type DeviceStatus struct {
	Path      string      `json:"path"`
	State     string      `json:"state"`
	UsedBytes int64       `json:"used_bytes"`
	Queued    int64       `json:"queued_blocks"`
	Load      *DeviceLoad `json:"load"` // nil of memory, and of older nodes
}

// DeviceLoad is what was asked of a device since its node opened it. Times are
// sums over requests.
type DeviceLoad struct {
	Reads      float64            `json:"reads"`
	Writes     float64            `json:"writes"`
	Syncs      float64            `json:"syncs"`
	ReadBytes  float64            `json:"read_bytes"`
	WriteBytes float64            `json:"write_bytes"`
	ReadUS     float64            `json:"read_us"`
	WriteUS    float64            `json:"write_us"`
	SyncUS     float64            `json:"sync_us"`
	BusyUS     map[string]float64 `json:"busy_us"` // by resource, time that it was used to all it has
}

// deviceUse is the look from which the use of a node's devices is told next.
type deviceUse struct {
	before *Status
	at     time.Time
}

// sample fills in how the node's devices were used since an earlier look at the
// same process, at least useEvery ago.
func (l *deviceUse) sample(s *Status, at time.Time, out *Sample) {
	before, since := l.before, at.Sub(l.at)
	same := before != nil && before.Process.PID == s.Process.PID && s.Process.UptimeS >= before.Process.UptimeS
	if same && since < useEvery {
		return
	}
	l.before, l.at = s, at
	if !same {
		return
	}
	for i, d := range s.Devices {
		if i < len(before.Devices) && before.Devices[i].Path == d.Path && d.Load != nil && before.Devices[i].Load != nil {
			out.Devices = append(out.Devices, d.Load.since(before.Devices[i].Load, d.Path, since))
		}
	}
}

// since is the use between two looks. The mean number of requests under way is
// their time over the time that passed; the use is that of the busiest resource.
func (u *DeviceLoad) since(b *DeviceLoad, path string, length time.Duration) result.DeviceSample {
	sec := length.Seconds()
	mean := func(took, n float64) float64 {
		if n <= 0 {
			return math.NaN()
		}
		return max(0, took) / n
	}
	busy := 0.0
	for resource, us := range u.BusyUS {
		busy = max(busy, us-b.BusyUS[resource])
	}
	took := u.ReadUS - b.ReadUS + u.WriteUS - b.WriteUS + u.SyncUS - b.SyncUS
	return result.DeviceSample{Device: path, OverSec: sec, ReadsPerS: (u.Reads - b.Reads) / sec, WritesPerS: (u.Writes - b.Writes) / sec,
		SyncsPerS: (u.Syncs - b.Syncs) / sec, ReadBPerS: (u.ReadBytes - b.ReadBytes) / sec, WriteBPerS: (u.WriteBytes - b.WriteBytes) / sec,
		ReadUS: mean(u.ReadUS-b.ReadUS, u.Reads-b.Reads), WriteUS: mean(u.WriteUS-b.WriteUS, u.Writes-b.Writes), SyncUS: mean(u.SyncUS-b.SyncUS, u.Syncs-b.Syncs),
		Queue: max(0, took) / 1e6 / sec, BusyPct: min(100, 100*busy/1e6/sec)}
}
