package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"text/tabwriter"

	"headroom/node/disk/profile"
	"headroom/planner/model"
	"headroom/planner/plan"
)

// The gates, relative errors.
const (
	gateThroughput = 0.10
	gateMean       = 0.15
	gateP99        = 0.25
	gateRebuild    = 0.20
	gateBytes      = 0.01
	// slo is the p99 of reads at which throughput is compared: twice that of
	// the idle device.
	slo = 0.216
)

// predictor is what the runs of other node counts teach.
type predictor struct {
	profile *profile.Profile
	service model.Dist
	shapes  *plan.Shapes
	extra   float64 // seconds of a read beside the device: network and CPU
	view    float64 // seconds from a loss to the View without the node
	pace    float64 // bytes per second that a survivor sends then
}

// learn fits the two figures that the profile does not give.
func learn(p *profile.Profile, shapes *plan.Shapes, others []*cluster) (*predictor, error) {
	var q, v []float64
	for i := range 400 {
		at := (float64(i) + 0.5) / 400
		q, v = append(q, at), append(v, p.Quantile(profile.Read, 4096, at).Seconds())
	}
	service, err := model.NewDist(q, v)
	if err != nil {
		return nil, err
	}
	f := &predictor{profile: p, service: service, shapes: shapes}
	var extras []float64
	m := 0.0
	for _, c := range others {
		for _, l := range c.levels {
			if l.rate <= 0.55*capacity(p, c.nodes) {
				mean, _ := f.reads(c.nodes, l.rate)
				extras = append(extras, l.mean-mean)
			}
		}
		if k := c.rebuild(); !math.IsNaN(k.rebuilt) {
			f.view, f.pace, m = f.view+k.view, f.pace+f.sent(c)/(k.rebuilt-k.view), m+1
		}
	}
	f.view, f.pace = f.view/m, f.pace/m
	// The median: one run on a busy machine must not spoil the others.
	if slices.Sort(extras); len(extras) > 0 {
		f.extra = (extras[(len(extras)-1)/2] + extras[len(extras)/2]) / 2
	}
	return f, nil
}

func (f *predictor) shape(n int) *plan.Shape { return f.shapes.Of(layout(n)) }

// reads simulates the device of the busiest node: mean and p99 of a read. What
// the engine still has in memory does not get there.
func (f *predictor) reads(n int, rate float64) (mean, p99 float64) {
	const samples = 100_000
	rng := rand.New(rand.NewPCG(1, 2))
	miss := 1 - model.CachedBytes(deviceSize, writeBlock)/f.bytes(n)
	st := model.Station{Servers: f.profile.Channels, Service: f.service, Rate: miss * rate * readShare * f.shape(n).States[plan.Healthy].Masters}
	times, err := st.Waits(int(miss*samples), rng)
	if err != nil {
		return math.Inf(1), math.Inf(1)
	}
	for i, own := range f.service.Draw(len(times), rng) {
		times[i] += own
	}
	times = append(times, make([]float64, samples-len(times))...)
	for i := range times {
		times[i] += f.extra
	}
	s := model.Summarise(times)
	return s.Mean, s.P99
}

// most is the greatest rate with that p99.
func (f *predictor) most(n int) float64 {
	low, high := 0.0, 2*capacity(f.profile, n)
	for range 20 {
		mid := (low + high) / 2
		if _, p99 := f.reads(n, mid); p99 <= slo {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// held is the measured rate at which p99 crosses the target, between levels;
// NaN if it does not.
func held(c *cluster) float64 {
	for i, l := range c.levels {
		if l.p99 <= slo {
			continue
		}
		if i == 0 {
			return math.NaN()
		}
		was := c.levels[i-1]
		return was.rate + (l.rate-was.rate)*math.Log(slo/was.p99)/math.Log(l.p99/was.p99)
	}
	return math.NaN()
}

// recordBytes is what one record takes on a device.
func recordBytes() float64 {
	body, err := model.Record{Value: valueBytes, Bins: 1, BinName: 1}.BodyBytes()
	if err != nil {
		panic("benchplanner: its own record is none: " + err.Error())
	}
	return float64(model.FlashBytes(body))
}

// bytes of the device of the fullest node.
func (f *predictor) bytes(n int) float64 {
	return model.Fullest(records, f.shape(n).States[plan.Healthy].Stored, n) * recordBytes()
}

// sent is how many bytes the survivor that sends most sends after the kill. It
// reads them record by record beside what requests read, where those who
// receive write them in large blocks: the rebuild ends when it has sent all.
func (f *predictor) sent(c *cluster) float64 {
	return sends(c.nodes) * float64(c.kept) * recordBytes()
}

// table prints predictions and counts what misses its gate and what is void.
type table struct {
	w            *tabwriter.Writer
	missed, void int
}

func (t *table) row(what string, predicted, measured, gate, host float64, late bool) {
	e := predicted/measured - 1
	word := "ok"
	switch {
	case host > busy || late:
		word = fmt.Sprintf("void: the machine was %.0f %% busy", host*100)
		if late {
			word += ", devices off their schedule"
		}
		t.void++
	case math.IsNaN(host):
		word = "void: the run was cut short"
		t.void++
	case math.IsNaN(measured):
		word = "MISSED: not seen within the run"
		t.missed++
	case math.IsNaN(e) || math.Abs(e) > gate:
		word = "MISSED"
		t.missed++
	}
	use := ""
	if host > 0 {
		use = fmt.Sprintf("%.0f %%", host*100)
	}
	fmt.Fprintf(t.w, "%s\t%.4g\t%.4g\t%+.1f %%\t%.0f %%\t%s\t%s\n", what, predicted, measured, e*100, gate*100, use, word)
}

// report predicts each cluster from the others.
func report(out io.Writer, p *profile.Profile, seen []*cluster) error {
	shapes := plan.NewShapes()
	t := &table{w: tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(out, "\nemulated devices in real time (dilation x1); each number of nodes predicted from the runs of the others")
	fmt.Fprintln(t.w, "figure\tpredicted\tmeasured\terror\tgate\thost\t")
	for i, c := range seen {
		var others []*cluster
		others = append(append(others, seen[:i]...), seen[i+1:]...)
		f, err := learn(p, shapes, others)
		if err != nil {
			return err
		}
		t.cluster(f, c)
	}
	if err := t.w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d beyond their gates, %d void (more than %.0f %% of the machine's CPU in use)\n", t.missed, t.void, busy*100)
	if t.missed > 0 {
		return errMissed
	}
	return nil
}

func (t *table) cluster(f *predictor, c *cluster) {
	late, name := len(c.late) > 0, fmt.Sprintf("%d nodes: ", c.nodes)
	host := 0.0
	for i, l := range c.levels {
		host = max(host, l.host)
		if levels[i] > gated+1e-9 {
			continue
		}
		mean, p99 := f.reads(c.nodes, l.rate)
		at := fmt.Sprintf(" at %.0f %% load, ms", levels[i]*100)
		t.row(name+"mean read"+at, mean*1e3, l.mean*1e3, gateMean, l.host, late)
		t.row(name+"p99 of reads"+at, p99*1e3, l.p99*1e3, gateP99, l.host, late)
	}
	k := c.rebuild()
	t.row(name+"rebuild after a kill, s", f.view+f.sent(c)/f.pace, k.rebuilt, gateRebuild, k.host, false)
	if len(c.levels) == 0 {
		return
	}
	t.row(fmt.Sprintf("%sthroughput at p99 %.0f ms, /s", name, slo*1e3), f.most(c.nodes), held(c), gateThroughput, host, late)
	t.row(name+"bytes of the fullest device", f.bytes(c.nodes), c.bytes, gateBytes, 0, false)
}
