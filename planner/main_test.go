package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"headroom/planner/fit"
	"headroom/planner/model"
	"headroom/planner/plan"
)

// run calls the program and returns its exit code and output.
func run(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code := command(t.Context(), args, &out, &errOut)
	return code, out.String(), errOut.String()
}

func TestPlanPrintsTableAndParagraph(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plan.json")
	code, out, errOut := run(t, "plan", "local", "-o", file, "--set", "catalog.types=i4i.*")
	if code != exitDone {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	for _, want := range []string{"No measured model", "why not", "rolling restart", "replication-factor: 2", "When a server dies", file} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	if code, out, _ = run(t, "diff", file, file); code != exitDone || !strings.Contains(out, "no difference") {
		t.Errorf("diff of a plan with itself: %d, %s", code, out)
	}
}

func TestJSONIsThePlanFile(t *testing.T) {
	code, out, _ := run(t, "plan", "local", "--json", "--set", "catalog.types=i4i.xlarge")
	var v map[string]any
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != exitDone {
		t.Fatalf("exit code %d, %v", code, err)
	}
	if v["format"] != "headroom-plan/1" || v["answer"] != 0.0 || v["candidates"] == nil || v["requirements"] == nil {
		t.Errorf("%v", v)
	}
}

// TestEveryKeyOfJSONIsDocumented looks for the keys of all that --json prints
// in ARCHITECTURE.md.
func TestEveryKeyOfJSONIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(reflect.Type)
	seen := map[reflect.Type]bool{}
	walk = func(k reflect.Type) {
		switch k.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			walk(k.Elem())
		case reflect.Struct:
			if seen[k] || k == reflect.TypeFor[plan.Requirements]() {
				return
			}
			seen[k] = true
			for i := range k.NumField() {
				key, _, _ := strings.Cut(k.Field(i).Tag.Get("json"), ",")
				if key != "" && !bytes.Contains(text, []byte(`"`+key+`"`)) {
					t.Errorf("ARCHITECTURE.md does not name %q of %v", key, k)
				}
				walk(k.Field(i).Type)
			}
		}
	}
	for _, k := range []reflect.Type{reflect.TypeFor[plan.Plan](), reflect.TypeFor[plan.Capacity](), reflect.TypeFor[plan.Difference](), reflect.TypeFor[plan.DriftLine](),
		reflect.TypeFor[fit.Report](), reflect.TypeFor[model.Model]()} {
		walk(k)
	}
}

func TestExitCodes(t *testing.T) {
	f := func(code int, says string, args ...string) {
		t.Helper()
		got, out, errOut := run(t, args...)
		if got != code || !strings.Contains(errOut+out, says) {
			t.Errorf("%v: exit code %d, want %d, and %q in:\n%s%s", args, got, code, says, errOut, out)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("version: 1\nnamespaces:\n  - name: a\n    recrods: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	only := []string{"--set", "catalog.types=i4i.xlarge"}
	f(exitUsage, "no command")
	f(exitUsage, "unknown command", "plam")
	f(exitUsage, "one requirements file", "plan")
	f(exitUsage, "unknown flag", "plan", "local", "--quick")
	f(exitUsage, `did you mean "reads"`, "plan", "local", "--set", "raeds=1/s")
	f(exitUsage, "KEY=VALUE", "plan", "local", "--set", "reads")
	f(exitUsage, "say of which namespace: scores.reads or history.reads", "plan", "fraud", "--set", "reads=1/s")
	f(exitUsage, "example every-key prints all keys", "plan", "local", "--set", "wheels=4")
	f(exitDone, "in 3 racks", append([]string{"plan", "local", "--set", "redundancy.fail-racks=1", "--set", "redundancy.racks=3"}, only...)...)
	f(exitUsage, "fewer than there are", append([]string{"plan", "local", "--set", "redundancy.fail-racks=1"}, only...)...)
	f(exitUsage, "neither a file nor one of every-key, fraud, local", "plan", "nothing")
	f(exitUsage, `bad.yaml:4:5: unknown key "recrods", did you mean "records"?`, "plan", bad)
	f(exitUsage, "no catalog", "plan", "local", "--catalog", "nowhere.csv")
	f(exitUsage, "no type matches", "plan", "local", "--set", "catalog.types=z9")
	f(exitUsage, "there is no model file nowhere.json", append([]string{"plan", "local", "--model", "nowhere.json"}, only...)...)
	f(exitFailed, "not a model", append([]string{"plan", "local", "--model", bad}, only...)...)
	f(exitMissed, "nothing meets", append([]string{"plan", "local", "--set", "budget-usd-per-hour=0.01"}, only...)...)
	f(exitUsage, "--set", "whatif", "local")
	f(exitDone, "before", append([]string{"whatif", "local", "--set", "records=90M"}, only...)...)
	f(exitUsage, "--nodes", "reverse", "local", "--type", "i4i.xlarge")
	f(exitUsage, "--type", "reverse", "local", "--nodes", "4")
	f(exitUsage, "is no number of nodes", "reverse", "local", "--nodes", "0", "--type", "i4i.xlarge")
	f(exitUsage, "is no number of nodes", "fleet", "local", "--nodes", "a,b", "--type", "i4i.xlarge")
	f(exitUsage, "no machine type", "fleet", "local", "--type", "z9")
	f(exitUsage, "nothing to fit", "fit")
	f(exitUsage, "there is no run folder", "fit", "nowhere")
	f(exitUsage, "there is no plan file", "verify", "nowhere.json")
	f(exitUsage, "there is no plan file", "diff", "nowhere.json", bad)
	f(exitUsage, "there is no plan file", "drift", "nowhere.json", "--metrics", "http://127.0.0.1:1/metrics")
	f(exitUsage, "--help' lists", "plan", "local", "--type", "z9")
	f(exitUsage, "want 3 to", "reverse", "local", "--nodes", "2", "--type", "i4i.xlarge")
	f(exitDone, "no limit", "reverse", "local", "--nodes", "4", "--type", "i4i.xlarge", "--set", "reads=0/s", "--set", "writes=0/s")
	f(exitDone, "on paper", "fleet", "local", "--type", "i4i.xlarge", "--nodes", "3,300")
	f(exitDone, "i4i.xlarge", "catalog")
	f(exitDone, `"net_base_gbps": null`, "catalog", "--json")
	f(exitUsage, "unknown flag", "example", "--json")
	f(exitDone, "web sessions", "example", "sessions")
	f(exitUsage, "no example", "example", "nothing")
	f(exitUsage, "two plan files", "diff", "a")
	f(exitUsage, "no catalog", "catalog", "--catalog", "nowhere.csv")
	f(exitUsage, "no device profile", "fit", "--device", "nope", "-o", filepath.Join(t.TempDir(), "model.json"))
	f(exitDone, "no shipped catalog has the type z9", "fit", "--device", "nvme", "--type", "z9", "-o", filepath.Join(t.TempDir(), "model.json"))
	found, none := filepath.Join(t.TempDir(), "plan.json"), filepath.Join(t.TempDir(), "none.json")
	f(exitDone, "plan file", append([]string{"plan", "local", "-o", found}, only...)...)
	f(exitMissed, "nothing meets", append([]string{"plan", "local", "-o", none, "--set", "budget-usd-per-hour=0.01"}, only...)...)
	f(exitUsage, "no device profile", "verify", found, "--device", "nope")
	f(exitUsage, "no answer", "verify", none)
	f(exitUsage, "no answer", "drift", none, "--metrics", "http://127.0.0.1:1/metrics")
	f(exitUsage, "want a URL", "drift", found, "--metrics", "127.0.0.1:9310")
	f(exitFailed, "metrics of http", "drift", found, "--metrics", "http://127.0.0.1:1/metrics")
	f(exitFailed, "not a plan", "diff", bad, bad)
	f(exitUsage, "--metrics", "drift", bad)
	f(exitDone, "usage", "plan", "--help")
	f(exitDone, "commands", "--help")
	f(exitDone, "exit codes", "help")
}

const metricsText = `# TYPE headroom_view_members gauge
headroom_view_members 2
# TYPE headroom_partitions_mastered gauge
headroom_partitions_mastered{namespace="a"} 2048
# TYPE headroom_records gauge
headroom_records{kind="live",namespace="a"} 900
headroom_records{kind="tombstone",namespace="a"} 100
# TYPE headroom_operations_total counter
headroom_operations_total{kind="read",namespace="a"} READS
headroom_operations_total{kind="write",namespace="a"} 10
headroom_operations_total{kind="replica_write",namespace="a"} 500
# TYPE headroom_memory_used_bytes gauge
headroom_memory_used_bytes{namespace="a"} 5e+06
# TYPE headroom_device_used_bytes gauge
headroom_device_used_bytes{class="nvme",path="one"} 3e+06
headroom_device_used_bytes{class="nvme",path="two"} 4e+06
headroom_device_used_bytes{class="dram",path="memory:a"} 5e+06
`

func TestMetricsOfAllNodesAreAddedUp(t *testing.T) {
	reads := "100"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics":
			io.WriteString(w, strings.ReplaceAll(metricsText, "READS", reads))
		case "/other":
			io.WriteString(w, "up 1\n")
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	urls := []string{server.URL + "/metrics", server.URL + "/metrics"}
	first, err := scrapeAll(t.Context(), urls)
	if err != nil {
		t.Fatal(err)
	}
	reads = "300"
	second, err := scrapeAll(t.Context(), urls)
	if err != nil {
		t.Fatal(err)
	}
	o := observe(first, second, 10)
	a := o.Namespaces["a"]
	if o.Nodes != 2 || o.Members != 2 || a.Records != 2000 || a.ReadsPerSec != 40 || a.WritesPerS != 0 || a.MostBytes != 5e6 || o.DeviceBytes != 7e6 {
		t.Errorf("%+v", o)
	}
	for path, want := range map[string]string{"/other": "not the metrics of a Headroom node", "/none": "404"} {
		if _, err := scrapeAll(t.Context(), []string{server.URL + path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
