package stats

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// widen adds columns to a CSV file of the folder.
func widen(t *testing.T, dir, node, header string, cell func(i int) string) {
	t.Helper()
	path := filepath.Join(dir, "nodes", node+".csv")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for i := range lines {
		if i == 0 {
			lines[i] += "," + header
			continue
		}
		lines[i] += "," + cell(i)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// refuse sets the column that says whether a node refuses writes.
func refuse(t *testing.T, dir, node string, stopped func(line int) bool) {
	t.Helper()
	path := filepath.Join(dir, "nodes", node+".csv")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	at := slices.Index(strings.Split(lines[0], ","), stopWrites)
	for i := range lines[1:] {
		cells := strings.Split(lines[1+i], ",")
		if cells[at] = "0"; stopped(1 + i) {
			cells[at] = "1"
		}
		lines[1+i] = strings.Join(cells, ",")
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFurtherColumnsOfNodesAreShown(t *testing.T) {
	f := derive(t, nil, func(dir string) {
		widen(t, dir, "node2", "device_busy_pct", func(i int) string {
			switch {
			case i == 7:
				return ""
			case i > 40 && i <= 60: // samples are a quarter of a second apart
				return "80.5"
			}
			return "20"
		})
		refuse(t, dir, "node2", func(i int) bool { return i == 7 || i > 40 && i <= 60 })
	})
	var busy []Sample
	for _, e := range f.Extras {
		if e.Column == "device_busy_pct" {
			busy = e.Nodes["node2"]
		}
	}
	if len(busy) != 160 {
		t.Fatalf("%d samples of the busy share of node2, want 160", len(busy))
	}
	if busy[45].Value != 80.5 || !math.IsNaN(busy[6].Value) {
		t.Errorf("values = %v and %v, want 80.5 and none", busy[45].Value, busy[6].Value)
	}
	if len(f.StopWrites) != 2 || f.StopWrites[1] != (Span{From: 10, To: 15, Node: "node2"}) {
		t.Errorf("writes stopped in %+v, want from 10 to 15 s", f.StopWrites)
	}
	if len(f.Problems) != 0 {
		t.Errorf("problems = %q", f.Problems)
	}
}

func TestAClockThatStepsBackIsNamed(t *testing.T) {
	f := derive(t, nil, func(dir string) {
		path := filepath.Join(dir, "get-response.hlog")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(b), "\n")
		for i := range lines { // from the 21st interval on, everything is 5 s earlier
			from, rest, ok := strings.Cut(lines[i], ".")
			if !ok || i < 24 || !strings.HasPrefix(from, "1") {
				continue
			}
			var sec int64
			for _, c := range from {
				sec = sec*10 + int64(c-'0')
			}
			lines[i] = strings.Replace(lines[i], from+"."+rest, bare(sec-5)+"."+rest, 1)
		}
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	if text := strings.Join(f.Problems, " "); !strings.Contains(text, "clock stepped back") {
		t.Errorf("problems = %q, want the step named", f.Problems)
	}
	if f.Curves[0].Percentiles.Samples != f.Total.Count {
		t.Errorf("%d samples remain of %d", f.Curves[0].Percentiles.Samples, f.Total.Count)
	}
}

// bare prints a whole number.
func bare(n int64) string { return strings.ReplaceAll(Count(n), ",", "") }
