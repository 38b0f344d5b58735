package sim

import (
	"math/rand/v2"
	"time"

	"headroom/node/cluster"
)

// Plan is a random fault schedule. Each field is the weight of that fault.
type Plan struct {
	Crash, Pause, OneWay, Split, Isolate, Flap, Leave int
	Bridge, Ring, Clog, Slow, Jump, Restart, Storm    int
	Swizzle                                           int
	Every                                             time.Duration // mean time between faults
}

// The kinds of faults, as World.Fired counts them.
const (
	FaultCrash   = "crash"
	FaultRestart = "restart within the timeout"
	FaultStorm   = "restart storm"
	FaultPause   = "pause"
	FaultSlow    = "slow node"
	FaultJump    = "clock jump"
	FaultLeave   = "leave"
	FaultOneWay  = "one-way cut"
	FaultBridge  = "bridge"
	FaultRing    = "majority ring"
	FaultSplit   = "split"
	FaultIsolate = "isolated node"
	FaultFlap    = "flapping link"
	FaultClog    = "clogged paths"
	FaultSwizzle = "swizzle-clog"
	// Of the weather, counted as long as it lasts.
	FaultLoss      = "lost pulses"
	FaultDuplicate = "pulses twice"
	FaultLate      = "late pulses and frames"
	FaultDrift     = "drifting clocks"
	// Of nodes with devices.
	FaultWiped    = "wiped disk"
	FaultStale    = "stale disk"
	FaultPowerCut = "power cut"
	FaultLateRead = "late read"
	FaultDevice   = "failed device"
	FaultDamage   = "damaged records"
	FaultWipedDir = "wiped data directory"
	FaultFull     = "stop writes"
	FaultGivenUp  = "a write given up for want of room"
)

// faultKinds are all of them.
var faultKinds = []string{FaultCrash, FaultRestart, FaultStorm, FaultPause, FaultSlow, FaultJump, FaultLeave, FaultOneWay, FaultBridge,
	FaultRing, FaultSplit, FaultIsolate, FaultFlap, FaultClog, FaultWiped, FaultStale, FaultPowerCut, FaultLateRead,
	FaultDevice, FaultDamage, FaultFull, FaultGivenUp, FaultWipedDir, FaultSwizzle, FaultLoss, FaultDuplicate, FaultLate, FaultDrift}

// maxDrift of a clock, in parts per million: twice what a bad quartz does.
const maxDrift = 200

// note counts a fault that is happening.
func (w *World) note(kind string) {
	w.Fired[kind]++
	w.record(kind)
}

// noteSplit counts a split if both sides have nodes.
func (w *World) noteSplit(a, b []*Node) {
	if len(a) > 0 && len(b) > 0 {
		w.note(FaultSplit)
	}
}

// fired is how many faults happened.
func (w *World) fired() (sum int) {
	for _, n := range w.Fired {
		sum += n
	}
	return sum
}

// DefaultPlan has every fault.
var DefaultPlan = Plan{Crash: 4, Pause: 4, OneWay: 3, Split: 2, Isolate: 2, Flap: 1, Leave: 1,
	Bridge: 1, Ring: 1, Clog: 2, Slow: 1, Jump: 1, Restart: 2, Storm: 1, Swizzle: 1, Every: 900 * time.Millisecond}

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
	up, running := n.Up, n.Up && !n.Paused
	kinds := []struct {
		weight int
		kind   string
		able   bool // it will have an effect
		do     func()
	}{
		{p.Crash, FaultCrash, up, func() { n.Crash(w.rand.IntN(3) == 0); w.After(last, n.Start) }},
		{p.Pause, FaultPause, running, func() { n.Pause(); w.After(last, n.Resume) }},
		{p.OneWay, FaultOneWay, true, func() { w.cutFor(last, []*Node{n}, []*Node{w.other(n)}, false) }},
		{p.Bridge, FaultBridge, true, func() { w.cutFor(last, []*Node{n}, []*Node{w.other(n)}, true) }},
		{p.Ring, FaultRing, len(w.Nodes) > 3, func() { w.ring(last) }}, // of three, all hear each other
		{p.Split, FaultSplit, false, func() { a, b := w.halves(); w.noteSplit(a, b); w.cutFor(last, a, b, true) }},
		{p.Isolate, FaultIsolate, true, func() { w.cutFor(last, []*Node{n}, w.allBut(n), true) }},
		{p.Flap, FaultFlap, true, func() { w.flap(n, w.other(n), 1+w.rand.IntN(8)) }},
		{p.Leave, FaultLeave, running, func() { n.Leave(last / 4); w.After(last+time.Second, n.Start) }},
		{p.Clog, FaultClog, true, func() { w.clog(last) }},
		{p.Slow, FaultSlow, up, func() { w.slow(n, time.Duration(1+w.rand.IntN(100))*time.Millisecond, last) }},
		{p.Jump, FaultJump, true, func() { w.jumpClock(n, w.rand.IntN(2) == 0) }},
		{p.Restart, FaultRestart, up, func() { n.Crash(false); w.After(last/50, n.Start) }},
		{p.Storm, FaultStorm, true, func() { w.storm(last / 10) }},
		{p.Swizzle, FaultSwizzle, true, func() { w.swizzle(last) }},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	pick := w.rand.IntN(total)
	for _, k := range kinds {
		if pick -= k.weight; pick < 0 {
			if k.able && k.kind != FaultSlow && k.kind != FaultJump { // these, and a split, note themselves
				w.note(k.kind)
			}
			k.do()
			return
		}
	}
}

// ring cuts links so that each node hears a majority, but no two the same one.
func (w *World) ring(d time.Duration) {
	n := len(w.Nodes)
	for i, a := range w.Nodes {
		for j, b := range w.Nodes {
			if apart := min((i-j+n)%n, (j-i+n)%n); apart > (n+1)/4 {
				w.cutFor(d, []*Node{a}, []*Node{b}, false)
			}
		}
	}
}

// clog holds back what a random set of paths carries, each from an instant of
// its own to another ("swizzle"), so that they clog and clear in any order.
func (w *World) clog(d time.Duration) {
	for range 1 + w.rand.IntN(2*len(w.Nodes)) {
		a := w.Nodes[w.rand.IntN(len(w.Nodes))]
		path := [2]cluster.NodeID{a.ID, w.other(a).ID}
		most := time.Duration(1+w.rand.IntN(400)) * time.Millisecond
		w.After(time.Duration(w.rand.Int64N(int64(d))), func() {
			if !w.calm {
				w.Net.clogged[path] = most
				w.After(time.Duration(w.rand.Int64N(int64(d)))+time.Millisecond, func() { delete(w.Net.clogged, path) })
			}
		})
	}
}

// swizzle clogs all paths of some nodes, node by node, and clears them again in
// another order: what has waited on one arrives before what was sent earlier on
// another.
func (w *World) swizzle(d time.Duration) {
	some := w.rand.Perm(len(w.Nodes))[:2+w.rand.IntN(len(w.Nodes)-1)]
	clear := w.rand.Perm(len(some))
	step := d / time.Duration(2*len(some))
	for i, at := range some {
		n, most := w.Nodes[at], time.Duration(50+w.rand.IntN(400))*time.Millisecond
		w.After(time.Duration(i)*step, func() { w.clogNode(n, most) })
		w.After(d/2+time.Duration(clear[i])*step, func() { w.clogNode(n, 0) })
	}
}

// clogNode holds back what goes to and from a node by up to most; zero: no more.
func (w *World) clogNode(n *Node, most time.Duration) {
	for _, o := range w.allBut(n) {
		for _, path := range [][2]cluster.NodeID{{n.ID, o.ID}, {o.ID, n.ID}} {
			if most == 0 || w.calm {
				delete(w.Net.clogged, path)
			} else {
				w.Net.clogged[path] = most
			}
		}
	}
}

// weather adds to what fired what the network and the clocks did all the time.
func (w *World) weather() {
	n := w.Net
	w.Fired[FaultLoss] += n.lost
	w.Fired[FaultDuplicate] += n.doubled
	w.Fired[FaultLate] += n.late
	for _, m := range w.Nodes {
		if m.Drift != 0 {
			w.Fired[FaultDrift]++
		}
	}
}

// slow makes a node handle what it receives up to by later.
func (w *World) slow(n *Node, by, d time.Duration) {
	if w.calm {
		return
	}
	w.note(FaultSlow)
	w.logf("node%d is slow", n.ID)
	n.slowBy = by
	w.After(d, func() { n.slowBy = 0 })
}

// jumpClock sets a host's wall clock to another time, far away or near, and,
// if back, right again some seconds later.
func (w *World) jumpClock(n *Node, back bool) {
	w.note(FaultJump)
	by := []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour}[w.rand.IntN(4)]
	if w.rand.IntN(2) == 0 {
		by = -by
	}
	w.logf("node%d: the wall clock jumps by %v", n.ID, by)
	n.Wall += by
	if back {
		w.After(time.Duration(w.rand.Int64N(int64(5*time.Second))), func() { n.Wall -= by })
	}
}

// storm restarts all nodes, each some time within d.
func (w *World) storm(d time.Duration) {
	for _, n := range w.Nodes {
		w.After(time.Duration(w.rand.Int64N(int64(d))), func() {
			if !w.calm {
				n.Crash(false)
				w.After(time.Duration(w.rand.Int64N(int64(d))), n.Start)
			}
		})
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
		n.slowBy = 0
		n.Resume()
		if n.leaving {
			n.Crash(false)
		}
		n.Start()
	}
}
