package recompute

import (
	"path/filepath"
	"strings"
	"testing"

	"headroom/loadgen/result"
	"headroom/reports/sample"
)

// stageFindings are the fields of the stages that differ.
func stageFindings(t *testing.T, dir string) (differ string, same int) {
	t.Helper()
	r, err := Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if !strings.HasPrefix(f.Field, "stages") {
			continue
		}
		if same++; f.State == Differs {
			differ += " " + f.Field
		}
	}
	return differ, same
}

func TestStagesAreRecomputedFromTheirSamples(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := sample.Write(dir); err != nil {
		t.Fatal(err)
	}
	if differ, n := stageFindings(t, dir); differ != "" || n < 80 {
		t.Fatalf("of %d numbers differ:%s", n, differ)
	}
	for want, change := range map[string]func(*result.StageSummary){
		"stages.operations.get.rows[0].stages_us.queue": func(s *result.StageSummary) { s.Rows[0].StagesUS["queue"] += 0.01 },
		"stages.operations.get.rows[1].rest_us":         func(s *result.StageSummary) { s.Rows[1].RestUS += 0.01 },
		"stages.operations.get.rows[1].response_us":     func(s *result.StageSummary) { s.Rows[1].ResponseUS++ },
		"stages.operations.get.rows[0].sum of stages":   func(s *result.StageSummary) { s.Rows[0].StagesUS["network"] = 0 },
		"stages.operations.get.stages_us.storage.p99":   func(s *result.StageSummary) { s.StagesUS["storage"] = result.StagePercentiles{} },
		"stages.operations.get.samples":                 func(s *result.StageSummary) { s.Samples-- },
		"stages.operations.get.rows":                    func(s *result.StageSummary) { s.Rows = s.Rows[:1] },
	} {
		if err := sample.Write(dir); err != nil {
			t.Fatal(err)
		}
		if err := sample.Alter(dir, func(s *result.Summary) {
			x := s.Stages.Operations["get"]
			change(&x)
			s.Stages.Operations["get"] = x
		}); err != nil {
			t.Fatal(err)
		}
		if got, _ := stageFindings(t, dir); !strings.Contains(got, want) {
			t.Errorf("a changed %s is not found; found %q", want, got)
		}
	}
}
