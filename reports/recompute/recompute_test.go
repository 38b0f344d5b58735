package recompute

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headroom/loadgen/result"
	"headroom/reports/hlog"
	"headroom/reports/sample"
)

func folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	if err := sample.Large(dir, sample.Size{Seconds: 20, Operations: 2, Nodes: 1, Samples: 700}); err != nil {
		t.Fatal(err)
	}
	// Its summary lacks what newer versions write.
	if err := sample.Alter(dir, func(s *result.Summary) { s.Files = nil }); err != nil {
		t.Fatal(err)
	}
	return dir
}

func differing(t *testing.T, dir string) (out []string) {
	t.Helper()
	r, err := Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.State == Differs {
			out = append(out, f.Field)
		}
	}
	return out
}

func TestAnHonestFolderIsClean(t *testing.T) {
	dir := folder(t)
	if got := differing(t, dir); len(got) > 0 {
		t.Errorf("an honest folder differs in %v", got)
	}
	r, _ := Check(dir)
	if n := r.Count(Same); n < 60 {
		t.Errorf("%d numbers were recomputed, want all of two operations", n)
	}
}

func TestEveryChangedNumberIsFound(t *testing.T) {
	up := func(v *float64) *float64 { x := *v + 0.01; return &x }
	for want, change := range map[string]func(*result.Summary){
		"achieved_ops_per_s":        func(s *result.Summary) { s.AchievedOpsPerSec++ },
		"offered_ops_per_s":         func(s *result.Summary) { s.OfferedOpsPerSec *= 1.001 },
		"duration_s":                func(s *result.Summary) { s.DurationSec = 30 },
		"workload.sha256":           func(s *result.Summary) { s.Workload.SHA256 = "00" },
		"operations.op01.ok":        func(s *result.Summary) { o := s.Operations["op01"]; o.OK--; s.Operations["op01"] = o },
		"operations.op01.not_found": func(s *result.Summary) { o := s.Operations["op01"]; o.NotFound = 3; s.Operations["op01"] = o },
		"operations.op02.response_us.p99": func(s *result.Summary) {
			o := s.Operations["op02"]
			o.Response.P99 = up(o.Response.P99)
			s.Operations["op02"] = o
		},
		"operations.op02.service_us.p50": func(s *result.Summary) { o := s.Operations["op02"]; o.Service.P50 = nil; s.Operations["op02"] = o },
		"operations.op02.lateness_us.max": func(s *result.Summary) {
			o := s.Operations["op02"]
			o.Lateness.Max = up(o.Lateness.Max)
			s.Operations["op02"] = o
		},
		"operations.op01.response_us.samples": func(s *result.Summary) { o := s.Operations["op01"]; o.Response.Samples++; s.Operations["op01"] = o },
		"operations.op01.response_us.wide":    func(s *result.Summary) { o := s.Operations["op01"]; o.Response.Wide = nil; s.Operations["op01"] = o },
		"operations.op01.response_us.ci99.p90[1]": func(s *result.Summary) {
			ci := s.Operations["op01"].Response.CI99
			ci["p90"] = [2]*float64{ci["p90"][0], up(ci["p90"][1])}
		},
		"faults[0].at_s":    func(s *result.Summary) { s.Faults = []result.Fault{{AtSec: 3, What: "kill", Node: "node1"}} },
		"faults[0].failed":  func(s *result.Summary) { s.Faults = []result.Fault{{AtSec: 3, Failed: 9}} },
		"faults[0].gap_ms":  func(s *result.Summary) { v := 9e3; s.Faults = []result.Fault{{AtSec: 3, GapMS: &v}} },
		"faults[0].gap_ms ": func(s *result.Summary) { v := 0.3; s.Faults = []result.Fault{{AtSec: 3, GapMS: &v}} }, // responses took up to a millisecond
		"operations.op01.response_us.boot95.p50[0]": func(s *result.Summary) {
			lo, hi := 1.0, 2.0
			o := s.Operations["op01"]
			o.Response.Boot95 = map[string][2]*float64{"p50": {&lo, &hi}}
			s.Operations["op01"] = o
		},
		"slo[0].beyond": func(s *result.Summary) {
			s.SLO = []result.LimitTest{{Limit: result.Limit{P: 0.99, LatencyUS: 1e9}, Samples: 28_000, Beyond: 1}}
		},
		"steady.response_us.op01.p50": func(s *result.Summary) {
			v := 1.0
			s.Steady = result.Steady{Reached: true, FromSec: 2, ToSec: 9, Response: map[string]result.Percentiles{"op01": {P50: &v}}}
		},
	} {
		dir := folder(t)
		if err := sample.Alter(dir, change); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(differing(t, dir), " "); !strings.Contains(got, strings.TrimSpace(want)) {
			t.Errorf("a changed %s is not found; found %q", want, got)
		}
	}
}

func TestDamagedLogsAreFound(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "op01-response.hlog")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b[:len(b)*2/3], 0o644); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(differing(t, dir), " "); !strings.Contains(got, "operations.op01.response_us") {
		t.Errorf("a cut log is not found: %q", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r, err := Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.Count(Unknown) == 0 || len(r.Problems) == 0 {
		t.Error("a missing log is not named")
	}
}

func TestCopiesMadeBeforeTheViewOnlyBoundTheRestoration(t *testing.T) {
	ms, later := 1068.0, result.Event{TSec: 6.3, Kind: result.EventMigration, Node: "node2", What: "began: 3 partitions, 0 bytes"}
	events := []result.Event{
		{TSec: 3.35, Kind: result.EventMigration, Node: "node1", What: "began: 9 partitions, 1 bytes"},
		{TSec: 3.98, Kind: result.EventMigration, Node: "node1", What: "ended"}, later,
		{TSec: 7.4, Kind: result.EventMigration, Node: "node2", What: "ended"}}
	f := func(recorded float64, view *float64, want State) {
		t.Helper()
		c := &checker{run: &result.Run{Events: events}, out: &Report{}, at: map[string]int{}}
		c.restored("", result.Fault{AtSec: 3, What: "term", OneViewMS: view, RedundancyRestoredSec: &recorded})
		if got := c.out.Findings[0]; got.State != want {
			t.Errorf("recorded %v s: %+v, want %s", recorded, got, want)
		}
	}
	f(1.163, &ms, Within)
	f(0.98, &ms, Differs)
	f(0.98, nil, Same)
	f(1.163, nil, Differs)
}

// TestALimitWithinABucketCountsItAsSlower: 600 us lies within a bucket, whose
// operations the generator counts as beyond the limit.
func TestALimitWithinABucketCountsItAsSlower(t *testing.T) {
	const limit = 600_000
	i := hlog.Index(limit)
	low, high := hlog.Value(i)
	if low > limit || high <= limit {
		t.Fatalf("bucket %d to %d does not reach beyond %d: nothing is tested", low, high, limit)
	}
	c := hlog.NewCounts()
	c.Add([]hlog.Bin{{Index: i - 1, Count: 5}, {Index: i, Count: 7}, {Index: i + 1, Count: 11}})
	if n := above(c, limit); n != 18 {
		t.Errorf("%d operations above, want 7 and 11", n)
	}
	h := c.Histogram()
	sum := int64(0)
	for _, x := range h.Distribution() { // how loadgen/proof counts
		if x.Count > 0 && float64(x.To) > limit {
			sum += x.Count
		}
	}
	if sum != 18 {
		t.Errorf("the library has %d above", sum)
	}
}

// TestWhatHonestRunsLookLikeIsNotCalledFalse: each of these was, on real runs.
func TestWhatHonestRunsLookLikeIsNotCalledFalse(t *testing.T) {
	dir := folder(t)
	events := "t_s,kind,node,what\n3.000,fault,node1,term\n3.040,view,node1,view 2: node1\n9.000,fault,node1,start\n9.100,migration,node1,\"began: 3 partitions, 1 bytes\"\n9.900,migration,node1,ended\n"
	generator := "t_s,cpu_pct,gc_cpu_pct,gc_pause_max_us,sched_p99_us,host_cpu_pct,steal_pct,in_flight,heap_bytes,wall_step_ms,net_busy_pct,net_dropped\n"
	for i := range 20 {
		generator += fmt.Sprintf("%d.000,10,0,0,0,50,0,0,0,0,,0\n", i+1)
	}
	generator += "21.000,300,0,0,0,50,0,0,0,0,,0\n22.000,300,0,0,0,50,0,0,0,0,,0\n" // the read-back
	for name, text := range map[string]string{"events.csv": events, "generator.csv": generator} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := sample.Alter(dir, func(s *result.Summary) {
		view, quick, slow := 50.0, 0.3, 0.9
		s.Generator.CPUPct = 10
		s.Faults = []result.Fault{{AtSec: 3, What: "term", Node: "node1", RedundancyRestoredSec: &quick, OneViewMS: &view}, {AtSec: 9, What: "start", Node: "node1", RedundancyRestoredSec: &slow}}
	}); err != nil {
		t.Fatal(err)
	}
	if got := differing(t, dir); len(got) > 0 {
		t.Errorf("called false: %v", got)
	}
	if err := sample.Alter(dir, func(s *result.Summary) { early := 0.4; s.Faults[1].RedundancyRestoredSec = &early }); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(differing(t, dir), " "); got != "faults[1].redundancy_restored_s" {
		t.Errorf("redundancy half a second early: %q differ", got)
	}
}
