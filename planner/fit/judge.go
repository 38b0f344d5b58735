package fit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"headroom/planner/model"
)

// migration takes how fast dead nodes' data was copied, and for how long
// their partitions were not served.
func (f *fitter) migration() {
	var bytes, records, gaps []float64
	brief, held := 0, 0
	for _, o := range f.seen {
		brief, held = brief+o.brief, held+o.held
		body, err := model.Record{Value: int(math.Round(o.value))}.BodyBytes()
		if err != nil {
			continue
		}
		for _, m := range o.moves {
			bytes = append(bytes, m.bytes/m.seconds)
			records = append(records, m.bytes/m.seconds/float64(body+model.MigratedBytes))
		}
		gaps = append(gaps, o.gaps...)
	}
	switch {
	case len(bytes) > 0:
		f.m.MigrateBytes, f.m.MigrateRecords = tripleOf(bytes), tripleOf(records)
	case brief > 0:
		f.unmeasured(fmt.Sprintf("redundancy was back in less than %.0f s, before nodes migrate as fast as they can: the rebuild rests on the prior; kill a node that holds more", moveLeast),
			"migrate_bytes_per_s", "migrate_records_per_s")
	case held > 0:
		f.unmeasured("the nodes were given a migrate-rate, or slowed down devices, in every run with a kill: how fast they migrate at most rests on the prior",
			"migrate_bytes_per_s", "migrate_records_per_s")
	default:
		f.unmeasured("no run watched a kill until redundancy was back (--fault 'kill random @10s'): the rebuild rests on the prior",
			"migrate_bytes_per_s", "migrate_records_per_s")
	}
	if len(gaps) > 0 {
		f.m.Failover = tripleOf(gaps)
	} else {
		f.unmeasured("no run has a kill: the time without service after one rests on the prior", "failover_s")
	}
}

// fewSpread widens what fewer than three observations say: their own spread
// is not known.
const fewSpread = 0.3

// tripleOf is the 10th, 50th and 90th percentile of observations.
func tripleOf(list []float64) model.Triple {
	slices.Sort(list)
	mid := median(list)
	if len(list) < 3 {
		return model.Triple{P10: list[0] * (1 - fewSpread), P50: mid, P90: list[len(list)-1] * (1 + fewSpread)}
	}
	at := func(p float64) float64 { return list[int(math.Round(p*float64(len(list)-1)))] }
	return model.Triple{P10: min(at(0.1), mid), P50: mid, P90: max(at(0.9), mid)}
}

const (
	// farOff is how many times more or less CPU than by the fit says that a run
	// is of another kind, farShare how large a part of the runs may be so.
	farOff   = 2.0
	farShare = 0.25
)

// contradiction refuses a fit that many of its own runs contradict, and names
// those that do where they are few.
func (f *fitter) contradiction() error {
	var far []string
	known := 0
	for _, r := range f.r.Runs {
		if r.CPUError == nil {
			continue
		}
		known++
		if by := 1 + *r.CPUError; by > farOff || by < 1/farOff {
			far = append(far, fmt.Sprintf("%s used %.3g cores, by the fit %.3g", r.ID, *r.CPU, *r.CPUPredicted))
		}
	}
	switch {
	case known > 1 && float64(len(far)) > farShare*float64(known):
		return fmt.Errorf("the model is contradicted by its own runs, %d of %d are off by more than %g times: fit runs of one build and one configuration, made where nothing else ran\n  %s", len(far), known, farOff, joined(far))
	case len(far) > 0:
		f.r.Notes = append(f.r.Notes, fmt.Sprintf("off by more than %g times: %s", farOff, strings.Join(far, "; ")))
	}
	return nil
}

// judge sets the fit beside every run, and the errors into the model.
func (f *fitter) judge() {
	var known []*observation
	for _, o := range f.seen {
		if o.cores > 0 && f.cpus != nil {
			known = append(known, o)
		}
	}
	left := leaveOut(known)
	var cpuErrs, leftErrs, means, tails []float64
	for _, o := range f.seen {
		fit := RunFit{ID: o.id, Nodes: o.nodes, OpsPerSec: o.ops, Utilisation: o.use}
		if f.cpus != nil && o.cores > 0 {
			predicted := f.cpus.predict(o.features()) / 1e6
			fit.CPU, fit.CPUPredicted, fit.CPUError = &o.cores, &predicted, ptr(predicted/o.cores-1)
			cpuErrs = append(cpuErrs, math.Abs(*fit.CPUError))
		}
		if e, ok := left[o.id]; ok {
			fit.LeftOutError = &e
			leftErrs = append(leftErrs, math.Abs(e))
		}
		if e := f.latency(o, &fit); e != nil {
			means, tails = append(means, e[0]), append(tails, e[1])
		}
		f.r.Runs = append(f.r.Runs, fit)
	}
	f.r.R2 = r2(f.cpus, known)
	if len(leftErrs) > 0 {
		f.r.LeftOut = ptr(median(leftErrs))
		cpuErrs = leftErrs // what the fit has not seen says more
	}
	e := &f.m.Errors
	if len(cpuErrs) > 0 {
		e.Throughput = median(cpuErrs)
	}
	if len(means) > 0 {
		e.Mean, e.P99 = median(means), median(tails)
	}
}

func ptr(v float64) *float64 { return &v }

// r2 is the share of the variance of CPU use that the fit explains.
func r2(g *regression, known []*observation) *float64 {
	if g == nil || len(known) < 3 {
		return nil
	}
	var list []float64
	for _, o := range known {
		list = append(list, o.cores)
	}
	m, rest, all := mean(list), 0.0, 0.0
	for _, o := range known {
		d := o.cores - g.predict(o.features())/1e6
		rest += d * d
		all += (o.cores - m) * (o.cores - m)
	}
	if all == 0 {
		return nil
	}
	return ptr(1 - rest/all)
}

const (
	judgeSamples = 50_000
	// judgedUse is the highest utilisation at which percentiles are predicted:
	// beyond it a run is too short to be in its steady state.
	judgedUse = 0.8
)

// othersMost is the share of a machine that work of others may have taken for
// percentiles to say anything of the nodes.
const othersMost = 0.25

// latency predicts a run's reads: the quiet distribution, and the wait for a
// CPU where nodes, or nodes and generator, share them. It returns the
// relative errors of mean and p99; nil if the run says nothing or is the one
// that the distribution came from.
func (f *fitter) latency(o *observation, fit *RunFit) *[2]float64 {
	h := o.response[reads]
	if o.device || h == nil || h.TotalCount() < distLeast || f.m.Read.IsZero() || !(o.cores > 0) || o.use > judgedUse || o.ops <= 0 {
		return nil
	}
	servers, busy := int(max(o.each, 1)), o.cores/float64(o.nodes)
	rate := o.ops / float64(o.nodes)
	if o.shared {
		servers, busy, rate = max(o.env.Cores, 1), o.cores+o.generator, o.ops
		if o.host-busy/float64(servers) > othersMost {
			return nil
		}
	}
	st := model.Station{Servers: servers, Service: f.m.Read.Shape(), Mean: busy / rate * 1e6, Rate: rate * 1e-6}
	rng := rand.New(rand.NewPCG(1, 1))
	waits, err := st.Waits(judgeSamples, rng)
	if err != nil {
		return nil
	}
	for i, own := range f.m.Read.Draw(judgeSamples, rng) {
		waits[i] += own
	}
	p := model.Summarise(waits)
	gotMean, gotP99 := h.Mean()/1e3, us(h, 99)
	fit.Mean, fit.MeanModel, fit.P99, fit.P99Model = &gotMean, &p.Mean, &gotP99, &p.P99
	if f.isQuiet(o) {
		return nil // it is what the distribution was made of
	}
	return &[2]float64{min(math.Abs(p.Mean/gotMean-1), 1), min(math.Abs(p.P99/gotP99-1), 1)}
}

// isQuiet reports that the distribution of reads came from this run.
func (f *fitter) isQuiet(o *observation) bool {
	for _, other := range f.seen {
		if !other.dist[reads].IsZero() && other.use < o.use {
			return false
		}
	}
	return true
}

func us(h *hdr.Histogram, p float64) float64 { return float64(h.ValueAtQuantile(p)) / 1e3 }

// Summary is the quality of the fit in a sentence.
func (r *Report) Summary() string {
	text := fmt.Sprintf("%d runs", len(r.Runs))
	if len(r.Runs) == 1 {
		text = "1 run"
	}
	if r.R2 != nil {
		text += fmt.Sprintf(", %.1f %% of the variance of their CPU use explained", *r.R2*100)
	}
	if r.LeftOut != nil {
		text += fmt.Sprintf(", %.0f %% off on cluster sizes left out of the fit (median)", *r.LeftOut*100)
	}
	return text
}
