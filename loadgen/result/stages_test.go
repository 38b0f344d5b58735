package result

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stageSamples are n operations whose stages fall short of the response by 1 us.
func stageSamples(n int) []StageSample {
	rnd := rand.New(rand.NewPCG(1, 2))
	list := make([]StageSample, n)
	for i := range list {
		s := &list[i]
		s.TSec, s.Op, s.Node, s.ResponseUS = float64(i)/100, "get", "node1", 1
		for k := range s.StagesUS {
			s.StagesUS[k] = float64(rnd.IntN(1e6)) / 1000
			s.ResponseUS += s.StagesUS[k]
		}
		s.ResponseUS = math.Round(s.ResponseUS*1000) / 1000
	}
	return list
}

func TestRowsOfStagesAddUpToTheWhole(t *testing.T) {
	s := SummarizeStages(stageSamples(2000))
	if s.Samples != 2000 || len(s.Rows) != 2 || s.Rows[0].Samples != 200 || s.Rows[1].Samples != 20 {
		t.Fatalf("%+v", s)
	}
	for _, row := range s.Rows {
		sum := row.RestUS
		for _, us := range row.StagesUS {
			sum += us
		}
		if math.Abs(sum-row.ResponseUS) > 1e-6 || math.Abs(row.RestUS-1) > 0.01 || row.FromUS > row.ResponseUS || row.ToUS < row.ResponseUS {
			t.Errorf("%s: stages and rest %v of %+v", row.At, sum, row)
		}
	}
	if a, b := s.Rows[0], s.Rows[1]; a.ToUS >= b.FromUS {
		t.Errorf("the median's row reaches to %v, that of p99 begins at %v", a.ToUS, b.FromUS)
	}
}

func TestFewSamplesClaimNoRow(t *testing.T) {
	for n, want := range map[int]int{0: 0, 1: 0, 30: 0, 60: 1, 400: 1, 520: 2} {
		s := SummarizeStages(stageSamples(n))
		if len(s.Rows) != want {
			t.Errorf("%d samples give %d rows, want %d", n, len(s.Rows), want)
		}
		if p := s.StagesUS["queue"]; (p.P99 != nil) != Supported(0.99, int64(n)) {
			t.Errorf("%d samples: own p99 %v", n, p.P99)
		}
	}
}

func TestStagesReadBackAsWritten(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir + "/run")
	if err != nil {
		t.Fatal(err)
	}
	want := stageSamples(50)
	w.Stages(want)
	w.Summary(&Summary{Format: Format})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir + "/run")
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Stages()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string][]StageSample{"get": want}, got); d != "" {
		t.Error(d)
	}
	if _, err := Create(dir + "/run"); err != nil { // clears the earlier run
		t.Fatal(err)
	}
	if _, err := r.Stages(); err == nil {
		t.Error("the samples of the earlier run are still there")
	}
}
