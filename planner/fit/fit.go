// Package fit turns run folders and device profiles into a model file: what
// an operation costs of CPU, how long it takes on a quiet node, how fast a
// dead node's data is copied, how throughput grows with the nodes, and how
// well all of that explains the runs it came from. It starts nothing and
// plans nothing.
//
// The invariant to know: a figure that the runs do not say anything about
// keeps its prior and is listed as unmeasured; it is never passed off as
// measured.
//
// Start reading at Make, then observe.go (what a run says), cpu.go (the
// regression) and judge.go (how good it is).
package fit

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"headroom/loadgen/result"
	"headroom/node/disk/profile"
	"headroom/planner/model"
)

// maxRuns bounds a fit: a matrix of some hundred cells.
const maxRuns = 4096

// Config says what to fit. Runs or Devices are needed.
type Config struct {
	Runs    []string // run folders, or folders of a study with run folders below
	Devices []string // device profiles: shipped names or files
	// Type is the catalog's name of the machine that the runs were made on;
	// empty if it has none.
	Type string
	Name string // of the model; default "fitted"
	Now  time.Time
}

// Check reports a Config that names nothing to fit, or what is not there.
func (c Config) Check() error {
	if len(c.Runs) == 0 && len(c.Devices) == 0 {
		return errors.New("nothing to fit: give run folders, or device profiles with --device")
	}
	for _, dir := range c.Runs {
		if _, err := os.Stat(dir); err != nil {
			return fmt.Errorf("there is no run folder %s: headroom-loadgen run … --out %s makes one", dir, dir)
		}
	}
	for _, ref := range c.Devices {
		if _, err := profile.Load(ref); err != nil {
			return err
		}
	}
	return nil
}

// Report is how the model came about.
type Report struct {
	Runs    []RunFit `json:"runs"`
	Skipped []string `json:"skipped,omitempty"` // runs that say nothing, each with its reason
	Notes   []string `json:"notes,omitempty"`   // what was not measured, and why
	// R2 is the share of the variance of CPU use that the model explains; 1 is
	// all. Null below three runs.
	R2 *float64 `json:"r2"`
	// LeftOut is the median relative error of the CPU use of runs whose node
	// count was left out of the fit. Null with one node count.
	LeftOut *float64 `json:"left_out_error"`
}

// RunFit is a run beside what the model says of it.
type RunFit struct {
	ID           string   `json:"id"`
	Nodes        int      `json:"nodes"`
	OpsPerSec    float64  `json:"ops_per_s"`
	Utilisation  float64  `json:"utilisation"`   // of the busiest resource that was seen
	CPU          *float64 `json:"cpu_cores"`     // of all nodes together
	CPUPredicted *float64 `json:"cpu_predicted"` // by the fit
	CPUError     *float64 `json:"cpu_error"`     // relative
	LeftOutError *float64 `json:"left_out_error"`
	Mean         *float64 `json:"mean_us"` // of reads' response time
	MeanModel    *float64 `json:"mean_predicted_us"`
	P99          *float64 `json:"p99_us"`
	P99Model     *float64 `json:"p99_predicted_us"`
}

// Make fits a model. Runs that cannot be used are listed in the report; it is
// an error if none can.
func Make(cfg Config) (*model.Model, *Report, error) {
	if err := cfg.Check(); err != nil {
		return nil, nil, err
	}
	m := model.Priors()
	m.Name, m.Created, m.Prior = cfg.Name, cfg.Now.UTC().Format(time.RFC3339), false
	if m.Name == "" {
		m.Name = "fitted"
	}
	r := &Report{}
	seen, err := observeAll(cfg.Runs, r)
	if err != nil {
		return nil, nil, err
	}
	if len(cfg.Runs) > 0 && len(seen) == 0 {
		return nil, nil, fmt.Errorf("none of %d runs can be used:\n  %s", len(r.Skipped), joined(r.Skipped))
	}
	if err := sameHost(seen); err != nil {
		return nil, nil, err
	}
	m.Host.Type = cfg.Type
	if len(seen) > 0 {
		m.Host.CPU, m.Host.Cores = seen[0].env.CPUModel, seen[0].env.Cores
	}
	f := &fitter{m: m, r: r, seen: seen}
	f.unmeasured("the CPU of a migrated record, the bytes of a request beside the record, and the factor to other machines are never fitted",
		"migrate_cpu_us", "request_bytes", "transfer")
	f.cpu()
	f.service()
	f.migration()
	f.scale()
	f.ranges()
	if err := f.devices(cfg.Devices); err != nil {
		return nil, nil, err
	}
	f.judge()
	if err := f.contradiction(); err != nil {
		return nil, r, err
	}
	if err := m.Validate(); err != nil {
		return nil, r, fmt.Errorf("the model does not hold: %w", err)
	}
	return m, r, nil
}

// fitter is a model in the making.
type fitter struct {
	m    *model.Model
	r    *Report
	seen []*observation
	cpus *regression // nil without CPU figures
}

// unmeasured keeps a prior and says so.
func (f *fitter) unmeasured(why string, fields ...string) {
	f.m.Unmeasured = append(f.m.Unmeasured, fields...)
	f.r.Notes = append(f.r.Notes, why)
}

// sameHost refuses runs of different machines: their CPU times do not mix.
func sameHost(seen []*observation) error {
	for _, o := range seen {
		if a, b := seen[0].env, o.env; a.CPUModel != b.CPUModel || a.Cores != b.Cores {
			return fmt.Errorf("runs of different machines: %s on %q with %d cores, %s on %q with %d; fit each kind on its own",
				seen[0].id, a.CPUModel, a.Cores, o.id, b.CPUModel, b.Cores)
		}
	}
	return nil
}

// quietMost is the use of the busiest resource beyond which a run does not
// show what an operation takes on a quiet node: on a machine that others kept
// busy all the time, a p99 of 460 ms was seen for what takes 2 ms.
const quietMost = 0.9

// service takes what reads and writes take on a quiet node from the runs with
// the least to do.
func (f *fitter) service() {
	quiet := slices.DeleteFunc(slices.Clone(f.seen), func(o *observation) bool { return o.use > quietMost })
	if len(quiet) == 0 && len(f.seen) > 0 {
		f.unmeasured(fmt.Sprintf("every run had something more than %.0f %% busy (its machine, for one): no run shows what an operation takes on a quiet node, and no percentile is predicted; run at a lower rate, or where nothing else runs",
			quietMost*100), "read_us", "write_us")
		return
	}
	slices.SortStableFunc(quiet, func(a, b *observation) int { return compare(a.use, b.use) })
	f.m.Read, f.m.Write = firstDist(quiet, reads), firstDist(quiet, writes)
	if f.m.Read.IsZero() != f.m.Write.IsZero() {
		// Percentiles of one without the other would be half an answer.
		if f.m.Read.IsZero() {
			f.m.Read = f.m.Write
			f.unmeasured("no run has reads: they are taken to last as long as writes", "read_us")
		} else {
			f.m.Write = f.m.Read
			f.unmeasured("no run has writes: they are taken to last as long as reads", "write_us")
		}
	}
	if f.m.Read.IsZero() {
		f.unmeasured(fmt.Sprintf("no run of records in memory has %d operations of one kind: no percentile is predicted (what devices take is added from profiles, --device)", distLeast), "read_us", "write_us")
	}
}

func firstDist(quiet []*observation, kind opKind) model.Dist {
	for _, o := range quiet {
		if d := o.dist[kind]; !d.IsZero() {
			return d
		}
	}
	return model.Dist{}
}

// scale fits the scalability law to the throughputs of runs that pushed their
// target as far as it went. Nodes that share one host do not show it: the
// host is what saturates.
func (f *fitter) scale() {
	best := map[int]float64{}
	for _, o := range f.seen {
		if o.saturated && !o.shared {
			best[o.nodes] = max(best[o.nodes], o.ops)
		}
	}
	var n, x []float64
	for nodes, ops := range best {
		n, x = append(n, float64(nodes)), append(x, ops)
	}
	law, err := model.FitUSL(n, x)
	if err != nil {
		f.unmeasured("throughput is taken to grow linearly with the nodes: the law wants closed-loop runs of three cluster sizes on machines of their own", "scale")
		return
	}
	f.m.Scale, f.m.ScaleNodes = model.USL{Gamma: 1, Alpha: law.Alpha, Beta: law.Beta}, int(slices.Max(n))
}

// ranges notes what the runs covered.
func (f *fitter) ranges() {
	m := &f.m.Measured
	for i, o := range f.seen {
		f.m.Runs = append(f.m.Runs, o.id)
		if i == 0 {
			*m = model.Range{NodesLeast: o.nodes, NodesMost: o.nodes, ValueLeast: o.value, ValueMost: o.value}
		}
		m.NodesLeast, m.NodesMost = min(m.NodesLeast, o.nodes), max(m.NodesMost, o.nodes)
		m.ValueLeast, m.ValueMost = min(m.ValueLeast, o.value), max(m.ValueMost, o.value)
		m.UtilisationMost = max(m.UtilisationMost, o.use)
	}
}

// blockBytes is the size of the engine's large writes.
const blockBytes = 128 << 10

// devices adds the profiles as stations.
func (f *fitter) devices(refs []string) error {
	for _, ref := range refs {
		p, err := profile.Load(ref)
		if err != nil {
			return err
		}
		read, err := profileDist(p, profile.Read, 4096)
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		write, err := profileDist(p, profile.Write, blockBytes)
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		d := model.Device{Channels: p.Channels, Read: read, Write: write,
			ReadIOPS: p.MaxRate(profile.Read, 4096), WriteIOPS: p.MaxRate(profile.Write, 4096),
			ReadBytes: p.MaxRate(profile.Read, blockBytes) * blockBytes, WriteBytes: p.MaxRate(profile.Write, blockBytes) * blockBytes}
		if f.m.Devices == nil {
			f.m.Devices = map[string]model.Device{}
		}
		f.m.Devices[p.Name] = d
	}
	return nil
}

// profileDist tabulates a profile's service time in microseconds.
func profileDist(p *profile.Profile, op profile.Op, size int64) (model.Dist, error) {
	var q, v []float64
	for _, at := range grid {
		us := float64(p.Quantile(op, size, at)) / 1e3
		if us <= 0 {
			return model.Dist{}, fmt.Errorf("%v of %d bytes takes no time", op, size)
		}
		q, v = append(q, at), append(v, us)
	}
	return model.NewDist(q, v)
}

// grid holds the quantiles of every table.
var grid = []float64{0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999, 1}

// median returns the middle of a list, NaN of an empty one. The list is
// sorted.
func median(list []float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	slices.Sort(list)
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// faulty is how long before and after a fault a run says nothing of its
// steady part: see result.Fault.GapMS.
const faulty = 1.0

// calm returns the part of the measured phase, in seconds, in which nothing
// happened: the steady part if there is one, else what precedes the first
// fault.
func calm(s *result.Summary) (from, to float64) {
	if s.Steady.Reached {
		return s.Steady.FromSec, s.Steady.ToSec
	}
	to = s.DurationSec
	for _, f := range s.Faults {
		to = min(to, f.AtSec-faulty)
	}
	return 0, max(to, 0)
}
