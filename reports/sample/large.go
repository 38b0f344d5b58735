package sample

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"headroom/loadgen/result"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Size is how big a run of Large is.
type Size struct {
	Seconds, Operations, Nodes int
	Samples                    int // of each operation in each second
	// Scale stretches all latencies; zero means 1. Seed draws other samples of
	// the same distributions. Day moves the start.
	Scale float64
	Seed  uint64
	Day   int
	// Fresh draws every second anew, which costs a millisecond each.
	Fresh bool
}

// Hour is the run that a report must show within five seconds and ten
// megabytes.
var Hour = Size{Seconds: 3600, Operations: 20, Nodes: 8, Samples: 500}

// templates is how many different histograms an operation's log repeats: the
// library encodes one in about a millisecond, and a run may hold 200,000.
const templates = 12

// Large writes a long run of many operations into dir: a day's rhythm in the
// latencies, no fault. The same size always gives the same bytes.
func Large(dir string, size Size) error {
	w, err := result.Create(dir)
	if err != nil {
		return err
	}
	zero := time.Date(2026, 3, 1+size.Day, 12, 0, 0, 0, time.UTC)
	s := summary(zero)
	s.ID, s.DurationSec, s.Faults, s.Audit = "large-1", float64(size.Seconds), nil, result.Audit{Why: "a synthetic run"}
	s.OfferedOpsPerSec = float64(size.Operations * size.Samples)
	s.AchievedOpsPerSec, s.Generator.LocalNodes = s.OfferedOpsPerSec, size.Nodes
	workload := []byte("name: large\n")
	w.Workload(workload)
	s.Workload = result.Workload{Name: "large", SHA256: fmt.Sprintf("%x", sha256.Sum256(workload))}
	w.Environment(&result.Environment{Kernel: "6.18.5", Cores: 2, GoVersion: "go1.26.0", GOOS: "linux", GOARCH: "amd64"})
	names := make([]string, size.Operations)
	for i := range names {
		names[i] = fmt.Sprintf("op%02d", i+1)
		o, err := largeOperation(dir, names[i], size, zero, i)
		if err != nil {
			return err
		}
		s.Operations[names[i]] = o
	}
	for t := range size.Seconds {
		slow := rhythm(t)
		for _, op := range names {
			w.Series(result.SeriesRow{TSec: t, Op: op, Offered: int64(size.Samples), OK: int64(size.Samples),
				ResponseP50US: 400 * slow, ResponseP90US: 800 * slow, ResponseP99US: 1300 * slow, ResponseMaxUS: 2400 * slow, ServiceP99US: 1250 * slow, LatenessP99US: 110})
		}
		for n := range size.Nodes {
			w.Node(fmt.Sprintf("node%d", n+1), result.NodeSample{TSec: float64(t), Up: true, ViewKey: "1", Members: size.Nodes,
				Masters: int64(4096 / size.Nodes), Copies: int64(8192 / size.Nodes), RSSBytes: int64(90+n)<<20 + int64(t)*1000, CPUPct: 30 + 10*slow + float64(n)})
		}
	}
	w.Event(result.Event{Kind: result.EventPhase, What: "measured"})
	w.Summary(&s)
	return w.Close()
}

// rhythm is how slow second t is.
func rhythm(t int) float64 { return 1 + 0.3*math.Sin(float64(t)/200) }

// largeOperation writes the three logs of an operation: every second takes the
// template nearest to its rhythm.
func largeOperation(dir, op string, size Size, zero time.Time, i int) (o result.Operation, err error) {
	base := 200e3 * math.Exp(float64(i*7%20)/20*1.5)
	if size.Scale > 0 {
		base *= size.Scale
	}
	rnd := rand.New(rand.NewPCG(uint64(i), 3+size.Seed))
	for _, kind := range result.Kinds {
		scale := map[result.Kind]float64{result.Response: base * 1.05, result.Service: base, result.Lateness: 15e3}[kind]
		n := templates
		if size.Fresh {
			n = size.Seconds
		}
		hists, texts := make([]*hdr.Histogram, n), make([][]byte, n)
		for i := range hists {
			hists[i] = result.NewHistogram()
			slow := 0.7 + 0.6*float64(i)/(templates-1)
			if size.Fresh {
				slow = rhythm(i)
			}
			for range size.Samples {
				_ = hists[i].RecordValue(int64(scale * slow * math.Exp(0.5*rnd.NormFloat64()))) // far below MaxLatency
			}
			if texts[i], err = hists[i].Encode(hdr.V2CompressedEncodingCookieBase); err != nil {
				return o, err
			}
		}
		sum, err := largeLog(filepath.Join(dir, op+"-"+string(kind)+".hlog"), size.Seconds, zero, hists, texts)
		if err != nil {
			return o, err
		}
		p := result.Summarize(sum, 0)
		switch kind {
		case result.Response:
			o.Response = p
		case result.Service:
			o.Service = p
		default:
			o.Lateness = p
		}
		o.Count, o.OK = sum.TotalCount(), sum.TotalCount()
	}
	return o, nil
}

func largeLog(path string, seconds int, zero time.Time, hists []*hdr.Histogram, texts [][]byte) (sum *hdr.Histogram, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := bufio.NewWriterSize(f, 1<<20)
	b.WriteString("#[Histogram log format version 1.3]\n\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n")
	used, most := make([]int64, len(hists)), make([]float64, len(hists))
	for i, h := range hists {
		most[i] = float64(h.Max()) / 1e6 // walks the whole histogram
	}
	for t := range seconds {
		i := int(math.Round((rhythm(t) - 0.7) / 0.6 * (templates - 1)))
		i = min(max(i, 0), templates-1)
		if len(hists) == seconds {
			i = t
		}
		used[i]++
		fmt.Fprintf(b, "%d.000000,1.000000,%.6f,%s\n", zero.Unix()+int64(t), most[i], bytes.TrimSpace(texts[i]))
	}
	sum = result.NewHistogram()
	for i, h := range hists {
		for _, d := range h.Distribution() {
			if d.Count > 0 {
				_ = sum.RecordValues(d.From, d.Count*used[i]) // of the same shape
			}
		}
	}
	return sum, b.Flush()
}
