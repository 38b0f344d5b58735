package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headroom/loadgen/result"
)

// matrixOf lays out a matrix whose cells are carried out by cell.
func matrixOf(t *testing.T, dir string, cell func(out string) error, flags ...string) *matrix {
	t.Helper()
	args := append([]string{"headroom-loadgen", "matrix", "--workload", "ycsb-a,ycsb-b", "--nodes", "1,2", "--rf", "1,2", "--value-size", "100B", "--out", dir}, flags...)
	m := &matrix{args: args, out: dir, command: func(_ context.Context, line []string, _, _ io.Writer) error {
		return cell(line[slices.Index(line, "--out")+1])
	}}
	m.doc = result.Matrix{Study: newStudy(&options{args: args}, result.MatrixFormat, "matrix"), Axes: []result.Axis{{Name: axisWorkload, Values: []string{"ycsb-a", "ycsb-b"}},
		{Name: axisDevice, Values: []string{"dram"}}, {Name: axisNodes, Values: []string{"1", "2"}}, {Name: axisRF, Values: []string{"1", "2"}},
		{Name: axisSize, Values: []string{"100B"}}}}
	if err := m.cells(); err != nil {
		t.Fatal(err)
	}
	return m
}

// fakeRun writes a run folder with a rate.
func fakeRun(dir string, rate float64) error {
	w, err := result.Create(dir)
	if err != nil {
		return err
	}
	w.Summary(&result.Summary{Format: result.Format, AchievedOpsPerSec: rate, OfferedOpsPerSec: rate, DurationSec: 2})
	w.Node("node1", result.NodeSample{TSec: 1, Up: true, CPUPct: 50, RSSBytes: 1000})
	w.Node("node2", result.NodeSample{TSec: 1, Up: true, CPUPct: 30, RSSBytes: 500})
	return w.Close()
}

func TestAMatrixIsResumedWhereItStopped(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	out := newProgress(io.Discard)
	ctx, cancel := context.WithCancel(context.Background())
	var ran []string
	m := matrixOf(t, dir, func(d string) error {
		ran = append(ran, filepath.Base(d))
		if len(ran) == 2 {
			return errors.New("no such luck\nsecond line")
		}
		if len(ran) == 3 {
			cancel() // Ctrl-C in the third
		}
		return fakeRun(d, float64(1000*len(ran)))
	})
	if err := m.run(ctx, io.Discard, out); err == nil || !strings.Contains(err.Error(), "goes on") {
		t.Fatalf("a stopped matrix: %v, want an error that says how to go on", err)
	}
	first := len(ran)
	m = matrixOf(t, dir, func(d string) error {
		ran = append(ran, filepath.Base(d))
		return fakeRun(d, 5000)
	})
	var table strings.Builder
	if err := m.run(context.Background(), &table, out); err != nil {
		t.Fatal(err)
	}
	// 8 combinations, of which 2 copies on 1 node cannot be: 6 cells, one of them twice.
	if first != 3 || len(ran) != 7 || ran[2] != ran[3] {
		t.Errorf("cells run: %v (%d before the stop)", ran, first)
	}
	var doc result.Matrix
	if err := result.ReadStudy(dir, result.MatrixFile, result.MatrixFormat, &doc); err != nil {
		t.Fatal(err)
	}
	states := ""
	for _, c := range doc.Cells {
		states += string(c.State[0])
	}
	if states != "dsfddsdd" || doc.Interrupted {
		t.Errorf("states %q (done, skipped, failed), interrupted %v", states, doc.Interrupted)
	}
	if c := doc.Cells[0]; c.AchievedOpsPerSec != 1000 || c.NodeCPUPct == nil || *c.NodeCPUPct != 80 || c.NodeRSSBytes != 1500 {
		t.Errorf("cell 1: %+v", c)
	}
	text, err := os.ReadFile(filepath.Join(dir, result.MatrixTable))
	if err != nil || strings.Count(string(text), "\n") != 9 || !strings.Contains(table.String(), "no such luck") || strings.Contains(string(text), "second line") {
		t.Errorf("%v, matrix.csv:\n%s%s", err, text, table.String())
	}
}

func TestAMatrixRefusesAnotherCommandsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	out := newProgress(io.Discard)
	run := func(d string) error { return fakeRun(d, 1) }
	if err := matrixOf(t, dir, run).run(context.Background(), io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := matrixOf(t, dir, run, "--retry").run(context.Background(), io.Discard, out); err != nil {
		t.Errorf("--retry: %v", err)
	}
	err := matrixOf(t, dir, run, "--", "--duration", "5s").run(context.Background(), io.Discard, out)
	if err == nil || !strings.Contains(err.Error(), "--out") {
		t.Errorf("another command's folder: %v", err)
	}
}

func TestAMatrixWantsASensibleCommandLine(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		code, _, stderr := runProgram(context.Background(), append([]string{"matrix"}, args...)...)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d, %q, want 2 and %q", args, code, stderr, want)
		}
	}
	f("no argument", "ycsb-a")
	f("whole numbers", "--nodes", "0")
	f("whole numbers", "--rf", "two")
	f("p99=2ms", "--nodes", "1", "--slo", "p98=1ms")
	f("at least one of", "--", "--duration", "1s")
	f("no value", "--workload", "")
	f("more than", "--value-size", strings.TrimSuffix(strings.Repeat("1B,", 9999), ","))
}
