package main

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"headroom/reports/recompute"
)

// recomputed fails the test unless every number of the run in dir follows from
// its raw files, or was given to it.
func recomputed(t *testing.T, dir string) {
	t.Helper()
	r, err := recompute.Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.State != recompute.Same && f.State != recompute.Given {
			t.Errorf("%s: %+v", dir, f)
		}
	}
	if len(r.Problems) > 0 || r.Numbers[recompute.Same] < 40 {
		t.Errorf("%s: %d numbers follow from the raw files; problems %q", dir, r.Numbers[recompute.Same], r.Problems)
	}
}

// TestRunsThatMeasuredNothingSayNothingElse: of a run that was stopped in its
// warm-up, and of one that reached no target, every number is still checked.
func TestRunsThatMeasuredNothingSayNothingElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "warm")
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if code, _, stderr := runProgram(ctx, "run", "ycsb-b", "--target", "null", "--rate", "1k/s", "--duration", "1h", "--warmup", "1h", "--set", "records=100", "--out", dir); code == exitUsage {
		t.Fatal(stderr)
	}
	recomputed(t, dir)
	dir = filepath.Join(t.TempDir(), "none")
	done, stop := context.WithCancel(context.Background())
	stop()
	if code, _, _ := runProgram(done, "run", "ycsb-b", "--target", "quic://127.0.0.1:9", "--insecure", "--rate", "1k/s", "--duration", "1h", "--out", dir); code == exitDone {
		t.Fatal("a run without a target is done")
	}
	recomputed(t, dir)
}
