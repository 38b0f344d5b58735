package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestRewriteKeepsTheOldOrTheNewContents(t *testing.T) {
	for name, d := range map[string]Dir{"system": OSDir(t.TempDir()), "memory": NewMemoryDir()} {
		for n := range 5 {
			want := bytes.Repeat([]byte{byte(n)}, 1000-100*n) // each shorter than the one before
			if err := Rewrite(d, "f", want); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got, err := ReadFile(d, "f", 1<<20); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s: round %d reads %d bytes, %v", name, n, len(got), err)
			}
		}
	}
}

func TestRewriteFailsWithoutHarm(t *testing.T) {
	dir := t.TempDir()
	d := OSDir(dir)
	if err := Rewrite(d, "f", []byte("old")); err != nil {
		t.Fatal(err)
	}
	spare := filepath.Join(dir, "f.new")
	if err := errors.Join(os.Remove(spare), os.Symlink("/dev/full", spare)); err != nil {
		t.Fatal(err)
	}
	if err := Rewrite(d, "f", []byte("new")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("without room: %v, want ENOSPC", err)
	}
	if got, err := ReadFile(d, "f", 100); err != nil || string(got) != "old" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if err := os.Remove(spare); err != nil {
		t.Fatal(err)
	}
	if err := Rewrite(d, "f", []byte("new")); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestRewriteOnAFullFileSystem wants root: it mounts 1 MiB of memory.
func TestRewriteOnAFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("headroom-test", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	d := OSDir(dir)
	if err := Rewrite(d, "f", []byte("first")); err != nil {
		t.Fatal(err)
	}
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	for err == nil {
		_, err = ballast.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), []byte("x"), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the file system takes another file: %v", err)
	}
	for n := range 10 {
		want := fmt.Sprint("contents ", n, string(make([]byte, 4000*n)))
		if err := Rewrite(d, "f", []byte(want)); err != nil {
			t.Fatalf("round %d, %d bytes: %v", n, len(want), err)
		}
		if got, err := ReadFile(d, "f", 1<<20); err != nil || string(got) != want {
			t.Fatalf("round %d: %d bytes, %v", n, len(got), err)
		}
	}
}
