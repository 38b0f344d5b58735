package e2e

import (
	"testing"
	"time"

	"headroom/hack/figures/rig"
	"headroom/loadgen/local"
)

// kills is how many kills TestRandomKills makes: the number.
const kills = 30

func TestRandomKillsLoseNothing(t *testing.T) {
	r := scenario(t)
	var faults []rig.Fault
	for range kills {
		kill := do(t, r, local.Kill, "random")
		awaitRedundancy(t, r) // on three nodes, without anyone asking
		start := do(t, r, local.Restart, kill.Node)
		awaitRedundancy(t, r)
		faults = append(faults, kill, start)
	}
	finish(t, r, faults)
}

// A node that is back before its death was noticed comes back empty: it must
// not be taken for its old self.
func TestAKillWithAnImmediateRestartLosesNothing(t *testing.T) {
	r := scenario(t)
	var faults []rig.Fault
	for range 5 {
		kill := do(t, r, local.Kill, "random")
		start := do(t, r, local.Restart, kill.Node)
		awaitRedundancy(t, r)
		faults = append(faults, kill, start)
	}
	finish(t, r, faults)
}

func TestAGracefulStopFailsNoOperation(t *testing.T) {
	r := scenario(t)
	term := do(t, r, local.Term, "node2")
	awaitRedundancy(t, r)
	start := do(t, r, local.Restart, "node2")
	awaitRedundancy(t, r)
	if failed, doubt := finish(t, r, []rig.Fault{term, start}); failed+doubt != 0 {
		t.Errorf("%d operations failed and %d are in doubt, want none", failed, doubt)
	}
}

func TestARollingRestartFailsNoOperation(t *testing.T) {
	r := scenario(t)
	var faults []rig.Fault
	for _, node := range r.Cluster.Names() {
		faults = append(faults, do(t, r, local.Term, node))
		awaitRedundancy(t, r)
		faults = append(faults, do(t, r, local.Restart, node))
		awaitRedundancy(t, r)
	}
	if failed, doubt := finish(t, r, faults); failed+doubt != 0 {
		t.Errorf("%d operations failed and %d are in doubt, want none", failed, doubt)
	}
}

func TestAPausedNodeServesNothingStale(t *testing.T) {
	r := scenario(t)
	var faults []rig.Fault
	for _, node := range []string{"node4", "node1"} {
		faults = append(faults, do(t, r, local.Stop, node))
		wait(t, 10*time.Second)
		faults = append(faults, do(t, r, local.Cont, node))
		awaitRedundancy(t, r)
	}
	wait(t, 2*time.Second)
	finish(t, r, faults)
}

// Short pauses end around the moment of detection, where a lease or a View
// might be misjudged.
func TestShortPausesServeNothingStale(t *testing.T) {
	r := scenario(t)
	for i := range 20 {
		f := do(t, r, local.Stop, "random")
		wait(t, 100*time.Millisecond+time.Duration(i)*60*time.Millisecond)
		do(t, r, local.Cont, f.Node)
		wait(t, 300*time.Millisecond)
	}
	wait(t, 5*time.Second)
	finish(t, r, nil)
}
