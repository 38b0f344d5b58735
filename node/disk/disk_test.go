package disk

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

const testBlock = 4096

func block(fill byte) []byte {
	b := Aligned(testBlock)
	for i := range b {
		b[i] = fill
	}
	return b
}

func first(t *testing.T, d Device, off int64) byte {
	t.Helper()
	b := Aligned(testBlock)
	if err := d.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

func openFile(t *testing.T, path string, size int64) Device {
	t.Helper()
	return openWith(t, path, Options{Size: size})
}

func openWith(t *testing.T, path string, o Options) Device {
	t.Helper()
	d, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestFileKeepsWholeBlocksAndRefusesOthers(t *testing.T) {
	dir := t.TempDir()
	threads := openWith(t, filepath.Join(dir, "threads"), Options{Size: 1 << 20, Threads: true})
	for _, d := range []Device{openFile(t, filepath.Join(dir, "dev"), 1<<20), threads, NewMemory("m", 1<<20, testBlock)} {
		last := d.Size() - testBlock
		if err := d.WriteAt(block(7), last); err != nil {
			t.Fatal(err)
		}
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		if got := first(t, d, last); got != 7 {
			t.Errorf("%s: read %d, want 7", d.Info().Kind, got)
		}
		if got := first(t, d, 0); got != 0 {
			t.Errorf("%s: fresh block reads %d", d.Info().Kind, got)
		}
		for _, bad := range []struct {
			n   int
			off int64
		}{{testBlock, 1}, {100, 0}, {testBlock, d.Size()}, {testBlock, -testBlock}} {
			if err := d.ReadAt(make([]byte, bad.n), bad.off); !errors.Is(err, ErrRange) {
				t.Errorf("%s: %d bytes at %d: %v, want ErrRange", d.Info().Kind, bad.n, bad.off, err)
			}
		}
	}
}

func TestFileIsForOneProcessAndNeverShrinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dev")
	d := openFile(t, path, 1<<20)
	if _, err := Open(path, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("second open: %v, want ErrInUse", err)
	}
	d.Close()
	if err := d.WriteAt(block(1), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("write after Close: %v, want ErrClosed", err)
	}
	if again := openFile(t, path, 1<<19); again.Size() != 1<<20 {
		t.Errorf("size %d after opening with a smaller one, want %d", again.Size(), 1<<20)
	}
	if _, err := Open(t.TempDir(), Options{}); err == nil {
		t.Error("a directory was opened as a device")
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file without a size: %v, want ErrNotExist", err)
	}
}

// TestClosingFreesTheFileAtOnce reopens it again and again: the lock must not
// outlive Close, whatever the kernel still keeps of a ring.
func TestClosingFreesTheFileAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dev")
	for range 100 {
		d := openFile(t, path, 1<<20)
		if err := d.WriteAt(block(1), 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Sync(), d.Close(), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRequestsUnderWayOutliveClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dev")
	d := openFile(t, path, 1<<20)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			b := Aligned(testBlock)
			for {
				if err := d.ReadAt(b, 0); errors.Is(err, ErrClosed) {
					return
				} else if err != nil {
					t.Errorf("read beside Close: %v", err)
				}
			}
		})
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	openFile(t, path, 0)
}

func TestCrashKeepsWhatWasSyncedAndAnyPartOfTheRest(t *testing.T) {
	m := NewMemory("m", 1<<20, testBlock)
	write := func(fill byte, off int64) {
		if err := m.WriteAt(block(fill), off); err != nil {
			t.Fatal(err)
		}
	}
	write(1, 0)
	if err := m.Sync(); err != nil {
		t.Fatal(err)
	}
	write(2, 0)
	write(3, testBlock)
	write(4, 0)
	if got := first(t, m, 0); got != 4 {
		t.Errorf("running device reads %d, want 4", got)
	}
	if c := m.Crashed(nil); first(t, c, 0) != 1 || first(t, c, testBlock) != 0 {
		t.Error("a crash that loses all kept something, or lost what was synced")
	}
	calls := 0
	c := m.Crashed(func() bool { calls++; return calls == 1 })
	if first(t, c, 0) != 2 || first(t, c, testBlock) != 0 || calls != 3 {
		t.Errorf("kept the first of three: %d %d after %d questions", first(t, c, 0), first(t, c, testBlock), calls)
	}
	if first(t, m, 0) != 4 {
		t.Error("Crashed changed the device")
	}
}

func TestReplaceLeavesOldOrNewAtEveryFault(t *testing.T) {
	fill := func(text string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
	}
	for n := uint64(1); ; n++ {
		for _, fault := range []Fault{Error, Torn} {
			for _, kept := range []func() bool{nil, func() bool { return true }} {
				mem := NewMemoryDir()
				if err := Replace(mem, "f", fill("old")); err != nil {
					t.Fatal(err)
				}
				s := NewSchedule(func(op Op) Fault {
					if op.N == n {
						return fault
					}
					return None
				})
				err := Replace(NewFaultyDir(mem, s), "f", fill("new text"))
				if err == nil {
					if s.Count() >= n {
						t.Errorf("fault %d in operation %d went unreported", fault, n)
					}
					return
				}
				if !errors.Is(err, ErrInjected) || !errors.Is(err, syscall.EIO) {
					t.Errorf("operation %d: %v", n, err)
				}
				for _, d := range []Dir{mem, mem.Crashed(kept)} {
					got, err := ReadFile(d, "f", 100)
					if err != nil || !bytes.Equal(got, []byte("old")) && !bytes.Equal(got, []byte("new text")) {
						t.Errorf("fault %d in operation %d left %q, %v", fault, n, got, err)
					}
				}
			}
		}
	}
}

func TestFaultsDoWhatTheySay(t *testing.T) {
	next := None
	s := NewSchedule(func(Op) Fault { return next })
	m := NewMemory("m", 1<<20, testBlock)
	d := NewFaulty(m, s)
	two := append(block(9), block(9)...)
	next = Torn
	if err := d.WriteAt(two, 0); !errors.Is(err, ErrInjected) {
		t.Errorf("torn write: %v", err)
	}
	if first(t, m, 0) != 9 || first(t, m, testBlock) != 0 {
		t.Error("a torn write must leave its first half")
	}
	next = Lost
	if err := d.WriteAt(two, 0); err != nil || first(t, m, testBlock) != 0 {
		t.Errorf("lost write: %v, and it must change nothing", err)
	}
	next = Corrupt
	if err := d.WriteAt(block(0), testBlock); err != nil {
		t.Fatal(err)
	}
	got := Aligned(testBlock)
	if err := m.ReadAt(got, testBlock); err != nil || bytes.Equal(got, block(0)) {
		t.Errorf("corrupt write: %v, and one bit must differ", err)
	}
	next = Gone
	if err := d.Sync(); !errors.Is(err, ErrInjected) {
		t.Errorf("gone: %v", err)
	}
	next = None
	if err := d.ReadAt(got, 0); !errors.Is(err, ErrInjected) {
		t.Errorf("after gone: %v, want an error for ever", err)
	}
}

func TestOSDirReplacesAFile(t *testing.T) {
	d := OSDir(t.TempDir())
	if _, err := ReadFile(d, "f", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	for _, text := range []string{"one", "two!"} {
		if err := Replace(d, "f", func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFile(d, "f", 10); err != nil || string(got) != text {
			t.Errorf("got %q, %v, want %q", got, err, text)
		}
	}
	if _, err := ReadFile(d, "f", 3); err == nil {
		t.Error("a file beyond the limit was read")
	}
}
