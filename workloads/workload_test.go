package workloads

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShippedWorkloadsAreValidAndPrintBack(t *testing.T) {
	want := []string{"ycsb-a", "ycsb-b", "ycsb-c", "ycsb-d", "ycsb-e", "ycsb-f"}
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
	if w.Records != 1_000_000 || w.ValueSize != 1024 || w.Mix[Put] != 5 || w.Mix[Update] != 0 || w.SHA256() == before {
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
