package emulate

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"headroom/node/disk"
	"headroom/node/disk/profile"
)

func open(t *testing.T, p *profile.Profile, dilation float64) *Device {
	t.Helper()
	d, err := New(disk.NewMemory("m", 1<<20, 4096), Config{Profile: p, Dilation: dilation, GoTimers: true})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRequestsTakeTheirSlotAndCarryTheData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, device(t, "channels: 1", oneMS), 1)
		defer d.Close()
		took := func(what string, want time.Duration, do func() error) {
			t.Helper()
			began := time.Now()
			if err := do(); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(began); got != want {
				t.Errorf("%s took %v, want %v", what, got, want)
			}
		}
		in, out := bytes.Repeat([]byte{7}, 4096), make([]byte, 4096)
		took("a write", time.Millisecond, func() error { return d.WriteAt(in, 8192) })
		took("a sync", time.Millisecond, d.Sync)
		took("a read", time.Millisecond, func() error { return d.ReadAt(out, 8192) })
		if !bytes.Equal(in, out) {
			t.Error("what was written is not what is read")
		}
		if d.Size() != 1<<20 || d.BlockSize() != 4096 || d.Info().Kind != "emulated" || d.Info().Path != "emulated:t@1:m" {
			t.Errorf("the device is %d bytes in blocks of %d, %+v", d.Size(), d.BlockSize(), d.Info())
		}
	})
}

func TestConcurrentRequestsEndAsTheScheduleSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := profile.Load("sata-ssd")
		if err != nil {
			t.Fatal(err)
		}
		d := open(t, p, 5)
		defer d.Close()
		var wg sync.WaitGroup
		rng := rand.New(rand.NewPCG(1, 1))
		for range 2000 {
			time.Sleep(time.Duration(rng.ExpFloat64() * 100e3))
			wg.Go(func() {
				if err := d.ReadAt(make([]byte, 4096), 0); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		r := d.Report()
		if !r.Faithful() || len(r.Ops) != 1 || r.Ops[0].Count != 2000 || r.Ops[0].MeasuredP99 != r.Ops[0].VirtualP99 {
			t.Errorf("in a bubble measured and virtual times are the same, got %v", r.String())
		}
		if r.Ops[0].RealP99 != r.Ops[0].VirtualP99/5 || !strings.Contains(r.String(), "time-dilated 5 times") {
			t.Errorf("real and dilated figures: %v", r.String())
		}
	})
}

func TestADeadDeviceGivesErrorsAndWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, device(t, "channels: 1", oneMS, "die-after: 10ms"), 1)
		defer d.Close()
		if err := d.WriteAt(bytes.Repeat([]byte{1}, 4096), 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8500 * time.Microsecond)
		began := time.Now()
		err := d.WriteAt(bytes.Repeat([]byte{2}, 4096), 0)
		if !errors.Is(err, ErrDead) || !errors.Is(err, syscall.EIO) {
			t.Errorf("a write over the moment of death: %v", err)
		}
		if got := time.Since(began); got != 500*time.Microsecond {
			t.Errorf("the caller is told after %v, want at the moment of death, 500us", got)
		}
		if err := d.Sync(); !errors.Is(err, ErrDead) {
			t.Errorf("a sync afterwards: %v", err)
		}
		b := make([]byte, 4096)
		if err := d.backing.ReadAt(b, 0); err != nil || b[0] != 1 {
			t.Errorf("the medium holds %d, %v; want what was written before", b[0], err)
		}
	})
}

func TestADeviceThatHangsAnswersNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, device(t, "channels: 2", oneMS, "hang-after: 10ms"), 1)
		if err := d.WriteAt(bytes.Repeat([]byte{1}, 4096), 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8500 * time.Microsecond)
		g := disk.NewGuard(d, time.Second)
		began := time.Now()
		if err := g.WriteAt(bytes.Repeat([]byte{2}, 4096), 0); !errors.Is(err, disk.ErrStuck) {
			t.Errorf("a write over the moment from which it hangs: %v", err)
		}
		if took := time.Since(began); took < time.Second || took > 2*time.Second {
			t.Errorf("its caller was told after %v, want about the limit of 1s", took)
		}
		b := make([]byte, 4096)
		if err := d.backing.ReadAt(b, 0); err != nil || b[0] != 1 {
			t.Errorf("the medium holds %d, %v; want what was written before", b[0], err)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestADeadDeviceIsGoneWithoutARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, device(t, "channels: 1", oneMS, "die-after: 10s"), 1)
		defer d.Close()
		if err := d.Check(); err != nil {
			t.Errorf("before its death: %v", err)
		}
		time.Sleep(10 * time.Second)
		if err := d.Check(); !errors.Is(err, disk.ErrGone) || !errors.Is(err, ErrDead) {
			t.Errorf("after its death: %v", err)
		}
	})
}

func TestCloseWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := "service: [{op: read, size: 4KiB, p50: 30s}, {op: write, size: 4KiB, p50: 30s}]"
		d := open(t, device(t, "channels: 1", slow), 1)
		ended := make(chan error)
		go func() { ended <- d.ReadAt(make([]byte, 4096), 0) }()
		synctest.Wait()
		began := time.Now()
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, disk.ErrClosed) || time.Since(began) != 0 {
			t.Errorf("the read ended after %v with %v", time.Since(began), err)
		}
		if err := d.Sync(); !errors.Is(err, disk.ErrClosed) {
			t.Errorf("a sync after Close: %v", err)
		}
		d.Close()
	})
}

// With the kernel's timers, in real time: they are late, never early.
func TestTheKernelsTimersWakeInOrderAndNotEarly(t *testing.T) {
	epoch := time.Now()
	a, err := newAlarm(func() time.Duration { return time.Since(epoch) }, false)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			at := time.Duration(i*37%200) * 100 * time.Microsecond
			if !a.sleep(at) || time.Since(epoch) < at {
				t.Errorf("woke at %v, asked for %v", time.Since(epoch), at)
			}
		})
	}
	wg.Wait()
}

func TestTheDilationIsTheLeastThatTheTimersCanFollow(t *testing.T) {
	choose := func(name string, late time.Duration, want float64) {
		t.Helper()
		p, err := profile.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := Choose(p, late); got != want {
			t.Errorf("Choose(%s, %v) = %g, want %g", name, late, got, want)
		}
	}
	choose("nvme", 100*time.Microsecond, 20)
	choose("nvme", 400*time.Microsecond, 50)
	choose("hdd", 100*time.Microsecond, 1)
	choose("cloud-network", 100*time.Microsecond, 2)
	choose("nvme", time.Minute, profile.MaxDilation)
	if late, err := Calibrate(); err != nil || late <= 0 {
		t.Errorf("Calibrate = %v, %v, want a time above zero", late, err)
	}
}

func TestAReportSaysWhenTheHostCouldNotFollow(t *testing.T) {
	r := Report{Profile: "t", Dilation: 1, Ops: []OpReport{{Op: "read", Count: 1000, Judged: true, Error: 0.11}}}
	if r.Faithful() || !strings.Contains(r.String(), "NOT FAITHFUL") {
		t.Errorf("11 %% off: %v", r.String())
	}
	r.Ops[0].Judged = false
	if !r.Faithful() {
		t.Error("judged by too few requests")
	}
}

func TestOpenPathTakesEmulatedAndPlainDevices(t *testing.T) {
	dir := t.TempDir()
	kind := func(path, want string) {
		t.Helper()
		d, err := OpenPath(path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if got := d.Info().Kind; got != want || d.Size() != 1<<20 {
			t.Errorf("%s is %s of %d bytes, want %s", path, got, d.Size(), want)
		}
	}
	kind(dir+"/plain", "file")
	kind("emulated:hdd@1:"+dir+"/slow", "emulated")
}

func TestSpecsRoundTripAndNonsenseIsRefused(t *testing.T) {
	for _, text := range []string{"emulated:nvme:/d", "emulated:nvme@20:/d", "emulated:./x.yaml@2.5:memory:1MiB"} {
		s, err := ParseSpec(text)
		if err != nil || s.String() != text {
			t.Errorf("ParseSpec(%q) = %+v, %v, prints %q", text, s, err, s)
		}
	}
	fails := func(text, want string) {
		t.Helper()
		if d, err := Open(text, disk.Options{}, 1); err == nil || !strings.Contains(err.Error(), want) {
			if err == nil {
				d.Close()
			}
			t.Errorf("Open(%q): %v, want %q", text, err, want)
		}
	}
	fails("nvme:/d", "want emulated:PROFILE:PATH")
	fails("emulated:nvme", "want emulated:PROFILE:PATH")
	fails("emulated:nvme@0.5:/d", `dilation "0.5"`)
	fails("emulated:floppy:memory:1MiB", "want one of")
	fails("emulated:nvme:memory:much", "memory:SIZE")
	if _, err := Open("emulated:nvme:memory:1MiB", disk.Options{Size: 1 << 50}, 1); err == nil || !strings.Contains(err.Error(), "more than the") {
		t.Errorf("a device larger than its profile's capacity: %v", err)
	}
	d, err := Open("emulated:hdd:memory:1MiB", disk.Options{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if r := d.Report(); r.Dilation < 1 || !slices.Contains(profile.Names(), r.Profile) {
		t.Errorf("an emulated disk reports %+v", r)
	}
	// What this host's timers did just now is its own affair.
	hdd, err := profile.Load("hdd")
	if err != nil {
		t.Fatal(err)
	}
	if f := Choose(hdd, 500*time.Microsecond); f != 1 {
		t.Errorf("a disk on a host with timers 0.5 ms late is slowed down %v times, it needs none", f)
	}
}
