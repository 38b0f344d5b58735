package plan

import (
	"math"
	"strings"
	"testing"

	"headroom/planner/catalog"
)

func TestSmallestIsTheEdgeOfWhatIsFeasible(t *testing.T) {
	for _, step := range []int{1, 3} {
		for first := step; first < 20; first += step {
			for edge := first; edge < 700; edge += 7 {
				tried := 0
				n, found := smallest(first, 640, step, func(n int) bool {
					if tried++; n < first || n > 640 || (n-first)%step != 0 {
						t.Fatalf("from %d by %d: tried %d", first, step, n)
					}
					return n >= edge
				})
				want := first + (edge-first+step-1)/step*step
				if found != (want <= 640) || found && n != want || tried > 64/step+strides*4 {
					t.Fatalf("from %d by %d, feasible from %d: %d, %v after %d tries", first, step, edge, n, found, tried)
				}
			}
		}
	}
}

// Where feasibility comes and goes, small clusters are found all the same.
func TestSmallestTriesEachSmallNumber(t *testing.T) {
	if n, found := smallest(3, 1000, 1, func(n int) bool { return n == 41 }); n != 41 || !found {
		t.Errorf("found %d, %v", n, found)
	}
}

// A plan of hundreds of nodes says what it did not work out.
func TestLargeClustersFarFromTheAnswerAreLeftOnPaper(t *testing.T) {
	p := makePlan(t, flashy, "a.records=30G", "max-nodes=900", "draws=100")
	if p.Best() == nil || p.Best().Nodes <= exactUpTo {
		t.Fatalf("answer of %d nodes at most", exactUpTo)
	}
	left := 0
	for _, c := range p.Candidates {
		if !c.Feasible && c.Nodes > exactUpTo && c.USDPerHour != nil {
			left++
		}
	}
	if left == 0 {
		t.Errorf("all of %d candidates were worked out", len(p.Candidates))
	}
}

func TestADipOfTheChanceIsExplained(t *testing.T) {
	p := &Plan{Curve: []Chance{{Nodes: 99, PFeasible: 0.9}, {Nodes: 105, PFeasible: 0.899}, {Nodes: 111, PFeasible: 0.97}}}
	if note := p.CurveNote(); note != "" {
		t.Errorf("a thousandth is explained: %q", note)
	}
	p.Curve[1].PFeasible = 0.8
	if note := p.CurveNote(); !strings.Contains(note, "105 nodes are less likely to do than 99") {
		t.Errorf("note %q", note)
	}
}

func TestTheLevelIsWhereTheClaimShowsBest(t *testing.T) {
	p := answer(t, flashy, "a.writes=40k/s,50k/s,90k/s")
	w := p.Best().WhyNotFewer
	if w.Level <= 0 || w.Level > 1 || *w.EnoughAt >= 1 || *w.FewerAt <= 1 {
		t.Fatalf("level %g: %v with enough nodes, %v with fewer", w.Level, w.EnoughAt, w.FewerAt)
	}
	for _, l := range []level{{0.5, 0.9, 1.2}, {0.5, 0.8, 1.1}} {
		if math.Abs(l.room()-0.1) > 1e-9 {
			t.Errorf("%+v has room %g, want 0.1, that of the side with less", l, l.room())
		}
	}
	if r := (level{0.5, 0.9, 0.99}).room(); r != 0 {
		t.Errorf("room %g although fewer nodes do", r)
	}
}

func TestTwoResourcesThatAreShortArePricedTogether(t *testing.T) {
	d := make(drawn, 10)
	for i := range d {
		d[i][Memory], d[i][CPU] = 1.2, 0.5+float64(i)/10 // CPU up to 1.4
	}
	if _, ok := d.enough(0.9, Memory); ok {
		t.Error("memory alone is said to be enough, where CPU is short in four draws of ten")
	}
	if a, b, ok := d.pair(0.9, Memory, CPU); !ok || math.Abs(a-1.2) > 1e-9 || math.Abs(b-1.3) > 1e-9 {
		t.Errorf("%g times the memory and %g times the CPU, want 1.2 and 1.3: nine draws of ten", a, b)
	}
	if v, ok := d.enough(0.5, Memory); !ok || math.Abs(v-1.2) > 1e-9 {
		t.Errorf("%g times the memory for half of the draws, want 1.2 alone", v)
	}
}

func TestTheNearestMissIsTheOneThatFailsLeast(t *testing.T) {
	miss := func(name string, use, p float64) choice {
		c := choice{kind: &catalog.Type{Name: name}, reason: name + " misses", p: p}
		c.loads.use[Healthy][CPU] = use
		return c
	}
	got := noAnswer([]choice{miss("over", 1.5, 0), miss("half", 0.2, 0.5), miss("most", 0.9, 0.8)})
	if !strings.Contains(got, "nearest, most") {
		t.Errorf("%q, want the one that holds in most draws", got)
	}
}
