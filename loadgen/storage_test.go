package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headroom/loadgen/local"
	"headroom/loadgen/result"
)

// nodeWith is a program that lists flags as headroom-node does.
func nodeWith(t *testing.T, flags string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "headroom-node")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+flags+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStorageOfLocalNodesIsParsedAndItsDilationKnown(t *testing.T) {
	node := nodeWith(t, "  --device PATH,…  where records live")
	s, err := parseStorage("emulated:nvme@20", node)
	if err != nil || *s.prefix != "emulated:nvme@20:" || s.Dilation != 20 || s.Class != "nvme" || s.Profile != "nvme" {
		t.Errorf("%+v, %v", s, err)
	}
	if v := s.verdict(); len(v) != 1 || v[0].Level != result.Warn || !strings.Contains(v[0].Text, "time-dilated 20 times") {
		t.Errorf("verdict %+v", v)
	}
	s, err = parseStorage("emulated:nvme", node)
	if err != nil || s.Dilation < 10 || !strings.Contains(*s.prefix, "@") || s.Spec+":" != *s.prefix {
		t.Errorf("calibrated: %+v, %v", s, err)
	}
	s, err = parseStorage("file:/dev/shm", node)
	if err != nil || *s.prefix != "" || s.dir != "/dev/shm" || s.Class != "tmpfs" || s.verdict() != nil {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = parseStorage("dram", node); err != nil || s.prefix != nil || s.Class != "dram" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestNonsenseStorageIsRefused(t *testing.T) {
	node := nodeWith(t, "  --device PATH,…  where records live")
	fails := func(text, binary, want string) {
		t.Helper()
		if s, err := parseStorage(text, binary); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--device %s: %+v, %v, want %q", text, s, err, want)
		}
	}
	fails("floppy", node, "want dram, file")
	fails("emulated:floppy", node, "no device profile")
	fails("emulated:nvme@0", node, "dilation")
	fails("emulated:nvme:/x", node, "without a path")
	fails("file:/no/such/dir", node, "not a directory")
	fails("emulated:nvme", nodeWith(t, "  --rack NUMBER"), "in memory only")
}

func TestARunSaysWhenAnEmulationWasOffItsSchedule(t *testing.T) {
	status := map[string][]byte{
		"node1": []byte(`{"devices":[{"emulation":{"profile":"nvme","dilation":20,"operations":[{"op":"read","judged":true,"p99_error":0.3}]}}]}`),
		"node2": []byte(`{"devices":[{"emulation":{"profile":"nvme","dilation":20,"operations":[{"op":"read","judged":true,"p99_error":0.05}]}}]}`),
		"node3": []byte(`{"devices":[{"path":"memory:default"}]}`), "node4": nil,
	}
	if v := unfaithful(status); len(v) != 1 || !strings.Contains(v[0].Text, "node1: emulated nvme") {
		t.Errorf("verdicts %+v, want one of node1", v)
	}
}

func TestEvictedRecordsAreNamed(t *testing.T) {
	if v := evictedVerdict(0); v != nil {
		t.Errorf("none evicted: %v", v)
	}
	r := &recorder{}
	for _, x := range []struct {
		node string
		n    int64
	}{{"node1", 5}, {"node2", 7}, {"node1", 9}, {"node2", 0}} {
		s := local.Sample{Node: x.node}
		s.Evicted = x.n
		r.Sample(s)
	}
	if v := evictedVerdict(r.evicted()); len(v) != 1 || v[0].Rule != "EVICTED" || !strings.Contains(v[0].Text, "evicted 16 records") {
		t.Errorf("9 and 7 evicted: %+v", v)
	}
}
