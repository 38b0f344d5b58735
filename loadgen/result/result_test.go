package result

import (
	"encoding/csv"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"
)

func TestAFolderReadsBackAsWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 11, 1, 12, 0, 0, 500e6, time.UTC)
	gap := 123.5
	sum := &Summary{Format: Format, ID: "x", Command: []string{"headroom-loadgen", "run"}, Started: began, MeasuredFrom: began,
		Loop: "open", Operations: map[string]Operation{}, Faults: []Fault{{AtSec: 10, What: "kill", Node: "node3", GapMS: &gap}},
		Verdicts: []Verdict{{"R10", Warn, "shared host"}}}
	rows := []SeriesRow{
		{TSec: 0, Op: "get", Offered: 10, OK: 9, Failed: 1, ResponseP50US: 100.5, ResponseP90US: 200, ResponseP99US: math.Inf(1),
			ResponseMaxUS: math.Inf(1), ServiceP99US: 80, LatenessP99US: 3},
		{TSec: 1, Op: "get", Offered: 10, ResponseP50US: math.NaN(), ResponseP90US: math.NaN(), ResponseP99US: math.NaN(),
			ResponseMaxUS: math.NaN(), ServiceP99US: math.NaN(), LatenessP99US: math.NaN()},
	}
	generator := []GeneratorSample{{TSec: 1, CPUPct: 80.5, GCPauseMaxUS: 120, InFlight: 7, HeapBytes: 1 << 20, WallStepMS: -1, NetBusyPct: -1, NetDropped: 2}}
	events := []Event{{-3.25, EventPhase, "", "load"}, {10, EventFault, "node3", "kill, \"hard\""}}
	nodes := []NodeSample{{TSec: 1, Up: true, ViewKey: "12.node4.3", Members: 4, PartitionsLeft: 7, BytesLeft: 1e6, Masters: 1024,
		Copies: 2048, RSSBytes: 1 << 20, CPUPct: 12.5, Unavailable: 3, UsedBytes: 5e6, NetBusyPct: 7.5, NetDropped: 4,
		StopWrites: true, DevicePct: 87.5, DeviceQueued: 9, DevicesFailed: 1, Evicted: 12}, {TSec: 2}}
	w.Workload([]byte("version: 1\n"))
	w.Environment(&Environment{Kernel: "6.18", Cores: 2})
	for _, r := range rows {
		w.Series(r)
	}
	for _, e := range events {
		w.Event(e)
	}
	for _, s := range nodes {
		w.Node("node3", s)
	}
	h := spread()
	for i := range 3 {
		w.Interval("get", Response, h, began.Add(time.Duration(i)*time.Second), began.Add(time.Duration(i+1)*time.Second))
	}
	w.Generator(generator[0])
	w.Summary(sum)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := &Run{Dir: dir, Summary: *sum, Workload: "version: 1\n", Environment: Environment{Kernel: "6.18", Cores: 2},
		Series: rows, Events: events, Generator: generator,
		Nodes: map[string][]NodeSample{"node3": {nodes[0], {TSec: 2, RSSBytes: -1, CPUPct: -1, NetBusyPct: -1, NetDropped: -1, DevicePct: -1}}}}
	nan := cmp.Comparer(func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) })
	if d := cmp.Diff(want, r, nan); d != "" {
		t.Errorf("read back differs (-written +read):\n%s", d)
	}
	list, err := r.Intervals("get", Response)
	if err != nil || len(list) != 3 {
		t.Fatalf("Intervals = %d, %v, want 3", len(list), err)
	}
	if !list[1].From.Equal(began.Add(time.Second)) || !list[1].Hist.Equals(h) {
		t.Errorf("interval 1 from %v differs from the one written at %v", list[1].From, began.Add(time.Second))
	}
	if all, err := r.Histogram("get", Response); err != nil || all.TotalCount() != 3*h.TotalCount() || all.ValueAtPercentile(99) != h.ValueAtPercentile(99) {
		t.Errorf("merged histogram: %d samples, %v", all.TotalCount(), err)
	}
	if _, err := r.Intervals("put", Response); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Intervals of an absent operation: %v, want not exist", err)
	}
}

// spread is a histogram of latencies to two milliseconds.
func spread() *hdr.Histogram {
	h := NewHistogram()
	for v := int64(1000); v < 2_000_000; v += 997 {
		_ = h.RecordValue(v) // in range
	}
	return h
}

func TestCreateRefusesAForeignFolderAndReplacesARun(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		w, err := Create(dir)
		if err != nil {
			t.Fatal(err)
		}
		w.Summary(&Summary{Format: Format})
		w.Node("node1", NodeSample{})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "thesis.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(other); err == nil || !strings.Contains(err.Error(), "--out") {
		t.Errorf("Create of a foreign folder: %v, want a refusal that names --out", err)
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "no run folder") {
		t.Errorf("Open of an empty folder: %v", err)
	}
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	w.Summary(&Summary{Format: Format})
	w.series.line("0", "get", "x")
	w.Series(SeriesRow{TSec: 1, Op: "get"})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "series.csv") {
		t.Errorf("Open with a broken line: %v", err)
	}
}

func TestPercentilesCountFailedAsInfinite(t *testing.T) {
	h := NewHistogram()
	if err := h.RecordValues(1_000_000, 98_000); err != nil {
		t.Fatal(err)
	}
	p := Summarize(h, 2_000)
	if p.P50 == nil || math.Abs(*p.P50-1000) > 1 {
		t.Errorf("p50 = %v, want 1000 us", p.P50)
	}
	if p.P99 != nil || p.P999 != nil || p.Max != nil {
		t.Errorf("p99 %v p99.9 %v max %v, want all infinite: 2 %% failed", p.P99, p.P999, p.Max)
	}
	if d := cmp.Diff([]string{"p99", "p99_9", "max"}, p.Infinite); d != "" {
		t.Error(d)
	}
}

func TestPercentilesWithoutEnoughSamplesAreMarked(t *testing.T) {
	h := NewHistogram()
	for v := int64(1); v <= 1000; v++ {
		if err := h.RecordValue(v * 1000); err != nil {
			t.Fatal(err)
		}
	}
	p := Summarize(h, 0)
	if p.P99 == nil || p.P999 != nil {
		t.Errorf("1000 samples: p99 %v p99.9 %v, want a value and nil", p.P99, p.P999)
	}
	if d := cmp.Diff([]string{"p99_9"}, p.Unsupported); d != "" {
		t.Error(d)
	}
	ci := p.CI99["p50"]
	if ci[0] == nil || ci[1] == nil || *ci[0] > 460 || *ci[1] < 540 {
		t.Errorf("interval of p50 is %v, want about 459..541 us", ci)
	}
	if Summarize(NewHistogram(), 0).Max != nil {
		t.Error("max of no samples is not nil")
	}
	for p, n := range map[float64]int64{0.9: 23_886, 0.95: 50_425, 0.99: 262_742} {
		if !Precise(p, n+1) || Precise(p, n-1) {
			t.Errorf("Precise(%v) does not turn at %d", p, n)
		}
	}
}

func TestAStudyReadsBackAsWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "knee")
	rate := 12_000.0
	want := Knee{Study: Study{Format: KneeFormat, ID: "k", Command: []string{"headroom-loadgen", "knee"}, Verdicts: []Verdict{}},
		SLO: []Limit{{Percentile: "p99", P: 0.99, LatencyUS: 2000}}, AnswerOpsPerSec: &rate, LowOpsPerSec: &rate,
		Probes: []Probe{{N: 1, Phase: PhaseProbe, Dir: "runs/001", Outcome: Holds, Tests: []LimitTest{{Samples: 10}}}}}
	for range 2 { // the second replaces the first
		if err := WriteStudy(dir, KneeFile, &want); err != nil {
			t.Fatal(err)
		}
	}
	var got Knee
	if err := ReadStudy(dir, KneeFile, KneeFormat, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("read back differs (-written +read):\n%s", d)
	}
	if err := ReadStudy(dir, KneeFile, MatrixFormat, &Matrix{}); err == nil || !strings.Contains(err.Error(), MatrixFormat) {
		t.Errorf("a knee read as a matrix: %v", err)
	}
	if err := ReadStudy(dir, MatrixFile, MatrixFormat, &Matrix{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent document: %v, want not exist", err)
	}
}

// TestAFullDiskKeepsTheFigures: /dev/full answers every write as a full disk
// does; run.json has its place reserved.
func TestAFullDiskKeepsTheFigures(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here")
	}
	dir := filepath.Join(t.TempDir(), "run")
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, reserveFile)); err != nil || info.Size() < 100_000 {
		t.Errorf("no place is reserved for run.json: %v", err)
	}
	w.events.f.Close()
	w.events = &csvFile{f: full, w: csv.NewWriter(full)}
	for range 10_000 {
		w.Event(Event{Kind: EventPhase, What: "a line that does not fit any more"})
	}
	w.Series(SeriesRow{Op: "get", OK: 1})
	w.Summary(&Summary{Format: Format, ID: "kept"})
	if err := w.Close(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Close = %v, want no space left, and the folder's name", err)
	}
	r, err := Open(dir)
	if err != nil || r.Summary.ID != "kept" || len(r.Series) != 1 {
		t.Errorf("after a full disk the folder reads back as %+v, %v", r, err)
	}
	if _, err := os.Stat(filepath.Join(dir, reserveFile)); err == nil {
		t.Error("the reserved place is still there")
	}
}
