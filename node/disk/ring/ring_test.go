package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// open returns a ring on a new file, or skips where there is no io_uring.
func open(t *testing.T) (*Ring, *os.File) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r, err := New(int(f.Fd()))
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r, f
}

func TestManyGoroutinesReadWhatTheyWrote(t *testing.T) {
	r, _ := open(t)
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
	r, f := open(t)
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
	_, f := open(t)
	g, err := os.Open(f.Name()) // to read only
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	r, err := New(int(g.Fd()))
	if err != nil {
		t.Fatal(err)
	}
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
	r, _ := open(t)
	good := r.fd
	r.fd = -1
	var wg sync.WaitGroup
	for range 2 * Depth {
		wg.Go(func() {
			if _, err := r.Read(make([]byte, 8), 0); !errors.Is(err, syscall.EBADF) {
				t.Errorf("read without a ring: %v, want EBADF", err)
			}
		})
	}
	wg.Wait()
	r.fd = good
	if _, err := r.Write([]byte("well"), 0); err != nil {
		t.Errorf("a ring that works again: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestAFileThatIsNoneIsRefused(t *testing.T) {
	if _, err := New(1 << 20); !errors.Is(err, ErrUnsupported) {
		t.Errorf("ring for no file: %v, want ErrUnsupported", err)
	}
}
