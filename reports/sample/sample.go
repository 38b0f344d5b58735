// Package sample writes a synthetic run folder through result's writer: four
// nodes under a constant rate, node3 killed and started again. It is the input
// of the tests of reports and of nothing else. Its numbers are made up; the
// same call always writes the same bytes.
//
// Start reading at Write.
package sample

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"headroom/loadgen/result"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// The run that Write makes: seconds measured, when node3 goes and comes back.
const (
	Seconds = 40
	KillAt  = 10.0
	StartAt = 25.0
	rate    = 3000
)

// shares are the operations of the run, in a fixed order.
var shares = []struct {
	name  string
	share float64
}{{"get", 0.95}, {"put", 0.05}}

// Write writes the run into dir.
func Write(dir string) error {
	w, err := result.Create(dir)
	if err != nil {
		return err
	}
	zero := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := summary(zero)
	w.Workload([]byte("name: ycsb-b\nrecords: 100k\noperations:\n  get: 95%\n  put: 5%\n"))
	w.Environment(&result.Environment{Kernel: "6.18.5", CPUModel: "AMD EPYC 7B13", Cores: 2, MemBytes: 8 << 30,
		GoVersion: "go1.26.0", GOMAXPROCS: 2, GOOS: "linux", GOARCH: "amd64", GitSHA: "4b552e2", Governor: "performance",
		Clock: "kvm-clock", LoadAvg: "0.31 0.20 0.11", StealPct: 0.4, Flags: map[string]string{"replication-factor": "2"}})
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, op := range shares {
		s.Operations[op.name] = operation(w, op.name, op.share, zero, rnd)
	}
	s.Stages = stages(w, rnd)
	series(w)
	events(w)
	nodes(w)
	w.Summary(&s)
	return w.Close()
}

// Main writes the run once into a directory of its own, lets run use it at path
// and removes it: what TestMain of a package needs whose tests copy the run.
func Main(path *string, run func() int) int {
	dir, err := os.MkdirTemp("", "reports")
	if err == nil {
		*path = filepath.Join(dir, "run")
		err = Write(*path)
		defer os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return run()
}

// Alter changes the summary of the run in dir.
func Alter(dir string, change func(*result.Summary)) error {
	path := filepath.Join(dir, "run.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var s result.Summary
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	change(&s)
	if text, err = json.Marshal(&s); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

func ptr(v float64) *float64 { return &v }

func summary(zero time.Time) result.Summary {
	return result.Summary{Format: result.Format, ID: "sample-1", Started: zero.Add(-8 * time.Second), MeasuredFrom: zero,
		Command: []string{"headroom-loadgen", "run", "ycsb-b", "--local-nodes", "4", "--rate", "3k/s", "--duration", "40s",
			"--fault", "kill node3 @10s", "--fault", "start node3 @25s", "--out", "out/demo"},
		Target: "4 local nodes", Workload: result.Workload{Name: "ycsb-b", SHA256: "9f2c4e6a8b0d1f3254768790a1b2c3d4"},
		Loop: "open", OfferedOpsPerSec: rate, AchievedOpsPerSec: 2994, DurationSec: Seconds,
		Operations: map[string]result.Operation{},
		Audit:      result.Audit{Enabled: true, AcknowledgedWrites: 5981, InDoubtWrites: 12, KeysWritten: 5740, ReadBack: 5740},
		Faults: []result.Fault{
			{AtSec: KillAt, What: "kill", Node: "node3", GapMS: ptr(310), Failed: 38, InDoubt: 12, OneViewMS: ptr(184), RedundancyRestoredSec: ptr(4.2)},
			{AtSec: StartAt, What: "start", Node: "node3", GapMS: ptr(21), OneViewMS: ptr(96), RedundancyRestoredSec: ptr(2.6)}},
		Verdicts: []result.Verdict{
			{Rule: "R10", Level: result.Warn, Text: "the generator shared the host with the 4 nodes under test"},
			{Rule: "R8", Level: result.Info, Text: "a single run: differences below about 10 % mean nothing"}},
		Generator: result.Generator{Lanes: 2, Seed: 7, Arrivals: "poisson", InFlightMax: 1024, InFlightPeak: 412, WarmupSec: 3,
			LoadSec: 4.1, LoadedRecs: 100_000, DeadlineMS: 2000, CalibratedOpsPerSec: 9100, LocalNodes: 4, CPUPct: 38, StealPct: 0.4}}
}

// shape returns how slow second t is and how many of its operations fail.
func shape(t int) (slow float64, failed int64) {
	switch {
	case t == int(KillAt):
		return 8, 430
	case float64(t) > KillAt && float64(t) < KillAt+4.2:
		return 1.7, 0
	case float64(t) >= StartAt && float64(t) < StartAt+2.6:
		return 1.4, 0
	default:
		return 1, 0
	}
}

// operation writes the interval logs of an operation and returns its summary.
func operation(w *result.Writer, op string, share float64, zero time.Time, rnd *rand.Rand) result.Operation {
	var o result.Operation
	base := map[string]float64{"get": 420e3, "put": 900e3}[op] // ns
	sums := map[result.Kind]*hdr.Histogram{}
	for _, k := range result.Kinds {
		sums[k] = result.NewHistogram()
	}
	for t := range Seconds {
		slow, failed := shape(t)
		failed = int64(math.Round(float64(failed) * share))
		h := map[result.Kind]*hdr.Histogram{}
		for _, k := range result.Kinds {
			h[k] = result.NewHistogram()
		}
		n := int64(rate*share) - failed
		for range n {
			service := base * slow * math.Exp(rnd.NormFloat64()*0.45)
			late := 15e3 * math.Exp(rnd.NormFloat64()*0.9)
			if slow > 4 && rnd.Float64() < 0.05 {
				service += 300e6 * rnd.Float64()
			}
			for k, v := range map[result.Kind]float64{result.Response: service + late, result.Service: service, result.Lateness: late} {
				_ = h[k].RecordValue(int64(v)) // far below MaxLatency
			}
		}
		from := zero.Add(time.Duration(t) * time.Second)
		for _, k := range result.Kinds {
			sums[k].Merge(h[k])
			w.Interval(op, k, h[k], from, from.Add(time.Second))
		}
		o.OK += n
		o.Failed += failed
	}
	o.Count = o.OK + o.Failed
	o.Response = result.Summarize(sums[result.Response], o.Failed)
	o.Service = result.Summarize(sums[result.Service], o.Failed)
	o.Lateness = result.Summarize(sums[result.Lateness], 0)
	return o
}

// stages samples one operation in a hundred.
func stages(w *result.Writer, rnd *rand.Rand) *result.Stages {
	typical := map[string][len(result.StageNames)]float64{
		"get": {15, 0, 12, 40, 2, 3, 0, 0, 0, 2, 300, 20},
		"put": {15, 0, 12, 60, 30, 9, 480, 0, 0, 3, 280, 20}} // us
	out := &result.Stages{Operations: map[string]result.StageSummary{}}
	var all []result.StageSample
	for _, op := range shares {
		var list []result.StageSample
		for i := range int(Seconds * rate * op.share / 100) {
			x := result.StageSample{TSec: float64(i) * 100 / (rate * op.share), Op: op.name, Node: fmt.Sprintf("node%d", 1+i%4)}
			slow, _ := shape(int(x.TSec))
			ns := 900.0 // of no stage
			for k, us := range typical[op.name] {
				d := math.Round(us * 1000 * slow * math.Exp(rnd.NormFloat64()*0.6))
				x.StagesUS[k] = d / 1000
				ns += d
			}
			x.ResponseUS = ns / 1000
			list = append(list, x)
		}
		s := result.SummarizeStages(list)
		s.Every, s.Asked, s.Answered = 100, int64(len(list))+1, int64(len(list))
		out.Operations[op.name] = s
		all = append(all, list...)
	}
	w.Stages(all)
	return out
}

func series(w *result.Writer) {
	for t := range Seconds {
		for _, op := range shares {
			slow, failed := shape(t)
			failed = int64(math.Round(float64(failed) * op.share))
			n := int64(rate * op.share)
			asked, answered := int64(0), int64(0)
			if t == 0 {
				answered = int64(Seconds * rate * op.share / 100)
				asked = answered + 1
			}
			w.Series(result.SeriesRow{TSec: t, Op: op.name, StagesAsked: asked, StagesAnswered: answered, Offered: n, OK: n - failed, Failed: failed,
				ResponseP50US: 430 * slow, ResponseP90US: 800 * slow, ResponseP99US: 1300 * slow, ResponseMaxUS: 2400 * slow,
				ServiceP99US: 1250 * slow, LatenessP99US: 110})
		}
	}
}

func events(w *result.Writer) {
	for _, e := range []result.Event{
		{TSec: -3, Kind: result.EventPhase, What: "warm-up"},
		{TSec: 0, Kind: result.EventPhase, What: "measured"},
		{TSec: KillAt, Kind: result.EventFault, Node: "node3", What: "kill"},
		{TSec: KillAt + 0.184, Kind: result.EventView, Node: "node4", What: "view 2: node4 node2 node1"},
		{TSec: StartAt, Kind: result.EventFault, Node: "node3", What: "start"},
		{TSec: StartAt + 0.096, Kind: result.EventView, Node: "node4", What: "view 3: node4 node3 node2 node1"},
	} {
		w.Event(e)
	}
}

// nodes samples four nodes four times a second.
func nodes(w *result.Writer) {
	for i := range Seconds * 4 {
		t := float64(i) / 4
		for n := 1; n <= 4; n++ {
			name := fmt.Sprintf("node%d", n)
			if n == 3 && t >= KillAt && t < StartAt {
				w.Node(name, result.NodeSample{TSec: t})
				continue
			}
			s := result.NodeSample{TSec: t, Up: true, ViewKey: "1", Members: 4, Masters: 1024, Copies: 2048,
				RSSBytes: int64(90+n)<<20 + int64(t*2e5), CPUPct: 31 + float64(n)}
			left := max(0, 1-(t-KillAt-0.3)/3.9)
			if t < KillAt+0.3 {
				left = 0
			}
			if t >= StartAt+0.2 {
				left = max(0, 1-(t-StartAt-0.2)/2.4)
			}
			if t >= KillAt && t < StartAt && n != 3 {
				s.Masters, s.Copies, s.Members = 1365, 2731, 3
			}
			s.PartitionsLeft = int64(left * 690)
			s.BytesLeft = s.PartitionsLeft * 4096
			w.Node(name, s)
			if i%4 == 3 {
				w.Device(name, result.DeviceSample{TSec: t, Device: "/var/lib/headroom/" + name + ".dev", OverSec: 1, ReadsPerS: 700, WritesPerS: 3, SyncsPerS: 1,
					ReadBPerS: 700 * 4096, WriteBPerS: 3 << 20, ReadUS: 90 + 10*math.Sin(t), WriteUS: 900, SyncUS: 400, Queue: 0.07, BusyPct: 6.5})
			}
		}
	}
}
