package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"headroom/reports/sample"
)

// BenchmarkHour renders an hour of twenty operations: 216,000 histograms. The
// limits are 5 s and 10 MB: go test ./reports -run '^$' -bench Hour -benchtime 1x
func BenchmarkHour(b *testing.B) { renderLarge(b, sample.Hour) }

// BenchmarkTenHours is the same for ten hours of four operations.
func BenchmarkTenHours(b *testing.B) {
	renderLarge(b, sample.Size{Seconds: 36_000, Operations: 4, Nodes: 8, Samples: 500})
}

func renderLarge(b *testing.B, size sample.Size) {
	dir := filepath.Join(b.TempDir(), "run")
	if err := sample.Large(dir, size); err != nil {
		b.Fatal(err)
	}
	page := filepath.Join(b.TempDir(), "r.html")
	for b.Loop() {
		var out, errOut bytes.Buffer
		if code := run([]string{"html", dir, "-o", page}, &out, &errOut); code != 0 {
			b.Fatalf("exit %d: %s", code, errOut.String())
		}
	}
	info, err := os.Stat(page)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB/page")
}
