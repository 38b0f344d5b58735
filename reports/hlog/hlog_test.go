package hlog

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"headroom/loadgen/result"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// random returns a histogram of n log-normal samples as the library holds it.
func random(seed uint64, n int) *hdr.Histogram {
	r := rand.New(rand.NewPCG(seed, 1))
	h := result.NewHistogram()
	for range n {
		_ = h.RecordValue(int64(400e3 * math.Exp(2*r.NormFloat64())))
	}
	return h
}

func write(t *testing.T, path string, list ...*hdr.Histogram) {
	t.Helper()
	var b bytes.Buffer
	w := hdr.NewHistogramLogWriter(&b)
	if err := errors.Join(w.OutputLogFormatVersion(), w.OutputStartTime(1_700_000_000_250), w.OutputLegend()); err != nil {
		t.Fatal(err)
	}
	for i, h := range list {
		h.SetStartTimeMs(1_700_000_000_250 + int64(i)*1000)
		h.SetEndTimeMs(h.StartTimeMs() + 1000)
		if err := w.OutputIntervalHistogram(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) (*Counts, int, error) {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sum := NewCounts()
	for n := 0; ; n++ {
		iv, err := r.Next()
		if errors.Is(err, io.EOF) {
			return sum, n, nil
		}
		if err != nil {
			return sum, n, err
		}
		if want := 1_700_000_000_250 + int64(n)*1000; iv.FromMS != want || iv.ToMS != want+1000 {
			t.Errorf("interval %d is [%d, %d), want from %d", n, iv.FromMS, iv.ToMS, want)
		}
		sum.Add(iv.Bins)
	}
}

func TestReaderAgreesWithTheLibrary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.hlog")
	list := []*hdr.Histogram{random(1, 10_000), random(2, 1), result.NewHistogram(), random(3, 500)}
	_ = list[3].RecordValues(int64(result.MaxLatency/time.Nanosecond), 3)
	_ = list[3].RecordValues(0, 2)
	write(t, path, list...)
	sum, n, err := read(t, path)
	if err != nil || n != len(list) {
		t.Fatalf("read %d intervals, %v; want %d", n, err, len(list))
	}
	whole := result.NewHistogram()
	for _, h := range list {
		whole.Merge(h)
	}
	for _, infinite := range []int64{0, 1, 40, 10_000} {
		sum.Infinite = infinite
		for _, p := range []float64{0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1} {
			want, _ := result.Quantile(whole, infinite, p)
			if got := sum.Quantile(p); got != want {
				t.Errorf("quantile %g with %d infinite = %g, the library's %g", p, infinite, got, want)
			}
		}
	}
	back := sum.Histogram()
	if back.TotalCount() != whole.TotalCount() || back.Max() != whole.Max() || back.ValueAtPercentile(99) != whole.ValueAtPercentile(99) {
		t.Error("Histogram differs from the library's")
	}
}

func TestIndexAndValueAreInverse(t *testing.T) {
	for i := int32(0); i < int32(buckets); i++ {
		lo, hi := Value(i)
		if Index(lo) != i || Index(hi) != i || hi < lo {
			t.Fatalf("bucket %d is [%d, %d], whose indices are %d and %d", i, lo, hi, Index(lo), Index(hi))
		}
	}
}

func TestOtherShapesAreRecordedAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.hlog")
	h := hdr.New(1, int64(time.Hour), 2)
	for _, v := range []int64{1000, 250_000, 250_000, int64(30 * time.Minute)} {
		_ = h.RecordValue(v)
	}
	write(t, path, h)
	sum, _, err := read(t, path)
	if err != nil || sum.Total != 3 {
		t.Fatalf("read %d samples, %v; want the 3 within the shape", sum.Total, err)
	}
	if got := sum.Quantile(1); math.Abs(got-250_000) > 0.01*250_000 {
		t.Errorf("max = %g, want 250000 within 1 %%", got)
	}
}

func TestDamageIsAnErrorAndNeverAPanic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.hlog")
	write(t, path, random(1, 300), random(2, 300))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	r := rand.New(rand.NewPCG(7, 7))
	for i := range 400 {
		text := bytes.Clone(whole)
		if i%2 == 0 {
			text = text[:r.IntN(len(text))]
		} else {
			for range 3 {
				text[200+r.IntN(len(text)-200)] = byte(r.IntN(256))
			}
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		rd, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = rd.Next()
		}
		if !errors.Is(err, io.EOF) {
			failed++
		}
		rd.Close()
	}
	if failed < 100 {
		t.Errorf("%d of 400 damaged logs were noticed, want most", failed)
	}
}

func BenchmarkNext(b *testing.B) {
	path := filepath.Join(b.TempDir(), "x.hlog")
	var buf bytes.Buffer
	w := hdr.NewHistogramLogWriter(&buf)
	for i := range 200 {
		if err := w.OutputIntervalHistogram(random(uint64(i), 500)); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		r, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := r.Next(); err != nil {
				break
			}
			n++
		}
		r.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/interval")
}
