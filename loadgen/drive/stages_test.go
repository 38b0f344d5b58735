package drive

import (
	"testing"
	"time"

	"headroom/loadgen/target"
	"headroom/workloads"
)

func TestStagesChangeRateAndMix(t *testing.T) {
	w, err := workloads.Parse("w", []byte(`version: 1
name: staged
records: 100
mix:
  get: 100
stages:
  - duration: 1s
  - duration: 1s
    rate: 4k/s
    mix:
      put: 100
`))
	if err != nil {
		t.Fatal(err)
	}
	r, _ := run(t, Config{Workload: w, Target: target.NewFake(), Rate: 1000, Arrivals: ArriveConstant, Duration: 2 * time.Second}, nil)
	if get, put := r.Operations["get"].Count, r.Operations["put"].Count; get != 1000 || put != 4000 {
		t.Errorf("%d gets and %d puts, want 1000 in the first stage and 4000 in the second", get, put)
	}
	for _, s := range r.Series {
		if s.Op == "put" && s.TSec == 0 && s.Offered > 0 || s.Op == "get" && s.TSec == 1 && s.Offered > 0 {
			t.Errorf("second %d: %d of %s offered", s.TSec, s.Offered, s.Op)
		}
	}
}
