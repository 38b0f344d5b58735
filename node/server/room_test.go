package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// alone starts a one-node cluster with a data directory and waits until it
// serves.
func alone(t *testing.T, dir string) *Node {
	t.Helper()
	n, err := Start(context.Background(), Config{Listen: "127.0.0.1:0", HTTP: "off", Insecure: true, DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	soon(t, "the node serves", func() bool { return n.Status().State == "serving" })
	return n
}

// soon polls, for what has no event to wait for, at most ten seconds.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		if ok() {
			return
		}
		<-tick.C
	}
	t.Fatalf("not within 10 s: %s", what)
}

// Symlinks to /dev/full make every write of the spare fail as on a full file
// system.
func TestAPromiseThatCannotBeKeptIsNotGiven(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir)
	before := n.View().Key
	spare := filepath.Join(dir, metaName+".new")
	if err := errors.Join(os.Remove(spare), os.Symlink("/dev/full", spare)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Quiesce(true); err != nil { // wants another View
		t.Fatal(err)
	}
	soon(t, "the node stands aside", func() bool { return n.Status().State == "unstored" })
	s := n.Status()
	if !strings.Contains(s.Problem, "no room for metadata in data-dir "+dir) {
		t.Errorf("problem %q, want what is missing, and where", s.Problem)
	}
	if n.View().Key != before || n.lease.Load() != 0 {
		t.Errorf("a View that was not stored is held: %v after %v, lease %d", n.View().Key, before, n.lease.Load())
	}
	select {
	case err := <-n.Failed():
		t.Errorf("the node ends: %v", err)
	default:
	}
	if err := os.Remove(spare); err != nil {
		t.Fatal(err)
	}
	soon(t, "it goes on by itself", func() bool { return n.Status().State == "serving" && n.View().Key != before })
	m, err := loadMeta(dir)
	if err != nil || m.View.Key != n.View().Key {
		t.Errorf("stored: %+v, %v, want View %v", m, err, n.View().Key)
	}
}

func TestANodeWithoutRoomCanBeClosed(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir)
	spare := filepath.Join(dir, metaName+".new")
	if err := errors.Join(os.Remove(spare), os.Symlink("/dev/full", spare)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Quiesce(true); err != nil {
		t.Fatal(err)
	}
	soon(t, "the node stands aside", func() bool { return n.Status().State == "unstored" })
	n.Close() // returns
}

func TestOtherErrorsOfTheMetadataEndTheNode(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir)
	spare := filepath.Join(dir, metaName+".new")
	if err := errors.Join(os.Remove(spare), os.Mkdir(spare, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Quiesce(true); err != nil {
		t.Fatal(err)
	}
	if err := <-n.Failed(); !strings.Contains(err.Error(), metaName) {
		t.Errorf("the node ends with %v, want the file's name", err)
	}
}
