package target

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func openFile(t *testing.T, size int64, value int) *Device {
	t.Helper()
	d, err := OpenDevice(DeviceConfig{Path: filepath.Join(t.TempDir(), "dev"), Size: size, Value: value})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestADeviceKeepsWhatWasWritten(t *testing.T) {
	d := openFile(t, 1<<20, 5000)
	if d.RecordBytes() != 8192 || d.Capacity() != 128 {
		t.Fatalf("%d places of %d bytes", d.Capacity(), d.RecordBytes())
	}
	door := newDoor(t, d, 8)
	value := func(key uint64, n int) []byte { return bytes.Repeat([]byte{byte(key + 1)}, n) }
	for key := range uint64(100) {
		if r := door.do(t, Op{Kind: Write, Key: key, Value: value(key, 1+int(key)*50), Token: key}); r.Outcome != OK {
			t.Fatal(r.Err)
		}
	}
	for key := range uint64(128) {
		r := door.do(t, Op{Kind: Read, Key: key, Token: 1000 + key})
		if want := value(key, 1+int(key)*50); key < 100 && (r.Outcome != OK || !bytes.Equal(r.Value, want)) {
			t.Errorf("key %d reads as %d, %d bytes, %v; want %d bytes", key, r.Outcome, len(r.Value), r.Err, len(want))
		} else if key >= 100 && r.Outcome != NotFound {
			t.Errorf("key %d was never written and reads as %d", key, r.Outcome)
		}
	}
	if r := door.do(t, Op{Kind: Delete, Key: 7, Token: 2000}); r.Outcome != OK {
		t.Error(r.Err)
	}
	if r := door.do(t, Op{Kind: Read, Key: 7, Token: 2001}); r.Outcome != NotFound {
		t.Errorf("a deleted record reads as %d", r.Outcome)
	}
	if r := door.do(t, Op{Kind: Write, Key: 128, Value: []byte("x"), Token: 2002}); r.Outcome != Failed || !strings.Contains(r.Err.Error(), "full") {
		t.Errorf("a record behind the end: %d %v", r.Outcome, r.Err)
	}
	if r := door.do(t, Op{Kind: Write, Key: 1, Value: make([]byte, 9000), Token: 2003}); r.Outcome != Failed {
		t.Errorf("a value larger than a place: %d", r.Outcome)
	}
	if r := door.do(t, Op{Kind: Scan, Key: 120, ScanLen: 50, Token: 2004}); r.Outcome != OK {
		t.Errorf("a scan over the end: %d %v", r.Outcome, r.Err)
	}
	if u := d.Use(); u.Reads < 100 || u.Writes < 100 || u.ReadTime <= 0 || u.Busy != nil {
		t.Errorf("use %+v", u)
	}
	if d.Refuse(Operate) == nil || d.Refuse(Touch) == nil || d.Refuse(BatchWrite) != nil {
		t.Error("a device counts, or writes no batches")
	}
}

// TestRequestsForOneRecordAreKeptApart: a value of several blocks is old or
// new, never both.
func TestRequestsForOneRecordAreKeptApart(t *testing.T) {
	const size = 60_000
	d := openFile(t, 4<<20, size)
	bad := make(chan error, 64)
	l, err := d.NewLane(32, func(r *Result) {
		if len(r.Value) > 0 && bytes.Count(r.Value, r.Value[:1]) != len(r.Value) {
			bad <- errors.New("a read of two values at once")
		} else if r.Err != nil {
			bad <- fmt.Errorf("outcome %d: %w", r.Outcome, r.Err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		op := Op{Kind: Read, Key: rng.Uint64N(2), Token: uint64(i)}
		if i%2 == 0 {
			op.Kind, op.Value = Write, bytes.Repeat([]byte{byte(1 + i%200)}, size)
		}
		for l.Submit(&op) == ErrFull {
		}
	}
	l.Close()
	close(bad)
	for err := range bad {
		t.Fatal(err)
	}
}

// TestABlockThatIsOverwrittenIsNoRecord: what lies in a place that another
// program wrote has no value, which the audit counts as corrupt.
func TestABlockThatIsOverwrittenIsNoRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dev")
	d, err := OpenDevice(DeviceConfig{Path: path, Size: 1 << 20, Value: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	door := newDoor(t, d, 1)
	for key := range uint64(2) {
		door.do(t, Op{Kind: Write, Key: key, Value: []byte("some value"), Token: key})
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	if _, err := f.ReadAt(block, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(block, 4096); err != nil { // record 0 in the place of record 1
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if r := door.do(t, Op{Kind: Read, Key: 1, Token: 9}); r.Outcome != OK || len(r.Value) != 0 {
		t.Errorf("a misplaced record reads as %d, %q", r.Outcome, r.Value)
	}
}

func TestDeviceSpecsSayWhatIsRight(t *testing.T) {
	s, err := ParseSpec("device:emulated:nvme@20:/tmp/x?size=1MiB")
	if err != nil || s.Scheme != "device" || s.Device.Path != "emulated:nvme@20:/tmp/x" || s.Device.Size != 1<<20 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, text := range []string{"device:", "device:/x?size=lots", "device:/x?size=0B", "device:/x?blocks=3", "device://x"} {
		if _, err := ParseSpec(text); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
