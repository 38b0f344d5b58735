// Package e2e tests Headroom from outside: real node processes on this
// machine, real load with an audit, real faults. `go test ./hack/e2e` runs one
// short scenario by the commands a user has; with -e2e (make e2e) the long
// ones too. Figures are logged, never asserted: only what must hold on a slow
// machine as well fails a test.
//
// The invariant to know: every process is ended by the test that started it, by
// its id, and what a failed scenario leaves (logs, data, run folder) is kept
// and named in the test's output.
//
// Start reading at TestARunSurvivesAKill.
package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headroom/hack/figures/rig"
	"headroom/loadgen/local"
	"headroom/loadgen/result"
)

var (
	long = flag.Bool("e2e", false, "run the long scenarios too")
	bin  string // directory of the programs, built by TestMain
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// build makes the programs from this tree, so that what is tested is what is
// there, and runs the tests.
func build(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "headroom-e2e-bin-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := depend("../.."); err != nil {
		return 1, err
	}
	for _, p := range []string{"node", "loadgen", "reports", "planner"} {
		cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "headroom-"+p), "./"+p)
		cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build %s: %w\n%s", p, err, out)
		}
	}
	bin = dir
	return m.Run(), nil
}

// depend makes the cached result of these tests depend on every source file:
// go test watches the files that a test looks at, not those of a build that it
// starts.
func depend(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "out" || d.Name() == "runs"):
			return filepath.SkipDir
		case !d.IsDir():
			_, err = os.Stat(path)
		}
		return err
	})
}

func program(name string) string { return filepath.Join(bin, "headroom-"+name) }

// scratch is a directory that is kept when the test fails.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "headroom-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept: %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	return dir
}

// command runs a program to its end and returns its output and exit code.
func command(t *testing.T, limit time.Duration, name string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s %v did not end within %v:\n%s", name, args, limit, out)
	}
	if err != nil && cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// clean fails the test unless the audit found nothing.
func clean(t *testing.T, a result.Audit) {
	t.Helper()
	t.Logf("audit: %d writes acknowledged, %d in doubt; lost %d, stale %d, corrupt %d, false not found %d; %d of %d written keys read back",
		a.AcknowledgedWrites, a.InDoubtWrites, a.Lost, a.StaleReads, a.Corrupt, a.FalseNotFound, a.ReadBack, a.KeysWritten)
	if !a.Enabled || a.AcknowledgedWrites == 0 {
		t.Errorf("the audit saw no acknowledged write (enabled %v: %s)", a.Enabled, a.Why)
	}
	if a.Lost+a.StaleReads+a.Corrupt+a.FalseNotFound != 0 {
		t.Errorf("lost %d, stale reads %d, corrupt %d, false not found %d; want none", a.Lost, a.StaleReads, a.Corrupt, a.FalseNotFound)
	}
	if a.ReadBack != a.KeysWritten {
		t.Errorf("%d of %d written keys could be read back", a.ReadBack, a.KeysWritten)
	}
}

func TestARunSurvivesAKill(t *testing.T) {
	dir := scratch(t)
	run, page := filepath.Join(dir, "run"), filepath.Join(dir, "report.html")
	out, code := command(t, 2*time.Minute, program("loadgen"), "run", "ycsb-b", "--local-nodes", "4", "--rate", "1k/s",
		"--warmup", "1s", "--duration", "10s", "--seed", "1", "--set", "replication-factor=2", "--set", "records=5k",
		"--set", "mix.get=50", "--set", "mix.update=50", "--fault", "kill node3 @3s", "--fault", "start node3 @7s", "--out", run)
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	r, err := result.Open(run)
	if err != nil {
		t.Fatal(err)
	}
	clean(t, r.Summary.Audit)
	if len(r.Summary.Faults) != 2 {
		t.Fatalf("%d faults were injected, want 2", len(r.Summary.Faults))
	}
	for _, f := range r.Summary.Faults {
		t.Logf("%s %s: gap %s ms, one view %s ms, redundancy %s s", f.What, f.Node, number(f.GapMS), number(f.OneViewMS), number(f.RedundancyRestoredSec))
		if f.RedundancyRestoredSec == nil {
			t.Errorf("redundancy was not restored after %s %s", f.What, f.Node)
		}
	}
	if out, code := command(t, time.Minute, program("reports"), "html", run, "-o", page); code != 0 {
		t.Fatalf("report: exit code %d:\n%s", code, out)
	}
	selfContained(t, page)
	recomputed(t, run)
}

// recomputed fails the test unless every number of a run follows from its raw
// files.
func recomputed(t *testing.T, run string) {
	t.Helper()
	out, code := command(t, time.Minute, program("reports"), "verify", run)
	if code != 0 || !strings.Contains(out, ", 0 differ") || strings.Contains(out, "no raw file") || strings.Contains(out, "older version") || strings.Contains(out, "keep to the bound") {
		t.Errorf("headroom-reports verify: exit code %d:\n%s", code, out)
	}
}

// selfContained checks that a page refers to nothing outside itself.
func selfContained(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "</html>") {
		t.Errorf("%s is no complete page", path)
	}
	for _, bad := range []string{`src="http`, `href="http`, `src="//`, `href="//`, "@import", "url(http"} {
		if strings.Contains(string(text), bad) {
			t.Errorf("the report refers to something outside itself: %s", bad)
		}
	}
}

func number(v *float64) string {
	if v == nil {
		return "unknown"
	}
	return fmt.Sprintf("%.1f", *v)
}

// scenario is a rig with a load that runs, for a long test.
func scenario(t *testing.T, set ...string) *rig.Rig {
	t.Helper()
	if !*long {
		t.Skip("a long scenario: run make e2e, or go test ./hack/e2e -e2e")
	}
	return underLoad(t, rig.Config{Binary: program("node"), Nodes: 4, Flags: map[string]string{"replication-factor": "2"},
		Rate: 2000, Seed: 1, Set: append([]string{"records", "20k", "value-size", "500B"}, set...)})
}

// underLoad is a rig with its records and a load that runs; what it wrote is
// kept if the test fails.
func underLoad(t *testing.T, cfg rig.Config) *rig.Rig {
	t.Helper()
	r, err := rig.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			r.Keep()
			t.Logf("kept: %s", r.Dir())
		}
		r.Close()
	})
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Go(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait(t, 2*time.Second)
	return r
}

// wait lets a scenario go on for a while: it drives real processes, which have
// no clock to advance.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	if err := rig.Sleep(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// redundant is how long a scenario waits for full redundancy: figures say how
// long it takes, this only ends a hang.
const redundant = 90 * time.Second

func do(t *testing.T, r *rig.Rig, a local.Action, node string) rig.Fault {
	t.Helper()
	f, err := r.Do(t.Context(), a, node)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func awaitRedundancy(t *testing.T, r *rig.Rig) {
	t.Helper()
	if err := r.AwaitRedundancy(t.Context(), redundant); err != nil {
		t.Fatal(err, status(t, r))
	}
}

// status is what each node says of itself, for a failure.
func status(t *testing.T, r *rig.Rig) string {
	t.Helper()
	var b strings.Builder
	for _, addr := range r.Cluster.Addrs() {
		out, _ := command(t, 10*time.Second, program("node"), "status", "--addr", addr, "--credentials", r.Cluster.Credentials())
		fmt.Fprintf(&b, "\n--- %s\n%s", addr, out)
	}
	return b.String()
}

// finish ends the load, reads everything back, checks the audit, and logs
// what each fault cost. It returns how many operations failed or are in doubt.
func finish(t *testing.T, r *rig.Rig, faults []rig.Fault) (failed, inDoubt int64) {
	t.Helper()
	report, err := r.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Driver.ReadBack(t.Context(), time.Minute, nil); err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		g, o := r.Gap(report, f), r.Observed(f)
		t.Logf("%s %s: gap %v, failed %d, in doubt %d, one view %v, redundancy %v", f.Action, f.Node, g.Worst.Round(time.Millisecond),
			g.Failed, g.InDoubt, o.OneView, o.Restored.Round(10*time.Millisecond))
	}
	var count int64
	for name, op := range report.Operations {
		t.Logf("%s: %d, failed %d, in doubt %d, p99 %s us, max %s us", name, op.Count, op.Failed, op.InDoubt, number(op.Response.P99), number(op.Response.Max))
		count, failed, inDoubt = count+op.Count, failed+op.Failed, inDoubt+op.InDoubt
	}
	for text, n := range r.Driver.Errors() {
		t.Logf("%d x %s", n, text)
	}
	for _, f := range r.Driver.Findings() {
		t.Logf("finding: %s", f.Text)
	}
	if count == 0 {
		t.Error("nothing was measured")
	}
	clean(t, r.Driver.Audit())
	return failed, inDoubt
}

// nodeStatus is the part of headroom-status/1 that the tests read.
type nodeStatus struct {
	Node    string `json:"node"`
	State   string `json:"state"`
	Problem string `json:"problem"`
	ViewKey string `json:"view_key"`
	Members []struct {
		Node string `json:"node"`
		Up   bool   `json:"up"`
	} `json:"members"`
	Namespaces []struct {
		Migrations struct {
			PartitionsLeft int64 `json:"partitions_left"`
		} `json:"migrations"`
		ConflictsDiscarded int64 `json:"conflicts_discarded"`
	} `json:"namespaces"`
}

func parseStatus(out string) (nodeStatus, error) {
	var s nodeStatus
	err := json.Unmarshal([]byte(out), &s)
	return s, err
}
