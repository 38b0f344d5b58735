package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headroom/loadgen/drive"
	"headroom/loadgen/result"
	"headroom/loadgen/seek"
)

func TestAKneeWantsASensibleCommandLine(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		code, _, stderr := runProgram(context.Background(), append([]string{"knee", "ycsb-a", "--target", "null"}, args...)...)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d, %q, want 2 and %q", args, code, stderr, want)
		}
	}
	f("--slo p99=2ms")
	f("p99=2ms", "--slo", "p98=2ms")
	f("p99=2ms", "--slo", "p99=2")
	f(`no operation "scan"`, "--slo", "scan.p99=2ms")
	f("--during", "--slo", "p99=2ms", "--during", "flood")
	f("--local-nodes", "--slo", "p99=2ms", "--during", "kill")
	f("does not fit", "--slo", "p99=2ms", "--budget", "10s", "--confirm", "20s")
	f("--resolution", "--slo", "p99=2ms", "--resolution", "0.1%")
	f("unknown flag", "--slo", "p99=2ms", "--fault", "kill node1 @1s")
}

func TestLimitsAreReadWithDotsAndOperations(t *testing.T) {
	l, err := parseLimit("get.p99.9=10ms")
	if err != nil || l != (result.Limit{Op: "get", Percentile: "p99_9", P: 0.999, LatencyUS: 10_000}) {
		t.Errorf("get.p99.9=10ms is %+v, %v", l, err)
	}
	if l, err = parseLimit("read-modify-write.p50=1s"); err != nil || l.Op != "read-modify-write" || l.P != 0.5 {
		t.Errorf("read-modify-write.p50=1s is %+v, %v", l, err)
	}
}

// feed gives a judge seconds with n operations, beyond of them slow and ok
// answered, until it ends the probe.
func feed(j *judge, n, beyond, ok int64) (seconds int) {
	var sum drive.SLOCount
	for seconds = 1; seconds <= 20; seconds++ {
		sum.Samples += n
		sum.Beyond += beyond
		if !j.second(&drive.Progress{OK: ok, SLO: []drive.SLOCount{sum}}) {
			return seconds
		}
	}
	return 0
}

func TestAProbeEndsWhenItIsDecided(t *testing.T) {
	slo := []result.Limit{{Percentile: "p99", P: 0.99, LatencyUS: 2000}}
	f := func(phase string, n, beyond, ok int64, most int, want result.Outcome) {
		t.Helper()
		j := newJudge(slo, phase, false, float64(n), &drillState{})
		got := feed(j, n, beyond, ok)
		outcome := j.decide()
		if j.ended != "" {
			outcome = result.Fails
		}
		if most == 0 && got != 0 || most > 0 && (got == 0 || got > most) || outcome != want {
			t.Errorf("%s with %d of %d slow, %d answered: ended after %d s, %s; want %d, %s", phase, beyond, n, ok, got, outcome, most, want)
		}
	}
	f(result.PhaseProbe, 5000, 5, 5000, 5, result.Holds)
	f(result.PhaseProbe, 5000, 500, 5000, 4, result.Fails)
	f(result.PhaseProbe, 5000, 50, 5000, 0, result.Undecided) // exactly at the limit
	f(result.PhaseBisect, 5000, 0, 3000, 4, result.Fails)     // a growing backlog, not yet slow
	f(result.PhaseConfirm, 5000, 5, 5000, 0, result.Holds)    // as long as was asked for
	f(result.PhaseConfirm, 5000, 500, 5000, 4, result.Fails)
	f(result.PhaseUp, 5000, 500, 5000, 0, result.Fails) // an overload lasts
}

func TestADrillIsJudgedByItsOwnSeconds(t *testing.T) {
	s := &drillState{from: 2500 * time.Millisecond, to: 7100 * time.Millisecond}
	r := &drive.Report{Seconds: nil}
	if from, to := s.window(r); from != 2 || to != 1 {
		t.Errorf("a drill under way: %d to %d", from, to)
	}
	s.ended.Store(true)
	if from, to := s.window(r); from != 2 || to != 8 {
		t.Errorf("a drill from 2.5 s to 7.1 s is judged from %d to %d, want 2 to 8", from, to)
	}
}

func TestAKneeThatCannotStartLeavesItsDocument(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "knee")
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	code, _, stderr := runProgram(ctx, "knee", "ycsb-a", "--slo", "p99=2ms", "--target", "quic://127.0.0.1:1", "--insecure", "--out", dir)
	var k result.Knee
	if err := result.ReadStudy(dir, result.KneeFile, result.KneeFormat, &k); err != nil || code != exitFailed || k.AnswerOpsPerSec != nil {
		t.Errorf("exit %d, %v, %s", code, err, stderr)
	}
	if err := result.ReadStudy(t.TempDir(), result.KneeFile, result.KneeFormat, &k); err == nil {
		t.Error("a folder without knee.json reads as one")
	}
}

func TestASearchWithoutAnAnswerKeepsNothingOfAnEarlierOne(t *testing.T) {
	v := 9.0
	n := &knee{k: &kneeOptions{}, bed: &bed{o: &options{}}, search: seek.New(seek.Config{})}
	n.doc.Response.P99, n.doc.CouldOverOffered, n.doc.AchievedOverOffered = &v, &v, &v
	n.doc.Probes = []result.Probe{{RateOpsPerSec: 2250, Outcome: result.Holds}, {RateOpsPerSec: 2250, Outcome: result.Fails}}
	n.conclude()
	if d := &n.doc; d.AnswerOpsPerSec != nil || d.Response.P99 != nil || d.CouldOverOffered != nil || d.AchievedOverOffered != nil {
		t.Errorf("no answer, and yet figures at it: %+v", d)
	}
	for _, v := range n.doc.Verdicts {
		if v.Rule == "R13" || v.Text == "no rate held the SLO" {
			t.Errorf("no answer after a probe that held: %+v", v)
		}
	}
	if got := n.tried(); got != "No rate was confirmed to hold " {
		t.Errorf("sentence begins %q", got)
	}
}
