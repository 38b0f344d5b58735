package stats

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headroom/loadgen/result"
	"headroom/reports/sample"
)

// whole is the sample run, written once and copied by each test that needs it.
var whole string

func TestMain(m *testing.M) { os.Exit(sample.Main(&whole, m.Run)) }

// derive copies the sample run with change, lets spoil damage the folder and derives it.
func derive(t *testing.T, change func(*result.Summary), spoil func(dir string)) *Facts {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		if err := sample.Alter(dir, change); err != nil {
			t.Fatal(err)
		}
	}
	if spoil != nil {
		spoil(dir)
	}
	run, problems, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return Derive(run, problems)
}

func TestNumbersArePrintedWithUnits(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(Micros(0), "0 µs")
	f(Micros(0.4), "0.40 µs")
	f(Micros(312.4), "312 µs")
	f(Micros(999.7), "1.00 ms")
	f(Millis(310), "310 ms")
	f(Micros(1_423), "1.42 ms")
	f(Seconds(2.304), "2.30 s")
	f(Seconds(245), "4 min 05 s")
	f(Seconds(7260), "2 h 01 min")
	f(Micros(math.NaN()), Missing)
	f(Micros(math.Inf(1)), Missing)
	f(Micros(-1), Missing)
	f(Rate(0), "0")
	f(Rate(950), "950")
	f(Rate(999.8), "1.00k")
	f(Rate(12_000), "12.0k")
	f(Rate(1_250_000), "1.25M")
	f(Rate(math.NaN()), Missing)
	f(Bytes(0), "0 B")
	f(Bytes(312<<20), "312 MiB")
	f(Count(1_234_567), "1,234,567")
	f(Count(-1_000), "−1,000")
	f(Count(math.MinInt64), "−9,223,372,036,854,775,808")
	f(Plural(1, "node"), "1 node")
	f(Percent(0.8563), "85.63 %")
}

func TestNeededIsTheLeastSupportedCount(t *testing.T) {
	for _, p := range []float64{0.5, 0.9, 0.99, 0.999} {
		n := Needed(p)
		if !result.Supported(p, n) || result.Supported(p, n-1) {
			t.Errorf("Needed(%g) = %d is not the border", p, n)
		}
	}
	if n := Needed(0.99); n != 657 {
		t.Errorf("Needed(0.99) = %d, want 657", n)
	}
}

func TestMedianHasAnIntervalFromItsOwnSamples(t *testing.T) {
	got := Median([]float64{9, 1, 5, 3, 7, 2, 8, 4, 6, 10})
	if want := (Interval{Value: 5.5, Low: 2, High: 10, N: 10}); got != want {
		t.Errorf("Median = %+v, want %+v", got, want)
	}
	if got := Median(nil); got != (Interval{}) {
		t.Errorf("Median(nil) = %+v, want zero", got)
	}
}

func TestSteadySecondsExcludeFaultsAndMigrations(t *testing.T) {
	f := derive(t, nil, nil)
	// 0-8 before the kill's window, 31-39 after the start's; 25-27.6 migrates.
	if !f.Steady.OK || !f.Steady.Healthy || f.Steady.Seconds != 19 {
		t.Errorf("steady = %+v, want 19 healthy seconds", f.Steady)
	}
	if f.Steady.Rate.Value != 3000 {
		t.Errorf("steady rate = %v, want 3000", f.Steady.Rate.Value)
	}
	if f.Steady.Response.P99 == nil || *f.Steady.Response.P99 > *f.Curves[0].Percentiles.P99 {
		t.Error("the steady p99 must exist and lie below that of the whole run")
	}
	if len(f.Down) != 1 || f.Down[0] != (Span{From: sample.KillAt, To: sample.StartAt, Node: "node3"}) {
		t.Errorf("down = %+v", f.Down)
	}
	if len(f.Migrations) != 2 || f.Migrations[0].From != 10.5 {
		t.Errorf("migrations = %+v", f.Migrations)
	}
	if len(f.Problems) != 0 {
		t.Errorf("problems = %q, want none", f.Problems)
	}
}

func TestTheRunsOwnWordOnSteadinessIsKept(t *testing.T) {
	r5 := func(l result.Level) func(*result.Summary) {
		return func(s *result.Summary) {
			s.Steady = result.Steady{Rule: "a rule", Why: "p99 rose by 40 %"}
			s.Verdicts = []result.Verdict{{Rule: "R5", Level: l, Text: "in words"}}
		}
	}
	if f := derive(t, r5(result.Warn), nil); f.Steady.OK || f.Steady.Why != "p99 rose by 40 %" {
		t.Errorf("a run that warns of no steady state has %+v", f.Steady)
	}
	if f := derive(t, r5(result.Info), nil); !f.Steady.OK {
		t.Errorf("a run that was not judged has %+v", f.Steady)
	}
	f := derive(t, func(s *result.Summary) { s.Steady = result.Steady{Rule: "a rule", Reached: true, FromSec: 5} }, nil)
	if f.Steady.Seconds != 14 || f.Steady.Offered.Value != 3000 {
		t.Errorf("steady from 5 s on: %+v, want 14 of 19 seconds and 3000 offered", f.Steady)
	}
}

func TestMergedHistogramsAgreeWithTheSummary(t *testing.T) {
	f := derive(t, nil, nil)
	if got, want := f.Curves[0].Percentiles.Samples, f.Total.Count; got != want {
		t.Errorf("response curve has %d samples, the summary %d", got, want)
	}
	if c := f.Curves[0]; c.FiniteTo >= 1 || c.FiniteTo < 0.99 || len(c.Points) == 0 || !math.IsInf(c.Points[len(c.Points)-1].US, 1) {
		t.Errorf("failed operations must end the response curve in infinity, finite to %v", c.FiniteTo)
	}
	kill := f.Seconds[int(sample.KillAt)]
	if kill.Failed == 0 || !math.IsInf(kill.P99, 1) || math.IsInf(kill.P50, 1) {
		t.Errorf("second of the kill = %+v, want infinite p99 and finite p50", kill)
	}
}

func TestTooFewSteadySecondsGiveNoHeadline(t *testing.T) {
	f := derive(t, func(s *result.Summary) { s.DurationSec = 4.5 }, nil)
	if f.Steady.OK || !strings.Contains(f.Steady.Why, "6 needed") {
		t.Errorf("steady = %+v, want none", f.Steady)
	}
	f = derive(t, func(s *result.Summary) {
		s.Verdicts = append(s.Verdicts, result.Verdict{Rule: "R5", Level: result.Fail, Text: "throughput fell throughout"})
	}, nil)
	if f.Steady.OK {
		t.Error("a run that fails R5 still has a headline")
	}
}

func TestDamagedFilesAreNamedAndTheRestIsUsed(t *testing.T) {
	cut := func(name string) func(string) {
		return func(dir string) {
			path := filepath.Join(dir, name)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text[:len(text)*2/3], 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(string) {
		return func(dir string) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	garbage := func(name string) func(string) {
		return func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("\x00\xffgarbage,\"\n1,2\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"series.csv", "events.csv", "nodes/node1.csv", "get-response.hlog", "workload.yaml", "environment.json"} {
		for how, spoil := range map[string]func(string) func(string){"cut": cut, "removed": remove, "garbage": garbage} {
			f := derive(t, nil, spoil(name))
			if f.Total.Count != 120_000 {
				t.Errorf("%s %s: %d operations, want all of run.json", name, how, f.Total.Count)
			}
			silent := strings.HasPrefix(name, "nodes/") && how == "removed" || name == "workload.yaml" && how != "removed"
			if len(f.Problems) == 0 && !silent {
				t.Errorf("%s %s: no problem named", name, how)
			}
		}
	}
}

func TestOtherVersionsAndOtherFoldersAreRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := errors.Join(sample.Write(dir), sample.Alter(dir, func(s *result.Summary) { s.Format = "headroom-run/9" })); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "headroom-run/9") {
		t.Errorf("Load of another format = %v, want an error that names it", err)
	}
	if _, _, err := Load(t.TempDir()); err == nil {
		t.Error("Load of an empty folder succeeded")
	}
}
