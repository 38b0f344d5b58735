package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// numberedFile returns a file whose every 512 bytes begin with their number.
func numberedFile(t *testing.T, parts int) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	var b bytes.Buffer
	for i := range parts {
		p := make([]byte, 512)
		binary.LittleEndian.PutUint64(p, uint64(i))
		b.Write(p)
	}
	if _, err := f.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	return f
}

// bothWays runs a test of streams that wait in their thread and of such that
// wait as goroutines.
func bothWays(t *testing.T, test func(t *testing.T, lanes int)) {
	for _, lanes := range []int{0, 1} {
		t.Run(fmt.Sprintf("%d lanes", lanes), func(t *testing.T) { test(t, lanes) })
	}
}

func stream(t *testing.T, r *Ring) *Stream {
	t.Helper()
	s := r.Stream()
	if s == nil {
		t.Skip("an old kernel")
	}
	return s
}

func TestAStreamGivesEachReadItsBytes(t *testing.T) { bothWays(t, aStreamGivesEachReadItsBytes) }

func aStreamGivesEachReadItsBytes(t *testing.T, lanes int) {
	const parts, reads = 1000, 5000
	r := openFile(t, numberedFile(t, parts), lanes)
	defer r.Close()
	s := stream(t, r)
	defer s.Close()
	var want [StreamDepth]uint64
	begun, ended := 0, 0
	for ended < reads {
		for begun < reads && s.Room() > 0 {
			at, size := uint64(begun*7%parts), 512
			if begun%100 == 0 { // longer than a slot's memory
				at, size = uint64(begun%900), 100*512
			}
			i, ok := s.Begin(size, int64(at)*512)
			if !ok {
				t.Fatal("there is room and nothing was begun")
			}
			want[i] = at
			begun++
		}
		s.Wait(nil, func(i int, p []byte, err error) {
			ended++
			if err != nil || len(p) != 512 && len(p) != 100*512 {
				t.Fatalf("%d bytes, %v", len(p), err)
			}
			for k := 0; k < len(p); k += 512 {
				if got := binary.LittleEndian.Uint64(p[k:]); got != want[i]+uint64(k/512) {
					t.Fatalf("read %d has part %d, want %d", i, got, want[i])
				}
			}
		})
	}
	if s.Busy() || s.Room() != StreamDepth {
		t.Errorf("at the end: busy %v, room %d", s.Busy(), s.Room())
	}
}

func TestAStreamGoesOnWithTheNextReadBeforeItHasToldOfAll(t *testing.T) {
	r := openFile(t, numberedFile(t, 1), 1)
	defer r.Close()
	s := stream(t, r)
	defer s.Close()
	begin := func() {
		if _, ok := s.Begin(512, 0); !ok {
			t.Fatal("not begun")
		}
	}
	for range StreamDepth {
		begin()
	}
	told := 0
	wait := func() {
		before := told
		s.Wait(nil, func(_ int, _ []byte, err error) {
			if told++; err != nil {
				t.Error(err)
			}
		})
		if n := told - before; n > collectMost {
			t.Fatalf("told of %d reads at once", n)
		}
	}
	for told == 0 {
		wait()
	}
	begin()
	waiting := StreamDepth + 1 - told // with the one that the kernel has not heard of
	wait()
	if s.pending > 0 || waiting < StreamDepth-collectMost {
		t.Errorf("%d reads are left, and the kernel was not told of %d", waiting, s.pending)
	}
	for s.Busy() {
		wait()
	}
	if told != StreamDepth+1 {
		t.Errorf("told of %d reads, want %d", told, StreamDepth+1)
	}
}

func TestReadsOfAStreamEndWithTheFile(t *testing.T) { bothWays(t, readsOfAStreamEndWithTheFile) }

func readsOfAStreamEndWithTheFile(t *testing.T, lanes int) {
	r := openFile(t, numberedFile(t, 1), lanes)
	defer r.Close()
	s := stream(t, r)
	defer s.Close()
	f := func(off int64, n int, failed bool) {
		t.Helper()
		if _, ok := s.Begin(1024, off); !ok {
			t.Fatal("not begun")
		}
		for s.Busy() {
			s.Wait(nil, func(_ int, p []byte, err error) {
				if len(p) != n || (err != nil) != failed {
					t.Errorf("at %d: %d bytes, %v; want %d", off, len(p), err, n)
				}
			})
		}
	}
	f(0, 512, false)
	f(512, 0, false)
	f(-5, 0, true)
}

// TestRingWakesAStream rings while its owner waits for a pipe that is never
// written to.
func TestRingWakesAStream(t *testing.T) { bothWays(t, ringWakesAStream) }

func ringWakesAStream(t *testing.T, lanes int) {
	r, to := pipe(t, lanes)
	s := stream(t, r)
	if _, ok := s.Begin(8, 0); !ok {
		t.Fatal("not begun")
	}
	none := func(int, []byte, error) { t.Error("a read has ended") }
	const rounds = 100
	asked, woken := 0, make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for range rounds {
			<-woken
			s.Ring()
		}
	})
	for range rounds {
		s.Wait(func() bool { asked++; woken <- struct{}{}; return true }, none)
	}
	wg.Wait()
	s.Wait(func() bool { return false }, none) // does not wait at all
	if asked != rounds {
		t.Errorf("asked %d times whether to stay, want %d", asked, rounds)
	}
	if _, err := to.Write(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	for s.Busy() {
		s.Wait(nil, func(_ int, p []byte, err error) {
			if len(p) != 8 || err != nil {
				t.Errorf("%d bytes, %v", len(p), err)
			}
		})
	}
	if err := errors.Join(s.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	s.Ring() // of no effect
}

func TestAnAbandonedStreamLeavesItsReads(t *testing.T) { bothWays(t, anAbandonedStreamLeavesItsReads) }

func anAbandonedStreamLeavesItsReads(t *testing.T, lanes int) {
	r, to := pipe(t, lanes)
	s := stream(t, r)
	for range StreamDepth {
		s.Begin(8, 0)
	}
	s.Wait(func() bool { return false }, nil)
	for range 4 {
		r.Look(3)
	}
	if n := r.Look(3); n != StreamDepth {
		t.Errorf("%d reads are late, want %d", n, StreamDepth)
	}
	var wg sync.WaitGroup
	wg.Go(r.Abandon)
	left := 0
	for s.Busy() {
		s.Wait(nil, func(_ int, p []byte, err error) {
			left++
			if p != nil || !errors.Is(err, ErrAbandoned) {
				t.Errorf("%d bytes, %v", len(p), err)
			}
		})
	}
	wg.Wait()
	if left != StreamDepth {
		t.Errorf("%d reads were left, want %d", left, StreamDepth)
	}
	if _, ok := s.Begin(8, 0); ok {
		t.Error("a read of an abandoned ring was begun")
	}
	if _, err := to.Write(make([]byte, 8*StreamDepth)); err != nil { // the answers come after all
		t.Error(err)
	}
	s.Wait(nil, func(int, []byte, error) { t.Error("a read that was left has ended") })
	if err := s.Close(); !errors.Is(err, ErrAbandoned) {
		t.Errorf("close: %v", err)
	}
	if err := r.Close(); !errors.Is(err, ErrAbandoned) {
		t.Errorf("close of the ring: %v", err)
	}
}

// TestReadsOfAStreamEndWhenTheKernelTakesNone breaks its descriptor.
func TestReadsOfAStreamEndWhenTheKernelTakesNone(t *testing.T) {
	bothWays(t, readsOfAStreamEndWhenTheKernelTakesNone)
}

func readsOfAStreamEndWhenTheKernelTakesNone(t *testing.T, lanes int) {
	r := openFile(t, numberedFile(t, 1), lanes)
	defer r.Close()
	s := stream(t, r)
	defer s.Close()
	good := s.fd
	s.fd = -1
	s.Begin(512, 0)
	ended := 0
	for s.Busy() {
		s.Wait(nil, func(_ int, _ []byte, err error) {
			ended++
			if err == nil {
				t.Error("read without a ring")
			}
		})
	}
	s.fd = good
	s.Begin(512, 0)
	for s.Busy() {
		s.Wait(nil, func(_ int, p []byte, err error) {
			ended++
			if len(p) != 512 || err != nil {
				t.Errorf("a stream that works again: %d, %v", len(p), err)
			}
		})
	}
	if ended != 2 {
		t.Errorf("%d reads have ended, want 2", ended)
	}
}
