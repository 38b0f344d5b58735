package plan

import (
	"math"
	"math/rand/v2"

	"headroom/planner/catalog"
	"headroom/planner/model"
)

// latencies are simulated response times per state, in seconds.
type latencies struct {
	read, write [numStates]model.Percentiles
	samples     int
}

// Arrivals simulated per state: while searching 100 of them are beyond p99,
// which is then known to about 10 %; closeCall is that of a target, and then
// as many are simulated as for the answer: 200 beyond p99.9.
const (
	searchSamples = 10_000
	answerSamples = 200_000
	closeCall     = 0.15
)

// judgeLatency is latency for the search: quick where the target is far.
func (m *maker) judgeLatency(s *Shape, t *catalog.Type, k *machine, l *loads) *latencies {
	out := m.latency(s, t, &m.base, k, l, searchSamples)
	if out == nil {
		return nil
	}
	worst := 0.0
	for i := range l.use {
		worst = max(worst, l.use[i][ReadLatency], l.use[i][WriteLatency])
	}
	if math.Abs(worst-1) < closeCall {
		out = m.latency(s, t, &m.base, k, l, answerSamples)
	}
	return out
}

// deviceBlock is the size of the engine's large writes and of the reads of
// defragmentation.
const deviceBlock = 128 << 10

// latency simulates every state of a shape and adds the p99 against their
// targets to the loads; nil if the model predicts no percentile. A state
// whose stations are overloaded has infinite times.
func (m *maker) latency(s *Shape, t *catalog.Type, d *demand, k *machine, l *loads, samples int) *latencies {
	if !m.in.model.Latency() {
		return nil
	}
	out := &latencies{samples: samples}
	for i := range s.States {
		if !s.States[i].Used {
			continue
		}
		out.read[i], out.write[i] = m.simulate(s, i, t, d, k, l, samples)
		read, write := d.targets.Targets.ReadP99, d.targets.Targets.WriteP99
		if i != Healthy {
			read, write = pickTarget(d.targets.Targets.DegradedReadP99, read), pickTarget(d.targets.Targets.DegradedWriteP99, write)
		}
		if d.reads > 0 {
			l.use[i][ReadLatency] = against(out.read[i].P99, read)
		}
		if d.writes > 0 {
			l.use[i][WriteLatency] = against(out.write[i].P99, write)
		}
	}
	return out
}

func pickTarget(own, healthy float64) float64 {
	if own > 0 {
		return own
	}
	return healthy
}

func against(v, target float64) float64 {
	if target <= 0 {
		return 0
	}
	return v / target
}

// cpuShape is how the CPU times of a node's operations lie around their mean:
// as the measured service times do.
func (m *maker) cpuShape() model.Dist {
	m.shapeOnce.Do(func() {
		mo, reads := m.in.model, 0.0
		if all := m.base.reads + m.base.writes; all > 0 {
			reads = m.base.reads / all
		}
		m.shape = mixture(mo.Read.Shape(), mo.Write.Shape(), reads).Shape()
	})
	return m.shape
}

// simulate runs the stations of the busiest node in one state: its CPUs, then
// its devices. What an operation takes on a quiet node is drawn from the
// measured distribution, and the waits are added to it; a write waits at its
// master and at the slowest of its replicas.
func (m *maker) simulate(s *Shape, state int, t *catalog.Type, d *demand, k *machine, l *loads, samples int) (read, write model.Percentiles) {
	mo, sp := m.in.model, &s.States[state]
	rng := rand.New(rand.NewPCG(m.in.req.Seed, uint64(state)))
	cpuUse := l.use[state][CPU] * d.limits.cpu
	ops := sp.Masters*(d.reads+d.writes) + max(sp.Writes-sp.Masters, 0)*d.writes
	never := model.Percentiles{Mean: math.Inf(1), P50: math.Inf(1), P99: math.Inf(1), P999: math.Inf(1)}
	waits := func() ([]float64, bool) {
		if ops <= 0 || cpuUse <= 0 {
			return make([]float64, samples), true
		}
		mean := cpuUse * k.vcpu / ops // seconds of CPU per operation
		st := model.Station{Servers: int(max(k.vcpu, 1)), Service: m.cpuShape(), Mean: mean, Rate: ops}
		w, err := st.Waits(samples, rng)
		return w, err == nil
	}
	times, ok := waits()
	if !ok {
		return never, never
	}
	reads, writes := mo.Read.Draw(samples, rng), mo.Write.Draw(samples, rng)
	slowest := make([]float64, samples)
	for c := 0; c < min(s.Copies, sp.Alive)-1; c++ {
		other, ok := waits()
		if !ok {
			return never, never
		}
		for i, w := range other {
			slowest[i] = max(slowest[i], w)
		}
	}
	disk, ok := m.deviceTimes(sp, t, d, k, l, samples, rng)
	if !ok {
		return never, never
	}
	for i := range reads {
		reads[i] = reads[i]*1e-6 + times[i]
		writes[i] = writes[i]*1e-6 + times[i] + slowest[i]
	}
	for i := range disk {
		reads[i] += disk[i]
		if d.syncWrites > 0 {
			writes[i] += disk[len(disk)-1-i]
		}
	}
	return model.Summarise(reads), model.Summarise(writes)
}

// deviceTimes simulates the devices of a node as one station: small reads
// among large blocks. It returns nothing where no record is on flash.
func (m *maker) deviceTimes(sp *Spread, t *catalog.Type, d *demand, k *machine, l *loads, samples int, rng *rand.Rand) ([]float64, bool) {
	dev, found := m.in.model.Devices["nvme"]
	if len(m.in.model.Devices) == 1 {
		for _, only := range m.in.model.Devices {
			dev, found = only, true
		}
	}
	if d.flash == 0 || !found {
		return nil, true
	}
	written := sp.Writes * d.flashBytes * model.WriteAmplification(l.mark)
	small := sp.Masters*d.flashReads + sp.Writes*d.syncWrites
	blocks := 2 * written / deviceBlock // each written and, sooner or later, read
	if small+blocks <= 0 {
		return nil, true
	}
	channels := max(math.Round(float64(dev.Channels)*t.ReadIOPS/dev.ReadIOPS), 1)
	st := model.Station{Servers: int(min(channels, 1<<16)), Service: m.deviceService(&dev, small/(small+blocks)), Rate: (small + blocks) * 1e-6}
	waits, err := st.Waits(samples, rng)
	if err != nil {
		return nil, false
	}
	for i, own := range dev.Read.Draw(samples, rng) {
		waits[i] = (waits[i] + own) * 1e-6
	}
	return waits, true
}

// deviceService is the mixture of a device's reads and writes; it is cut once
// for all states of all candidates.
func (m *maker) deviceService(dev *model.Device, reads float64) model.Dist {
	if reads >= 1 || reads <= 0 {
		return mixture(dev.Read, dev.Write, reads)
	}
	m.cutOnce.Do(func() { m.readCuts, m.writeCuts = cut(dev.Read), cut(dev.Write) })
	return mix(m.readCuts, m.writeCuts, reads)
}

// mixture is the distribution that draws from a with that share, else from b:
// both cut into equal slices of probability and merged.
func mixture(a, b model.Dist, share float64) model.Dist {
	if share >= 1 {
		return a
	}
	if share <= 0 {
		return b
	}
	return mix(cut(a), cut(b), share)
}

// equalCuts are a distribution cut into as many of equal probability, ascending,
// with an infinite one at the end.
type equalCuts [cuts + 1]float64

const cuts = 2000

func cut(d model.Dist) *equalCuts {
	var s equalCuts
	for i := range cuts {
		s[i] = d.Quantile((float64(i) + 0.5) / cuts)
	}
	s[cuts] = math.Inf(1)
	return &s
}

// mix is mixture of what was cut before.
func mix(a, b *equalCuts, share float64) model.Dist {
	q, v := make([]float64, 0, 2*cuts), make([]float64, 0, 2*cuts)
	sum := 0.0
	for i, j := 0, 0; i < cuts || j < cuts; {
		weight, t := share/cuts, a[i]
		if a[i] <= b[j] {
			i++
		} else {
			weight, t = (1-share)/cuts, b[j]
			j++
		}
		q, v = append(q, sum+weight/2), append(v, t)
		sum += weight
	}
	d, err := model.NewDist(q, v)
	if err != nil {
		panic("plan: merged quantiles are not ascending: " + err.Error())
	}
	return d
}
