//go:build planted

package sim

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"headroom/node/planted"
)

var (
	plantFlag = flag.Int("plant", 0, "plant the bug of this number, see package planted")
	bugSeeds  = flag.Int("bug-seeds", 300, "how many seeds of each kind may be needed to find a planted bug")
	bugLimit  = flag.Duration("bug-limit", time.Minute, "how long the search for one planted bug may take")
)

// TestMain plants the bug that a search runs with.
func TestMain(m *testing.M) {
	flag.Parse()
	planted.Plant(planted.Bug(*plantFlag))
	goldenCounts = *plantFlag == 0
	m.Run()
}

// TestPlantedBugsAreFound runs directed faults, scripts and seeds with each bug
// in turn, in a process of its own because a bug may crash it or hang, and
// demands that one of them finds a rule broken.
func TestPlantedBugsAreFound(t *testing.T) {
	if *plantFlag != 0 {
		t.Skip("a bug is planted")
	}
	for b := planted.Bug(1); b < planted.End; b++ {
		t.Run(strings.ReplaceAll(planted.Rules[b], " ", "-"), func(t *testing.T) {
			began := time.Now()
			how := find(t, b)
			if how == "" {
				t.Fatalf("no script and none of %d seeds finds that this rule is broken: %s", *bugSeeds, planted.Rules[b])
			}
			t.Logf("found in %v: %s", time.Since(began).Round(10*time.Millisecond), how)
		})
	}
}

// find returns what found bug b, or nothing. Bugs of the control plane are
// looked for where nothing else happens first.
func find(t *testing.T, b planted.Bug) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), *bugLimit)
	defer cancel()
	seeds := []string{"-test.run", "^TestSeeds$", "-first-failure", "-seeds", fmt.Sprint(*bugSeeds)}
	tries := [][]string{
		{"-test.run", "^TestDirectedFaultsBreakNoRule$", "-test.failfast"},
		{"-test.run", "^" + testFor(b) + "$"},
		append(seeds, "-scenario", scenarioFor(b)),
		{"-test.run", "^(TestScripts|TestDataScripts)$"},
		seeds,
	}
	for _, args := range tries {
		cmd := exec.CommandContext(ctx, os.Args[0], append(args, "-plant", fmt.Sprint(int(b)))...)
		out, err := cmd.CombinedOutput()
		switch {
		case ctx.Err() != nil:
			return "" // too slow, or it hangs: the watch of World.Run should have found that
		case err != nil:
			return symptom(string(out), err)
		}
	}
	return ""
}

// testFor is the test that was made for a bug's rule, where seeds take too long
// to find it.
func testFor(b planted.Bug) string {
	switch b {
	case planted.TombstoneReapedEarly:
		return "TestNothingDeletedComesBack"
	case planted.ExpiredForgotten, planted.ShorteningNotInherited:
		return "TestWhatExpiredDoesNotComeBack"
	case planted.StoppedReplicaIgnored:
		return "TestWritesStopWhereAReplicaHasNoRoom"
	case planted.LoadedNotLookedAtAgain:
		return "TestALateReadIsLookedAtAgain"
	}
	return "TestANodeThatWasAwayForTooLongBringsNothingBack"
}

// scenarioFor is where a bug shows soonest: bugs of the control plane where
// nothing else happens first.
func scenarioFor(b planted.Bug) string {
	switch {
	case b == planted.TornIsDamage:
		return "disks"
	case b == planted.RestartUnnoticed, b == planted.WritesNotRunAgain, b == planted.TombstoneForgotten:
		return "single"
	case b < planted.AckBeforeReplica:
		return "views"
	case b == planted.ConflictNotCounted, b == planted.DescentIgnored:
		return "one-split"
	case b == planted.RefusedWriteForgotten:
		return "full"
	case b == planted.ExpiredForgotten, b == planted.ShorteningNotInherited:
		return "operations"
	}
	return "splits"
}

// symptom is the line of a failing test that says most.
func symptom(out string, err error) string {
	for _, mark := range []string{" seed ", "panic:", "--- FAIL: Test"} {
		for line := range strings.Lines(out) {
			if strings.Contains(line, mark) {
				return strings.TrimSpace(line)
			}
		}
	}
	return err.Error()
}
