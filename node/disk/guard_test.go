package disk

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headroom/node/disk/ring"
)

// hanging is a device whose reads wait for release when hang is set.
type hanging struct {
	*Memory
	mu      sync.Mutex // guards hang
	hang    bool
	release chan struct{}
}

func newHanging() *hanging {
	return &hanging{Memory: NewMemory("m", 1<<20, 4096), release: make(chan struct{})}
}

func (h *hanging) set(hang bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hang = hang
}

func (h *hanging) ReadAt(p []byte, off int64) error {
	h.mu.Lock()
	hang := h.hang
	h.mu.Unlock()
	if hang {
		<-h.release
	}
	return h.Memory.ReadAt(p, off)
}

func TestADeviceThatHangsIsGivenUpAndItsCallersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newHanging()
		g := NewGuard(d, 8*time.Second)
		if err := g.WriteAt(make([]byte, 4096), 0); err != nil {
			t.Fatal(err)
		}
		d.set(true)
		began := time.Now()
		errs := make(chan error)
		const callers = 3 * guardWorkers // more than can be at the device at once
		for range callers {
			go func() { errs <- g.ReadAt(make([]byte, 4096), 0) }()
		}
		for range callers {
			if err := <-errs; !errors.Is(err, ErrStuck) || !strings.Contains(err.Error(), "m: ") || !strings.Contains(err.Error(), "longer than 8s") {
				t.Errorf("a read of a device that hangs: %v", err)
			}
		}
		if took := time.Since(began); took < 8*time.Second || took > 11*time.Second {
			t.Errorf("the device was given up after %v, want between the limit and a little more", took)
		}
		<-g.Given()
		before := time.Now()
		for _, err := range []error{g.WriteAt(make([]byte, 4096), 0), g.Sync()} {
			if !errors.Is(err, ErrStuck) {
				t.Errorf("afterwards: %v, want ErrStuck", err)
			}
		}
		if took := time.Since(before); took != 0 {
			t.Errorf("afterwards a call took %v, want no time", took)
		}
		synctest.Wait() // callers that have their answer are about to end
		if n := runtime.NumGoroutine(); n > guardWorkers+20 {
			t.Errorf("%d goroutines are left behind, want at most %d and the test's own", n, guardWorkers)
		}
		if err := g.Close(); err != nil {
			t.Errorf("close with requests that hang: %v", err)
		}
		close(d.release)
	})
}

func TestASlowDeviceIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newHanging()
		g := NewGuard(d, 8*time.Second)
		defer g.Close()
		d.set(true)
		for range 5 {
			ended := make(chan error)
			go func() { ended <- g.ReadAt(make([]byte, 4096), 0) }()
			time.Sleep(7900 * time.Millisecond)
			d.release <- struct{}{}
			if err := <-ended; err != nil {
				t.Fatalf("a read of 7.9 s under a limit of 8 s: %v", err)
			}
		}
		if l := g.Load(); l.Reads != 5 || l.ReadBytes != 5*4096 || l.ReadTime < 5*7*time.Second {
			t.Errorf("load %+v, want 5 reads of 7.9 s", l)
		}
	})
}

// A process that was stopped finds its requests old when it goes on; they are
// not late by that.
func TestTimeInWhichNobodyLookedDoesNotCount(t *testing.T) {
	g := NewGuard(NewMemory("m", 1<<20, 4096), time.Hour)
	defer g.Close()
	w := &guardWorker{}
	w.began.Store(g.look.Load())
	g.workers = append(g.workers, w)
	if n := g.late(g.look.Add(1)); n != 0 {
		t.Errorf("after one look, however late, %d requests are stuck", n)
	}
	if n := g.late(g.look.Add(guardLooks)); n != 1 {
		t.Errorf("after %d looks %d requests are stuck, want 1", guardLooks+1, n)
	}
	g.workers = nil
}

func TestAFileThatVanishesIsGivenUp(t *testing.T) {
	gone := func(name, why string, harm func(path string) error) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "d")
		d, err := Open(path, Options{Size: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		g := NewGuard(d, time.Minute)
		defer g.Close()
		if err := d.(Checker).Check(); err != nil {
			t.Fatalf("%s: before: %v", name, err)
		}
		if err := harm(path); err != nil {
			t.Fatal(err)
		}
		<-g.Given() // within a second, without any request
		if err := g.Err(); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q and the path", name, err, why)
		}
		if err := g.WriteAt(Aligned(4096), 0); !errors.Is(err, ErrGone) {
			t.Errorf("%s: a write afterwards: %v", name, err)
		}
	}
	gone("removed", "removed", os.Remove)
	gone("cut", "cut short from 1048576 to 0 bytes", func(p string) error { return os.Truncate(p, 0) })
	gone("replaced", "another file", func(p string) error {
		if err := os.Remove(p); err != nil {
			return err
		}
		return os.WriteFile(p, make([]byte, 1<<20), 0o600)
	})
}

// TestALoopDeviceThatShrinksIsGivenUp wants root and losetup.
func TestALoopDeviceThatShrinksIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backing")
	if err := os.WriteFile(path, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "-f", "--show", path).CombinedOutput()
	if err != nil {
		t.Skipf("losetup: %v %s", err, out)
	}
	loop := strings.TrimSpace(string(out))
	defer exec.Command("losetup", "-d", loop).Run()
	d, err := Open(loop, Options{})
	if err != nil {
		t.Fatal(err)
	}
	g := NewGuard(d, time.Minute)
	defer g.Close()
	if err := d.(Checker).Check(); err != nil || d.Info().Kind != "block" {
		t.Fatalf("%+v, before: %v", d.Info(), err)
	}
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("losetup", "-c", loop).CombinedOutput(); err != nil {
		t.Skipf("losetup -c: %v %s", err, out)
	}
	<-g.Given()
	if err := g.Err(); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), loop) || !strings.Contains(err.Error(), "from 2097152 to 1048576 bytes") {
		t.Errorf("a device of half the size: %v", err)
	}
}

// BenchmarkGuard is of a device without a ring.
func BenchmarkGuard(b *testing.B) {
	m := NewMemory("m", 1<<20, 4096)
	p := Aligned(4096)
	g := NewGuard(m, time.Minute)
	defer g.Close()
	for name, d := range map[string]Device{"without": m, "with": g} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := d.ReadAt(p, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A pipe that nobody writes to is a file whose reads hang in the kernel.
func TestCallersOfARingThatHangsGoOn(t *testing.T) {
	for _, lanes := range []int{0, 1} {
		from, to, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		defer to.Close()
		r, err := ring.New(int(from.Fd()), lanes)
		if err != nil {
			t.Skip(err)
		}
		g := NewGuard(&osDevice{f: from, ring: r, info: Info{Path: "p", Kind: "file"}, size: 1 << 20, block: 4096}, 80*time.Millisecond)
		errs := make(chan error)
		const callers = 3 * ring.Depth
		for range callers {
			go func() { errs <- g.ReadAt(make([]byte, 4096), 0) }()
		}
		for range callers {
			if err := <-errs; !errors.Is(err, ErrStuck) || !strings.Contains(err.Error(), "longer than 80ms") {
				t.Errorf("%d lanes: a read that hangs: %v", lanes, err)
			}
		}
		for _, err := range []error{g.ReadAt(make([]byte, 4096), 0), g.WriteAt(make([]byte, 4096), 0), g.Sync()} {
			if !errors.Is(err, ErrStuck) {
				t.Errorf("%d lanes, afterwards: %v, want ErrStuck", lanes, err)
			}
		}
		if err := g.Close(); err != nil {
			t.Errorf("%d lanes, close with requests that hang: %v", lanes, err)
		}
	}
}
