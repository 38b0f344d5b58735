package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	seedFlag     = flag.Uint64("seed", 0, "run only this seed, and print what happens")
	keyFlag      = flag.Int("key", -1, "with -seed: print the life of this key, too")
	seedCount    = flag.Int("seeds", 40, "how many seeds TestSeeds runs")
	seedFirst    = flag.Uint64("first", 1, "the first seed of TestSeeds")
	scenarioFlag = flag.String("scenario", "", "run every seed in this scenario, not in the one its number names")
	twiceFlag    = flag.Int("twice", 3, "how many seeds are run twice and must give the same trace")
	firstFailure = flag.Bool("first-failure", false, "stop at the first seed that fails")
	soakFile     = flag.String("soak", "", "run seeds until told to stop, and append those that fail to this file")
)

// scenario is one way to treat a cluster for at least atLeast of virtual time.
// It returns the world even if it fails.
type scenario struct {
	name string
	run  func(seed uint64, log func(string)) (result, error)
}

// result is what a seed did.
type result struct {
	w      *World
	d      *Data // nil in a scenario without data
	faults int
}

// scenarios are the ways there are.
var scenarios = []scenario{
	{"views", runViews},
	{"single", onData(singleFaults)},
	{"pauses", onData(pauses)},
	{"splits", onData(splits)},
	{"one-split", onData(oneSplit)},
	{"disks", onData(disks)},
	{"operations", onData(operations)},
	{"commit-master", onData(commitMaster)},
	{"broken-disks", onData(brokenDisks)},
	{"full", onData(fullNodes)},
}

const (
	atLeast = 30 * time.Second // of virtual time in each seed
	minOps  = 20               // acknowledged beyond the first writes, and read: less proves nothing
)

func onData(run func(seed uint64, log func(string)) (*Data, int, error)) func(uint64, func(string)) (result, error) {
	return func(seed uint64, log func(string)) (result, error) {
		d, faults, err := run(seed, log)
		if err == nil && (faults == 0 || d.W.fired() == 0 || d.Stats.Acked < len(d.keys)+minOps || d.Stats.Reads < minOps) {
			err = fmt.Errorf("proves nothing: %d faults, %+v", faults, d.Stats)
		}
		return result{d.W, d, faults}, err
	}
}

func scenarioOf(seed uint64) scenario {
	if i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == *scenarioFlag }); i >= 0 {
		return scenarios[i]
	}
	return rounds[seed%uint64(len(rounds))]
}

// rounds are the scenarios that seeds go through in turn: three times the first
// six, then others, so that a seed keeps its meaning when one is added to
// those.
var rounds = slices.Concat(scenarios[:6], scenarios[:6], scenarios[:6], []scenario{
	{"full", onData(fullNodes)},
	{"operations", onData(operations)},
	{"broken-disks", onData(brokenDisks)},
	{"commit-master", onData(commitMaster)},
	{"operations", onData(operations)},
	{"broken-disks", onData(brokenDisks)},
})

// tally sums up what seeds did. It is shared by the workers.
type tally struct {
	mu       sync.Mutex
	seeds    int
	events   int
	virtual  time.Duration
	ops      int
	fired    map[string]int
	counted  [2]uint64 // discarded and counted versions of one-split
	failures []string
}

// one runs a seed and adds it up.
func (t *tally) one(seed uint64) {
	s := scenarioOf(seed)
	r, err := s.run(seed, nil)
	if err == nil && r.w.now.Sub(0) < atLeast {
		err = fmt.Errorf("proves nothing: %v of virtual time, want %v", r.w.now, atLeast)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seeds++
	t.events += r.w.Events
	t.virtual += r.w.now.Sub(0)
	r.w.weather()
	for k, v := range r.w.Fired {
		t.fired[k] += v
	}
	if r.d != nil {
		t.ops += r.d.Stats.Acked + r.d.Stats.Reads
		t.counted[0] += r.d.Stats.Discarded
		t.counted[1] += r.d.Stats.Counted
		r.d.Close()
	}
	if *soakFile != "" && t.seeds%500 == 0 {
		fmt.Printf("%d seeds, %.1f virtual hours, %d failed\n", t.seeds, t.virtual.Hours(), len(t.failures))
	}
	if err != nil {
		f := fmt.Sprintf("seed %d (%s): %v\n  replay: go test ./node/sim -run TestSeeds -seed %d -scenario %s", seed, s.name, err, seed, s.name)
		t.failures = append(t.failures, f)
		if *soakFile != "" {
			fmt.Println(f)
			noteFailure(f)
		}
	}
}

func (t *tally) failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.failures) > 0
}

func noteFailure(f string) {
	out, err := os.OpenFile(*soakFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintln(out, f)
		out.Close()
	}
	if err != nil {
		fmt.Println("not kept:", err)
	}
}

// sweep runs seeds on all cores, each world on a thread of its own, until next
// has no more.
func sweep(next func() (seed uint64, ok bool)) *tally {
	t := &tally{fired: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				mu.Lock()
				seed, ok := next()
				mu.Unlock()
				if !ok || *firstFailure && t.failed() {
					return
				}
				t.one(seed)
			}
		})
	}
	wg.Wait()
	return t
}

func TestSeeds(t *testing.T) {
	if *seedFlag != 0 {
		replay(t, *seedFlag)
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // worlds are small and short-lived
	began, cpu := time.Now(), processorTime()
	seed, end := *seedFirst, *seedFirst+uint64(*seedCount)
	sum := sweep(func() (uint64, bool) {
		seed++
		return seed - 1, seed <= end || *soakFile != ""
	})
	for _, f := range sum.failures {
		t.Error(f)
	}
	cpu = processorTime() - cpu
	t.Logf("%d seeds, %.0f virtual seconds, %d operations, %d events in %v: %.0f virtual seconds per second of processor",
		sum.seeds, sum.virtual.Seconds(), sum.ops, sum.events, time.Since(began).Round(time.Millisecond), sum.virtual.Seconds()/cpu.Seconds())
	t.Logf("faults: %s", describeFired(sum.fired))
	t.Logf("%d versions discarded by merges, %d counted", sum.counted[0], sum.counted[1])
	if *seedCount >= 200 && *scenarioFlag == "" && !*firstFailure {
		for _, k := range faultKinds {
			if sum.fired[k] == 0 {
				t.Errorf("no seed had the fault %q: the seeds prove nothing about it", k)
			}
		}
	}
}

func replay(t *testing.T, seed uint64) {
	r, err := scenarioOf(seed).run(seed, func(l string) { fmt.Println(l) })
	t.Logf("%s: %d faults (%s), %d events, trace %x", scenarioOf(seed).name, r.faults, describeFired(r.w.Fired), r.w.Events, r.w.Trace())
	if r.d != nil {
		t.Logf("%+v, %d conflicts", r.d.Stats, r.d.Conflicts())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Seeds beyond those of every run that found a fault stay in every run.
func TestSeedsThatOnceFailed(t *testing.T) {
	for _, seed := range []uint64{
		1419, // splits: what a side of a split is
		1778, // pauses: a read of a write that was then lost
		1787, // disks: a crash in an opening without any header was called damage
	} {
		if _, err := scenarioOf(seed).run(seed, nil); err != nil {
			t.Errorf("seed %d (%s): %v", seed, scenarioOf(seed).name, err)
		}
	}
}

func describeFired(fired map[string]int) string {
	var list []string
	for k, v := range fired {
		list = append(list, fmt.Sprintf("%s %d", k, v))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// processorTime is what this process has used: unlike the time on the wall it
// does not depend on what else the machine does.
func processorTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func TestSameSeedGivesSameTrace(t *testing.T) {
	for seed := uint64(1); seed <= uint64(*twiceFlag); seed++ {
		a, _ := scenarioOf(seed).run(seed, nil)
		b, _ := scenarioOf(seed).run(seed, nil)
		if a.w.Trace() != b.w.Trace() || a.w.Events != b.w.Events {
			t.Errorf("seed %d: trace %x after %d events, then %x after %d", seed, a.w.Trace(), a.w.Events, b.w.Trace(), b.w.Events)
		}
		for _, r := range []result{a, b} {
			if r.d != nil {
				r.d.Close()
			}
		}
	}
}

// BenchmarkFiveNodesUnderLoad is how fast virtual time passes on one core for
// five nodes that serve 100 operations a second: puts and gets, or of all kinds.
func BenchmarkFiveNodesUnderLoad(b *testing.B) {
	b.Run("puts-gets", func(b *testing.B) { fiveNodes(b, Load{Writes: 0.3, Pause: 80 * time.Millisecond}) })
	b.Run("all-kinds", func(b *testing.B) {
		fiveNodes(b, Load{Pause: 80 * time.Millisecond, Mix: &Mix{Header: 0.05, Put: 0.15, Delete: 0.03, Touch: 0.02, Add: 0.1, Batch: 0.02, Scan: 0.01, Check: 0.2}})
	})
}

func fiveNodes(b *testing.B, load Load) {
	d := NewData(Config{Nodes: 5, Seed: 1}, DataConfig{})
	defer d.Close()
	if err := d.Start(); err != nil {
		b.Fatal(err)
	}
	c := d.NewClient(8)
	_ = d.W.Run(time.Second) // an error shows below
	c.Load = load
	began := processorTime()
	start := d.W.now
	for b.Loop() {
		if err := d.W.Run(10 * time.Second); err != nil {
			b.Fatal(err)
		}
	}
	virtual := d.W.now.Sub(start).Seconds()
	b.ReportMetric(virtual/(processorTime()-began).Seconds(), "x_real_time")
	b.ReportMetric(float64(d.Stats.Acked+d.Stats.Reads)/virtual, "ops/virtual_s")
}
