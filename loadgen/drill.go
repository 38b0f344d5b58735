package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"headroom/loadgen/drive"
	"headroom/loadgen/local"
)

// drills are the faults under which a knee can be sought.
var drills = []string{string(local.Kill), string(local.Term), string(local.Stop), rollingRestart}

const (
	rollingRestart = "rolling-restart"
	// drillLead is the healthy time before a drill, drillTail that after it.
	drillLead = 2 * time.Second
	drillTail = time.Second
	// drillGuess is what they are taken for before the first was seen.
	drillGuess = 5 * time.Second
	// drillEach bounds how long one node's consequences are waited for.
	drillEach = 45 * time.Second
)

// drillState is what a drill tells the one who judges its probe.
type drillState struct {
	ended    atomic.Bool
	from, to time.Duration // of the measured phase; written before ended is set
	restored bool          // redundancy was back at the end
	err      error
}

func (s *drillState) over() bool { return s.ended.Load() }

// window is the seconds of the measured phase in which the drill went on: what
// was healthy before it must not thin out what it cost.
func (s *drillState) window(r *drive.Report) (from, to int) {
	if !s.ended.Load() || s.to == 0 {
		return int(drillLead / time.Second), len(r.Seconds) + 1
	}
	return int(s.from / time.Second), int((s.to + time.Second - 1) / time.Second)
}

// drillLength is the longest that a probe with the drill takes.
func (n *knee) drillLength() time.Duration {
	each := n.k.down + drillEach
	if n.k.during == rollingRestart {
		each *= time.Duration(n.o.nodes)
	}
	return drillLead + each + drillTail
}

// drill makes one node after the other fail and come back, and waits for full
// redundancy after each.
func (n *knee) drill(s *drillState) faulting {
	return func(ctx context.Context, t *trial, start time.Duration) {
		defer s.ended.Store(true)
		clock := t.driver.Clock()
		r := rand.New(rand.NewPCG(n.o.seed+uint64(n.n), 0xfa17))
		if !sleep(ctx, start+drillLead-clock.Now()) {
			return
		}
		s.from = clock.Now() - start
		s.restored = true
		for _, node := range n.victims() {
			ok, err := n.fail(ctx, t, node, r)
			if err != nil && ctx.Err() == nil {
				s.err = err
			}
			s.restored = s.restored && ok
			if err != nil || ctx.Err() != nil {
				return
			}
		}
		s.to = clock.Now() - start
		sleep(ctx, drillTail)
	}
}

func (n *knee) victims() []string {
	if n.k.during == rollingRestart {
		return n.cluster.Names()
	}
	return []string{"random"}
}

// fail takes one node away, brings it back and reports whether redundancy was
// restored.
func (n *knee) fail(ctx context.Context, t *trial, node string, r *rand.Rand) (restored bool, err error) {
	action, back := local.Action(n.k.during), local.Restart
	if n.k.during == rollingRestart {
		action = local.Term
	}
	if action == local.Stop {
		back = local.Cont
	}
	hit := t.inject(ctx, local.Fault{Action: action, Node: node}, r)
	if len(hit) == 0 {
		return false, errors.Join(fmt.Errorf("the drill could not %s %s", action, node), ctx.Err())
	}
	if !sleep(ctx, n.k.down) {
		return false, ctx.Err()
	}
	if len(t.inject(ctx, local.Fault{Action: back, Node: hit[0]}, r)) == 0 {
		return false, errors.Join(fmt.Errorf("the drill could not %s %s", back, hit[0]), ctx.Err())
	}
	return n.settle(ctx, drillEach), ctx.Err()
}
