package fit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headroom/loadgen/result"
	"headroom/planner/fit"
	"headroom/planner/model"
)

// truth is what the synthetic nodes cost, in microseconds.
var truth = struct{ read, write, replica, kib, idle, wake float64 }{6, 18, 9, 1.5, 9000, 60}

// synthetic is a run of nodes that cost what truth says.
type synthetic struct {
	id           string
	nodes        int
	reads, write float64 // per second
	value        int
	closed       bool
	noise        float64
	kill         bool
	dear         float64 // times what it costs in truth; 0: once
	host         string
	change       func(s *result.Summary)
}

const seconds = 12

// cores solves for the CPU use, on which the share of woken requests depends.
func (s *synthetic) cores() float64 {
	extra, n := math.Min(1, float64(s.nodes-1)), float64(s.nodes)
	work := s.reads*truth.read + s.write*truth.write + s.write*extra*truth.replica + (s.reads+s.write*(1+extra))*float64(s.value)/1024*truth.kib + n*truth.idle
	wake := (s.reads + s.write + s.write*extra) * truth.wake * 1e-6
	// y = work + wake (1 - y/n)
	return (work*1e-6 + wake) / (1 + wake/n)
}

func (s *synthetic) save(t *testing.T, root string) string {
	t.Helper()
	dir := filepath.Join(root, s.id)
	w, err := result.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, uint64(len(s.id))))
	began := time.Unix(1_800_000_000, 0)
	w.Workload(fmt.Appendf(nil, "version: 1\nname: x\nrecords: 1000\nvalue-size: %dB\nmix:\n  get: 50\n  update: 50\n", s.value))
	host := s.host
	if host == "" {
		host = "test"
	}
	w.Environment(&result.Environment{CPUModel: host, Cores: 1, Flags: map[string]string{}})
	sum := &result.Summary{Format: result.Format, ID: s.id, Loop: "open", DurationSec: seconds, MeasuredFrom: began,
		Operations: map[string]result.Operation{"get": {}, "update": {}}}
	if s.closed {
		sum.Loop = "closed"
	}
	if s.kill {
		gap, back := 140.0, 5.0
		sum.Faults = []result.Fault{{AtSec: 8, What: "kill", Node: "node1", GapMS: &gap, RedundancyRestoredSec: &back}}
	}
	for sec := range seconds {
		for op, rate := range map[string]float64{"get": s.reads, "update": s.write} {
			w.Series(result.SeriesRow{TSec: sec, Op: op, Offered: int64(rate), OK: int64(rate)})
			for _, kind := range []result.Kind{result.Response, result.Service} {
				h := result.NewHistogram()
				for range 100 {
					_ = h.RecordValue(int64(200_000 * (1 + rng.ExpFloat64())))
				}
				w.Interval(op, kind, h, began.Add(time.Duration(sec)*time.Second), began.Add(time.Duration(sec+1)*time.Second))
			}
		}
		for n := range s.nodes {
			left := int64(0)
			if s.kill && sec >= 9 {
				left = int64(8e6 + 1e6*float64(n)) // 12 MB at the last of five
			}
			w.Node(fmt.Sprintf("node%d", n+1), result.NodeSample{TSec: float64(sec) + 0.5, Up: !(s.kill && n == 0 && sec > 8), Members: s.nodes, BytesLeft: left,
				RSSBytes: -1, CPUPct: 100 * max(s.dear, 1) * s.cores() / float64(s.nodes) * (1 + s.noise*rng.NormFloat64())})
		}
	}
	if s.change != nil {
		s.change(sum)
	}
	w.Summary(sum)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// campaign is runs of several sizes, mixes, values and rates.
func campaign(t *testing.T, noise float64) string {
	root := t.TempDir()
	for i, n := range []int{1, 3, 8} {
		for j, mix := range []float64{0.05, 0.7} {
			for k, rate := range []float64{2e3, 20e3, 50e3} {
				s := synthetic{id: fmt.Sprintf("n%d-%d-%d", i, j, k), nodes: n, reads: rate * float64(n) * (1 - mix) * 0.6, write: rate * float64(n) * mix * 0.6,
					value: []int{100, 1000, 4000}[(i+j+k)%3], noise: noise}
				s.save(t, root)
			}
		}
	}
	return root
}

func made(t *testing.T, cfg fit.Config) (*model.Model, *fit.Report) {
	t.Helper()
	cfg.Now = time.Unix(1_800_000_000, 0)
	m, r, err := fit.Make(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m, r
}

func TestKnownCostsAreRecovered(t *testing.T) {
	m, r := made(t, fit.Config{Runs: []string{campaign(t, 0.02)}})
	for _, c := range []struct {
		name string
		got  model.Triple
		want float64
	}{{"read", m.ReadCPU, truth.read}, {"write", m.WriteCPU, truth.write}, {"replica", m.ReplicaCPU, truth.replica}, {"KiB", m.PerKiBCPU, truth.kib}} {
		spread := c.got.P90 - c.got.P10
		if c.want < c.got.P10-spread || c.want > c.got.P90+spread || math.Abs(c.got.P50/c.want-1) > 0.35 {
			t.Errorf("%s costs %v us by the fit, %g in truth", c.name, c.got, c.want)
		}
	}
	if r.R2 == nil || *r.R2 < 0.99 {
		t.Errorf("the fit explains too little of the variance of its own runs: %s", r.Summary())
	}
	if r.LeftOut == nil || *r.LeftOut > 0.1 {
		t.Errorf("a cluster size left out is not predicted: %s", r.Summary())
	}
	if m.Prior || !m.Latency() || m.Rests("read_cpu_us") {
		t.Errorf("prior %v, latency %v, unmeasured %v", m.Prior, m.Latency(), m.Unmeasured)
	}
	if m.Measured.NodesLeast != 1 || m.Measured.NodesMost != 8 || m.Measured.ValueMost != 4000 {
		t.Errorf("measured range %+v", m.Measured)
	}
}

func TestRunsThatContradictOneAnotherAreRefused(t *testing.T) {
	root := campaign(t, 0.02)
	odd := synthetic{id: "odd", nodes: 3, reads: 2000, write: 100, value: 100, dear: 20}
	odd.save(t, root)
	if _, r := made(t, fit.Config{Runs: []string{root}}); !strings.Contains(strings.Join(r.Notes, ""), "off by more than 2 times: odd used") {
		t.Errorf("one run of another kind is not named: %q", r.Notes)
	}
	root = t.TempDir()
	for i, dear := range []float64{1, 40, 1, 40} {
		s := synthetic{id: fmt.Sprint("run", i), nodes: 1, reads: 500 * float64(1+i/2), write: 20, value: 100, dear: dear}
		s.save(t, root)
	}
	if _, _, err := fit.Make(fit.Config{Runs: []string{root}}); err == nil || !strings.Contains(err.Error(), "contradicted by its own runs") {
		t.Errorf("two runs take 40 times what two others do: %v", err)
	}
}

func TestOneRunKeepsPriorsAndSaysSo(t *testing.T) {
	s := synthetic{id: "one", nodes: 3, reads: 2000, write: 100, value: 100}
	m, r := made(t, fit.Config{Runs: []string{s.save(t, t.TempDir())}})
	for _, field := range []string{"per_kib_cpu_us", "migrate_bytes_per_s", "failover_s", "scale"} {
		if !m.Rests(field) {
			t.Errorf("%s counts as measured after one run", field)
		}
	}
	if len(r.Notes) == 0 || m.ScaleNodes != 0 {
		t.Errorf("notes %v, law measured up to %d nodes", r.Notes, m.ScaleNodes)
	}
}

func TestKillsGiveTheRebuildAndTheGap(t *testing.T) {
	s := synthetic{id: "kill", nodes: 5, reads: 2000, write: 100, value: 100, kill: true}
	m, _ := made(t, fit.Config{Runs: []string{s.save(t, t.TempDir())}})
	if got, want := m.MigrateBytes.P50, 12e6/5; math.Abs(got/want-1) > 0.01 {
		t.Errorf("%g bytes/s of a node, want %g: the one that sends most had 12 MB for 5 s", got, want)
	}
	if m.Failover.P50 != 0.14 || m.Rests("failover_s") {
		t.Errorf("failover %v", m.Failover)
	}
}

func TestClosedRunsOfThreeSizesGiveTheScalabilityLaw(t *testing.T) {
	root, law := t.TempDir(), model.USL{Gamma: 9000, Alpha: 0.03, Beta: 0.002}
	for _, n := range []int{1, 2, 4, 8} {
		s := synthetic{id: fmt.Sprint("n", n), nodes: n, reads: math.Floor(law.At(float64(n))), value: 100, closed: true}
		s.save(t, root)
	}
	m, _ := made(t, fit.Config{Runs: []string{root}})
	if math.Abs(m.Scale.Alpha-law.Alpha) > 0.002 || math.Abs(m.Scale.Beta-law.Beta) > 0.0003 || m.ScaleNodes != 8 {
		t.Errorf("law %+v up to %d nodes, want %+v", m.Scale, m.ScaleNodes, law)
	}
}

func TestProfilesBecomeStations(t *testing.T) {
	m, _ := made(t, fit.Config{Devices: []string{"nvme"}})
	d, ok := m.Devices["nvme"]
	if !ok || d.Channels != 32 || d.Read.Mean() < 70 || d.Read.Mean() > 600 || d.ReadIOPS != 200e3 {
		t.Errorf("device %+v", m.Devices)
	}
}

func TestRunsThatSayNothingAreNamed(t *testing.T) {
	f := func(want string, s synthetic) {
		t.Helper()
		s.nodes, s.value = 3, 100
		_, _, err := fit.Make(fit.Config{Runs: []string{s.save(t, t.TempDir())}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	f("no operation succeeded", synthetic{id: "idle"})
	f("AUDIT: lost", synthetic{id: "lost", reads: 100, change: func(s *result.Summary) {
		s.Verdicts = []result.Verdict{{Rule: "AUDIT", Level: result.Fail, Text: "lost 3 writes"}}
	}})
	f("without faults", synthetic{id: "early", reads: 100, change: func(s *result.Summary) {
		s.Faults = []result.Fault{{AtSec: 2, What: "kill"}}
	}})
	f("merge them first", synthetic{id: "shard", reads: 100, change: func(s *result.Summary) { s.Shard = &result.Shard{Index: 1, Of: 2} }})
	if _, _, err := fit.Make(fit.Config{Runs: []string{t.TempDir()}}); err == nil || !strings.Contains(err.Error(), "no run folder") {
		t.Errorf("an empty folder: %v", err)
	}
	for want, cfg := range map[string]fit.Config{"no run folder": {Runs: []string{filepath.Join(t.TempDir(), "none")}}, "nothing to fit": {}, "no device profile": {Devices: []string{"nope"}}} {
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", cfg, err, want)
		}
		if _, _, err := fit.Make(cfg); err == nil {
			t.Errorf("%+v was fitted", cfg)
		}
	}
}

func TestRunsOfDifferentMachinesAreRefused(t *testing.T) {
	root := t.TempDir()
	a, b := synthetic{id: "a", nodes: 2, reads: 500, value: 100}, synthetic{id: "b", nodes: 2, reads: 500, value: 100, host: "other"}
	a.save(t, root)
	b.save(t, root)
	if _, _, err := fit.Make(fit.Config{Runs: []string{root}}); err == nil || !strings.Contains(err.Error(), "different machines") {
		t.Errorf("error %v", err)
	}
}

func TestRunsOnDevicesGiveNoQuietTimes(t *testing.T) {
	s := synthetic{id: "device", nodes: 3, reads: 2000, write: 100, value: 100, kill: true, change: func(s *result.Summary) {
		s.Device = &result.Device{Spec: "emulated:nvme@20", Class: "nvme", Dilation: 20}
	}}
	m, r := made(t, fit.Config{Runs: []string{s.save(t, t.TempDir())}})
	if m.Latency() || !m.Rests("migrate_bytes_per_s") || m.Rests("failover_s") {
		t.Errorf("latency %v, unmeasured %v, notes %q: want the failover alone", m.Latency(), m.Unmeasured, r.Notes)
	}
}

func TestABriefMigrationSaysNothingOfItsPace(t *testing.T) {
	s := synthetic{id: "brief", nodes: 5, reads: 2000, write: 100, value: 100, kill: true, change: func(s *result.Summary) {
		back := 1.3
		s.Faults[0].RedundancyRestoredSec = &back
	}}
	m, r := made(t, fit.Config{Runs: []string{s.save(t, t.TempDir())}})
	if !m.Rests("migrate_bytes_per_s") || m.MigrateBytes != model.Priors().MigrateBytes {
		t.Errorf("%v of 1.3 s counts as measured; notes %q", m.MigrateBytes, r.Notes)
	}
}
