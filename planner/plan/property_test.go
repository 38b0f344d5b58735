package plan

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"headroom/planner/catalog"
	"headroom/planner/model"
)

// question is requirements made at random, with what makes them harder.
type question struct {
	text  string
	sets  []string
	kinds []catalog.Type // nil: even, cores and memory
}

// one draws one of the words.
func one(rng *rand.Rand, words ...string) string { return words[rng.IntN(len(words))] }

// between draws a number of the range, evenly in its logarithm.
func between(rng *rand.Rand, low, high float64) float64 {
	return low * math.Pow(high/low, rng.Float64())
}

// randomQuestion spans the traps too: RF above what nodes there are, no writes,
// records of a byte, more failures than copies.
func randomQuestion(rng *rand.Rand) question {
	var b strings.Builder
	b.WriteString("version: 1\ndraws: 100\nmax-nodes: 32\nnamespaces:\n")
	for i := range 1 + rng.IntN(2) {
		fmt.Fprintf(&b, "  - name: n%d\n    storage: %s\n    records: %.0f\n    value-size: %.0fB\n    reads: %.0f/s\n    writes: %s\n    updates: %s\n", i,
			one(rng, "dram", "flash"), between(rng, 1e3, 3e9), between(rng, 1, 20e3), between(rng, 1, 3e6),
			one(rng, "0/s", fmt.Sprintf("%.0f/s", between(rng, 1, 3e5))), one(rng, "0/s", fmt.Sprintf("%.0f/s", between(rng, 1, 1e5))))
	}
	fmt.Fprintf(&b, "redundancy: {replication-factor: [%s], fail-nodes: %d, racks: %d}\n", one(rng, "1", "2", "2,3", "3", "4"), rng.IntN(3), 1+rng.IntN(3))
	fmt.Fprintf(&b, "targets: {rebuild: %s, durability-nines: %s}\n", one(rng, "0s", "10m", "2h"), one(rng, "0", "3", "6"))
	return question{text: b.String()}
}

// harder are changes of which each asks for more.
func harder(rng *rand.Rand, r *Requirements) []string {
	n := &r.Namespaces[rng.IntN(len(r.Namespaces))]
	more := between(rng, 1.001, 4)
	grow := func(key, form string, t model.Triple) string {
		return n.Name + "." + key + "=" + fmt.Sprintf(form, math.Ceil(t.P50*more))
	}
	return []string{
		grow("records", "%.0f", n.Records), grow("reads", "%.0f/s", n.Reads), grow("writes", "%.0f/s", model.Point(n.Writes.P50+10)),
		grow("value-size", "%.0fB", n.ValueBytes), n.Name + ".peak-factor=" + fmt.Sprint(more), "limits.memory=" + fmt.Sprint(0.7/more),
		"limits.cpu=" + fmt.Sprint(0.6/more), "limits.network=" + fmt.Sprint(0.6/more), "probability=0.97", "targets.durability-nines=7",
		fmt.Sprintf("targets.rebuild=%.0fs", 590/more), fmt.Sprintf("redundancy.fail-nodes=%d", r.Redundancy.FailNodes+1),
	}
}

func (q question) plan(t *testing.T) *Plan {
	t.Helper()
	r := parse(t, q.text)
	for _, s := range q.sets {
		if err := r.Set(s); err != nil {
			t.Fatalf("--set %s: %v\n%s", s, err, q.text)
		}
	}
	kinds := q.kinds
	if kinds == nil {
		kinds = types(t)[:3]
	}
	p, err := Make(t.Context(), Input{Requirements: r, Types: kinds, Shapes: pool})
	if err != nil {
		t.Fatalf("%v\n%s", err, q.text)
	}
	return p
}

const questions = 15 // with a dozen harder ones each; 5 s on one core

// TestHarderQuestionsNeverNeedFewerNodes asks at random: whatever the answer
// is, more data, more load, more failures, less time or less of a resource
// never need fewer nodes of any type, and nothing is NaN.
func TestHarderQuestionsNeverNeedFewerNodes(t *testing.T) {
	answered := 0
	for seed := range uint64(questions) {
		rng := rand.New(rand.NewPCG(seed, 6))
		q := randomQuestion(rng)
		base := q.plan(t)
		if text, err := json.Marshal(base); err != nil || strings.Contains(string(text), "NaN") || base.Summary == "" {
			t.Errorf("seed %d: %v, %q\n%s", seed, err, base.Summary, q.text)
		}
		if base.Answer == nil {
			continue
		}
		answered++
		for _, s := range harder(rng, base.Requirements) {
			p := question{text: q.text, sets: []string{s}}.plan(t)
			for _, kind := range []string{"even", "cores", "memory"} {
				if x, y := fewestOf(base, kind), fewestOf(p, kind); y < x {
					t.Errorf("seed %d: %s needs %d nodes, with %s only %d\n%s", seed, kind, x, s, y, q.text)
				}
			}
		}
	}
	if answered < questions/3 {
		t.Errorf("%d of %d questions have an answer: the test asks too much to say anything", answered, questions)
	}
}

// TestMoreOfAMachineNeverNeedsMoreNodes asks the same of machines at random.
func TestMoreOfAMachineNeverNeedsMoreNodes(t *testing.T) {
	for seed := range uint64(questions) {
		rng := rand.New(rand.NewPCG(seed, 7))
		q := randomQuestion(rng)
		base := q.plan(t)
		more := between(rng, 1.01, 4)
		for name, grow := range map[string]func(*catalog.Type){
			"device": func(k *catalog.Type) { k.DeviceBytes *= more }, "memory": func(k *catalog.Type) { k.RAMBytes *= more },
			"cores": func(k *catalog.Type) { k.VCPU *= more }, "IOPS": func(k *catalog.Type) { k.ReadIOPS *= more; k.WriteIOPS *= more },
			"network": func(k *catalog.Type) { k.NetBase *= more },
		} {
			kinds := types(t)[:3]
			for i := range kinds {
				grow(&kinds[i])
			}
			p := question{text: q.text, kinds: kinds}.plan(t)
			for _, kind := range []string{"even", "cores", "memory"} {
				if x, y := fewestOf(base, kind), fewestOf(p, kind); y > x {
					t.Errorf("seed %d: %s needs %d nodes, with %.3g times the %s %d\n%s", seed, kind, x, more, name, y, q.text)
				}
			}
		}
	}
}

// TestWhatASavingCostsIsEnough gives each machine, or the requirements, what
// the plan says would save nodes, and plans again.
func TestWhatASavingCostsIsEnough(t *testing.T) {
	tried := map[string]int{}
	for seed := range uint64(3 * questions) {
		rng := rand.New(rand.NewPCG(seed, 8))
		q := randomQuestion(rng)
		kind := types(t)[rng.IntN(3)]
		q.kinds = []catalog.Type{kind}
		base := q.plan(t)
		if base.Answer == nil {
			continue
		}
		const exact = 1e-6
		for i, s := range base.Shadow {
			if i == 0 || !s.Together {
				q.sets, q.kinds = nil, []catalog.Type{kind}
			}
			more := s.More + exact
			tried[s.Resource]++
			switch k := &q.kinds[0]; s.Resource {
			case "memory", "index_memory":
				k.RAMBytes += (k.RAMBytes - 4<<30) * more
			case "device_bytes":
				k.DeviceBytes *= 1 + more
			case "device_iops":
				k.ReadIOPS, k.WriteIOPS = k.ReadIOPS*(1+more), k.WriteIOPS*(1+more)
			case "device_bandwidth":
				k.ReadBytes, k.WriteBytes = k.ReadIOPS*4096*(1+more), k.WriteIOPS*4096*(1+more)
			case "cpu":
				k.VCPU *= 1 + more
			case "network":
				k.NetBase *= 1 + more
			case "migration_bandwidth":
				q.sets = append(q.sets, fmt.Sprintf("targets.rebuild=%gs", base.Requirements.Targets.Rebuild*(1+more)))
			default:
				continue
			}
			if s.Together && i+1 < len(base.Shadow) {
				continue
			}
			if got, want := fewestOf(q.plan(t), kind.Name), base.Best().Nodes-s.Saves; got > want {
				t.Errorf("seed %d: %s with %+v needs %d nodes, want %d\n%s", seed, kind.Name, base.Shadow, got, want, q.text)
			}
		}
	}
	if len(tried) < 3 {
		t.Errorf("tried %v: too few resources to say anything", tried)
	}
}

// TestTwiceOfAllNeedsTwiceTheNodes doubles records and rates at random. Fewer
// than twice may do, as the nodes that may be lost are not twice as many; what
// one node more carries, and how evenly partitions lie, is a few in the hundred.
func TestTwiceOfAllNeedsTwiceTheNodes(t *testing.T) {
	compared := 0
	for seed := range uint64(questions) {
		rng := rand.New(rand.NewPCG(seed, 9))
		q := randomQuestion(rng)
		// More nodes fail more often, and as many nodes as copies rebuild nothing.
		q.sets = []string{"targets.durability-nines=0", "targets.rebuild=0s"}
		base := q.plan(t)
		if base.Answer == nil {
			continue
		}
		q.sets = append(q.sets, "max-nodes=80")
		for i := range base.Requirements.Namespaces {
			n := &base.Requirements.Namespaces[i]
			for key, v := range map[string]float64{"records": n.Records.P50, "reads": n.Reads.P50, "writes": n.Writes.P50, "updates": n.Updates.P50} {
				q.sets = append(q.sets, fmt.Sprintf("%s.%s=%.0f", n.Name, key, 2*v))
			}
		}
		twice, red := q.plan(t), &base.Requirements.Redundancy
		for _, kind := range []string{"even", "cores", "memory"} {
			x, y := fewestOf(base, kind), fewestOf(twice, kind)
			if x == math.MaxInt {
				continue
			}
			compared++
			slack := red.Racks[0] + red.FailNodes
			if float64(y) > 2.06*float64(x)+float64(slack) || x > y/2+slack+1 {
				t.Errorf("seed %d: %s needs %d nodes, %d for twice of all\n%s", seed, kind, x, y, q.text)
			}
		}
	}
	if compared < questions/2 {
		t.Errorf("%d comparisons: too few to say anything", compared)
	}
}
