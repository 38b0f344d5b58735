package server

import (
	"strings"
	"testing"
)

func TestADataDirServesOneNodeAtATime(t *testing.T) {
	dir := t.TempDir()
	first := &Node{cfg: Config{DataDir: dir, Insecure: true}}
	if err := first.identity(); err != nil {
		t.Fatal(err)
	}
	second := &Node{cfg: Config{DataDir: dir, Insecure: true}}
	err := second.identity()
	if err == nil || !strings.Contains(err.Error(), "in use by a running node") {
		t.Fatalf("a second node on %s: %v, want that it is in use", dir, err)
	}
	second.unlockDir()
	first.unlockDir()
	if err := second.identity(); err != nil {
		t.Errorf("after the first has gone: %v", err)
	}
	if second.id != first.id || second.inc <= first.inc {
		t.Errorf("restarted as %v/%d after %v/%d, want the same node in a later life", second.id, second.inc, first.id, first.inc)
	}
	second.unlockDir()
}
