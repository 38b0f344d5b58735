package plan

import (
	"math"
	"math/rand/v2"

	"headroom/planner/catalog"
	"headroom/planner/model"
)

// The uncertain figures of catalog rows: one deviate moves all types alike.
var catalogUncertain = []string{"catalog.device_iops", "catalog.network_baseline", "model.transfer"}

// inputs are requirements and a model with their uncertain numbers in one
// list: what a draw gives a value.
type inputs struct {
	req   *Requirements
	model *model.Model
	vars  []model.Named // the catalog's last, without a Value
	slot  map[*model.Triple]int
}

func newInputs(r *Requirements, m *model.Model) *inputs {
	in := &inputs{req: r, model: m, slot: map[*model.Triple]int{}}
	for _, v := range append(r.Uncertain(), m.Uncertain()...) {
		if v.Value == &m.Transfer {
			continue
		}
		in.slot[v.Value] = len(in.vars)
		in.vars = append(in.vars, v)
	}
	for _, name := range catalogUncertain {
		in.vars = append(in.vars, model.Named{Name: name})
	}
	return in
}

// point is one choice of all uncertain numbers: a deviate for each.
type point []float64

// median is the point at which everything is at its p50.
func (in *inputs) median() point { return make(point, len(in.vars)) }

// pick returns the values at a point.
func (in *inputs) pick(z point) pick {
	return func(t *model.Triple) float64 {
		if !t.Uncertain() {
			return t.P50
		}
		if i, ok := in.slot[t]; ok {
			return t.At(z[i])
		}
		return t.P50
	}
}

func (in *inputs) demand(z point) demand { return in.req.resolve(in.pick(z), in.req.Horizon) }

func (in *inputs) machine(t *catalog.Type, z point) machine {
	n := len(z)
	return resolveMachine(t, in.model, in.pick(z), deviates{iops: z[n-3], network: z[n-2], transfer: z[n-1]})
}

// draws are the points of the Monte-Carlo and their demands. A Latin
// hypercube: each variable is drawn once from each of as many equal slices,
// so that 2,000 draws find a probability as well as many more independent
// ones.
type draws struct {
	points  []point
	demands []demand
}

func (in *inputs) draw() *draws {
	n := in.req.Draws
	rng := rand.New(rand.NewPCG(in.req.Seed, 0x9a11))
	d := &draws{points: make([]point, n), demands: make([]demand, n)}
	for i := range d.points {
		d.points[i] = in.median()
	}
	for v := range in.vars {
		for i, slice := range rng.Perm(n) {
			u := (float64(slice) + rng.Float64()) / float64(n)
			d.points[i][v] = math.Sqrt2 * math.Erfinv(2*u-1)
		}
	}
	for i, z := range d.points {
		d.demands[i] = in.demand(z)
	}
	return d
}

// machines resolves a type for every draw.
func (in *inputs) machines(t *catalog.Type, d *draws) []machine {
	list := make([]machine, len(d.points))
	for i, z := range d.points {
		list[i] = in.machine(t, z)
	}
	return list
}

// fewDraws are tried before all are. Where their share is far off the target,
// three standard deviations at 0.9, the rest changes nothing.
const (
	fewDraws = 200
	farOff   = 0.06
)

// probability is the share of draws in which the shape is feasible, and in how
// many draws each resource of each state was over its limit. It stops early
// where the share is far below target.
func probability(s *Shape, losses float64, d *draws, k []machine, target float64) (p float64, over [numStates][numResources]int) {
	good := 0
	var l loads
	for i := range d.demands {
		judge(s, losses, &d.demands[i], &k[i], &l)
		if l.feasible() {
			good++
		}
		for st := range l.use {
			for r, v := range l.use[st] {
				if v > 1+tolerance {
					over[st][r]++
				}
			}
		}
		if i+1 == fewDraws && float64(good)/fewDraws < target-farOff {
			return float64(good) / fewDraws, over
		}
	}
	return float64(good) / float64(len(d.demands)), over
}
