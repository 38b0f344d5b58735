package studies

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"headroom/loadgen/result"
	"headroom/reports/page"
	"headroom/reports/sample"
)

func ptr(v float64) *float64 { return &v }

func study() result.Study {
	return result.Study{ID: "k-1", Command: []string{"headroom-loadgen", "knee", "ycsb-a"}, Started: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Target: "4 local nodes", Workload: result.Workload{Name: "ycsb-a"}, SpentSec: 300}
}

// drawn are the figures that the tests of this package have seen.
var drawn = map[string]bool{}

// document writes v as a study and returns its report as Markdown.
func document(t *testing.T, dir, name string, v any) string {
	t.Helper()
	if err := result.WriteStudy(dir, name, v); err != nil {
		t.Fatal(err)
	}
	d, err := Document(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range d.Figures() {
		drawn[f.Name] = true
		for _, x := range append(f.Wide.Flaws(), f.Narrow.Flaws()...) {
			t.Errorf("figure %s: %s", f.Name, x)
		}
	}
	var html, md bytes.Buffer
	if err := errors.Join(page.HTML(&html, d), page.Markdown(&md, d)); err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`NaN|[+-]?\bInf\b|%!|<nil>|<script>alert`).FindString(strings.Split(html.String(), "<script>\"use")[0] + md.String()); m != "" && !strings.Contains(html.String(), "// The page's only script") {
		t.Errorf("the report holds %q", m)
	}
	return md.String()
}

// TestEveryFigureOfAStudyHasLabelsApart draws each kind once more; document
// looks at the labels.
func TestEveryFigureOfAStudyHasLabelsApart(t *testing.T) {
	clear(drawn)
	long := strings.Repeat("very-long-", 6)
	k := knee()
	for i := range 30 {
		p := k.Probes[i%4]
		p.OfferedOpsPerSec, p.RateOpsPerSec = 20_000+float64(i), 20_000+float64(i)
		for n := range 30 {
			p.Use = append(p.Use, result.Use{Resource: long, Node: fmt.Sprint(long, n), Utilisation: float64(n) / 20})
		}
		k.Probes = append(k.Probes, p)
	}
	document(t, t.TempDir(), result.KneeFile, k)
	dir := t.TempDir()
	if err := sample.Large(filepath.Join(dir, "run"), sample.Size{Seconds: 300, Operations: 2, Nodes: 1, Samples: 300}); err != nil {
		t.Fatal(err)
	}
	o := &result.Overload{Study: study(), RateOpsPerSec: 900, OverShare: 1.2, UnderShare: 0.8, BeforeSec: 100, OverSec: 100, AfterSec: 100, ThresholdUS: 3000, RecoverSec: ptr(4), OverloadReached: true, Dir: "run"}
	o.Format = result.OverloadFormat
	document(t, dir, result.OverloadFile, o)
	m := &result.Matrix{Study: study(), Axes: []result.Axis{{Name: "workload", Values: []string{long}}, {Name: "nodes"}}}
	m.Format = result.MatrixFormat
	for n := range 40 {
		m.Cells = append(m.Cells, result.Cell{N: n, Values: map[string]string{"workload": long, "nodes": fmt.Sprint(n)}, State: result.CellDone, KneeOpsPerSec: ptr(float64(n) * 1e4)})
		m.Axes[1].Values = append(m.Axes[1].Values, fmt.Sprint(n))
	}
	document(t, t.TempDir(), result.MatrixFile, m)
	c := &result.Calibration{Study: study(), NullOpsPerSec: 1.2e6, NSPerOp: 410, Lanes: 2}
	c.Format = result.CalibrateFormat
	for n := range 30 {
		c.Rows = append(c.Rows, result.Pace{Waiter: long, RateOpsPerSec: 1e5 * float64(n), Lateness: result.Percentiles{P50: ptr(0), P99: ptr(80e6)}})
	}
	document(t, t.TempDir(), result.CalibrateFile, c)
	for _, want := range []string{"knee", "resources", "hysteresis", "throughput", "latency", "heat", "rates", "lateness"} {
		if !drawn[want] {
			t.Errorf("no figure %s: nothing is tested of it", want)
		}
	}
}

func says(t *testing.T, text string, list ...string) {
	t.Helper()
	for _, want := range list {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q:\n%.1200s", want, text)
		}
	}
}

func knee() *result.Knee {
	probe := func(n int, rate, p99 float64, o result.Outcome) result.Probe {
		return result.Probe{N: n, Phase: result.PhaseBisect, RateOpsPerSec: rate, OfferedOpsPerSec: rate, AchievedOpsPerSec: rate * 0.99, Outcome: o, Why: "decided",
			Response: result.Percentiles{P50: ptr(p99 / 3), P99: ptr(p99), Samples: 9000, Boot95: map[string][2]*float64{"p99": {ptr(p99 * 0.9), ptr(p99 * 1.2)}}},
			Tests:    []result.LimitTest{{Samples: 9000, Beyond: 12}}, Use: []result.Use{{Resource: "node-cpu", Node: "node2", Utilisation: 0.96}}}
	}
	return &result.Knee{Study: func() result.Study { s := study(); s.Format = result.KneeFormat; return s }(), SLO: []result.Limit{{Percentile: "p99", P: 0.99, LatencyUS: 2000}},
		AnswerOpsPerSec: ptr(20_000), LowOpsPerSec: ptr(20_000), HighOpsPerSec: ptr(22_000), Confirmed: true, ConfirmSec: 60, Response: result.Percentiles{P99: ptr(1700)},
		Limiting: result.Limiting{Resource: "node-cpu", Node: "node2", Text: "The CPU of node2 is at 96 %."}, Hysteresis: &result.Hysteresis{UpOpsPerSec: 24_000, DownOpsPerSec: 16_000, Recovered: true, RecoverSeconds: 3},
		Probes: []result.Probe{probe(1, 10_000, 900, result.Holds), probe(2, 20_000, 1700, result.Holds), probe(3, 22_000, 4800, result.Fails), probe(4, 60_000, 9e5, result.GeneratorLimited)}}
}

func TestAKneeIsSaidWithItsIntervalAndItsLimit(t *testing.T) {
	says(t, document(t, t.TempDir(), result.KneeFile, knee()),
		"# 20.0k ops/s holds p99 of all operations within 2.00 ms.", "20.0k and 22.0k ops/s", "confirmed by a run of 60.0 s", "The CPU of node2 is at 96 %.",
		"the cluster recovers by itself", "generator-limited", "| 3 | bisect | 22.0k ops/s")
	k := knee()
	k.AnswerOpsPerSec, k.LowOpsPerSec, k.Probes, k.Hysteresis, k.During = nil, nil, nil, nil, "kill"
	says(t, document(t, t.TempDir(), result.KneeFile, k), "# No rate held p99 of all operations within 2.00 ms while a node is killed and comes back.", "Nothing to draw: no probe measured a latency", "below 22.0k ops/s")
	k = knee()
	k.Confirmed, k.Probes[1].Outcome, k.Probes[3].Outcome = false, result.Undecided, result.Holds
	says(t, document(t, t.TempDir(), result.KneeFile, k), "within 2.00 ms, not confirmed by a longer run.", "its probe is undecided", "a probe at 60.0k ops/s held, too", "with the 95 % interval of its p99")
	k = knee() // a probe held, and not when its rate was confirmed
	k.AnswerOpsPerSec, k.LowOpsPerSec, k.Confirmed = nil, nil, false
	text := document(t, t.TempDir(), result.KneeFile, k)
	says(t, text, "# No rate was confirmed to hold p99 of all operations within 2.00 ms.", "20.0k ops/s held in a probe, and not when that was confirmed", "no rate held twice")
	if strings.Contains(text, "at the answer") || strings.Contains(text, "every rate tried failed") {
		t.Errorf("a search without an answer speaks of one:\n%.1500s", text)
	}
	k = knee()
	k.HighOpsPerSec = nil
	says(t, document(t, t.TempDir(), result.KneeFile, k), "# At least 20.0k ops/s holds")
	says(t, document(t, t.TempDir(), result.KneeFile, &result.Knee{Study: result.Study{Format: result.KneeFormat}}), "No rate held")
}

func TestAnOverloadSaysWhetherTheTargetRecovers(t *testing.T) {
	dir := t.TempDir()
	if err := sample.Large(filepath.Join(dir, "run"), sample.Size{Seconds: 30, Operations: 1, Nodes: 1, Samples: 900}); err != nil {
		t.Fatal(err)
	}
	o := &result.Overload{Study: study(), RateOpsPerSec: 900, OverShare: 1.2, UnderShare: 0.8, BeforeSec: 10, OverSec: 10, AfterSec: 10, ThresholdUS: 3000, StableSec: 3, RecoverSec: ptr(4), OverloadReached: true, Dir: "run"}
	o.Format = result.OverloadFormat
	says(t, document(t, dir, result.OverloadFile, o), "# After 10.0 s at 120 % of 900 ops/s the latency was back within 4.00 s.", "A loop that does not close", "Throughput")
	o.RecoverSec, o.OverP99US = ptr(0), ptr(2900)
	says(t, document(t, dir, result.OverloadFile, o), "the latency was back in the first second.", "at once", "mostly below the threshold of 3.00 ms: a mild overload")
	o.RecoverSec = nil
	says(t, document(t, dir, result.OverloadFile, o), "did not come back within 10.0 s at 80 %", "**never**")
	o.OverloadReached = false
	says(t, document(t, dir, result.OverloadFile, o), "did not overload the target")
	o.Dir = "../../etc"
	says(t, document(t, dir, result.OverloadFile, o), "the run cannot be read")
}

func TestAMatrixComparesDeviceTypes(t *testing.T) {
	m := &result.Matrix{Study: study(), Axes: []result.Axis{{Name: "workload", Values: []string{"ycsb-a"}}, {Name: "device", Values: []string{"dram", "file", "<script>alert(1)"}}, {Name: "nodes", Values: []string{"2", "3"}}},
		SLO: []result.Limit{{Percentile: "p99", P: 0.99, LatencyUS: 2000}}}
	m.Format = result.MatrixFormat
	for i, d := range m.Axes[1].Values {
		for _, n := range m.Axes[2].Values {
			c := result.Cell{N: len(m.Cells) + 1, Values: map[string]string{"workload": "ycsb-a", "device": d, "nodes": n}, State: result.CellDone, KneeOpsPerSec: ptr(float64(10_000 * (i + 1))), P99US: ptr(800)}
			if i == 2 {
				c.State, c.Error = result.CellFailed, "no such device"
			}
			m.Cells = append(m.Cells, c)
		}
	}
	says(t, document(t, t.TempDir(), result.MatrixFile, m), "# 4 of 6 combinations done; the most is 20.0k ops/s, of 2 combinations alike.", "| device | 2 nodes | 3 nodes |", "| file | 20.0k ops/s (p99 800 µs)", "**failed** (no such device)")
	says(t, document(t, t.TempDir(), result.MatrixFile, &result.Matrix{Study: result.Study{Format: result.MatrixFormat}}), "None of 0 combinations is done", "The matrix has no cell")
}

func TestCellsOfDifferentDilationAreNotRanked(t *testing.T) {
	m := &result.Matrix{Study: study(), Axes: []result.Axis{{Name: "workload", Values: []string{"ycsb-a"}}, {Name: "device", Values: []string{"emulated:nvme", "emulated:hdd", "dram"}}}}
	m.Format = result.MatrixFormat
	for i, d := range []result.Device{{Class: "nvme", Dilation: 20}, {Class: "hdd", Dilation: 1}, {Class: "dram", Dilation: 1}} {
		m.Cells = append(m.Cells, result.Cell{N: i + 1, Values: map[string]string{"workload": "ycsb-a", "device": m.Axes[1].Values[i]}, State: result.CellDone,
			AchievedOpsPerSec: 500 * float64(i+1), P99US: ptr(4000), Device: &d, Limiting: "device", LimitingText: "node1's busiest device was used to 97 %"})
	}
	text := document(t, t.TempDir(), result.MatrixFile, m)
	says(t, text, "no ranking", "time stretched 20 times: 10.0k ops/s and p99 200 µs in the device's own time", "limited by device", "hdd")
	if strings.Contains(text, "the most is") {
		t.Error("a cell in stretched time is ranked with others")
	}
	m.Cells[0].Device.Dilation = 1
	for i := range m.Cells[1:] { // each took what was offered: nothing to rank
		m.Cells[i].AchievedOpsPerSec, m.Cells[i].OfferedOpsPerSec, m.Cells[i].P50US = 1500, 1500, ptr(900)
	}
	m.Cells[2].OfferedOpsPerSec, m.Cells[2].P50US = 1500, ptr(900)
	clear(drawn)
	same := document(t, t.TempDir(), result.MatrixFile, m)
	says(t, same, "# 3 of 3 combinations done; each at 1.50k ops/s, so that only their latencies differ.", "busiest: device")
	if strings.Contains(same, "limited by") || !drawn["latencies"] || drawn["rates"] {
		t.Errorf("cells at the rate that was offered: figures %v\n%s", drawn, same)
	}
	m.Cells[0].AchievedOpsPerSec, m.Cells[1].AchievedOpsPerSec = 500, 1000
	says(t, document(t, t.TempDir(), result.MatrixFile, m), "the most is 1.50k ops/s with dram")
}

func TestACalibrationSaysWhatTheGeneratorCanDo(t *testing.T) {
	c := &result.Calibration{Study: study(), NullOpsPerSec: 1.2e6, NSPerOp: 410, Lanes: 2, Rows: []result.Pace{{Waiter: "timer", RateOpsPerSec: 1e5, AchievedOpsPerSec: 1e5, Lateness: result.Percentiles{P50: ptr(20), P99: ptr(80)}}}}
	c.Format = result.CalibrateFormat
	says(t, document(t, t.TempDir(), result.CalibrateFile, c), "# This generator offers up to 1.20M ops/s at 410 ns an operation.", "| timer | 100k ops/s")
}

func TestFoldersWithoutAStudyAreToldApart(t *testing.T) {
	if _, err := Document(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Document of an empty folder = %v, want fs.ErrNotExist", err)
	}
	dir := t.TempDir()
	k := knee()
	k.Format = "headroom-knee/9"
	if err := result.WriteStudy(dir, result.KneeFile, k); err != nil {
		t.Fatal(err)
	}
	if _, err := Document(dir); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "headroom-knee/9") {
		t.Errorf("Document of another version = %v, want an error that names it", err)
	}
}

func TestADeviceIsQualifiedWithItsDilation(t *testing.T) {
	dir := t.TempDir()
	if err := sample.Large(dir, sample.Size{Seconds: 10, Operations: 2, Nodes: 1, Samples: 300}); err != nil {
		t.Fatal(err)
	}
	kinds := []map[string]any{{"kind": "read", "count": 900, "response_us": result.Percentiles{P99: ptr(700)}}, {"kind": "block-write", "response_us": result.Percentiles{Infinite: []string{"p99"}}}}
	says(t, document(t, dir, deviceFile, map[string]any{"format": deviceFormat, "path": "/dev/x", "class": "nvme", "class_why": "its name", "size_bytes": 1 << 30, "rate_ops_per_s": 3000, "act_x": 1.0,
		"limits": []string{"5 % over 1 ms"}, "passed": true, "slices": []map[string]any{{"t_s": 0, "seconds": 5, "kinds": kinds, "over": []float64{0.013}, "passed": true}},
		"searched": []map[string]any{{"rate_ops_per_s": 6000, "passed": false, "why": "too slow"}}, "emulation": map[string]any{"profile": "nvme-x", "dilation": 20}}),
		"# The emulated device nvme-x passes at 3.00k ops/s (1x of ACT), time stretched 20 times.", "driven at 150 ops/s: latencies and limits here are 20 times", "| 0 to 5 s (the worst) | passed | 1.3 % | 700 µs |", "Limits: 5 % over 1 ms.",
		"| 6.00k ops/s | **failed** | too slow |")
}
