package sim

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"headroom/node/cluster"
	"headroom/node/heartbeat"
	"headroom/node/wire"
)

// Weather is how bad a network and its hosts are that must not make a healthy
// node be taken for dead.
type Weather struct {
	Loss   float64       // of pulses
	Jitter time.Duration // each pulse is late by up to this
	Pause  time.Duration // each node stands still for so long
	Every  time.Duration // once in each such span, at a random time
}

// Verdicts runs the heartbeat cores of a cluster that shares a View for d and
// returns how many nodes were given up, by whatever cause. It is lean, because
// thousands of hours are needed: pulses are handed over unencoded, and nothing
// but heartbeat runs. Where it gives nobody up, no View changes.
func Verdicts(nodes int, seed uint64, d time.Duration, w Weather) (verdicts int) {
	s := newStorm(nodes, seed, w)
	for s.now = 0; len(s.queue) > 0; {
		e := heap.Pop(&s.queue).(gust)
		if e.at > cluster.Instant(d) {
			break
		}
		s.now = e.at
		s.happen(e)
	}
	return s.verdicts
}

// storm is one such cluster.
type storm struct {
	Weather
	rand     *rand.Rand
	now      cluster.Instant
	queue    gusts
	order    uint64
	cores    []*heartbeat.Core
	ticks    []cluster.Instant // the tick that is scheduled
	paused   []bool
	inbox    [][]*wire.Pulse
	verdicts int
}

// gust is an event: a pulse arrives, or without one a node's timer is due, its
// pause begins or ends.
type gust struct {
	at    cluster.Instant
	order uint64
	node  int
	pulse *wire.Pulse
	pause pauseStep
}

type pauseStep uint8

const (
	noPause pauseStep = iota
	pauseBegins
	pauseEnds
)

func newStorm(nodes int, seed uint64, w Weather) *storm {
	s := &storm{Weather: w, rand: rand.New(rand.NewPCG(seed, 0xbad)), ticks: make([]cluster.Instant, nodes),
		paused: make([]bool, nodes), inbox: make([][]*wire.Pulse, nodes)}
	v := &cluster.View{Key: cluster.ViewKey{Counter: 1, Proposer: cluster.NodeID(nodes), Inc: 1}}
	var seeds []string
	for i := nodes; i >= 1; i-- {
		v.Members = append(v.Members, cluster.Member{Node: cluster.NodeID(i), Inc: 1, Addr: stormAddr(i - 1)})
		seeds = append(seeds, stormAddr(i-1))
	}
	for i := range nodes {
		self := v.Members[nodes-1-i]
		c := heartbeat.New(0, heartbeat.Config{Self: self, Cluster: 1, Seeds: seeds,
			Rand: rand.New(rand.NewPCG(s.rand.Uint64(), s.rand.Uint64()))})
		c.SetView(0, v, false)
		s.cores = append(s.cores, c)
		s.settle(i)
		s.nextPause(i)
	}
	return s
}

func stormAddr(i int) string { return string(rune('a' + i)) }

func (s *storm) push(e gust) {
	s.order++
	e.order = s.order
	heap.Push(&s.queue, e)
}

func (s *storm) nextPause(node int) {
	if s.Pause > 0 {
		span := int64(s.Every - s.Pause)
		s.push(gust{at: s.now.Add(time.Duration(s.rand.Int64N(span))), node: node, pause: pauseBegins})
	}
}

func (s *storm) happen(e gust) {
	switch {
	case e.pause == pauseBegins:
		s.paused[e.node] = true
		s.push(gust{at: s.now.Add(s.Pause), node: e.node, pause: pauseEnds})
		return
	case e.pause == pauseEnds:
		s.resume(e.node)
		return
	case e.pulse != nil && s.paused[e.node]:
		s.inbox[e.node] = append(s.inbox[e.node], e.pulse) // some tens: the pause is short
		return
	case e.pulse != nil:
		s.cores[e.node].Receive(s.now, e.pulse, "")
	case s.paused[e.node] || s.ticks[e.node] != e.at:
		return // void, or made up for at the end of the pause
	default:
		s.cores[e.node].Tick(s.now)
	}
	s.settle(e.node)
}

func (s *storm) resume(node int) {
	s.paused[node] = false
	for _, p := range s.inbox[node] {
		s.cores[node].Receive(s.now, p, "")
	}
	s.inbox[node] = s.inbox[node][:0]
	s.cores[node].Tick(s.now)
	s.settle(node)
	// The next span begins where this one ends on average.
	s.push(gust{at: s.now.Add(s.Every/2 + time.Duration(s.rand.Int64N(int64(s.Every)))), node: node, pause: pauseBegins})
}

// settle carries out a core's effects and plans its next tick.
func (s *storm) settle(node int) {
	out := s.cores[node].Take()
	for i := range out.Pulses {
		to := int(out.Pulses[i].Addr[0] - 'a')
		if to != node && s.rand.Float64() >= s.Loss {
			late := 200*time.Microsecond + time.Duration(s.rand.Int64N(int64(s.Jitter)+1))
			s.push(gust{at: s.now.Add(late), node: to, pulse: out.Pulses[i].Pulse})
		}
	}
	for _, e := range out.Events {
		switch e.Kind {
		case heartbeat.Silent, heartbeat.LinkBroken, heartbeat.Refused:
			s.verdicts++
		}
	}
	if d := s.cores[node].Deadline(); d != s.ticks[node] {
		s.ticks[node] = d
		s.push(gust{at: d, node: node})
	}
}

type gusts []gust

// Len implements heap.Interface.
func (h gusts) Len() int { return len(h) }

// Less implements heap.Interface.
func (h gusts) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}

// Swap implements heap.Interface.
func (h gusts) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *gusts) Push(x any) { *h = append(*h, x.(gust)) }

// Pop implements heap.Interface.
func (h *gusts) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = gust{}
	*h = old[:len(old)-1]
	return e
}
