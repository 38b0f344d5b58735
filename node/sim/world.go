// Package sim runs whole clusters of cores in virtual time, on one thread,
// from a seed: the same seed gives the same run, bit by bit (Trace tells). It
// owns the world around the cores: time, the network, disks that survive a
// crash, faults, and the checks of the invariants. It does not own any rule
// of the protocol.
//
// The invariant to know: everything that happens is an event of the heap,
// and every random choice comes from the World's Rand, so nothing depends on
// the machine the simulation runs on.
//
// Start reading at World, then Node (node.go: how cores are wired), Network
// (network.go), Plan (fault.go), check.go; for the data plane at Data (data.go),
// then app.go and requests.go (a node's glue, as package server has it), client.go
// and link.go (as package client has them), history.go and converge.go (checks).
package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"headroom/node/cluster"
	"headroom/node/heartbeat"
	"headroom/node/wire"
)

// Config describes a World.
type Config struct {
	Nodes     int
	Seed      uint64
	Net       NetConfig
	Interval  time.Duration // heartbeat; zero: its default
	Seeds     int           // how many nodes every node has as seeds; zero: all
	Multicast bool          // nodes announce themselves to all that no cut keeps them from
	NoSeeds   bool
	// Unchecked leaves out the invariants that are checked after each event:
	// they cost the square of the number of nodes, where cost is measured.
	Unchecked bool
	Racks     []cluster.RackID // by id − 1; missing: a rack of its own
	// NewApp makes the part of a node above membership, anew at each start;
	// nil: none.
	NewApp func(n *Node) App
	// Log receives a line for each thing worth reading in a script; nil: none.
	Log func(line string)
}

// World is one simulated cluster. It is used by one goroutine.
type World struct {
	cfg   Config
	now   cluster.Instant
	rand  *rand.Rand
	queue eventHeap
	order uint64
	Nodes []*Node // by id − 1; behind them the twins
	addrs []string
	Net   *Network
	check checker
	trace uint64
	still int  // events at the present instant
	acted bool // a control plane carried out effects since the last checkAll
	calm  bool // Recover was called: faults under way do nothing more
	// OnEvent, if not nil, is told what heartbeat tells each node.
	OnEvent func(n *Node, e heartbeat.Event)
	// OnFrame, if not nil, is told the kind of each frame that a node has handled.
	OnFrame func(k wire.Kind)
	// Fired counts the faults that happened, by kind.
	Fired map[string]int
	// Events counts dispatched events.
	Events int
	// Err is the first violated invariant.
	Err error
}

// NewWorld returns a World whose nodes are all down; Start them.
func NewWorld(cfg Config) *World {
	w := &World{cfg: cfg, rand: rand.New(rand.NewPCG(cfg.Seed, 0x5eed)), check: newChecker(), trace: fnvOffset, Fired: map[string]int{}}
	w.Net = newNetwork(w, cfg.Net.withDefaults())
	for i := range cfg.Nodes {
		w.addrs = append(w.addrs, fmt.Sprintf("10.0.0.%d:3000", i+1))
		w.Nodes = append(w.Nodes, &Node{w: w, ID: cluster.NodeID(i + 1), host: i})
	}
	return w
}

// Now is virtual time since the start of the world.
func (w *World) Now() cluster.Instant { return w.now }

// Node returns the node with that id.
func (w *World) Node(id cluster.NodeID) *Node { return w.Nodes[id-1] }

// After schedules fn; events at the same instant run in the order they were
// scheduled.
func (w *World) After(d time.Duration, fn func()) { w.at(w.now.Add(max(d, 0)), fn) }

func (w *World) at(t cluster.Instant, fn func()) {
	w.order++
	w.queue.push(event{at: t, order: w.order, fn: fn})
}

// maxStill bounds the events at one instant: a burst is some hundreds.
const maxStill = 100_000

// Run lets d of virtual time pass, or stops at the first violation, which it
// returns.
func (w *World) Run(d time.Duration) error {
	end := w.now.Add(d)
	w.RunUntil(end, func() bool { return false })
	return w.Err
}

// RunUntil runs until done says so (true) or the instant end (false).
func (w *World) RunUntil(end cluster.Instant, done func() bool) bool {
	for w.Err == nil && len(w.queue) > 0 && w.queue[0].at <= end {
		e := w.queue.pop()
		if w.Events++; e.at > w.now {
			w.now, w.still = e.at, 0
		}
		if w.still++; w.still > maxStill {
			w.fail("time stands still: %d events at one instant; a Deadline stays in the past", maxStill)
		}
		e.fn()
		if w.acted && !w.cfg.Unchecked { // only control planes that act can break what it looks for
			w.acted = false
			w.checkAll()
		}
		if done() {
			return true
		}
	}
	if w.Err == nil {
		w.now = max(w.now, end)
	}
	return false
}

// Trace is a hash of everything that happened so far.
func (w *World) Trace() uint64 { return w.trace }

// record folds what happened into the trace.
func (w *World) record(what string, args ...uint64) {
	h := fnvWord(fnvWord(fnvOffset, w.trace), uint64(w.now))
	for i := range len(what) {
		h = (h ^ uint64(what[i])) * fnvPrime
	}
	for _, a := range args {
		h = fnvWord(h, a)
	}
	w.trace = h
}

// FNV-1a, of bytes.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func fnvWord(h, v uint64) uint64 {
	for range 8 {
		h = (h ^ v&0xff) * fnvPrime
		v >>= 8
	}
	return h
}

func (w *World) logf(format string, args ...any) {
	if w.cfg.Log != nil {
		w.cfg.Log(fmt.Sprintf("%7.1fms ", float64(w.now)/1e6) + fmt.Sprintf(format, args...))
	}
}
