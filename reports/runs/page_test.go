package runs

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"headroom/loadgen/result"
	"headroom/reports/page"
	"headroom/reports/sample"
	"headroom/reports/stats"
)

// whole is the sample run, written once and copied by each test that needs it.
var whole string

func TestMain(m *testing.M) { os.Exit(sample.Main(&whole, m.Run)) }

// facts copies the sample run with change, lets spoil damage it and derives it.
func facts(t *testing.T, change func(*result.Summary), spoil func(dir string)) *stats.Facts {
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
	run, problems, err := stats.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return stats.Derive(run, problems)
}

func html(t *testing.T, f *stats.Facts) string {
	t.Helper()
	var b bytes.Buffer
	d := Document(f)
	if err := page.HTML(&b, d); err != nil {
		t.Fatal(err)
	}
	apart(t, d)
	return b.String()
}

// apart fails where a text of a figure leaves it or touches another.
func apart(t *testing.T, d *page.Document) {
	t.Helper()
	for _, f := range d.Figures() {
		for _, x := range append(f.Wide.Flaws(), f.Narrow.Flaws()...) {
			t.Errorf("figure %s: %s", f.Name, x)
		}
		if len(f.Wide.Boxes) < 3 || len(f.Narrow.Boxes) < 3 {
			t.Errorf("figure %s has %d and %d texts: an axis without labels", f.Name, len(f.Wide.Boxes), len(f.Narrow.Boxes))
		}
	}
}

// TestEveryFigureOfARunHasLabelsApart: every kind of figure that a run can
// have, with few nodes and with many, short names and long ones.
func TestEveryFigureOfARunHasLabelsApart(t *testing.T) {
	slo := []result.LimitTest{{Limit: result.Limit{P: 0.99, LatencyUS: 1000}}, {Limit: result.Limit{P: 0.999, LatencyUS: 1010}}} // labels that want one place
	f := facts(t, func(s *result.Summary) { s.SLO = slo }, func(dir string) {
		generator := "t_s,cpu_pct,gc_cpu_pct,gc_pause_max_us,sched_p99_us,host_cpu_pct,steal_pct,in_flight,heap_bytes,wall_step_ms\n"
		for i := range 40 {
			generator += fmt.Sprintf("%d,38,1,90,200,%d,0.4,%d,1000000,0\n", i, 60+i%7, i%50)
		}
		if err := os.WriteFile(filepath.Join(dir, "generator.csv"), []byte(generator), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	d := Document(f)
	apart(t, d)
	names := map[string]bool{}
	for _, f := range d.Figures() {
		names[f.Name] = true
	}
	for _, want := range []string{"throughput", "latency", "heat", "percentiles", "stages-get-p50", "stages-get-p99", "stages-put-p50", "redundancy", "balance", "node-cpu", "node-memory",
		"device-busy", "device-queue", "device-read-latency", "device-write-latency", "device-read-bytes", "device-write-bytes", "operations", "generator-cpu", "in-flight"} {
		if !names[want] {
			t.Errorf("no figure %s: nothing is tested of it", want)
		}
	}
	long := strings.Repeat("very-long-", 6)
	stress := func(n int, prefix string) {
		f := facts(t, func(s *result.Summary) {
			for i := range 30 {
				s.Faults = append(s.Faults, result.Fault{AtSec: float64(i), What: "kill", Node: prefix})
			}
			s.Operations[prefix+"op"] = s.Operations["get"]
			s.Stages.Operations[prefix+"op"] = s.Stages.Operations["get"]
		}, nil)
		nodes, devices := f.Run.Nodes["node1"], f.Run.Devices["node1"]
		row := f.NodeRows[0]
		f.Run.Nodes, f.Run.Devices, f.NodeRows = map[string][]result.NodeSample{}, map[string][]result.DeviceSample{}, nil
		for i := range n {
			row.Node = fmt.Sprint(prefix, "node", i)
			f.NodeRows = append(f.NodeRows, row)
			f.Run.Nodes[row.Node], f.Run.Devices[row.Node] = nodes, devices
		}
		apart(t, Document(f))
	}
	stress(1, "")
	stress(6, "")
	stress(6, long)
	stress(40, long)
}

func TestTitleIsTrueOfTheRun(t *testing.T) {
	f := facts(t, nil, nil)
	base := f.Run.Summary
	check := func(want string, change func(s *result.Summary)) {
		t.Helper()
		f.Run.Summary = base
		f.Run.Summary.Faults = append([]result.Fault(nil), base.Faults...)
		change(&f.Run.Summary)
		if got := Title(f); got != want {
			t.Errorf("title\n got %s\nwant %s", got, want)
		}
	}
	check("4 nodes held 3.00k ops/s; killing node3 cost 310 ms of service and no acknowledged write", func(*result.Summary) {})
	check("4 nodes held 3.00k ops/s; no acknowledged write was lost", func(s *result.Summary) { s.Faults = nil })
	steady := f.Steady
	f.Steady.Offered.Value = 4000
	check("4 nodes completed 3.00k of 4.00k offered ops/s; no acknowledged write was lost", func(s *result.Summary) { s.Faults = nil })
	f.Steady = steady
	check("4 nodes completed 3.00k ops/s in 19 seconds with all nodes up and nothing migrating, not judged steady; killing node3 cost 310 ms of service and no acknowledged write",
		func(s *result.Summary) { s.Steady.Rule = "a rule" })
	check("4 nodes held 3.00k ops/s; killing node3 cost 310 ms of service and no acknowledged write", func(s *result.Summary) { s.Steady.Rule, s.Steady.Reached = "a rule", true })
	f.Steady.Rate.Low, f.Steady.Rate.High = 1600, 3300
	check("4 nodes completed 3.00k ops/s of 3.00k offered, unevenly (1.60k to 3.30k from second to second); no acknowledged write was lost", func(s *result.Summary) { s.Faults = nil })
	f.Steady = steady
	check("4 nodes held 3.00k ops/s; lost writes were not audited", func(s *result.Summary) { s.Faults, s.Audit.Enabled = nil, false })
	check("4 nodes held 3.00k ops/s; killing node3 cost 310 ms of service and 12 acknowledged writes; 3 stale reads",
		func(s *result.Summary) { s.Audit.Lost, s.Audit.StaleReads = 12, 3 })
	check("4 nodes held 3.00k ops/s; killing node3 cost 310 ms of service and no acknowledged write among the 5,730 of 5,740 keys read back",
		func(s *result.Summary) { s.Audit.ReadBackFailed = 10 })
	check("4 nodes held 3.00k ops/s; killing node3 cost an unmeasured stretch of service and an unaudited number of writes",
		func(s *result.Summary) { s.Faults[0].GapMS, s.Audit.Enabled = nil, false })
	check("4 nodes held 3.00k ops/s; 2 faults cost at most 310 ms of service each (killing node3) and no acknowledged write",
		func(s *result.Summary) { s.Faults[1].What = "stop" })
	check("4 nodes held 3.00k ops/s; killing node3 cost 310 ms of service and an unknown number of writes", func(s *result.Summary) { s.Audit.ReadBackFailed = s.Audit.ReadBack })
	seconds := f.Seconds
	f.Seconds = append([]stats.Second(nil), seconds...)
	for i := range f.Seconds[11:] {
		f.Seconds[11+i].OK, f.Seconds[11+i].Failed = 0, 100
	}
	check("4 nodes held 3.00k ops/s; killing node3 cost all service from then on and no acknowledged write", func(*result.Summary) {})
	check("4 nodes held 3.00k ops/s; killing node1, node2 and node3, the last of 2 faults, cost all service from then on and no acknowledged write", func(s *result.Summary) {
		s.Faults[0].AtSec, s.Faults[1].What, s.Faults[1].Node, s.Faults[1].AtSec = 3, "kill", "node1 node2 node3", 10
	})
	if v := gap(f); v.Text != "to the end" || !v.Bad {
		t.Errorf("service never came back, and the headline says %+v", v)
	}
	f.Seconds = seconds
	check("4 nodes completed 3.00k ops/s for 64 closed-loop clients; no acknowledged write was lost",
		func(s *result.Summary) { s.Faults, s.Loop, s.Generator.InFlightMax = nil, "closed", 64 })
}

func TestThroughputIsHeldAgainstWhatWasDue(t *testing.T) {
	f := facts(t, nil, nil)
	if got, want := throughputCaption(f), "At worst, in the second from 10 s, 2,569 of 3,000 operations due were completed in it. 431 operations failed or are in doubt (seconds marked red)."; got != want {
		t.Errorf("caption\n got %s\nwant %s", got, want)
	}
	f.Total.Failed = 0
	for i := range f.Seconds {
		f.Seconds[i].OK, f.Seconds[i].Offered = int64(900+i), int64(900+i)
	}
	if got := throughputCaption(f); got != "Every second completed what was due in it." {
		t.Errorf("seconds that differ by their arrivals only: %s", got)
	}
	f.Run.Summary.Loop = "closed"
	if got := throughputCaption(f); got != "The slowest second, at 0 s, completed 900 operations." {
		t.Errorf("a closed loop: %s", got)
	}
	f.Seconds = nil
	if got := throughputCaption(f); got != "Less than one whole second was measured." {
		t.Errorf("no second: %s", got)
	}
}

func TestLinesTellTheStory(t *testing.T) {
	f := facts(t, nil, nil)
	want := []string{
		"Steady rate and p99       3.00k ops/s, p99 1.47 ms (median of 19 seconds with all nodes up and nothing migrating, 95 % interval 3.00k)",
		"Time without service      310 ms (longest wait of an operation, killing node3)",
		"Lost acknowledged writes  0 (of 5,981 acknowledged; all 5,740 keys written were read back)",
		"Time to full redundancy   4.20 s (after killing node3, until no partition had a copy to make)",
		"Report                    out/demo/report.html",
	}
	got := Lines(f, "out/demo/report.html")
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d\n got %s\nwant %s", i, got[i], want[i])
		}
	}
}

func TestPercentilesSayWhyTheyAreAbsent(t *testing.T) {
	v := 1234.0
	f := func(p result.Percentiles, name, want string) {
		t.Helper()
		if got := percentile(p, name); got != want {
			t.Errorf("percentile(%s) = %q, want %q", name, got, want)
		}
	}
	f(result.Percentiles{P99: &v}, "p99", "1.23 ms")
	f(result.Percentiles{Samples: 100, Unsupported: []string{"p99"}}, "p99", "not enough samples (100 of 657 needed)")
	f(result.Percentiles{Infinite: []string{"p99"}}, "p99", "∞ (failed operations)")
	f(result.Percentiles{}, "p99", stats.Missing)
	nan := math.NaN()
	f(result.Percentiles{P99: &nan}, "p99", stats.Missing)
}

func TestPageIsSelfContained(t *testing.T) {
	text := html(t, facts(t, nil, nil))
	// The name of SVG's namespace is no address that anything is fetched from.
	text = strings.ReplaceAll(text, `"http://www.w3.org/2000/svg"`, `""`)
	outside := regexp.MustCompile(`(?i)(https?:)?//[a-z]+\.|<script [^>]*src|<link|<img|<iframe|@import|url\(|fetch\(|XMLHttpRequest|import\(`)
	if m := outside.FindString(text); m != "" {
		t.Errorf("the page refers to something outside itself: %q", m)
	}
	for _, want := range []string{"prefers-color-scheme:dark", "@media print", "<svg", "default-src &#39;none&#39;"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if len(text) > 600_000 {
		t.Errorf("a page of %d bytes for 40 s", len(text))
	}
}

func TestHeadingsAreInOrder(t *testing.T) {
	text := html(t, facts(t, nil, nil))
	var got []string
	level := 0
	for _, m := range regexp.MustCompile(`<h([1-6])[^>]*>([^<]*)</h`).FindAllStringSubmatch(text, -1) {
		l := int(m[1][0] - '0')
		if l > level+1 {
			t.Errorf("heading %q jumps from level %d to %d", m[2], level, l)
		}
		if level = l; l == 2 {
			got = append(got, m[2])
		}
	}
	want := "Verdicts, Headline figures, Over time, Percentiles, Where the time goes, Availability, Audit, Redundancy over time, Nodes, Devices, Operations, Environment, Generator, Workload, Commands"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("sections\n got %s\nwant %s", s, want)
	}
}

func TestNamesOfARunAreEscaped(t *testing.T) {
	evil := `</style></title></text><script>alert("x")</script>'`
	text := html(t, facts(t, func(s *result.Summary) {
		s.ID, s.Target, s.Workload.Name, s.Command = evil, evil, evil, []string{evil}
		s.Operations[evil] = result.Operation{Count: 1}
		for i := range s.Faults {
			s.Faults[i].Node, s.Faults[i].What = evil, evil
		}
		s.Verdicts = append(s.Verdicts, result.Verdict{Rule: evil, Level: result.Level(evil), Text: evil})
		s.Audit.Enabled, s.Audit.Why = false, evil
		s.Generator.LocalNodes = 0
	}, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "workload.yaml"), []byte(evil), 0o644); err != nil {
			t.Fatal(err)
		}
	}))
	for _, bad := range []string{"<script>alert", "</text><", `alert("x")`} {
		if i := strings.Index(text, bad); i >= 0 {
			t.Errorf("%q reaches the page: %s", bad, text[max(0, i-80):i+40])
		}
	}
	if n := strings.Count(text, "</style>"); n != 1 {
		t.Errorf("%d style ends, want 1", n)
	}
}

func TestDamagedRunsSayWhatIsMissing(t *testing.T) {
	write := func(name, text string) func(string) {
		return func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(pattern string) func(string) {
		return func(dir string) {
			files, _ := filepath.Glob(filepath.Join(dir, pattern))
			for _, f := range files {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	header := "t_s,op,offered,ok,failed,in_doubt,not_found,response_p50_us,response_p90_us,response_p99_us,response_max_us,service_p99_us,lateness_p99_us\n"
	bare := func(s *result.Summary) {
		*s = result.Summary{Format: result.Format}
	}
	for _, c := range []struct {
		name   string
		change func(*result.Summary)
		spoil  func(string)
		want   string
	}{
		{"no series", nil, remove("series.csv"), "series.csv is missing"},
		{"no logs", nil, remove("*.hlog"), "no interval log"},
		{"no nodes", nil, remove("nodes/*.csv"), "No node was sampled"},
		{"log is garbage", nil, write("get-response.hlog", "not a log\nx,y,z\n"), "get-response.hlog"},
		{"series is garbage", nil, write("series.csv", "a,b\n\"1"), "series.csv is damaged"},
		{"series is empty", nil, write("series.csv", ""), "series.csv has no header"},
		{"numbers that are none", nil, write("series.csv", header+"0,get,NaN,1,x,0,0,NaN,-Inf,+Inf,nan,,\n9223372036854775807,get,1,1,1,1,1,1,1,1,1,1,1\n"), "series.csv is damaged"},
		{"clock steps back", nil, write("series.csv", header+"5,get,9,9,0,0,0,1,1,1,1,1,1\n3,get,9,9,0,0,0,1,1,1,1,1,1\n-7,get,9,9,0,0,0,1,1,1,1,1,1\n"), "no steady state"},
		{"one sample", nil, write("series.csv", header+"0,get,1,1,0,0,0,250,250,250,250,240,3\n"), "no steady state"},
		{"all failed", func(s *result.Summary) {
			inf := result.Percentiles{Samples: 50, Infinite: []string{"p50", "p90", "p99", "max"}}
			s.Operations = map[string]result.Operation{"get": {Count: 50, Failed: 50, Response: inf, Service: inf}}
		}, remove("*.hlog"), "∞"},
		{"empty run", bare, remove("*.hlog"), "The run has no operations"},
		{"empty folder but run.json", bare, func(dir string) { remove("*.csv")(dir); remove("*.hlog")(dir); remove("nodes/*")(dir) }, "completed no operation"},
	} {
		f := facts(t, c.change, c.spoil)
		text := html(t, f)
		if !strings.Contains(text, c.want) {
			t.Errorf("%s: the page does not say %q", c.name, c.want)
		}
		var term bytes.Buffer
		if err := Terminal(&term, f, ""); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if i := strings.LastIndex(text, "<script>"); i >= 0 {
			text = text[:i] // our own script may name NaN
		}
		for _, s := range []string{text, term.String()} {
			if m := regexp.MustCompile(`NaN|[+-]?\bInf\b|%!|<nil>|0x[0-9a-f]{6,}`).FindString(s); m != "" {
				t.Errorf("%s: holds %q", c.name, m)
			}
		}
	}
}

func TestLostWritesAreStamped(t *testing.T) {
	f := facts(t, func(s *result.Summary) { s.Audit.Lost = 2 }, nil)
	text := html(t, f)
	if !strings.Contains(text, `<p class="stamp">Acknowledged writes lost</p>`) {
		t.Error("no stamp on a run that lost writes")
	}
	if v := Verdicts(f); v[0].Level != result.Fail || v[0].Text != "2 acknowledged writes lost" {
		t.Errorf("first verdict = %+v, want the loss", v[0])
	}
}

func TestCommandsCanBePasted(t *testing.T) {
	got := page.Shell([]string{"headroom-loadgen", "--fault", "kill node3 @10s", "it's", ""})
	if want := `headroom-loadgen --fault 'kill node3 @10s' 'it'\''s' ''`; got != want {
		t.Errorf("Shell = %s, want %s", got, want)
	}
	got = page.Command([]string{"headroom-loadgen", "run", "ycsb-a", "--local-nodes", "3", "--rate", "1k/s", "--duration", "15s", "--fault", "kill node3 @10s"})
	if want := "headroom-loadgen run ycsb-a \\\n  --local-nodes 3 \\\n  --rate 1k/s \\\n  --duration 15s \\\n  --fault 'kill node3 @10s'"; got != want {
		t.Errorf("Command = %s, want %s", got, want)
	}
}

func TestAMissedTargetIsInTheTitleAndTheStamp(t *testing.T) {
	f := facts(t, func(s *result.Summary) {
		s.SLO = []result.LimitTest{{Limit: result.Limit{P: 0.99, LatencyUS: 500}, Samples: 100, Beyond: 50, Outcome: result.Fails},
			{Limit: result.Limit{Op: "get", P: 0.5, LatencyUS: 9e5}, Samples: 100, Outcome: result.Holds}}
		s.Verdicts = append(s.Verdicts, result.Verdict{Rule: "SLO", Level: result.Fail, Text: "missed"})
	}, nil)
	if got := Title(f); !strings.HasSuffix(got, "; p99 of all operations within 500 µs was missed") {
		t.Errorf("title = %q", got)
	}
	if got := stamp(f); got != "Target missed" {
		t.Errorf("stamp = %q", got)
	}
}
