package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"headroom/loadgen/local"
	"headroom/node/client"
	"headroom/node/record"
)

// TestAFullFileSystemStopsWritesAndNothingElse wants root: it mounts a file
// system in memory with room for one node and little else.
func TestAFullFileSystemStopsWritesAndNothingElse(t *testing.T) {
	if !*long {
		t.Skip("a long scenario: run make e2e, or go test ./hack/e2e -e2e")
	}
	dir := t.TempDir()
	if err := syscall.Mount("headroom-e2e", dir, "tmpfs", 0, "size=72m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	c := startOne(t, dir)
	defer syscall.Unmount(dir, syscall.MNT_DETACH) // the kernel holds the ring of a killed node for a while
	defer c.Close()
	fillUp(t, filepath.Join(dir, "ballast"))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl, err := client.Dial(ctx, client.Config{Seeds: c.Addrs(), Credentials: filepath.Join(c.Credentials(), "client"), Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	value := []record.Bin{{Name: "v", Value: record.Bytes(make([]byte, 60<<10))}}
	stored := putUntilStopped(ctx, t, cl, value)
	for n := range stored { // reads go on
		if _, err := cl.Get(ctx, numberKey(t, n)); err != nil {
			t.Fatalf("read %d of %d on the full device: %v", n, stored, err)
		}
	}
	// A restart writes metadata: there is no room but what was set aside.
	if _, err := c.Inject(ctx, local.Fault{Action: local.Kill, Node: "node1"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Inject(ctx, local.Fault{Action: local.Restart, Node: "node1"}, nil); err != nil {
		t.Fatal(err)
	}
	for n := range stored {
		if _, err := cl.Get(ctx, numberKey(t, n)); err != nil {
			s, serr := local.FetchStatus(ctx, c.HTTP("node1"))
			t.Fatalf("read %d of %d after a restart on the full file system: %v; status %+v %v", n, stored, err, s, serr)
		}
	}
	for n := range stored { // deletes go on, and defragmentation makes room
		if n%2 == 0 {
			if err := cl.Delete(ctx, numberKey(t, n)); err != nil {
				t.Fatalf("delete %d: %v", n, err)
			}
		}
	}
	writing := false
	for try := 0; try < 600 && !writing; try++ {
		err := cl.Put(ctx, numberKey(t, 1_000_000+try), value)
		writing = err == nil
		if err != nil && !errors.Is(err, client.ErrStopWrites) && !errors.Is(err, client.ErrBusy) {
			t.Fatalf("while room is made: %v", err)
		}
		wait(t, 20*time.Millisecond)
	}
	if !writing {
		t.Error("writing did not resume although half of the records were deleted")
	}
	for n := range stored {
		if _, err := cl.Get(ctx, numberKey(t, n)); n%2 == 0 && !errors.Is(err, client.ErrNotFound) || n%2 == 1 && err != nil {
			t.Errorf("record %d at the end: %v", n, err)
		}
	}
	t.Logf("%d records of 60 KiB until writes stopped; half deleted; writing again", stored)
}

// startOne starts one node whose device and data directory are in dir.
func startOne(t *testing.T, dir string) *local.Cluster {
	t.Helper()
	c, err := local.Start(t.Context(), local.Config{Nodes: 1, Binary: program("node"), Dir: dir, Device: new(string),
		Flags: map[string]string{"device-size": "64MiB", "commit-to-device": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fillUp takes all the room there is.
func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

func numberKey(t *testing.T, n int) client.Key {
	t.Helper()
	k, err := client.NewKey("", record.Int(int64(n)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// putUntilStopped writes records until the node refuses them, and checks how it
// says so.
func putUntilStopped(ctx context.Context, t *testing.T, cl *client.Client, value []record.Bin) (stored int) {
	t.Helper()
	for n := 0; n < 5000; {
		err := cl.Put(ctx, numberKey(t, n), value)
		switch {
		case err == nil:
			n++
		case errors.Is(err, client.ErrStopWrites):
			if !strings.Contains(err.Error(), "no room for writes") {
				t.Errorf("the error does not say what is the matter: %v", err)
			}
			if n < 100 {
				t.Errorf("writes stopped after %d records of 60 KiB on 64 MiB", n)
			}
			return n
		case errors.Is(err, client.ErrBusy):
			wait(t, 10*time.Millisecond)
		default:
			t.Fatal(fmt.Errorf("write %d: %w", n, err))
		}
	}
	t.Fatal("writes never stopped")
	return 0
}
