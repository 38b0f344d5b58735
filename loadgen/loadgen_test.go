package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headroom/loadgen/result"
	"headroom/workloads"
)

func runProgram(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = command(ctx, append([]string{"headroom-loadgen"}, args...), &out, &err)
	return code, out.String(), err.String()
}

func TestARunFolderHoldsItsOwnNumbers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	code, stdout, stderr := runProgram(context.Background(), "run", "ycsb-b", "--target", "null", "--rate", "20k/s", "--duration", "2s",
		"--warmup", "0s", "--set", "records=1000", "--set", "workload.value-size=64B", "--out", dir, "--json")
	if code != exitDone && code != exitMissed { // a busy machine may limit the generator
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	var printed result.Summary
	if err := json.Unmarshal([]byte(stdout), &printed); err != nil {
		t.Fatalf("--json: %v\n%s", err, stdout)
	}
	r, err := result.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if printed.ID != r.Summary.ID || r.Summary.Format != result.Format || r.Summary.Loop != "open" {
		t.Errorf("run.json %+v differs from what was printed", r.Summary)
	}
	w, err := workloads.Parse("workload.yaml", []byte(r.Workload))
	if err != nil || w.SHA256() != r.Summary.Workload.SHA256 || w.ValueSize.Max != 64 {
		t.Errorf("workload.yaml: %v, %+v", err, w)
	}
	var rows int64
	for _, s := range r.Series {
		rows += s.OK
	}
	var count int64
	for name, op := range r.Summary.Operations {
		count += op.OK
		h, err := r.Histogram(name, result.Response)
		if err != nil {
			t.Fatal(err)
		}
		again := result.Summarize(h, op.Failed+op.InDoubt)
		if h.TotalCount() != op.Count || again.P50 == nil || math.Abs(*again.P50-*op.Response.P50) > 0.01 {
			t.Errorf("%s: %d samples in the interval logs, %d in run.json; p50 %v and %v", name, h.TotalCount(), op.Count, again.P50, op.Response.P50)
		}
	}
	if rows != count || count < 35_000 {
		t.Errorf("series.csv counts %d operations, run.json %d, want equal and about 40,000", rows, count)
	}
	recomputed(t, dir)
}

func TestAStoppedRunIsWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second) // a busy machine under the race detector took 0.5 s to begin
	defer cancel()
	code, stdout, stderr := runProgram(ctx, "run", "ycsb-a", "--target", "null", "--rate", "1k/s", "--duration", "1h", "--warmup", "0s",
		"--set", "records=100", "--out", dir)
	r, err := result.Open(dir)
	if err != nil {
		t.Fatalf("exit %d: %v\n%s", code, err, stderr)
	}
	if code != exitDone && code != exitMissed || !r.Summary.Interrupted || r.Summary.DurationSec > 60 || r.Summary.Operations["get"].Count == 0 {
		t.Errorf("exit %d, summary %+v", code, r.Summary)
	}
	if !strings.Contains(stdout, "INTERRUPTED") {
		t.Errorf("the table does not say that the run was stopped:\n%s", stdout)
	}
	recomputed(t, dir)
}

func TestAnUnreachableTargetIsAClearError(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	code, _, stderr := runProgram(ctx, "run", "ycsb-a", "--target", "quic://127.0.0.1:1", "--insecure", "--rate", "1k/s", "--out", filepath.Join(t.TempDir(), "x"))
	if code != exitFailed || !strings.Contains(stderr, "127.0.0.1:1") && !strings.Contains(stderr, "stopped before") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestWrongUsageSaysWhatIsRight(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		code, _, stderr := runProgram(context.Background(), args...)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d, %q, want 2 and %q", args, code, stderr, want)
		}
	}
	null := func(more ...string) []string { return append([]string{"run", "ycsb-a", "--target", "null"}, more...) }
	f("no command")
	f("unknown command", "fly")
	f(`did you mean "ycsb-a"`, "run", "ycbs-a", "--target", "null")
	f("--local-nodes N", "run", "ycsb-a")
	f("above zero", null("--rate", "0/s")...)
	f("give one of them", null("--rate", "1k/s", "--closed", "3")...)
	f(`did you mean "records"`, null("--set", "record=5")...)
	f("node keys need --local-nodes", null("--set", "node.commit=all")...)
	f("sum to 150", null("--set", "mix.get=100")...)
	f("records", null("--set", "records=0")...)
	f("--local-nodes only", null("--fault", "kill node1 @1s")...)
	f("number with a unit", null("--duration", "30")...)
	f("unknown flag", null("--durration", "30s")...)
	f("quic://", "run", "ycsb-a", "--target", "tcp://x:1")
	f("want a namespace", "run", "ycsb-a", "--target", "aerospike://x:1")
	f("poisson or constant", null("--arrivals", "bursts")...)
	f("30 days", null("--duration", "400d")...)
	f("30 days", null("--warmup", "1000h")...)
	f("at most", null("--in-flight", "2000000000")...)
	f("such as 100Mb/s", null("--link-speed", "fast")...)
	f("local nodes share one", "run", "ycsb-a", "--local-nodes", "2", "--link-speed", "1Gb/s")
	// What is never sent is counted one by one: this would take hours.
	f("shard the load", null("--rate", "1G/s", "--out", filepath.Join(t.TempDir(), "x"))...)
	f("shard the load", "knee", "ycsb-a", "--target", "null", "--slo", "p99=1ms", "--start", "1G/s", "--out", filepath.Join(t.TempDir(), "y"))
}

func TestWorkloadsAreListedAndDescribed(t *testing.T) {
	code, list, _ := runProgram(t.Context(), "workloads")
	if code != exitDone || !strings.Contains(list, "pull-a-plug") || !strings.Contains(list, "get:95,update:5") {
		t.Errorf("exit %d:\n%s", code, list)
	}
	code, one, _ := runProgram(t.Context(), "workloads", "ycsb-b")
	if _, err := workloads.Parse("printed", []byte(one)); code != exitDone || err != nil || !strings.Contains(one, "the hottest 20 % get") {
		t.Errorf("exit %d, %v:\n%s", code, err, one)
	}
	if code, _, _ := runProgram(t.Context(), "workloads", "nope"); code != exitUsage {
		t.Errorf("an unknown workload exits with %d", code)
	}
}

func TestAFaultMayBeAtAShareOfTheRun(t *testing.T) {
	for in, want := range map[string]string{"kill node3 @25%": "kill node3 @15s", "stop all @ 0%": "stop all @0s", "kill node1 @7s": "kill node1 @7s"} {
		if got, err := atShare(in, time.Minute); got != want || err != nil {
			t.Errorf("atShare(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"kill node3 @100%", "kill node3 @x%", "kill node3 @-1%"} {
		if _, err := atShare(bad, time.Minute); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestMicrosPrintsThreeDigits(t *testing.T) {
	for in, want := range map[float64]string{0.4: "0 us", 850: "850 us", 999.7: "1 ms", 2100: "2.1 ms", 1_234_000: "1.23 s", math.Inf(1): "inf"} {
		if got := micros(in); got != want {
			t.Errorf("micros(%v) = %q, want %q", in, got, want)
		}
	}
}
