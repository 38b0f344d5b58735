package fit

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"headroom/planner/model"
)

// The CPU use of all nodes together is taken to be linear in what they do.
// Two terms are not of the model file but would be mistaken for the cost of
// operations: what a node does when nothing is asked of it, and what it costs
// to be woken by a request, which a busy node is not. At 3,000 operations/s
// on a nearly idle node the latter was 50 times the operation itself.
const (
	readTerm = iota
	writeTerm
	replicaTerm
	kibTerm
	idleTerm
	wakeTerm
	terms
)

// The priors of the two, in microseconds: per second of a node, and per
// request to a node that was idle.
var (
	idlePrior = model.Triple{P10: 1e3, P50: 8e3, P90: 40e3}
	wakePrior = model.Triple{P10: 5, P50: 40, P90: 200}
)

const (
	// relativeNoise is the error of one run's CPU use, before the runs
	// themselves say how large it is: the clock tick of /proc and a noisy host.
	relativeNoise = 0.08
	// noiseLeast bounds what the runs may say: a perfect fit of few runs is
	// chance.
	noiseLeast = 0.02
	// informed is how much narrower than its prior a figure must have become
	// to count as measured.
	informed = 0.7
	z90      = 1.2815515655446004
	// shareLeast keeps a lower end above zero.
	shareLeast = 0.1
)

// regression is a linear model with normal priors, solved in closed form
// (Bishop, Pattern Recognition and Machine Learning, §3.3).
type regression struct {
	mean [terms]float64
	sd   [terms]float64
}

// features returns what a run asked of its nodes, per second.
func (o *observation) features() [terms]float64 {
	extra := float64(o.copies - 1)
	idle := 1 - min(o.cores/(float64(o.nodes)*o.each), 1)
	return [terms]float64{
		readTerm:    o.readRate,
		writeTerm:   o.writeRate,
		replicaTerm: o.writeRate * extra,
		kibTerm:     (o.readRate + o.writeRate*float64(o.copies)) * o.value / 1024,
		idleTerm:    float64(o.nodes),
		wakeTerm:    (o.ops + o.writeRate*extra) * idle,
	}
}

func (g *regression) predict(x [terms]float64) float64 {
	sum := 0.0
	for i, v := range x {
		sum += v * g.mean[i]
	}
	return sum
}

// priors of all terms, in microseconds.
func cpuPriors() [terms]model.Triple {
	p := model.Priors()
	return [terms]model.Triple{p.ReadCPU, p.WriteCPU, p.ReplicaCPU, p.PerKiBCPU, idlePrior, wakePrior}
}

// regress solves for the runs given, whose CPU use is known.
func regress(seen []*observation, noise float64) (*regression, error) {
	a, b := mat.NewSymDense(terms, nil), mat.NewVecDense(terms, nil)
	for i, p := range cpuPriors() {
		sd := (p.P90 - p.P10) / (2 * z90)
		a.SetSym(i, i, 1/(sd*sd))
		b.SetVec(i, p.P50/(sd*sd))
	}
	for _, o := range seen {
		x, y := o.features(), o.cores*1e6
		w := 1 / (noise * y * noise * y)
		for i := range terms {
			b.SetVec(i, b.AtVec(i)+w*x[i]*y)
			for j := i; j < terms; j++ {
				a.SetSym(i, j, a.At(i, j)+w*x[i]*x[j])
			}
		}
	}
	var c mat.Cholesky
	if !c.Factorize(a) {
		return nil, fmt.Errorf("the runs' CPU figures have no solution")
	}
	var mean mat.VecDense
	var cov mat.SymDense
	if err := c.SolveVecTo(&mean, b); err != nil {
		return nil, err
	}
	if err := c.InverseTo(&cov); err != nil {
		return nil, err
	}
	g := &regression{}
	for i := range terms {
		g.mean[i], g.sd[i] = mean.AtVec(i), math.Sqrt(cov.At(i, i))
	}
	return g, nil
}

// solve regresses, and lifts what came out below zero to a tenth of its
// prior: work costs something.
func solve(seen []*observation, noise float64) (*regression, error) {
	g, err := regress(seen, noise)
	if err != nil {
		return nil, err
	}
	for i, p := range cpuPriors() {
		g.mean[i] = max(g.mean[i], shareLeast*p.P10)
	}
	return g, nil
}

// cpu fits what operations cost.
func (f *fitter) cpu() {
	names := [terms]string{"read_cpu_us", "write_cpu_us", "replica_cpu_us", "per_kib_cpu_us"}
	var known []*observation
	for _, o := range f.seen {
		if o.cores > 0 {
			known = append(known, o)
		}
	}
	if len(known) == 0 {
		f.unmeasured("no run knows the CPU use of its nodes (they were on other machines): CPU times rest on the prior", names[:kibTerm+1]...)
		return
	}
	g, err := solve(known, relativeNoise)
	if err == nil {
		g, err = solve(known, max(noiseOf(g, known), noiseLeast))
	}
	if err != nil {
		f.unmeasured(err.Error(), names[:kibTerm+1]...)
		return
	}
	f.cpus = g
	into := [terms]*model.Triple{&f.m.ReadCPU, &f.m.WriteCPU, &f.m.ReplicaCPU, &f.m.PerKiBCPU}
	var kept []string
	priors := cpuPriors()
	for i, p := range priors[:kibTerm+1] {
		spread := z90 * g.sd[i]
		*into[i] = model.Triple{P10: max(g.mean[i]-spread, shareLeast*g.mean[i]), P50: g.mean[i], P90: g.mean[i] + spread}
		if 2*spread > informed*(p.P90-p.P10) {
			kept = append(kept, names[i])
			*into[i] = p
		}
	}
	if len(kept) > 0 {
		f.unmeasured("these runs say little about "+list(kept)+": vary the mix, the value size and the rate between runs", kept...)
	}
}

func list(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	out := words[0]
	for i, w := range words[1:] {
		if i == len(words)-2 {
			out += " and " + w
		} else {
			out += ", " + w
		}
	}
	return out
}

// noiseOf is the relative error of the runs about the fit, allowing for the
// degrees of freedom that the fit used.
func noiseOf(g *regression, known []*observation) float64 {
	sum := 0.0
	for _, o := range known {
		e := g.predict(o.features())/(o.cores*1e6) - 1
		sum += e * e
	}
	free := max(float64(len(known)-terms), 1)
	if len(known) <= terms {
		return relativeNoise
	}
	return math.Sqrt(sum / free)
}

// leaveOut predicts the runs of every node count by a fit without them, and
// returns the relative errors by run; nil with a single node count.
func leaveOut(known []*observation) map[string]float64 {
	var counts []int
	for _, o := range known {
		if !slices.Contains(counts, o.nodes) {
			counts = append(counts, o.nodes)
		}
	}
	if len(counts) < 2 {
		return nil
	}
	errs := map[string]float64{}
	for _, n := range counts {
		var rest []*observation
		for _, o := range known {
			if o.nodes != n {
				rest = append(rest, o)
			}
		}
		g, err := solve(rest, relativeNoise)
		if err != nil {
			continue
		}
		for _, o := range known {
			if o.nodes == n {
				errs[o.id] = g.predict(o.features())/(o.cores*1e6) - 1
			}
		}
	}
	return errs
}
