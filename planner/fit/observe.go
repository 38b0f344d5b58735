package fit

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"headroom/loadgen/result"
	"headroom/planner/model"
	"headroom/workloads"
)

// opKind is what an operation is to a node.
type opKind int

const (
	reads opKind = iota
	writes
	opKinds
)

// observation is what one run says about its nodes.
type observation struct {
	id     string
	env    *result.Environment
	nodes  int
	copies int
	value  float64 // mean bytes

	readRate, writeRate float64 // per second, as the nodes saw them
	ops                 float64 // per second, as the clients saw them
	saturated           bool    // a closed loop: as fast as the target answers
	shared              bool    // nodes and generator share one host
	device              bool    // its times have those of a device in them

	cores float64 // of all nodes together; NaN: unknown
	each  float64 // cores that one node may use
	use   float64 // of the busiest resource seen, 0 to 1
	host  float64 // of the machine that nodes and generator share, 0: unknown

	service   [opKinds]*hdr.Histogram
	response  [opKinds]*hdr.Histogram
	dist      [opKinds]model.Dist // of the service time, zero with too few samples
	moves     []move
	brief     int       // migrations that were over too soon
	held      int       // migrations that were held back
	gaps      []float64 // seconds
	generator float64   // cores of the generator itself
}

// moveLeast is the shortest migration, in seconds, that shows how fast nodes
// migrate at most: they begin at 2.6 MB/s and are ten times as fast after 5 s
// (node/server, throttle.go).
const moveLeast = 5.0

// move is a migration that a run watched from fault to full redundancy: what
// the node that sent most sent, and how long that took.
type move struct{ bytes, seconds float64 }

const (
	// distLeast operations give a distribution whose p99 ten samples exceed.
	distLeast = 1000
	// spanLeast is the shortest calm part that says anything.
	spanLeast = 3.0
)

// observeAll reads the runs in and below the given folders.
func observeAll(dirs []string, r *Report) ([]*observation, error) {
	var all []string
	for _, d := range dirs {
		found, err := runsBelow(d)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s: no run folder in it nor below it (a run folder has a run.json)", d)
		}
		all = append(all, found...)
	}
	if len(all) > maxRuns {
		return nil, fmt.Errorf("%d runs, at most %d are fitted at once", len(all), maxRuns)
	}
	var seen []*observation
	for _, dir := range all {
		o, err := observe(dir)
		if err != nil {
			r.Skipped = append(r.Skipped, fmt.Sprintf("%s: %v", dir, err))
			continue
		}
		if slices.ContainsFunc(seen, func(s *observation) bool { return s.id == o.id }) {
			r.Skipped = append(r.Skipped, dir+": the run "+o.id+" is there twice")
			continue
		}
		seen = append(seen, o)
	}
	return seen, nil
}

// runsBelow lists the folders with a run.json in and below dir.
func runsBelow(dir string) ([]string, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() == "run.json" {
			found = append(found, filepath.Dir(path))
		}
		if len(found) > maxRuns {
			return fs.SkipAll
		}
		return err
	})
	return found, err
}

// observe reads one run.
func observe(dir string) (*observation, error) {
	r, err := result.Open(dir)
	if err != nil {
		return nil, err
	}
	s := &r.Summary
	if s.Shard != nil && len(s.Merged) == 0 {
		return nil, errors.New("one shard of several: merge them first")
	}
	for _, v := range s.Verdicts {
		if v.Level == result.Fail {
			return nil, fmt.Errorf("its own verdict is %s: %s", v.Rule, v.Text)
		}
	}
	from, to := calm(s)
	if to-from < spanLeast {
		return nil, fmt.Errorf("only %.1f s without faults, want %.0f at least", to-from, spanLeast)
	}
	w, err := workloads.Parse("workload.yaml", []byte(r.Workload))
	if err != nil {
		return nil, err
	}
	o := &observation{id: s.ID, env: &r.Environment, value: w.ValueSize.Mean(), shared: s.Generator.LocalNodes > 0,
		saturated: s.Loop == "closed" && s.Generator.ThinkMS == 0, generator: s.Generator.CPUPct / 100,
		device: s.Device != nil && s.Device.Spec != "dram"}
	if err := o.cluster(r, from, to); err != nil {
		return nil, err
	}
	if err := o.operations(r, w, from, to); err != nil {
		return nil, err
	}
	o.usage(r, from, to)
	o.faults(r)
	return o, nil
}

// cluster counts the nodes and their copies.
func (o *observation) cluster(r *result.Run, from, to float64) error {
	for _, samples := range r.Nodes {
		for _, n := range samples {
			if n.Up && n.TSec >= from && n.TSec <= to {
				o.nodes++
				break
			}
		}
	}
	if o.nodes == 0 {
		return errors.New("no samples of nodes: the target was no cluster of Headroom, or could not be asked")
	}
	o.copies = min(2, o.nodes)
	if text, ok := r.Environment.Flags["replication-factor"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("environment.json: replication-factor %q", text)
		}
		o.copies = min(n, o.nodes)
	}
	return nil
}

// share is how many reads and writes of records one operation is.
func share(w *workloads.Workload, op string) (read, write float64) {
	switch op {
	case workloads.Get.String():
		return 1, 0
	case workloads.Scan.String():
		return float64(w.ScanLength+1) / 2, 0
	case workloads.ReadModifyWrite.String():
		return 1, 1
	case workloads.BatchGet.String():
		return float64(w.BatchSize), 0
	case workloads.BatchPut.String():
		return 0, float64(w.BatchSize)
	}
	return 0, 1
}

// operations takes rates and times of the calm part.
func (o *observation) operations(r *result.Run, w *workloads.Workload, from, to float64) error {
	for _, row := range r.Series {
		if at := float64(row.TSec); at < from || at+1 > to {
			continue
		}
		read, write := share(w, row.Op)
		n := float64(row.OK)
		o.readRate += n * read
		o.writeRate += n * write
		o.ops += n
	}
	span := math.Floor(to) - math.Ceil(from)
	if span < 1 || o.ops == 0 {
		return errors.New("no operation succeeded in its calm part")
	}
	o.readRate, o.writeRate, o.ops = o.readRate/span, o.writeRate/span, o.ops/span
	for kind, op := range map[opKind][]workloads.Op{reads: {workloads.Get}, writes: {workloads.Put, workloads.Update, workloads.Insert}} {
		for _, name := range op {
			if err := o.times(r, kind, name.String(), from, to); err != nil {
				return err
			}
		}
		if h := o.service[kind]; h != nil && h.TotalCount() >= distLeast && !o.device {
			o.dist[kind] = distOf(h)
		}
	}
	return nil
}

// times adds the calm part of an operation's histograms.
func (o *observation) times(r *result.Run, kind opKind, op string, from, to float64) error {
	if _, ok := r.Summary.Operations[op]; !ok {
		return nil
	}
	for which, into := range map[result.Kind]*[opKinds]*hdr.Histogram{result.Service: &o.service, result.Response: &o.response} {
		list, err := r.Intervals(op, which)
		if err != nil {
			return err
		}
		if into[kind] == nil {
			into[kind] = result.NewHistogram()
		}
		for _, i := range list {
			at := i.From.Sub(r.Summary.MeasuredFrom).Seconds()
			if at >= from-0.5 && at+1 <= to+0.5 {
				into[kind].Merge(i.Hist)
			}
		}
	}
	return nil
}

// distOf tabulates a histogram of nanoseconds in microseconds.
func distOf(h *hdr.Histogram) model.Dist {
	var q, v []float64
	n := float64(h.TotalCount())
	for _, at := range grid {
		if at < 1 && at > 0.5 && n*(1-at) < 1 {
			continue // beyond the samples: the maximum closes the table
		}
		us := float64(h.ValueAtQuantile(at*100)) / 1e3
		q, v = append(q, at), append(v, max(us, 0.001))
	}
	d, err := model.NewDist(q, v)
	if err != nil {
		return model.Dist{} // unreachable: the quantiles of a histogram ascend
	}
	return d
}

// usage takes CPU use and what was busiest.
func (o *observation) usage(r *result.Run, from, to float64) {
	o.cores = math.NaN()
	sum, known := 0.0, 0
	for _, samples := range r.Nodes {
		var list []float64
		for _, n := range samples {
			if n.Up && n.CPUPct >= 0 && n.TSec-1 >= from && n.TSec <= to {
				list = append(list, n.CPUPct/100)
			}
		}
		if len(list) > 0 {
			known++
			sum += mean(list)
		}
	}
	o.each = float64(r.Environment.Cores)
	if o.shared {
		o.each = max(1, math.Floor(o.each/float64(o.nodes)))
	}
	if known == o.nodes {
		o.cores = sum
		o.use = sum / float64(o.nodes) / max(o.each, 1)
		if o.shared && r.Environment.Cores > 0 {
			o.use = max(o.use, (sum+o.generator)/float64(r.Environment.Cores))
		}
	}
	for _, u := range r.Summary.Use {
		o.use = max(o.use, u.Utilisation)
		if u.Resource == hostCPU {
			o.host = min(u.Utilisation, 1)
		}
	}
	o.use = min(o.use, 1)
}

func mean(list []float64) float64 {
	sum := 0.0
	for _, v := range list {
		sum += v
	}
	return sum / float64(len(list))
}

// faults takes migrations and times without service from the kills of a run.
// How fast nodes migrate at most shows only where neither a rate that they were
// given nor a slowed down device holds them back.
func (o *observation) faults(r *result.Run) {
	rate := r.Environment.Flags["migrate-rate"]
	held := rate != "" && rate != "0" || r.Summary.Device != nil && r.Summary.Device.Dilation > 1
	for _, f := range r.Summary.Faults {
		if f.What != "kill" {
			continue
		}
		if f.GapMS != nil {
			o.gaps = append(o.gaps, *f.GapMS/1e3)
		}
		if f.RedundancyRestoredSec == nil || *f.RedundancyRestoredSec <= 0 {
			continue
		}
		if held {
			o.held++
			continue
		}
		// Before the View without the node nothing is moved.
		moving := *f.RedundancyRestoredSec
		if v := f.OneViewMS; v != nil && *v/1e3 < moving/2 {
			moving -= *v / 1e3
		}
		if moving < moveLeast {
			o.brief++
			continue
		}
		if left := mostLeft(r, f.AtSec, f.AtSec+*f.RedundancyRestoredSec); left > 0 {
			o.moves = append(o.moves, move{bytes: left, seconds: moving})
		}
	}
}

// hostCPU names the whole machine in a run's Use.
const hostCPU = "host-cpu"

// mostLeft is the most that any node had to send between two instants. What it
// sent before the first sample is missing, so it errs on the low side.
func mostLeft(r *result.Run, from, to float64) float64 {
	most := 0.0
	for _, samples := range r.Nodes {
		for _, n := range samples {
			if n.Up && n.TSec >= from && n.TSec <= to+1 {
				most = max(most, float64(n.BytesLeft))
			}
		}
	}
	return most
}

func joined(list []string) string { return strings.Join(list, "\n  ") }
