package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"

	"headroom/loadgen/result"
)

const (
	shardsOf   = 8
	shardsSecs = 5
)

// shards writes run folders of 8 shards whose clocks differ, and returns the
// histogram of all their values and what failed.
func shards(t *testing.T, root string) (dirs []string, all *hdr.Histogram, failed int64) {
	t.Helper()
	return shardsBy(t, root, func(int, *result.Shard) {})
}

// shardsBy lets clock say what each shard knows of its clock.
func shardsBy(t *testing.T, root string, clock func(i int, s *result.Shard)) (dirs []string, all *hdr.Histogram, failed int64) {
	t.Helper()
	start := time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC)
	all = result.NewHistogram()
	for i := range shardsOf {
		dir := filepath.Join(root, fmt.Sprintf("s%d", i))
		dirs = append(dirs, dir)
		w, err := result.Create(dir)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(uint64(i), 1))
		from := start.Add(time.Duration(i) * 137 * time.Millisecond) // a clock that is off
		sum, bad := int64(0), int64(0)
		for sec := range shardsSecs {
			h := result.NewHistogram()
			n := 500 + r.IntN(500)
			for range n {
				v := int64(r.ExpFloat64() * 1e6)
				_ = h.RecordValue(v)
				_ = all.RecordValue(v)
			}
			sum += int64(n)
			bad++
			for _, k := range result.Kinds {
				w.Interval("get", k, h, from.Add(time.Duration(sec)*time.Second), from.Add(time.Duration(sec+1)*time.Second))
			}
			w.Series(result.SeriesRow{TSec: sec, Op: "get", Offered: int64(n) + 1, OK: int64(n), Failed: 1})
		}
		failed += bad
		w.Event(result.Event{TSec: 0, Kind: result.EventPhase, What: "measured phase"})
		sampled, stages := shardStages(i)
		if stages != nil {
			w.Stages(sampled)
		}
		shard := &result.Shard{Index: i, Of: shardsOf, StartAt: start, ClockSource: "unknown"}
		clock(i, shard)
		w.Summary(&result.Summary{Format: result.Format, ID: dir, Loop: "open", Workload: result.Workload{Name: "w", SHA256: "x"}, MeasuredFrom: from,
			DurationSec: shardsSecs, OfferedOpsPerSec: 100, AchievedOpsPerSec: 99,
			Operations: map[string]result.Operation{"get": {Count: sum + bad, OK: sum, Failed: bad}},
			Audit:      result.Audit{Enabled: true, AcknowledgedWrites: 10}, Verdicts: []result.Verdict{{Rule: "R10", Level: result.Warn, Text: "busy"}},
			Stages: stages, Shard: shard})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dirs, all, failed
}

// shardStages are the sampled operations of a shard; shard 3 sampled none.
func shardStages(i int) ([]result.StageSample, *result.Stages) {
	if i == 3 {
		return nil, nil
	}
	list := make([]result.StageSample, 100+i)
	for n := range list {
		s := &list[n]
		s.TSec, s.Op, s.Node, s.ResponseUS = float64(n)/25, "get", fmt.Sprint("node", i), float64(1000*i+n)+1
		s.StagesUS[5], s.StagesUS[10] = float64(100*i), float64(900*i+n)
	}
	sum := result.SummarizeStages(list)
	sum.Every, sum.Asked, sum.Answered = 10*(i+1), int64(len(list)+2), int64(len(list))
	return list, &result.Stages{Operations: map[string]result.StageSummary{"get": sum}}
}

// TestShardsStagesAreThoseOfAllTheirSamples: rows are not averaged, they are
// made anew of every sample.
func TestShardsStagesAreThoseOfAllTheirSamples(t *testing.T) {
	root := t.TempDir()
	dirs, _, _ := shards(t, root)
	out := filepath.Join(root, "all")
	if code, _, stderr := runProgram(context.Background(), append([]string{"merge", "--out", out}, dirs...)...); code != exitDone {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var all []result.StageSample
	for i := range shardsOf {
		list, _ := shardStages(i)
		all = append(all, list...)
	}
	want := result.SummarizeStages(all)
	want.Every, want.Asked, want.Answered = 80, int64(len(all)+2*(shardsOf-1)), int64(len(all))
	r, err := result.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	if r.Summary.Stages == nil {
		t.Fatal("the merged run has no stages")
	}
	if d := cmp.Diff(want, r.Summary.Stages.Operations["get"]); d != "" {
		t.Errorf("run.json (-of all samples +merged):\n%s", d)
	}
	got, err := r.Stages()
	if d := cmp.Diff(all, got["get"]); err != nil || d != "" {
		t.Errorf("stages.csv: %v\n%s", err, d)
	}
	if err := os.Remove(filepath.Join(dirs[5], "stages.csv")); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runProgram(context.Background(), append([]string{"merge", "--out", out}, dirs...)...); code != exitFailed || !strings.Contains(stderr, "stages.csv") {
		t.Errorf("a shard whose samples are gone: exit %d, %q", code, stderr)
	}
}

func TestEightShardsMergeToOneHistogramExactly(t *testing.T) {
	root := t.TempDir()
	dirs, all, failed := shards(t, root)
	out := filepath.Join(root, "all")
	code, _, stderr := runProgram(context.Background(), append([]string{"merge", "--out", out}, dirs...)...)
	if code != exitDone {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	r, err := result.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	h, err := r.Histogram("get", result.Response)
	if err != nil || !h.Equals(all) {
		t.Fatalf("the merged log has %d samples and differs from the histogram of all %d values: %v", h.TotalCount(), all.TotalCount(), err)
	}
	want := result.Summarize(all, failed)
	if got := r.Summary.Operations["get"].Response; *got.P50 != *want.P50 || *got.P99 != *want.P99 || got.Samples != want.Samples {
		t.Errorf("run.json says %+v, want %+v", got, want)
	}
	rows, offered := int64(0), int64(0)
	for _, s := range r.Series {
		rows += s.OK
		offered += s.Offered
	}
	if rows != all.TotalCount() || offered != rows+failed || len(r.Series) != shardsSecs {
		t.Errorf("series.csv: %d ok, %d offered in %d rows", rows, offered, len(r.Series))
	}
	if s := r.Summary; len(s.Merged) != shardsOf || s.OfferedOpsPerSec != 800 || s.Audit.AcknowledgedWrites != 80 || len(s.Verdicts) != 2 || len(r.Events) != shardsOf {
		t.Errorf("%d shards, %v offered, %d verdicts, %d events", len(s.Merged), s.OfferedOpsPerSec, len(s.Verdicts), len(r.Events))
	}
}

// TestLogsReadBackWithTheLibrary: any tool that knows the format sees what
// run.json says.
func TestLogsReadBackWithTheLibrary(t *testing.T) {
	root := t.TempDir()
	dirs, all, _ := shards(t, root)
	sum := result.NewHistogram()
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "get-response.hlog"))
		if err != nil {
			t.Fatal(err)
		}
		reader := hdr.NewHistogramLogReader(bytes.NewReader(text))
		for n := 0; ; n++ {
			h, err := reader.NextIntervalHistogram()
			if err != nil {
				t.Fatal(err)
			}
			if h == nil {
				if n != shardsSecs {
					t.Errorf("%s has %d intervals, want %d", dir, n, shardsSecs)
				}
				break
			}
			sum.Merge(h)
		}
	}
	for _, p := range []float64{1, 50, 90, 99, 99.9, 100} {
		if got, want := sum.ValueAtPercentile(p), all.ValueAtPercentile(p); got != want {
			t.Errorf("p%v is %d ns in the logs, %d was recorded", p, got, want)
		}
	}
}

func TestOnlyShardsOfOneLoadMerge(t *testing.T) {
	root := t.TempDir()
	dirs, _, _ := shards(t, root)
	out := filepath.Join(root, "all")
	f := func(code int, want string, args ...string) {
		t.Helper()
		got, stdout, stderr := runProgram(context.Background(), append([]string{"merge", "--out", out}, args...)...)
		if got != code || !strings.Contains(stdout+stderr, want) {
			t.Errorf("merge %v: exit %d, %q, want %d and %q", args, got, stderr, code, want)
		}
	}
	f(exitFailed, "1 of 8 shards are missing", dirs[:7]...)
	f(exitMissed, "1 of 8 shards are missing", append([]string{"--allow-partial"}, dirs[1:]...)...)
	f(exitFailed, "both shard 0", dirs[0], dirs[0])
	f(exitUsage, "is one of the shards", out)
	f(exitUsage, "no run folder", t.TempDir())
	plain := filepath.Join(root, "plain")
	if err := fakeRun(plain, 1); err != nil {
		t.Fatal(err)
	}
	f(exitFailed, "no shard", plain)
}

func TestShardsRunAndMerge(t *testing.T) {
	t.Parallel() // it mostly waits for its start
	root := t.TempDir()
	at := time.Now().Add(4 * time.Second).UTC().Format(time.RFC3339Nano)
	done := make(chan string, 2)
	var dirs []string
	for i := range 2 {
		dir := filepath.Join(root, fmt.Sprint(i))
		dirs = append(dirs, dir)
		go func() {
			code, _, stderr := runProgram(context.Background(), "run", "ycsb-b", "--target", "null", "--rate", "2k/s", "--arrivals", "constant", "--duration", "1s",
				"--warmup", "200ms", "--set", "records=1000", "--shard", fmt.Sprintf("%d/2", i), "--start-at", at, "--out", dir)
			if code != exitDone && code != exitMissed {
				done <- stderr
			}
			done <- ""
		}()
	}
	for range 2 {
		if text := <-done; text != "" {
			t.Fatal(text)
		}
	}
	out := filepath.Join(root, "all")
	if code, _, stderr := runProgram(context.Background(), append([]string{"merge", "--out", out}, dirs...)...); code != exitDone && code != exitMissed {
		t.Fatal(stderr)
	}
	r, err := result.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Summary; s.OfferedOpsPerSec != 2000 || s.Generator.LoadedRecs != 1000 || s.All.Count != 2000 || !s.MeasuredFrom.Equal(s.Merged[0].StartAt) {
		t.Errorf("offered %v, %d records, %d operations", s.OfferedOpsPerSec, s.Generator.LoadedRecs, s.All.Count)
	}
	for _, dir := range append(dirs, out) {
		recomputed(t, dir)
	}
}

func TestShardsWantACommonLoad(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		code, _, stderr := runProgram(context.Background(), append([]string{"run", "ycsb-a", "--target", "null"}, args...)...)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d, %q, want 2 and %q", args, code, stderr, want)
		}
	}
	f("--start-at", "--shard", "0/2", "--rate", "1k/s")
	f("0 to N-1", "--shard", "2/2", "--rate", "1k/s", "--start-at", "2026-11-22T22:00:00Z")
	f("seconds since 1970", "--shard", "0/2", "--rate", "1k/s", "--start-at", "noon")
	f("give --rate", "--shard", "0/2", "--start-at", "1800000000")
	f("fewer than", "--shard", "0/4", "--closed", "2", "--start-at", "1800000000")
	f("is for --shard", "--start-at", "1800000000")
}

// TestShardsWhoseSecondsDifferAreRefused: a shard's start by its own clock, less
// what that clock is off, is its start in true time.
func TestShardsWhoseSecondsDifferAreRefused(t *testing.T) {
	f := func(name string, wantCode int, says string, clock func(i int, s *result.Shard), flags ...string) {
		t.Helper()
		root := t.TempDir()
		dirs, _, _ := shardsBy(t, root, clock)
		args := append(append([]string{"merge", "--out", filepath.Join(root, "all")}, flags...), dirs...)
		code, stdout, stderr := runProgram(context.Background(), args...)
		if code != wantCode || !strings.Contains(stdout+stderr, says) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s%s", name, code, wantCode, says, stdout, stderr)
		}
	}
	by := func(offset func(i int) float64, within float64, node string) func(int, *result.Shard) {
		return func(i int, s *result.Shard) {
			s.ClockOffsetMS, s.ClockErrorMS, s.ClockSource, s.ClockReference = number(offset(i)), number(within), "target", node
		}
	}
	// The folders say that shard i began 137 ms times i late by its own clock.
	same := func(i int) float64 { return 137 * float64(i) }
	f("their clocks explain it", exitDone, "lie 0s apart, within 400µs, by the clock of node1", by(same, 0.2, "node1"))
	f("their clocks are right", exitFailed, "lie 959ms apart (by the clock of node1, within 0s)", by(func(int) float64 { return 0 }, 0.2, "node1"))
	f("and that is taken", exitDone, "warn  SHARD: the shards' measured phases lie 959ms apart", by(func(int) float64 { return 0 }, 0.2, "node1"), "--allow-skew")
	f("a bound that tells nothing", exitFailed, "known within 800ms only", by(same, 400, "node1"))
	f("nobody knows", exitDone, "nothing is known of the shards' clocks", func(int, *result.Shard) {})
	f("one was not compared", exitDone, "the clocks of shards [3] were not compared", func(i int, s *result.Shard) {
		if by(same, 0.2, "node1")(i, s); i == 3 {
			s.ClockReference = "node2"
		}
	})
}
