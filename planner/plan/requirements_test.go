package plan

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"headroom/planner/examples"
)

const small = `version: 1
namespaces:
  - name: a
    records: 1M
    reads: 10k/s
    writes: 1k/s
`

func parse(t testing.TB, text string) *Requirements {
	t.Helper()
	r, err := Parse("r.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestExamplesParseAndSurviveJSON(t *testing.T) {
	for _, name := range examples.Names() {
		r, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back Requirements
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, b)
		}
		if d := cmp.Diff(*r, back); d != "" {
			t.Errorf("%s changes in JSON:\n%s", name, d)
		}
	}
}

// TestTheExampleOfEveryKeyHasTheDefaults holds the quarry for copying against
// the fields themselves.
func TestTheExampleOfEveryKeyHasTheDefaults(t *testing.T) {
	text := string(examples.Text("every-key"))
	got, want := parse(t, text), parse(t, "version: 1\nname: every key\nnamespaces: [{name: store, storage: flash, records: 100M}]\n")
	if d := cmp.Diff(want, got, cmp.AllowUnexported()); d != "" {
		t.Errorf("the example does not say the defaults:\n%s", d)
	}
	var keys []string
	for _, f := range topFields {
		keys = append(keys, f.name[strings.LastIndex(f.name, ".")+1:])
	}
	for _, f := range namespaceFields {
		keys = append(keys, f.name)
	}
	for _, k := range keys {
		if !strings.Contains(text, k+": ") {
			t.Errorf("the example lacks %q", k)
		}
	}
}

func TestNumbersTakeUnitsAndPercentiles(t *testing.T) {
	r := parse(t, `{version: 1, namespaces: [{name: a, records: [1M, 2M, 4M], reads: {p10: 1k/s, p50: 2k/s, p90: 3k/s}, value-sizes: {100B: 1, 1KiB: 3}, growth-per-month: 5%, ttl: 2d}],
		redundancy: {node-mttf: 4y, racks: [1, 3]}, xdr: {link: 10Gbps}}`)
	n := r.Namespaces[0]
	if n.Records.P90 != 4e6 || n.Reads.P10 != 1000 || n.Growth.P50 != 0.05 || n.TTL.P50 != 172800 {
		t.Errorf("%+v", n)
	}
	if len(n.ValueSizes) != 2 || n.ValueSizes[1] != (SizeShare{1024, .75}) {
		t.Errorf("sizes %v", n.ValueSizes)
	}
	if r.Redundancy.NodeMTTF.P50 != 4*secondsPerYear || r.XDR.Link.P50 != 1.25e9 || len(r.Redundancy.Racks) != 2 {
		t.Errorf("%+v %+v", r.Redundancy, r.XDR)
	}
}

func TestFaultsNamePlaceAndRemedy(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		_, err := Parse("r.yaml", []byte(text))
		if err == nil {
			t.Errorf("no error for:\n%s", text)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("error %q does not say %q", err, w)
			}
		}
	}
	f("", "r.yaml:1:1", "empty")
	f("namespaces: []\n", "version")
	f("version: 2\n", "version 1")
	f("version: 1\n", "namespaces: none")
	f("version: 1\n---\nversion: 1\n", "second document")
	f(strings.Replace(small, "reads", "raeds", 1), "r.yaml:5:5", `did you mean "reads"`)
	f(small+"redundancy:\n  fail-node: 1\n", "r.yaml:8:3", `did you mean "fail-nodes"`)
	f(small+"fail-nodes: 1\n", `belongs below "redundancy:"`)
	f(small+"writes: 1/s\n", "belongs to a namespace")
	f(strings.Replace(small, "10k/s", "ten", 1), "r.yaml:5:12", "reads", "rate")
	f(strings.Replace(small, "1M", "1MiX", 1), "records", "count")
	f(strings.Replace(small, "1M", "[3M, 2M, 1M]", 1), "p10 <= p50 <= p90")
	f(strings.Replace(small, "1M", "[1M, 2M]", 1), "three")
	f(strings.Replace(small, "1M", "{p10: 1, p50: 2}", 1), "p10, p50 and p90")
	f(strings.Replace(small, "1M", "{p10: 1, p50: 2, p99: 3}", 1), "p10, p50 and p90")
	f(small+"    value-size: 8MiB\n", "8388608", "larger than 1 MiB")
	f(small+"    value-size: 0B\n", "value-size")
	f(small+"    reads: 5/s\n", "reads", "already defined")
	f(small+"    insert-rate: 1k/s\n", "records and insert-rate")
	f(strings.Replace(small, "records: 1M", "insert-rate: 1k/s", 1), "ttl")
	f(strings.Replace(small, "    records: 1M\n", "", 1), "records: missing")
	f(small+"    peak-factor: 0.5\n", "peak-factor")
	f(small+"    commit-to-device: true\n", "storage: flash")
	f(small+"    set-bytes: 64\n", "63 bytes")
	f(small+"redundancy: {replication-factor: 17}\n", "replication-factor", "1 to 16")
	f(small+"redundancy: {replication-factor: 4}\nmax-nodes: 3\n", "4 copies")
	f(small+"redundancy: {fail-nodes: 3}\nmax-nodes: 3\n", "fail-nodes")
	f(small+"redundancy: {fail-racks: 1}\n", "fail-racks", "racks")
	f(small+"probability: 120%\n", "probability")
	f(small+"targets: {read-p99: 2}\n", "read-p99", "duration")
	f(small+"limits: {cpu: 60}\n", "limits.cpu")
	f("version: 1\nnamespaces: 3\n", "want a list")
	f("version: 1\nnamespaces:\n  - name: ''\n    records: 1\n", "name")
	f("a: [", "r.yaml")
}

func TestZeroWritesAndOneByteAreAllowed(t *testing.T) {
	r := parse(t, strings.Replace(small, "1k/s", "0/s", 1)+"    value-size: 1B\n")
	if n := r.Namespaces[0]; n.Writes.P90 != 0 || n.ValueBytes.P50 != 1 {
		t.Errorf("%+v", n)
	}
}

func TestSetChangesOneKey(t *testing.T) {
	r := parse(t, small)
	for key, value := range map[string]string{"reads": "20k/s", "a.writes": "1/s,2/s,3/s", "redundancy.fail-nodes": "0", "limits.cpu": "50%"} {
		if err := r.Set(key + "=" + value); err != nil {
			t.Errorf("Set(%s, %s): %v", key, value, err)
		}
	}
	if n := r.Namespaces[0]; n.Reads.P50 != 20e3 || n.Writes.P90 != 3 || r.Redundancy.FailNodes != 0 || r.Limits.CPU.P50 != 0.5 {
		t.Errorf("%+v", r)
	}
	if err := r.Set("raeds=1/s"); err == nil || !strings.Contains(err.Error(), `did you mean "reads"`) {
		t.Errorf("error %v names no near key", err)
	}
	if err := r.Set("reads=quick"); err == nil {
		t.Error("no error for a rate that is none")
	}
	var at *Error
	if _, err := Parse("x", []byte("version: one")); !errors.As(err, &at) || at.Line != 1 {
		t.Errorf("error %v has no place", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte("version: 1\nnamespaces: [{name: a, records: [1, 2, 3]}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse("r.yaml", text)
		if err != nil {
			return
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse("again", b); err != nil {
			t.Errorf("what was accepted is refused when written: %v\n%s", err, b)
		}
	})
}
