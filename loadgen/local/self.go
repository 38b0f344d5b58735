package local

import (
	"math"
	"runtime/metrics"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"headroom/loadgen/result"
)

// The figures that a Sampler reads from the runtime.
var runtimeFigures = []string{"/cpu/classes/gc/total:cpu-seconds", "/sched/pauses/total/gc:seconds", "/sched/latencies:seconds",
	"/memory/classes/heap/objects:bytes"}

// Sampler looks at this process and its host from time to time: what the load
// generator itself costs and what disturbs it. It belongs to one goroutine.
type Sampler struct {
	read    []metrics.Sample
	gcCPU   float64
	pauses  []uint64 // counts at the last sample
	delays  []uint64
	at      time.Time // of the last sample, with its monotonic reading
	cpu     time.Duration
	ticks   CPUTicks
	net     network
	speed   int64                  // of the host's interfaces; zero: what they tell
	begun   result.GeneratorSample // greatest values since the start
	delayed []uint64               // counts of scheduling delays at the start
	gcBegun float64                // CPU seconds of the collector at the start
}

// NewSampler takes a first look; each Sample tells of the time since the last.
// linkSpeed is as of WatchRemote.
func NewSampler(linkSpeed int64) *Sampler {
	s := &Sampler{speed: linkSpeed}
	for _, name := range runtimeFigures {
		s.read = append(s.read, metrics.Sample{Name: name})
	}
	s.Sample()
	s.begun, s.delayed, s.gcBegun = result.GeneratorSample{}, s.delays, s.gcCPU
	return s
}

// Meters are what Whole is computed from: the collector's CPU time and the
// scheduling delays, one meter for each bucket that went up.
func (s *Sampler) Meters() []result.Meter {
	list := []result.Meter{{Name: result.MeterGCCPU, From: int64(s.gcBegun * 1e9), To: int64(s.gcCPU * 1e9)}}
	if s.read[2].Value.Kind() != metrics.KindFloat64Histogram {
		return list
	}
	h := s.read[2].Value.Float64Histogram()
	for b, n := range s.delays {
		before := uint64(0)
		if b < len(s.delayed) {
			before = s.delayed[b]
		}
		if n > before {
			list = append(list, result.Meter{Name: result.MeterSched + strconv.FormatFloat(edgeUS(h.Buckets, b), 'f', -1, 64), From: int64(before), To: int64(n)})
		}
	}
	return list
}

// edgeUS is the upper edge of a bucket of the runtime's in microseconds, of the
// last its lower one.
func edgeUS(edges []float64, b int) float64 {
	if edge := edges[b+1]; !math.IsInf(edge, 1) {
		return edge * 1e6
	}
	return edges[b] * 1e6
}

// Sample tells what happened since the last call; TSec and InFlight are the
// caller's to fill.
func (s *Sampler) Sample() result.GeneratorSample {
	metrics.Read(s.read)
	now, cpu, ticks, net := time.Now(), ownCPU(), ReadCPUTicks(), readNetwork(s.speed)
	out := result.GeneratorSample{HostCPUPct: -1, StealPct: ticks.StealPct(s.ticks), WallStepMS: s.step(now), NetBusyPct: net.busyPct(&s.net),
		NetDropped: int64(net.dropped - s.net.dropped)}
	if d := now.Sub(s.at).Seconds(); d > 0 && !s.at.IsZero() {
		out.CPUPct = 100 * (cpu - s.cpu).Seconds() / d
		out.GCCPUPct = 100 * (s.float(0) - s.gcCPU) / d
	}
	if ticks.Total > s.ticks.Total {
		out.HostCPUPct = 100 * (1 - float64(ticks.Idle-s.ticks.Idle)/float64(ticks.Total-s.ticks.Total))
	}
	var pauses, delays []uint64
	out.GCPauseMaxUS, pauses = s.quantile(1, s.pauses, 1)
	out.SchedP99US, delays = s.quantile(2, s.delays, 0.99)
	out.HeapBytes = int64(s.uint(3))
	s.gcCPU, s.pauses, s.delays, s.at, s.cpu, s.ticks, s.net = s.float(0), pauses, delays, now, cpu, ticks, net
	s.begun.GCPauseMaxUS = max(s.begun.GCPauseMaxUS, out.GCPauseMaxUS)
	s.begun.WallStepMS = max(s.begun.WallStepMS, out.WallStepMS)
	return out
}

// Whole tells of the time since NewSampler, up to the last Sample: the longest
// collector pause, the p99 of scheduling delays and the greatest step of the
// wall clock. The rest is zero.
func (s *Sampler) Whole() result.GeneratorSample {
	out := s.begun
	out.SchedP99US, _ = s.quantile(2, s.delayed, 0.99)
	return out
}

// step is how far the wall clock was set since the last sample.
func (s *Sampler) step(now time.Time) float64 {
	if s.at.IsZero() {
		return 0
	}
	return stepOf(now.Round(0).Sub(s.at.Round(0)), now.Sub(s.at))
}

// stepOf is how far the wall clock ran ahead of or behind the monotonic one, in
// milliseconds, either way. Up to a thousandth it is slewed, which counts as
// none.
func stepOf(wall, mono time.Duration) float64 {
	d := (wall - mono).Abs()
	if d < max(time.Millisecond, mono/1000) {
		return 0
	}
	return float64(d.Microseconds()) / 1000
}

func (s *Sampler) float(i int) float64 {
	if s.read[i].Value.Kind() != metrics.KindFloat64 {
		return 0
	}
	return s.read[i].Value.Float64()
}

func (s *Sampler) uint(i int) uint64 {
	if s.read[i].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s.read[i].Value.Uint64()
}

// quantile is the q of a runtime histogram's growth since the counts before, in
// microseconds (the upper edge of its bucket), and the counts now.
func (s *Sampler) quantile(i int, before []uint64, q float64) (us float64, now []uint64) {
	if s.read[i].Value.Kind() != metrics.KindFloat64Histogram {
		return -1, nil
	}
	h := s.read[i].Value.Float64Histogram()
	now = append(now, h.Counts...)
	grown, total := make([]uint64, len(now)), uint64(0)
	for b, n := range now {
		if grown[b] = n; b < len(before) {
			grown[b] -= before[b]
		}
		total += grown[b]
	}
	rank, seen := uint64(math.Ceil(q*float64(total))), uint64(0)
	for b, n := range grown {
		if seen += n; n > 0 && seen >= rank {
			return edgeUS(h.Buckets, b), now
		}
	}
	return 0, now
}

// ownCPU is the CPU time of this process so far, user and system.
func ownCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
