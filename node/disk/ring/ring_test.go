package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// open returns a ring on a new file, or skips where there is no io_uring.
func open(t *testing.T, lanes int) (*Ring, *os.File) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return openFile(t, f, lanes), f
}

func openFile(t *testing.T, f *os.File, lanes int) *Ring {
	t.Helper()
	r, err := New(int(f.Fd()), lanes)
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(r.lanes) != lanes {
		t.Skip("a kernel without limits of waits")
	}
	return r
}

func TestManyGoroutinesReadWhatTheyWrote(t *testing.T) {
	for _, lanes := range []int{0, 1, 3} {
		t.Run(fmt.Sprintf("%d lanes", lanes), func(t *testing.T) { writeAndRead(t, lanes) })
	}
}

func writeAndRead(t *testing.T, lanes int) {
	r, _ := open(t, lanes)
	const workers, rounds, size = 3 * Depth, 50, 512
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			out, in := make([]byte, size), make([]byte, size)
			for n := range rounds {
				binary.LittleEndian.PutUint32(out, uint32(w))
				binary.LittleEndian.PutUint32(out[size-4:], uint32(n))
				off := int64(w*rounds+n) * size
				if k, err := r.Write(out, off); k != size || err != nil {
					t.Errorf("write: %d, %v", k, err)
				}
				if n%10 == 0 {
					if err := r.Sync(); err != nil {
						t.Errorf("sync: %v", err)
					}
				}
				if k, err := r.Read(in, off); k != size || err != nil || !bytes.Equal(in, out) {
					t.Errorf("read: %d, %v, equal %v", k, err, bytes.Equal(in, out))
				}
			}
		})
	}
	wg.Wait()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestReadsEndWithTheFile(t *testing.T) {
	r, f := open(t, 1)
	defer r.Close()
	if _, err := f.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10)
	if n, err := r.Read(p, 0); n != 5 || err != nil || string(p[:n]) != "hello" {
		t.Errorf("across the end: %d, %v", n, err)
	}
	if n, err := r.Read(p, 100); n != 0 || err != nil {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

func TestErrorsOfTheFileReachTheirRequest(t *testing.T) {
	_, f := open(t, 0)
	g, err := os.Open(f.Name()) // to read only
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	r := openFile(t, g, 1)
	defer r.Close()
	if _, err := r.Write(make([]byte, 8), 0); !errors.Is(err, syscall.EBADF) {
		t.Errorf("write to a file opened to read: %v, want EBADF", err)
	}
	if _, err := r.Read(make([]byte, 8), -5); err == nil {
		t.Error("a negative offset was read")
	}
}

// TestRequestsEndWhenTheKernelTakesNone breaks the ring's descriptor: nobody
// may wait for ever.
func TestRequestsEndWhenTheKernelTakesNone(t *testing.T) {
	r, _ := open(t, 1)
	good, lane := r.fd, r.lanes[0].fd
	r.fd, r.lanes[0].fd = -1, -1
	var wg sync.WaitGroup
	for range 2 * Depth {
		wg.Go(func() {
			if _, err := r.Read(make([]byte, 8), 0); !errors.Is(err, syscall.EBADF) {
				t.Errorf("read without a ring: %v, want EBADF", err)
			}
		})
	}
	wg.Wait()
	r.fd, r.lanes[0].fd = good, lane
	if _, err := r.Write([]byte("well"), 0); err != nil {
		t.Errorf("a ring that works again: %v", err)
	}
	if n, err := r.Read(make([]byte, 8), 0); n != 4 || err != nil {
		t.Errorf("a lane that works again: %d, %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestAFileThatIsNoneIsRefused(t *testing.T) {
	if _, err := New(1<<20, 1); !errors.Is(err, ErrUnsupported) {
		t.Errorf("ring for no file: %v, want ErrUnsupported", err)
	}
}

// pipe returns a ring on a pipe, whose reads wait for what is written to it.
func pipe(t *testing.T, lanes int) (*Ring, *os.File) {
	t.Helper()
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { from.Close(); to.Close() })
	return openFile(t, from, lanes), to
}

func TestCallersLeaveAnAbandonedRing(t *testing.T) {
	for _, lanes := range []int{0, 1, 3} {
		r, to := pipe(t, lanes)
		const callers = Depth + 5*laneDepth // more than there are slots
		errs := make(chan error)
		for range callers {
			go func() {
				_, err := r.Read(make([]byte, 8), 0)
				errs <- err
			}()
		}
		for r.Look(0) < Depth {
			runtime.Gosched()
		}
		r.Abandon()
		r.Abandon()
		for range callers {
			if err := <-errs; !errors.Is(err, ErrAbandoned) {
				t.Errorf("%d lanes: %v, want ErrAbandoned", lanes, err)
			}
		}
		if _, err := to.Write(make([]byte, 8*callers)); err != nil { // the answers come after all
			t.Error(err)
		}
		if _, err := r.Read(make([]byte, 8), 0); !errors.Is(err, ErrAbandoned) {
			t.Errorf("%d lanes, afterwards: %v, want ErrAbandoned", lanes, err)
		}
		if err := r.Close(); !errors.Is(err, ErrAbandoned) {
			t.Errorf("%d lanes, close: %v, want ErrAbandoned", lanes, err)
		}
		if n := r.Look(0); n != 0 {
			t.Errorf("%d lanes: %d requests have callers still", lanes, n)
		}
	}
}

func TestOldRequestsAreLate(t *testing.T) {
	for _, lanes := range []int{0, 1} {
		r, to := pipe(t, lanes)
		ended := make(chan error)
		go func() {
			_, err := r.Read(make([]byte, 8), 0)
			ended <- err
		}()
		for r.Look(0) == 0 {
			runtime.Gosched()
		}
		for range 3 {
			r.Look(3)
		}
		if n := r.Look(3); n != 1 {
			t.Errorf("%d lanes: %d requests are late, want 1", lanes, n)
		}
		if _, err := to.Write(make([]byte, 8)); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("%d lanes: %v", lanes, err)
		}
		if n := r.Look(0); n != 0 {
			t.Errorf("%d lanes: %d requests are late when none is under way", lanes, n)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A thread that waits keeps a scheduler slot from others.
func TestASlowFileIsNotWaitedForInThreads(t *testing.T) {
	r, to := pipe(t, 1)
	time.AfterFunc(2*slowWait, func() { to.Write(make([]byte, 16)) })
	if _, err := r.Read(make([]byte, 8), 0); err != nil {
		t.Fatal(err)
	}
	if n := r.slow.Load(); n != slowReads {
		t.Errorf("after a slow read %d do not wait in a lane, want %d", n, slowReads)
	}
	if _, err := r.Read(make([]byte, 8), 0); err != nil || r.slow.Load() != slowReads-1 {
		t.Errorf("the next: %v, then %d", err, r.slow.Load())
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestPopulatedMemoryIsResident(t *testing.T) {
	r, err := New(-1, 0)
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	page := os.Getpagesize()
	p, err := unix.Mmap(-1, 0, 64*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(p)
	if err := r.Populate(p[:32*page]); errors.Is(err, syscall.EINVAL) {
		t.Skip("a kernel before Linux 5.14 does not populate")
	} else if err != nil {
		t.Fatal(err)
	}
	resident := make([]byte, 64)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), uintptr(unsafe.Pointer(&resident[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for i, is := range resident {
		if is&1 == 1 != (i < 32) {
			t.Errorf("page %d of 64, 32 of them populated: resident %d", i, is&1)
		}
	}
}
