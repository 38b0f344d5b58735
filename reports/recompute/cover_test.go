package recompute

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"headroom/loadgen/result"
	"headroom/reports/sample"
)

// whole writes the run that has every number.
func whole(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	if err := sample.Complete(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// numbersOf lists the numbers that a type can have in JSON; * stands for names
// and indices.
func numbersOf(t reflect.Type, path string) (list []string) {
	switch t.Kind() {
	case reflect.Pointer:
		return numbersOf(t.Elem(), path)
	case reflect.Slice, reflect.Array:
		return numbersOf(t.Elem(), path+"[*]")
	case reflect.Map:
		return numbersOf(t.Elem(), path+".*")
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return nil
		}
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			list = append(list, numbersOf(t.Field(i).Type, strings.TrimPrefix(path+"."+name, "."))...)
		}
		return list
	case reflect.String, reflect.Bool:
		return nil
	}
	return []string{path}
}

// TestNoNumberOfRunJSONIsForgotten: a number added to run.json is either
// configuration, and listed as such, or is recomputed in one of the sample runs.
func TestNoNumberOfRunJSONIsForgotten(t *testing.T) {
	seen := map[string]bool{}
	for _, dir := range []string{whole(t), merged(t)} {
		r, err := Check(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Findings {
			if f.State == Unknown || f.State == Older {
				t.Errorf("%s: %s: %s", filepath.Base(dir), f.Field, f.State)
			}
			if f.State != Given {
				seen[f.Field] = true
			}
		}
	}
	list := numbersOf(reflect.TypeFor[result.Summary](), "")
	if len(list) < 100 {
		t.Fatalf("%d numbers in run.json", len(list))
	}
	for _, pattern := range list {
		if strings.Contains(pattern, "service_us.boot95") || strings.Contains(pattern, "lateness_us.boot95") {
			continue // drawn for response times only: one that is there differs
		}
		re := compile(pattern)[0]
		if !isGiven(strings.ReplaceAll(pattern, "*", "x")) && !slices.ContainsFunc(slices.Collect(maps.Keys(seen)), re.MatchString) {
			t.Errorf("%s is neither recomputed nor configuration: recompute it, or list it in given with the reason", pattern)
		}
	}
}

func TestACompleteFolderIsCleanAndExact(t *testing.T) {
	for _, dir := range []string{whole(t), merged(t)} {
		r, err := Check(dir)
		if err != nil || len(r.Problems) > 0 {
			t.Fatal(err, r.Problems)
		}
		for _, f := range r.Findings {
			if f.State != Same && f.State != Given && !strings.HasSuffix(f.Field, "samples") {
				t.Errorf("%+v", f)
			}
		}
	}
}

// basis are numbers that others are recomputed from: each is changed alone.
var basis = regexp.MustCompile(`^(duration_s|offered_ops_per_s|faults\[0\]\.at_s|generator\.(cpu_pct|in_flight_peak|in_flight_samples)|steady\.(from|to)_s|merged\[\d+\]\.index|.*\.answered)$`)

// TestEveryNumberTamperedWithIsFound changes each number of run.json by some
// thousandths, a whole one by 1: each must be found by its own name.
func TestEveryNumberTamperedWithIsFound(t *testing.T) {
	for _, dir := range []string{whole(t), merged(t)} {
		path := filepath.Join(dir, "run.json")
		original, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tried := 0
		try := func(which func(string) bool) {
			t.Helper()
			d := json.NewDecoder(bytes.NewReader(original))
			d.UseNumber()
			var v map[string]any
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			var fields []string
			each(v, "", func(field string, get json.Number, set func(any)) {
				if !which(field) || isGiven(field) && field != "generator.lanes" {
					return
				}
				f, _ := get.Float64()
				if fields = append(fields, field); strings.ContainsAny(get.String(), ".e") {
					set(f*1.003 + 0.002)
				} else {
					set(int64(f) + 1)
				}
			})
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			got := differing(t, dir)
			for _, field := range fields {
				if tried++; !slices.Contains(got, field) {
					t.Errorf("a changed %s is not found", field)
				}
			}
		}
		try(func(field string) bool { return !basis.MatchString(field) })
		for _, field := range []string{"duration_s", "offered_ops_per_s", "faults[0].at_s", "generator.cpu_pct", "generator.in_flight_peak",
			"generator.in_flight_samples", "steady.from_s", "steady.to_s", "merged[1].index", "stages.operations.get.answered"} {
			try(func(x string) bool { return x == field })
		}
		if tried < 150 {
			t.Errorf("%d numbers tried", tried)
		}
	}
}

// each calls f for every number of a document, one of each kind of list, with
// what sets it.
func each(v any, path string, f func(string, json.Number, func(any))) {
	visit := func(field string, x any, set func(any)) {
		if n, ok := x.(json.Number); ok {
			f(field, n, set)
			return
		}
		each(x, field, f)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			visit(strings.TrimPrefix(path+"."+k, "."), v[k], func(x any) { v[k] = x })
		}
	case []any:
		for i := range v {
			visit(fmt.Sprintf("%s[%d]", path, i), v[i], func(x any) { v[i] = x })
		}
	}
}

// TestEveryRawFileTamperedWithIsFound changes the last byte of each raw file,
// removes it, and adds one.
func TestEveryRawFileTamperedWithIsFound(t *testing.T) {
	for _, dir := range []string{whole(t), merged(t)} {
		run, err := result.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		f := func(what string) {
			t.Helper()
			c := &checker{dir: dir, run: run, out: &Report{}, at: map[string]int{}}
			if c.files(); c.out.Count(Differs) == 0 {
				t.Errorf("%s is not found", what)
			}
		}
		list, err := result.Files(dir)
		if err != nil || len(list) < 10 {
			t.Fatal(err, list)
		}
		for _, x := range list {
			path := filepath.Join(dir, x.Name)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := bytes.Clone(text)
			changed[len(changed)-1] ^= 1
			write(t, path, changed)
			f("a changed " + x.Name)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			f("a missing " + x.Name)
			write(t, path, text)
		}
		write(t, filepath.Join(dir, "nodes", "node9.csv"), []byte("t_s\n"))
		f("an added file")
		r, err := Check(dir)
		if err != nil || r.Count(Differs) != 1 {
			t.Errorf("Check finds %d, want the added file: %v", r.Count(Differs), err)
		}
	}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestARawFigureTamperedWithTogetherWithItsSumIsFound: whoever changes a raw file
// and the list of files is found by the numbers.
func TestARawFigureTamperedWithTogetherWithItsSumIsFound(t *testing.T) {
	for file, change := range map[string][2]string{
		"audit.csv":     {"24.000,200,", "24.000,201,"},
		"histories.csv": {",103,undecided", ",103,fits"},
		"waits.csv":     {",41500,", ",31500,"},
		"meters.csv":    {"generator_cpu_ns,11,9", "generator_cpu_ns,11,8"},
		"generator.csv": {",190,", ",191,"},
		"series.csv":    {"3,get,60", "3,get,61"},
		"events.csv":    {"16.250300,fault", "16.250400,fault"},
	} {
		dir := whole(t)
		path := filepath.Join(dir, file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), change[0], change[1], 1)
		if changed == string(text) {
			t.Fatalf("%s has no %q", file, change[0])
		}
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := sample.Alter(dir, func(s *result.Summary) { s.Files, err = result.Files(dir) }); err != nil {
			t.Fatal(err)
		}
		if got := differing(t, dir); len(got) == 0 {
			t.Errorf("%s changed with its sum is not found", file)
		}
	}
}

// older makes a folder what a version before the list of files left.
func older(t *testing.T, dir string) {
	t.Helper()
	for _, f := range []string{"audit.csv", "histories.csv", "waits.csv", "meters.csv", "lanes.hlog"} {
		if err := os.Remove(filepath.Join(dir, f)); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []struct {
		name    string
		columns int
	}{{"series.csv", 13}, {"generator.csv", 12}} {
		path := filepath.Join(dir, f.name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for line := range strings.Lines(string(text)) {
			out.WriteString(strings.Join(strings.Split(strings.TrimSpace(line), ",")[:f.columns], ",") + "\n")
		}
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := sample.Alter(dir, func(s *result.Summary) { s.Files = nil }); err != nil {
		t.Fatal(err)
	}
}

func TestAnOlderFolderIsNotCalledFalse(t *testing.T) {
	dir := whole(t)
	older(t, dir)
	r, err := Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := differing(t, dir); len(got) > 0 && !slices.Equal(got, []string{"generator.cpu_pct"}) {
		t.Errorf("an older folder differs in %v", got)
	}
	for _, f := range r.Findings {
		if f.State == Unknown {
			t.Errorf("%+v", f)
		}
	}
	if n := r.Count(Older); n < 20 || r.Count(Unknown) > 0 || r.Count(Same) < 100 {
		t.Errorf("%d numbers of an older version, %d unknown, %d same", n, r.Count(Unknown), r.Count(Same))
	}
}

// merged writes what a merge of two shards leaves.
func merged(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "merged")
	if err := sample.Merged(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}
