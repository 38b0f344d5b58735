package workloads

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestShippedWorkloadsAreValidAndPrintBack(t *testing.T) {
	want := []string{"ad-profiles", "fraud-series", "pull-a-plug", "sessions", "ycsb-a", "ycsb-b", "ycsb-c", "ycsb-d", "ycsb-e", "ycsb-f"}
	if d := cmp.Diff(want, Names()); d != "" {
		t.Errorf("Names (-want +got):\n%s", d)
	}
	for _, name := range Names() {
		w, err := Load(name)
		if err != nil {
			t.Errorf("Load(%s): %v", name, err)
			continue
		}
		if err := w.Validate(); err != nil || w.Name != name {
			t.Errorf("%s: name %q, %v", name, w.Name, err)
		}
		again, err := Parse("again", w.YAML())
		if err != nil {
			t.Errorf("%s printed: %v", name, err)
			continue
		}
		if d := cmp.Diff(w, again); d != "" || w.SHA256() != again.SHA256() {
			t.Errorf("%s does not read back:\n%s", name, d)
		}
	}
}

func TestFaultsInAFileHaveTheirPlace(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := Parse("w.yaml", []byte(text))
		var at *Error
		if !errors.As(err, &at) || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want an *Error with %q", text, err, want)
		}
	}
	f("version: 1\nname: x\nrecrods: 5\n", `w.yaml:3:1: unknown key "recrods": did you mean "records"?`)
	f("version: 1\nmix:\n  get: 50\n  updat: 50\n", `w.yaml:4:3: unknown key "mix.updat": did you mean "mix.update"?`)
	f("version: 1\nkeys:\n  distribution: zipfain\n", `w.yaml:3:17: keys.distribution: unknown distribution "zipfain"`)
	f("version: 1\nvalue-size: big\n", `w.yaml:2:13: value-size: size "big": want`)
	f("version: 2\n", `w.yaml:1:1: version: this program reads version 1`)
	f("name: x\n", `w.yaml:1:1: no version`)
	f("", `w.yaml:1:1: empty`)
	f("version: 1\nrecords: 1\nrecords: 2\n", `w.yaml:3:1`)
	f("version: 1\nmix: [get]\n", `w.yaml:2:6: mix: want "key: value" lines`)
	f("version: 1\nrecords: {a: 1}\n", `w.yaml:2:10: records: want a single value`)
	f("version: 1\n  name: [x\n", `w.yaml:`)
	f("version: 1\nvalue-size: uniform(1KiB)\n", `w.yaml:2:13: value-size: uniform(1KiB): want uniform(100B..1KiB)`)
	f("version: 1\nvalue-size: lognormal(median=1)\n", `did you mean "log-normal"?`)
	f("version: 1\nkeys:\n  zones: 60-10\n", `w.yaml:3:10: keys.zones: "60-10": want SHARE:KEYS`)
	f("version: 1\nstages: 5\n", `w.yaml:2:9: stages: want a list`)
	f("version: 1\nstages:\n  - duration: 5s\n    rte: 5/s\n", `w.yaml:4:5: unknown key "rte" of a stage: did you mean "rate"?`)
	f("version: 1\nstages:\n  - duration: 5s\n    mix: {gett: 5}\n", `w.yaml:4:11: unknown operation "gett": did you mean "get"?`)
	f("version: 1\nstages:\n  - duration: 5s\n    rate: 5/s\n    factor: 2\n", `rate and factor exclude each other`)
	f("version: 1\nstages:\n  - rate: 5/s\n", `duration: missing`)
	f("version: 1\nstages:\n  - duration: 5s\n    mix: get:50\n", `sum to 50 percent`)
	f("version: 1\nfaults: [{a: b}]\n", `w.yaml:2:`)
	f("- 1\n", `w.yaml:1:1`)
}

func TestOverridesAreChecked(t *testing.T) {
	w, err := Load("ycsb-a")
	if err != nil {
		t.Fatal(err)
	}
	before := w.SHA256()
	for key, value := range map[string]string{"records": "1M", "value-size": "1KiB", "keys.distribution": "uniform",
		"mix": "get:95,put:5", "ttl": "1h", "scan-length": "10"} {
		if err := w.Set(key, value); err != nil {
			t.Errorf("Set(%s, %s): %v", key, value, err)
		}
	}
	if err := w.Validate(); err != nil {
		t.Error(err)
	}
	if w.Records != 1_000_000 || w.ValueSize.String() != "1KiB" || w.Mix[Put] != 5 || w.Mix[Update] != 0 || w.SHA256() == before {
		t.Errorf("overrides not applied: %+v", w)
	}
	if err := w.Set("recods", "1"); err == nil || !strings.Contains(err.Error(), `"records"`) {
		t.Errorf("unknown key: %v", err)
	}
	if err := w.Set("mix.get", "50"); err != nil {
		t.Error(err)
	}
	if err := w.Validate(); err == nil || !strings.Contains(err.Error(), "sum to 55 percent") {
		t.Errorf("mix of 55 %%: %v", err)
	}
	if err := w.Set("records", "0"); err != nil {
		t.Error(err)
	}
	if err := w.Validate(); err == nil || !strings.Contains(err.Error(), "records") {
		t.Errorf("no records: %v", err)
	}
}

func TestValuesThatCannotBeAreRefused(t *testing.T) {
	f := func(key, value, want string) {
		t.Helper()
		w, err := Load("ycsb-a")
		if err != nil {
			t.Fatal(err)
		}
		if err = w.Set(key, value); err == nil {
			err = w.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s=%s: %v, want %q", key, value, err, want)
		}
	}
	f("value-size", "0B", "want 1B to")
	f("value-size", "2MiB", "want 1B to")
	f("value-size", "uniform(2KiB..1KiB)", "ascending")
	f("value-size", "histogram(1KiB:0)", "above zero")
	f("value-size", "log-normal(sigma=1)", "median")
	f("value-size", "log-normal(median=1KiB,sigma=-1)", "sigma above 0")
	f("value-size", "log-normal(mean=1KiB)", "median=")
	f("compression-ratio", "0.5", "1 (not compressible)")
	f("batch-size", "0", "batch-size: 0")
	f("keys.distribution", "zoned", "zones: 0, want 1 to 64")
	f("keys.exponent", "0", "exponent 0: want above 0")
	f("records", "0", "records: 0, want 1")
	f("mix", "get:100,scan:1", "sum to 101")
	f("mix", "get:-100,scan:200", "want a share of 0 to 100")
}

func TestSegmentsCoverTheMeasuredPhase(t *testing.T) {
	w, err := Parse("w.yaml", []byte(`version: 1
name: stages
mix: get:100
stages:
  - duration: 10s
  - {duration: 20s, factor: 0.5, ramp-to-factor: 2, mix: "put:100"}
  - {duration: 10s, rate: 0}
  - {duration: 20s, rate: 5k/s, ramp-to: 1k/s}
`))
	if err != nil || w.Validate() != nil || w.Span() != time.Minute {
		t.Fatal(w, err)
	}
	put := [Ops]float64{Put: 100}
	want := []Segment{
		{From: 0, Length: 5 * time.Second, Rate: 1000, RateEnd: 1000, Mix: w.Mix},
		{From: 5 * time.Second, Length: 10 * time.Second, Rate: 500, RateEnd: 2000, Mix: put},
		{From: 15 * time.Second, Length: 5 * time.Second, Mix: w.Mix},
		{From: 20 * time.Second, Length: 10 * time.Second, Rate: 5000, RateEnd: 1000, Mix: w.Mix},
	}
	if d := cmp.Diff(want, w.Segments(1000, 30*time.Second)); d != "" {
		t.Errorf("Segments (-want +got):\n%s", d)
	}
	if !w.Issues(Put) || w.Issues(Delete) {
		t.Error("Issues does not look into the stages")
	}
	plain, _ := Load("ycsb-c")
	if got := plain.Segments(7, time.Hour); len(got) != 1 || got[0].Length != time.Hour || got[0].Rate != 7 {
		t.Errorf("without stages: %+v", got)
	}
}

// Sizes are compared with their exact distribution by chi-squared, with the
// bound of the choosers' tests.
func TestSizesMatchTheirDistribution(t *testing.T) {
	f := func(text string, edges []int, cdf func(float64) float64) {
		t.Helper()
		v, err := ParseSize(text)
		if err != nil || v.Validate() != nil {
			t.Fatal(text, err, v.Validate())
		}
		if again, err := ParseSize(v.String()); err != nil || again.String() != v.String() {
			t.Errorf("%s prints %s, which reads back as %v, %v", text, v, again, err)
		}
		const draws = 200_000
		r := rand.New(rand.NewPCG(9, 9))
		got, sum := make([]int, len(edges)), 0.0
		for range draws {
			size := v.At(r.Uint64())
			sum += float64(size)
			got[slices.IndexFunc(edges, func(e int) bool { return size <= e })]++
		}
		chi, below := 0.0, 0.0
		for i, e := range edges {
			p := cdf(float64(e)) - below
			below += p
			chi += (float64(got[i]) - p*draws) * (float64(got[i]) - p*draws) / (p * draws)
		}
		df := float64(len(edges) - 1)
		if limit := df + 4*math.Sqrt(2*df); chi > limit {
			t.Errorf("%s: chi-squared %.1f with %.0f degrees of freedom, limit %.1f", text, chi, df, limit)
		}
		if mean := v.Mean(); math.Abs(sum/draws-mean) > 0.02*mean {
			t.Errorf("%s: drew a mean of %.1f, Mean says %.1f", text, sum/draws, mean)
		}
	}
	f("uniform(100B..199B)", []int{109, 149, 150, 180, 199}, func(x float64) float64 { return (x - 99) / 100 })
	f("log-normal(median=1000B,sigma=0.5,min=300B,max=4000B)", []int{300, 600, 900, 1000, 1500, 3000, 4000}, func(x float64) float64 {
		if x == 4000 {
			return 1
		}
		return 0.5 * math.Erfc(-math.Log((x+0.5)/1000)/0.5/math.Sqrt2) // sizes are rounded
	})
	f("histogram(1KiB:30,100B:60,10KiB:10)", []int{100, 1024, 10240}, func(x float64) float64 {
		return map[float64]float64{100: 0.6, 1024: 0.9, 10240: 1}[x]
	})
	if v := FixedSize(77); v.At(1) != 77 || v.Mean() != 77 {
		t.Errorf("fixed: %v", v)
	}
}

func TestLoadReadsFilesAndListsNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(path, []byte("version: 1\nname: mine\nmix:\n  get: 100\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if w, err := Load(path); err != nil || w.Name != "mine" || w.Validate() != nil {
		t.Errorf("Load(file) = %+v, %v", w, err)
	}
	_, err := Load("ycbs-a")
	if err == nil || !strings.Contains(err.Error(), "ycsb-f") || !strings.Contains(err.Error(), `did you mean "ycsb-a"`) {
		t.Errorf("Load(ycbs-a): %v, want the names and the nearest", err)
	}
}

func FuzzParseNeverPanicsAndPrintsBack(f *testing.F) {
	f.Add("version: 1\nname: x\nmix:\n  get: 100\n")
	f.Add("version: 1\nname: \"a\\\"b\"\nkeys: {exponent: 1e-3}\n")
	f.Add("a: &a [*a]\n")
	f.Add("version: 1\nname: x\nmix: get:100\nvalue-size: log-normal(median=1KiB,sigma=2)\nkeys: {distribution: zoned, zones: \"60:10,40:90\"}\n" +
		"stages:\n  - duration: 1s\n    rate: 0\n    ramp-to: 5k/s\n    mix: put:100\nfaults: [kill node1 @1s]\n")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := Parse("f", []byte(text))
		if err != nil || w.Validate() != nil {
			return
		}
		again, err := Parse("f", w.YAML())
		if err != nil || again.SHA256() != w.SHA256() {
			t.Errorf("%q prints\n%s which reads back as %+v, %v", text, w.YAML(), again, err)
		}
	})
}
