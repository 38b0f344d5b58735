package main

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headroom/loadgen/drive"
	"headroom/loadgen/proof"
	"headroom/loadgen/result"
)

// overloaded makes the seconds of an overload run: 10 s before, 10 s over, then
// bad seconds, then good ones.
func overloaded(over float64, bad, good int) *drive.Report {
	r := &drive.Report{}
	add := func(n int, rate, p99 float64) {
		for range n {
			r.Seconds = append(r.Seconds, proof.Second{Rate: rate, P99US: p99})
		}
	}
	add(10, 800, 2000)
	add(10, 1200, over)
	add(bad, 800, math.Inf(1))
	add(good, 800, 2500)
	return r
}

func TestRecoveryIsWhenItStaysGood(t *testing.T) {
	v := &overloadOptions{over: 1.2, under: 0.8, before: 10 * time.Second, long: 10 * time.Second, after: 20 * time.Second}
	f := func(name string, r *drive.Report, rule string, want float64) {
		t.Helper()
		doc := result.Overload{RateOpsPerSec: 1000, OverShare: 1.2, UnderShare: 0.8, AfterSec: 20}
		recovery(r, v, &doc)
		got := -1.0
		if doc.RecoverSec != nil {
			got = *doc.RecoverSec
		}
		if len(doc.Verdicts) != 1 || doc.Verdicts[0].Rule != rule || got != want {
			t.Errorf("%s: %+v, recovered after %v, want %s after %v", name, doc.Verdicts, got, rule, want)
		}
	}
	f("at once", overloaded(1e6, 0, 20), "RECOVERY", 0)
	f("after 7 s", overloaded(1e6, 7, 13), "RECOVERY", 7)
	f("never", overloaded(1e6, 20, 0), "METASTABLE", -1)
	f("too late to be sure", overloaded(1e6, 18, 2), "METASTABLE", -1)
	f("no overload", overloaded(2100, 0, 20), "NO-OVERLOAD", 0)
	spike := overloaded(2100, 0, 20)
	spike.Seconds[15].P99US = 1e6
	f("one slow second", spike, "NO-OVERLOAD", 0)
	flapping := overloaded(1e6, 0, 0)
	for i := range 20 {
		flapping.Seconds = append(flapping.Seconds, proof.Second{Rate: 800, P99US: map[bool]float64{true: 1e6, false: 2000}[i%3 == 2]})
	}
	f("flapping", flapping, "METASTABLE", -1)
	f("interrupted", overloaded(1e6, 1, 0), "INTERRUPTED", -1)
}

func TestCalibrateAndOverloadWantSensibleCommandLines(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		code, _, stderr := runProgram(context.Background(), args...)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d, %q, want 2 and %q", args, code, stderr, want)
		}
	}
	over := func(more ...string) []string {
		return append([]string{"overload", "ycsb-a", "--target", "null"}, more...)
	}
	f("100% to 1000%", over("--over", "90%")...)
	f("--over", over("--over", "")...)
	f("--after", over("--after", "1s")...)
	f("p99 of all", over("--slo", "p50=2ms")...)
	f("above zero", over("--rate", "0/s")...)
	f("at most one workload", "calibrate", "ycsb-a", "ycsb-b")
	f("--duration", "calibrate", "--duration", "5")
	f("--lanes", "calibrate", "--lanes", "-1")
	f("KEY=VALUE", "calibrate", "--set", "records")
}

func TestCalibrateWritesItsDocument(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cal")
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second) // the costs, and some rows
	defer cancel()
	runProgram(ctx, "calibrate", "--duration", "100ms", "--precise=false", "--out", dir, "--set", "records=1000")
	var c result.Calibration
	if err := result.ReadStudy(dir, result.CalibrateFile, result.CalibrateFormat, &c); err != nil {
		t.Fatal(err)
	}
	if c.NSPerOp <= 0 || c.AllocsPerOp > 0.01 || c.NullOpsPerSec < 10_000 || c.ClockNS <= 0 || len(c.Rows) == 0 {
		t.Errorf("%+v", c)
	}
}
