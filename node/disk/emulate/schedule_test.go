package emulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"headroom/node/disk/profile"
)

func device(t testing.TB, lines ...string) *profile.Profile {
	t.Helper()
	p, err := profile.Parse("t.yaml", []byte("version: 1\nname: t\n"+strings.Join(lines, "\n")+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const oneMS = "service: [{op: read, size: 4KiB, p50: 1ms}, {op: write, size: 4KiB, p50: 1ms}, {op: sync, p50: 1ms}]"

// poisson submits n reads at the given rate per second and returns what each
// waited and took in all, in units of a second.
func poisson(s *Schedule, n int, rate float64, seed uint64) (waits, responses []float64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	now := 0.0
	for range n {
		now += rng.ExpFloat64() / rate
		at := time.Duration(now * float64(time.Second))
		slot := s.Submit(at, profile.Read, 4096)
		waits = append(waits, (slot.Start - at).Seconds())
		responses = append(responses, (slot.End - at).Seconds())
	}
	return waits, responses
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// within fails unless got is within share of want.
func within(t *testing.T, what string, got, want, share float64) {
	t.Helper()
	if math.Abs(got-want) > share*want {
		t.Errorf("%s = %.4g, want %.4g within %g %%", what, got, want, 100*share)
	}
}

// Pollaczek-Khinchine: the mean wait in an M/G/1 queue is
// rho S (1 + cs2) / 2(1 - rho); cs2 is 0 for a constant service time and
// 1/3 for one uniform from 0.
func TestOneChannelWaitsLikePollaczekKhinchine(t *testing.T) {
	uniform := "service: [{op: read, size: 4KiB, p0: 0us, p100: 2ms}, {op: write, size: 4KiB, p50: 1ms}]"
	for _, c := range []struct {
		service string
		cs2     float64
	}{{oneMS, 0}, {uniform, 1.0 / 3}} {
		for _, rho := range []float64{0.3, 0.7, 0.8} {
			waits, _ := poisson(NewSchedule(device(t, "channels: 1", c.service), 1), 200_000, rho*1000, 2)
			within(t, fmt.Sprintf("mean wait at rho %g, cs2 %.2g", rho, c.cs2), mean(waits), 1e-3*rho*(1+c.cs2)/2/(1-rho), 0.04)
		}
	}
}

// A table of -ln(1-q) is an exponential service time, so c channels are an
// M/M/c queue, whose wait and response are known: Wq/S = 0.74554,
// P(wait) = 0.596432 and R99/S = 6.8932 for c = 4 at rho 0.8.
func TestFourChannelsWaitLikeErlangC(t *testing.T) {
	row := "{op: read, size: 4KiB"
	for i := range 1000 {
		q := float64(i) / 1000
		row += fmt.Sprintf(", p%.1f: %.3fus", 100*q, -1000*math.Log(1-q))
	}
	row += ", p99.95: 7600us, p99.99: 9210us, p100: 13ms}"
	p := device(t, "channels: 4", "service: [{op: write, size: 4KiB, p50: 1ms}, "+row+"]")
	within(t, "mean service time in ms", p.Mean(profile.Read, 4096).Seconds()*1e3, 1, 0.01)
	waits, responses := poisson(NewSchedule(p, 3), 400_000, 0.8*4*1000, 4)
	queued := 0
	for _, w := range waits {
		if w > 1e-9 {
			queued++
		}
	}
	slices.Sort(responses)
	within(t, "P(wait)", float64(queued)/float64(len(waits)), 0.596432, 0.02)
	within(t, "mean wait in ms", mean(waits)*1e3, 0.74554, 0.05)
	within(t, "p99 of the response in ms", responses[len(responses)*99/100]*1e3, 6.8932, 0.05)
}

// c channels of constant service time under a full load finish c requests per
// service time.
func TestChannelsServeSideBySide(t *testing.T) {
	s := NewSchedule(device(t, "channels: 3", oneMS), 1)
	for i := range 30 {
		slot := s.Submit(0, profile.Read, 4096)
		if want := time.Duration(i/3) * time.Millisecond; slot.Start != want || slot.End != want+time.Millisecond {
			t.Fatalf("request %d runs from %v to %v, want from %v for 1ms", i, slot.Start, slot.End, want)
		}
	}
}

func TestCapsOnRequestsHoldOverTheirWindow(t *testing.T) {
	s := NewSchedule(device(t, "channels: 100", oneMS, "iops: {read: 1000/s, total: 1500/s}"), 1)
	var last time.Duration
	for range 1000 {
		last = s.Submit(0, profile.Read, 4096).Start
	}
	// 1000 requests at 1000/s, the first 10 of which pass at once.
	if want := 989 * time.Millisecond; last != want {
		t.Errorf("the last of 1000 reads starts at %v, want %v", last, want)
	}
	s = NewSchedule(device(t, "channels: 4096", oneMS, "iops: {read: 1000/s, total: 1500/s}"), 1)
	for i := range 3000 {
		last = s.Submit(0, profile.Op(i%2), 4096).Start
	}
	// The reads alone would be done by 1.5 s; 3000 of both take 2 s.
	within(t, "start of the last of 3000 reads and writes in s", last.Seconds(), 2-0.01, 0.001)
}

func TestBandwidthIsSharedByAllChannels(t *testing.T) {
	s := NewSchedule(device(t, "channels: 8", oneMS, "bandwidth: {write: 100MiB/s, total: 200MiB/s}"), 1)
	var last time.Duration
	for range 100 {
		last = s.Submit(0, profile.Write, 1<<20).End
	}
	within(t, "end of the last of 100 MiB written in s", last.Seconds(), 1, 1e-6)
	for range 100 {
		last = s.Submit(last, profile.Read, 1<<20).End
	}
	within(t, "end of 100 MiB read afterwards in s", last.Seconds(), 1.5, 1e-6)
	small := s.Submit(time.Hour, profile.Read, 4096)
	if got := small.End - small.Start; got != time.Millisecond {
		t.Errorf("a small read on an idle device takes %v, want its service time of 1ms", got)
	}
}

func TestTheDevicePausesWheneverItHasWrittenEnough(t *testing.T) {
	s := NewSchedule(device(t, "channels: 2", oneMS, "stalls: {every: 16KiB, for: 50ms}"), 1)
	for i := range 4 {
		at := time.Duration(i) * 2 * time.Millisecond
		if slot := s.Submit(at, profile.Write, 4096); slot.Start != at {
			t.Fatalf("write %d starts at %v, want %v", i, slot.Start, at)
		}
	}
	// The fourth write, at 6 ms, completes 16 KiB.
	if slot := s.Submit(7*time.Millisecond, profile.Read, 4096); slot.Start != 56*time.Millisecond {
		t.Errorf("a read during the pause starts at %v, want 56ms", slot.Start)
	}
	// Two rounds in one write are two pauses.
	if s.Submit(time.Second, profile.Write, 32<<10); s.Submit(time.Second, profile.Sync, 0).Start != 1100*time.Millisecond {
		t.Error("32 KiB at once do not pause for 100ms")
	}
}

func TestADeviceDiesAtItsTime(t *testing.T) {
	s := NewSchedule(device(t, "channels: 1", oneMS, "die-after: 10ms"), 1)
	if slot := s.Submit(0, profile.Read, 4096); slot.Dead {
		t.Error("dead at the start")
	}
	if slot := s.Submit(9500*time.Microsecond, profile.Write, 4096); !slot.Dead || slot.End != 10*time.Millisecond {
		t.Errorf("a write over the time of death: %+v, want dead at 10ms", slot)
	}
	if slot := s.Submit(time.Hour, profile.Read, 4096); !slot.Dead || slot.End != time.Hour {
		t.Errorf("long after: %+v, want dead at once", slot)
	}
}

func TestADilatedScheduleIsTheRealOneSlowedDown(t *testing.T) {
	for _, name := range profile.Names() {
		p, err := profile.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		fast, slow := NewSchedule(p, 7), NewSchedule(p.Dilate(20), 7)
		rng := rand.New(rand.NewPCG(7, 7))
		var now time.Duration
		for range 20_000 {
			now += time.Duration(rng.ExpFloat64() * 50e3)
			op, size := profile.Op(rng.IntN(2)), int64(4096)<<rng.IntN(6)
			a, b := fast.Submit(now, op, size), slow.Submit(20*now, op, size)
			// Intervals are whole nanoseconds; 20,000 roundings add up.
			if d := (b.End - 20*a.End).Abs(); d > time.Millisecond {
				t.Fatalf("%s: done at %v, dilated at %v, which is 20 times %v", name, a.End, b.End, b.End/20)
			}
		}
	}
}

func TestEqualSeedsGiveEqualSchedules(t *testing.T) {
	p, _ := profile.Load("nvme")
	a, b, c := NewSchedule(p, 1), NewSchedule(p, 1), NewSchedule(p, 2)
	differ := false
	for i := range 1000 {
		now := time.Duration(i) * 10 * time.Microsecond
		x, y, z := a.Submit(now, profile.Read, 4096), b.Submit(now, profile.Read, 4096), c.Submit(now, profile.Read, 4096)
		if x != y {
			t.Fatalf("request %d: %+v and %+v with one seed", i, x, y)
		}
		differ = differ || x != z
	}
	if !differ {
		t.Error("another seed gives the same schedule")
	}
}

func TestTimeDoesNotRunBackwards(t *testing.T) {
	s := NewSchedule(device(t, "channels: 1", oneMS), 1)
	s.Submit(time.Second, profile.Read, 4096)
	if slot := s.Submit(0, profile.Read, 4096); slot.Start != time.Second+time.Millisecond {
		t.Errorf("a late submission starts at %v, want behind the earlier one", slot.Start)
	}
}

func BenchmarkSubmit(b *testing.B) {
	p, _ := profile.Load("nvme")
	s := NewSchedule(p, 1)
	var now time.Duration
	b.ReportAllocs()
	for b.Loop() {
		now += 10 * time.Microsecond
		s.Submit(now, profile.Read, 4096)
	}
}

func TestBusyTellsTheResourceThatEndsTheRate(t *testing.T) {
	s := NewSchedule(device(t, "channels: 2", oneMS, "iops: {read: 10000/s}", "bandwidth: {write: 40960000/s}"), 1)
	poisson(s, 2000, 1000, 1) // a millisecond each: half of what two channels can
	b := s.Busy()
	share := func(d time.Duration) float64 { return d.Seconds() / s.last.Seconds() }
	near := func(what string, got, want float64) {
		t.Helper()
		if got < 0.9*want || got > 1.1*want {
			t.Errorf("%s is used %.3f, want %.3f", what, got, want)
		}
	}
	near("channels", share(b.Channels), 0.5)
	near("read requests", share(b.IOPS[capRead]), 0.1)
	if b.Bandwidth[capWrite] != 0 || b.IOPS[capTotal] != 0 {
		t.Errorf("reads used %+v", b)
	}
	before := s.last
	for range 100 {
		s.Submit(s.last, profile.Write, 4096)
	}
	if got, want := s.Busy().Bandwidth[capWrite], 10*time.Millisecond; got != want {
		t.Errorf("100 writes of 4 KiB at 40.96 MB/s took the pipe for %v after %v, want %v", got, before, want)
	}
}
