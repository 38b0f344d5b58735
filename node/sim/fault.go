package sim

import (
	"math/rand/v2"
	"time"

	"headroom/node/cluster"
)

// Plan is a random fault schedule. Each field is the weight of that fault.
type Plan struct {
	Crash, Pause, OneWay, Split, Isolate, Flap, Leave int
	Every                                             time.Duration // mean time between faults
}

// DefaultPlan has every fault.
var DefaultPlan = Plan{Crash: 4, Pause: 4, OneWay: 3, Split: 2, Isolate: 2, Flap: 1, Leave: 1, Every: 700 * time.Millisecond}

// RandomNet draws how bad the network is: half of the seeds a healthy one.
func RandomNet(r *rand.Rand) NetConfig {
	c := NetConfig{Refuse: r.IntN(2) == 0}
	if r.IntN(2) == 0 {
		c.Loss = r.Float64() * 0.2
		c.Duplicate = r.Float64() * 0.2
		c.Spike = r.Float64() * 0.1
		c.SpikeMax = time.Duration(1+r.IntN(60)) * time.Millisecond
		c.Jitter = time.Duration(r.IntN(5_000)) * time.Microsecond
	}
	if r.IntN(2) == 0 {
		c.Batch = 0.5
	}
	if r.IntN(3) == 0 {
		c.SlowFrame = r.Float64() * 0.6
	}
	if r.IntN(8) == 0 { // between continents
		c.Latency = time.Duration(r.IntN(30)) * time.Millisecond
	}
	return c
}

// Schedule lets faults of the plan happen for d. Each fault undoes itself
// within some seconds or is undone by Recover.
func (w *World) Schedule(p Plan, d time.Duration) {
	for t := time.Duration(0); ; {
		t += time.Duration(w.rand.Int64N(int64(2*p.Every))) + time.Millisecond
		if t >= d {
			return
		}
		w.After(t, func() { w.fault(p) })
	}
}

// fault does one random fault.
func (w *World) fault(p Plan) {
	n := w.Nodes[w.rand.IntN(len(w.Nodes))]
	// Times are spread over four decades: shorter than a pulse gap as well
	// as longer than every timeout.
	last := time.Duration(float64(5*time.Millisecond) * pow10(w.rand.Float64()*3))
	kinds := []struct {
		weight int
		do     func()
	}{
		{p.Crash, func() { n.Crash(w.rand.IntN(3) == 0); w.After(last, n.Start) }},
		{p.Pause, func() { n.Pause(); w.After(last, n.Resume) }},
		{p.OneWay, func() { m := w.other(n); w.cutFor(last, []*Node{n}, []*Node{m}, w.rand.IntN(2) == 0) }},
		{p.Split, func() { a, b := w.halves(); w.cutFor(last, a, b, true) }},
		{p.Isolate, func() { w.cutFor(last, []*Node{n}, w.allBut(n), true) }},
		{p.Flap, func() { w.flap(n, w.other(n), 1+w.rand.IntN(8)) }},
		{p.Leave, func() { n.Leave(last / 4); w.After(last+time.Second, n.Start) }},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	pick := w.rand.IntN(total)
	for _, k := range kinds {
		if pick -= k.weight; pick < 0 {
			k.do()
			return
		}
	}
}

func pow10(x float64) float64 {
	r := 1.0
	for ; x >= 1; x-- {
		r *= 10
	}
	return r * (1 + 9*x*x) // close enough to 10^x, and exact on every machine
}

func (w *World) other(n *Node) *Node {
	o := w.allBut(n)
	return o[w.rand.IntN(len(o))]
}

func (w *World) allBut(n *Node) []*Node {
	var o []*Node
	for _, m := range w.Nodes {
		if m != n {
			o = append(o, m)
		}
	}
	return o
}

func (w *World) halves() (a, b []*Node) {
	for _, n := range w.Nodes {
		if w.rand.IntN(2) == 0 {
			a = append(a, n)
		} else {
			b = append(b, n)
		}
	}
	return a, b
}

// cutFor cuts every link from a to b, and back if both, for d. "Swizzle": the
// links heal one by one, in a random order.
func (w *World) cutFor(d time.Duration, a, b []*Node, both bool) {
	for _, x := range a {
		for _, y := range b {
			w.cutOne(x.ID, y.ID, d)
			if both {
				w.cutOne(y.ID, x.ID, d)
			}
		}
	}
}

func (w *World) cutOne(from, to cluster.NodeID, d time.Duration) {
	if w.calm {
		return
	}
	w.record("cut", uint64(from), uint64(to))
	w.logf("cut node%d -> node%d", from, to)
	w.Net.Cut(from, to)
	w.After(d+time.Duration(w.rand.Int64N(int64(d/4)+1)), func() {
		w.record("heal", uint64(from), uint64(to))
		w.Net.Heal(from, to)
	})
}

// flap cuts and heals a link several times, at rates about the timeouts.
func (w *World) flap(a, b *Node, times int) {
	if times == 0 || w.calm {
		return
	}
	d := time.Duration(20+w.rand.IntN(800)) * time.Millisecond
	w.cutFor(d, []*Node{a}, []*Node{b}, true)
	w.After(2*d, func() { w.flap(a, b, times-1) })
}

// Recover ends all faults: links heal, paused nodes resume, crashed ones
// start.
func (w *World) Recover() {
	w.record("recover")
	w.logf("all faults end")
	w.calm = true
	w.Net.HealAll()
	w.Net.Quiet()
	for _, n := range w.Nodes {
		n.Resume()
		if n.leaving {
			n.Crash(false)
		}
		n.Start()
	}
}
