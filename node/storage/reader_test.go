package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"headroom/node/disk"
)

// readerRecords are of many lengths, some longer than a stream has memory for
// beforehand.
const readerRecords = 3000

// readerBody tells key and version.
func readerBody(k, version int) []byte {
	n := 12 + k*37%900
	if k%100 == 0 {
		n = 20_000 + k
	}
	b := bytes.Repeat([]byte{byte(k)}, n)
	binary.LittleEndian.PutUint32(b, uint32(k))
	binary.LittleEndian.PutUint32(b[4:], uint32(version))
	return b
}

// readerEngine is an engine on a file with nothing in its buffers, and a reader
// of it; it skips where a device has no streams.
func readerEngine(t *testing.T) (e *Engine, r *Reader, path string) {
	t.Helper()
	dir := t.TempDir()
	open := func() *Engine {
		c := fileConfig(t, dir, volumeHeader+48<<20)
		c.Log.Devices[0] = disk.NewGuard(c.Log.Devices[0], 30*time.Second)
		e, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e = open()
	for k := range readerRecords {
		putting(t, e, k, 1, readerBody(k, 1))
	}
	if err := e.Shutdown(); err != nil {
		t.Fatal(err)
	}
	e = open()
	if r = e.Reader(0); r == nil {
		e.Close()
		t.Skip("no streams here")
	}
	return e, r, filepath.Join(dir, "dev")
}

// readAll gets records 0 to n-1 and calls check with each answer, once.
func readAll(t *testing.T, r *Reader, n int, check func(k int, a *Answer)) {
	t.Helper()
	keys := make([]int, n)
	seen := make([]bool, n)
	done := func(a *Answer) {
		k := *a.Tag.(*int)
		if seen[k] {
			t.Fatalf("record %d was answered twice", k)
		}
		seen[k] = true
		check(k, a)
	}
	for k := range n {
		for r.Room() == 0 {
			r.Wait(nil, done)
		}
		keys[k] = k
		d := numbered(k)
		r.Get(&d, &keys[k], done)
	}
	for r.Busy() {
		r.Wait(nil, done)
	}
	for k, ok := range seen {
		if !ok {
			t.Fatalf("record %d was not answered", k)
		}
	}
}

func TestAReaderGetsWhatIsThere(t *testing.T) {
	e, r, _ := readerEngine(t)
	defer e.Close()
	defer r.Close()
	for k := range 50 { // in memory
		putting(t, e, k, 2, readerBody(k, 2))
	}
	before := e.Devices()[0]
	readAll(t, r, readerRecords+100, func(k int, a *Answer) {
		version := 1
		if k < 50 {
			version = 2
		}
		switch {
		case a.Found != (k < readerRecords):
			t.Fatalf("record %d: found %v", k, a.Found)
		case a.Found && (a.Meta.Unreadable || a.Meta.Version != versioned(version).Version || !bytes.Equal(a.Body, readerBody(k, version))):
			t.Fatalf("record %d: %+v, %d bytes", k, a.Meta, len(a.Body))
		}
	})
	after := e.Devices()[0]
	if n := after.DeviceReads - before.DeviceReads; n != readerRecords-50 {
		t.Errorf("%d records were read from the device, want %d", n, readerRecords-50)
	}
	if g := e.log.volumes[0].dev.(*disk.Guard).Load(); g.Reads < readerRecords-50 {
		t.Errorf("the guard counts %d reads, want %d or more", g.Reads, readerRecords-50)
	}
}

// TestAReaderFollowsRecordsThatMove overwrites and defragments meanwhile.
func TestAReaderFollowsRecordsThatMove(t *testing.T) {
	e, r, _ := readerEngine(t)
	defer e.Close()
	defer r.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { e.Run(ctx, false) })
	wg.Go(func() {
		for n := 2; ctx.Err() == nil; n++ {
			for k := n % 3; k < readerRecords && ctx.Err() == nil; k += 3 {
				d := numbered(k)
				_ = e.Put(&d, versioned(n), readerBody(k, n)) // refused for a moment: another time
			}
		}
	})
	for range 5 {
		readAll(t, r, readerRecords, func(k int, a *Answer) {
			if !a.Found || a.Meta.Unreadable || !bytes.Equal(a.Body, readerBody(k, int(a.Meta.Version.Stamp))) {
				t.Errorf("record %d: found %v, %+v, %d bytes", k, a.Found, a.Meta, len(a.Body))
			}
		})
	}
	cancel()
	wg.Wait()
	if n := e.Devices()[0].Corrupt; n > 0 {
		t.Errorf("%d records were called damaged", n)
	}
}

func TestAReaderSaysWhatCannotBeRead(t *testing.T) {
	e, r, path := readerEngine(t)
	defer e.Close()
	d := numbered(7)
	at, found := e.locate(&d, nil, false)
	if !found {
		t.Fatal("record 7 is not there")
	}
	_, n, off := splitLoc(at.loc)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("damage"), e.log.volumes[0].base(n)+int64(off)+recordHeader); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	readAll(t, r, 20, func(k int, a *Answer) {
		if a.Meta.Unreadable != (k == 7) {
			t.Errorf("record %d: %+v", k, a.Meta)
		}
	})
	e.GiveUp(0, errMissing)
	readAll(t, r, 20, func(k int, a *Answer) {
		if !a.Found || !a.Meta.Unreadable {
			t.Errorf("record %d of a device that was given up: found %v, %+v", k, a.Found, a.Meta)
		}
	})
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
